"""Means over pairs of things, with intervals that allow for other things of the kind.

The questions of an analogy section are all pairs of a few pairs of words, and the cosines of a category all pairs of
its words: 506 questions hold 23 pairs of words. Drawing questions anew would take them for 506 independent trials. So
the things are drawn, with replacement and each within its stratum, and a pair counts as often as both its ends were
drawn (Snijders & Borgatti 1999, "Non-parametric standard errors and tests for network statistics").
"""

# Q pairs, P things, R resamples, G figures computed at once

import numpy as np
from numpy.typing import NDArray

from probes.intervals import CONFIDENCE, Array, Estimate, percentiles

PART = 1 << 21
"""Weights held at once."""


def mean_over_pairs(
    outcomes: Array, *, first: NDArray[np.int64], second: NDArray[np.int64], counts: NDArray[np.int64],
    is_share: bool = False,
) -> Estimate:  # fmt: skip
    """The mean outcome over pairs, with its 95 % percentile interval over resampled things.

    Args:
        outcomes: (G, Q) one outcome per figure and pair, at least one pair.
        first, second: (Q,) the two things of each pair.
        counts: (R, P) how often each thing is drawn, from probes.intervals.resample_counts.
        is_share: the outcomes lie in 0..1. Where all are 1 (or 0), the exact binomial bound for as many trials as there
            are things stands in for the interval of no width that resamples would give.

    Returns:
        value, low and high of every figure, each (G,).
    """
    value = outcomes.mean(axis=1)
    resampled = resampled_means(outcomes, first=first, second=second, counts=counts)
    low, high = percentiles(resampled)
    if is_share:
        bound = ((1 - CONFIDENCE) / 2) ** (1 / len(np.union1d(first, second)))
        low = np.where((outcomes == 1).all(axis=1), bound, low)
        high = np.where((outcomes == 0).all(axis=1), 1 - bound, high)
    return Estimate(value, np.minimum(low, value), np.maximum(high, value))


def resampled_means(
    outcomes: Array, *, first: NDArray[np.int64], second: NDArray[np.int64], counts: NDArray[np.int64]
) -> Array:
    """(G, R) the mean outcome in each resample; NaN in one that drew no pair."""
    means = np.full((len(outcomes), len(counts)), np.nan)
    drawn = counts.astype(np.float32)
    step = max(1, PART // max(1, len(first)))
    for begin in range(0, len(counts), step):
        part = drawn[begin : begin + step]
        weights_RQ = part[:, first] * part[:, second]
        total_R = weights_RQ.sum(axis=1, dtype=np.float64)
        sums_GR = outcomes.astype(np.float32) @ weights_RQ.T
        np.divide(sums_GR, total_R, out=means[:, begin : begin + step], where=total_R > 0)
    return means
