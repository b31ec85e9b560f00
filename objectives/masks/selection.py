"""Choosing the targets of a row in a random order until it has as many as it should.

Words by BERT's greedy rule (create_pretraining_data.py with do_whole_word_mask): a word that would overshoot is passed
over and the next one is tried. Here for all rows of a batch at once, in rounds of cumulative sums.
"""

# B rows, L tokens per row, W words per row at most

import numpy as np

from objectives.masks.row_draws import Floats, Ints, RowDraws
from objectives.masks.units import Bools, Words

_POSITION_BITS, _DRAW_BITS = 20, 40
_NONE = 1 << (_POSITION_BITS + _DRAW_BITS)  # sorts behind every word


def choose_tokens(maskable: Bools, draws: Floats, num_targets: Ints) -> Bools:
    """(B, L) the `num_targets` maskable positions of each row with the smallest draws; all of a row that has fewer.

    Args:
        draws: (B, L) in [0, 1).
        num_targets: (B,) at least 1.
    """
    order = np.where(maskable, draws, 2.0)
    last = np.minimum(num_targets, maskable.sum(axis=1)) - 1
    last_chosen = np.sort(order, axis=1)[np.arange(len(order)), last]
    chosen: Bools = maskable & (order <= last_chosen[:, None])
    return chosen


def draw_tokens(maskable: Bools, num_draws: Ints, draws: RowDraws) -> Ints:
    """(B, L) int64 how often each maskable position is drawn, where every draw is from all of its row, as in ELECTRA.

    Args:
        num_draws: (B,) of each row; one without a maskable position has none.
    """
    num_maskable = maskable.sum(axis=1)
    draw = draws.of_each("masking.position", int(num_draws.max(initial=0)))
    row, number = np.nonzero((np.arange(draw.shape[1]) < num_draws[:, None]) & (num_maskable[:, None] > 0))
    before = np.cumsum(num_maskable) - num_maskable
    which = before[row] + (draw[row, number] * num_maskable[row]).astype(np.int64)
    drawn = np.bincount(np.flatnonzero(maskable)[which], minlength=maskable.size)
    return drawn.reshape(maskable.shape).astype(np.int64)


def choose_words(words: Words, draws: Floats, num_targets: Ints, num_candidates: Ints | None = None) -> Bools:
    """The words that the greedy rule takes in the order of the draws, and of their positions where draws are equal.

    Args:
        draws: (B, L) in [0, 1); those at the words' first positions count.
        num_targets: (B,) tokens that the words of a row may hold together.
        num_candidates: (B,) words that are tried at all; None: every one.

    Returns:
        (B, L) True at every position of the words that are taken: at most `num_targets` in a row, and every candidate
        that is left is longer than what is missing.
    """
    order = _order(words.starts, draws)
    rows = np.arange(len(order))[:, None]
    sizes = words.lengths[rows, order]
    if num_candidates is not None:
        sizes = np.where(np.arange(sizes.shape[1]) < num_candidates[:, None], sizes, 0)
    chosen = np.zeros_like(words.starts)
    chosen[rows, order] = _greedy(sizes, num_targets)
    return words.spread(chosen)


def cut_a_word(words: Words, is_target: Bools, num_targets: Ints, draws: RowDraws) -> Bools:
    """(B, L) `is_target`, and in rows that have none, as every word is too long for them, a part of a random word.

    The part is `num_targets` tokens that stand together.
    """
    rows = np.flatnonzero(words.starts.any(axis=1) & ~is_target.any(axis=1))
    if not len(rows):
        return is_target
    starts, lengths, draws = words.starts[rows], words.lengths[rows], draws.some(rows)
    order = np.where(starts, draws.of_each("masking.position", starts.shape[1]), 2.0)
    start = np.argmin(order, axis=1)
    spare = lengths[np.arange(len(rows)), start] - num_targets[rows]
    first = start + (draws.of_rows("masking.cut") * (spare + 1)).astype(np.int64)
    columns = np.arange(starts.shape[1])[None, :]
    filled = is_target.copy()
    filled[rows] = (columns >= first[:, None]) & (columns < (first + num_targets[rows])[:, None])
    return filled


def _order(starts: Bools, draws: Floats) -> Ints:
    """(B, W) the first positions of each row's words by their draws and positions; behind them, any others.

    Draw and position are sorted as one integer, which is fast and gives equal draws an order that no batch changes.
    """
    num_columns = starts.shape[1]
    assert num_columns <= 1 << _POSITION_BITS, num_columns
    keys = (draws * (1 << _DRAW_BITS)).astype(np.int64) << _POSITION_BITS
    keys[~starts] = _NONE
    keys |= np.arange(num_columns)
    keys.sort(axis=1)
    most = int(starts.sum(axis=1).max(initial=0))
    positions: Ints = keys[:, :most] & ((1 << _POSITION_BITS) - 1)
    return positions


def _greedy(sizes: Ints, num_targets: Ints) -> Bools:
    """(B, W) which of the words to take, from left to right, where each that would overshoot is passed over.

    In a round each row takes words up to the first that would overshoot, and drops all that can no longer fit: that
    one among them, so each round ends with a shorter longest word than it began with.
    """
    left = num_targets.copy()
    taken = np.zeros(sizes.shape, dtype=np.bool_)
    waiting = np.where(sizes <= left[:, None], sizes, 0)
    while waiting.any():
        held = np.cumsum(waiting, axis=1)
        fits = held <= left[:, None]
        taken |= fits & (waiting > 0)
        left -= np.where(fits, held, 0).max(axis=1)
        waiting[fits | (waiting > left[:, None])] = 0
    return taken
