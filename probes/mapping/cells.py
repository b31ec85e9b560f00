"""The cosines of one word between all its places, as tables and as heatmaps."""

# W places of the word

from collections.abc import Sequence
from dataclasses import dataclass

from probes.captions import shorten_around
from probes.figures import draw_heatmaps
from probes.intervals import Array
from probes.mapping.views import View
from probes.names import file_stem
from probes.probe import Inquiry
from probes.results import Cell, Picture, Point, Table

MOST_PLACES = 60
"""Places of the word of which tables and heatmaps are made; the first ones of more."""


@dataclass(frozen=True)
class Cells:
    """Cosines of one model in one layer."""

    model: str
    layer: int
    points: list[Point]
    """W places."""
    raw: Array
    """(W, W)"""
    z_scored: Array
    """(W, W)"""


def cells_of(view: View, k: int, raw: Array, z_scored: Array) -> Cells:
    """Those of the first MOST_PLACES places of a view's layer number k."""
    kept = slice(0, MOST_PLACES)
    return Cells(view.name, view.layers[k], view.points[kept], raw[kept, kept], z_scored[kept, kept])


def shown_layers(inquiry: Inquiry, view: View) -> Sequence[int]:
    """Which of the view's layers are shown one by one: those that were asked for, else the last."""
    return range(len(view.layers)) if inquiry.names_layers else [len(view.layers) - 1]


def cosine_tables(cells: Sequence[Cells]) -> list[Table]:
    """A table for each model: a row for each layer, kind of cosine and place, a column for each place."""
    tables = []
    for model in dict.fromkeys(one.model for one in cells):
        own = [one for one in cells if one.model == model]
        rows: list[list[Cell]] = [
            [one.layer, kind, number, point.text, *(round(float(cosine), 4) for cosine in matrix[number - 1])]
            for one in own
            for kind, matrix in (("cosine", one.raw), ("z-scored", one.z_scored))
            for number, point in enumerate(one.points, 1)
        ]
        columns = ["layer", "kind", "place", "sentence", *map(str, range(1, len(own[0].points) + 1))]
        tables.append(
            Table(
                name=f"cosines_{file_stem(model)}",
                title="Cosines of every two places of the word",
                columns=columns,
                rows=rows,
                caption=f"At most {MOST_PLACES} places. The cosines of different words are among the scores.",
                model=model,
            )
        )
    return tables


def draw_cosines(inquiry: Inquiry, cells: Sequence[Cells], word: str) -> list[Picture]:
    """A heatmap for each model and layer: cosines, and below them the z-scored ones."""
    if not inquiry.with_pictures:
        return []
    pictures = []
    for one in cells:
        where = f"{one.model}, layer {one.layer}"
        file = f"map_{file_stem(word, one.model, f'layer{one.layer}', 'cosines')}.png"
        labels = [
            f"{number} {shorten_around(point.text, point.span or (0, 0))}" for number, point in enumerate(one.points, 1)
        ]
        draw_heatmaps(
            inquiry.out / file,
            [(f"cosine, {where}", one.raw), (f"cosine of z-scored dimensions, {where}", one.z_scored)],
            labels=labels,
            groups=[""] * len(labels),
            title=f"{word}: cosine of every two places",
        )
        caption = f"{word}: cosine of every two of {len(labels)} places; {where}. Each panel has its own colour scale."
        pictures.append(Picture(file=file, caption=caption, kind="heatmap", model=one.model, group=word))
    return pictures
