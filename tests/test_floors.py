"""The floors of the house: imports go down only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "tokenization": set(),
    "encoders": set(),
    "probes": {"tokenization"},
    "objectives": {"tokenization", "encoders"},
    "pretrain": {"tokenization", "encoders", "probes", "objectives"},
}
"""What a package may import of the kit, besides itself."""


def _imports(source: str) -> set[str]:
    """Top-level names of all that a module imports, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            modules.add(node.module or "")
    return {module.split(".")[0] for module in modules}


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_imports_inside_functions_are_seen() -> None:
    assert _imports("import a.b\ndef f():\n    from c.d import e\n    import g as h\n") == {"a", "c", "g"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_from_the_floors_below(package: str) -> None:
    assert _files(package), f"{package} has no file"
    above = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    wrong = {
        str(path.relative_to(ROOT)): names
        for path in _files(package)
        if (names := _imports(path.read_text(encoding="utf-8")) & (above | {"tests", "benchmarks"}))
    }
    assert not wrong


def test_every_package_has_its_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages == MAY_IMPORT.keys()


def test_no_package_imports_one_that_imports_it() -> None:
    imports = {
        package: {name for path in _files(package) for name in _imports(path.read_text(encoding="utf-8"))}
        & (MAY_IMPORT.keys() - {package})
        for package in MAY_IMPORT
    }
    assert any(imports.values())
    order = list(MAY_IMPORT)
    assert all(order.index(below) < order.index(package) for package, names in imports.items() for below in names)
