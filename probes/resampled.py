"""A figure with its resamples, so that a difference of two figures of the same resamples is paired."""

# R resamples

from dataclasses import dataclass

from probes.intervals import Array, percentiles
from probes.results import Role, Score


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

    def __sub__(self, other: "Resampled") -> "Resampled":
        """The difference, resample by resample; n is the smaller one."""
        return Resampled(self.value - other.value, self.draws - other.draws, min(self.n, other.n))

    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % percentile interval; it never excludes the value itself."""
        if self.bounds is not None:
            return self.bounds
        low, high = percentiles(self.draws)
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
