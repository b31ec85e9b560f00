"""SIGTERM and SIGINT: before training they end the process at once, during training a checkpoint comes first."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}  # 128 + the signal's number, as shells report it
_GRACE_SECONDS = 5.0


def flags_of(status: int) -> list[float]:
    """An exit status that was asked for as flags, which add up over processes."""
    return [float(status == known) for known in STATUS.values()]


def status_of(flags: Sequence[float]) -> int:
    """The exit status that added flags ask for, 0 if none; SIGTERM goes before SIGINT."""
    return next((status for status, flag in zip(STATUS.values(), flags, strict=True) if flag), 0)


def end_at_once(status: int) -> NoReturn:
    """End the process although threads of libraries still wait for another one, which nothing else ends."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Interrupted(Exception):
    """The run was asked to end and has saved what it had."""

    def __init__(self, status: int, saved: str) -> None:
        super().__init__(f"interrupted; {saved}")
        self.status = status


class Signals:
    """Catches the signals that ask a run to end."""

    def __init__(self) -> None:
        self.received = 0
        """Exit status that was asked for, 0 if none."""
        self.deferred = False
        """Whether the loop looks at `received` itself; a second SIGINT ends the process all the same."""

    def install(self) -> None:
        """Start catching; only the main thread can."""
        for number in STATUS:
            signal.signal(number, self._handle)

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """While it lasts, a signal that ends the process does so even if a library does not come back to Python."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._enforce, args=(reading,), daemon=True, name="signals").start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writing)  # which ends the thread

    def _handle(self, number: int, frame: FrameType | None) -> None:
        second_interrupt = number == signal.SIGINT and self.received == STATUS[signal.SIGINT]
        self.received = STATUS[signal.Signals(number)]
        if not self.deferred or second_interrupt:
            raise SystemExit(self.received)

    def _enforce(self, reading: int) -> None:
        """Python runs `_handle` between two of its instructions, and a library may wait for others for hours in one."""
        interrupts = 0
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while byte := pipe.read(1):
                interrupts += byte[0] == signal.SIGINT
                if byte[0] in STATUS and (not self.deferred or interrupts > 1):
                    time.sleep(_GRACE_SECONDS)
                    os._exit(STATUS[signal.Signals(byte[0])])
