"""Which positions of a row belong together: words, and pieces of several words.

Special tokens and padding belong to no unit and end every one, so that none crosses [SEP], [CLS] or the documents of a
packed row.
"""

# B rows, L tokens per row, W words per row, K pieces per row

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from objectives.masks.row_draws import Floats, Ints, RowDraws
from tokenization.vocabulary import Vocabulary

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Words:
    """The maskable positions of a batch, cut into words; arrays (B, L)."""

    starts: Bools
    """Whether a word begins here."""
    lengths: Ints
    """Tokens of the word that begins here, 0 where none does."""
    opening: Ints
    """See `openings`."""

    @classmethod
    def cut(cls, starts: Bools, maskable: Bools) -> "Words":
        """Words that reach from each start to the next one, or to what may not be masked."""
        opening = openings(starts, maskable)
        lengths = np.bincount(opening.ravel(), minlength=starts.size).reshape(starts.shape) * starts
        return cls(starts=starts, lengths=lengths, opening=opening)

    def spread(self, chosen: Bools) -> Bools:
        """(B, L) every position of the words whose first one is chosen."""
        positions: Bools = chosen.ravel()[self.opening]
        return positions


def openings(starts: Bools, maskable: Bools) -> Ints:
    """(B, L) where the unit begins that holds each position, as a place in the flattened batch.

    Args:
        starts: (B, L), True at the first position of every run of maskable ones, and nowhere outside them. What may not
            be masked is given as a unit of its own.
    """
    bounds = np.flatnonzero(starts | ~maskable)
    return np.repeat(bounds, np.diff(bounds, append=starts.size)).reshape(starts.shape)


def word_starts(input_ids: Ints, maskable: Bools, vocabulary: Vocabulary) -> Bools:
    """(B, L) where a word begins, as the tokenizer shows it."""
    previous = np.empty_like(input_ids)
    previous[:, :1] = vocabulary.sep_id  # a row begins as if a special token stood before it
    previous[:, 1:] = input_ids[:, :-1]
    starts: Bools = vocabulary.begins_word(previous, input_ids) & maskable
    return starts


def run_starts(maskable: Bools) -> Bools:
    """(B, L) where a run of maskable positions begins."""
    starts = maskable.copy()
    starts[:, 1:] &= ~maskable[:, :-1]
    return starts


def piece_openings(words: Words, maskable: Bools, shares: tuple[float, ...], draws: RowDraws) -> Ints:
    """Cut the words of each row into pieces of drawn lengths, one behind another.

    The cuts form a stationary renewal process: the first piece of a row has the length that a cut at a random moment
    leaves, so a piece begins at every word with the same probability and covers every word alike. What ends a run of
    maskable positions cuts the piece that would reach over it.

    Args:
        shares: probability of a piece of 1, 2, ... words.

    Returns:
        (B, L) where the piece begins that holds each position; see `openings`.
    """
    number = np.cumsum(words.starts, axis=1)  # of the word that a position belongs to, from 1
    most = int(number[:, -1].max(initial=0))
    behind = _piece_ends(shares, most, draws)
    begins: Bools = np.zeros((len(number), most + 2), dtype=np.bool_)
    rows = np.arange(len(number))[:, None]
    begins[rows, np.minimum(behind, most) + 1] = True
    begins[:, 1] = True
    return openings(words.starts & (begins[rows, number] | run_starts(maskable)), maskable)


def _piece_ends(shares: tuple[float, ...], num_words: int, draws: RowDraws) -> Ints:
    """(B, K) words in the first k pieces; the last is at least `num_words` in every row."""
    first, later = _cumulative(shares)
    mean = sum(length * share for length, share in enumerate(shares, start=1))
    num_pieces = int(num_words / mean) + 1
    while True:
        num_pieces = min(num_words, num_pieces + num_pieces // 4 + 4)
        draw = draws.of_each("masking.piece", num_pieces)
        lengths = np.searchsorted(later, draw, side="right") + 1
        lengths[:, :1] = np.searchsorted(first, draw[:, :1], side="right") + 1
        ends: Ints = np.cumsum(lengths, axis=1)
        if num_pieces == num_words or (ends[:, -1] >= num_words).all():
            return ends


@lru_cache(maxsize=16)
def _cumulative(shares: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Bounds between the lengths of a row's first piece, and of every later one."""
    at_least = np.cumsum(shares[::-1])[::-1]  # what is left of a piece that is cut at a random moment
    return np.cumsum(at_least / at_least.sum())[:-1], np.cumsum(shares)[:-1]
