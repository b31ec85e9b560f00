"""The learning rate over a run, as a multiplier of the optimizer's peak rate.

Sources: BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, appendix A.2, and optimization.py of its code) for
`bert_linear`; optimization.py of ELECTRA's code (Clark et al. 2020, https://arxiv.org/abs/2003.10555) for
`electra_linear`; the schedules of transformers for `linear` and `cosine`; warm-up, plateau and linear decay as in
ModernBERT (Warner et al. 2024, https://arxiv.org/abs/2412.13663, section 2.2.2) for `trapezoidal`.

Differs from transformers: a schedule is told the share of the run that is done instead of the number of steps in all,
so it follows whichever budget ends the run (steps, epochs, tokens or hours). With a budget of steps the share is
step / steps and every rate is that of transformers. With the others the number of steps in all is only estimated, as
step / share; the estimate shifts a little from step to step, and the rate with it, but it still ends at 0 with the run.
"""

import math
from typing import Literal, Protocol

from pydantic import BaseModel, Field, model_validator


class Schedule(Protocol):
    """A learning-rate schedule: the settings of a recipe's `schedule` section and the rule that they steer."""

    @property
    def name(self) -> str: ...

    @property
    def warmup_steps(self) -> int: ...

    @property
    def steady_share(self) -> float:
        """Share of the run, in 0..1, behind which the rate falls for good; 0: it falls from the warm-up on."""
        ...

    def factor(self, step: int, share: float) -> float:
        """The multiplier of the peak learning rate, in 0..1, for one update of the weights.

        Args:
            step: number of the update, 0 for the first; equally the number of updates done before it.
            share: share of the run that is done before this update, in 0..1: of the steps, epochs, tokens or hours.
        """
        ...


class _WarmUp(BaseModel, frozen=True, extra="forbid"):
    name: str
    warmup_steps: int = Field(default=0, ge=0, strict=True)
    """Updates over which the rate rises linearly from 0, which the first update has, to the peak; 0: none."""

    @property
    def steady_share(self) -> float:
        """Share of the run, in 0..1, behind which the rate falls for good; 0: it falls from the warm-up on."""
        return 0.0

    def factor(self, step: int, share: float) -> float:
        assert step >= 0 and 0.0 <= share <= 1.0, (step, share)
        if step < self.warmup_steps:
            return step / self.warmup_steps
        return self._after_warmup(step, share)

    def _after_warmup(self, step: int, share: float) -> float:
        raise AssertionError("a subclass says how the rate falls")

    def _progress(self, step: int, share: float) -> float:
        """Share done, in 0..1, of the part of the run that follows the warm-up."""
        warmup_share = self.warmup_steps * share / step if step else 0.0  # steps in all are step / share
        return min(1.0, max(0.0, (share - warmup_share) / (1.0 - warmup_share))) if warmup_share < 1.0 else 1.0


class Linear(_WarmUp, frozen=True, extra="forbid"):
    """Linear warm-up, then a line from the peak to 0: transformers' get_linear_schedule_with_warmup."""

    name: Literal["linear"] = "linear"

    def _after_warmup(self, step: int, share: float) -> float:
        return 1.0 - self._progress(step, share)


class BertLinear(_WarmUp, frozen=True, extra="forbid"):
    """BERT's own: peak x step / warm-up, then peak x (1 - step / total), which drops by warm-up / total at the seam."""

    name: Literal["bert_linear"] = "bert_linear"
    start_fraction: float = Field(default=0.0, ge=0.0, lt=1.0, strict=True)
    """Where on the line this run starts, as a share of the whole line (0.9 for a last tenth trained as its own run)."""
    end_fraction: float = Field(default=1.0, gt=0.0, le=1.0, strict=True)
    """Where on the line this run ends, as a share of the whole line (1: at a rate of 0)."""

    @model_validator(mode="after")
    def _has_a_length(self) -> "BertLinear":
        if self.start_fraction >= self.end_fraction:
            raise ValueError(
                f"got start_fraction {self.start_fraction:g} and end_fraction {self.end_fraction:g}, "
                "expected start_fraction < end_fraction"
            )
        return self

    def _after_warmup(self, step: int, share: float) -> float:
        return max(0.0, 1.0 - ((1.0 - share) * self.start_fraction + share * self.end_fraction))


class ElectraLinear(_WarmUp, frozen=True, extra="forbid"):
    """ELECTRA's own: peak x (1 - step / total) x min(1, step / warm-up), so the line falls during the warm-up too.

    There is no seam, and the highest rate is peak x (1 - warm-up / total) while the warm-up is half of the run at most.
    """

    name: Literal["electra_linear"] = "electra_linear"

    def factor(self, step: int, share: float) -> float:
        return (1.0 - share) * super().factor(step, share)

    def _after_warmup(self, step: int, share: float) -> float:
        return 1.0


class Trapezoidal(_WarmUp, frozen=True, extra="forbid"):
    """Linear warm-up, the peak, and a linear fall to 0: transformers' get_wsd_schedule with decay_type "linear"."""

    name: Literal["trapezoidal"] = "trapezoidal"
    decay_fraction: float = Field(gt=0.0, le=1.0, strict=True)
    """Share of the run, at its end, over which the rate falls linearly to 0."""

    @property
    def steady_share(self) -> float:
        return 1.0 - self.decay_fraction

    def factor(self, step: int, share: float) -> float:
        # A run that is shorter than thought may have to fall before the warm-up is done.
        return min(super().factor(step, share), (1.0 - share) / self.decay_fraction)

    def _after_warmup(self, step: int, share: float) -> float:
        return 1.0


class Cosine(_WarmUp, frozen=True, extra="forbid"):
    """Linear warm-up, then half a cosine from the peak to 0: transformers' get_cosine_schedule_with_warmup."""

    name: Literal["cosine"] = "cosine"

    def _after_warmup(self, step: int, share: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * self._progress(step, share)))


class Constant(_WarmUp, frozen=True, extra="forbid"):
    """Linear warm-up, then the peak to the end: transformers' get_constant_schedule_with_warmup."""

    name: Literal["constant"] = "constant"

    @property
    def steady_share(self) -> float:
        return 1.0

    def _after_warmup(self, step: int, share: float) -> float:
        return 1.0


SCHEDULES: dict[str, type[BaseModel]] = {
    "linear": Linear,
    "bert_linear": BertLinear,
    "electra_linear": ElectraLinear,
    "trapezoidal": Trapezoidal,
    "cosine": Cosine,
    "constant": Constant,
}
