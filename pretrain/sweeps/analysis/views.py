"""Views: all settings compared in one measure at one point of equality, with what their figures rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isfinite, sqrt

import numpy as np

from pretrain.sweeps.analysis.comparing import best, comparison, detectable, differences, estimates
from pretrain.sweeps.analysis.design import components
from pretrain.sweeps.analysis.effects import effects, interaction
from pretrain.sweeps.analysis.oddities import oddities
from pretrain.sweeps.analysis.plan import Cell, Plan
from pretrain.sweeps.analysis.reading import EqualReading, read_at_equal
from pretrain.sweeps.analysis.wording import COST_NAMES, MATCH_COSTS, spent, together, unit
from pretrain.sweeps.outcome import Cost, Outcome
from pretrain.sweeps.results import Difference, Estimate, View

EQUAL_COSTS: tuple[Cost, ...] = ("tokens", "hours", "flops", "targets", "steps")
_EQUAL_ENOUGH = 0.995
"""Share of its training at which a run counts as read at its end."""
_NORMAL_QUANTILE = 1.959964

BESIDE = (
    "Looked at beside the deciding view: corrected for the comparisons within this view, not for the number of views."
)


@dataclass(frozen=True)
class Detection:
    """What the deciding view could have told."""

    difference: float | None
    """A true difference to the reference that four of five such sweeps would tell apart."""
    warnings: list[str]
    """See oddities.py."""


def view(
    plan: Plan,
    measure: str,
    figures: Mapping[Cell, float],
    *,
    equal: Cost | None = None,
    at: float | None = None,
    notes: Sequence[str] = (),
) -> View | None:
    """Compare all settings in one figure of each cell; None where no cell has a finite one."""
    finite = {cell: figures[cell] for cell in plan.sorted(figures) if isfinite(figures[cell])}
    if not finite:
        return None
    compared = comparison(plan, measure, finite)
    apart = [group for group in components(plan.sorted(finite)) if group != compared.settings]
    found = estimates(compared) | {setting: _plain_mean(setting, finite) for group in apart for setting in group}
    return View(
        measure=measure,
        equal=equal,
        at=at,
        settings={setting: found[setting] for setting in plan.settings if setting in found},
        differences=differences(compared),
        best=best(compared),
        effects=effects(compared),
        interaction=interaction(compared),
        residual_spread=compared.spread,
        notes=[
            *notes,
            *_missing_notes(plan, figures, finite, [setting for group in apart for setting in group]),
            *oddities(compared),
        ],
    )


def detection(plan: Plan, measure: str, figures: Mapping[Cell, float]) -> Detection:
    """Of the same figures as the view of them."""
    finite = {cell: figure for cell, figure in figures.items() if isfinite(figure)}
    if not finite:
        return Detection(None, [])
    compared = comparison(plan, measure, finite)
    return Detection(detectable(compared), oddities(compared))


def _plain_mean(setting: str, figures: Mapping[Cell, float]) -> Estimate:
    """Of a setting that nothing connects with the others."""
    own = [figure for (other, _), figure in figures.items() if other == setting]
    return Estimate(value=float(np.mean(own)), n=len(own))


def _missing_notes(
    plan: Plan, figures: Mapping[Cell, float], finite: Mapping[Cell, float], apart: Sequence[str]
) -> list[str]:
    notes = []
    lost = [cell for cell in plan.sorted(figures) if cell not in finite]
    if lost:
        names = together([f"{setting}, seed {seed}" for setting, seed in lost])
        notes.append(
            f"Left out because the figure is not finite: {names}. A run that diverged is missing, not average."
        )
    if apart:
        notes.append(
            f"{together(apart)}: shares no seed with the settings compared, so no difference can be told from that of "
            "the seeds."
        )
    seeds = {seed for _, seed in finite}
    if len(finite) < len(seeds) * len({setting for setting, _ in finite}) and len(seeds) > 1:
        notes.append(
            "Cells are missing: means are least-squares means over all seeds, as the model setting + seed fills the "
            "gaps, and differ from the plain means of the cells that are there."
        )
    return notes


def method_notes(first: View, *, seeds: Sequence[int], usual_spread: float | None) -> list[str]:
    """What the deciding view's figures rest on and cover."""
    if first.residual_spread is None:
        return [
            "No intervals: one seed says nothing of the spread. Three seeds for each setting are the least that does."
            if len(seeds) == 1
            else "No intervals: the cells leave nothing beside settings and seeds to tell the spread of a run by. It "
            "takes two settings at least that share two seeds, and figures that differ.",
            *usual_spread_notes(first.differences, usual_spread, measure=first.measure),
        ]
    return [
        "Model: figure = setting + seed + error, by least squares; a seed's cells share initial weights, order and "
        "held-out masks. Its error has one spread for all settings, "
        f"{first.residual_spread:.2g}{unit(first.measure)}, pooled over all cells.",
        "Differences to the reference: simultaneous 95 % intervals, so they hold also for the setting that was "
        "chosen because it came out best, and p values adjusted in a single step (Dunnett 1955). Candidates for the "
        "best: multiple comparisons with the best (Hsu 1984), which keep the truly best one in at least 95 % of "
        "sweeps.",
        "Means: 95 % intervals over seeds, at least 95 % by Cochran's approximation (1964). They hold what a seed "
        "does to all settings, so they are wider than those of differences; whether two of them overlap says "
        "nothing.",
        "Intervals cover other seeds: other initial weights, orders and masks. They do not cover other texts to "
        "train on or to hold out, other sizes or other budgets.",
    ]


