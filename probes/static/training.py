"""Learning word vectors by all methods that were asked for, one after another, each saved as a file that any probe
takes as MODEL."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.probe_error import ProbeError
from probes.static.cooccurrences import learn_svd
from probes.static.corpus_text import CorpusText, read_corpus
from probes.static.labels import learn_from_labels, read_labelled
from probes.static.predictions import learn_by_prediction
from probes.word_vectors import WordVectors

FROM_TEXT = ("svd", "cbow", "skipgram", "fasttext")
METHODS = (*FROM_TEXT, "labels")


@dataclass(frozen=True)
class Training:
    """What is learnt from what; the command's options of the same names."""

    corpus: list[str] | None
    labelled: Path | None
    methods: tuple[str, ...] | None
    """None: all that there is text for."""
    text_field: str
    label_field: str
    dimension: int
    window: int
    """Words on either side."""
    min_count: int
    epochs: int

    def chosen(self) -> tuple[str, ...]:
        """The methods to go through.

        Raises:
            ProbeError: one that there is no text for, or text that no method is for.
        """
        possible = (*(FROM_TEXT if self.corpus else ()), *(("labels",) if self.labelled else ()))
        methods = possible if self.methods is None else self.methods
        if missing := [method for method in methods if method not in possible]:
            option = "--labelled FILE" if missing[0] == "labels" else "--corpus FILE"
            raise ProbeError(f"--methods: got {missing[0]}, expected {option} to learn from with it. Add that option.")
        if self.corpus and not set(methods) & set(FROM_TEXT) or self.labelled and "labels" not in methods:
            option = "--labelled" if self.labelled and "labels" not in methods else "--corpus"
            raise ProbeError(f"{option}: got text that none of --methods {','.join(methods)} learns from. Leave it out.")
        return methods


@dataclass(frozen=True)
class Trained:
    """Vectors that were learnt."""

    method: str
    vectors: WordVectors
    path: Path
    num_words: int
    """Of the text, repeats counted, as often as it was read once."""
    seconds: float
    note: str = ""


class Learner:
    """Reads the text once and learns from it by one method after another."""

    def __init__(self, training: Training, out: Path, *, seed: int) -> None:
        self.training, self.out, self.seed = training, out, seed
        self.methods = training.chosen()
        self.text: CorpusText | None = None

    def learn(self) -> Iterator[Trained]:
        """Vectors by method, in the order asked for; each is also written to OUT/<method>.bin.

        Raises:
            ProbeError: text that cannot be read or holds too little.
        """
        if self.training.corpus and set(self.methods) & set(FROM_TEXT):
            self.text = read_corpus(
                self.training.corpus, text_field=self.training.text_field, min_count=self.training.min_count
            )
        for method in self.methods:
            began = time.monotonic()
            path = self.out / f"{method}.bin"
            learn: Callable[[str, Path], tuple[WordVectors, int, str]]
            learn = self._from_labels if method == "labels" else self._from_text
            vectors, num_words, note = learn(method, path)
            yield Trained(method, vectors, path, num_words, time.monotonic() - began, note)

    def _from_text(self, method: str, path: Path) -> tuple[WordVectors, int, str]:
        assert self.text is not None
        sizes = {"window": self.training.window, "dimension": self.training.dimension, "seed": self.seed}
        if method == "svd":
            vectors = WordVectors(self.text.words, learn_svd(self.text, **sizes), name=method)
            vectors.write(path)
        else:
            vectors = learn_by_prediction(self.text, method, path, **sizes, epochs=self.training.epochs)
        return vectors, len(self.text.ids), ""

    def _from_labels(self, method: str, path: Path) -> tuple[WordVectors, int, str]:
        assert self.training.labelled is not None
        texts = read_labelled(
            self.training.labelled, text_field=self.training.text_field, label_field=self.training.label_field,
            min_count=self.training.min_count,
        )  # fmt: skip
        learnt = learn_from_labels(
            texts, dimension=self.training.dimension, epochs=self.training.epochs, seed=self.seed
        )
        vectors = WordVectors(texts.words, learnt.table, name=method)
        vectors.write(path)
        note = f"{len(texts.labels)} labels, {learnt.accuracy:.1%} of the training texts right in the last round"
        return vectors, len(texts.ids), note
