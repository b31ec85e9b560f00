"""What equal means: the same minutes of training, or the same floating-point operations by pretrain's estimate."""

from collections.abc import Sequence

import numpy as np

WALL_CLOCK, FLOPS = "wall_clock", "flops"
TITLES = {WALL_CLOCK: "Equal wall-clock", FLOPS: "Equal FLOPs"}

_CHECKPOINTS_PER_POINT = 2  # of a budget of time, whose steps are only guessed: the nearest is within a quarter then


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
