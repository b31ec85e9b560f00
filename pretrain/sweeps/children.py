"""Commands that a sweep runs in processes of their own, which end with it and keep to their cores."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pretrain.distributed.launchers import end_with_parent

_LOOKING_SECONDS = 0.1
_LAST_LINES = 15
_LAUNCHER = "accelerate/commands/launch.py"


@dataclass(frozen=True, slots=True)
class Share:
    """What a worker may use of its machine."""

    cores: tuple[int, ...] = ()
    """CPUs; none: all."""
    devices: str | None = None
    """GPUs, as CUDA_VISIBLE_DEVICES lists them; None: all."""

    @property
    def environment(self) -> dict[str, str]:
        """Of a child."""
        return {**os.environ, **({} if self.devices is None else {"CUDA_VISIBLE_DEVICES": self.devices})}

    def confine(self) -> None:
        """In a child before it begins: keep to the cores, and end with the sweep, however that ends."""
        end_with_parent()
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)


class CellStopped(Exception):
    """A cell that was asked to end; launched again, it goes on."""


class CellFailed(Exception):
    """A cell that did not come to its end by itself; the message is what it said last."""


def run(command: Sequence[str], log: Path, share: Share, stopping: Callable[[], bool]) -> str:
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
            command,
            stdout=told,
            stderr=said,
            start_new_session=True,
            preexec_fn=share.confine,
            env=share.environment,
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
