"""Pairs of sentences: does the cosine tell those of the same sense from those of different senses?"""

# n sentences of one word, P pairs of comparable sentences, G thresholds

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array

DECIMALS = 6
"""Cosines are rounded to these, so that those of equal vectors are equal."""
QUANTILES_PER_WORD = 200
"""Of a word's cosines that are tried as thresholds."""


@dataclass(frozen=True)
class Pairs:
    """Every two comparable sentences of a word, once."""

    ends: NDArray[np.int64]
    """(2, P) the two sentences."""
    same: NDArray[np.bool_]
    """(P,) whether they have the same sense."""
    cosines: Array
    """(P,)"""
    n: int

    @classmethod
    def of(cls, cosines: Array, labels: NDArray[np.int64], comparable: NDArray[np.bool_]) -> "Pairs":
        ends = np.array(np.nonzero(np.triu(comparable, 1)))
        return cls(ends, labels[ends[0]] == labels[ends[1]], np.round(cosines[ends[0], ends[1]], DECIMALS), len(labels))

    def halves(self, of_each: Array) -> tuple[Array, Array]:
        """The mean of a figure over pairs of the same sense and over the others, (2,), and the influence of each
        sentence on the two, (2, n): n times what the mean loses without it."""
        means, influence = np.empty(2), np.empty((2, self.n))
        for half, chosen in enumerate((self.same, ~self.same)):
            mine = of_each[chosen]
            means[half] = mine.mean()
            moved, number = np.zeros(self.n), np.zeros(self.n)
            for end in self.ends:
                moved += np.bincount(end[chosen], mine - means[half], self.n)
                number += np.bincount(end[chosen], minlength=self.n)
            influence[half] = self.n * moved / np.maximum(len(mine) - number, 1)
        return means, influence


def auc(pairs: Pairs) -> tuple[float, Array]:
    """How often a pair of the same sense has the greater cosine than one of different senses (an equal one counts
    half), and each sentence's influence, (n,)."""
    placement = np.empty(len(pairs.same))
    for half in (pairs.same, ~pairs.same):
        mine, others = pairs.cosines[half], np.sort(pairs.cosines[~half])
        below = (np.searchsorted(others, mine, "left") + np.searchsorted(others, mine, "right")) / (2 * len(others))
        placement[half] = below
    placement[~pairs.same] = 1 - placement[~pairs.same]
    means, influence = pairs.halves(placement)
    return float(means[0]), influence.sum(axis=0)


def cosine_gap(pairs: Pairs) -> tuple[float, Array]:
    """Mean cosine of pairs of the same sense minus that of the others, and each sentence's influence, (n,)."""
    means, influence = pairs.halves(pairs.cosines)
    return float(means[0] - means[1]), influence[0] - influence[1]


def threshold_accuracy(words: Sequence[Pairs]) -> list[tuple[float, Array]]:
    """For each word, how often one threshold tells its pairs right, and each sentence's influence, (n,).

    The threshold is the one that does best on all other words, every word counting the same; among equally good ones
    the one in their middle. Right is the mean of the shares among pairs of the same sense and among the others, so that
    a guess reaches one half whatever there is more of. At least two words.
    """
    found_at = np.concatenate([np.quantile(p.cosines, np.linspace(0, 1, QUANTILES_PER_WORD)) for p in words])
    edges = np.unique(np.round(found_at, DECIMALS))
    # Half-way between cosines, so that a threshold lies in the gap where there is one.
    tried = (edges[1:] + edges[:-1]) / 2 if len(edges) > 1 else edges
    right = np.array([_right_by_threshold(pairs, tried) for pairs in words])
    total = right.sum(axis=0)
    found = []
    for pairs, own in zip(words, right, strict=True):
        elsewhere = np.round(total - own, 9)
        best = tried[elsewhere == elsewhere.max()]
        threshold = best[np.abs(best - (best[0] + best[-1]) / 2).argmin()]
        means, influence = pairs.halves(((pairs.cosines >= threshold) == pairs.same).astype(np.float64))
        found.append((float(means.mean()), influence.mean(axis=0)))
    return found


def _right_by_threshold(pairs: Pairs, tried: Array) -> Array:
    """(G,) the mean of the two shares that are told right, by threshold."""
    below = [np.searchsorted(np.sort(pairs.cosines[half]), tried) / half.sum() for half in (pairs.same, ~pairs.same)]
    right: Array = (1 - below[0] + below[1]) / 2
    return right
