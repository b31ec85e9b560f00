"""A word among the input embeddings: its nearest and its farthest words, in three dimensions."""

# V words, D dimensions

import re
import time
from dataclasses import dataclass

import numpy as np

from probes.intervals import NORMAL_QUANTILE, Array
from probes.mapping.cosines import z_scored
from probes.mapping.stating import RAW, WITH_TSNE, Z_SCORED
from probes.mapping.views import View, draw_views, save_views, timed
from probes.models import Model
from probes.probe import Inquiry
from probes.probe_error import ProbeError
from probes.random_pairs import random_pairs
from probes.results import Cell, Measure, Point, Results, Score, Table
from probes.source import Source, Vectors
from probes.unit_vectors import unit
from probes.vectors.word_vectors import WordVectors
from probes.vocabulary import rows_of, table_of, usable_rows

NUM_WORDS = 30
"""Of the nearest, and of the farthest."""
NUM_PAIRS = 10_000
"""Random pairs of words that the baseline is taken over."""
STARTS = ("\u0120", "\u2581")
"""With what a token begins that begins a word: byte-level BPE, sentencepiece."""
CONTINUES = "##"
"""With what a token begins that goes on with a word: WordPiece."""
_NO_WORD = re.compile(r"\[.*\]|<.*>|madeupword\d+")
NEAREST, FARTHEST, RANDOM = "nearest", "farthest", "random_pair"
MEASURES = {
    NEAREST: Measure(title=f"Cosine of the word to its {NUM_WORDS} nearest words", unit="cosine", is_better=""),
    FARTHEST: Measure(title=f"Cosine of the word to its {NUM_WORDS} farthest words", unit="cosine", is_better=""),
    RANDOM: Measure(title="Cosine of two words drawn at random", unit="cosine", is_better=""),
}
NOTES = [
    "Words are the tokens that begin a word and hold a letter; special and unused tokens, the pieces that go on with a"
    " word and rows of zeros are left out. A word of several pieces is the mean of their rows.",
    "Random pairs: the mean over 10 000 drawn pairs of words; its interval covers the drawing. The nearest and farthest"
    " words are found among all words, so nothing is drawn and their mean has an interval of no width.",
    "Z-scored: every dimension less its mean and over its deviation, over all words. Rows of rare words often lie"
    " together whatever they mean, which decides much of what is farthest.",
    WITH_TSNE,
]


@dataclass(frozen=True)
class Vocabulary:
    """The words of a model with their rows."""

    words: list[str]
    table: Vectors
    """(V, D)"""
    own: Vectors
    """(D,) of the word that was asked about."""
    own_row: int | None
    """Its row, if it is a single token."""


@dataclass(frozen=True)
class Neighbours:
    """What one model has around the word."""

    view: View
    num_words: int
    """That were looked at."""
    rows: list[list[Cell]]
    scores: list[Score]


def map_vocabulary(inquiry: Inquiry, word: str) -> Results:
    """Map the nearest and the farthest words of a word.

    Raises:
        ProbeError: layers; a model does not know the word.
    """
    inquiry.refuse_layers("map asks input embeddings, which lie below all of them, where --vocabulary is given")
    if not word.strip() or "\0" in word:
        got = "a NUL" if word.strip() else "an empty word"
        raise ProbeError(f"--vocabulary: got {got}, expected a word that the model knows. Name it.")
    found = [_neighbours(inquiry, model, word.strip()) for model in inquiry.models]
    views = [one.view for one in found]
    title = f"{word}: its {NUM_WORDS} nearest and {NUM_WORDS} farthest words"
    drawn = draw_views(inquiry, views, title=title, name="vocabulary", in_space=True)
    save_views(inquiry, views)
    scores = [score for one in found for score in one.scores]
    return Results(
        probe="map",
        question=f"Which words lie nearest to {word!r} in the table of input embeddings, and which farthest?",
        answer=[_sentence(one, word) for one in found],
        models=[view.card for view in views],
        measures=MEASURES,
        headlines=scores,
        scores=scores,
        tables=[
            Table(
                name="words",
                title=f"Nearest and farthest words of {word}",
                columns=["model", "kind", "rank", "word", "cosine", "z_scored_cosine"],
                rows=[row for one in found for row in one.rows],
                caption="Ranked by the cosine. Compare it with that of random pairs among the scores.",
            ),
            drawn.table,
        ],
        pictures=drawn.pictures,
        maps=drawn.maps,
        notes=NOTES,
        data={"word": word, "words": {one.view.name: one.num_words for one in found}},
        settings={"seed": inquiry.seed, "num_words": NUM_WORDS, "num_pairs": NUM_PAIRS},
    )