def usual_spread_notes(found: Sequence[Difference], usual_spread: float | None, *, measure: str) -> list[str]:
    """Which differences two runs of one setting would show as well, by a spread known from elsewhere."""
    if usual_spread is None or not found:
        return []
    bound = _NORMAL_QUANTILE * sqrt(2) * usual_spread
    within = [one.setting for one in found if abs(one.value) <= bound]
    beyond = [one.setting for one in found if abs(one.value) > bound]
    sentence = (
        f"By the usual spread over seeds, a standard deviation of {usual_spread:.2g}{unit(measure)} known from "
        f"elsewhere, two runs of one setting differ by up to {bound:.2g} in 95 % of cases."
    )
    if within:
        sentence += f" Within that of the reference: {together(within)}."
    if beyond:
        sentence += f" Further from it: {together(beyond)}; that is no test."
    return [sentence]


def equal_cost_views(plan: Plan, outcomes: Sequence[Outcome], *, measure: str, match: str) -> list[View]:
    """The deciding measure at equal costs other than the one that is equal already, from the curves.

    A cost at which all curves read the same as at one before it (steps and tokens of one batch size) is left out.
    """
    found: list[View] = []
    readings: list[EqualReading] = []
    for cost in EQUAL_COSTS:
        reading = None if cost == MATCH_COSTS[match] else read_at_equal(outcomes, measure=measure, cost=cost)
        if reading is None or min(reading.shares.values()) >= _EQUAL_ENOUGH:
            continue
        if any(_reads_the_same(reading, other) for other in readings):
            continue
        own = view(plan, measure, reading.figures, equal=cost, at=reading.at, notes=_reading_notes(plan, reading, cost))
        if own is not None:
            found.append(own.model_copy(update={"is_steady": reading.is_steady}))
            readings.append(reading)
    return found


_WHERE = {
    True: "the most that every cell spent before its learning rate began to fall",
    False: "the most that every cell reached",
}
_WHAT_FOLLOWS = {
    True: "So it does not matter that some runs were to be longer than others.",
    False: "A run that is read before its end has not come down yet where the learning rate falls over the run, and "
    "would be better there had it been trained for that much alone: this favours the settings that are read near "
    "their end.",
}
"""Of a reading, by whether it is steady."""


def _reads_the_same(one: EqualReading, other: EqualReading) -> bool:
    return one.figures.keys() == other.figures.keys() and all(
        isclose(figure, other.figures[cell], rel_tol=1e-9) for cell, figure in one.figures.items()
    )


def _reading_notes(plan: Plan, reading: EqualReading, cost: Cost) -> list[str]:
    shares: dict[str, list[float]] = {setting: [] for setting in plan.settings}
    for (setting, _), share in reading.shares.items():
        shares[setting].append(share)
    stands = ", ".join(f"{plan.short(setting)} at {np.mean(own):.0%}" for setting, own in shares.items() if own)
    notes = [
        BESIDE,
        f"Read from the curves at {spent(cost, reading.at)}, {_WHERE[reading.is_steady]}, linear between evaluations; "
        f"of its own training each run had behind it: {stands}. {_WHAT_FOLLOWS[reading.is_steady]}",
    ]
    if cost == "hours":
        notes.append(
            f"{COST_NAMES[cost].capitalize()} includes what else the machine did; see tokens per second of each cell."
        )
    if reading.too_short:
        names = together([f"{setting}, seed {seed}" for setting, seed in reading.too_short])
        notes.append(f"Left out because the first evaluation came later: {names}.")
    return notes


def other_views(plan: Plan, outcomes: Sequence[Outcome], *, measure: str) -> list[View]:
    """Every other measure of the finished models."""
    found = []
    for other in sorted({name for one in outcomes for name in one.figures} - {measure}):
        figures = {(one.setting, one.seed): one.figures[other] for one in outcomes if other in one.figures}
        own = view(plan, other, figures, notes=[BESIDE])
        if own is not None:
            found.append(own)
    return found
