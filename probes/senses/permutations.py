"""How often shuffled senses do as well: permutation tests of the nearest-neighbour accuracy.

The senses of a word's sentences are shuffled among them, the vectors stay. Sentences of one source are no independent
draws: a source all of one sense is shuffled as a whole with the others like it (so that senses may change in size where
sources differ in it), one of several senses keeps them and they are shuffled inside it. p is the share of shufflings,
the true one among them, that reach at least its accuracy (Phipson & Smyth 2010), so that it is never 0. Over words the
same with the mean of their accuracies, and p by word corrected for the number of words by Holm (1979).
"""

# n sentences of one word, P shufflings, W words

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.intervals import CONFIDENCE, Array
from probes.senses.design import Design, WordDesign
from probes.senses.neighbours import nearest

NUM_SHUFFLES = 1999


@dataclass(frozen=True)
class Shuffled:
    """Permutation p-values of one set of vectors in one layer."""

    pooled: float
    by_word: Array
    """(W,)"""
    corrected: Array
    """(W,) by Holm."""


def shuffle_test(cosines: Sequence[Sequence[Array]], design: Design, *, num_shuffles: int = NUM_SHUFFLES) -> Shuffled:
    """The p-values.

    Args:
        cosines: one list for every set of vectors that the accuracy is a mean over (draws of random weights), with the
            (n, n) cosines of every word.
    """
    true, shuffled_WP = np.empty(len(design.words)), np.empty((len(design.words), num_shuffles))
    for w, word in enumerate(design.words):
        shares = np.mean([nearest(one[w], word.labels, word.comparable).neighbours for one in cosines], axis=0)
        rng = np.random.default_rng([word.seed, 3])
        labels = shuffled_labels(word, num_shuffles, rng)
        every = _accuracies(shares, np.concatenate([word.labels[None], labels]))
        true[w], shuffled_WP[w] = every[0], every[1:]
    by_word = _p(true[:, None], shuffled_WP)
    return Shuffled(float(_p(true.mean()[None], shuffled_WP.mean(axis=0))), by_word, holm(by_word))


def shuffled_labels(word: WordDesign, num_shuffles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(P, n) the word's senses shuffled, source by source."""
    sizes = np.bincount(word.sources)
    least, most = np.full(len(sizes), len(word.senses)), np.full(len(sizes), -1)
    np.minimum.at(least, word.sources, word.labels)
    np.maximum.at(most, word.sources, word.labels)
    whole = np.flatnonzero(least == most)
    of_sources = np.tile(least, (num_shuffles, 1))
    of_sources[:, whole] = rng.permuted(of_sources[:, whole], axis=1)
    labels: NDArray[np.int64] = of_sources[:, word.sources]
    for source in np.flatnonzero(least < most):
        members = np.flatnonzero(word.sources == source)
        labels[:, members] = rng.permuted(np.tile(word.labels[members], (num_shuffles, 1)), axis=1)
    return labels


def holm(p_W: Array) -> Array:
    """p-values corrected for how many they are, so that the chance of any false one stays below the level."""
    order = np.argsort(p_W, kind="stable")
    steps = p_W[order] * np.arange(len(p_W), 0, -1)
    corrected = np.empty_like(p_W)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def drawn_interval(p: float, *, num_shuffles: int = NUM_SHUFFLES) -> tuple[float, float]:
    """The interval of a p-value over other draws of as many shufflings (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    hits, tail = round(p * (num_shuffles + 1)) - 1, (1 - CONFIDENCE) / 2
    low = beta.ppf(tail, hits, num_shuffles - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(1 - tail, hits + 1, num_shuffles - hits) if hits < num_shuffles else 1.0
    return min(float(low), p), max(float(high), p)


def _p(true: Array, shuffled: Array) -> Array:
    """(1 + shufflings that do as well) / (1 + shufflings), over the last axis; sums differ in their last digit."""
    p: Array = (1 + (shuffled >= true - 1e-9).sum(axis=-1)) / (1 + shuffled.shape[-1])
    return p


def _accuracies(shares: Array, labels_Pn: NDArray[np.int64]) -> Array:
    """(P,) the accuracy under each labelling, from each sentence's (n, n) shares of neighbours."""
    n = shares.shape[1]
    rows, columns = np.nonzero(shares)
    if len(rows) <= 8 * n:
        weights = shares[rows, columns]
        return np.array([weights[labels[rows] == labels[columns]].sum() / n for labels in labels_Pn])
    total = np.zeros(len(labels_Pn))
    for sense in range(int(labels_Pn.max()) + 1):
        member_Pn = (labels_Pn == sense).astype(np.float64)
        total += ((member_Pn @ shares.T) * member_Pn).sum(axis=1)
    accuracies: Array = total / n
    return accuracies
