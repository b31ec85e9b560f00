"""Nearest centroid from few sentences a sense: which sentences are drawn, and how often the others are told right.

A sense's centroid is the mean of the vectors of its drawn sentences; a sentence has the sense of the centroid that is
nearest by cosine, and equally near ones count by their share. Several draws are taken and averaged. Where the table has
a train and a test part, draws are from the one and tests are all of the other; else what is not drawn is tested.
"""

# n sentences of one word, T draws, S senses of a word, M sentences drawn, K layers, D hidden size

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.source import Vectors

SHOTS = (1, 3, 10, 30)
NUM_DRAWS = 10
NEAR = 1e-5
"""Cosines to centroids that differ by less count as equal."""
STILL = 1e-6
"""A dimension that varies by less than this share of the greatest deviation is taken as constant."""

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Shots:
    """The draws for one word and one number of sentences a sense."""

    drawn: Numbers
    """(T, S, M / S) the drawn sentences by sense."""
    tested: Bools
    """(T, n) the sentences that each draw is tested on: none from a source that was drawn."""
    share: float
    """The greatest share of a sense's sources that draws take on average: of its sentences where each has its own."""

    @property
    def draw_factor(self) -> float:
        """How much further the mean over the draws moves with other sentences to draw from than with other draws alone.

        Draws from one pool lie nearer to each other than draws from different ones, by the share that they take of it.
        """
        return float(np.sqrt((NUM_DRAWS * self.share + 1 - self.share) / (1 - self.share)))


def draw_shots(
    labels: Numbers, sources: Numbers, splits: NDArray[np.str_], num_shots: int, rng: np.random.Generator
) -> Shots | None:
    """Draws of so many sentences of each sense; None where a sense has too few of them.

    Without a test part, the draws walk through each sense in a random order, so that sentences are drawn about equally
    often and every sentence is tested.

    Args:
        labels: (n,) senses.
        sources: (n,) documents.
        splits: (n,) 'train', 'test' or ''.
        rng: the only source of randomness.
    """
    senses = range(int(labels.max()) + 1)
    has_parts = bool((splits == "train").any() and (splits == "test").any())
    pools = [np.flatnonzero((labels == sense) & ((splits == "train") | (not has_parts))) for sense in senses]
    # What is left to be tested must come round within the draws.
    room = num_shots + 1 if has_parts else num_shots + max(1, int(np.ceil(num_shots / (NUM_DRAWS - 1))))
    if any(len(pool) < room for pool in pools):
        return None
    if has_parts and any(not ((labels == sense) & (splits == "test")).any() for sense in senses):
        return None
    orders = [rng.permutation(pool) for pool in pools]
    drawn = np.array(
        [
            [
                rng.choice(pool, num_shots, replace=False)
                if has_parts
                else np.take(order, np.arange(draw * num_shots, (draw + 1) * num_shots), mode="wrap")
                for pool, order in zip(pools, orders, strict=True)
            ]
            for draw in range(NUM_DRAWS)
        ]
    )
    testable = splits == "test" if has_parts else np.ones(len(labels), dtype=bool)
    tested = np.array([testable & ~np.isin(sources, sources[one.ravel()]) for one in drawn])
    share = max(
        float(np.mean([len(np.unique(sources[one])) for one in drawn[:, sense]]) / len(np.unique(sources[pool])))
        for sense, pool in enumerate(pools)
    )
    return Shots(drawn, tested, share) if share < 1 and tested.any(axis=1).all() else None


def shot_outcomes(vectors_KnD: Vectors, labels: Numbers, shots: Shots, *, z_scored: bool) -> Array:
    """(K, T, n) outcomes of each draw in 0..1, NaN where a sentence is not tested.

    Args:
        vectors_KnD: the word's vectors, of length 1.
        z_scored: of every dimension the mean over the drawn sentences is taken off, and it is divided by its deviation.
    """
    outcomes = np.full((len(vectors_KnD), *shots.tested.shape), np.nan)
    for k, vectors_nD in enumerate(vectors_KnD):
        # Far from the origin float32 would lose what differs; z-scores do not see the shift.
        centred_nD = vectors_nD - vectors_nD.mean(axis=0) if z_scored else vectors_nD
        for t, (drawn, tested) in enumerate(zip(shots.drawn, shots.tested, strict=True)):
            near = _cosines(centred_nD, drawn, z_scored=z_scored)[tested]
            best = near >= near.max(axis=1, keepdims=True) - NEAR
            outcomes[k, t, tested] = best[np.arange(len(best)), labels[tested]] / best.sum(axis=1)
    return outcomes


def _cosines(vectors_nD: Vectors, drawn: Numbers, *, z_scored: bool) -> Vectors:
    """(n, S) cosines of every sentence to every sense's centroid."""
    centroids_SD = vectors_nD[drawn].mean(axis=1)
    if z_scored:
        training_MD = vectors_nD[drawn.ravel()]
        mean_D, deviation_D = training_MD.mean(axis=0), training_MD.std(axis=0)
        is_still = deviation_D <= STILL * max(float(np.abs(vectors_nD).max()), 1e-12)
        scale_D = np.where(is_still, 0, 1 / np.where(is_still, 1, deviation_D))
        vectors_nD = (vectors_nD - mean_D) * scale_D
        centroids_SD = (centroids_SD - mean_D) * scale_D
    cosines: Vectors = unit(vectors_nD) @ unit(centroids_SD).T
    return cosines


def unit(vectors: Vectors) -> Vectors:
    """Vectors (..., D) of length 1; one of zeros stays so, and has cosine 0 to all."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    lengths[lengths == 0] = 1
    found: Vectors = vectors / lengths
    return found
