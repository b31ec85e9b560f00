"""From the entries of the classify probe to its results: what is said, the figures, tables and pictures."""

# S seeds, K layers

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from probes.classify.names import LAST, ONE, TRAINABLE, WORD_MEAN
from probes.classify.notes import notes_on
from probes.classify.outcomes import Entry, Figure, Judge, layer_weight_figures
from probes.classify.pictures import picture_confusion, picture_layer_weights, picture_layers, picture_sizes
from probes.classify.splits import CHOOSING_SHARE, Task
from probes.figures import Level
from probes.names import RANDOM
from probes.probe import Inquiry
from probes.results import Measure, ModelCard, Picture, Results, Role, Score, Table

MEASURES = {
    "accuracy": Measure(title="accuracy", unit="share"),
    "macro_f1": Measure(title="macro-F1", unit="share"),
    "layer_weight": Measure(title="weight of the layer", unit="share", is_better=""),
}
HEADLINES = (TRAINABLE, LAST, WORD_MEAN, "")
"""Representations that sum it up; '' is that of a baseline which has only one."""


def compose(
    inquiry: Inquiry, task: Task, entries: Sequence[Entry], cards: list[ModelCard], settings: dict[str, Any]
) -> Results:
    """All that is reported. The entries of `task` itself come with those of smaller numbers of training texts."""
    judge = Judge(task.test_classes, task.classes, rng=np.random.default_rng((inquiry.seed, 3)))
    whole = [entry for entry in entries if entry.num_train == len(task.train)]
    mains = [entry for entry in whole if entry.layer is None]
    by_entry = [_scores_of(entry, judge, is_whole=entry in whole) for entry in entries]
    main_scores = [by_entry[entries.index(entry)] for entry in mains]
    differences = [score for pair in _pairs(mains) for score in _differences(*pair, judge)]
    weights = [score for entry in mains for score in _layer_weights(entry, inquiry)]
    by_class = [score for entry in mains if entry.variant in HEADLINES for score in _by_class(entry, judge)]
    tables = [_classifiers(mains, main_scores, judge)]
    tables += [_confusion(number, entry, judge) for number, entry in enumerate(_told(mains), 1)]
    if weights:
        tables.append(_weights_table(weights))
    return Results(
        probe="classify",
        question="Which class does a text have, told from frozen layers by a small classifier?",
        answer=_answer(mains, differences, weights, judge),
        models=cards,
        measures=MEASURES,
        headlines=[score for pair in main_scores for score in pair if score.variant in HEADLINES],
        scores=[*(score for pair in by_entry for score in pair), *differences, *weights, *by_class],
        tables=tables,
        pictures=_pictures(inquiry, task, entries, by_entry, weights, judge) if inquiry.with_pictures else [],
        notes=notes_on(task, entries),
        data=_data(task),
        settings=settings,
    )


def _scores_of(entry: Entry, judge: Judge, *, is_whole: bool) -> list[Score]:
    """Accuracy and macro-F1."""
    variant = entry.variant
    if not is_whole:
        variant = ", ".join(filter(None, [variant, f"{entry.num_train:,} training texts"]))
    figures = {"accuracy": judge.accuracy(entry.fits), "macro_f1": judge.macro_f1(entry.fits)}
    return [
        _score(measure, figure, model=entry.model, variant=variant, role=entry.role, layer=entry.layer)
        for measure, figure in figures.items()
    ]


def _score(
    measure: str,
    figure: Figure,
    *,
    model: str,
    variant: str,
    role: Role,
    layer: int | None = None,
    group: str | None = None,
) -> Score:
    return Score(
        measure=measure, model=model, value=figure.value, low=figure.low, high=figure.high, n=figure.n,
        layer=layer, group=group, variant=variant, role=role,
    )  # fmt: skip


def _by_class(entry: Entry, judge: Judge) -> list[Score]:
    """Share of each class's texts that are found."""
    return [
        _score(
            "accuracy", judge.accuracy(entry.fits, number), model=entry.model, variant=entry.variant,
            role=entry.role, group=name,
        )
        for number, name in enumerate(judge.names)
        if (judge.classes == number).any()
    ]  # fmt: skip


