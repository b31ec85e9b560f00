"""Means and paired differences over seeds, with Student's t-intervals, and what can be said of them.

The intervals cover other seeds on the same corpus and the same test rows. They do not cover other rows, corpora or
budgets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds; low and high are None where a single seed says nothing of the spread."""

    mean: float
    low: float | None
    high: float | None
    n: int


def t_interval(values: Sequence[float]) -> Interval:
    """The mean of values with its two-sided 95 % interval (Student 1908)."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The mean of b - a, seed by seed, with its interval."""
    return t_interval([second - first for first, second in zip(a, b, strict=True)])


def leader(difference: Interval) -> int:
    """1: b is ahead, -1: a is ahead, 0: the interval of b - a has 0 in it, or there is none."""
    if difference.low is None or difference.high is None:
        return 0
    return int(difference.low > 0) - int(difference.high < 0)


def conclusion(difference: Interval, *, a: str, b: str) -> str:
    """One sentence on a paired difference of shares, b - a."""
    points = f"{b} - {a} is {in_points(difference)}"
    if difference.low is None or difference.high is None:
        return f"{points}, of one seed: nothing can be concluded."
    seeds = f"{difference.n} seeds"
    if ahead := leader(difference):
        return f"{b if ahead > 0 else a} is ahead: {points}, {seeds}."
    half = 100 * (difference.high - difference.low) / 2
    return f"not told apart: {points}, {seeds}; a difference of less than about {half:.1f} points would not show."


def in_points(difference: Interval) -> str:
    """A difference of shares as '+1.2 points [-0.4, +2.8]'."""
    return f"{_signed(difference.mean)} points{_bounds(difference, _signed)}"


def in_percent(share: Interval) -> str:
    """A share as '61.2 % [60.1, 62.3]'."""
    return f"{100 * share.mean:.1f} %{_bounds(share, lambda value: f'{100 * value:.1f}')}"


def _signed(value: float) -> str:
    return f"{round(100 * value, 1) + 0:+.1f}"  # adding 0 turns a rounded -0 into 0


def _bounds(interval: Interval, shown: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f" [{shown(interval.low)}, {shown(interval.high)}]"
