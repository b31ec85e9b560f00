"""Exact duplicates over a whole corpus, found by hash, range after range of the hashes.

Of equal entries the first in the order of the corpus counts as the original, a held-out one before any to train on.
Hashes have 64 bits, so among a thousand million lines two different ones are taken for equal with a chance of 3 %.
Memory: some 60 MB, from 64 million entries on a byte for each; as much again for the marks of entries to be dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenization.preparing.survey import Survey

_HASHES_AT_ONCE = 1 << 20  # of the whole: fewer are sorted at once only where there are fewer
_MOST_READINGS = 64
_HASH_RANGE = 1 << 64

Flags = npt.NDArray[np.bool_]


class Entries(Protocol):
    """Documents or lines of one section."""

    @property
    def hashes(self) -> npt.NDArray[np.uint64]: ...

    def held_out(self, indices: npt.NDArray[np.int64]) -> Flags: ...


@dataclass(frozen=True, slots=True)
class DocumentEntries:
    survey: Survey

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        return self.survey.document_hashes

    def held_out(self, indices: npt.NDArray[np.int64]) -> Flags:
        flags: Flags = self.survey.is_held_out[indices]
        return flags


@dataclass(frozen=True, slots=True)
class LineEntries:
    survey: Survey

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        return self.survey.line_hashes

    def held_out(self, indices: npt.NDArray[np.int64]) -> Flags:
        ends = np.cumsum(self.survey.document_lines, dtype=np.int64)
        flags: Flags = self.survey.is_held_out[np.searchsorted(ends, indices, side="right")]
        return flags


@dataclass(frozen=True, slots=True)
class Repeats:
    """How much of a corpus stands in it more than once."""

    entries: int
    repeated: int
    """Entries that are not the first of their content."""
    shared: int
    """Held-out entries whose content stands in the training part too."""


def find_repeats(parts: Sequence[Entries], marks: Sequence[Flags] | None = None) -> Repeats:
    """Count repeated entries, and mark them.

    Args:
        parts: the entries of each section, in order.
        marks: (n,) bool of each section, False; set to True in place where an entry repeats an earlier one.
    """
    total = sum(len(part.hashes) for part in parts)
    repeated = shared = 0
    for hashes, held_out, part, index in _by_hash(parts, total):
        # Stable, so that in the held-out and in the training part the order of the corpus stays.
        order = np.lexsort((~held_out, hashes))
        hashes, held_out = hashes[order], held_out[order]
        is_first = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
        repeated += int(np.count_nonzero(~is_first))
        group = np.cumsum(is_first) - 1
        in_training = np.zeros(int(is_first.sum()), dtype=bool)
        in_training[group[~held_out]] = True
        shared += int(np.count_nonzero(in_training[group] & held_out))
        if marks is not None:
            again = order[~is_first]
            for number in np.unique(part[again]):
                marks[number][index[again[part[again] == number]]] = True
    return Repeats(entries=total, repeated=repeated, shared=shared)


def _by_hash(
    parts: Sequence[Entries], total: int
) -> Iterator[tuple[npt.NDArray[np.uint64], Flags, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """All entries whose hashes lie in one range, range after range: hash, held out, part and index of each."""
    at_once = max(_HASHES_AT_ONCE, total // _MOST_READINGS)
    num_ranges = max(1, -(-total // at_once))
    bounds = [_HASH_RANGE * number // num_ranges for number in range(num_ranges)]
    for lowest, above in zip(bounds, [*bounds[1:], _HASH_RANGE], strict=True):
        found = []
        for number, part in enumerate(parts):
            hashes = part.hashes
            for start in range(0, len(hashes), _HASHES_AT_ONCE):
                here = hashes[start : start + _HASHES_AT_ONCE]
                # The highest bound does not fit into 64 bits.
                index = start + np.nonzero((here >= np.uint64(lowest)) & (here <= np.uint64(above - 1)))[0]
                found.append((hashes[index], part.held_out(index), np.full(len(index), number), index))
        if found:
            hashes, held_out, part_numbers, indices = (np.concatenate(column) for column in zip(*found, strict=True))
            yield hashes, held_out, part_numbers, indices
