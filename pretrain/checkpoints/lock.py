"""The one right to train in a run directory, which a process holds until it ends, however it ends.

The lock is the kernel's on the open file `.lock`, so nothing a killed process leaves behind has to be judged: not its
file, and not its process id, which may be another process by now. Beside it `.lock.json` says who holds it, for the
message to the other.
"""

import json
import os
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

_PATIENCE_SECONDS = 2.0
"""How long a process that is being killed may take to be gone."""
_LONGEST_COMMAND = 200


class LockError(ValueError):
    """Another process trains in the run directory."""


class RunLock:
    """The lock of a run directory; held once in a run, by the main process.

    Children that are forked while it is held do not hold it. A file system without flock falls back to a lock file
    with a host and a process id in it, which is taken over once no such process is left on the same host.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._file, self._record = run_dir / ".lock", run_dir / ".lock.json"
        self._lock = FileLock(self._file, thread_local=False)
        self._made_folder = False

    def acquire(self) -> None:
        """Take the lock, and make the run directory if need be.

        Raises:
            LockError: another process holds it: who, where and since when. Or what stands there is no folder.
            OSError: the run directory cannot be made or written.
        """
        self._made_folder = not self.run_dir.exists()
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise LockError(
                f"{self.run_dir} cannot be a run directory ({error.strerror}: {error.filename}), expected a folder or "
                "the name of a new one. Set output_dir or name to another."
            ) from error
        try:
            self._lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.1)
        except Timeout:
            raise LockError(
                f"{self.run_dir} is in use by {_told(self._record)}, expected no other run in it. Wait until that has "
                "ended, or end it; to train beside it, give this run another name or output_dir."
            ) from None
        record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": shlex.join(sys.orig_argv)[:_LONGEST_COMMAND],
        }
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
        partial.replace(self._record)

    def release(self) -> None:
        """Let go, and leave no trace; nothing if it is not held."""
        if not self._lock.is_locked:
            return
        self._record.unlink(missing_ok=True)
        # While it is held: who waits for the old file finds that it has no name any more, and tries again.
        self._file.unlink(missing_ok=True)
        if self._made_folder and not any(self.run_dir.iterdir()):
            self.run_dir.rmdir()
        self._lock.release()

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _told(record: Path) -> str:
    """Who holds the lock, by what it wrote down, which is not there yet in the moment after it took it."""
    try:
        owner: Any = json.loads(record.read_text(encoding="utf-8"))
        host, pid, since, command = (str(owner[key]) for key in ("host", "pid", "since", "command"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
    command = " ".join(command.split())
    return f"process {pid} on {host} since {since} ({command if command.isprintable() else ascii(command)})"
