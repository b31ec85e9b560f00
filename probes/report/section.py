"""What the page shows of one folder and of each probe in it, worked out so that the template only places it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.report.chart import Chart
from probes.report.facts import facts
from probes.report.folder import Finding, Folder
from probes.report.layers import LayerPart, file_name, layer_parts, other_scores
from probes.report.map_data import map_data
from probes.report.sheet import Sheet, summary_sheet, table_sheet
from probes.report.training import key_figures, summary_line, training_charts
from probes.report.trajectories import Trajectories, trajectories
from probes.results import Results, Score
from probes.summary import Summary

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Shown:
    """A picture to be put into the page."""

    caption: str
    file: str
    kind: str
    group: str
    source: str | None
    """As a data: address; None: the file is missing."""


@dataclass(frozen=True)
class ProbePart:
    """What is shown of one probe in one folder."""

    anchor: str
    results: Results
    step: int | None
    summary: list[Sheet]
    over_steps: Trajectories | None
    layers: list[LayerPart]
    others: list[Sheet]
    maps: dict[str, Any] | None
    pictures: list[Shown]
    tables: list[Sheet]
    facts: list[list[str]]
    files: list[str]


@dataclass(frozen=True)
class Section:
    """What is shown of one folder."""

    anchor: str
    name: str
    training: str
    missing: list[str]
    key_figures: list[list[str]]
    curves: list[Chart]
    probes: list[ProbePart]
    recipe: str | None
    versions: dict[str, Any] = field(default_factory=dict)


def section_of(folder: Folder, anchor: str) -> Section:
    """Everything that the page shows of the folder; the PNGs of its charts are written beside the results."""
    metrics = folder.metrics
    missing: list[str] = []
    probes = [
        _probe_part(finding, folder, f"{anchor}-{index}", missing) for index, finding in enumerate(folder.findings)
    ]
    over_steps = {part.results.probe for part in probes if part.over_steps}
    curves = training_charts(metrics, shown_elsewhere=over_steps) if metrics else []
    _draw(curves, folder.path / "probes", [folder.path / "metrics.jsonl"], missing)
    versions = (folder.progress or {}).get("versions")
    return Section(
        anchor,
        folder.name,
        summary_line(metrics) if metrics else "",
        _missing(folder) + missing,
        key_figures(metrics) if metrics else [],
        curves,
        probes,
        folder.recipe,
        versions if isinstance(versions, dict) else {},
    )


def headline_sheets(summaries: Sequence[tuple[str, Results]]) -> list[Sheet]:
    """The headlines of one or several results side by side, and the differences apart.

    Args:
        summaries: what the rows' labels begin with, and the results.
    """
    plain, differences = Summary({}, []), Summary({}, [])
    for prefix, results in summaries:
        scores = [score for score in results.headlines if score.role != "difference"]
        plain = plain.joined(Summary.of(scores, results.measures, prefix=prefix))
        differences = differences.joined(Summary.of(_differences(results.headlines), results.measures, prefix=prefix))
    sheets = [
        summary_sheet(plain, "With 95 % intervals in brackets"),
        summary_sheet(differences, "Differences, the first minus the second, and what the interval allows to say"),
    ]
    return [sheet for sheet in sheets if sheet is not None]


def _missing(folder: Folder) -> list[str]:
    said = []
    if folder.metrics is None:
        # Only of a run is it worth saying.
        if folder.recipe is not None:
            said.append("There is no metrics.jsonl here, so the page has no training curves.")
    elif unreadable := folder.metrics.unreadable:
        numbers = ", ".join(map(str, unreadable[:5])) + (" ..." if len(unreadable) > 5 else "")
        said.append(f"metrics.jsonl: {len(unreadable)} line(s) are no JSON object and left out: {numbers}.")
    if not folder.findings:
        said.append("No probe has been run on it: python -m probes senses MODEL makes the figures.")
    return said + [f"Left out: {line}" for line in folder.damaged]


def _probe_part(finding: Finding, folder: Folder, anchor: str, missing: list[str]) -> ProbePart:
    results, home = finding.results, finding.path.parent
    layers = layer_parts(results)
    snapshots = folder.snapshots.get(results.probe, {})
    over_steps = trajectories(results, snapshots)
    own = {Path(picture.file).name for picture in results.pictures}
    charts = [chart for part in layers for chart in part.charts]
    _draw([chart for chart in charts if chart.file not in own], home, [finding.path], missing)
    files = [
        f"{results.probe}.json",
        f"{results.probe}.csv",
        *(f"{results.probe}.{one.name}.csv" for one in results.tables),
    ]
    if over_steps is not None:
        base = home if finding.step is None else home.parent
        files.append(f"report-{file_name(results.probe)}-by-step.csv")
        _draw(over_steps.charts, base, [finding.path, *(one.path for one in snapshots.values())], missing)
        _write(over_steps, base / files[-1], missing)
    others = other_scores(results)
    plain = [score for score in others if score.role != "difference"]
    sheets = [
        summary_sheet(Summary.of(plain, results.measures), "Other figures, with 95 % intervals"),
        summary_sheet(
            Summary.of(_differences(others), results.measures), "Other differences, the first minus the second"
        ),
    ]
    live = {chart.file for chart in charts}
    return ProbePart(
        anchor,
        results,
        finding.step,
        headline_sheets([("", results)]),
        over_steps,
        layers,
        [sheet for sheet in sheets if sheet is not None],
        map_data(results),
        [_shown(picture, home) for picture in results.pictures if Path(picture.file).name not in live],
        [table_sheet(table, results.probe) for table in results.tables],
        facts(results.data) + facts(results.settings),
        files,
    )


def _differences(scores: Sequence[Score]) -> list[Score]:
    return [score for score in scores if score.role == "difference"]


def _draw(charts: Sequence[Chart], folder: Path, sources: Sequence[Path], missing: list[str]) -> None:
    """The charts' PNGs; the page is whole without them, so a folder that cannot be written is only told."""
    try:
        for chart in charts:
            chart.draw(folder, sources)
    except OSError as error:
        missing.append(f"{folder}: the charts' PNGs cannot be written ({error.strerror}).")


def _write(over_steps: Trajectories, path: Path, missing: list[str]) -> None:
    try:
        over_steps.write(path)
    except OSError as error:
        missing.append(f"{path}: cannot be written ({error.strerror}).")


def _shown(picture: Any, folder: Path) -> Shown:
    """A probe's picture; only a PNG that lies in the results' own folder comes into the page."""
    name = Path(picture.file).name
    file = (folder / name).resolve()
    source = None
    if name and file.parent == folder.resolve() and file.is_file() and (png := file.read_bytes()).startswith(PNG):
        source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    return Shown(picture.caption, picture.file, picture.kind, picture.group, source)
