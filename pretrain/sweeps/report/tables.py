"""The tables of a sweep's page, worked out so that the template only places them."""

from dataclasses import dataclass

from pretrain.sweeps.outcome import COSTS, Cost
from pretrain.sweeps.report.arrangement import Arrangement
from pretrain.sweeps.report.pictures import Pictures
from pretrain.sweeps.report.units import (
    MATCHED,
    amount,
    better_side,
    capital,
    difference_text,
    difference_unit,
    estimate_text,
    figure,
    heading_of,
    interval,
    p_said,
    p_text,
    title_of,
)
from pretrain.sweeps.results import CellRow, Difference, Results, View
from probes.report.chart import Chart
from probes.report.sheet import SHOWN_ROWS, Sheet


@dataclass(frozen=True)
class Equal:
    """The settings compared at one point of equality, read from the curves."""

    title: str
    chart: Chart | None
    sheets: list[Sheet]


@dataclass(frozen=True)
class Failure:
    """A cell that failed."""

    cell: str
    lines: str


def comparison_sheet(results: Results, view: View) -> Sheet:
    """One row a setting: mean, difference, what can be said of it, and what it cost."""
    measure, spent = view.measure, _mean_costs(results) if view.equal is None else {}
    # What is held equal says nothing; of the others the one that a reader pays.
    cost: Cost = "tokens" if results.match == "wall_clock" else "hours"
    costs = {name: amount(cost, one[cost]) for name, one in spent.items() if cost in one}
    found = {one.setting: one for one in view.differences}
    names = Arrangement.of(results).ordered(view.settings)
    has_best, has_costs = view.best is not None, bool(costs)
    sizes = {one.n for one in view.settings.values()}
    columns = ["setting", heading_of(measure), *(["seeds"] if len(sizes) > 1 else [])]
    columns += [f"minus the reference{_points(measure)}", "alone", "adjusted p", "verdict"]
    columns += [*(["best?"] if has_best else []), *(["mean cost"] if has_costs else [])]
    rows = []
    for name in names:
        row = [name, estimate_text(measure, view.settings[name])]
        row += [str(view.settings[name].n)] if len(sizes) > 1 else []
        row += _difference_cells(measure, found.get(name), name == results.reference)
        row += [_rank(view, name)] if has_best else []
        rows.append(row + ([costs.get(name, "")] if has_costs else []))
    muted = frozenset(at for at, name in enumerate(names) if name == results.reference)
    bold = frozenset(at for at, name in enumerate(names) if view.best and name == view.best.setting)
    return Sheet(_caption(results, view), columns, rows, muted=muted - bold, strong=bold)


def _caption(results: Results, view: View) -> str:
    side = better_side(view.measure)
    said = f"{capital(title_of(view.measure))}: {side} is better."
    if not any(one.low is not None for one in view.settings.values()):
        return f"{said} One seed each, so no interval is known. The reference is {results.reference}."
    sizes = {one.n for one in view.settings.values()}
    n = f" n = {min(sizes)} seeds each." if len(sizes) == 1 else ""
    return (
        f"{said}{n} In brackets 95 % intervals: of a mean by itself; of the differences to the reference,"
        f" {results.reference}, for all of them at once; in the next column for one by itself."
    )


def _points(measure: str) -> str:
    unit = difference_unit(measure)
    return f" ({unit})" if unit else ""


def _difference_cells(measure: str, one: Difference | None, is_reference: bool) -> list[str]:
    if is_reference:
        return ["reference", "", "", ""]
    if one is None:
        return ["", "", "", ""]
    alone = interval(measure, one.alone_low, one.alone_high, signed=True)
    return [difference_text(measure, one), alone, p_text(one.p), one.verdict]


def _rank(view: View, name: str) -> str:
    if view.best is None or name not in (view.best.setting, *view.best.candidates):
        return "no"
    if name != view.best.setting:
        return "may be"
    return "it is" if view.best.is_certain else "best mean"


def _mean_costs(results: Results) -> dict[str, dict[Cost, float]]:
    """setting -> what its cells that are done spent in the mean."""
    found: dict[str, list[CellRow]] = {}
    for cell in results.cells:
        if cell.state == "done" and cell.costs:
            found.setdefault(cell.setting, []).append(cell)
    return {
        setting: {
            cost: sum(cell.costs[cost] for cell in cells) / len(cells)
            for cost in COSTS
            if all(cost in cell.costs for cell in cells)
        }
        for setting, cells in found.items()
    }


def costs_sheet(results: Results) -> Sheet | None:
    """One row a setting: what it spent in the mean over its seeds; None where nothing is done."""
    spent = _mean_costs(results)
    costs = [cost for cost in COSTS if any(cost in one for one in spent.values())]
    if not costs:
        return None
    rows = [
        [name, *(amount(cost, spent[name][cost]) if cost in spent[name] else "" for cost in costs)]
        for name in Arrangement.of(results).ordered(spent)
    ]
    return Sheet("Spent by a cell, mean over the seeds", ["setting", *map(_cost_heading, costs)], rows)


