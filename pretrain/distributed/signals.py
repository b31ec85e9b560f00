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
_MEETING_SECONDS = 20.0  # torchrun kills what is still there 30 seconds after its SIGTERM


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
        self.again = "launch the same command to go on"
        """What to do to go on."""


class Signals:
    """Catches the signals that ask a run to end."""

    def __init__(self, *, has_others: bool = False) -> None:
        """
        Args:
            has_others: other processes are to be met, and wait for this one, before it can tell them that it leaves.
        """
        self.received = 0
        """Exit status that was asked for, 0 if none."""
        self.deferred = has_others
        """Whether the loop looks at `received` itself; a second SIGINT ends the process all the same."""
        self._is_meeting = has_others

    def install(self) -> None:
        """Start catching; only the main thread can."""
        for number in STATUS:
            signal.signal(number, self._handle)

    def met(self) -> None:
        """The others are met: a signal that came meanwhile takes effect, as do later ones, at once."""
        self.deferred = self._is_meeting = False
        if self.received:
            raise SystemExit(self.received)

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
            if self.received:
                self._end_soon(self.received)
            while byte := pipe.read(1):
                interrupts += byte[0] == signal.SIGINT
                if byte[0] in STATUS and (not self.deferred or self._is_meeting or interrupts > 1):
                    self._end_soon(STATUS[signal.Signals(byte[0])])

    def _end_soon(self, status: int) -> NoReturn:
        time.sleep(_MEETING_SECONDS if self._is_meeting else _GRACE_SECONDS)
        os._exit(status)
