"""Figures with 95 % intervals: a stratified bootstrap of per-sentence outcomes (Efron & Tibshirani 1993, chapter 13).

Outcomes are computed once, on the sentences as they are, and the outcomes are resampled; so a sentence that is drawn
twice is never its own neighbour. Every figure of a table uses the same resamples, so a difference of two is paired: the
deviation of a difference is the difference of the deviations.

Where sentences are compared with each other, outcomes depend on each other and resampling them as they are claims too
much. What is resampled is then the influence of a sentence on the figure: its own outcome and what it does to the
others'. Of a mean over pairs every pair counts for both its ends (a U-statistic, Hoeffding 1948). Whether the nearest
neighbour is right depends on pairs in a way that is not smooth, and the full influence (the jackknife's) then counts
what the two of a pair do together twice, once for each (Efron & Stein 1981). On simulated vectors (12 settings, 1500
draws each) the variance so estimated was 1.7 to 3.0 times the true one, that of plain outcomes 0.2 to 1.0 times, and
that of the outcome with half of the sentence's effect on others, which is what probes.senses resamples, 0.9 to 1.4
times.

An interval over the sentences says how far a figure would move with other sentences of the same words and senses. One
over the words says how far it would move with other words as well.
"""

# N sentences, W words or other groups, R resamples, G figures (layers) computed at once

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
NORMAL_QUANTILE = 1.959964
"""Of (1 + CONFIDENCE) / 2."""
LEAST_GROUPS = 5
"""Fewer words say next to nothing about other words: Student's factor for 4 of them is 3.2, for 2 it is 12.7."""


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


