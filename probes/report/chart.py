"""One chart of the page: drawn live from its data, and as a PNG beside the results."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.figures import Curve, Level, Style, draw_curves

TITLE_CHARACTERS = 66
MOST_MARKED_POINTS = 40
"""A curve with more points than this is drawn without markers."""


@dataclass(frozen=True)
class Line:
    """One curve with its band."""

    label: str
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    texts: list[str] | None = None
    """What is shown of each point under the pointer; None: its numbers."""
    colour: int = 0
    """Which of the page's colours and markers."""
    dash: int = 0
    """0: drawn through; others for baselines and variants."""
    is_apart: bool = False
    """Points that follow the last x and have none of their own: a finished model after its checkpoints."""
    style: Style = "curve"
    """See probes.figures.Curve; a line without a label is not in the legend."""
    is_hollow: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over layers or steps, or figures of things side by side."""

    file: str
    """Name of its PNG."""
    title: str
    x_label: str
    y_label: str
    lines: list[Line]
    levels: list[tuple[str, float]] = field(default_factory=list)
    """Horizontal lines: label and height."""
    caption: str = ""
    is_whole: bool = False
    """Whole numbers only along the horizontal axis: layers."""
    ticks: list[tuple[float, str]] = field(default_factory=list)
    """Places along the horizontal axis and their names; none: numbers."""
    is_sideways: bool = False
    """The axes are exchanged: names stand below each other at the left."""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    """What is shown at first; None: all."""

    def data(self) -> dict[str, Any]:
        """What page.js draws it from."""
        return {
            "x": self.x_label,
            "y": self.y_label,
            "whole": self.is_whole,
            "ticks": self.ticks,
            "sideways": self.is_sideways,
            "ranges": [self.x_range, self.y_range],
            "levels": [[label, _short(y)] for label, y in self.levels],
            "lines": [
                {
                    "n": line.label,
                    "x": line.x,
                    "y": [_short(y) for y in line.y],
                    "l": line.low and [_short(y) for y in line.low],
                    "h": line.high and [_short(y) for y in line.high],
                    "t": line.texts,
                    "c": line.colour,
                    "d": line.dash,
                    "a": line.is_apart,
                    "s": line.style,
                    "o": line.is_hollow,
                }
                for line in self.lines
            ],
        }

    def draw(self, folder: Path, sources: Sequence[Path] | None = None) -> None:
        """Draw the PNG into the folder, unless it is newer than all that it is drawn from; always where none is named.

        Raises:
            OSError: it cannot be written.
        """
        target = folder / self.file
        is_there = sources is not None and target.is_file()
        if is_there and all(target.stat().st_mtime_ns >= source.stat().st_mtime_ns for source in sources or ()):
            return
        folder.mkdir(parents=True, exist_ok=True)
        draw_curves(
            target,
            [_curve(line) for line in self.lines],
            title=textwrap.fill(self.title, TITLE_CHARACTERS),
            x_label=self.x_label,
            y_label=self.y_label,
            levels=[Level(label, y) for label, y in self.levels],
            whole_x=self.is_whole,
            ticks=self.ticks,
            is_sideways=self.is_sideways,
            x_range=self.x_range,
            y_range=self.y_range,
        )


def _curve(line: Line) -> Curve:
    return Curve(
        line.label,
        line.x,
        line.y,
        line.low,
        line.high,
        markers=len(line.x) <= MOST_MARKED_POINTS,
        style=line.style,
        colour=line.colour,
        dash=line.dash,
        is_hollow=line.is_hollow,
    )


def _short(value: float) -> float:
    """Six digits that count: no eye sees more in a chart, and the page stays light."""
    return float(f"{value:.6g}")
