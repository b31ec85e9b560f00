"""One cell of a sweep, from its recipe to the comparing evaluation of its finished model.

Training is launched as users launch it, in a process of its own, so that a cell is a run like any other: it resumes,
verifies and can be opened by itself.
"""

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pretrain.checkpoints.lock import LockError, RunLock
from pretrain.sweeps.cells import Cell
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.settings import Sweep
from probes.results import write_text

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # opened before the fork that it is called behind
_LOOKING_SECONDS = 0.1
_PATIENCE_SECONDS = 600.0
"""How long a run that an earlier sweep left behind may take to save and end."""
_LAST_LINES = 15
_LAUNCHER = "accelerate/commands/launch.py"
_DEFAULT_CONFIG = Path("accelerate_config.yaml")


class CellStopped(Exception):
    """A cell that was asked to end; launched again, it goes on."""


class CellFailed(Exception):
    """A cell that did not come to its end by itself; the message is what it said last."""


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
    evaluation: tuple[str, ...] | None
    """Options of `python -m pretrain.evaluate`; None: no document is held out to score on."""

    @classmethod
    def of(cls, cell: Cell, sweep: Sweep, folder: SweepFolder) -> "Job":
        return cls(
            name=cell.name,
            recipe=folder.recipe(cell.name),
            run_dir=folder.run(cell.name),
            log=folder.log(cell.name),
            compared=folder.compared(cell.name),
            launch=(*launcher(sweep), "-m", "pretrain"),
            evaluation=_evaluation(sweep) if cell.recipe.corpus.held_out else None,
        )


def launcher(sweep: Sweep) -> tuple[str, ...]:
    """`accelerate launch` of this Python, as far as `-m`."""
    config = sweep.accelerate_config or (str(_DEFAULT_CONFIG) if _DEFAULT_CONFIG.exists() else None)
    options = ("--config_file", config) if config else ()
    return (sys.executable, "-m", "accelerate.commands.launch", *options)


def _evaluation(sweep: Sweep) -> tuple[str, ...]:
    rates = ("--rates", *map(str, sweep.rates)) if sweep.rates else ()
    return (*rates, *(("--word-classes",) if sweep.word_classes else ()))


def is_done(job: Job) -> bool:
    """Whether the cell is trained and its finished model is scored as the sweep asks."""
    return _record(job).get("evaluation") == _listed(job)


def conduct(job: Job, *, cores: Sequence[int] = (), stopping: Callable[[], bool] = lambda: False) -> None:
    """Train a cell to its end and score it; what is done already is not done again.

    Args:
        cores: CPUs that it may use; none: all.
        stopping: whether it is to end early.

    Raises:
        CellFailed: training or scoring failed.
        CellStopped: it was asked to end, and has saved.
    """
    record = _record(job)
    if not record:
        _wait_until_free(job.run_dir, stopping)
        began = time.monotonic()
        _run([*job.launch, str(job.recipe)], job.log, cores, stopping)
        record = {"model": _fingerprint(job.run_dir), "seconds": round(time.monotonic() - began, 3)}
        _write(job, record)
    if record.get("evaluation") != _listed(job):
        began = time.monotonic()
        figures = _scored(job, job.evaluation, cores, stopping) if job.evaluation is not None else {}
        seconds = round(time.monotonic() - began, 3)
        _write(job, record | {"evaluation": _listed(job), "figures": figures, "evaluation_seconds": seconds})


def _scored(job: Job, options: Sequence[str], cores: Sequence[int], stopping: Callable[[], bool]) -> dict[str, Any]:
    command = [sys.executable, "-m", "pretrain.evaluate", str(job.run_dir), *options]
    figures: dict[str, Any] = json.loads(_run(command, job.log, cores, stopping).splitlines()[-1])
    return figures


def _record(job: Job) -> dict[str, Any]:
    """What is known of the finished model that stands in the run directory; empty: it is not trained yet."""
    if not job.compared.exists():
        return {}
    record: dict[str, Any] = json.loads(job.compared.read_text(encoding="utf-8"))
    return record if record["model"] == _fingerprint(job.run_dir) else {}


def _write(job: Job, record: dict[str, Any]) -> None:
    write_text(job.compared, json.dumps(record, indent=1) + "\n")


def _listed(job: Job) -> list[str] | None:
    return None if job.evaluation is None else list(job.evaluation)


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


def _run(command: Sequence[str], log: Path, cores: Sequence[int], stopping: Callable[[], bool]) -> str:
    """Run a command to its end; its output goes to the log, standard output is returned as well."""
    log.parent.mkdir(parents=True, exist_ok=True)
    output = log.with_suffix(".out")
    with log.open("ab") as said, output.open("wb") as told:
        start = said.tell()
        # In a session of its own, so that Ctrl-C reaches it once, through us.
        process = subprocess.Popen(
            command, stdout=told, stderr=said, start_new_session=True, preexec_fn=lambda: _prepare(cores)
        )
        try:
            while (status := _waited(process)) is None:
                if stopping():
                    raise CellStopped(f"{log.stem} was asked to end")
        finally:
            _end(process)
    text = output.read_text(encoding="utf-8", errors="replace")
    output.unlink()
    if status:
        raise CellFailed(_last_lines(log, start) or f"it ended with status {status} and said nothing")
    return text


def _prepare(cores: Sequence[int]) -> None:
    """In the child: end with the sweep, however that ends, and keep to the cores that were given."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if cores:
            os.sched_setaffinity(0, cores)


def _waited(process: subprocess.Popen) -> int | None:
    try:
        return process.wait(_LOOKING_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen) -> None:
    """End a launcher and all that it started, which save first; nothing if they are done."""
    if process.poll() is not None:
        return
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    psutil.wait_procs(family)


def _last_lines(log: Path, start: int) -> str:
    """What a command said last: its error message if it has one; what the launcher adds to it is left out."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    tracebacks = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if tracebacks and any(_LAUNCHER in line for line in lines[tracebacks[-1] :]):
        lines = lines[: tracebacks[-1]]
    mistakes = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[mistakes[-1] :][:_LAST_LINES] if mistakes else lines[-_LAST_LINES:])
