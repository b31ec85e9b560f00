"""Learning curves read between their evaluations: at an equal cost, and as bands over the seeds of each setting."""

# N cells, S settings, P points of a band

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from pretrain.sweeps.analysis.design import Array
from pretrain.sweeps.analysis.plan import Cell
from pretrain.sweeps.outcome import Cost, Outcome

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Line:
    """A curve in one measure against one cost: costs that rise, and a finite figure at each."""

    x: Array
    y: Array

    def at(self, cost: float) -> float | None:
        """Linear between two evaluations; None before the first and after the last."""
        slack = _ROUNDING * abs(cost)
        if cost < self.x[0] - slack or cost > self.x[-1] + slack:
            return None
        return float(np.interp(cost, self.x, self.y))


def line(outcome: Outcome, *, measure: str, cost: Cost) -> Line | None:
    """The evaluations that have both; of two at one cost the later counts. None where there are none."""
    points = {
        point.costs[cost]: point.figures[measure]
        for point in outcome.curve
        if cost in point.costs and isfinite(point.figures.get(measure, np.nan))
    }
    if not points:
        return None
    x = sorted(points)
    return Line(np.array(x, dtype=float), np.array([points[one] for one in x], dtype=float))


@dataclass(frozen=True)
class EqualReading:
    """Curves read where all cells have spent the same."""

    at: float
    figures: dict[Cell, float]
    shares: dict[Cell, float]
    """How much of its whole training each cell had behind it there."""
    too_short: list[Cell]
    """Cells whose first evaluation came later."""
    is_steady: bool
    """Whether no cell's learning rate had begun to fall there, so that it does not matter how long a run was to be."""


def read_at_equal(outcomes: Sequence[Outcome], *, measure: str, cost: Cost) -> EqualReading | None:
    """Read all curves where all cells have spent the same; None where no curve has the cost.

    That is at the most that every cell spent before its learning rate began to fall, and where some fall all the
    time at the most that every cell reached.
    """
    lines = {(one.setting, one.seed): line(one, measure=measure, cost=cost) for one in outcomes}
    known = {cell: own for cell, own in lines.items() if own is not None}
    if not known:
        return None
    spent = {(one.setting, one.seed): one.costs.get(cost, 0.0) for one in outcomes}
    totals = {cell: max(spent[cell], float(own.x[-1])) for cell, own in known.items()}
    steady = {(one.setting, one.seed): one.steady_share for one in outcomes}
    reached = min(float(own.x[-1]) for own in known.values())
    at = min(reached, *(totals[cell] * steady[cell] for cell in known))
    is_steady = all(own.at(at) is not None for own in known.values())
    if not is_steady:
        at = reached
    figures = {cell: own.at(at) for cell, own in known.items()}
    return EqualReading(
        at,
        {cell: figure for cell, figure in figures.items() if figure is not None},
        {cell: at / totals[cell] if at > 0 else 1.0 for cell in known},
        sorted(cell for cell, figure in figures.items() if figure is None),
        is_steady,
    )


def common_grid(lines: Mapping[int, Line], shares_P: Array) -> tuple[Array, Array] | None:
    """Costs (P,) at these shares of the range that all seeds of a setting reach, and (seeds, P) figures there, by seed.

    None where the curves of the seeds do not overlap, or have one evaluation.
    """
    low, high = max(own.x[0] for own in lines.values()), min(own.x[-1] for own in lines.values())
    if low >= high:
        return None
    x_P = low + shares_P * (high - low)
    return x_P, np.array([np.interp(x_P, lines[seed].x, lines[seed].y) for seed in sorted(lines)])
