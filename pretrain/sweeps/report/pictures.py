"""The pictures of a sweep: each is a chart of its page, and a PNG beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from pretrain.sweeps.outcome import COST_LABELS, COSTS, Cost, is_lower_better
from pretrain.sweeps.report.arrangement import COLOURS, Arrangement, Scale
from pretrain.sweeps.report.units import (
    amount,
    axis_of,
    better_side,
    capital,
    difference_text,
    difference_unit,
    estimate_text,
    figure,
    p_said,
    scale_of,
    title_of,
    unit_of,
    with_unit,
)
from pretrain.sweeps.results import Band, Estimate, Interaction, Results, Tradeoff, View
from probes.report.chart import Chart, Line
from probes.report.layers import file_name

BESIDE = 0.018
"""How far right of a mean its single seeds stand, as a share of a numeric axis."""
BELOW = 0.24
"""How far below it, in rows."""
LATE = 0.5
"""The part of a learning curve, from its end, that the vertical axis shows whole."""
VERDICTS = {"better": (2, False), "worse": (1, False), "not told apart": (0, True)}
"""Colour of each, and whether its markers are hollow; any other has the next colour."""
WORDS: dict[Cost, str] = {**COST_LABELS, "hours": "time of training"}
WITHOUT_INTERVALS = "No intervals: one seed says nothing of the spread."


@dataclass(frozen=True)
class Pictures:
    """All that is drawn of a sweep."""

    settings: Chart | None = None
    differences: Chart | None = None
    equal: dict[tuple[Cost, float], Chart] = field(default_factory=dict)
    """(cost, how much of it) -> the settings compared there."""
    interaction: Chart | None = None
    curves: list[Chart] = field(default_factory=list)
    tradeoffs: list[Chart] = field(default_factory=list)

    @property
    def charts(self) -> list[Chart]:
        """Every one."""
        alone = [self.settings, self.differences, self.interaction]
        return [one for one in alone if one] + [*self.equal.values(), *self.curves, *self.tradeoffs]


def pictures_of(results: Results) -> Pictures:
    """What there is to draw; nothing where no cell is done."""
    if not results.views or not results.views[0].settings:
        return Pictures()
    first, arrangement = results.views[0], Arrangement.of(results)
    equal: dict[tuple[Cost, float], Chart] = {}
    for view in results.views:
        if view.equal is not None and view.at is not None and view.settings and (view.equal, view.at) not in equal:
            same = sum(cost == view.equal for cost, _ in equal)
            file = f"settings-equal-{view.equal}{f'-{same + 1}' if same else ''}.png"
            equal[view.equal, view.at] = _settings(results, view, arrangement, file)
    return Pictures(
        _settings(results, first, arrangement, "settings.png"),
        _differences(results, first, arrangement) if first.differences else None,
        equal,
        _interaction(first.measure, first.interaction, first, arrangement) if first.interaction else None,
        _all_curves(results, arrangement),
        _tradeoffs(results, arrangement),
    )


def draw_pictures(pictures: Pictures, folder: Path) -> None:
    """Write the PNGs into the folder.

    Raises:
        OSError: one cannot be written.
    """
    for chart in pictures.charts:
        chart.draw(folder)


def _settings(results: Results, view: View, arrangement: Arrangement, file: str) -> Chart:
    """Means with intervals; of the finished models also the single seeds."""
    names = arrangement.ordered(view.settings)
    scale, measure = arrangement.scale(names), view.measure
    lines = [_thread(names, scale, lambda name: view.settings[name].value, measure)] if scale.is_numeric else []
    has_several = any(one.n > 1 for one in view.settings.values())
    if view.equal is None and has_several:
        lines.append(_seeds(results, names, scale, measure))
    for label, colour, is_hollow, mine in _ranks(view, names, has_several):
        texts = [f"{name}: {_said(measure, view.settings[name])}" for name in mine]
        shown = [view.settings[name] for name in mine]
        lines.append(_marks(label, [scale.places[name] for name in mine], shown, measure, texts, colour, is_hollow))
    levels: list[tuple[str, float]] = []
    if results.reference in view.settings:
        value = view.settings[results.reference].value
        said = with_unit(measure, figure(measure, value))
        levels = [(f"reference, {results.reference}: {said}", scale_of(measure) * value)]
    where = f" after {amount(view.equal, view.at)}" if view.equal is not None and view.at is not None else ""
    caption = f"Bars: 95 % intervals of the mean over seeds, each by itself. {_dots_said(lines)}"
    return Chart(
        file,
        f"{capital(title_of(measure))}{where}",
        arrangement.numeric_axis(names) or "",
        _axis(measure),
        lines,
        levels,
        caption.strip() if any(one.low is not None for one in view.settings.values()) else WITHOUT_INTERVALS,
        ticks=arrangement.ticks(names),
        is_sideways=not scale.is_numeric,
        x_range=scale.ends,
        y_range=_with_room(lines, levels),
    )


def _ranks(view: View, names: Sequence[str], has_several: bool) -> list[tuple[str, int, bool, list[str]]]:
    """(label, colour, whether hollow, settings) by what can be said of being the best."""
    if view.best is None:
        return [("mean over seeds" if has_several else "single run", 0, False, list(names))]
    others = [name for name in names if name in view.best.candidates and name != view.best.setting]
    ruled_out = [name for name in names if name not in view.best.candidates and name != view.best.setting]
    ranks = [
        ("best mean", 2, False, [view.best.setting]),
        ("may be the best as well (95 % confidence)", 0, False, others),
        ("ruled out as the best", 0, True, ruled_out),
    ]
    return [rank for rank in ranks if rank[-1]]


def _seeds(results: Results, names: Sequence[str], scale: Scale, measure: str) -> Line:
    """The single seeds, each beside the mean of its setting."""
    aside = BESIDE * scale.span if scale.is_numeric else BELOW
    cells = [cell for cell in results.cells if cell.setting in names and measure in cell.figures]
    return Line(
        "single seeds",
        [scale.places[cell.setting] + aside for cell in cells],
        [scale_of(measure) * cell.figures[measure] for cell in cells],
        texts=[
            f"{cell.setting}, seed {cell.seed}: {with_unit(measure, figure(measure, cell.figures[measure]))}"
            for cell in cells
        ],
        style="dots",
    )


def _dots_said(lines: Sequence[Line]) -> str:
    return "Small points: single seeds, beside their mean." if any(line.style == "dots" for line in lines) else ""


def _differences(results: Results, view: View, arrangement: Arrangement) -> Chart:
    """Each setting minus the reference with simultaneous intervals, and a line at zero."""
    found, measure = {one.setting: one for one in view.differences}, view.measure
    names = [name for name in arrangement.ordered(found) if name != results.reference]
    all_names = arrangement.ordered({**found, results.reference: None})
    is_numeric = arrangement.numeric_axis(all_names) is not None
    shown = all_names if is_numeric else names
    scale = arrangement.scale(shown)
    values = {name: one.value for name, one in found.items()} | {results.reference: 0.0}
    lines = [_thread(shown, scale, lambda name: values[name], measure)] if is_numeric else []
    for verdict in dict.fromkeys([*VERDICTS, *(one.verdict for one in found.values())]):
        mine = [name for name in names if found[name].verdict == verdict]
        estimates = [Estimate(**found[name].model_dump(include={"value", "low", "high", "n"})) for name in mine]
        texts = [f"{name}: {with_unit(measure, difference_text(measure, found[name]), signed=True)}" for name in mine]
        colour, is_hollow = VERDICTS.get(verdict, (6, True))
        if mine:
            places = [scale.places[name] for name in mine]
            lines.append(_marks(verdict, places, estimates, measure, texts, colour, is_hollow))
    unit = difference_unit(measure) or "difference"
    side = {True: ("below", "left of"), False: ("above", "right of")}[is_lower_better(measure)][not is_numeric]
    caption = "Bars: simultaneous 95 % intervals, which hold for all comparisons at once."
    return Chart(
        "differences.png",
        f"{capital(title_of(measure))}: difference to {results.reference}",
        arrangement.numeric_axis(all_names) or "",
        f"{unit}, {side} 0 is better",
        lines,
        [(f"reference, {results.reference}", 0.0)],
        caption if any(one.low is not None for one in view.differences) else WITHOUT_INTERVALS,
        ticks=arrangement.ticks(shown),
        is_sideways=not is_numeric,
        x_range=scale.ends,
        y_range=_with_room(lines, [("", 0.0)]),
    )


def _marks(
    label: str,
    places: list[float],
    estimates: Sequence[Estimate],
    measure: str,
    texts: list[str],
    colour: int,
    is_hollow: bool,
) -> Line:
    """Points with bars where an interval is known."""
    unit = scale_of(measure)
    has_bars = any(one.low is not None for one in estimates)
    low: list[float] | None = [unit * (one.value if one.low is None else one.low) for one in estimates]
    high: list[float] | None = [unit * (one.value if one.high is None else one.high) for one in estimates]
    values = [unit * one.value for one in estimates]
    low, high = (low, high) if has_bars else (None, None)
    return Line(label, places, values, low, high, texts, colour=colour, style="marks", is_hollow=is_hollow)


def _with_room(lines: Sequence[Line], levels: Sequence[tuple[str, float]] = ()) -> tuple[float, float] | None:
    """The vertical axis, so that the ends of all bars are seen; None: there is no width at all."""
    shown = [y for line in lines for y in (*line.y, *(line.low or ()), *(line.high or ()))]
    shown += [y for _, y in levels]
    room = 0.06 * (max(shown) - min(shown))
    return (min(shown) - room, max(shown) + room) if room else None


def _thread(names: Sequence[str], scale: Scale, value: Callable[[str], float], measure: str) -> Line:
    """A thin line through the settings along their axis."""
    along = sorted(names, key=lambda name: scale.places[name])
    y = [scale_of(measure) * value(name) for name in along]
    return Line("", [scale.places[name] for name in along], y, style="thread")


def _interaction(measure: str, found: Interaction, view: View, arrangement: Arrangement) -> Chart:
    """A line of means for each level of the second axis, along the first."""
    first, second = found.axes
    scale = Scale.of(list(found.means))
    others = list(dict.fromkeys(label for row in found.means.values() for label in row))
    by_levels = {tuple(sorted(arrangement.levels[name].items())): one for name, one in view.settings.items()}
    lines = []
    for number, other in enumerate(others):
        along = sorted((label for label in found.means if other in found.means[label]), key=scale.places.__getitem__)
        # A little apart, so that bars at one place can be told from each other.
        aside = (number - (len(others) - 1) / 2) * 0.012 * (scale.span if scale.is_numeric else len(scale.places))
        estimates = [by_levels.get(tuple(sorted({first: label, second: other}.items()))) for label in along]
        means = [Estimate(value=found.means[label][other], n=1) for label in along]
        shown = [one if one and one.value == mean.value else mean for one, mean in zip(estimates, means, strict=True)]
        texts = [
            f"{first} {label}, {second} {other}: {_said(measure, one)}" for label, one in zip(along, shown, strict=True)
        ]
        places = [scale.places[label] + aside for label in along]
        drawn = _marks(f"{second} {other}", places, shown, measure, texts, number, False)
        lines.append(replace(drawn, style="bars", dash=number // COLOURS))
    tested = f" (F test: {p_said(found.p)})" if found.p is not None else ""
    return Chart(
        "interaction.png",
        f"{capital(title_of(measure))} by {first} and {second}",
        first,
        _axis(measure),
        lines,
        caption=f"Means with 95 % intervals. Lines that run parallel: the effect of {first} does not depend on"
        f" {second}{tested}.",
        ticks=scale.ticks(),
        x_range=scale.ends,
        y_range=_with_room(lines),
    )


def _all_curves(results: Results, arrangement: Arrangement) -> list[Chart]:
    """A chart for each cost; further measures after the one that decides."""
    measures = _main_first([band.measure for band in results.curves], results)
    charts = []
    for measure in measures:
        for cost in COSTS:
            bands = [band for band in results.curves if (band.measure, band.cost) == (measure, cost) and band.x]
            end = "" if measure == measures[0] else f"-{file_name(measure)}"
            if bands:
                charts.append(_curves(bands, cost, arrangement, f"curves-{cost}{end}.png"))
    return charts


def _curves(bands: Sequence[Band], cost: Cost, arrangement: Arrangement, file: str) -> Chart:
    """Learning curves of all settings; the vertical axis shows their late part, where they differ."""
    measure = bands[0].measure
    most = max(band.x[-1] for band in bands)
    divisor, x_label = axis_of(cost, most)
    unit = scale_of(measure)
    lines = []
    for name in arrangement.ordered([band.setting for band in bands]):
        band = next(band for band in bands if band.setting == name)
        colour, dash = arrangement.colour(name)
        lines.append(
            Line(
                name,
                [x / divisor for x in band.x],
                [unit * y for y in band.y],
                [unit * y for y in band.low] if band.low else None,
                [unit * y for y in band.high] if band.high else None,
                [
                    f"{amount(cost, x)}: {with_unit(measure, figure(measure, y))}"
                    for x, y in zip(band.x, band.y, strict=True)
                ],
                colour=colour,
                dash=dash,
            )
        )
    y_range, is_cut = _late_range(lines)
    caption = "Bands: 95 % intervals of the mean over seeds." if any(line.low for line in lines) else WITHOUT_INTERVALS
    if is_cut:
        caption += " The vertical axis shows what the second half of each curve spans; earlier parts run out of it."
    return Chart(
        file,
        f"{capital(title_of(measure))} against {WORDS[cost]}",
        x_label,
        _axis(measure),
        lines,
        caption=caption,
        x_range=(0.0, 1.02 * most / divisor),
        y_range=y_range,
    )


def _late_range(lines: Sequence[Line]) -> tuple[tuple[float, float] | None, bool]:
    """What the means of the late part of each curve span, and whether anything lies outside; None: no width at all."""
    late = [y for line in lines for x, y in zip(line.x, line.y, strict=True) if x >= (1 - LATE) * line.x[-1]]
    # The last intervals are what is to be seen.
    late += [bound[-1] for line in lines for bound in (line.low, line.high) if bound]
    room = 0.05 * (max(late) - min(late))
    if not room:
        return None, False
    low, high = min(late) - room, max(late) + room
    return (low, high), any(not low <= y <= high for line in lines for y in line.y)


def _main_first(measures: Sequence[str], results: Results) -> list[str]:
    """Each once, the one that decides before the others."""
    return sorted(dict.fromkeys(measures), key=lambda measure: measure != results.measure)


def _tradeoffs(results: Results, arrangement: Arrangement) -> list[Chart]:
    found = [one for one in results.tradeoffs if one.points]
    measures = _main_first([one.measure for one in found], results)
    found.sort(key=lambda one: measures.index(one.measure))
    ends = {measure: f"-{file_name(measure)}" if at else "" for at, measure in enumerate(measures)}
    return [_tradeoff(results, one, arrangement, f"tradeoff-{one.cost}{ends[one.measure]}.png") for one in found]


def _tradeoff(results: Results, found: Tradeoff, arrangement: Arrangement, file: str) -> Chart:
    """What each setting reached for what it spent, and a line along those that no other one beats."""
    measure, unit = found.measure, scale_of(found.measure)
    divisor, x_label = axis_of(found.cost, max(x for x, _ in found.points.values()))
    first = results.views[0]
    known = first.settings if first.measure == measure and first.equal is None else {}
    front = [found.points[name] for name in found.front]
    # Until the next one, nothing better is to be had for more.
    steps = [point for (x, y), after in pairwise(front) for point in ((x, y), (after[0], y))]
    steps += front[-1:]
    lines = [
        Line(
            "front: nothing as cheap is better",
            [x / divisor for x, _ in steps],
            [unit * y for _, y in steps],
            style="thread",
        )
    ]
    for name in arrangement.ordered(found.points):
        x, y = found.points[name]
        known_one = known.get(name)
        estimate = known_one if known_one and known_one.value == y else Estimate(value=y, n=1)
        texts = [f"{amount(found.cost, x)}: {_said(measure, estimate)}"]
        # A point has no dash, so each setting has a colour and a marker of its own.
        turn, colour = divmod(arrangement.names.index(name), COLOURS)
        label = f"{name} (front)" if name in found.front else name
        lines.append(_marks(label, [x / divisor], [estimate], measure, texts, colour, turn % 2 == 1))
    return Chart(
        file,
        f"{capital(title_of(measure))} for its cost in {WORDS[found.cost]}",
        x_label,
        _axis(measure),
        lines if steps else lines[1:],
        y_range=_with_room(lines),
        caption=f"Means over seeds. {capital(better_side(measure))} is better, and so is further left.",
    )


def _said(measure: str, one: Estimate) -> str:
    seeds = f", n = {one.n}" if one.low is not None else ""
    return with_unit(measure, estimate_text(measure, one)) + seeds


def _axis(measure: str) -> str:
    return f"{unit_of(measure) or 'value'}, {better_side(measure)} is better"
