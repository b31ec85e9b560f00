"""What lies in one folder that is reported: a run with its metrics, a probe's results, results at a run's steps."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.probe_error import ProbeError
from probes.report.metrics import Metrics
from probes.results import Results, read_results


@dataclass(frozen=True)
class Finding:
    """One probe's results and where they lie."""

    results: Results
    path: Path
    """The JSON file; pictures and tables lie beside it."""
    step: int | None = None
    """Of a run that goes on: the step that these newest results are of."""


@dataclass(frozen=True)
class Folder:
    """A run, or a folder of results, as far as it can be read."""

    path: Path
    name: str
    metrics: Metrics | None
    findings: list[Finding]
    snapshots: dict[str, dict[int, Finding]] = field(default_factory=dict)
    """By probe and, in rising order, by step: probes/step-N/<probe>.json."""
    damaged: list[str] = field(default_factory=list)
    """What is said of each JSON file that holds no results."""
    recipe: str | None = None
    progress: dict[str, Any] | None = None
    """progress.json of the newest checkpoint, which knows the versions that trained it."""

    @classmethod
    def read(cls, path: Path) -> "Folder":
        """All that is there; what is damaged is left out and told.

        Raises:
            ProbeError: the folder is missing, or holds neither metrics nor results of a probe.
        """
        if not path.is_dir():
            raise ProbeError(
                f"{path} is not a folder. Expected a run, or a folder of a probe's results. Check the path."
            )
        metrics = Metrics.read(path / "metrics.jsonl") if (path / "metrics.jsonl").is_file() else None
        damaged: list[str] = []
        findings = [
            found
            for file in sorted([*path.glob("[!.]*.json"), *path.glob("probes/[!.]*.json")])
            if (found := _read(file, damaged)) is not None
        ]
        snapshots = _snapshots(path, damaged)
        known = {finding.results.probe for finding in findings}
        findings += [list(steps.values())[-1] for probe, steps in snapshots.items() if probe not in known]
        if metrics is None and not findings:
            reason = f" ({damaged[0]})" if damaged else ""
            raise ProbeError(
                f"{path} holds neither metrics.jsonl nor a probe's JSON (in it or in probes/){reason}. Expected a run,"
                f" or a folder of results. Make some with: python -m probes senses MODEL --out {path}"
            )
        recipe = path / "recipe.yaml"
        text = recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None
        return cls(path, _name(path), metrics, findings, snapshots, damaged, text, _progress(path))


def _read(file: Path, damaged: list[str], *, step: int | None = None) -> Finding | None:
    try:
        return Finding(read_results(file), file, step)
    except ProbeError as error:
        damaged.append(str(error))
        return None


def _snapshots(path: Path, damaged: list[str]) -> dict[str, dict[int, Finding]]:
    """Results at steps: in step-N/ of the folder itself or of its probes/."""
    files = [file for base in (path, path / "probes") for file in base.glob("step-*/*.json")]
    numbered = [(int(digits), file) for file in files if (digits := file.parent.name.removeprefix("step-")).isdecimal()]
    found: dict[str, dict[int, Finding]] = {}
    for step, file in sorted(numbered):
        if (finding := _read(file, damaged, step=step)) is not None:
            found.setdefault(finding.results.probe, {})[step] = finding
    return found


def _name(path: Path) -> str:
    """The folder's name; the results of a run's model say little when called 'probes'."""
    full = path.absolute()
    if full.name == "probes":
        return full.parent.name
    return f"{full.parents[1].name}, {full.name}" if full.parent.name == "probes" else full.name


def _progress(path: Path) -> dict[str, Any] | None:
    found = sorted(path.glob("checkpoints/step-*/progress.json"))
    if not found:
        return None
    try:
        progress = json.loads(found[-1].read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return progress if isinstance(progress, dict) else None
