"""Plots that any probe can use, drawn without a display and without touching matplotlib's global state.

Colours are those of Okabe & Ito (https://jfly.uni-koeln.de/color/), told apart by colour-blind readers; every series
has a marker or a dash of its own as well. Text is shown as it stands, so a `$` in a sentence is no formula.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#595959"
DASHES = ((0, (6, 2)), (0, (2, 2)), (0, (1, 3)), (0, (6, 2, 1, 2)))

LABEL_CHARACTERS = 46
ROW_INCHES = 0.14
LEAST_INCHES = 3.6
TITLE_CHARACTERS_PER_INCH = 11
MOST_WRITTEN = 14

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One line of a plot, with a band where an interval is known."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    markers: bool = True


@dataclass(frozen=True)
class Level:
    """A horizontal line: a baseline that is the same everywhere."""

    label: str
    y: float


def draw_curves(
    target: Path | IO[bytes],
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    levels: Sequence[Level] = (),
    whole_x: bool = False,
) -> None:
    """Curves over one axis, the legend below the plot where it covers nothing.

    Args:
        target: a PNG file, or a binary stream.
        whole_x: mark whole numbers only (layers).
    """
    from matplotlib.ticker import MaxNLocator

    entries = len(curves) + len(levels)
    figure, axes = _new(7.2, 3.6 + 0.11 * entries)
    plot = axes[0]
    for index, curve in enumerate(curves):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)] if curve.markers else ""
        plot.plot(curve.x, curve.y, color=colour, marker=marker, markersize=5, linewidth=1.8, label=curve.label)
        if curve.low is not None and curve.high is not None:
            plot.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    for index, level in enumerate(levels):
        plot.axhline(level.y, color=GREY, linestyle=DASHES[index % len(DASHES)], linewidth=1.4, label=level.label)
    plot.set(title=title, xlabel=x_label, ylabel=y_label)
    plot.xaxis.set_major_locator(MaxNLocator(8, integer=whole_x))
    plot.grid(axis="y", color="#dddddd", linewidth=0.7)
    plot.spines[["top", "right"]].set_visible(False)
    if entries > 1:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    _save(figure, target)


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
    figure, axes = _new(side + 4.2, len(panels) * (side + 0.7) + 0.3, rows=len(panels))
    runs = [(name, len(list(members))) for name, members in groupby(groups)]
    for plot, (name, matrix) in zip(axes, panels, strict=True):
        off_diagonal = matrix[~np.eye(n, dtype=bool)]
        low, high = np.quantile(off_diagonal, [0.02, 0.98])
        spread = max(high - low, 1e-6)
        image = plot.imshow(matrix, cmap="cividis", vmin=low, vmax=low + spread, interpolation="nearest")
        # Cosines of random weights differ in the fourth digit only, so the spread decides how many are told.
        decimals = max(1, 1 - math.floor(math.log10(spread)))
        figure.colorbar(image, ax=plot, fraction=0.046, pad=0.02, format=f"%.{decimals}f", extend="both")
        plot.set_title(name, pad=22)
        plot.set_xticks([])
        plot.set_yticks(range(n), labels, fontsize=8)
        plot.tick_params(length=0)
        begin = 0
        for group, size in runs:
            if begin:
                plot.axhline(begin - 0.5, color="white", linewidth=2)
                plot.axvline(begin - 0.5, color="white", linewidth=2)
            shown = shorten(group, int(size / n * side * TITLE_CHARACTERS_PER_INCH))
            plot.text(begin + size / 2 - 0.5, -0.8, shown, ha="center", va="bottom", fontsize=9)
            begin += size
    figure.suptitle(title)
    _save(figure, target)


def draw_confusion(target: Path | IO[bytes], counts: Array, *, names: Sequence[str], title: str) -> None:
    """Classes by classes: rows are the true ones, columns the predicted ones, coloured by the share of the row.

    Args:
        counts: (n, n) numbers of things; written into the cells where there are at most MOST_WRITTEN classes.
        names: n names of classes.
    """
    n = len(names)
    side = max(LEAST_INCHES, 0.55 * min(n, 30))
    figure, axes = _new(side + 2.6, side + 1.4)
    plot = axes[0]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = plot.imshow(share, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=plot, fraction=0.046, pad=0.02, format="%.1f", label="share of the true class")
    shown = [shorten(name, 18) for name in names]
    plot.set_xticks(range(n), shown, rotation=45, ha="right", fontsize=9)
    plot.set_yticks(range(n), shown, fontsize=9)
    plot.set(title=title, xlabel="predicted", ylabel="true")
    for row, column in np.ndindex(n, n) if n <= MOST_WRITTEN else ():
        colour = "black" if share[row, column] > 0.5 else "white"
        plot.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    _save(figure, target)


def draw_projections(
    target: Path | IO[bytes],
    rows: Sequence[Sequence[tuple[str, Array]]],
    *,
    groups: Sequence[str],
    title: str,
) -> None:
    """Points in two dimensions, one panel for each (title, (n, 2) coordinates), coloured and marked by group."""
    columns = len(rows[0])
    names = list(dict.fromkeys(groups))
    figure, axes = _new(4.2 * columns, 3.6 * len(rows) + 0.6, columns=columns, rows=len(rows))
    for plot, (name, points) in zip(axes, [panel for row in rows for panel in row], strict=True):
        for index, group in enumerate(names):
            members = points[[one == group for one in groups]]
            plot.scatter(
                members[:, 0],
                members[:, 1],
                s=34,
                alpha=0.85,
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                edgecolors="white",
                linewidths=0.5,
                label=shorten(group, 40) if plot is axes[0] else None,
            )
        plot.set_title(name)
        plot.set(xticks=[], yticks=[])
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=min(4, len(names)), frameon=False)
    _save(figure, target)


def shorten(text: str, most: int) -> str:
    """The text, or its beginning and '…' where it is longer than that many characters (at least 2)."""
    return text if len(text) <= max(most, 2) else text[: max(most, 2) - 1] + "…"


def shorten_around(text: str, span: tuple[int, int], most: int = LABEL_CHARACTERS) -> str:
    """The words of a text around one of them, at most that many characters, '…' where cut; the one is whole."""
    if len(text) <= most:
        return text
    room = max(most - (span[1] - span[0]) - 2, 0)
    begin = max(0, min(span[0] - room // 2, len(text) - most + 1))
    end = min(len(text), begin + most - (begin > 0) - (begin + most - (begin > 0) < len(text)))
    begin, end = min(begin, span[0]), max(end, span[1])
    if begin > 0 and " " in text[begin : span[0]]:
        begin = text.index(" ", begin) + 1
    if end < len(text) and " " in text[span[1] : end]:
        end = text.rindex(" ", span[1], end)
    return ("…" if begin > 0 else "") + text[begin:end] + ("…" if end < len(text) else "")


def project_pca(vectors: Array) -> Array:
    """The first two principal coordinates of (n, D) vectors: (n, 2), zeros where the vectors do not differ."""
    centred = vectors - vectors.mean(axis=0)
    if not _differ(centred):
        return np.zeros((len(vectors), 2))
    left, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    # The sign of a direction is arbitrary; its largest component is made positive so that pictures are repeatable.
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    points = np.zeros((len(vectors), 2))
    points[:, : len(sizes)] = (left * sizes * signs)[:, :2]
    return points


def project_tsne(vectors: Array, *, seed: int) -> Array:
    """t-SNE (van der Maaten & Hinton 2008) of (n, D) vectors from their PCA: (n, 2), zeros where they do not differ.

    The perplexity is 15, or a third of the other points where there are fewer than 46.
    """
    from sklearn.manifold import TSNE

    start = project_pca(vectors)
    if not _differ(start):
        return start
    perplexity = min(15.0, (len(vectors) - 1) / 3)
    start = start / start[:, 0].std() * 1e-4
    # The default method opens its threads anew a thousand times over; where other work keeps the processors busy, that
    # took minutes for 12 points. The exact one needs no threads and is as quick for some hundred points.
    points: Array = TSNE(2, perplexity=perplexity, method="exact", init=start, random_state=seed).fit_transform(vectors)
    return points


def _differ(centred: Array) -> bool:
    return bool(np.abs(centred).max() > 1e-6)


def _new(width: float, height: float, *, columns: int = 1, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    """An empty figure of that many inches and its plots, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    plots: Any = figure.subplots(rows, columns, squeeze=False)
    return figure, list(plots.flat)


def _save(figure: "Figure", target: Path | IO[bytes]) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; the text itself stands in the table.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(target, format="png", dpi=DOTS_PER_INCH, facecolor="white")
