"""The measures of Ethayarajh (2019), definitions 1 to 3, and of Timkey & van Schijndel (2021), of one layer.

Differs from the papers: a word is compared with itself in other sentences only, not inside one; random pairs are all
pairs of words of different sentences, not a sample of a thousand; the cosine of a word to the mean of its sentence is
high by construction, since the mean holds the word itself, so beside the papers' baseline (random pairs) stand the same
sentences with their words shuffled among them. Maximum explainable variance is taken of the matrix as it is, not
centred: the square of its greatest singular value over the sum of all squares, so words that all lie in one direction,
at whatever length, reach 1.
"""

# N sentences, W words of all of them in their order, V words that occur often enough, D hidden size, R resamples

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.geometry.material import Integers, Material
from probes.intervals import Array
from probes.resampled import Resampled
from probes.source import Vectors
from probes.unit_vectors import unit

TOPS = (1, 3, 10)
"""How many of the dimensions that contribute most are taken together."""

LEAST_ANISOTROPY = 0.01
"""A mean cosine below this is none that dimensions could have shares of."""


def zscored(vectors_WD: Vectors) -> Vectors:
    """Every dimension with mean 0 and standard deviation 1 over the words; one that does not vary becomes 0."""
    mean = vectors_WD.mean(axis=0, dtype=np.float64)
    deviation = vectors_WD.std(axis=0, dtype=np.float64)
    # A constant of float32 comes out with a deviation of some last digits.
    constant = deviation <= 1e-6 * np.abs(mean)
    scaled: Vectors = ((vectors_WD - mean) / np.where(constant, np.inf, deviation)).astype(np.float32)
    return scaled


def self_similarity(units_WD: Array, rows: Integers, owners: Integers) -> float:
    """Mean cosine over all pairs of these rows that are of two sentences (definition 1 of the paper).

    Args:
        rows: of one word, in rising order.
        owners: (W,) the sentence of each row, those of one sentence next to each other; the rows are of two or more.
    """
    starts, sizes = np.unique(owners[rows], return_index=True, return_counts=True)[1:]
    sums = np.add.reduceat(units_WD[rows], starts, axis=0)
    total = sums.sum(axis=0)
    return float((total @ total - (sums**2).sum()) / (len(rows) ** 2 - (sizes**2).sum()))


def explained_variance(vectors_WD: Vectors, rows: Integers) -> float:
    """Share of the sum of squares of these rows along their first singular direction (definition 3), uncentred."""
    from scipy.linalg import eigvalsh

    chosen = vectors_WD[rows].astype(np.float64)
    gram = chosen @ chosen.T if len(rows) <= chosen.shape[1] else chosen.T @ chosen
    last = len(gram) - 1
    total = np.trace(gram)
    return float(eigvalsh(gram, subset_by_index=[last, last])[0] / total) if total > 0 else 1.0


def intra_sentence(vectors_WD: Vectors, units_WD: Array, sizes: Integers) -> Array:
    """(N,) mean cosine of a sentence's words to the mean of their vectors (definition 2)."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    means = unit(np.add.reduceat(vectors_WD.astype(np.float64), starts, axis=0))
    cosines: Array = (np.add.reduceat(units_WD, starts, axis=0) * means).sum(axis=1) / sizes
    return cosines


def contributions(units_WD: Array, sizes: Integers, counts: Integers) -> Array:
    """What each dimension contributes to the mean cosine of two words of different sentences, in each resample.

    Args:
        counts: (R, N) how often each sentence is drawn; copies of one sentence are not compared with each other.

    Returns:
        (R, D) float64; a row's sum is the mean cosine. NaN where all that is drawn is one sentence.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums_ND = np.add.reduceat(units_WD, starts, axis=0)
    weights = counts.astype(np.float64)
    pairs = (weights @ sizes) ** 2 - weights**2 @ sizes.astype(np.float64) ** 2
    products: Array = (weights @ sums_ND) ** 2 - weights**2 @ sums_ND**2
    return products / np.where(pairs == 0, np.nan, pairs)[:, None]


@dataclass(frozen=True)
class Geometry:
    """The figures of one layer."""

    figures: dict[str, Resampled]
    """By measure. The share of dominating dimensions is left out where there is no mean cosine to have a share of."""
    by_word: Array
    """(V,) self-similarity of each word minus that of random pairs."""


def measure(vectors_WD: Vectors, material: Material) -> Geometry:
    """All figures of one layer's vectors, on the same resamples for every layer and model."""
    sizes, sentences, words = material.sizes, material.sentence_counts, material.word_counts
    units_WD = unit(vectors_WD)
    whole = contributions(units_WD, sizes, np.ones((1, len(sizes)), dtype=np.int64))[0]
    drawn_RD = contributions(units_WD, sizes, sentences)
    cosine = Resampled(float(whole.sum()), drawn_RD.sum(axis=1), material.num_words)
    owners = material.owners
    same = np.array([self_similarity(units_WD, rows, owners) for rows in material.uses])
    variance = np.array([explained_variance(vectors_WD, rows) for rows in material.uses])
    by_chance = np.array([explained_variance(vectors_WD, rows) for rows in material.chance])
    inside = intra_sentence(vectors_WD, units_WD, sizes)
    order = material.shuffled
    shuffled = intra_sentence(vectors_WD[order], units_WD[order], sizes)
    self_similar, intra = _mean(same, words), _mean(inside, sentences)
    figures = {
        "anisotropy": cosine,
        "self_similarity": self_similar,
        "self_similarity_adjusted": self_similar - cosine,
        "intra_sentence": intra,
        "intra_sentence_adjusted": intra - cosine,
        "intra_sentence_beyond_shuffled": _mean(inside - shuffled, sentences),
        "explained_variance": _mean(variance, words),
        "explained_variance_adjusted": _mean(variance - by_chance, words),
    }
    return Geometry(figures | _dominating(whole, drawn_RD, cosine), same - cosine.value)


def _dominating(whole: Array, drawn_RD: Array, cosine: Resampled) -> dict[str, Resampled]:
    """Of the dimensions that contribute most: their contribution, and its share of the mean cosine if that is clear."""
    figures = {}
    by_size = np.argsort(-whole)
    is_clear = cosine.interval()[0] > 0 and cosine.value >= LEAST_ANISOTROPY
    for top in TOPS:
        chosen = by_size[:top]
        part = Resampled(float(whole[chosen].sum()), drawn_RD[:, chosen].sum(axis=1), cosine.n)
        figures[f"contribution_of_{top}"] = part
        if is_clear:
            figures[f"share_of_{top}"] = Resampled(part.value / cosine.value, part.draws / cosine.draws, cosine.n)
    return figures


def _mean(outcomes: Sequence[float] | Array, counts: Integers) -> Resampled:
    values = np.asarray(outcomes, dtype=np.float64)
    return Resampled(float(values.mean()), counts @ values / counts.sum(axis=1), len(values))
