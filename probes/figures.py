"""Plots that any probe can use, drawn without a display and without touching matplotlib's global state.

Colours are those of Okabe & Ito (https://jfly.uni-koeln.de/color/), told apart by colour-blind readers (the yellow
darker, to be seen on white); every series has a marker or a dash of its own as well. A `$` in a text is no formula.
"""

import io
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from probes.captions import LABEL_CHARACTERS, TITLE_CHARACTERS_PER_INCH, shorten, wrap
from probes.labels import place_labels, quiet_glyphs
from probes.results import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8F8700")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#595959"
DASHES = ((0, (6, 2)), (0, (2, 2)), (0, (1, 3)), (0, (6, 2, 1, 2)), (0, (12, 3)), (0, (6, 2, 1, 2, 1, 2)))

ROW_INCHES = 0.14
LEAST_INCHES = 3.6
CELL_INCHES = 0.52
"""Of a matrix's cell with a number in it."""
MOST_NUMBERS = 24
"""Rows or columns of a matrix up to which its cells hold numbers."""
MOST_HEATMAP_NUMBERS = 10
"""The same for the cells of a heatmap, which are smaller."""
FEW = 4
"""Curves whose bands can lie over each other; those of more are fainter."""
MOST_GROUPS = 24
"""Groups of points that are told apart; those with the fewest points beyond that are drawn as one."""
OTHERS = "other groups"

Array = NDArray[np.float64]
Style = Literal["curve", "bars", "marks", "dots", "thread"]
"""How points are drawn: joined, with a band of their intervals; joined, with a bar at each; with bars and not joined;
small and faint, behind a mean; a thin grey line that leads the eye only."""


