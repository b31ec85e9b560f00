"""The nearest words to a word by cosine, also to words that only their parts are known of."""

from typing import NamedTuple

import numpy as np

from probes.static.analogies import Candidates
from probes.vectors.word_vectors import WordVectors, fold


class Neighbours(NamedTuple):
    """Of one word."""

    how: str
    """Where its vector came from: 'in the table', 'made of its parts', 'unknown'."""
    words: list[tuple[str, float]]
    """The nearest first, with cosines; none for an unknown word."""


def neighbours(vectors: WordVectors, candidates: Candidates, word: str, *, most: int) -> Neighbours:
    """The nearest candidates to a word, itself left out."""
    found = vectors.find(word)
    if found is None or not (length := float(np.linalg.norm(found))) > 0:
        return Neighbours("unknown", [])
    cosines = candidates.unit_ND @ (found / length).astype(np.float32)
    order = [int(row) for row in np.argsort(-cosines, kind="stable")[: most + 1]]
    nearest = [(candidates.words[row], float(cosines[row])) for row in order if candidates.words[row] != fold(word)]
    return Neighbours("in the table" if vectors.row(word) is not None else "made of its parts", nearest[:most])