def deviations(
    influence: Array, *, counts: NDArray[Any], strata: NDArray[np.int64], sources: NDArray[np.int64] | None = None
) -> Array:
    """How far the mean over N sentences moves in each resample: (..., R) float64, 0 on average.

    Resampling m sentences of a stratum gives (m - 1) / m of the variance of their mean, which is set right here
    (Davison & Hinkley 1997, section 3.2); a stratum of one sentence does not move at all.

    Args:
        influence: (..., N) what each sentence does to the figure, up to a constant: its outcome where the figure is a
            mean of independent outcomes.
        counts: (R, N) from resample_counts.
        strata: (N,) as given there.
        sources: (N,) what was drawn as a whole, such as the document of each sentence: all of one have the same counts
            and stratum, and it is sources that m counts. As they are few, the deviations are widened by Student's
            quantile over the normal one, for as many degrees of freedom as there are sources less strata. None: every
            sentence by itself.
    """
    drawn = np.arange(influence.shape[-1]) if sources is None else sources
    freedom = 0
    centred = np.empty_like(influence, dtype=np.float64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        own = influence[..., members] - influence[..., members].mean(axis=-1, keepdims=True)
        # The mean of equal numbers may differ from them in its last digit, which is no deviation.
        own[np.abs(own) < 1e-12] = 0
        num_drawn = len(np.unique(drawn[members]))
        freedom += num_drawn - 1
        centred[..., members] = own * np.sqrt(num_drawn / max(num_drawn - 1, 1))
    moved: Array = centred @ counts.T.astype(np.float64) / influence.shape[-1]
    if freedom > 0 and len(np.unique(drawn)) < len(drawn):
        from scipy.stats import t

        moved *= t.ppf((1 + CONFIDENCE) / 2, freedom) / NORMAL_QUANTILE
    return moved


def correlations(deviation: NDArray[Any], other: NDArray[Any]) -> Array:
    """(G,) of the deviations (G, R) of two figures on the same resamples; 0 where one of them does not move."""
    one, two = (np.asarray(moved, dtype=np.float64) for moved in (deviation, other))
    one, two = one - one.mean(axis=-1, keepdims=True), two - two.mean(axis=-1, keepdims=True)
    spread = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    found: Array = np.where(spread > 0, (one * two).sum(axis=-1) / np.where(spread > 0, spread, 1), 0.0)
    return np.clip(found, -1, 1)


def percentiles(draws: NDArray[Any]) -> tuple[Any, Any]:
    """Lower and upper end of the 95 % percentile interval, each (...) float64 or a number.

    Args:
        draws: (..., R) the figure in each resample; those that are NaN do not count.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=-1)
    return low, high


def percentile_interval(value: Array, deviation: NDArray[Any]) -> Estimate:
    """The value with the percentiles of its deviations (G, R) added."""
    low, high = percentiles(deviation)
    # A constant outcome comes back from the resamples with the last digit moved; an interval never excludes its value.
    return Estimate(value, np.minimum(value + low, value), np.maximum(value + high, value))


def share_interval(
    value: Array, deviation: NDArray[Any], n: int, *, is_count: bool, num_sources: int | None = None
) -> Estimate:
    """A share of n sentences, with Wilson's interval (1927) for as many independent ones as deviate like these.

    The percentiles of a share near 0 or 1 are too near to it, and at 1 they claim certainty: 48 of 48 is no proof of
    100 %. There n stands for the independent sentences. Any other share that nothing moves has no width.

    Args:
        value: (G,) in 0..1.
        deviation: (G, R).
        n: sentences that each figure is taken over.
        is_count: every sentence counts as right or wrong, so that at most n independent ones are taken; else (means of
            several outcomes, shares of pairs) they may deviate less.
        num_sources: that the sentences come from, which stand for n at 0 and 1; None: n.
    """
    value = np.clip(value, 0.0, 1.0)
    variance = deviation.var(axis=-1, dtype=np.float64)
    spread = value * (1 - value)
    independent = np.where(variance > 0, spread / np.where(variance > 0, variance, 1), np.inf)
    most = np.where(variance > 0, n if is_count else np.inf, np.inf)
    effective = np.where(spread > 0, np.clip(independent, 1, most), n if num_sources is None else num_sources)
    squared = NORMAL_QUANTILE**2
    middle = (value + squared / (2 * effective)) / (1 + squared / effective)
    half = np.sqrt(squared * spread / effective + (squared / (2 * effective)) ** 2) / (1 + squared / effective)
    return Estimate(
        value,
        np.clip(np.minimum(middle - half, value), 0.0, 1.0),
        np.clip(np.maximum(middle + half, value), 0.0, 1.0),
    )


def share_difference(one: Estimate, other: Estimate, correlation: Array, *, agreeing: int | None = None) -> Estimate:
    """The paired difference of two shares, from the interval of each (Newcombe 1998, method 10; Zou & Donner 2008).

    What the difference deviates by itself claims certainty where nothing moves: of 8 of 8 against a fixed half, as of
    two that are both right on all 8. Here the bounds that each share has by itself are kept, and so it stays within -1
    and 1.

    Args:
        correlation: (G,) of the deviations of the two.
        agreeing: both count so many sentences as right or wrong, and equal shares may mean that they agree on all of
            them, which has a width of its own (Bonett & Price 2012).
    """
    value = one.value - other.value
    least = (
        0.0 if agreeing is None else np.where(np.abs(value) < 1e-12, NORMAL_QUANTILE * np.sqrt(2) / (agreeing + 2), 0)
    )

    def joined(of_one: Array, of_other: Array) -> Array:
        squared = of_one**2 + of_other**2 - 2 * correlation * of_one * of_other
        return np.maximum(np.sqrt(np.maximum(squared, 0)), least)

    below = joined(one.value - one.low, other.high - other.value)
    above = joined(one.high - one.value, other.value - other.low)
    return Estimate(value, np.clip(value - below, -1, 1), np.clip(value + above, -1, 1))


def group_interval(values_WG: Array, *, counts_RW: NDArray[np.int64], within: Estimate | None = None) -> Estimate:
    """The mean over words with its interval over words: whole words are resampled, each with its figure.

    A word's figure carries the chance of its sentences already, so that resampling the sentences again would count it
    twice (Davison & Hinkley 1997, section 3.8). The percentiles of few words are too narrow; they are widened by
    Student's quantile over the normal one and by sqrt(W / (W - 1)) (Hesterberg 2015, section 3).

    Args:
        values_WG: the figures of W words, at least 2.
        counts_RW: how often each resample draws each word.
        within: the interval over sentences; that over words is never the narrower one.
    """
    from scipy.stats import t

    num_words = len(values_WG)
    value = values_WG.mean(axis=0)
    wider = t.ppf((1 + CONFIDENCE) / 2, num_words - 1) / NORMAL_QUANTILE * np.sqrt(num_words / (num_words - 1))
    found = percentile_interval(value, wider * ((counts_RW / num_words) @ (values_WG - value)).T)
    if within is None:
        return found
    return Estimate(value, np.minimum(found.low, within.low), np.maximum(found.high, within.high))


def weighted_mean(
    outcomes: Array, *, weights: Array, counts: NDArray[np.int64], is_share: bool = False, is_pairwise: bool = False
) -> Estimate:
    """The weighted mean of independent outcomes over the sentences, with its percentile interval.

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
    return Estimate(value, np.minimum(low, value), np.maximum(high, value))
