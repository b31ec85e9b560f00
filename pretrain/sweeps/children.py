"""Commands that a sweep runs in processes of their own, which end with it and keep to their cores."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from pretrain.distributed.launchers import end_with_parent

_LOOKING_SECONDS = 0.1
_LAST_LINES = 15
_LAUNCHER = "accelerate/commands/launch.py"


class CellStopped(Exception):
    """A cell that was asked to end; launched again, it goes on."""


class CellFailed(Exception):
    """A cell that did not come to its end by itself; the message is what it said last."""


def run(command: Sequence[str], log: Path, cores: Sequence[int], stopping: Callable[[], bool]) -> str:
    """Run a command to its end; what it says goes to the log, what it prints is returned.

    Raises:
        CellFailed: it failed.
        CellStopped: it was asked to end, and all that it had started has.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    output = log.with_suffix(".out")
    with log.open("ab") as said, output.open("wb") as told:
        start = said.tell()
        # In a session of its own, so that Ctrl-C reaches it once, through us.
        process = subprocess.Popen(
            command, stdout=told, stderr=said, start_new_session=True, preexec_fn=lambda: confine(cores)
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


def confine(cores: Sequence[int]) -> None:
    """In the child: end with the sweep, however that ends, and keep to the cores that were given."""
    end_with_parent()
    if cores and hasattr(os, "sched_setaffinity"):
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
