"""Arrays on disk that are written piece by piece, so that memory does not grow with them: one .npy file an array.

Differs from numpy.save: the length need not be known. numpy pads the header of a .npy file so that a longer length
still fits, and the header is written again at the end.
"""

import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.lib import format as npy


class ArrayWriter:
    """Writes one array; use it in a `with`. It is on the disk, synced, when the block ends without an error."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.length = 0
        """Values added so far."""
        self._dtype = dtype
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Add values, of any integer type, at the end."""
        self.length += len(values)
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # The file is about to be removed; what a full disk no longer takes must not hide the first error.
            with suppress(OSError):
                self._file.close()
            return
        with self._file:
            self._file.seek(0)
            self._write_header()
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self.length,)}
        npy.write_array_header_1_0(self._file, header)


def read_array(path: Path) -> np.ndarray:
    """A memory-mapped array that cannot be written to; an empty one where there is nothing to map."""
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def sync_path(path: Path) -> None:
    """Have the disk keep what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_partial(folder: Path) -> Path:
    """An empty folder beside a folder that is to be made, of this process alone; `publish` gives it its name."""
    partial = folder.with_name(f".{folder.name}.{platform.node()}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def publish(partial: Path, folder: Path) -> None:
    """Rename a finished folder to its place; where another process was first, its work stands and this one's goes."""
    try:
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(partial, ignore_errors=True)


def write_synced(path: Path, text: str) -> None:
    """Write a small text file and have the disk keep it, name and all."""
    path.write_text(text, encoding="utf-8")
    sync_path(path)
    sync_path(path.parent)
