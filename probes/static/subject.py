"""Asking one table of word vectors everything, so that its vectors need not be kept."""

from dataclasses import dataclass

import numpy as np

from probes.intervals import Array
from probes.static.analogies import Answers, Candidates, Question, answer
from probes.static.categories import Category, Heatmap, heatmap, random_cosines
from probes.static.neighbours import Neighbours, neighbours
from probes.static.similarity import Similarities, cosines
from probes.vectors.word_vectors import WordVectors


@dataclass(frozen=True)
class Asked:
    """What every table is asked."""

    questions: list[Question]
    similarities: list[Similarities]
    words: list[str]
    """Whose neighbours are looked for."""
    num_neighbours: int
    categories: list[Category]
    most_frequent: int | None
    """Of a table's words how many are candidates; None: all."""


@dataclass(frozen=True)
class Subject:
    """What one table answered."""

    name: str
    num_candidates: int
    answers: Answers
    cosines: dict[str, Array]
    """By set of pairs, NaN where a word is not in the table."""
    cosines_with_parts: dict[str, Array]
    """The same, unknown words made of their parts; empty for a table that has no parts."""
    neighbours: dict[str, Neighbours]
    heatmap: Heatmap
    random_cosines: Array


def ask(name: str, vectors: WordVectors, asked: Asked, *, seed: int) -> Subject:
    candidates = Candidates(vectors, asked.most_frequent)
    sets = asked.similarities
    return Subject(
        name,
        len(candidates.words),
        answer(candidates, asked.questions),
        {one.name: cosines(vectors, one.pairs) for one in sets},
        {one.name: cosines(vectors, one.pairs, with_parts=True) for one in sets} if vectors.subwords else {},
        {word: neighbours(vectors, candidates, word, most=asked.num_neighbours) for word in asked.words},
        heatmap(candidates, asked.categories),
        random_cosines(candidates, np.random.default_rng(seed)),
    )