def _cost_heading(cost: Cost) -> str:
    return {"flops": "FLOPs", "hours": "time"}.get(cost, cost)


def equal_parts(results: Results, pictures: Pictures) -> list[Equal]:
    """What the curves say at equal costs, each point of equality by itself."""
    found: dict[tuple[Cost, float], list[View]] = {}
    for view in results.views:
        if view.equal is not None and view.at is not None and view.settings:
            found.setdefault((view.equal, view.at), []).append(view)
    return [
        Equal(
            f"After {amount(cost, at)} each",
            pictures.equal.get((cost, at)),
            [comparison_sheet(results, view) for view in views],
        )
        for (cost, at), views in found.items()
    ]


def effect_sheets(view: View) -> list[Sheet]:
    """A table for each main effect."""
    return [
        Sheet(
            f"Main effect of {effect.axis}: {title_of(view.measure)}, means over all levels of the others, with 95 %"
            f" intervals{f'. F test of no effect at all: {said}' if (said := p_said(effect.p)) else ''}",
            [effect.axis, heading_of(view.measure), "seeds"],
            [[label, estimate_text(view.measure, one), str(one.n)] for label, one in effect.levels.items()],
        )
        for effect in view.effects
    ]


def _finished(results: Results) -> list[View]:
    """The comparisons of the finished models but for the one that decides."""
    return [view for view in results.views[1:] if view.equal is None and view.settings]


def all_measures(results: Results) -> Sheet | None:
    """One row a setting, one column a measure; None where one measure is all."""
    if not (views := _finished(results)):
        return None
    names = Arrangement.of(results).ordered({name: None for view in views for name in view.settings})
    rows = [
        [name, *(estimate_text(view.measure, view.settings[name]) if name in view.settings else "" for view in views)]
        for name in names
    ]
    return Sheet(
        "The finished models in all other measures, with 95 % intervals of the mean over seeds",
        ["setting", *(heading_of(view.measure) for view in views)],
        rows,
        muted=frozenset(at for at, name in enumerate(names) if name == results.reference),
    )


def differences_sheet(results: Results) -> Sheet | None:
    """The differences to the reference in the other measures."""
    views = [view for view in _finished(results) if view.differences]
    names = Arrangement.of(results).ordered({one.setting: None for view in views for one in view.differences})
    if not names:
        return None
    rows = []
    for name in names:
        found = [next((one for one in view.differences if one.setting == name), None) for view in views]
        rows.append([name, *(_with_verdict(view.measure, one) for view, one in zip(views, found, strict=True))])
    return Sheet(
        f"Differences to {results.reference}, with simultaneous 95 % intervals: each column by itself holds at once",
        ["setting", *(f"{title_of(view.measure)}{_points(view.measure)}" for view in views)],
        rows,
    )


def _with_verdict(measure: str, one: Difference | None) -> str:
    return "" if one is None else f"{difference_text(measure, one)}: {one.verdict}"


def cells_sheet(results: Results) -> Sheet | None:
    """One row a cell: its state, its figure and what it spent; a long table is folded."""
    if not results.cells:
        return None
    costs = [cost for cost in COSTS if any(cost in cell.costs for cell in results.cells)]
    rows = []
    for cell in results.cells:
        value = cell.figures.get(results.measure)
        said = "" if value is None else figure(results.measure, value)
        spent = [amount(cost, cell.costs[cost]) if cost in cell.costs else "" for cost in costs]
        speed = "" if cell.tokens_per_second is None else f"{cell.tokens_per_second:,.0f}"
        rows.append([cell.cell, cell.state, str(cell.seed), said, *spent, speed])
    columns = ["cell", "state", "seed", heading_of(results.measure), *map(_cost_heading, costs), "tokens a second"]
    caption = "Each is a run of its own, in a folder of its name. All their figures are in results.csv"
    return Sheet(caption, columns, rows[:SHOWN_ROWS], rows[SHOWN_ROWS:], csv="results.csv")


def failures(results: Results) -> list[Failure]:
    """Cells that failed, with their last lines."""
    return [Failure(cell.cell, cell.error or "It left no message.") for cell in results.cells if cell.state == "failed"]


def set_up(results: Results) -> list[list[str]]:
    """[name, value] of what was asked for."""
    matched = MATCHED.get(results.match)
    held = amount(matched, results.amount) if matched else f"{results.amount:g} {results.match}"
    return [
        *([axis, ", ".join(labels)] for axis, labels in results.axes.items()),
        ["seeds", ", ".join(map(str, results.seeds))],
        ["held equal", f"{results.match}: {held} a cell"],
        ["decides", f"{heading_of(results.measure)}: {results.measure}"],
        ["reference", results.reference],
    ]