def _told(mains: Sequence[Entry]) -> list[Entry]:
    """One entry a model, and TF-IDF: the trainable mix, or the only one that word vectors have."""
    return [
        entry for entry in mains
        if (entry.role == "model" and entry.variant in (TRAINABLE, WORD_MEAN)) or entry.model == "TF-IDF"
    ]  # fmt: skip


def _pairs(mains: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Of which differences are taken: a model with every other and with TF-IDF, and an encoder with random weights and
    the mixes with the last layer."""
    told = _told(mains)
    pairs = list(combinations([one for one in told if one.role == "model"], 2))
    tf_idf = next(entry for entry in mains if entry.model == "TF-IDF")
    for entry in told:
        if entry is tf_idf:
            continue
        pairs.append((entry, tf_idf))
        alike = [other for other in mains if other.variant == entry.variant and other.role == "baseline"]
        own = [other for other in alike if other.model in (RANDOM, f"{RANDOM} of {entry.model}")]
        pairs += [(entry, other) for other in own]
        pairs += [(entry, other) for other in mains if other.model == entry.model and other.variant == LAST]
    return pairs


def _differences(first: Entry, second: Entry, judge: Judge) -> list[Score]:
    variant = first.variant if first.variant == second.variant or not second.variant else ""
    names = [first.model, second.model]
    if first.model == second.model or (not variant and first.variant):
        names = [_called(entry) for entry in (first, second)]
    figures = {
        "accuracy": judge.accuracy_difference(first.fits, second.fits),
        "macro_f1": judge.macro_f1_difference(first.fits, second.fits),
    }
    return [
        _score(measure, figure, model=" - ".join(names), variant=variant, role="difference")
        for measure, figure in figures.items()
    ]


def _layer_weights(entry: Entry, inquiry: Inquiry) -> list[Score]:
    weights_SK = entry.fits.layer_weights
    if weights_SK is None or entry.role != "model":
        return []
    layers = inquiry.layers or range(weights_SK.shape[1])
    return [
        _score("layer_weight", figure, model=entry.model, variant=TRAINABLE, role="model", layer=layer)
        for layer, figure in zip(layers, layer_weight_figures(weights_SK, CHOOSING_SHARE), strict=True)
    ]


def _classifiers(mains: Sequence[Entry], scores: Sequence[list[Score]], judge: Judge) -> Table:
    rows: list[list[str | int | float | None]] = []
    for entry, (accuracy, f1) in zip(mains, scores, strict=True):
        seeds = judge.by_seed(entry.fits)
        chosen = Counter(entry.fits.strengths).most_common(1)[0][0]
        ends = [accuracy.value, accuracy.low, accuracy.high, f1.value, f1.low, f1.high, seeds.min(), seeds.max()]
        rows.append(
            [entry.model, entry.variant, entry.role, *(round(float(end), 4) for end in ends), chosen, *entry.num_cut]
        )
    return Table(
        name="classifiers",
        title="Every representation under the same classifier",
        columns=[
            "model", "representation", "role", "accuracy", "low", "high", "macro-F1", "F1 low", "F1 high",
            "lowest seed", "highest seed", "strength", "training texts cut", "test texts cut",
        ],
        rows=rows,
        caption="Shares; low and high are 95 % intervals over test texts, lowest and highest seed the accuracies of"
        " single seeds, strength is the regularisation that most seeds chose.",
    )  # fmt: skip


def _confusion(number: int, entry: Entry, judge: Judge) -> Table:
    counts = judge.confusion(entry.fits)
    return Table(
        name=f"confusion-{number}-{re.sub(r'[^A-Za-z0-9_-]+', '_', entry.model)}",
        title=f"Confusions of {_called(entry)}",
        columns=["true class", *judge.names],
        rows=[
            [name, *(round(float(count), 4) for count in row)] for name, row in zip(judge.names, counts, strict=True)
        ],
        caption="Numbers of test texts, the mean over seeds: rows are true classes, columns predicted ones.",
        model=entry.model,
    )


def _weights_table(weights: Sequence[Score]) -> Table:
    return Table(
        name="layer_weights",
        title="Weight of each layer in the trainable mix",
        columns=["model", "layer", "weight", "low", "high", "seeds"],
        rows=[
            [one.model, one.layer, round(one.value, 4), round(one.low, 4), round(one.high, 4), one.n] for one in weights
        ],
        caption="softmax(s), the mean over seeds, with a 95 % interval for other training texts.",
    )


def _answer(mains: Sequence[Entry], differences: Sequence[Score], weights: Sequence[Score], judge: Judge) -> list[str]:
    told = _told(mains)
    said = []
    for entry in sorted(told, key=lambda one: one.role != "model"):
        found = judge.accuracy(entry.fits)
        said.append(f"{_called(entry)}: {_percent(found)} of {found.n:,} test texts are classified right.")
    for score in differences:
        if score.measure == "accuracy":
            said.append(_compared(score))
    for model in dict.fromkeys(score.model for score in weights):
        own = [score for score in weights if score.model == model]
        most = max(own, key=lambda score: score.value)
        others = max((one.high for one in own if one is not most), default=0.0)
        clearly = "" if most.low > others else "; the intervals of other layers overlap its own"
        said.append(
            f"{model}: its trainable mix puts the greatest weight on layer {most.layer}: {most.value:.2f}"
            f" (95 % interval {most.low:.2f} to {most.high:.2f}), equal weights being {1 / len(own):.2f}{clearly}."
        )
    return said


def _compared(score: Score) -> str:
    shown = f"{100 * score.value:+.1f} points ({100 * score.low:+.1f} to {100 * score.high:+.1f})"
    variant = f" ({score.variant})" if score.variant else ""
    if score.low <= 0 <= score.high:
        return f"{score.model}{variant}: {shown}, not told apart."
    return f"{score.model}{variant}: {shown}."


def _called(entry: Entry) -> str:
    return f"{entry.model} ({entry.variant})" if entry.variant else entry.model


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} % (95 % interval {100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _pictures(
    inquiry: Inquiry,
    task: Task,
    entries: Sequence[Entry],
    by_entry: Sequence[list[Score]],
    weights: Sequence[Score],
    judge: Judge,
) -> list[Picture]:
    whole = [entry for entry in entries if entry.num_train == len(task.train) and entry.layer is None]
    pictures = [
        picture_confusion(
            inquiry.out, number, model=entry.model, variant=entry.variant, counts=judge.confusion(entry.fits),
            names=judge.names,
        )
        for number, entry in enumerate(_told(whole), 1)
    ]  # fmt: skip
    if weights:
        pictures.append(picture_layer_weights(inquiry.out, weights))
    accuracies = [(entry, scores[0]) for entry, scores in zip(entries, by_entry, strict=True)]
    layers = [score for entry, score in accuracies if entry.variant == ONE]
    if layers:
        level = next(score for entry, score in accuracies if entry.model == "TF-IDF" and entry in whole)
        pictures.append(picture_layers(inquiry.out, layers, [Level("TF-IDF", level.value)]))
    curves: dict[str, list[tuple[int, Score]]] = {}
    for entry, score in sorted(accuracies, key=lambda one: one[0].num_train):
        if entry.layer is None:
            curves.setdefault(_called(entry), []).append((entry.num_train, score))
    grown = {name: points for name, points in curves.items() if len(points) > 1}
    if grown:
        pictures.append(picture_sizes(inquiry.out, grown))
    return pictures


def _data(task: Task) -> dict[str, Any]:
    return {
        part: {"file": texts.file, "sha256": texts.sha256, "n": len(texts), "by class": dict(Counter(texts.labels))}
        for part, texts in (("train", task.train), ("test", task.test))
    }
