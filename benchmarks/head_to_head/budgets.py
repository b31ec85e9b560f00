"""What equal means: the same minutes of training, or the same floating-point operations by pretrain's estimate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretrain.estimate import estimate
from pretrain.recipe import BUDGETS, read_recipe

WALL_CLOCK, FLOPS = "wall_clock", "flops"
TITLES = {WALL_CLOCK: "Equal wall-clock", FLOPS: "Equal FLOPs"}

_ESTIMATED_STEPS = 1_000_000_000  # more than any warm-up, so that every recipe with it is a valid one
_CHECKPOINTS_PER_POINT = 2  # of a budget of time, whose steps are only guessed: the nearest is within a quarter then


def budget_overrides(name: str, value: float) -> list[str]:
    """The overrides that end a run by one budget of pretrain's, whichever the recipe names."""
    assert name in BUDGETS
    return [f"train.{name}={value!r}", *(f"train.{other}=null" for other in BUDGETS if other != name)]


def flops_per_step(recipe: Path, overrides: Sequence[str]) -> float:
    """FLOPs of one update of the weights, both networks of a recipe that has two.

    Places in a batch count whether they hold a token or padding, so packed rows are what this is exact for.
    """
    flops = estimate(read_recipe(recipe, [*overrides, *budget_overrides("steps", _ESTIMATED_STEPS)])).flops
    assert flops is not None, "a budget of steps says how many there are"
    return flops / _ESTIMATED_STEPS


def equal_steps(flops: float, *, per_step: float) -> int:
    """The steps that spend these FLOPs, to half a step; at least one."""
    return max(1, round(flops / per_step))


def points_of(num_points: int) -> list[float]:
    """Shares of a budget, in 0..1: evenly spaced, the end left out, as the finished model stands there."""
    return [number / (num_points + 1) for number in range(1, num_points + 1)]


def spacing(steps: float, num_points: int, *, is_guess: bool) -> int:
    """Steps between two checkpoints, such that there is one at, or near, every point of the budget.

    Args:
        steps: of the whole run.
        is_guess: the run ends by the clock; there are twice as many checkpoints then to choose from.
    """
    return max(1, round(steps / ((num_points + 1) * (_CHECKPOINTS_PER_POINT if is_guess else 1))))


def nearest(reached: Sequence[float], points: Sequence[float]) -> list[int]:
    """For each point the index of the nearest value that was reached; indices in order, none twice.

    Args:
        reached: ascending, in the unit of the points.
    """
    chosen = {int(np.argmin([abs(value - point) for value in reached])) for point in points if len(reached)}
    return sorted(chosen)
