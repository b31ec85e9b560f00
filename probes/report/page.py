"""One offline HTML page of runs and results: the answer first, then curves, maps, pictures, and how to repeat it.

Everything is inside the page (plotly, data, pictures, styles): it asks the network for nothing and opens from disk.
Names and texts are escaped. A part that is missing is said to be missing. Each chart also lies as a PNG beside the
results.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.probe_error import ProbeError
from probes.report.folder import Folder
from probes.report.rendering import HOME, render_page
from probes.report.section import ProbePart, Section, headline_sheets, section_of
from probes.report.sheet import Sheet
from probes.results import write_text


@dataclass(frozen=True)
class Joint:
    """What the same probe found in several folders."""

    probe: str
    num_folders: int
    sheets: list[Sheet]
    notes: list[str]


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html from RUN/metrics.jsonl, RUN/recipe.yaml and RUN/probes; returns the page's path.

    The charts' PNGs go to RUN/probes, as report-<what>.png and <probe>.<measure>.png; those that are newer than what
    they show are left as they are.

    Raises:
        ProbeError: the folder is missing, or holds neither metrics nor results of a probe.
    """
    return write_page([run_dir])


def write_page(folders: Sequence[Path], *, out: Path | None = None) -> Path:
    """One page of several runs or folders of results; returns its path.

    Args:
        folders: runs (metrics.jsonl, probes/*.json, probes/step-N/*.json) or folders of results (*.json of probes).
        out: the page; None: report.html in the folder if it is one, else in the working directory.

    Raises:
        ProbeError: a folder is missing or holds nothing that can be reported, or the page cannot be written.
    """
    read = [Folder.read(Path(folder)) for folder in folders]
    path = out or (Path(folders[0]) / "report.html" if len(folders) == 1 else Path("report.html"))
    try:
        write_text(path, render([section_of(folder, f"s{index}") for index, folder in enumerate(read)]))
    except OSError as error:
        raise ProbeError(f"{path}: cannot be written ({error.strerror}). Name another file with --out.") from error
    return path


def render(sections: Sequence[Section]) -> str:
    """The page's HTML."""
    return render_page(
        HOME / "page.html",
        title=sections[0].name if len(sections) == 1 else f"{len(sections)} side by side",
        **_data(sections),
        sections=sections,
        joint=_joint(sections),
    )


def _data(sections: Sequence[Section]) -> dict[str, Any]:
    """Charts by the file name of their PNG and maps by probe, each under its place in the page."""
    charts, maps = {}, {}
    for section in sections:
        for chart in section.curves:
            charts[f"{section.anchor}/{chart.file}"] = chart.data()
        for part in section.probes:
            over_steps = part.over_steps.charts if part.over_steps else []
            for chart in [*over_steps, *(chart for layer in part.layers for chart in layer.charts)]:
                charts[f"{part.anchor}/{chart.file}"] = chart.data()
            if part.maps is not None:
                maps[part.anchor] = part.maps
    return {"charts": charts, "maps": maps}


def _joint(sections: Sequence[Section]) -> list[Joint]:
    """A summary over the folders of each probe that was run in more than one of them."""
    found: dict[str, list[tuple[str, ProbePart]]] = {}
    for section in sections:
        for part in section.probes:
            found.setdefault(part.results.probe, []).append((section.name, part))
    joint = []
    for probe, parts in found.items():
        if len(parts) > 1:
            sheets = headline_sheets([(f"{name}: ", part.results) for name, part in parts])
            joint.append(Joint(probe, len(parts), sheets, _cautions([part for _, part in parts])))
    return joint


def _cautions(parts: Sequence[ProbePart]) -> list[str]:
    """What keeps rows of different folders from being compared."""
    cautions = ["Rows of different folders come from different calls, so there is no paired difference between them."]
    if len({json.dumps(part.results.data.get("sha256"), sort_keys=True) for part in parts}) > 1:
        cautions.append("They were asked about different data, so their figures do not compare.")
    if len({json.dumps(part.results.settings, sort_keys=True, default=str) for part in parts}) > 1:
        cautions.append("Their settings differ; see how each was made.")
    return cautions
