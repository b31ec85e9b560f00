"""What the documents name is there: commands, recipes, files and settings."""

import re
import shlex
from pathlib import Path

import pytest

from pretrain.recipe import SECTIONS, Recipe, read_recipe

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    path
    for path in (
        *(ROOT / f"{name}.md" for name in ("README", "DATA", "ELECTRA", "CONTRIBUTING")),
        ROOT / "recipes" / "README.md",
    )
    if path.exists()
]
KEYS = {
    f"{section}.{alias}"
    for section, choices in SECTIONS.items()
    for settings in (choices.values() if isinstance(choices, dict) else (choices,))
    for name, field in settings.model_fields.items()
    for alias in (field.alias or name,)
} | Recipe.model_fields.keys()


def _commands(text: str) -> list[list[str]]:
    """Lines of code that start a program, continued lines put together."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(
        r"^    ((?:ACCELERATE_USE_CPU=true )?(?:make|python|accelerate|torchrun) .*)$", joined, re.MULTILINE
    )
    return [shlex.split(re.split(r"\s{2,}", line)[0], comments=True) for line in lines]


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text(encoding="utf-8"))


def test_there_are_documents_with_commands_to_check() -> None:
    assert {"README.md", "recipes/README.md"} <= {str(path.relative_to(ROOT)) for path in DOCUMENTS}
    assert len(_commands((ROOT / "README.md").read_text(encoding="utf-8"))) >= 8


def test_every_module_that_is_called_is_there(text: str) -> None:
    called = [words[words.index("-m") + 1] for words in _commands(text) if "-m" in words]
    called += re.findall(r"`python -m ([\w.]+)", text)
    for module in called:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_every_target_of_make_is_there(text: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = [words[1] for words in _commands(text) if words[0] == "make"] + re.findall(r"`make ([a-z]+)", text)
    assert set(named) <= set(targets)


def test_every_file_that_is_named_is_there(text: str) -> None:
    # Names that stand for the reader's own: what comes of a run, and a recipe called mine.
    own = re.compile(r"^(runs|cache|sweeps)/|mine|NAME|[*<]")
    named = re.findall(
        r"\b((?:recipes|data|pretrain|tokenization|encoders|objectives|probes|tests|benchmarks)/[\w./-]*\w)", text
    )
    named += re.findall(r"\]\(([\w./-]+)\)", text)
    missing = [
        name
        for name in named
        if not own.search(name) and not any((base / name).exists() for base in (ROOT, ROOT / "recipes"))
    ]
    assert missing == []


def test_every_promise_names_tests_that_are_there() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## What is promised")[1].split("\n## ")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| ") and not row.startswith("| ---")][
        1:
    ]
    assert len(rows) > 10
    for promise, tests in rows:
        names = re.findall(r"(?:faults/)?test_\w+", tests)
        assert names, promise
        assert [name for name in names if not (ROOT / "tests" / f"{name}.py").exists()] == []


def test_every_setting_that_is_overridden_is_there(text: str) -> None:
    overridden = [
        word.split("=")[0] for words in _commands(text) for word in words[1:] if re.match(r"[a-z][\w.]*=", word)
    ]
    overridden += re.findall(r"`([a-z_]+\.[a-z_]+)(?:=[^`]*)?`", text)
    sections = {name.split(".")[0] for name in KEYS}
    unknown = [
        key for key in overridden if key.split(".")[0] in sections and key not in KEYS and f"{key}.files" not in KEYS
    ]
    assert unknown == []


def test_every_recipe_has_its_row() -> None:
    table = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    for recipe in sorted((ROOT / "recipes").glob("*.yaml")):
        assert recipe.name in table or f"`{recipe.stem}`" in table, recipe.name


def test_nothing_is_left_to_be_filled_in(text: str) -> None:
    assert re.findall(r"@@\w+@@|TODO|FIXME", text) == []


def test_the_shortened_demos_of_continuous_integration_are_valid_recipes() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    demos = re.findall(r'make demo (?:RECIPE=(\S+) )?OVERRIDES="([^"]*)"', text)
    assert [recipe for recipe, _ in demos] == ["", "recipes/electra_demo.yaml"]
    for recipe, overrides in demos:
        assert read_recipe(ROOT / (recipe or "recipes/demo.yaml"), overrides.split()).train.steps == 12
