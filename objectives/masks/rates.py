"""Which share of the tokens is masked: a number, a schedule over the run, or a draw for each example.

Sources: high rates that fall over the run, Yang et al. 2023 (https://arxiv.org/abs/2212.05006) and GPT-BERT
(Charpentier and Samuel 2024, https://arxiv.org/abs/2410.24159); a rate from U(0, 1) for each example, masked diffusion
(LLaDA, Nie et al. 2025, https://arxiv.org/abs/2502.09992, section 2.1).
"""

# B rows

import itertools
import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from objectives.masks.row_draws import Floats, RowDraws

Rate = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]
_Boundary = Annotated[float, Field(gt=0.0, lt=1.0, strict=True)]


class Linear(BaseModel, frozen=True, extra="forbid", strict=True):
    """A line over the run."""

    schedule: Literal["linear"]
    start: Rate
    """Rate at the run's start."""
    end: Rate
    """Rate at the run's end."""

    def rate(self, share: float) -> float:
        return (1.0 - share) * self.start + share * self.end

    @property
    def mean(self) -> float:
        return (self.start + self.end) / 2


class Cosine(BaseModel, frozen=True, extra="forbid", strict=True):
    """Half a cosine over the run, flat at both ends."""

    schedule: Literal["cosine"]
    start: Rate
    """Rate at the run's start."""
    end: Rate
    """Rate at the run's end."""

    def rate(self, share: float) -> float:
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * share)) / 2

    @property
    def mean(self) -> float:
        return (self.start + self.end) / 2


class Stepwise(BaseModel, frozen=True, extra="forbid", strict=True):
    """One rate after another; each holds from its boundary on."""

    schedule: Literal["stepwise"]
    values: tuple[Rate, ...] = Field(min_length=1, strict=False)
    """Rates in the order of the run."""
    boundaries: tuple[_Boundary, ...] = Field(strict=False)
    """Shares of the run at which the second and every later rate begins: one fewer than values, ascending."""

    @model_validator(mode="after")
    def _boundaries_fit(self) -> "Stepwise":
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(
                f"got {len(self.values)} values and {len(self.boundaries)} boundaries, expected one boundary fewer "
                "than values; the first value holds from the run's start"
            )
        if any(later <= earlier for earlier, later in itertools.pairwise(self.boundaries)):
            raise ValueError(f"got boundaries {list(self.boundaries)}, expected ascending shares of the run; sort them")
        return self

    def rate(self, share: float) -> float:
        return self.values[sum(boundary <= share for boundary in self.boundaries)]

    @property
    def mean(self) -> float:
        return math.fsum(
            value * (end - start)
            for value, (start, end) in zip(self.values, itertools.pairwise([0.0, *self.boundaries, 1.0]), strict=True)
        )


class Uniform(BaseModel, frozen=True, extra="forbid", strict=True):
    """A rate of its own for every example, from U(0, 1)."""

    schedule: Literal["uniform"]

    @property
    def mean(self) -> float:
        return 0.5


RunSchedule = Linear | Cosine | Stepwise
"""Schedules that follow the share of the run that is spent."""

MaskingRate = Rate | Annotated[Linear | Cosine | Stepwise | Uniform, Field(discriminator="schedule")]


def rates(setting: MaskingRate, *, share: float, draws: RowDraws) -> Floats:
    """The share of each row's maskable tokens that is to be masked: (B,) float64, under `uniform` in [0, 1).

    Args:
        share: share of the run that is spent, in 0..1; only schedules over the run look at it.
    """
    assert 0.0 <= share <= 1.0, share
    if isinstance(setting, Uniform):
        return draws.of_rows("masking.rate")
    return np.full(len(draws.indices), setting.rate(share) if isinstance(setting, RunSchedule) else setting)


def mean_rate(setting: MaskingRate) -> float:
    """The mean over the run."""
    return setting if isinstance(setting, float | int) else setting.mean


def peak_rate(setting: MaskingRate) -> float:
    """The highest rate that a row may have, which decides memory."""
    match setting:
        case Linear() | Cosine():
            return max(setting.start, setting.end)
        case Stepwise():
            return max(setting.values)
        case Uniform():
            return 1.0
        case number:
            return number
