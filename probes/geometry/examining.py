"""Carrying out the geometry probe: every model and its random weights, layer by layer, on the same words."""

# N sentences, W words of all of them in their order, K layers, D hidden size

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.coverage import read_by
from probes.geometry.findings import MEASURES, NOTES, answer, headlines, left_out
from probes.geometry.material import MOST_USES, Material
from probes.geometry.measures import LEAST_ANISOTROPY, Geometry, measure, zscored
from probes.geometry.pictures import draw
from probes.geometry.sentences import read_sentences
from probes.intervals import CONFIDENCE, NUM_RESAMPLES
from probes.names import RANDOM, baseline_of, file_stem
from probes.probe import Inquiry
from probes.probe_error import ProbeError
from probes.reading.spans import words_of
from probes.resampled import Resampled
from probes.results import ModelCard, Results, Score, Table
from probes.source import Source, Vectors
from probes.usages import BUILT_IN

ZSCORED = "z-scored"
LAST = "last layer of each"

MOST_NUMBERS = 100_000_000
"""Of vectors that are held at once (400 MB); of a larger model the layers are taken in several passes."""
SENTENCES_AT_ONCE = 256


@dataclass(frozen=True)
class Read:
    """The words that are measured, and what was left out."""

    material: Material
    num_words: int
    """Of all sentences, before any was left out."""
    num_missed: dict[str, int]
    """By the name of a model, how many of them it does not read."""


@dataclass(frozen=True)
class Measured:
    """What was found of one source of vectors."""

    name: str
    role: str
    base: str
    """The model that it is, or whose random weights it has."""
    layers: dict[tuple[int, str], Geometry]
    """By layer and variant."""

    @property
    def last(self) -> int:
        return max(layer for layer, _ in self.layers)


def examine(inquiry: Inquiry, *, sentences: Path | None, min_uses: int, most: int) -> Results:
    """Measure every model of the inquiry, and an untrained one of the same architecture beside each encoder.

    Args:
        sentences: a file as in probes.geometry.sentences; None: the sentences of the built-in table of senses.
        min_uses: how many sentences a word must stand in to be compared with itself.
        most: sentences that are read at most.

    Raises:
        ProbeError: a model or file that cannot be used, or too few words in it.
    """
    if min_uses < 2:
        raise ProbeError(f"--min-uses: got {min_uses}, expected at least 2: a word is compared with itself elsewhere.")
    path = sentences or BUILT_IN
    texts = read_sentences(path, most=most, seed=inquiry.seed)
    read = _read(inquiry, texts, min_uses)
    cards: list[ModelCard] = []
    measured: list[Measured] = []
    for model in inquiry.models:
        source = model.open()
        cards.append(model.card(source))
        measured.append(Measured(model.name, "model", model.name, _by_layer(source, read.material, inquiry.layers)))
        if not model.is_word_vectors:
            name = baseline_of(RANDOM, model.name, inquiry.models)
            layers = _by_layer(model.open_random(inquiry.seed), read.material, inquiry.layers)
            measured.append(Measured(name, "baseline", model.name, layers))
    scores = [*_scores(measured), *_differences(measured)]
    own = [one for one in measured if one.role == "model"]
    return Results(
        probe="geometry",
        question="How alike are the vectors of one word in its sentences, of one sentence's words, and of any two?",
        answer=answer(scores, measured=[(one.name, one.last) for one in own]),
        models=cards,
        measures=MEASURES,
        headlines=headlines(scores, last={one.name: one.last for one in measured}),
        scores=scores,
        tables=[_words(one, number, read.material) for number, one in enumerate(own, 1)],
        pictures=draw(scores, out=inquiry.out) if inquiry.with_pictures else [],
        notes=[*NOTES, *left_out(read.num_words, read.material.num_words, read.num_missed)],
        data={
            "file": "built in" if sentences is None else str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "sentences": len(read.material.sentences),
            "words": read.material.num_words,
            "words_compared_with_themselves": len(read.material.words),
            "words_not_read_by": read.num_missed,
        },
        settings={
            "seed": inquiry.seed, "confidence": CONFIDENCE, "num_resamples": NUM_RESAMPLES, "min_uses": min_uses,
            "most_sentences": most, "most_uses_of_a_word": MOST_USES, "least_anisotropy_for_shares": LEAST_ANISOTROPY,
        },
    )  # fmt: skip