def _neighbours(inquiry: Inquiry, model: Model, word: str) -> Neighbours:
    source = model.open()
    began = time.perf_counter()
    known = _words(source, word)
    seconds = timed(began)
    plain = unit(known.table)
    scaled, own_scaled = (unit(z_scored(vectors, known.table)) for vectors in (known.table, known.own[None]))
    cosines, z_cosines = plain @ unit(known.own), (scaled @ own_scaled.T)[:, 0]
    order = [int(row) for row in np.argsort(-cosines, kind="stable") if row != known.own_row]
    num = min(NUM_WORDS, len(order) // 2)
    kinds = {NEAREST: order[:num], FARTHEST: order[: -num - 1 : -1]}
    rows: list[list[Cell]] = [
        [model.name, kind, rank, known.words[row], round(float(cosines[row]), 4), round(float(z_cosines[row]), 4)]
        for kind, members in kinds.items()
        for rank, row in enumerate(members, 1)
    ]
    scores = []
    for variant, of_word, matrix in ((RAW, cosines, plain), (Z_SCORED, z_cosines, scaled)):
        for kind, members in kinds.items():
            value = float(of_word[members].mean())
            scores.append(_score(model, kind, variant, value, value, value, num))
        scores.append(_random_pairs(model, variant, matrix, np.random.default_rng(inquiry.seed)))
    points = [Point(text=word, group="the word", label=word)]
    points += [Point(text=known.words[r], group=kind, label=known.words[r]) for kind in kinds for r in kinds[kind]]
    chosen = np.concatenate([known.own[None], known.table[kinds[NEAREST] + kinds[FARTHEST]]])
    view = View(model.card(source), [0], points, chosen[None].astype(np.float32), seconds, word)
    return Neighbours(view, len(known.words), rows, scores)


def _words(source: Source, word: str) -> Vocabulary:
    """The words that a source has, and the one that is asked about."""
    own, table = rows_of(source, word), table_of(source)
    tokens = usable_rows(source, table)
    start = next((mark for mark in STARTS if sum(token.startswith(mark) for token in tokens.values()) > 1), "")
    if isinstance(source, WordVectors):
        start = ""
    words = {
        row: token.removeprefix(start)
        for row, token in tokens.items()
        if token.startswith(start) and not token.startswith(CONTINUES) and _is_word(token.removeprefix(start))
    }
    if len(words) < 3:
        raise ProbeError(
            f"{source.name}: its vocabulary has {len(words)} words, expected some. Name a model with tokens of words."
        )
    kept = list(words)
    own_row = kept.index(own[0]) if len(own) == 1 and own[0] in words else None
    return Vocabulary(list(words.values()), table[kept], table[own].mean(axis=0), own_row)


def _is_word(token: str) -> bool:
    return any(one.isalpha() for one in token) and not _NO_WORD.fullmatch(token)


def _random_pairs(model: Model, variant: str, unit_VD: Array, rng: np.random.Generator) -> Score:
    """The mean cosine of drawn pairs of different words."""
    one, other = random_pairs(len(unit_VD), NUM_PAIRS, rng).T
    cosines = (unit_VD[one] * unit_VD[other]).sum(axis=1)
    value, half = float(cosines.mean()), float(NORMAL_QUANTILE * cosines.std(ddof=1) / np.sqrt(NUM_PAIRS))
    return _score(model, RANDOM, variant, value, value - half, value + half, NUM_PAIRS)


def _score(model: Model, measure: str, variant: str, value: float, low: float, high: float, n: int) -> Score:
    return Score(measure=measure, model=model.name, variant=variant, value=value, low=low, high=high, n=n)


def _sentence(one: Neighbours, word: str) -> str:
    nearest = [str(row[3]) for row in one.rows if row[1] == NEAREST][:5]
    farthest = [str(row[3]) for row in one.rows if row[1] == FARTHEST][:3]
    values = {score.measure: score.value for score in one.scores if score.variant == RAW}
    return (
        f"{one.view.name}: nearest to {word!r} are {', '.join(nearest)} (mean cosine of the {NUM_WORDS} nearest"
        f" {values[NEAREST]:.2f}), farthest {', '.join(farthest)} ({values[FARTHEST]:.2f}); two words drawn at random"
        f" have {values[RANDOM]:.2f}."
    )