@dataclass(frozen=True)
class Curve:
    """One line of a plot, with intervals where they are known."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    markers: bool = True
    style: Style = "curve"
    colour: int | None = None
    """Which of the colours and markers; None: the next."""
    dash: int = 0
    """0: drawn through."""
    is_hollow: bool = False
    """Whether markers are outlines."""


@dataclass(frozen=True)
class Level:
    """A line across the plot: a baseline that is the same everywhere."""

    label: str
    y: float


@dataclass(frozen=True)
class Panel:
    """One of several plots of points."""

    title: str
    points: Array
    """(n, 2), or (n, 3) for a plot in three dimensions."""
    groups: Sequence[str]
    """n names; an empty one is grey."""
    labels: Sequence[str] = ()
    """n names beside the points (see probes.labels); those that would cover something are left out."""


def draw_curves(
    target: Path | IO[bytes],
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    levels: Sequence[Level] = (),
    whole_x: bool = False,
    ticks: Sequence[tuple[float, str]] = (),
    is_sideways: bool = False,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> None:
    """Curves over one axis, the legend below the plot where it covers nothing.

    Args:
        target: a PNG file, or a binary stream.
        whole_x: mark whole numbers only (layers).
        ticks: places along the horizontal axis and their names, instead of numbers.
        is_sideways: exchange the axes, so that names stand below each other; the first at the top.
        x_range, y_range: what of the axes is shown; None: all.
    """
    from matplotlib.ticker import MaxNLocator

    names = [name for name in (*(curve.label for curve in curves), *(level.label for level in levels)) if name]
    # Half the width holds 44 characters; the end of a longer one, often its figure, would be cut off.
    columns, most = (2, 44) if all(len(name) <= 44 for name in names) else (1, 96)
    height = max(3.6, 1.3 + 0.42 * len(ticks)) if is_sideways else 3.6
    figure, (plot,) = _new(7.2, height + 0.22 / columns * len(names))
    for index, curve in enumerate(curves):
        _draw_curve(plot, curve, index, shorten(curve.label, most), is_sideways, 0.18 * min(1, FEW / len(curves)))
    across: Any = plot.axvline if is_sideways else plot.axhline
    for index, level in enumerate(levels):
        across(level.y, color=GREY, linestyle=DASHES[index % len(DASHES)], label=shorten(level.label, most), zorder=1.8)
    plot.xaxis.set_major_locator(MaxNLocator(8, integer=whole_x))
    if is_sideways:
        plot.set(title=wrap(title, 6.0), xlabel=y_label, ylabel=x_label, xlim=y_range, ylim=x_range)
        plot.set_yticks([x for x, _ in ticks], [_in_two_lines(name) for _, name in ticks])
        plot.invert_yaxis()
    else:
        plot.set(title=wrap(title, 6.0), xlabel=x_label, ylabel=y_label, xlim=x_range, ylim=y_range)
        if ticks:
            plot.set_xticks([x for x, _ in ticks], [wrap(name, 6.0 / len(ticks)) for _, name in ticks])
    plot.grid(axis="x" if is_sideways else "y", color="#dddddd", linewidth=0.7)
    plot.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9, handlelength=3.4)
    _save(figure, target)


def _draw_curve(plot: "Axes", curve: Curve, index: int, label: str, is_sideways: bool, alpha: float) -> None:
    """One curve; the alpha is of its band."""
    number = index if curve.colour is None else curve.colour
    colour = GREY if curve.style == "thread" else COLOURS[number % len(COLOURS)]
    is_joined = curve.style in ("curve", "bars", "thread")
    style: dict[str, Any] = {
        "color": colour,
        "linestyle": ((0, ()), *DASHES)[curve.dash % (len(DASHES) + 1)] if is_joined else "none",
        "linewidth": 1.0 if curve.style == "thread" else 1.8,
        "marker": MARKERS[number % len(MARKERS)] if curve.markers and curve.style != "thread" else "",
        "markersize": {"dots": 3.5, "marks": 7}.get(curve.style, 5),
        "alpha": 0.55 if curve.style == "dots" else 1.0,
        "markerfacecolor": "white" if curve.is_hollow else colour,
        # A label with an underscore at its beginning stands in no legend.
        "label": label or "_",
    }
    x, y = (curve.y, curve.x) if is_sideways else (curve.x, curve.y)
    if curve.low is None or curve.high is None:
        plot.plot(x, y, **style)
    elif curve.style == "curve":
        plot.plot(x, y, **style)
        fill: Any = plot.fill_betweenx if is_sideways else plot.fill_between
        fill(curve.x, curve.low, curve.high, color=colour, alpha=alpha, linewidth=0)
    else:
        bars: Any = np.abs(np.array([curve.low, curve.high]) - np.array(curve.y))
        plot.errorbar(x, y, **{"xerr" if is_sideways else "yerr": bars}, elinewidth=1.4, capsize=3, **style)


def _in_two_lines(name: str) -> str:
    """A name left of a plot; the end of a very long one is cut off."""
    return textwrap.fill(name, 26, max_lines=2, placeholder="…")


def draw_heatmaps(
    target: Path | IO[bytes],
    panels: Sequence[tuple[str, Array]],
    *,
    labels: Sequence[str],
    groups: Sequence[str],
    title: str,
) -> None:
    """Square matrices one below the other, rows labelled at the left, lines between groups and their names above.

    Args:
        panels: title and (n, n) matrix of each; every one has a colour scale of its own, from the values off the
            diagonal.
        labels: n row labels.
        groups: n group names, equal ones next to each other.
    """
    n = len(labels)
    side = max(LEAST_INCHES, ROW_INCHES * n)
    width = side + 4.2
    figure, axes = _new(width, len(panels) * (side + 0.7) + 0.3, rows=len(panels))
    runs = [(name, len(list(members))) for name, members in groupby(groups)]
    for plot, (name, matrix) in zip(axes, panels, strict=True):
        off_diagonal = matrix[~np.eye(n, dtype=bool)]
        low, high = np.quantile(off_diagonal if n > 1 else matrix, [0.02, 0.98])
        spread = max(high - low, 1e-6)
        image = plot.imshow(matrix, cmap="cividis", vmin=low, vmax=low + spread, interpolation="nearest")
        # Cosines of random weights differ in the fourth digit only, so the spread decides how many are told.
        decimals = max(2, 1 - math.floor(math.log10(spread)))
        figure.colorbar(image, ax=plot, fraction=0.046, pad=0.02, format=f"%.{decimals}f", extend="both")
        plot.set_title(wrap(name, side), pad=22)
        plot.set_xticks([])
        plot.set_yticks(range(n), [shorten(label, LABEL_CHARACTERS + 4) for label in labels], fontsize=8)
        plot.tick_params(length=0)
        if n <= MOST_HEATMAP_NUMBERS:
            _write_numbers(plot, matrix, low, low + spread, f"z.{decimals}f")
        begin = 0
        for group, size in runs:
            if begin:
                plot.axhline(begin - 0.5, color="white", linewidth=2)
                plot.axvline(begin - 0.5, color="white", linewidth=2)
            shown = shorten(group, int(size / n * side * TITLE_CHARACTERS_PER_INCH))
            plot.text(begin + size / 2 - 0.5, -0.8, shown, ha="center", va="bottom", fontsize=9)
            begin += size
    figure.suptitle(wrap(title, width))
    _save(figure, target)


def draw_matrix(
    target: Path | IO[bytes],
    matrix: Array,
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    row_title: str = "",
    column_title: str = "",
    low: float | None = None,
    high: float | None = None,
    number_format: str = "z.2f",
) -> None:
    """Any matrix as coloured cells with their numbers: confusions, words by categories, cosines.

    Args:
        matrix: (R, C); nan is an empty cell.
        row_labels, column_labels: R and C of them.
        low, high: ends of the colour scale; None: the least and the greatest number.
        number_format: of the numbers, which stand in the cells up to MOST_NUMBERS rows and columns; empty: none.
    """
    rows, columns = matrix.shape
    has_numbers = bool(number_format) and max(rows, columns) <= MOST_NUMBERS
    tall, wide = (0.3, CELL_INCHES) if has_numbers else (ROW_INCHES, ROW_INCHES)
    inner = max(columns * wide, 3.2)
    width = inner + 1.4 + 0.075 * min(max(map(len, row_labels), default=0), LABEL_CHARACTERS)
    upright = 0.08 * min(max(map(len, column_labels), default=0), 24)
    shown_title = wrap(title, width)
    figure, (plot,) = _new(width, max(rows * tall, 1.2) + upright + 1.2 + 0.2 * shown_title.count("\n"))
    shown = np.ma.masked_invalid(matrix)
    ends = (float(shown.min()), float(shown.max())) if shown.count() else (0.0, 1.0)
    low, high = ends[0] if low is None else low, ends[1] if high is None else high
    image = plot.imshow(
        shown, cmap="cividis", vmin=low, vmax=max(high, low + 1e-9), aspect="auto", interpolation="nearest"
    )
    figure.colorbar(image, ax=plot, fraction=0.03, pad=0.02)
    plot.set_facecolor("#e8e8e8")
    turn = 90 if max(map(len, column_labels), default=0) * 0.09 > inner / columns else 0
    plot.set_xticks(range(columns), [shorten(label, 24) for label in column_labels], fontsize=8, rotation=turn)
    plot.set_yticks(range(rows), [shorten(label, LABEL_CHARACTERS) for label in row_labels], fontsize=8)
    plot.tick_params(length=0)
    plot.set(xlabel=column_title, ylabel=row_title)
    if has_numbers:
        _write_numbers(plot, matrix, low, high, number_format)
    figure.suptitle(shown_title)
    _save(figure, target)


def _write_numbers(plot: "Axes", matrix: Array, low: float, high: float, number_format: str) -> None:
    """The numbers of a matrix in its cells, light on the dark end of the colour scale."""
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            colour = "white" if value - low < 0.55 * (high - low) else "black"
            number = format(value, number_format)
            plot.text(column, row, number, ha="center", va="center", fontsize=7, color=colour)


def draw_projections(
    target: Path | IO[bytes],
    rows: Sequence[Sequence[tuple[str, Array]]],
    *,
    groups: Sequence[str],
    title: str,
    labels: Sequence[str] = (),
) -> None:
    """The same n points in each panel, given as (title, coordinates): see draw_panels."""
    draw_panels(target, [[Panel(name, points, groups, labels) for name, points in row] for row in rows], title=title)


def draw_panels(target: Path | IO[bytes], rows: Sequence[Sequence[Panel]], *, title: str) -> None:
    """Points in two or three dimensions, coloured and marked by group; a group looks the same in every panel."""
    panels = [panel for row in rows for panel in row]
    columns = len(rows[0])
    side = 5.4 if any(panel.labels for panel in panels) else 4.2
    width = side * columns
    figure = _figure(width, 0.86 * side * len(rows) + 0.6)
    sizes = Counter(group for panel in panels for group in panel.groups if group)
    told = {group for group, _ in sizes.most_common(MOST_GROUPS)}
    names = [group for group in sizes if group in told]
    plots = []
    for index, panel in enumerate(panels, 1):
        is_solid = panel.points.shape[1] == 3
        plot: Any = figure.add_subplot(len(rows), columns, index, projection="3d" if is_solid else None)
        _scatter(plot, panel, names)
        if is_solid:
            plot.tick_params(labelbottom=False, labelleft=False, labelright=False, labeltop=False, length=0)
        else:
            plot.set(xticks=[], yticks=[])
        plot.set_title(wrap(panel.title, side), fontsize=10)
        plot.margins(0.08)
        plots.append(plot)
    figure.suptitle(wrap(title, width))
    entries = {text: handle for plot in plots for handle, text in zip(*plot.get_legend_handles_labels(), strict=True)}
    if entries:
        order = [name for name in (*names, OTHERS) if name in entries]
        figure.legend(
            [entries[name] for name in order],
            [shorten(name, 28) for name in order],
            loc="outside lower center",
            ncols=max(1, min(5, int(width / 2.3))),
            frameon=False,
            fontsize=9,
        )
    with quiet_glyphs():
        figure.draw_without_rendering()
        for plot, panel in zip(plots, panels, strict=True):
            if panel.labels:
                place_labels(figure, plot, panel.points, [shorten(label, 20) for label in panel.labels], colour=GREY)
    _save(figure, target)


def _scatter(plot: Any, panel: Panel, names: Sequence[str]) -> None:
    """A panel's points: grey below for groups that are not told and for none, a colour and a marker for each other."""
    style = {"s": 30, "alpha": 0.85, "edgecolors": "white", "linewidths": 0.5}
    others = np.array([group not in names for group in panel.groups])
    if others.any():
        label = OTHERS if any(group and group not in names for group in panel.groups) else None
        plot.scatter(*panel.points[others].T, color="#9a9a9a", marker="o", label=label, **style)
    for index, group in enumerate(names):
        members = panel.points[[one == group for one in panel.groups]]
        if len(members):
            # A marker moves on with each round of colours, so that 64 groups look different.
            marker = MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
            plot.scatter(*members.T, color=COLOURS[index % len(COLOURS)], marker=marker, label=group, **style)


def _new(width: float, height: float, *, columns: int = 1, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    """An empty figure of that many inches and its plots, row by row."""
    figure = _figure(width, height)
    plots: Any = figure.subplots(rows, columns, squeeze=False)
    return figure, list(plots.flat)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", target: Path | IO[bytes]) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    drawn = io.BytesIO()
    with quiet_glyphs():
        figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH, facecolor="white")
    if isinstance(target, Path):
        write_bytes(target, drawn.getvalue())
    else:
        target.write(drawn.getvalue())
