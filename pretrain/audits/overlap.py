"""How much of the held-out text stands in the training text as well: a held-out loss over it measures memory.

Source: Brown et al. 2020 (https://arxiv.org/abs/2005.14165), appendix C, which looks for any 13-gram that is shared,
and Touvron et al. 2023 (https://arxiv.org/abs/2307.09288), appendix A.6, which asks which share of a text's tokens
stands in shared n-grams and calls a text with 80 % or more of them dirty. Differs from both: n-grams are of the
recipe's tokens, not of words. The held-out n-grams are kept in memory as 64-bit hashes while the training text
streams by.
"""

# G n-grams

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from objectives.draws import Key, permutation
from objectives.rows import Ints, document_token_offsets
from tokenization.store import TokenSplit

NGRAM = 13
"""Tokens of an n-gram (GPT-3: 13 words at most)."""
MAX_HELD_OUT_TOKENS = 4_000_000
"""Held-out documents beyond these are left out by a draw: their hashes take 8 bytes each."""

_TOKENS_AT_ONCE = 1 << 21
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd; 2**64 / golden ratio
_FILTER_RATIO = 32  # slots for each held-out n-gram: 3 of 100 others pass; 128 MB for MAX_HELD_OUT_TOKENS

_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What held-out documents share with the training text; arrays (D,), one entry a document that was looked at."""

    num_tokens: Ints
    """Tokens of each document."""
    num_shared: Ints
    """Of those, how many stand in an n-gram that the training text has too."""
    num_documents: int
    """Held-out documents in all."""

    @property
    def is_touched(self) -> npt.NDArray[np.bool_]:
        """(D,) bool: the document shares an n-gram."""
        return np.asarray(self.num_shared > 0)


def find_overlap(train: TokenSplit, held_out: TokenSplit, *, seed: int) -> Overlap:
    """Look for the n-grams of held-out documents in the whole of the training text.

    An n-gram never crosses the end of a document. Two n-grams with one hash would count as one: one chance in 10**12
    for each held-out n-gram and 10 million training tokens.
    """
    offsets = document_token_offsets(held_out)
    documents = _drawn(np.diff(offsets), seed=seed)
    parts = [held_out.ids[offsets[document] : offsets[document + 1]] for document in documents.tolist()]
    hashes = [_hashes(part) for part in parts]
    found = _Found(np.unique(np.concatenate(hashes)))
    with tqdm(total=train.num_tokens, desc="audit: n-grams", unit=" tokens", unit_scale=True, disable=None) as bar:
        for ids, starts in _chunks(train):
            found.look_for(_hashes(ids)[starts])
            bar.update(len(ids))
    num_shared = [_covered(found(own), len(part)) for own, part in zip(hashes, parts, strict=True)]
    return Overlap(
        num_tokens=np.array([len(part) for part in parts], dtype=np.int64),
        num_shared=np.array(num_shared, dtype=np.int64),
        num_documents=held_out.num_documents,
    )


def _drawn(lengths: Ints, *, seed: int) -> Ints:
    """Documents of at most MAX_HELD_OUT_TOKENS in sum, at least one: all of them where they are not more."""
    order = permutation(Key(seed, 0, "audit.held_out"), len(lengths))
    fitting = int(np.searchsorted(np.cumsum(lengths[order]), MAX_HELD_OUT_TOKENS, side="right"))
    return np.sort(order[: max(1, fitting)])


class _Found:
    """Which of some n-grams were found."""

    def __init__(self, hashes: _Hashes) -> None:
        self._hashes, self._seen = hashes, np.zeros(len(hashes), dtype=np.bool_)
        # Most training n-grams are told apart from all held-out ones by looking at a few bits.
        bits = (_FILTER_RATIO * max(1, len(hashes))).bit_length() - 1
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, dtype=np.bool_)
        self._filter[hashes >> self._shift] = True

    def look_for(self, hashes: _Hashes) -> None:
        candidates = hashes[self._filter[hashes >> self._shift]]
        if not len(candidates):
            return
        place = np.minimum(np.searchsorted(self._hashes, candidates), len(self._hashes) - 1)
        self._seen[place[self._hashes[place] == candidates]] = True

    def __call__(self, hashes: _Hashes) -> npt.NDArray[np.bool_]:
        """Whether each was found: (G,) bool."""
        return self._seen[np.searchsorted(self._hashes, hashes)]


def _chunks(split: TokenSplit) -> Iterator[tuple[np.ndarray, npt.NDArray[np.bool_]]]:
    """Stretches of a split that overlap by an n-gram less one token, and where in them an n-gram starts."""
    offsets = document_token_offsets(split)
    for start in range(0, split.num_tokens, _TOKENS_AT_ONCE):
        ids = split.ids[start : start + _TOKENS_AT_ONCE + NGRAM - 1]
        starts = np.ones(max(0, len(ids) - NGRAM + 1), dtype=np.bool_)
        ends = offsets[np.searchsorted(offsets, start) : np.searchsorted(offsets, start + len(ids))] - start
        crossing = (ends[:, None] - np.arange(1, NGRAM)).ravel()
        starts[crossing[(crossing >= 0) & (crossing < len(starts))]] = False
        yield ids, starts


def _hashes(ids: np.ndarray) -> _Hashes:
    """The n-gram that starts at each token but for the last few: a polynomial over its ids, modulo 2**64, mixed."""
    if len(ids) < NGRAM:
        return np.zeros(0, dtype=np.uint64)
    one = np.asarray(ids).astype(np.uint64) + np.uint64(1)
    two = _joined(one, one, 1)
    four = _joined(two, two, 2)
    eight = _joined(four, four, 4)
    hashes = _joined(_joined(eight, four, 8), one, 12)
    return (hashes ^ (hashes >> np.uint64(31))) * _BASE


def _joined(first: _Hashes, second: _Hashes, length: int) -> _Hashes:
    """Hashes of so many tokens, each joined with what follows it."""
    power = np.uint64(pow(int(_BASE), length, 1 << 64))
    count = min(len(first), len(second) - length)
    return first[:count] + second[length : length + count] * power


def _covered(is_shared: npt.NDArray[np.bool_], num_tokens: int) -> int:
    """Tokens of a document that stand in any of its shared n-grams."""
    steps = np.zeros(num_tokens + 1, dtype=np.int64)
    starts = np.nonzero(is_shared)[0]
    steps[starts] += 1
    steps[starts + NGRAM] -= 1
    return int((np.cumsum(steps[:-1]) > 0).sum())
