"""What is seen of a run from outside, and whether it ended as the run that nothing happened to."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.checkpoints.checkpoint import verify

CLOCK = ("elapsed_seconds", "tokens_per_second", "logged_seconds")


@dataclass(frozen=True)
class Whole:
    """The run that nothing happened to."""

    recipe: Path
    """Its recipe, which the hurt runs share."""
    run: Path
    """Its directory, with every checkpoint that it wrote."""
    seconds: float
    """From its first line of metrics to its end."""
    epoch_ends: tuple[int, ...]
    """Steps whose batch takes the last examples of an epoch."""


def metrics(run: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    try:
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    except OSError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def last_step(run: Path) -> int:
    """The step of the last line of metrics, 0 if there is none."""
    lines = metrics(run)
    return int(lines[-1]["step"]) if lines else 0


def is_evaluating(run: Path, *, every_steps: int) -> bool:
    """Whether the last line of metrics is of a step that is evaluated, and its evaluation is not there yet."""
    lines = metrics(run)
    return bool(lines) and lines[-1]["step"] % every_steps == 0 and "tokens" in lines[-1]


def is_saving(run: Path) -> bool:
    """Whether a checkpoint is being written, or was when its process died."""
    return any((run / "checkpoints").glob(".writing-*"))


def checkpoints(run: Path) -> list[Path]:
    """Oldest first."""
    return sorted((run / "checkpoints").glob("step-*"))


def saved_step(run: Path) -> int:
    """The step of the newest checkpoint, which is held against its manifest; 0 if there is none."""
    saved = checkpoints(run)
    if not saved:
        return 0
    verify(saved[-1])
    return int(json.loads((saved[-1] / "progress.json").read_text(encoding="utf-8"))["step"])


def start_from(whole: Whole, run: Path, *steps: int) -> Path:
    """A run directory that stands where the whole run stood, with its checkpoints of these steps."""
    for step in steps:
        name = f"checkpoints/step-{step:08d}"
        shutil.copytree(whole.run / name, run / name)
    shutil.copyfile(whole.run / "metrics.jsonl", run / "metrics.jsonl")
    return run


def differences(run: Path, whole: Path) -> list[str]:
    """What a run that has ended has other than the whole one; none: it is the same run, bit for bit."""
    found = []
    for path in checkpoints(run):
        verify(path)
        found += [f"{path.name}/{name}" for name in _other_files(path, whole / "checkpoints" / path.name)]
        if _progress(path) != _progress(whole / "checkpoints" / path.name):
            found.append(f"{path.name}/progress.json")
    if not checkpoints(run) or checkpoints(run)[-1].name != checkpoints(whole)[-1].name:
        found.append("the newest checkpoint is of another step")
    found += [f"finished {name}" for name in _other_files(run, whole)]
    if _told(run) != _told(whole):
        found.append(f"metrics.jsonl: {_first_difference(_told(run), _told(whole))}")
    left = {path.name for path in run.iterdir()} - {path.name for path in whole.iterdir()}
    left |= {path.name for path in (run / "checkpoints").iterdir() if not path.name.startswith("step-")}
    if left:
        found.append(f"left behind: {', '.join(sorted(left))}")
    return found


def _other_files(a: Path, b: Path) -> list[str]:
    """Files of the networks and of the state that differ or are on one side only."""
    names = {
        str(path.relative_to(side))
        for side in (a, b)
        for folder in ("model", "generator", "state")
        for path in (side / folder).rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    return sorted(name for name in names if _bytes(a / name) != _bytes(b / name))


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _progress(checkpoint: Path) -> dict[str, Any]:
    progress: dict[str, Any] = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
    return {key: value for key, value in progress.items() if key not in CLOCK}


def _told(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in metrics(run)]


def _first_difference(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> str:
    for number, (of_a, of_b) in enumerate(zip(a, b, strict=False), start=1):
        if of_a != of_b:
            return f"line {number} is\n  {of_a}\nexpected\n  {of_b}"
    return f"{len(a)} lines, expected {len(b)}"