def _read(inquiry: Inquiry, sentences: Sequence[str], min_uses: int) -> Read:
    """The words that every model reads, so that differences are of the same words."""
    every = [words_of(sentence) for sentence in sentences]
    num_words = sum(map(len, every))
    common, num_missed = every, {}
    for model in inquiry.models:
        own = read_by(model.open(), sentences, every)
        num_missed[model.name] = num_words - sum(map(len, own))
        common = [[span for span in kept if span in set(its)] for kept, its in zip(common, own, strict=True)]
    material = Material.of(sentences, common, min_uses=min_uses, seed=inquiry.seed)
    return Read(material, num_words, num_missed)


def _by_layer(source: Source, material: Material, layers: Sequence[int] | None) -> dict[tuple[int, str], Geometry]:
    found = {}
    for layer, vectors_WD in _vectors(source, material, layers):
        found[layer, ""] = measure(vectors_WD, material)
        found[layer, ZSCORED] = measure(zscored(vectors_WD), material)
    return found


def _vectors(source: Source, material: Material, layers: Sequence[int] | None) -> Iterator[tuple[int, Vectors]]:
    """Each layer's number and (W, D) vectors; as many layers in one pass as memory is meant to hold."""
    chosen = list(range(source.num_layers + 1)) if layers is None else list(layers)
    at_once = max(1, MOST_NUMBERS // (material.num_words * source.hidden_size))
    for first in range(0, len(chosen), at_once):
        group = chosen[first : first + at_once]
        vectors_KWD = np.empty((len(group), material.num_words, source.hidden_size), dtype=np.float32)
        row = 0
        for begin in range(0, len(material.sentences), SENTENCES_AT_ONCE):
            part = slice(begin, begin + SENTENCES_AT_ONCE)
            for vectors in source.embed_words(material.sentences[part], material.spans[part], layers=group):
                vectors_KWD[:, row : row + vectors.shape[1]] = vectors
                row += vectors.shape[1]
        yield from zip(group, vectors_KWD, strict=True)


def _scores(measured: Sequence[Measured]) -> list[Score]:
    return [
        figure.score(name, one.name, layer=layer, variant=variant, role="model" if one.role == "model" else "baseline")
        for one in measured
        for (layer, variant), geometry in one.layers.items()
        for name, figure in geometry.figures.items()
    ]


def _differences(measured: Sequence[Measured]) -> list[Score]:
    """Each model minus its own random weights, and minus every later model: by layer, and at the last of each."""
    scores = []
    for index, one in enumerate(measured):
        for other in measured[index + 1 :]:
            if one.role != "model" or (other.role != "model" and other.base != one.name):
                continue
            name = f"{one.name} - {other.name}"
            for place in (place for place in one.layers if place in other.layers):
                for key, difference in _minus(one.layers[place], other.layers[place]):
                    scores.append(difference.score(key, name, layer=place[0], variant=place[1], role="difference"))
            for variant in ("", ZSCORED):
                for key, difference in _minus(one.layers[one.last, variant], other.layers[other.last, variant]):
                    shown = f"{LAST}, {variant}" if variant else LAST
                    scores.append(difference.score(key, name, variant=shown, role="difference"))
    return scores


def _minus(one: Geometry, other: Geometry) -> Iterator[tuple[str, Resampled]]:
    for key in (key for key in one.figures if key in other.figures):
        yield key, one.figures[key] - other.figures[key]


def _words(one: Measured, number: int, material: Material) -> Table:
    """The self-similarity of every word that has one; the number keeps tables of models with like names apart."""
    layers = sorted(layer for layer, variant in one.layers if not variant)
    rows: list[list[str | int | float | None]] = [
        [word, len(material.uses[i]), *(round(float(one.layers[layer, ""].by_word[i]), 4) for layer in layers)]
        for i, word in enumerate(material.words)
    ]
    return Table(
        name=f"words-{number}-{file_stem(one.name)}",
        title=f"Self-similarity of each word minus that of random pairs, {one.name}",
        columns=["word", "uses compared", *(f"layer {layer}" for layer in layers)],
        rows=rows,
        caption=f"The {len(rows)} words that stand in enough sentences, those of the most sentences first.",
        model=one.name,
    )
