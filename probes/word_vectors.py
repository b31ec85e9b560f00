"""Static word vectors: one vector a word whatever the sentence, read from the files of GloVe and word2vec.

They stand wherever a model may be named, as a Source with a single layer, 0. A word is looked up as it is written, and
else in lower case.
"""

# N sentences, W words of a sentence, V words of the table, D dimensions

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.probe_error import ProbeError
from probes.source import Pooling, Span, Vectors

SUFFIXES = (".txt", ".vec", ".bin", ".gz")
"""Of files that are read as word vectors: text (with or without word2vec's first line) and word2vec's binary form."""

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


def fold(text: str) -> str:
    """Lower case, and the apostrophe of a typewriter, as vectors are trained and looked up."""
    return text.lower().replace("\u2019", "'")


def is_word_vectors(path: Path) -> bool:
    """Whether a path names word vectors and not an encoder."""
    return path.is_file() and path.suffix in SUFFIXES


@dataclass(frozen=True)
class Subwords:
    """The vectors of character n-grams, from which FastText makes the vector of a word that it never saw."""

    table: Vectors
    """(B, D) float32, a row for each bucket that n-grams are hashed to."""
    shortest: int
    longest: int


class WordVectors:
    """A table of word vectors."""

    num_layers = 0
    model_type = "word vectors"

    def __init__(
        self, words: Sequence[str], table: Vectors, *, name: str, subwords: "Subwords | None" = None
    ) -> None:
        """
        Args:
            words: V words.
            table: (V, D) float32.
            name: how messages call it.
        """
        assert len(words) == len(table)
        self.name = name
        self.words = list(words)
        self.table = table
        self.subwords = subwords
        self._rows = {word: row for row, word in reversed(list(enumerate(words)))}

    @classmethod
    def read(cls, path: Path) -> "WordVectors":
        """Read a file.

        Raises:
            ProbeError: there is no such file, or it holds something else.
        """
        from gensim.models import KeyedVectors

        try:
            with path.open("rb") as file:
                is_headed = path.suffix == ".bin" or len(file.readline().split()) == 2
            read = KeyedVectors.load_word2vec_format(str(path), binary=path.suffix == ".bin", no_header=not is_headed)
        except (OSError, ValueError, EOFError) as error:
            raise ProbeError(
                f"{path}: {error}. Expected word vectors in the form of GloVe or word2vec. Check the file."
            ) from error
        return cls(read.index_to_key, read.vectors, name=str(path))

    def write(self, path: Path) -> None:
        from gensim.models import KeyedVectors

        kv = KeyedVectors(self.hidden_size)
        kv.add_vectors(self.words, self.table)
        kv.save_word2vec_format(str(path), binary=True)

    @property
    def hidden_size(self) -> int:
        return int(self.table.shape[1])

    @property
    def num_parameters(self) -> int:
        return int(self.table.size)

    def row(self, word: str) -> int | None:
        """Row of a word in the table, as it is written or else in lower case; None: it is not there."""
        found = self._rows.get(word)
        return self._rows.get(word.lower()) if found is None else found

    def find(self, word: str) -> Vectors | None:
        """(D,) float32; None: the word has no vector."""
        row = self.row(word)
        return None if row is None else np.asarray(self.table[row])

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
        return np.stack(means)[None], 0

    def static(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        return self.embed(sentences, spans)[0]

    def static_context(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The mean over all other words of each sentence that have a vector: see Source.static_context."""
        means = []
        for sentence, word, words in zip(sentences, spans, self.token_spans(sentences), strict=True):
            others = [one for one in words if one[1] <= word[0] or one[0] >= word[1]]
            means.append(self._mean([sentence[slice(*span)] for span in others]))
        return np.stack(means)

    def token_spans(self, sentences: Sequence[str]) -> list[list[Span]]:
        """Where the words stand that have a vector: see Source.token_spans."""
        return [
            [found.span() for found in WORD.finditer(sentence) if self.find(found[0]) is not None]
            for sentence in sentences
        ]

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
