"""The pictures and maps of the senses probe: curves by layer, and of every word cosines, projections and a map."""

# N sentences, M sentences shown of one word, K layers, D hidden size

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probes.captions import shorten_around
from probes.figures import (
    Level,
    draw_curves,
    draw_heatmaps,
    draw_projections,
)
from probes.layer_curves import layer_curve
from probes.names import file_stem
from probes.projections import project_pca, project_tsne
from probes.results import Map, Picture, Point
from probes.senses.baselines import CHANCE
from probes.senses.design import Design, WordDesign
from probes.senses.measures import ACCURACY, ARI, GAP, MEASURES, PAIR_AUC, cosine_matrix, shots_measure, z_scored
from probes.senses.scoring import pooled_variant
from probes.senses.shots import unit
from probes.source import Vectors
from probes.usages import Usage

if TYPE_CHECKING:
    from probes.senses.examination import Examination

MOST_ON_A_MAP = 200
MOST_IN_A_PICTURE = 60
"""Sentences of a word; of more of them, labels and cells could not be told apart."""


@dataclass(frozen=True)
class Shown:
    """The vectors of one model that are kept to be shown."""

    name: str
    layers: list[int]
    words: list["ShownWord"]


@dataclass(frozen=True)
class ShownWord:
    """Some of one word's sentences."""

    word: WordDesign
    chosen: NDArray[np.int64]
    """(M,) which of the word's sentences, the same for every model."""
    vectors_KMD: Vectors


def sample(vectors_KND: Vectors, design: Design) -> list[ShownWord]:
    """The vectors of every word's sentences, at most MOST_ON_A_MAP of a word."""
    found = []
    for word in design.words:
        chosen = choose_evenly(word, MOST_ON_A_MAP)
        found.append(ShownWord(word, chosen, vectors_KND[:, word.rows[chosen]]))
    return found


def choose_evenly(word: WordDesign, most: int) -> NDArray[np.int64]:
    """At most so many of a word's sentences, in order: from each sense about as many as it has of the whole, and one at
    least."""
    if word.n <= most:
        return np.arange(word.n)
    rng = np.random.default_rng([word.seed, 4])
    chosen = []
    for sense in range(len(word.senses)):
        members = np.flatnonzero(word.labels == sense)
        chosen.append(rng.permutation(members)[: max(1, int(most * len(members) / word.n))])
    return np.sort(np.concatenate(chosen))


def draw_all(examination: "Examination") -> tuple[list[Picture], list[Map]]:
    """Draw all pictures into the folder of the results, save the vectors, and make the maps."""
    inquiry, design = examination.inquiry, examination.design
    shots = [shots_measure(number) for number in design.shots[-1:]]
    found = [_curves(examination, measure) for measure in (ACCURACY, *shots, PAIR_AUC, ARI, GAP)]
    for shown in examination.shown:
        for one in shown.words:
            found.append(_similarity(one, shown, design, inquiry.out))
            found.append(_projection(one, shown, design, inquiry.out, inquiry.seed))
    return found, _maps(examination)


def _maps(examination: "Examination") -> list[Map]:
    from probes.maps import Saved, make_map, save_vectors

    inquiry, design = examination.inquiry, examination.design
    maps, saved = [], []
    for shown in examination.shown:
        for one in shown.words:
            points = [_point(design.usages[row]) for row in one.word.rows[one.chosen]]
            maps.append(
                make_map(
                    one.vectors_KMD,
                    points,
                    title=f"{one.word.word}: sentences by sense",
                    model=shown.name,
                    layers=shown.layers,
                    group=one.word.word,
                    seed=inquiry.seed,
                )
            )
            saved += [
                Saved(shown.name, layer, one.word.word, points, vectors_MD)
                for layer, vectors_MD in zip(shown.layers, one.vectors_KMD, strict=True)
            ]
    save_vectors(inquiry.out, "senses", saved)
    return maps


def _point(usage: Usage) -> Point:
    return Point(text=usage.sentence, span=usage.span, group=usage.sense)


