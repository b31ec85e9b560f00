"""SIGTERM and SIGINT: before training they end the process at once, during training a checkpoint comes first."""

import signal
from types import FrameType

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}  # 128 + the signal's number, as shells report it


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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        second_interrupt = number == signal.SIGINT and self.received == STATUS[signal.SIGINT]
        self.received = STATUS[signal.Signals(number)]
        if not self.deferred or second_interrupt:
            raise SystemExit(self.received)
