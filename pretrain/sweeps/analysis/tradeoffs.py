"""What each setting reached for what it spent, and which of them no other one beats at no higher cost (Pareto)."""

from collections.abc import Mapping, Sequence

import numpy as np

from pretrain.sweeps.outcome import Cost, Outcome, is_lower_better
from pretrain.sweeps.results import Tradeoff

COMPARED_COSTS: tuple[Cost, ...] = ("hours", "flops", "tokens", "targets")
_ABOUT_EQUAL = 0.01


def tradeoffs(outcomes: Sequence[Outcome], *, measure: str, means: Mapping[str, float]) -> list[Tradeoff]:
    """One for each cost that all settings have, and do not have alike.

    Args:
        means: setting -> mean figure, best or not.
    """
    found = []
    for cost in COMPARED_COSTS:
        spent = mean_costs(outcomes, cost)
        if means and all(setting in spent for setting in means):
            if max(spent.values()) <= (1 + _ABOUT_EQUAL) * min(spent.values()):
                continue  # what is held equal is no price
            points = {setting: (spent[setting], figure) for setting, figure in means.items()}
            front = pareto_front(points, is_lower_better=is_lower_better(measure))
            found.append(Tradeoff(cost=cost, measure=measure, points=points, front=front))
    return found


def pareto_front(points: Mapping[str, tuple[float, float]], *, is_lower_better: bool) -> list[str]:
    """Names of (cost, figure) points that none beats at no higher cost, nor equals at a lower one; cheapest first."""
    sign = 1 if is_lower_better else -1
    signed = {name: (cost, sign * figure) for name, (cost, figure) in points.items()}
    front = [
        name
        for name, (cost, figure) in signed.items()
        if not any(
            other_cost <= cost and other <= figure and (other_cost, other) != (cost, figure)
            for other_cost, other in signed.values()
        )
    ]
    return sorted(front, key=lambda name: signed[name])


def mean_costs(outcomes: Sequence[Outcome], cost: Cost) -> dict[str, float]:
    """setting -> mean over its cells, of the settings whose cells all have it."""
    spent: dict[str, list[float | None]] = {}
    for one in outcomes:
        spent.setdefault(one.setting, []).append(one.costs.get(cost))
    return {
        setting: float(np.mean(np.array(values, dtype=float)))
        for setting, values in spent.items()
        if None not in values
    }
