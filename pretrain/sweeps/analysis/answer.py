"""The answer of a sweep in sentences: which setting, by how much, how sure, at what cost; and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from pretrain.sweeps.analysis.comparing import BETTER, NOT_TOLD_APART, WORSE
from pretrain.sweeps.analysis.plan import Plan
from pretrain.sweeps.analysis.tradeoffs import mean_costs
from pretrain.sweeps.analysis.wording import (
    MATCH_COSTS,
    NOT_DONE,
    counted,
    decimals,
    noun,
    p_value,
    spent,
    together,
    unit,
)
from pretrain.sweeps.outcome import Cost, Outcome, is_lower_better
from pretrain.sweeps.results import CellRow, Difference, View

_NORMAL_QUANTILE = 1.959964
_COSTS_SAID: tuple[Cost, ...] = ("hours", "tokens", "flops")
_ABOUT_EQUAL = 0.02


@dataclass(frozen=True)
class Told:
    """A view, and how to speak of it."""

    plan: Plan
    view: View

    @property
    def ranked(self) -> list[str]:
        """The settings that are compared with each other, the best mean first."""
        compared = {one.setting for one in self.view.differences} | {self.plan.reference}
        means = {name: one.value for name, one in self.view.settings.items() if name in compared} or {
            name: one.value for name, one in self.view.settings.items()
        }
        return sorted(means, key=lambda name: means[name] if is_lower_better(self.view.measure) else -means[name])

    @property
    def winner(self) -> str:
        return self.view.best.setting if self.view.best else self.ranked[0]

    @property
    def difference(self) -> Difference | None:
        """Of the winner to the reference."""
        return next((one for one in self.view.differences if one.setting == self.winner), None)

    @property
    def superlative(self) -> str:
        return f"{'lowest' if is_lower_better(self.view.measure) else 'highest'} {noun(self.view.measure)}"

    @property
    def decimals(self) -> int:
        widths = [one.high - one.value for one in self.view.differences if one.high is not None]
        return decimals(min(widths, default=None))

    def figure(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"

    def mean(self, setting: str) -> str:
        return f"{self.figure(self.view.settings[setting].value)}{unit(self.view.measure)}"

    def beyond(self, one: Difference) -> str:
        """How a setting lies to the reference: 0.034 [0.011, 0.057] below."""
        sign = -1 if one.value < 0 else 1
        says = self.figure(abs(one.value))
        if one.low is not None and one.high is not None:
            bounds = sorted((sign * one.low, sign * one.high))
            says += f" [{self.figure(bounds[0])}, {self.figure(bounds[1])}]"
        return f"{says} {'below' if sign < 0 else 'above'}"

    def names(self, settings: Sequence[str]) -> str:
        return together([self.plan.short(setting) for setting in settings])


def answer(
    plan: Plan,
    views: Sequence[View],
    outcomes: Sequence[Outcome],
    *,
    match: str,
    amount: float,
    detectable: float | None,
    usual_spread: float | None,
    cells: Sequence[CellRow],
) -> list[str]:
    """Sentences, the first of which is the answer.

    Args:
        views: the deciding one first, then those at equal costs; empty where nothing is finished.
        detectable: a true difference to the reference that four of five such sweeps would tell apart.
    """
    if not views:
        done = [row for row in cells if row.state == "done"]
        if done:
            return [
                f"Nothing can be said: none of the {counted(len(done), 'finished cell')} has the measure that decides. "
                f"They have {together(sorted(done[0].figures)) or 'none'}.",
                *_gaps(cells),
            ]
        return [f"Nothing can be said: none of the {counted(len(cells), 'cell')} is finished.", *_gaps(cells)]
    told = Told(plan, views[0])
    after = f"after {spent(MATCH_COSTS[match], amount)}{' of training' if match == 'wall_clock' else ''} each"
    if len(told.ranked) == 1:
        sentences = [
            f"There is nothing to compare {told.winner} with: {told.mean(told.winner)} {noun(told.view.measure)} "
            f"{after}."
        ]
    elif told.view.best is None:
        sentences = [_inconclusive(told, after), *_by_usual_spread(told, usual_spread)]
    else:
        sentences = [_opening(told, after), *_candidates(told), *_verdicts(told), *_power(told, detectable)]
    return [
        *sentences,
        *_price(told, outcomes),
        *(_at_equal_cost(Told(plan, one)) for one in views[1:] if one.equal is not None),
        *_effects(told.view),
        *_gaps(cells),
    ]


def _opening(told: Told, after: str) -> str:
    winner, reference, difference = told.winner, told.plan.reference, told.difference
    settings, seeds = len(told.ranked), counted(told.view.settings[winner].n, "seed")
    if difference is not None and difference.verdict != BETTER:
        return (
            f"Of {settings} settings none is shown to be better than the reference {reference} in "
            f"{noun(told.view.measure)} {after}: the best mean is that of {told.plan.short(winner)}, "
            f"{told.mean(winner)}, {told.beyond(difference)} the reference ({seeds}, simultaneous 95 %)."
        )
    says = f"Of {settings} settings {winner} has the {told.superlative} {after}: {told.mean(winner)}"
    if difference is not None:
        short = told.plan.short(reference)
        return f"{says}, {told.beyond(difference)} the reference {short} ({seeds}, simultaneous 95 %)."
    if winner == reference:
        return f"{says} ({seeds}). It is the reference."
    return f"{says} ({seeds}). The reference {reference} has no finished cell to compare with."


def _candidates(told: Told) -> list[str]:
    best = told.view.best
    assert best is not None
    if best.is_certain:
        return [f"With 95 % confidence {told.plan.short(best.setting)} is the best of them."]
    others = best.candidates[1:]
    if len(others) == len(told.ranked) - 1 > 1:
        return ["None of the others can be ruled out as the best."]
    return [f"{told.names(others)} cannot be ruled out as the best."]


def _verdicts(told: Told) -> list[str]:
    """Where each setting stands to the reference; what the first sentence has said is not said again."""
    reference = told.plan.short(told.plan.reference)
    groups = {
        verdict: [one.setting for one in told.view.differences if one.verdict == verdict]
        for verdict in (BETTER, WORSE, NOT_TOLD_APART)
    }
    if groups[BETTER] == [told.winner]:
        groups[BETTER] = []
    if not any(groups.values()):
        return []
    says = {BETTER: "better", WORSE: "worse", NOT_TOLD_APART: "not told apart from it"}
    parts = [f"{says[verdict]}: {told.names(settings)}" for verdict, settings in groups.items() if settings]
    return [f"Against the reference {reference}, {'; '.join(parts)}."]


def _power(told: Told, detectable: float | None) -> list[str]:
    """How large a difference would have shown, where one did not."""
    if detectable is None or all(one.verdict != NOT_TOLD_APART for one in told.view.differences):
        return []
    return [
        f"A true difference of {told.figure(detectable)}{unit(told.view.measure)} to the reference would have shown "
        "in four of five such sweeps."
    ]


def _inconclusive(told: Told, after: str) -> str:
    seeds = max(one.n for one in told.view.settings.values())
    why = "one seed says" if seeds == 1 else "the cells that are done say"
    says = (
        f"Nothing can be concluded about differences between the {len(told.ranked)} settings, because {why} nothing "
        f"of the spread: here {told.winner} has the {told.superlative} {after}, {told.mean(told.winner)}"
    )
    if told.difference is not None:
        return f"{says}, {told.beyond(told.difference)} the reference {told.plan.short(told.plan.reference)}."
    return f"{says}; it is the reference." if told.winner == told.plan.reference else f"{says}."


def _by_usual_spread(told: Told, usual_spread: float | None) -> list[str]:
    if usual_spread is None:
        return [
            "The usual spread over seeds is not known here; three seeds for each setting are the least that shows it."
        ]
    if not told.view.differences:
        return []
    bound = _NORMAL_QUANTILE * sqrt(2) * usual_spread
    beyond = [one.setting for one in told.view.differences if abs(one.value) > bound]
    says = (
        f"By the usual spread over seeds (standard deviation {usual_spread:.2g}{unit(told.view.measure)}) two runs of "
        f"one setting differ by up to {bound:.2g}{unit(told.view.measure)} in 95 % of cases; "
    )
    if not beyond:
        return [f"{says}no setting is further than that from the reference."]
    return [f"{says}further than that from the reference: {told.names(beyond)}, which is no test."]


def _price(told: Told, outcomes: Sequence[Outcome]) -> list[str]:
    """What a run of the winner costs, and of the reference where that differs."""
    winner, reference = told.winner, told.plan.reference
    costs = {cost: mean_costs(outcomes, cost) for cost in _COSTS_SAID}
    own = [spent(cost, means[winner]) for cost, means in costs.items() if winner in means]
    if not own:
        return []
    says = f"A run of {told.plan.short(winner)} takes {together(own)}"
    others = [
        spent(cost, means[reference])
        for cost, means in costs.items()
        if winner in means
        and reference in means
        and abs(means[winner] - means[reference]) > _ABOUT_EQUAL * means[reference]
    ]
    return [f"{says}; one of the reference {together(others)}." if others else f"{says}."]


def _at_equal_cost(told: Told) -> str:
    view = told.view
    assert view.equal is not None and view.at is not None
    caution = "," if view.is_steady else ", which favours the runs that end there,"
    winner = told.plan.short(told.winner)
    says = (
        f"Read from the curves at an equal {spent(view.equal, view.at)}{caution} {winner} has "
        f"the {told.superlative}: {told.mean(told.winner)}"
    )
    if told.difference is not None:
        verdict = ", not told apart from it" if told.difference.verdict == NOT_TOLD_APART else ""
        says += f", {told.beyond(told.difference)} the reference{verdict}"
    if view.best is None:
        return f"{says}."
    others = view.best.candidates[1:]
    rest = f"not ruled out as the best: {told.names(others)}" if others else "all others are ruled out as the best"
    return f"{says}; {rest}."


def _effects(view: View) -> list[str]:
    found = [f"{effect.axis} ({p_value(effect.p)})" for effect in view.effects if effect.p is not None]
    if not found:
        return []
    says = f"Main effects, F tests: {together(found)}"
    if view.interaction is not None and view.interaction.p is not None:
        return [f"{says}; whether the effect of one depends on the other: {p_value(view.interaction.p)}."]
    return [f"{says}."]


def _gaps(cells: Sequence[CellRow]) -> list[str]:
    parts = []
    for state, one, many in NOT_DONE:
        names = [row.cell for row in cells if row.state == state]
        says = one if len(names) == 1 else many
        if names:
            shown = together(names) if len(names) <= 4 else f"{', '.join(names[:4])} and {len(names) - 4} more"
            parts.append(f"{len(names)} {says} ({shown})")
    return [f"Of {counted(len(cells), 'cell')} {together(parts)}."] if parts else []