def _curves(examination: "Examination", measure: str) -> Picture:
    """One measure by layer, of every model and baseline."""
    variant = pooled_variant(examination.design)
    title = MEASURES[measure].title
    scale, axis = (100, "%") if MEASURES[measure].unit == "share" else (1, MEASURES[measure].unit)
    scores = [
        s
        for s in examination.scores
        if (s.measure, s.group, s.variant) == (measure, None, variant) and s.role != "difference"
    ]
    names = dict.fromkeys(s.model for s in scores if s.layer is not None)
    curves = [layer_curve(name, [s for s in scores if s.model == name], scale=scale) for name in names]
    levels = [
        Level(f"{s.model} ({scale * s.value:.{0 if scale == 100 else 2}f})", scale * s.value)
        for s in scores
        if s.layer is None and s.model != CHANCE
    ]
    file = f"senses.{file_stem(measure)}.png"
    draw_curves(
        examination.inquiry.out / file,
        curves,
        levels=levels,
        title=f"{title} (n = {max(s.n for s in scores)})",
        x_label="layer (0: embeddings)",
        y_label=axis,
        whole_x=True,
    )
    caption = f"{title}, by layer, with 95 % intervals{'' if not variant else ' (over the sentences of these words)'}."
    return Picture(file=file, caption=caption, kind="curve")


def _few(one: ShownWord, design: Design) -> tuple[Vectors, Vectors, list[Usage]]:
    """Vectors of the last layer as they are and z-scored (over all that are kept), and their sentences."""
    few = _places(one.chosen, choose_evenly(one.word, MOST_IN_A_PICTURE))
    last_1MD = unit(one.vectors_KMD[-1:].astype(np.float32))
    usages = [design.usages[row] for row in one.word.rows[one.chosen[few]]]
    return last_1MD[0, few], unit(z_scored(last_1MD))[0, few], usages


def _places(chosen: NDArray[np.int64], few: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the few stand among the chosen: both walk through the same order of each sense, so they are all there."""
    assert np.isin(few, chosen).all()
    return np.flatnonzero(np.isin(chosen, few))


def _similarity(one: ShownWord, shown: Shown, design: Design, out: Path) -> Picture:
    plain, scored, usages = _few(one, design)
    word = one.word.word
    file = f"senses-{file_stem(shown.name)}-{file_stem(word)}-similarity.png"
    layer = f"{shown.name}, layer {shown.layers[-1]}"
    draw_heatmaps(
        out / file,
        [(layer, cosine_matrix(plain)), (f"{layer}, dimensions z-scored", cosine_matrix(scored))],
        labels=[shorten_around(usage.sentence, usage.span) for usage in usages],
        groups=[usage.sense for usage in usages],
        title=f"{word}: cosine of every two sentences",
    )
    caption = f"{word}: cosine of every two of {len(usages)} sentences, by sense. Each panel has its own colour scale."
    return Picture(file=file, caption=caption, kind="heatmap", model=shown.name, group=word)


def _projection(one: ShownWord, shown: Shown, design: Design, out: Path, seed: int) -> Picture:
    plain, scored, usages = _few(one, design)
    word = one.word.word
    file = f"senses-{file_stem(shown.name)}-{file_stem(word)}-projection.png"
    layer = f"layer {shown.layers[-1]}"
    draw_projections(
        out / file,
        [
            [(f"PCA: {name}", project_pca(wide)), (f"t-SNE: {name}", project_tsne(wide, seed=seed))]
            for name, wide in ((layer, plain.astype(np.float64)), (f"{layer}, z-scored", scored.astype(np.float64)))
        ],
        groups=[usage.sense for usage in usages],
        title=f"{word}: {len(usages)} sentences in two dimensions, {shown.name}",
    )
    caption = f"{word}: the same vectors in two dimensions. t-SNE keeps neighbours, not distances between groups."
    return Picture(file=file, caption=caption, kind="projection", model=shown.name, group=word)
