"""From finished cells to the results of a sweep.

The same cells give the same results bit for bit, whatever their order.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import isfinite
from statistics import fmean

from pretrain.sweeps.analysis.answer import answer
from pretrain.sweeps.analysis.curves import bands
from pretrain.sweeps.analysis.plan import Plan, plan
from pretrain.sweeps.analysis.tradeoffs import mean_costs, tradeoffs
from pretrain.sweeps.analysis.views import detection, equal_cost_views, method_notes, other_views, view
from pretrain.sweeps.analysis.wording import COST_NAMES, MATCH_COSTS, NOT_DONE, counted, spent, together
from pretrain.sweeps.outcome import COSTS, Outcome
from pretrain.sweeps.results import CellRow, Results, Tradeoff, View

_ABOUT_EQUAL = 0.02
"""Costs that differ by less are called equal: a run ends at a whole step, and clocks are not exact."""
_ABOUT_EQUALLY_FAST = 0.05


def analyse(
    outcomes: Sequence[Outcome],
    *,
    name: str,
    match: str,
    amount: float,
    measure: str,
    reference: str,
    axes: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    usual_spread: float | None = None,
    missing: Sequence[CellRow] = (),
) -> Results:
    """The results of a sweep, whatever is done of it; `run_best` and `provenance` are left empty.

    Args:
        outcomes: the finished cells, at most one of each setting and seed.
        match: what was held equal: steps | tokens | targets | flops | wall_clock.
        amount: how much of it each cell got; hours for wall_clock.
        measure: the one of `Outcome.figures` that decides.
        reference: the setting that the others are compared with.
        axes: labels of the values of each axis, in the order in which they are shown.
        usual_spread: standard deviation of `measure` over seeds, known from elsewhere.
        missing: cells that failed or were not run.
    """
    assert len({(one.setting, one.seed) for one in outcomes}) == len(outcomes), "two outcomes of one cell"
    cells = [(one.setting, one.levels) for one in outcomes] + [(row.setting, row.levels) for row in missing]
    planned = plan(cells, axes=axes, reference=reference, seeds=seeds)
    place = {cell: index for index, cell in enumerate(planned.sorted({(one.setting, one.seed) for one in outcomes}))}
    outcomes = sorted(outcomes, key=lambda one: place[one.setting, one.seed])
    figures = {(one.setting, one.seed): one.figures[measure] for one in outcomes if measure in one.figures}
    first = view(planned, measure, figures)
    views: list[View] = []
    prices: list[Tradeoff] = []
    if first is not None:
        notes = method_notes(first, seeds=seeds, usual_spread=usual_spread)
        first = first.model_copy(update={"notes": notes + first.notes})
        equal = equal_cost_views(planned, outcomes, measure=measure, match=match)
        views = [first, *equal, *other_views(planned, outcomes, measure=measure)]
        means = {setting: one.value for setting, one in first.settings.items()}
        prices = tradeoffs(outcomes, measure=measure, means=means)
    could_tell = detection(planned, measure, figures)
    rows = _cell_rows(planned, outcomes, missing)
    return Results(
        name=name,
        answer=answer(
            planned,
            views,
            outcomes,
            match=match,
            amount=amount,
            detectable=could_tell.difference,
            usual_spread=usual_spread,
            cells=rows,
        ),
        match=match,
        amount=amount,
        measure=measure,
        reference=reference,
        axes={axis: list(labels) for axis, labels in axes.items()},
        seeds=sorted(seeds),
        cells=rows,
        views=views,
        curves=bands(planned, outcomes, [measure, *_accuracy_of(measure)]),
        tradeoffs=prices,
        cautions=[
            *_missing_cautions(planned, rows, measure),
            *could_tell.warnings,
            *_cost_cautions(planned, outcomes, match=match, amount=amount),
            *(_speed_cautions(planned, outcomes) if match == "wall_clock" else []),
            *_curve_cautions(outcomes, measure),
        ],
    )


def rows(results: Results) -> tuple[list[str], list[list[str | int | float | None]]]:
    """Columns and rows of results.csv: a row a cell, done or not; None where a cell has no such figure."""
    measures = sorted({measure for cell in results.cells for measure in cell.figures})
    columns = ["cell", "setting", *results.axes, "seed", "state", *COSTS, "tokens_per_second", *measures, "error"]
    return columns, [
        [
            cell.cell,
            cell.setting,
            *(cell.levels.get(axis) for axis in results.axes),
            cell.seed,
            cell.state,
            *(cell.costs.get(cost) for cost in COSTS),
            cell.tokens_per_second,
            *(cell.figures.get(measure) for measure in measures),
            cell.error,
        ]
        for cell in results.cells
    ]


def _cell_rows(planned: Plan, outcomes: Sequence[Outcome], missing: Sequence[CellRow]) -> list[CellRow]:
    done = [
        CellRow(
            cell=one.cell,
            setting=one.setting,
            levels=dict(one.levels),
            seed=one.seed,
            state="done",
            # JSON knows no NaN: a figure that is none is left out, and the cautions say so.
            figures={name: figure for name, figure in sorted(one.figures.items()) if isfinite(figure)},
            costs={cost: one.costs[cost] for cost in COSTS if cost in one.costs},
            tokens_per_second=one.tokens_per_second,
        )
        for one in outcomes
    ]
    index = planned.settings.index
    return sorted(chain(done, missing), key=lambda row: (index(row.setting), row.seed))


def _accuracy_of(measure: str) -> list[str]:
    """The accuracy that goes with a loss: eval/accuracy/mlm with eval/mlm_nats."""
    folder, _, term = measure.rpartition("/")
    return [f"{folder}/accuracy/{term.removesuffix('_nats')}".lstrip("/")] if term.endswith("_nats") else []


def _missing_cautions(planned: Plan, cells: Sequence[CellRow], measure: str) -> list[str]:
    found = []
    for state, one, many in NOT_DONE:
        names = [row.cell for row in cells if row.state == state]
        says = one if len(names) == 1 else many
        if names:
            found.append(f"{counted(len(names), 'cell')} {says}: {together(names)}.")
    done = {row.setting for row in cells if row.state == "done"}
    without = [setting for setting in planned.settings if setting not in done]
    if without:
        found.append(f"No finished cell, so not compared and not ruled out: {together(without)}.")
    unscored = [row.cell for row in cells if row.state == "done" and measure not in row.figures]
    if unscored:
        found.append(f"Done, but without a finite {measure}: {together(unscored)}.")
    return found


def _cost_cautions(planned: Plan, outcomes: Sequence[Outcome], *, match: str, amount: float) -> list[str]:
    matched = MATCH_COSTS[match]
    found = []
    off = [one.cell for one in outcomes if abs(one.costs.get(matched, amount) - amount) > _ABOUT_EQUAL * amount]
    if off:
        found.append(f"Spent more or less than {spent(matched, amount)} by over 2 %: {together(off)}.")
    for cost in COSTS:
        means = mean_costs(outcomes, cost)
        if cost != matched and len(means) > 1 and max(means.values()) > (1 + _ABOUT_EQUAL) * min(means.values()):
            least, most = (min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name]))
            found.append(
                f"At equal {COST_NAMES[matched]} the settings did not spend equal {COST_NAMES[cost]}: from "
                f"{spent(cost, means[least])} ({planned.short(least)}) to {spent(cost, means[most])} "
                f"({planned.short(most)})."
            )
    return found


def _speed_cautions(planned: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    """Runs of one setting should be equally fast, or the clock has measured something else as well."""
    speeds: dict[str, list[float]] = {}
    for one in outcomes:
        speeds.setdefault(one.setting, []).append(one.tokens_per_second)
    spreads = {setting: (max(own) - min(own)) / fmean(own) for setting, own in speeds.items()}
    widest = max(spreads, key=lambda setting: spreads[setting], default=None)
    if widest is None or spreads[widest] <= _ABOUT_EQUALLY_FAST:
        return []
    return [
        f"Runs of one setting were not equally fast: those of {planned.short(widest)} differ by {spreads[widest]:.0%} "
        "in tokens a second. Something else used the machine, and at equal wall clock the slower ones trained on less."
    ]


def _curve_cautions(outcomes: Sequence[Outcome], measure: str) -> list[str]:
    without = [one.cell for one in outcomes if not any(measure in point.figures for point in one.curve)]
    return [f"Curves without {measure}, so not read at equal costs: {together(without)}."] if without else []
