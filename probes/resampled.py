"""A figure with its resamples, so that a difference of two figures of the same resamples is paired.

Where all is right every resample repeats it and would claim certainty; a bound stands in, and a difference keeps it.
"""

# R resamples

from dataclasses import dataclass

import numpy as np

from probes.intervals import CONFIDENCE, Array, percentiles
from probes.results import Role, Score

STILL = 1e-12
"""Draws that differ by no more than this are the same: sums in another order differ in their last digit."""


@dataclass(frozen=True)
class Resampled:
    """A figure as it is, and as it would be on each resample."""

    value: float
    draws: Array
    """(R,) float64; NaN where a resample has nothing to take it over."""
    n: int
    """What it is taken over."""
    bounds: tuple[float, float] | None = None
    """An interval that stands in for that of the draws, where these cannot vary."""
    num_trials: int = 0
    """Of a share, or of differences of shares: independent trials behind it; 0: it is something else."""

    @classmethod
    def share(cls, value: float, draws: Array, n: int, *, num_trials: int) -> "Resampled":
        """A share of 0..1. At 0 and at 1 the exact binomial bound of its trials (Clopper & Pearson 1934) stands in."""
        reach = _reach(num_trials)
        bounds = {0.0: (0.0, reach), 1.0: (1 - reach, 1.0)}.get(value)
        return cls(value, draws, n, bounds, num_trials)

    def __sub__(self, other: "Resampled") -> "Resampled":
        """The difference, resample by resample; n is the smaller one.

        Where a bound stands in for either share, it stays: the two intervals are put together by Newcombe's square and
        add (1998, method 10, as if they were not paired, which is wide rather than narrow), and the interval of the
        draws lies inside. Where no draw moves the difference of two other shares, a bound on the share of trials that
        would tell them apart stands in.
        """
        value, draws = self.value - other.value, self.draws - other.draws
        num_trials = min(self.num_trials, other.num_trials)
        found = Resampled(value, draws, min(self.n, other.n), num_trials=num_trials)
        if not num_trials:
            return found
        low, high = found.interval()
        if self.bounds is not None or other.bounds is not None:
            (own_low, own_high), (its_low, its_high) = self.interval(), other.interval()
            low = min(low, value - float(np.hypot(self.value - own_low, its_high - other.value)))
            high = max(high, value + float(np.hypot(own_high - self.value, other.value - its_low)))
        elif high - low <= STILL and np.nanmax(draws) - np.nanmin(draws) <= STILL:
            low, high = max(-1.0, value - _reach(num_trials)), min(1.0, value + _reach(num_trials))
        else:
            return found
        return Resampled(value, draws, found.n, (low, high), num_trials)

    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % percentile interval; it never excludes the value itself."""
        low, high = percentiles(self.draws) if self.bounds is None else self.bounds
        return float(min(low, self.value)), float(max(high, self.value))

    def score(
        self,
        measure: str,
        model: str,
        *,
        layer: int | None = None,
        group: str | None = None,
        variant: str = "",
        role: Role = "model",
    ) -> Score:
        """It as a line of the results."""
        low, high = self.interval()
        return Score(
            measure=measure, model=model, value=self.value, low=low, high=high, n=self.n,
            layer=layer, group=group, variant=variant, role=role,
        )  # fmt: skip


def _reach(num_trials: int) -> float:
    """The share that may still be otherwise where all of so many trials are alike."""
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / num_trials))
