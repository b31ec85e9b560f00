"""Figures with 95 % intervals: a stratified bootstrap of per-sentence outcomes (Efron & Tibshirani 1993, chapter 13).

Outcomes are computed once, on the sentences as they are, and the outcomes are resampled; so a sentence that is drawn
twice is never its own neighbour. Every figure of a table uses the same resamples, so a difference of two is paired.

The intervals say how far a figure would move with other sentences of the same words and senses. They do not cover other
words. Sentences share neighbours, so outcomes are not independent. Where an outcome is a mean over pairs this is set
right (see weighted_mean). For nearest-neighbour accuracy it is not: on simulated vectors (2 or 3 senses, 48 or 72
sentences) the intervals held the true accuracy in 83 to 88 % of 300 draws, and those of the
mean over pairs in 96 to 99 %.
"""

# N sentences, R resamples, G figures (layers) computed at once

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """Means with their intervals: three (G,) float64 arrays."""

    value: Array
    low: Array
    high: Array


def resample_counts(
    strata: NDArray[np.int64], *, rng: np.random.Generator, num_resamples: int = NUM_RESAMPLES
) -> NDArray[np.int64]:
    """How often each sentence is drawn: (R, N) counts, drawn with replacement inside each stratum.

    Args:
        strata: (N,) the stratum of each sentence.
        rng: the only source of randomness.
    """
    counts = np.zeros((num_resamples, len(strata)), dtype=np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        even = np.full(len(members), 1 / len(members))
        counts[:, members] = rng.multinomial(len(members), even, size=num_resamples)
    return counts


def weighted_mean(
    outcomes: Array, *, weights: Array, counts: NDArray[np.int64], is_share: bool = False, is_pairwise: bool = False
) -> Estimate:
    """The weighted mean of the outcomes over the sentences, with its percentile interval.

    Args:
        outcomes: (G, N) one outcome per figure and sentence.
        weights: (N,) the weight of each sentence; they sum to 1, and sentences of weight 0 do not count.
        counts: (R, N) from resample_counts.
        is_share: the outcomes lie in 0..1. Where all of them are 1 (or 0) every resample repeats them and would claim
            certainty; the exact binomial bound (Clopper & Pearson 1934) stands in then.
        is_pairwise: each outcome is a mean over pairs with the other sentences. Every pair then counts for both its
            ends, so that the mean deviates twice as far as the outcomes show (a U-statistic, Hoeffding 1948).

    Returns:
        value, low and high of every figure.
    """
    assert np.isclose(weights.sum(), 1.0)
    value = outcomes @ weights
    resampled = outcomes @ (counts * weights).T
    if is_pairwise:
        resampled = value[:, None] + 2 * (resampled - value[:, None])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=1)
    if is_share:
        counted = weights > 0
        bound = tail ** (1 / counted.sum())
        low = np.where((outcomes[:, counted] == 1).all(axis=1), bound, low)
        high = np.where((outcomes[:, counted] == 0).all(axis=1), 1 - bound, high)
        # A sum of weights may pass 1 by its last digit; a share does not.
        value, low, high = (np.clip(numbers, 0, 1) for numbers in (value, low, high))
    # A constant outcome comes back from the resamples with the last digit moved; an interval never excludes its value.
    return Estimate(value, np.minimum(low, value), np.maximum(high, value))
