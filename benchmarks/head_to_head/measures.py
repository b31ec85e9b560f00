"""What a trained encoder is worth downstream: the senses probe and a linear probe, in figures between 0 and 1."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.head_to_head.labelled import LabelledSet
from benchmarks.head_to_head.linear_probe import probe_bag_of_words, probe_model
from probes.embedders import Embedder
from probes.models import model_folder
from probes.senses.design import Design
from probes.senses.measures import cosines_by_word, rows_of
from probes.senses.neighbours import nearest
from probes.source import Vectors
from probes.usages import BUILT_IN, read_usages

MEASURES = {
    "senses_last": "senses, last layer",
    "senses_best": "senses, best layer",
    "linear_last": "linear probe, last layer",
    "linear_chosen": "linear probe, chosen layer",
}
"""Shares: of sentences whose nearest neighbour has the same sense (the senses probe), of test rows classified right."""

_VERSION = 1  # raised when the measures change, so that figures that were kept are measured anew
_SEED = 0  # of random weights

Figures = dict[str, float]


@dataclass(frozen=True)
class Measures:
    """All measures with what they are taken on."""

    labelled: LabelledSet
    design: Design
    max_tokens: int
    """Of a labelled text: what the recipes train on."""

    @classmethod
    def on(cls, labelled: LabelledSet, *, max_tokens: int) -> "Measures":
        return cls(labelled, Design.of(read_usages(BUILT_IN), _SEED), max_tokens)

    @property
    def fingerprint(self) -> str:
        """Equal where figures can be compared."""
        sentences = hashlib.sha256(BUILT_IN.read_bytes()).hexdigest()[:16]
        return f"{_VERSION}/{self.labelled.fingerprint}/{self.max_tokens}/{sentences}"

    def of(self, folder: Path) -> Figures:
        """Measure a transformers folder, a run or a checkpoint."""
        return self._of(Embedder.from_folder(model_folder(str(folder))))

    def of_random_weights(self, folder: Path) -> Figures:
        """The same of the folder's architecture and tokenizer, never trained."""
        return self._of(Embedder.random(model_folder(str(folder)), _SEED))

    def of_references(self) -> dict[str, Figures]:
        """What looks at no encoder: bags of words, and always the commonest sense of a word."""
        bag_of_words = probe_bag_of_words(self.labelled)
        majority = fmean(np.bincount(word.labels).max() / word.n for word in self.design.words)
        return {
            "bag of words, TF-IDF": {"linear_last": bag_of_words, "linear_chosen": bag_of_words},
            "majority sense": {"senses_last": majority, "senses_best": majority},
        }

    def _of(self, embedder: Embedder) -> Figures:
        vectors_KND = embedder.embed(self.design.sentences, self.design.spans)
        by_layer = [self._senses(vectors_KND, layer) for layer in range(len(vectors_KND))]
        best = int(np.argmax(by_layer))
        linear = probe_model(embedder, self.labelled, max_tokens=self.max_tokens)
        return {
            "senses_last": by_layer[-1],
            "senses_best": by_layer[best],
            "senses_best_layer": best,
            "linear_last": linear.last,
            "linear_chosen": linear.chosen,
            "linear_chosen_layer": linear.chosen_layer,
        }

    def _senses(self, vectors_KND: Vectors, layer: int) -> float:
        """Share of the nearest neighbours with the same sense, each word counting the same."""
        cosines = cosines_by_word(rows_of(vectors_KND), self.design, layer_index=layer)
        found = [
            nearest(one, word.labels, word.comparable) for one, word in zip(cosines, self.design.words, strict=True)
        ]
        return fmean(float(one.outcome.mean()) for one in found)
