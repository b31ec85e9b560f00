"""The sha256 of files, remembered from launch to launch."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokenization.reading.documents import CorpusError

_SETTLED_NS = 2_000_000_000


class Digests:
    """Gives the sha256 of files, and reads a file again only where its stamp has changed.

    The stamp is absolute path, size, modification time in nanoseconds and inode. What that trusts: whoever changes the
    bytes of a file in place and keeps its size must let the modification time move, as every write does; one who sets
    it back (`touch -r`, or a copy over it that keeps times and the inode) is not noticed. A file that changed within
    the last two seconds is not trusted, for clocks of file systems tick that coarsely. Delete the file of digests to
    have everything read again; a damaged one counts as empty.
    """

    def __init__(self, remembered: Path | None) -> None:
        """
        Args:
            remembered: a small JSON file, made by `save` if it is not there; None: nothing is remembered.
        """
        self._place = remembered
        self._known = _read(remembered) if remembered is not None else {}
        self._new: dict[str, list[Any]] = {}

    def of(self, path: Path) -> tuple[str, int]:
        """The sha256 (hex) of a file's bytes, and how many there are.

        Raises:
            CorpusError: the file cannot be read.
        """
        key = os.path.abspath(path)
        try:
            stamp = _stamp(path)
            settled = time.time_ns() - stamp[1] > _SETTLED_NS
            if settled and self._known.get(key, [])[:-1] == stamp:
                return str(self._known[key][-1]), stamp[0]
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                num_bytes = stream.tell()
            if settled and _stamp(path) == stamp:
                self._new[key] = [*stamp, digest]
        except OSError as error:
            raise CorpusError(
                f"{path}: cannot be read ({error.strerror}).\nExpected a readable file. Check its permissions."
            ) from error
        return digest, num_bytes

    def save(self) -> None:
        """Write what was learnt beside what others wrote meanwhile; forget files that are gone. May fail silently."""
        if self._place is None or not self._new:
            return
        known = {key: entry for key, entry in (_read(self._place) | self._new).items() if os.path.exists(key)}
        building = self._place.with_name(f"{self._place.name}.{os.getpid()}")
        with suppress(OSError):  # the next launch will read the corpus again
            self._place.parent.mkdir(parents=True, exist_ok=True)
            try:
                building.write_text(json.dumps(known, indent=0), encoding="utf-8")
                building.replace(self._place)
            finally:
                building.unlink(missing_ok=True)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _read(place: Path) -> dict[str, list[Any]]:
    """What a file remembers by path: size, modification time, inode and sha256; nothing if it is none of ours."""
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: entry for key, entry in known.items() if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and [type(part) for part in entry] == [int, int, int, str]
        and len(entry[3]) == hashlib.sha256().digest_size * 2
    )
