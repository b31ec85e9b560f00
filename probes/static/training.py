"""Learning word vectors by all methods that were asked for, one after another, each saved as a file that any probe
takes as MODEL."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.probe_error import ProbeError
from probes.reading.labelled_texts import read_labelled_texts
from probes.static.cooccurrences import learn_svd
from probes.static.corpus_text import CorpusText, read_corpus
from probes.static.labels import learn_from_labels, words_of
from probes.static.predictions import learn_by_prediction
from probes.vectors.word_vectors import WordVectors

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
            ProbeError: one that is not known or that there is no text for, or text that no method is for.
        """
        if unknown := [method for method in self.methods or () if method not in METHODS]:
            raise ProbeError(f"--methods: got {unknown[0]!r}, expected some of {','.join(METHODS)}. Correct it.")
        possible = (*(FROM_TEXT if self.corpus else ()), *(("labels",) if self.labelled else ()))
        methods = possible if self.methods is None else self.methods
        if missing := [method for method in methods if method not in possible]:
            option = "--labelled FILE" if missing[0] == "labels" else "--corpus FILE"
            raise ProbeError(f"--methods: got {missing[0]}, expected {option} to learn from with it. Add that option.")
        unread = {
            "--corpus": bool(self.corpus) and not set(methods) & set(FROM_TEXT),
            "--labelled": self.labelled is not None and "labels" not in methods,
        }
        for option, is_unread in unread.items():
            if is_unread:
                raise ProbeError(
                    f"{option}: got text that none of --methods {','.join(methods)} learns from, expected a method that"
                    " does. Leave it out, or name one."
                )
        return methods


@dataclass(frozen=True)
class Trained:
    """What was learnt, apart from the vectors."""

    method: str
    path: Path
    num_words: int
    """Different words in the table."""
    text_words: int
    """Words of the text that are in the table, repeats counted, of one round."""
    seconds: float
    remark: str
    data: dict[str, Any]
    """Of the texts that had been read by then: files, digests and sizes."""


def learn(training: Training, out: Path, *, seed: int) -> Iterator[tuple[WordVectors, Trained]]:
    """Vectors by method, in the order asked for; none are kept here, each table is also written to OUT/<method>.bin.

    Raises:
        ProbeError: text that cannot be read or holds too little.
    """
    text: CorpusText | None = None
    for method in training.chosen():
        if method in FROM_TEXT and text is None:
            text = read_corpus(training.corpus or (), text_field=training.text_field, min_count=training.min_count)
        began = time.monotonic()
        path = out / f"{method}.bin"
        if method == "labels":
            vectors, text_words, remark = _from_labels(training, path, seed)
        else:
            assert text is not None
            vectors, text_words, remark = _from_text(text, method, training, path, seed), len(text.ids), ""
        seconds = time.monotonic() - began
        num_words = len(vectors.words)
        yield vectors, Trained(method, path, num_words, text_words, seconds, remark, _data(training, text))


def _from_text(text: CorpusText, method: str, training: Training, path: Path, seed: int) -> WordVectors:
    window, dimension = training.window, training.dimension
    if method != "svd":
        return learn_by_prediction(
            text, method, path, window=window, dimension=dimension, epochs=training.epochs, seed=seed
        )
    vectors = WordVectors(text.words, learn_svd(text, window=window, dimension=dimension, seed=seed), name=method)
    vectors.write(path)
    return vectors


def _from_labels(training: Training, path: Path, seed: int) -> tuple[WordVectors, int, str]:
    assert training.labelled is not None
    labelled = read_labelled_texts(
        training.labelled, label_field=training.label_field, text_fields=[training.text_field]
    )
    texts = words_of(labelled, min_count=training.min_count)
    learnt = learn_from_labels(texts, dimension=training.dimension, epochs=training.epochs, seed=seed)
    vectors = WordVectors(texts.words, learnt.table, name="labels")
    vectors.write(path)
    remark = f"{len(texts.labels)} labels; {learnt.accuracy:.1%} of the training texts right in the last round"
    return vectors, len(texts.ids), remark


def _data(training: Training, text: CorpusText | None) -> dict[str, Any]:
    """What stands of the texts in the results."""
    found: dict[str, Any] = {}
    if text is not None:
        found["corpus"] = {"files": text.files, "n": len(text.ids), "words": len(text.words)}
    if training.labelled is not None:
        digest = hashlib.sha256(training.labelled.read_bytes()).hexdigest()
        found["labelled"] = {"file": training.labelled.name, "sha256": digest}
    return found
