"""What one finished cell of a sweep has left: its learning curve, what it was worth at the end, and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Cost = Literal["steps", "tokens", "targets", "flops", "hours"]
COSTS: tuple[Cost, ...] = get_args(Cost)

COST_LABELS: dict[Cost, str] = {
    "steps": "steps",
    "tokens": "tokens",
    "targets": "targets (masked tokens)",
    "flops": "FLOPs",
    "hours": "hours of training",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation on the way."""

    costs: Mapping[Cost, float]
    """What was spent until then, in each unit."""
    figures: Mapping[str, float]
    """Held-out figures by their names in metrics.jsonl, such as eval/mlm_nats."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished cell."""

    cell: str
    """Name of the run, such as mlm_probability-0.15_seed-0."""
    setting: str
    """What it tries, the seed apart, such as mlm_probability 0.15."""
    levels: Mapping[str, str]
    """Label of its value on each axis, such as {masking.mlm_probability: 0.15}."""
    seed: int
    curve: tuple[Point, ...]
    """Evaluations on the way in order, the last at the end of training."""
    figures: Mapping[str, float]
    """The comparing evaluation of the finished model and its probes: measure -> value (see `is_lower_better`)."""
    costs: Mapping[Cost, float]
    """What training spent in all."""
    tokens_per_second: float
    steady_share: float = 0.0
    """Share of the training behind which the learning rate fell; 0: it fell all the time. Only up to there does a curve
    not depend on how long the run was to be."""


def is_lower_better(measure: str) -> bool:
    """Whether less of a measure is more: losses in nats are, accuracies and probes' figures are not."""
    return measure.endswith("_nats")
