"""One model's vectors of all points, and what is drawn of several side by side: maps, a picture, times, files."""

# K layers, N points, D dimensions

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from probes.figures import Panel, draw_curves, draw_panels
from probes.layer_curves import layer_curve
from probes.maps import Saved, make_map, save_vectors
from probes.models import Model
from probes.names import file_stem
from probes.probe import Inquiry
from probes.projections import principal, project_tsne
from probes.results import Map, ModelCard, Picture, Point, Score, Table
from probes.source import Vectors
from probes.unit_vectors import unit

MOST_ALL_LAYERS = 500
"""Points up to which a map has every layer, and not only the last; t-SNE takes a second for each then."""
OTHER_WORDS = "other words"
"""Group of the tokens that are not the word asked about; grey in pictures."""
MOST_LABELS = 400
"""Points up to which they are named in pictures."""


@dataclass(frozen=True)
class View:
    """What one model makes of the points."""

    card: ModelCard
    layers: list[int]
    """K of them; the last one is shown in pictures."""
    points: list[Point]
    vectors_KND: Vectors
    seconds: float
    """Of embedding them, all layers in one pass."""
    group: str = ""
    """The word that it is about; empty: no single one."""

    @property
    def name(self) -> str:
        return self.card.name


@dataclass(frozen=True)
class Drawn:
    """What there is to be seen of the views."""

    maps: list[Map]
    pictures: list[Picture]
    table: Table


def layers_of(inquiry: Inquiry, model: Model) -> Sequence[int] | None:
    """The layers asked for; word vectors have one whatever was asked for, so that they can stand beside encoders."""
    return (0,) if model.is_word_vectors else inquiry.layers


def timed(began: float) -> float:
    """Seconds since a reading of time.perf_counter, to the millisecond."""
    return round(time.perf_counter() - began, 3)


def draw_views(inquiry: Inquiry, views: Sequence[View], *, title: str, name: str, in_space: bool = False) -> Drawn:
    """PCA and t-SNE of the last layer of every view in one picture, models side by side, and their maps.

    Args:
        title: what is mapped.
        name: of the picture's file, behind map_.
        in_space: PCA in three dimensions, of input embeddings.
    """
    maps: list[Map] = []
    pairs: list[tuple[Panel, Panel]] = []
    rows: list[list[str | int | float | None]] = []
    for view in views:
        last, shape = view.layers[-1], view.vectors_KND.shape
        row: list[str | int | float | None] = [view.name, shape[1], shape[2], last, view.seconds]
        if not inquiry.with_pictures:
            rows.append([*row, None, None])
            continue
        scaled = unit(view.vectors_KND[-1])
        import_module("sklearn.manifold")  # which takes longer than what is timed
        began = time.perf_counter()
        found = principal(scaled)
        pca_seconds, began = timed(began), time.perf_counter()
        spread = project_tsne(scaled, seed=inquiry.seed)
        rows.append([*row, pca_seconds, timed(began)])
        place = "input embeddings" if in_space else f"layer {last}"
        where = f"{view.name}, {place}" if view.card.num_layers else view.name
        groups = ["" if point.group == OTHER_WORDS else point.group for point in view.points]
        labels = [point.label for point in view.points] if shape[1] <= MOST_LABELS else []
        share = f"{100 * sum(found.variance[: 3 if in_space else 2]):.0f} % of the variance"
        flat = found.points if in_space else found.points[:, :2]
        pairs.append(
            (Panel(f"PCA ({share}): {where}", flat, groups, labels), Panel(f"t-SNE: {where}", spread, groups, labels))
        )
        maps.append(_map(inquiry, view, title))
    return Drawn(maps, _picture(inquiry, pairs, title, name), _times(rows, name))


def draw_layers(inquiry: Inquiry, scores: Sequence[Score], measure: str, variant: str, what: str) -> list[Picture]:
    """One measure by layer, a curve for each model; nothing where there is one layer only."""
    models = dict.fromkeys(one.model for one in scores if one.role == "model")
    curves = []
    for model in models:
        own = [one for one in scores if (one.model, one.measure, one.variant) == (model, measure, variant)]
        if own := [one for one in own if one.group == own[0].group]:
            curves.append(layer_curve(model, own))
    if not inquiry.with_pictures or max((len(curve.x) for curve in curves), default=0) < 2:
        return []
    file = "map_layers.png"
    title = f"Mean {what}" + (f", {variant}" if variant else "")
    draw_curves(
        inquiry.out / file, curves, title=title, x_label="layer (0: embeddings)", y_label="cosine", whole_x=True
    )
    return [Picture(file=file, caption=f"{title}, by layer, with 95 % intervals.", kind="curve")]


def save_views(inquiry: Inquiry, views: Sequence[View]) -> None:
    """Write the vectors of the last layer of every view as files, unless pictures were not asked for."""
    if inquiry.with_pictures:
        parts = [Saved(view.name, view.layers[-1], view.group, view.points, view.vectors_KND[-1]) for view in views]
        save_vectors(inquiry.out, "map", parts)


def _map(inquiry: Inquiry, view: View, title: str) -> Map:
    first = 0 if len(view.points) <= MOST_ALL_LAYERS else -1
    return make_map(
        view.vectors_KND[first:],
        view.points,
        title=title,
        model=view.name,
        layers=view.layers[first:],
        group=view.group,
        seed=inquiry.seed,
    )


def _picture(inquiry: Inquiry, pairs: Sequence[tuple[Panel, Panel]], title: str, name: str) -> list[Picture]:
    if not pairs:
        return []
    file = f"map_{file_stem(name)}.png"
    # Two models stand side by side, more one below the other, so that no picture is wider than a screen.
    rows = list(zip(*pairs, strict=True)) if len(pairs) == 2 else pairs
    draw_panels(inquiry.out / file, rows, title=title)
    caption = (
        f"{title}: vectors of length 1 by PCA and t-SNE. t-SNE keeps neighbours, not distances between groups or their"
        " sizes. Names that would cover something are left out."
    )
    return [Picture(file=file, caption=caption, kind="projection")]


def _times(rows: list[list[str | int | float | None]], name: str) -> Table:
    return Table(
        name=f"times_{name}",
        title="Seconds",
        columns=["model", "points", "dimensions", "layer", "embedding_seconds", "pca_seconds", "tsne_seconds"],
        rows=rows,
        caption="Embedding: all layers in one pass, the model loaded before. PCA and t-SNE: of that layer, one thread.",
    )
