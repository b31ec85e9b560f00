"""Accuracy on minimal pairs with 95 % intervals: by paradigm, and the mean over paradigms.

A pair's outcome is 1 where the good sentence scores higher, 0 where the bad one does, and 1/2 for a tie.
"""

# P paradigms, R resamples, C different outcomes

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probes.intervals import NORMAL_QUANTILE as Z
from probes.intervals import NUM_RESAMPLES, Array, percentiles


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
        draws_paradigms: True: paradigms are drawn with replacement and then pairs inside each, so the interval is for
            other paradigms of the kind (and somewhat wide where paradigms have few pairs, whose spread it counts
            twice); False: pairs only, for other pairs of these paradigms.
    """
    gaps = outcomes if others is None else [one - other for one, other in zip(outcomes, others, strict=True)]
    value = float(np.mean([gap.mean() for gap in gaps]))
    every = np.concatenate(gaps)
    if every.min() == every.max():
        # Every resample repeats the same outcome and would claim certainty.
        return share(every) if others is None else difference(np.concatenate(outcomes), np.concatenate(others))
    kinds_C = np.unique(every)
    shares_PC = np.array([[(gap == kind).mean() for kind in kinds_C] for gap in gaps])
    sizes_P = np.array([len(gap) for gap in gaps])
    rng = np.random.default_rng(seed)
    num_paradigms = len(gaps)
    drawn_RP = rng.integers(num_paradigms, size=(NUM_RESAMPLES, num_paradigms))
    if not draws_paradigms:
        drawn_RP = np.broadcast_to(np.arange(num_paradigms), drawn_RP.shape)
    counts_RPC = rng.multinomial(sizes_P[drawn_RP], shares_PC[drawn_RP])
    means_R = ((counts_RPC @ kinds_C) / sizes_P[drawn_RP]).mean(axis=1)
    low, high = percentiles(means_R)
    return Figure(value, float(min(low, value)), float(max(high, value)), len(every))
