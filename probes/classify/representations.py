"""Texts as vectors of an encoder's layers or of a table of word vectors, and classifiers fitted on them."""

# K layers, N training texts, M test texts, D hidden size, S seeds

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from probes.classify.mixing import Head, Way, fit_head, predict
from probes.classify.splits import STRENGTHS, Split, Task
from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts
from probes.source import Pooling, Source, Vectors

MOST_VALUES = 2**28
"""Of the vectors of all layers and texts, in float32 (1 GiB; about as much again is needed while fitting): 13 layers of
768 for 27 thousand texts."""


@dataclass(frozen=True)
class Layers:
    """Pooled vectors of all texts, standardised."""

    train_KND: Vectors
    test_KMD: Vectors
    num_cut: tuple[int, int]
    """Training and test texts that were cut to what the model reads."""
    num_unknown: tuple[int, int] = (0, 0)
    """Training and test texts of which the source knows no word, so that their vectors were 0."""

    def only(self, index: int) -> "Layers":
        """One of the layers, as a mix of one."""
        one = slice(index, index + 1) if index >= 0 else slice(index, index + 1 or None)
        return Layers(self.train_KND[one], self.test_KMD[one], self.num_cut, self.num_unknown)


@dataclass(frozen=True)
class Fits:
    """What S classifiers of one representation say of the test texts."""

    predictions: NDArray[np.int64]
    """(S, M) numbers of classes."""
    strengths: tuple[float, ...]
    """That each seed chose."""
    layer_weights: NDArray[np.float64] | None = None
    """(S, K) where layers are mixed by trainable weights."""


def read_layers(
    source: Source, train: LabelledTexts, test: LabelledTexts, *, pooling: Pooling, layers: Sequence[int] | None
) -> Layers:
    """The vectors of all texts, every dimension of every layer standardised by the training texts, and then divided by
    the square root of D so that a vector is about 1 long.

    Raises:
        ProbeError: a layer that the model lacks, or more vectors than MOST_VALUES.
    """
    num_layers = source.num_layers + 1 if layers is None else len(layers)
    _check_room(source, num_layers, len(train) + len(test))
    train_KND, train_cut = source.embed_texts(train.texts, pooling=pooling, layers=layers)
    test_KMD, test_cut = source.embed_texts(test.texts, pooling=pooling, layers=layers)
    unknown = (_count_zeros(train_KND), _count_zeros(test_KMD))
    standardise(train_KND, test_KMD)
    return Layers(train_KND, test_KMD, (train_cut, test_cut), unknown)


def standardise(train_KND: Vectors, test_KMD: Vectors) -> None:
    """Change both in place: means and deviations are those of the training texts. A dimension that is the same in all
    of these is set to 0 in both, since nothing can be learnt from it."""
    mean_K1D = train_KND.mean(axis=1, keepdims=True, dtype=np.float64)
    std_K1D = train_KND.std(axis=1, keepdims=True, dtype=np.float64)
    # A constant dimension has a deviation of float32's last digits, not of 0.
    is_constant = std_K1D <= 1e-6 * np.maximum(np.abs(mean_K1D), 1e-6)
    factor_K1D = np.where(is_constant, 0, 1 / np.where(is_constant, 1, std_K1D * train_KND.shape[2] ** 0.5))
    for vectors in (train_KND, test_KMD):
        vectors -= mean_K1D.astype(np.float32)
        vectors *= factor_K1D.astype(np.float32)


def fit_all(layers: Layers, task: Task, way: Way) -> Fits:
    """A classifier for each seed, its regularisation chosen on that seed's own part of the training texts."""
    fitted = [_chosen(layers, task, split, way) for split in task.splits]
    test_KMD = torch.from_numpy(layers.test_KMD)
    weights = [head.layer_weights().numpy().astype(np.float64) for head, _ in fitted]
    return Fits(
        np.stack([predict(head, test_KMD).numpy() for head, _ in fitted]),
        tuple(strength for _, strength in fitted),
        np.stack(weights) if way == "trainable" else None,
    )


def _chosen(layers: Layers, task: Task, split: Split, way: Way) -> tuple[Head, float]:
    """The head that classifies most of the texts to choose on, the most regularised among equals; and its strength."""
    classes = torch.from_numpy(task.train_classes)
    # Copied once for all strengths: indexing by rows copies.
    fitting, choosing = (torch.from_numpy(layers.train_KND[:, rows]) for rows in (split.fitting, split.choosing))
    best: tuple[Head, float] | None = None
    most_right = -1
    for strength in STRENGTHS:
        head = fit_head(
            fitting, classes[split.fitting], way=way, num_classes=len(task.classes), strength=strength,
            hidden=task.hidden, seed=split.seed,
        )  # fmt: skip
        num_right = int((predict(head, choosing) == classes[split.choosing]).sum())
        if num_right > most_right:
            best, most_right = (head, strength), num_right
    assert best is not None
    return best


def _count_zeros(vectors_KND: Vectors) -> int:
    return int((~vectors_KND.any(axis=(0, 2))).sum())


def _check_room(source: Source, num_layers: int, num_texts: int) -> None:
    if num_layers * num_texts * source.hidden_size > MOST_VALUES:
        most = MOST_VALUES // (num_layers * source.hidden_size)
        raise ProbeError(
            f"{source.name}: {num_layers} layers of {source.hidden_size} for {num_texts:,} texts are"
            f" {num_layers * num_texts * source.hidden_size * 4 / 2**30:.1f} GiB, expected at most"
            f" {MOST_VALUES * 4 / 2**30:.0f} GiB ({most:,} texts). Take fewer texts by --most, or fewer layers by"
            " --layers."
        )
