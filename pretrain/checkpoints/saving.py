"""Checkpoints written beside the training, which waits only while the loop is copied."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Saving:
    """Writes one checkpoint at a time in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Begin to write, once what was begun before is done.

        Raises:
            CheckpointError: what was begun before failed.
        """
        self.finish()
        # A daemon, since a second Ctrl-C does not wait for it: what it leaves behind is no checkpoint yet.
        self._thread = threading.Thread(target=self._write, args=(write,), daemon=True, name="saving")
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def finish(self) -> None:
        """Return when what was begun is done.

        Raises:
            CheckpointError: it failed.
        """
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what went wrong so far."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._error = error
