"""The headlines of a probe over a run's checkpoints, one chart for each measure.

The steps come from the results that a run wrote at its evaluations (probes/step-N/), or from one call with several
checkpoints. The finished model, which is the best checkpoint's and has no step of its own, stands last.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.cells import UNIT_NAMES, cell
from probes.report.chart import Chart, Line
from probes.report.folder import Finding
from probes.report.layers import file_name, owner, renamed, scale
from probes.report.sheet import Sheet
from probes.results import Measure, Results, Score, write_csv
from probes.summary import measure_of

FINAL = "finished model"
ROOM_FOR_FINAL = 0.06
"""How far right of the last step the finished model stands, as a share of the steps."""


@dataclass(frozen=True)
class Moment:
    """One headline at one step."""

    label: str
    step: int | None
    """None: of the finished model, or of a baseline that has no step."""
    score: Score


@dataclass(frozen=True)
class Trajectories:
    """What is shown of one probe over the steps."""

    charts: list[Chart]
    sheets: list[Sheet]
    moments: list[Moment]

    def write(self, path: Path) -> None:
        """The figures as CSV: the step and what a Score has; the finished model's have no step."""
        fields = list(Score.model_fields)
        rows = [[one.step, one.label, *(getattr(one.score, name) for name in fields)] for one in self.moments]
        write_csv(path, ["step", "line", *fields], rows)


def trajectories(final: Results, snapshots: Mapping[int, Finding]) -> Trajectories | None:
    """Charts and tables of each measure over the steps; None where there are fewer than two steps.

    Args:
        final: the results in the run's own folder, or those of one call.
        snapshots: by step, in any order.
    """
    moments = [
        moment
        for step, finding in sorted(snapshots.items())
        for moment in _moments(finding.results, step, is_alone=True)
    ]
    taken = set(snapshots)
    if snapshots and final not in [finding.results for finding in snapshots.values()]:
        moments += _moments(final, None, is_alone=True)
    elif not snapshots:
        moments = _moments(final, None, is_alone=False)
        taken = {moment.step for moment in moments if moment.step is not None}
    if len(taken) < 2:
        return None
    charts, sheets = [], []
    for key in dict.fromkeys(moment.score.measure for moment in moments):
        measure = measure_of(final.measures, key)
        mine = [moment for moment in moments if moment.score.measure == key]
        charts.append(_chart(mine, measure, f"report-{file_name(final.probe, key)}-by-step.png"))
        sheets.append(_sheet(mine, measure))
    return Trajectories(charts, sheets, moments)


def _moments(results: Results, step: int | None, *, is_alone: bool) -> list[Moment]:
    """The headlines but for differences.

    Args:
        step: of all these results; None: of each model its own, if it has one.
        is_alone: the results are of one state of a run, so names tell nothing.
    """
    steps = {card.name: card.step for card in results.models}
    moments = []
    for score in results.headlines:
        if score.role == "difference":
            continue
        model = owner(score.model, results)
        run = "the model" if is_alone and len(results.models) == 1 else _run(model or "")
        name = renamed(score.model, model, run) if model else score.model
        label = ", ".join(part for part in (name, score.variant, score.group or "", _layer(score)) if part)
        moments.append(Moment(label, step if step is not None or is_alone else steps.get(model or ""), score))
    return moments


def _run(name: str) -> str:
    """'run@100' -> 'run', 'run@100-2' -> 'run-2'."""
    return re.sub(r"@\d+(?=-\d+$|$)", "", name)


def _layer(score: Score) -> str:
    return "" if score.layer is None else f"layer {score.layer}"


def _chart(moments: Sequence[Moment], measure: Measure, file: str) -> Chart:
    unit = scale(measure)
    lines, levels = [], []
    steps = [moment.step for moment in moments if moment.step is not None]
    after = max(steps) + ROOM_FOR_FINAL * (max(steps) - min(steps))
    has_final = False
    for index, label in enumerate(dict.fromkeys(moment.label for moment in moments)):
        mine = [moment for moment in moments if moment.label == label]
        at_steps = {moment.step: moment.score for moment in mine if moment.step is not None}
        stepless = [moment.score for moment in mine if moment.step is None]
        dash = int(mine[0].score.role == "baseline")
        if at_steps:
            points = [(float(step), at_steps[step]) for step in sorted(at_steps)]
            lines.append(_line(label, points, measure, colour=index, dash=dash))
        if at_steps and stepless and mine[0].score.role == "model":
            lines.append(_line(f"{label}, {FINAL}", [(after, stepless[-1])], measure, colour=index, is_apart=True))
            has_final = True
        elif stepless and not at_steps:
            levels.append((f"{label}: {cell(stepless[-1], measure)}", unit * stepless[-1].value))
    caption = "Bands: 95 % intervals." + (f" The {FINAL} stands right of the last step." if has_final else "")
    return Chart(file, f"{measure.title} over training", "step", UNIT_NAMES[measure.unit], lines, levels, caption)


def _line(
    label: str,
    points: Sequence[tuple[float, Score]],
    measure: Measure,
    *,
    colour: int,
    dash: int = 0,
    is_apart: bool = False,
) -> Line:
    unit = scale(measure)
    where = [FINAL if is_apart else f"step {x:,.0f}" for x, _ in points]
    return Line(
        label,
        [x for x, _ in points],
        [unit * score.value for _, score in points],
        [unit * score.low for _, score in points],
        [unit * score.high for _, score in points],
        [f"{at}: {cell(score, measure)}, n = {score.n:,}" for at, (_, score) in zip(where, points, strict=True)],
        colour=colour,
        dash=dash,
        is_apart=is_apart,
    )


def _sheet(moments: Sequence[Moment], measure: Measure) -> Sheet:
    """A row for each step, the finished model last; a baseline without steps is the same in every row."""
    labels = list(dict.fromkeys(moment.label for moment in moments))
    cells = {(moment.label, moment.step): cell(moment.score, measure) for moment in moments}
    steps = sorted({moment.step for moment in moments if moment.step is not None})
    stepped = {moment.label for moment in moments if moment.step is not None}

    def text(label: str, step: int) -> str:
        return cells.get((label, step)) or ("" if label in stepped else cells.get((label, None), ""))

    rows = [[f"{step:,}", *(text(label, step) for label in labels)] for step in steps]
    if any(label in stepped and (label, None) in cells for label in labels):
        rows.append([FINAL, *(cells.get((label, None), "") for label in labels)])
    return Sheet(f"{measure.title} by step", ["step", *labels], rows)
