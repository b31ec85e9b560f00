"""The nearest other sentence: has it the same sense?"""

# n sentences of one word

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array

TIE = 1e-6
"""Cosines this near to the greatest count as equal: float32 vectors do not tell them apart."""
SHARED = 0.5
"""How much of its effect on others' outcomes counts as a sentence's own: what the two of a pair do together is there
once and not twice (see probes.intervals, and the simulation in its test)."""


class Nearest(NamedTuple):
    """What is found for each of n sentences."""

    outcome: Array
    """(n,) share of its nearest neighbours that have its sense: 0 or 1 but for ties."""
    influence: Array
    """(n,) what the sentence does to the sum of all outcomes."""
    neighbours: Array
    """(n, n) each sentence's nearest neighbours, their shares adding up to 1."""


def nearest(cosines: Array, labels: NDArray[np.int64], comparable: NDArray[np.bool_]) -> Nearest:
    """Leave-one-out nearest neighbours by cosine.

    Args:
        cosines: (n, n).
        labels: (n,) senses.
        comparable: (n, n) whether the second may be a neighbour of the first.
    """
    same = labels[:, None] == labels[None, :]
    candidates = np.where(comparable, cosines, -np.inf)
    first, outcome, number = _level(candidates, same)
    second = _level(np.where(first, -np.inf, candidates), same)
    # Without one of several equal neighbours the others remain; without the only one the next nearest come up.
    others = (outcome * number)[:, None] - same
    without = np.where((number > 1)[:, None], others / np.maximum(number - 1, 1)[:, None], second.outcome[:, None])
    effect = np.where(first, outcome[:, None] - without, 0.0).sum(axis=0)
    return Nearest(outcome, outcome + SHARED * effect, first / number[:, None])


class _Level(NamedTuple):
    is_nearest: NDArray[np.bool_]
    outcome: Array
    number: Array


def _level(candidates: Array, same: NDArray[np.bool_]) -> _Level:
    """The nearest among these candidates, the share of them with the same sense, and how many they are."""
    greatest = candidates.max(axis=1, keepdims=True)
    is_nearest = (candidates >= greatest - TIE) & np.isfinite(candidates)
    number = np.maximum(is_nearest.sum(axis=1), 1).astype(np.float64)
    return _Level(is_nearest, (is_nearest & same).sum(axis=1) / number, number)
