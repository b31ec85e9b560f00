"""Static word vectors: one vector a word whatever the sentence. They stand wherever a model may be named, as a Source
with a single layer, 0.

A word is looked up as it is written; else in lower case with a straight apostrophe; else, where the table came with the
vectors of parts of words (FastText's character n-grams), its vector is made of its parts. A word with none of these is
unknown. Which files are read: probes.vectors.files.
"""

# N sentences, W words of a sentence, V words of the table, D dimensions

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from probes.probe_error import ProbeError
from probes.source import Pooling, Span, Vectors
from probes.vectors.files import is_word_vectors, read_vector_file, write_word2vec
from probes.vectors.subwords import Subwords

__all__ = ["WORD", "Coverage", "WordVectors", "fold", "is_word_vectors"]

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
"""A word of running text: letters and digits, also across apostrophes and hyphens."""
_PART = re.compile(r"\w+")


class Coverage(NamedTuple):
    """How many of some words have a vector."""

    num_words: int
    """Asked for."""
    num_known: int
    """Of these in the table."""
    num_from_parts: int
    """Of the others, those with a vector made of their parts."""


def fold(text: str) -> str:
    """Lower case, and apostrophes straight: how words are written in a table without capitals."""
    return text.lower().replace("\u2019", "'")


class WordVectors:
    """A table of word vectors."""

    num_layers = 0
    model_type = "word vectors"

    def __init__(self, words: Sequence[str], table: Vectors, *, name: str, subwords: Subwords | None = None) -> None:
        """
        Args:
            words: V words, the most frequent first where that is known; of equal ones the first counts.
            table: (V, D) float32.
            name: how messages call it.
            subwords: makes vectors for words that are not in the table.
        """
        assert len(words) == len(table)
        self.name = name
        self.words = list(words)
        self.table = table
        self.subwords = subwords
        self._rows = {word: row for row, word in reversed(list(enumerate(words)))}
        self._is_folded = all(word == fold(word) for word in words)

    @classmethod
    def read(cls, path: Path) -> "WordVectors":
        """Read a file.

        Raises:
            ProbeError: there is no such file, or it holds something else; see read_vector_file.
        """
        found = read_vector_file(path)
        return cls(found.words, found.table, name=str(path), subwords=found.subwords)

    def write(self, path: Path) -> None:
        """Write the table in word2vec's binary form; the vectors of parts of words are not in it."""
        write_word2vec(path, self.words, self.table)

    @property
    def hidden_size(self) -> int:
        return int(self.table.shape[1])

    @property
    def num_parameters(self) -> int:
        return int(self.table.size)

    def row(self, word: str) -> int | None:
        """Row of a word in the table, as it is written or else folded; None: it is not there."""
        found = self._rows.get(word)
        return self._rows.get(fold(word)) if found is None else found

    def find(self, word: str) -> Vectors | None:
        """(D,) float32, from the table or made of the word's parts; None: the word has no vector."""
        row = self.row(word)
        if row is not None:
            return np.asarray(self.table[row])
        if self.subwords is None:
            return None
        return self.subwords.vector(fold(word) if self._is_folded else word)

    def coverage(self, words: Iterable[str]) -> Coverage:
        """How many of these words are in the table, and how many others have a vector."""
        listed = list(words)
        unknown = [word for word in listed if self.row(word) is None]
        return Coverage(len(listed), len(listed) - len(unknown), sum(self.find(word) is not None for word in unknown))

    def embed(self, sentences: Sequence[str], spans: Sequence[Span], *, layers: Sequence[int] | None = None) -> Vectors:
        """The vectors of words: see Source.embed."""
        found = self.embed_words(sentences, [[span] for span in spans], layers=layers)
        return np.concatenate(found, axis=1) if found else np.empty((1, 0, self.hidden_size), dtype=np.float32)

    def embed_words(
        self, sentences: Sequence[str], spans: Sequence[Sequence[Span]], *, layers: Sequence[int] | None = None
    ) -> list[Vectors]:
        """The vectors of several words of each sentence: see Source.embed_words."""
        if layers is not None and list(layers) != [0]:
            raise ProbeError(f"{self.name} is a table of word vectors with no layer but 0. Leave out --layers.")
        found = []
        for number, (sentence, words) in enumerate(zip(sentences, spans, strict=True), 1):
            rows = [self._vector(number, sentence[slice(*span)]) for span in words]
            found.append(np.stack(rows)[None] if rows else np.empty((1, 0, self.hidden_size), dtype=np.float32))
        return found

    def embed_texts(
        self, texts: Sequence[str], *, pooling: Pooling = "mean", layers: Sequence[int] | None = None
    ) -> tuple[Vectors, int]:
        """The mean over the words of each text that have a vector, zeros where none has: see Source.embed_texts."""
        spans = self.token_spans(texts)
        means = [self._mean([text[slice(*span)] for span in words]) for text, words in zip(texts, spans, strict=True)]
        return np.stack(means)[None] if means else np.empty((1, 0, self.hidden_size), dtype=np.float32), 0

    def static(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        return np.asarray(self.embed(sentences, spans)[0])

    def static_context(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The mean over all other words of each sentence that have a vector: see Source.static_context."""
        means = []
        for sentence, word, words in zip(sentences, spans, self.token_spans(sentences), strict=True):
            others = [one for one in words if one[1] <= word[0] or one[0] >= word[1]]
            means.append(self._mean([sentence[slice(*span)] for span in others]))
        return np.array(means) if means else np.empty((0, self.hidden_size), dtype=np.float32)

    def token_spans(self, sentences: Sequence[str]) -> list[list[Span]]:
        """Where the words stand that have a vector: see Source.token_spans. A word that the table holds in parts only
        ("bank's", "well-known") gives those parts that have one."""
        return [[span for word in WORD.finditer(one) for span in self._spans(word)] for one in sentences]

    def _spans(self, word: re.Match[str]) -> list[Span]:
        if self.row(word[0]) is not None:
            return [word.span()]
        parts = [part.span() for part in _PART.finditer(word.string, *word.span()) if self.row(part[0]) is not None]
        return parts or ([word.span()] if self.find(word[0]) is not None else [])

    def _vector(self, number: int, word: str) -> Vectors:
        found = self.find(word)
        if found is None:
            raise ProbeError(
                f"{self.name}: it has no vector for {word!r} (sentence {number}), expected one for every word that is"
                " asked about. Leave that word out, or name vectors that know it."
            )
        return found

    def _mean(self, words: Sequence[str]) -> Vectors:
        vectors = [vector for word in words if (vector := self.find(word)) is not None]
        return np.mean(vectors, axis=0, dtype=np.float32) if vectors else np.zeros(self.hidden_size, dtype=np.float32)
