"""Token ids that stand in several files, read as if they were one array."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tokenization.preparing.arrays import read_array

# Each mapped file holds a descriptor open, of which a process often has no more than 1,024.
_MAX_OPEN = 256


class TokenIds:
    """(num_tokens,) token ids in memory-mapped files one after another; has len(), slices and arrays of indices.

    What is asked for is copied out of the files as it is in them, uint16 or uint32. At most 256 files are open at once.
    """

    def __init__(self, paths: Sequence[Path], lengths: npt.ArrayLike, dtype: npt.DTypeLike) -> None:
        """
        Args:
            paths: .npy files, in order.
            lengths: how many ids each holds.
            dtype: of all of them.
        """
        self.dtype = np.dtype(dtype)
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._starts = self._ends - np.asarray(lengths, dtype=np.int64)
        self._paths = tuple(paths)
        self._open = lru_cache(maxsize=_MAX_OPEN)(lambda number: read_array(self._paths[number]))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, key: slice | npt.NDArray[np.integer]) -> np.ndarray:
        if isinstance(key, slice):
            return self._span(*key.indices(len(self)))
        return self._gather(np.asarray(key))

    def _span(self, start: int, stop: int, step: int) -> np.ndarray:
        assert step == 1, "ids are read forwards"
        if stop <= start:
            return np.empty(0, dtype=self.dtype)
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        parts = [
            self._open(number)[max(0, start - self._starts[number]) : stop - self._starts[number]]
            for number in range(first, last + 1)
        ]
        return np.array(parts[0]) if len(parts) == 1 else np.concatenate(parts)

    def _gather(self, indices: npt.NDArray[np.integer]) -> np.ndarray:
        flat = indices.ravel()
        ids = np.empty(len(flat), dtype=self.dtype)
        if len(flat) == 0:
            return ids.reshape(indices.shape)
        lowest, highest = np.searchsorted(self._ends, [flat.min(), flat.max()], side="right")
        assert flat.min() >= 0 and highest < len(self._ends), "an index outside the corpus"
        if lowest == highest:
            ids[:] = self._open(int(lowest))[flat - self._starts[lowest]]
            return ids.reshape(indices.shape)
        file = np.searchsorted(self._ends, flat, side="right")
        order = np.argsort(file, kind="stable")
        bounds = np.append(np.nonzero(np.diff(file[order], prepend=-1))[0], len(order))
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            places = order[start:end]
            number = int(file[places[0]])
            ids[places] = self._open(number)[flat[places] - self._starts[number]]
        return ids.reshape(indices.shape)
