"""Accuracy on minimal pairs with 95 % intervals: by paradigm, and the mean over paradigms.

A pair's outcome is 1 where the good sentence scores higher, 0 where the bad one does, and 1/2 for a tie.
"""

# P paradigms, R resamples, C different outcomes

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probes.intervals import (
    LEAST_GROUPS,
    NUM_RESAMPLES,
    Array,
    Estimate,
    group_interval,
    percentiles,
    resample_counts,
)
from probes.intervals import NORMAL_QUANTILE as Z


class Figure(NamedTuple):
    """A mean with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Pairs."""


def outcomes_of(good: Array, bad: Array) -> Array:
    """1, 1/2 or 0 for each pair of scores."""
    return (np.sign(good - bad) + 1) / 2


def share(outcomes: Array) -> Figure:
    """Mean outcome of the pairs of a paradigm with Wilson's interval (1927): for other pairs of that paradigm.

    A tie varies less than is assumed, so where there are ties the interval is a little wide.
    """
    n, value = len(outcomes), float(outcomes.mean())
    centre = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return Figure(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)), n)


def difference(outcomes: Array, others: Array) -> Figure:
    """Mean difference of the outcomes of two models on the same pairs, with the interval of Bonett & Price (2012) for
    paired shares, which is none of zero width where the models agree on every pair."""
    gaps = outcomes - others
    n = len(gaps)
    more, less = ((np.maximum(side, 0).sum() + 1) / (n + 2) for side in (gaps, -gaps))
    half = Z * np.sqrt((more + less - (more - less) ** 2) / (n + 2))
    value = float(gaps.mean())
    return Figure(value, max(-1.0, min(value, more - less - half)), min(1.0, max(value, more - less + half)), n)


def mean_over_paradigms(
    outcomes: Sequence[Array], others: Sequence[Array] | None = None, *, seed: int, draws_paradigms: bool
) -> Figure:
    """Mean over paradigms of their mean outcomes, with a percentile bootstrap.

    Args:
        outcomes: P arrays, the outcomes of each paradigm's pairs.
        others: those of another model; what comes back is then the mean paired difference.
        seed: every call with the same one and the same paradigms draws the same paradigms.
        draws_paradigms: True: whole paradigms are drawn, each with its mean, widened for few of them
            (intervals.group_interval), so the interval is for other paradigms of the kind; fewer than LEAST_GROUPS say
            nothing of others, so theirs is as with False. False: pairs are drawn inside each paradigm, so it is for
            other pairs of these paradigms.
    """
    gaps = outcomes if others is None else [one - other for one, other in zip(outcomes, others, strict=True)]
    rng = np.random.default_rng(seed)
    counts_RP = resample_counts(np.zeros(len(gaps), dtype=np.int64), rng=rng)
    value, low, high, n = _over_pairs(gaps, outcomes, others, rng)
    if draws_paradigms and len(gaps) >= LEAST_GROUPS:
        within = Estimate(np.array([value]), np.array([low]), np.array([high]))
        found = group_interval(np.array([[gap.mean()] for gap in gaps]), counts_RW=counts_RP, within=within)
        least = 0.0 if others is None else -1.0
        low, high = max(least, float(found.low[0])), min(1.0, float(found.high[0]))
    return Figure(value, low, high, n)


def _over_pairs(
    gaps: Sequence[Array], outcomes: Sequence[Array], others: Sequence[Array] | None, rng: np.random.Generator
) -> Figure:
    """The mean over paradigms with its interval for other pairs of these paradigms."""
    value, every = float(np.mean([gap.mean() for gap in gaps])), np.concatenate(gaps)
    if every.min() == every.max():
        # Every resample repeats the same outcome and would claim certainty.
        return share(every) if others is None else difference(np.concatenate(outcomes), np.concatenate(others))
    kinds_C = np.unique(every)
    means_R = np.zeros(NUM_RESAMPLES)
    for gap in gaps:
        shares_C = np.array([(gap == kind).mean() for kind in kinds_C])
        means_R += rng.multinomial(len(gap), shares_C, size=NUM_RESAMPLES) @ kinds_C / len(gap) / len(gaps)
    low, high = percentiles(means_R)
    return Figure(value, float(min(low, value)), float(max(high, value)), len(every))
