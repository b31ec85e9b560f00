"""Texts with classes as a map, and how much nearer texts of one class are than texts of different ones."""

# K layers, N texts, C classes

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from probes.figures import draw_matrix
from probes.mapping.cosines import PairMean, cosine_matrix, difference, pair_mean, z_scored
from probes.mapping.stating import INTERVALS, RAW, WITH_TSNE, Z_SCORED, score_of, stated
from probes.mapping.views import View, draw_layers, draw_views, layers_of, save_views, timed
from probes.models import Model
from probes.names import file_stem
from probes.probe import Inquiry
from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts, read_labelled_texts
from probes.results import Cell, Measure, Picture, Point, Results, Score, Table
from probes.source import Pooling

MOST_TEXTS = 1000
"""More could not be told apart on a screen; as many of every class are drawn then."""
WITHIN, BETWEEN, GAP, ANY = "within_class", "between_classes", "within_minus_between", "any_two"
MEASURES = {
    WITHIN: Measure(title="Cosine of two texts of the same class", unit="cosine", is_better=""),
    BETWEEN: Measure(title="Cosine of two texts of different classes", unit="cosine", is_better=""),
    GAP: Measure(title="Cosine within classes above that between classes", unit="cosine"),
    ANY: Measure(title="Cosine of any two texts (random pairs)", unit="cosine", is_better=""),
}
NOTES = [
    "Random pairs are any two of the texts. In many encoders any two vectors are alike, so read a cosine by how far it"
    " stands above theirs, or with z-scored dimensions.",
    "Z-scored: every dimension less its mean and over its deviation, over these texts in that layer.",
    f"{INTERVALS} leaving out one text at a time: how far a figure might move with other texts of these classes. They"
    " do not cover other classes.",
    WITH_TSNE,
]


@dataclass(frozen=True)
class Classes:
    """What one model makes of the texts."""

    view: View
    num_cut: int
    """Texts that are longer than what the model reads."""


Means = dict[tuple[str, str, int, str | None], PairMean]
"""(measure, variant, layer, class) -> mean; class None: all of them."""


def read_classes(path: Path, *, label_field: str, text_fields: Sequence[str]) -> LabelledTexts:
    """Labelled texts that can be compared by class.

    Raises:
        ProbeError: the file cannot be used; fewer than two classes, or a class with one text.
    """
    texts = read_labelled_texts(path, label_field=label_field, text_fields=text_fields)
    sizes = Counter(texts.labels)
    if len(sizes) < 2:
        raise ProbeError(f"{path}: got {len(sizes)} classes, expected at least 2. Add texts of other classes.")
    if alone := [label for label, size in sizes.items() if size < 2]:
        raise ProbeError(
            f"{path}: the class {alone[0]!r} has one text, expected at least 2 of each. Add some or take it out."
        )
    return texts


def map_texts(inquiry: Inquiry, everything: LabelledTexts, pooling: Pooling) -> Results:
    """Map texts, coloured by class."""
    texts = _drawn(everything, np.random.default_rng(inquiry.seed))
    found = [_classes(inquiry, model, texts, pooling) for model in inquiry.models]
    means = [_means(one, texts) for one in found]
    scores = [
        score_of(mean, measure, model=one.view.name, layer=layer, variant=variant, group=group)
        for one, known in zip(found, means, strict=True)
        for (measure, variant, layer, group), mean in known.items()
    ]
    scores += _differences(found, means)
    last = {one.view.name: one.view.layers[-1] for one in found}
    views = [one.view for one in found]
    drawn = draw_views(
        inquiry, views, title=f"{len(texts)} texts of {Path(everything.file).name} by class", name="texts"
    )
    save_views(inquiry, views)
    sizes = Counter(everything.labels)
    return Results(
        probe="map",
        question="Are texts of the same class nearer to each other than texts of different classes?",
        answer=_answer(found, means),
        models=[one.view.card for one in found],
        measures=MEASURES,
        headlines=[s for s in scores if s.role == "model" and s.group is None and s.layer == last[s.model]],
        scores=scores,
        tables=[_class_table(found, texts), drawn.table],
        pictures=[
            *draw_layers(inquiry, scores, GAP, Z_SCORED, "cosine within classes less that between them"),
            *drawn.pictures,
            *_matrices(inquiry, found, texts),
        ],
        maps=drawn.maps,
        notes=[*_sampled(everything, texts), *(note for one in found if (note := _cut(one, len(texts)))), *NOTES],
        data={
            "file": everything.file, "sha256": everything.sha256, "n": len(everything),
            "n_mapped": len(texts), "classes": dict(sizes),
        },
        settings={"seed": inquiry.seed, "pooling": pooling, "layers_shown": last},
    )  # fmt: skip


