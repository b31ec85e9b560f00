"""Real runs in processes of their own: started, watched, signalled, and cleaned up whatever happens.

Every wait has a limit, and whoever outlives it is shown with the stack of each of its threads and with what it said.
"""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 300.0
"""Seconds in which a launch of these small runs is over, on a busy machine as well."""
_LAUNCHER = ("ACCELERATE_", "MASTER_", "WORLD_SIZE", "RANK", "LOCAL_", "FSDP_", "GROUP_", "ROLE_", "TORCHELASTIC_")
_MARK = "CLOZEKIT_FAULTS_LAUNCH"


class Launched:
    """A process that was started, with all that it starts; leaving its context ends every one of them."""

    def __init__(
        self, command: Sequence[str], *, environment: dict[str, str] | None = None, max_file_bytes: int | None = None
    ) -> None:
        """Start it.

        Args:
            command: arguments of Python.
            environment: variables on top of those of the tests.
            max_file_bytes: size at which writing a file fails (RLIMIT_FSIZE); None: no limit.
        """
        self._mark = uuid.uuid4().hex
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER)}
        own = {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", _MARK: self._mark}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT, env={**kept, **own, **(environment or {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: _starve(max_file_bytes),
        )  # fmt: skip
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.append(line.decode(errors="replace"))

    def __enter__(self) -> "Launched":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self._reader.join(timeout=10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    @property
    def said(self) -> str:
        """Standard error so far."""
        return "".join(self._said)

    @property
    def errors(self) -> list[str]:
        """The messages of a user's mistake in it."""
        return re.findall(r"^error: .*", self.said, re.MULTILINE)

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    @property
    def was_killed(self) -> bool:
        """Whether it died of SIGKILL and did not come to an end of its own."""
        return self.process.poll() == -signal.SIGKILL

    def processes(self) -> list[psutil.Process]:
        """All that this launch started and that live; torchrun's workers are in sessions of their own."""
        return [process for process in psutil.process_iter() if _environment_of(process).get(_MARK) == self._mark]

    def rank(self, number: int) -> psutil.Process | None:
        """The process of a rank that torchrun started; None: it does not stand yet."""
        for process in self.processes():
            if process.pid != self.process.pid and _environment_of(process).get("RANK") == str(number):
                return process
        return None

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if it still lives."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and its death awaited."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it stand still until it may go on."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        self.send(signal.SIGCONT)

    def wait(self, seconds: float = LIMIT) -> int:
        """The exit status: as a shell gives it for what the process chose, minus a signal's number if it died of one.

        Raises:
            AssertionError: it hangs.
        """
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end in {seconds:.0f} s\n{self.stacks()}") from None
        self._reader.join(timeout=10)  # all that was said is there
        return status

    def stacks(self) -> str:
        """Ends the processes with the stack of every thread of theirs on standard error, and gives what was said."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGABRT)
                process.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        return self.said

    def until(self, condition: Callable[[], bool], seconds: float = LIMIT) -> bool:
        """Whether a condition came true while the process ran.

        Raises:
            AssertionError: neither in the time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.is_over:
                return condition()
            if condition():
                return True
            time.sleep(0.001)
        raise AssertionError(f"waited {seconds:.0f} s in vain\n{self.stacks()}")


def one(recipe: Path, *arguments: str, max_file_bytes: int | None = None, **environment: str) -> Launched:
    """`python -m pretrain`."""
    command = ["-m", "pretrain", str(recipe), *arguments]
    return Launched(command, environment=environment, max_file_bytes=max_file_bytes)


def torchrun(recipe: Path, *arguments: str, max_restarts: int = 0, processes: int = 2) -> Launched:
    """Several ranks under torchrun."""
    return Launched(
        [
            *("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"),
            *(f"--max-restarts={max_restarts}", "-m", "pretrain", str(recipe), *arguments),
        ],
        environment={"ACCELERATE_USE_CPU": "true"},
    )


@contextlib.contextmanager
def two(recipe: Path, *arguments: str) -> Iterator[tuple[Launched, Launched]]:
    """Two ranks without a launcher: nobody forwards a signal, and each one's exit status can be read."""
    port = str(_free_port())
    with contextlib.ExitStack() as stack:
        ranks = [
            stack.enter_context(
                one(
                    recipe, *arguments, ACCELERATE_USE_CPU="true", MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
                    RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                )
            )
            for rank in range(2)
        ]  # fmt: skip
        yield ranks[0], ranks[1]


def catches(launched: Launched, number: signal.Signals) -> bool:
    """Whether the process has its own handler of a signal by now."""
    try:
        status = Path(f"/proc/{launched.process.pid}/status").read_text()
    except OSError:
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _starve(max_file_bytes: int | None) -> None:
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))


def _environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.Error, OSError):  # gone, or not ours
        return {}
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
