"""One cell of a sweep, from its recipe to the comparing evaluation of its finished model.

Training is launched as users launch it, in a process of its own, so that a cell is a run like any other: it resumes,
verifies and can be opened by itself.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.checkpoints.lock import LockError, RunLock
from pretrain.sweeps.cells import Cell
from pretrain.sweeps.children import CellFailed, Share, run
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.settings import Sweep
from probes.results import write_text

_PATIENCE_SECONDS = 600.0
"""How long a run that an earlier sweep left behind may take to save and end."""
_DEFAULT_CONFIG = Path("accelerate_config.yaml")
_SHOWN_CHARACTERS = 200
_WHOLE = Share()


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs to know of a cell; plain data, so that it can be sent to another machine."""

    name: str
    recipe: Path
    run_dir: Path
    log: Path
    compared: Path
    launch: tuple[str, ...]
    """The command before the recipe."""
    scorer: tuple[str, ...]
    """The command before the run directory."""
    probes: tuple[str, ...]
    """Those that look at its finished model, as JSON."""
    evaluation: tuple[str, ...]
    """Options of the scorer."""

    @classmethod
    def of(cls, cell: Cell, sweep: Sweep, folder: SweepFolder) -> "Job":
        return cls(
            name=cell.name,
            recipe=folder.recipe(cell.name),
            run_dir=folder.run(cell.name),
            log=folder.log(cell.name),
            compared=folder.compared(cell.name),
            launch=(*launcher(sweep), "-m", "pretrain"),
            scorer=(sys.executable, "-m", "pretrain.evaluate"),
            probes=tuple(probe.model_dump_json() for probe in cell.recipe.probes),
            evaluation=_evaluation(sweep),
        )


def launcher(sweep: Sweep) -> tuple[str, ...]:
    """`accelerate launch` of this Python, as far as `-m`."""
    config = sweep.accelerate_config or (str(_DEFAULT_CONFIG) if _DEFAULT_CONFIG.exists() else None)
    options = ("--config_file", config) if config else ()
    return (sys.executable, "-m", "accelerate.commands.launch", *options)


def _evaluation(sweep: Sweep) -> tuple[str, ...]:
    rates = ("--rates", *map(str, sweep.rates)) if sweep.rates else ()
    classes = ("--word-classes",) if sweep.word_classes else ()
    words = ("--function-words", sweep.function_words) if sweep.word_classes and sweep.function_words else ()
    return (*rates, *classes, *words)


def is_done(job: Job) -> bool:
    """Whether the cell is trained and its finished model is scored as the sweep asks."""
    return _record(job).get("evaluation") == list(job.evaluation)


def conduct(job: Job, *, share: Share = _WHOLE, stopping: Callable[[], bool] = lambda: False) -> None:
    """Train a cell to its end and score it; what is done already is not done again.

    Args:
        share: what it may use of the machine.
        stopping: whether it is to end early.

    Raises:
        CellFailed: training or scoring failed.
        CellStopped: it was asked to end, and has saved.
    """
    record = _record(job)
    if not record:
        _wait_until_free(job.run_dir, stopping)
        record = _record(job)  # which another worker may have made meanwhile
    if not record:
        began = time.monotonic()
        run([*job.launch, str(job.recipe)], job.log, share, stopping)
        seconds = round(time.monotonic() - began, 3)
        record = {"model": _fingerprint(job.run_dir), "probes": list(job.probes), "seconds": seconds}
        _write(job, record)
    if record.get("evaluation") != list(job.evaluation):
        began = time.monotonic()
        told = run([*job.scorer, str(job.run_dir), *job.evaluation], job.log, share, stopping)
        seconds = round(time.monotonic() - began, 3)
        scored = {"evaluation": list(job.evaluation), "figures": _figures(told), "evaluation_seconds": seconds}
        _write(job, record | scored)


def _figures(told: str) -> dict[str, float | None]:
    """What a scorer printed last."""
    try:
        figures = json.loads(told.splitlines()[-1])
    except (IndexError, ValueError):
        figures = None
    if not isinstance(figures, dict):
        raise CellFailed(
            f"its scoring ended with {told[-_SHOWN_CHARACTERS:]!r}, expected figures as JSON; run it again"
        )
    return figures


def _record(job: Job) -> dict[str, Any]:
    """What is known of the finished model in the run directory; empty: it is to be trained, or to be probed, yet."""
    try:
        record = json.loads(job.compared.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    is_whole = record.get("model") == _fingerprint(job.run_dir) and record.get("probes") == list(job.probes)
    return record if is_whole else {}


def _write(job: Job, record: dict[str, Any]) -> None:
    write_text(job.compared, json.dumps(record, indent=1) + "\n")


def _fingerprint(run_dir: Path) -> str:
    """Of the finished model's weights; empty where there are none."""
    path = run_dir / "model" / "model.safetensors"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wait_until_free(run_dir: Path, stopping: Callable[[], bool]) -> None:
    """A run whose sweep was killed saves before it ends; until then its directory is its own."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not stopping():
        try:
            with RunLock(run_dir):
                return
        except LockError:
            if time.monotonic() > deadline:
                return  # the run itself will say who holds it
