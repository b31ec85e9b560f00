"""What the processes of a run tell each other beside collectives, through the store at which they met.

A collective says neither who is missing nor that somebody was asked to leave while the others are busy with a corpus.
"""

import os
import signal
import threading
import time
from datetime import timedelta

from torch.distributed import PrefixStore, distributed_c10d  # type: ignore[attr-defined]

from pretrain.distributed.signals import STATUS

_LEAVING = "leaving"
_LISTENING_SECONDS = 0.5
_LEAVING_SECONDS = 3.0


class Notices:
    """The notices of one process and to it."""

    def __init__(self, rank: int, world_size: int) -> None:
        self._rank, self._world_size = rank, world_size
        self.heard = 0
        """Exit status that another process was asked to leave with, 0 if none was."""
        # torch hands out no other way to the store that its launchers and it agree on
        self._store = PrefixStore("clozekit", distributed_c10d._get_default_store())
        self._is_over = threading.Event()
        self._place: int | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True, name="notices")

    def listen(self) -> None:
        """From now on, get the signal that another process was asked to leave with, as if it had come to this one."""
        self._thread.start()

    def end(self) -> None:
        """Stop listening: a thread that is inside torch when the interpreter ends aborts the process."""
        self._is_over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_LEAVING_SECONDS)

    def leave(self, status: int) -> None:
        """Tell the others that this process was asked to leave with a status, and give them a moment to hear it."""
        self.end()  # so that only the others hear it, and are counted
        try:
            self._store.set(_LEAVING, str(status))
            until = time.monotonic() + _LEAVING_SECONDS
            while time.monotonic() < until and self._store.add("heard", 0) < self._world_size - 1:
                time.sleep(0.05)
        except RuntimeError:  # the process that keeps the store is gone, so all are leaving
            return

    def come(self, place: int) -> None:
        """Have it said, before long, that this process has come to a collective and waits there."""
        self._place = place

    def missing(self, place: int) -> list[int]:
        """Ranks that have not said that they have come to a collective."""
        found: list[int] = []
        asking = threading.Thread(target=self._ask, args=(place, found), daemon=True, name="asking")
        asking.start()
        asking.join(_LEAVING_SECONDS)
        return [0] if asking.is_alive() else found  # rank 0 keeps the store, which does not answer either

    def _ask(self, place: int, found: list[int]) -> None:
        keys = {rank: f"come/{place}/{rank}" for rank in range(self._world_size)}
        found += [rank for rank, key in keys.items() if not self._store.check([key])]

    def _listen(self) -> None:
        """The thread that may have to wait for the store, so that nobody else does."""
        numbers, said = {status: number for number, status in STATUS.items()}, None
        try:
            while not self._store.check([_LEAVING]):
                if self._is_over.wait(_LISTENING_SECONDS):
                    return
                if said != self._place:
                    said = self._place
                    self._store.set(f"come/{said}/{self._rank}", "")
            self._store.set_timeout(timedelta(seconds=_LEAVING_SECONDS))
            self.heard = int(self._store.get(_LEAVING))
            os.kill(os.getpid(), numbers.get(self.heard, signal.SIGTERM))
            self._store.add("heard", 1)
        except RuntimeError:  # as above, and a collective says so
            return
