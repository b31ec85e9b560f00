"""Names beside the points of a plot, none of which covers another or a point: who finds no room is left out."""

# N points, C candidate places of one name

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

FONT_SIZE = 7
MARGIN = 1.0
"""Pixels kept free around a name."""
POINT_RADIUS = 4.0
"""Pixels around a point that no name may cover."""
RINGS = (6.0, 14.0, 24.0)
"""Distances in pixels at which a name is tried; beyond the first a line leads to its point."""
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def place_labels(figure: "Figure", plot: "Axes", points: Array, texts: Sequence[str], *, colour: str) -> int:
    """Write the texts beside their points, those first that stand most apart; returns how many found room.

    Args:
        figure: laid out already, so that places on the screen are known (draw_without_rendering).
        plot: one of its plots, in two or three dimensions.
        points: (N, 2) or (N, 3) data coordinates.
        texts: N; an empty one is passed over.
        colour: of the lines that lead to points.
    """
    flat = _flat(plot, points)
    at = np.asarray(plot.transData.transform(flat), dtype=np.float64)
    frame = plot.get_window_extent()
    inside = np.array([frame.x0, frame.y0, frame.x1, frame.y1])
    taken = np.empty((0, 4))
    # Points of type keep their place when the picture is saved with more pixels.
    points_per_pixel = 72 / figure.dpi
    for row in _order(at):
        if not texts[row]:
            continue
        note = plot.annotate(
            texts[row], flat[row], (0, 0), textcoords="offset points", fontsize=FONT_SIZE, ha="left", va="bottom",
            parse_math=False, annotation_clip=False,
        )  # fmt: skip
        note.set_in_layout(False)
        extent = note.get_window_extent()
        offsets, is_near = _candidates(extent.width, extent.height)
        boxes = np.concatenate([at[row] + offsets, at[row] + offsets + [extent.width, extent.height]], axis=1)
        free = np.flatnonzero(_free(boxes, taken, at, inside))
        note.remove()
        if not len(free):
            continue
        best = free[0]
        taken = np.concatenate([taken, boxes[[best]]])
        line = None if is_near[best] else {"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 0}
        note = plot.annotate(
            texts[row], flat[row], tuple(offsets[best] * points_per_pixel), textcoords="offset points",
            fontsize=FONT_SIZE, ha="left", va="bottom", parse_math=False, annotation_clip=False, arrowprops=line,
        )  # fmt: skip
        note.set_in_layout(False)
    return len(taken)


@contextmanager
def quiet_glyphs() -> Iterator[None]:
    """No warnings of scripts that the font lacks: they are drawn as boxes, and the text itself stands in the tables."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _flat(plot: "Axes", points: Array) -> Array:
    """(N, 2) data coordinates as they are seen."""
    if points.shape[1] == 2:
        return points
    from mpl_toolkits.mplot3d import proj3d  # type: ignore[import-untyped]

    across, up, _ = proj3d.proj_transform(*points.T, plot.get_proj())  # type: ignore[attr-defined]
    return np.stack([across, up], axis=1)


def _order(at: Array) -> NDArray[np.intp]:
    """Rows by distance to the nearest other point, the farthest first."""
    if len(at) < 2:
        return np.arange(len(at))
    distances = np.linalg.norm(at[:, None] - at[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(-distances.min(axis=1), kind="stable")


def _candidates(width: float, height: float) -> tuple[Array, NDArray[np.bool_]]:
    """(C, 2) offsets of a name's lower left corner from its point, best first, and whether each needs no line."""
    offsets = []
    for distance in RINGS:
        for right, up in SIDES:
            reach = distance if right == 0 or up == 0 else distance * 0.7
            across = {1: reach, 0: -width / 2, -1: -reach - width}[right]
            along = {1: reach, 0: -height / 2, -1: -reach - height}[up]
            offsets.append((across, along))
    return np.array(offsets), np.arange(len(offsets)) < len(SIDES)


def _free(boxes: Array, taken: Array, at: Array, inside: Array) -> NDArray[np.bool_]:
    """(C,) which boxes (left, bottom, right, top) lie inside the frame and cover neither a taken box nor a point."""
    left, bottom, right, top = (boxes[:, [side]] for side in range(4))
    fits = (left >= inside[0]) & (bottom >= inside[1]) & (right <= inside[2]) & (top <= inside[3])
    on_names = (
        (left < taken[:, 2] + MARGIN) & (right > taken[:, 0] - MARGIN)
        & (bottom < taken[:, 3] + MARGIN) & (top > taken[:, 1] - MARGIN)
    ).any(axis=1)  # fmt: skip
    on_points = (
        (left < at[:, 0] + POINT_RADIUS) & (right > at[:, 0] - POINT_RADIUS)
        & (bottom < at[:, 1] + POINT_RADIUS) & (top > at[:, 1] - POINT_RADIUS)
    ).any(axis=1)  # fmt: skip
    free: NDArray[np.bool_] = fits[:, 0] & ~on_names & ~on_points
    return free
