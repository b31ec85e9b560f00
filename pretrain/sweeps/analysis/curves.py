"""Learning curves with bands over seeds.

The curves of a setting's seeds are laid over each other by interpolation, in the range that all of them reach. The
spread behind a band is pooled over all settings at the same share of their ranges, as for the finished models (see
design.py).
"""

# N cells, S settings, P points

from collections.abc import Sequence

import numpy as np

from pretrain.sweeps.analysis.design import Array, Design, components, fit
from pretrain.sweeps.analysis.plan import Cell, Plan
from pretrain.sweeps.analysis.reading import Line, common_grid, line
from pretrain.sweeps.outcome import COSTS, Cost, Outcome
from pretrain.sweeps.results import Band

MOST_POINTS = 60


def bands(plan: Plan, outcomes: Sequence[Outcome], measures: Sequence[str]) -> list[Band]:
    """A band for each measure, cost and setting that has a curve, in this order."""
    return [band for measure in measures for cost in COSTS for band in _bands(plan, outcomes, measure, cost)]


def _bands(plan: Plan, outcomes: Sequence[Outcome], measure: str, cost: Cost) -> list[Band]:
    lines: dict[Cell, Line] = {}
    for one in outcomes:
        own = line(one, measure=measure, cost=cost)
        if own is not None:
            lines[one.setting, one.seed] = own
    if not lines:
        return []
    # As many points as evaluations, so that even ones are met and not cut between.
    shares_P = np.linspace(0, 1, min(MOST_POINTS, max(len(own.x) for own in lines.values())))
    x: dict[str, list[float]] = {}
    figures: dict[Cell, Array] = {}
    for setting in plan.settings:
        own_lines = {seed: own for (other, seed), own in lines.items() if other == setting}
        grid = common_grid(own_lines, shares_P) if own_lines else None
        if grid is not None:
            x[setting] = grid[0].tolist()
            figures |= {(setting, seed): row for seed, row in zip(sorted(own_lines), grid[1], strict=True)}
    found = {}
    for group in components(plan.sorted(figures)):
        cells = [cell for cell in plan.sorted(figures) if cell[0] in group]
        seeds = sorted({seed for _, seed in cells})
        design = Design(tuple((group.index(setting), seeds.index(seed)) for setting, seed in cells))
        fitted = fit(design, np.array([figures[cell] for cell in cells]))
        widths_SP = fitted.half_widths(np.eye(len(group)))
        for setting, y_P, width_P in zip(group, fitted.means_SG, widths_SP, strict=True):
            known = bool(np.isfinite(width_P).all())
            found[setting] = Band(
                setting=setting,
                measure=measure,
                cost=cost,
                x=x[setting],
                y=y_P.tolist(),
                low=(y_P - width_P).tolist() if known else None,
                high=(y_P + width_P).tolist() if known else None,
            )
    return [found[setting] for setting in plan.settings if setting in found]