def _drawn(texts: LabelledTexts, rng: np.random.Generator) -> LabelledTexts:
    """All texts, or MOST_TEXTS of them: as many of every class as it has, up to the same number. By class."""
    labels = list(dict.fromkeys(texts.labels))
    most = len(texts) if len(texts) <= MOST_TEXTS else max(2, MOST_TEXTS // len(labels))
    members = [np.flatnonzero(np.array(texts.labels) == label) for label in labels]
    return texts.taken(np.concatenate([np.sort(rng.permutation(rows)[:most]) for rows in members]))


def _classes(inquiry: Inquiry, model: Model, texts: LabelledTexts, pooling: Pooling) -> Classes:
    source = model.open()
    layers = layers_of(inquiry, model)
    began = time.perf_counter()
    vectors_KND, num_cut = source.embed_texts(texts.texts, pooling=pooling, layers=layers)
    seconds = timed(began)
    points = [Point(text=text, group=label) for text, label in zip(texts.texts, texts.labels, strict=True)]
    chosen = list(range(source.num_layers + 1)) if layers is None else list(layers)
    return Classes(View(model.card(source), chosen, points, vectors_KND, seconds), num_cut)


def _means(one: Classes, texts: LabelledTexts) -> Means:
    """Every mean of one model by layer, and in the last layer by class."""
    names, labels = np.unique(texts.labels, return_inverse=True)
    units = np.arange(len(texts))
    same = labels[:, None] == labels[None, :]
    others = ~np.eye(len(texts), dtype=bool)
    pairs = {WITHIN: same & others, BETWEEN: ~same, ANY: others}
    found: Means = {}
    for k, layer in enumerate(one.view.layers):
        for variant in (RAW, Z_SCORED):
            plain = one.view.vectors_KND[k]
            cosines = cosine_matrix(plain if variant == RAW else z_scored(plain, plain))
            known = {measure: pair_mean(cosines, chosen, units, len(units)) for measure, chosen in pairs.items()}
            for measure, mean in known.items():
                assert mean is not None
                found[measure, variant, layer, None] = mean
            found[GAP, variant, layer, None] = difference(
                found[WITHIN, variant, layer, None], found[BETWEEN, variant, layer, None]
            )
            if layer != one.view.layers[-1]:
                continue
            for index, name in enumerate(names):
                own = labels == index
                part = own[:, None] | own[None, :]
                for measure in (WITHIN, BETWEEN):
                    if (mean := pair_mean(cosines, pairs[measure] & part, units, len(units))) is not None:
                        found[measure, variant, layer, str(name)] = mean
    return found


def _differences(found: Sequence[Classes], means: Sequence[Means]) -> list[Score]:
    """Every two models, each in its last layer, paired by text."""
    scores = []
    for (one, known), (other, others) in combinations(zip(found, means, strict=True), 2):
        for variant in (RAW, Z_SCORED):
            mean = difference(
                known[GAP, variant, one.view.layers[-1], None], others[GAP, variant, other.view.layers[-1], None]
            )
            name = f"{one.view.name} - {other.view.name}"
            scores.append(score_of(mean, GAP, model=name, variant=variant, role="difference"))
    return scores


def _class_means(one: Classes, texts: LabelledTexts, variant: str) -> tuple[list[str], np.ndarray]:
    """The classes, and (C, C) mean cosines between them in the last layer, no text being its own partner."""
    names, labels = np.unique(texts.labels, return_inverse=True)
    plain = one.view.vectors_KND[-1]
    cosines = cosine_matrix(plain if variant == RAW else z_scored(plain, plain))
    np.fill_diagonal(cosines, 0)
    member_CN = (labels[None, :] == np.arange(len(names))[:, None]).astype(np.float64)
    sizes = member_CN.sum(axis=1)
    counts = np.outer(sizes, sizes) - np.diag(sizes)
    return [str(name) for name in names], member_CN @ cosines @ member_CN.T / counts


def _class_table(found: Sequence[Classes], texts: LabelledTexts) -> Table:
    names: list[str] = []
    rows: list[list[Cell]] = []
    for one in found:
        for variant in (RAW, Z_SCORED):
            names, matrix = _class_means(one, texts, variant)
            rows += [
                [one.view.name, one.view.layers[-1], variant or "cosine", name, *(round(float(x), 4) for x in row)]
                for name, row in zip(names, matrix, strict=True)
            ]
    return Table(
        name="classes",
        title="Mean cosine of texts of every two classes",
        columns=["model", "layer", "kind", "class", *names],
        rows=rows,
        caption="A class with itself: two different texts of it.",
    )


def _matrices(inquiry: Inquiry, found: Sequence[Classes], texts: LabelledTexts) -> list[Picture]:
    if not inquiry.with_pictures:
        return []
    pictures = []
    for one in found:
        names, matrix = _class_means(one, texts, Z_SCORED)
        file = f"map_{file_stem('classes', one.view.name)}.png"
        where = f"{one.view.name}, layer {one.view.layers[-1]}"
        draw_matrix(
            inquiry.out / file, matrix, row_labels=names, column_labels=names,
            title=f"Mean z-scored cosine of texts of two classes: {where}",
        )  # fmt: skip
        caption = f"Mean cosine, dimensions z-scored, of two texts by their classes: {where}."
        pictures.append(Picture(file=file, caption=caption, kind="heatmap", model=one.view.name))
    return pictures


def _answer(found: Sequence[Classes], means: Sequence[Means]) -> list[str]:
    answer = []
    for one, known in zip(found, means, strict=True):
        layer = one.view.layers[-1]
        parts = [
            f"{how} {stated(known[WITHIN, variant, layer, None])} within a class,"
            f" {stated(known[BETWEEN, variant, layer, None])} between classes"
            for variant, how in ((RAW, "cosine"), (Z_SCORED, "with z-scored dimensions"))
        ]
        n = known[ANY, RAW, layer, None].n
        answer.append(f"{one.view.name}, layer {layer}, {n} texts: mean {'; '.join(parts)}.")
    return answer


def _sampled(everything: LabelledTexts, texts: LabelledTexts) -> list[str]:
    if len(texts) == len(everything):
        return []
    return [f"{len(texts)} of the {len(everything)} texts were drawn, as many of every class as it has of the others."]


def _cut(one: Classes, num_texts: int) -> str:
    if not one.num_cut:
        return ""
    return f"{one.view.name} reads {one.num_cut} of the {num_texts} texts only up to its longest length."
