"""Clusters of sentences: does k-means find the senses, and do the senses themselves make clusters?"""

# n sentences of one word, S senses and as many clusters, R runs of k-means, H halves of the sentences, D hidden size

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.source import Vectors

NUM_RUNS = 20
NUM_SPLITS, RUNS_OF_A_HALF = 10, 4
"""Times that the sentences are parted into halves for the interval, and runs of k-means in each half."""
MOST_STEPS = 100

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]


def k_means(vectors_nD: Vectors, num_clusters: int, present_Rn: Bools, *, seed: int) -> Numbers:
    """Clusters of k-means (Lloyd 1982) from starts by k-means++ (Arthur & Vassilvitskii 2007): (R, n) numbers.

    All runs are made at once, which takes a small part of the time of as many calls of scikit-learn's on some dozen
    sentences; each ends where that does from the same start.

    Args:
        present_Rn: the sentences that each run sees; the others are given a cluster and have no part in any.
        seed: of the starts.
    """
    seen_Rn1 = present_Rn[:, :, None].astype(vectors_nD.dtype)
    centres_RSD = starts(vectors_nD, num_clusters, present_Rn, rng=np.random.default_rng(seed))
    found = _assign(vectors_nD, centres_RSD)
    for _ in range(MOST_STEPS):
        member_RnS = (found[:, :, None] == np.arange(num_clusters)) * seen_Rn1
        sizes_RS1 = member_RnS.sum(axis=1)[:, :, None]
        means_RSD = member_RnS.transpose(0, 2, 1) @ vectors_nD / np.maximum(sizes_RS1, 1)
        # A cluster that lost all its sentences stays where it was.
        centres_RSD = np.where(sizes_RS1 > 0, means_RSD, centres_RSD)
        again = _assign(vectors_nD, centres_RSD)
        if (again == found).all():
            break
        found = again
    return found


def starts(vectors_nD: Vectors, num_clusters: int, present_Rn: Bools, *, rng: np.random.Generator) -> Vectors:
    """(R, S, D) sentences that runs start from: each next one with probability in proportion to its squared distance
    from those before it."""
    weight_Rn = present_Rn.astype(np.float64)
    centres: list[Vectors] = []
    for _ in range(num_clusters):
        summed = weight_Rn.cumsum(axis=1)
        drawn = (summed <= rng.random((len(summed), 1)) * summed[:, -1:]).sum(axis=1).clip(max=len(vectors_nD) - 1)
        centres.append(vectors_nD[drawn])
        squared_Rn = _squared(vectors_nD, centres[-1][:, None])[..., 0] * present_Rn
        weight_Rn = squared_Rn if len(centres) == 1 else np.minimum(weight_Rn, squared_Rn)
    return np.stack(centres, axis=1)


def _assign(vectors_nD: Vectors, centres_RSD: Vectors) -> Numbers:
    found: Numbers = np.argmin(_squared(vectors_nD, centres_RSD), axis=2)
    return found


def _squared(vectors_nD: Vectors, centres_RSD: Vectors) -> Array:
    """(R, n, S) squared distances."""
    num_runs, num_centres, width = centres_RSD.shape
    products = vectors_nD @ centres_RSD.reshape(-1, width).T
    products_RnS = products.reshape(len(vectors_nD), num_runs, num_centres).transpose(1, 0, 2)
    own = (vectors_nD**2).sum(axis=1)[None, :, None] + (centres_RSD**2).sum(axis=2)[:, None, :]
    squared: Array = np.maximum(own - 2 * products_RnS, 0)
    return squared


def agreement(vectors_nD: Vectors, labels: Numbers, halves_Hn: Bools, *, seed: int) -> dict[str, tuple[float, Array]]:
    """The adjusted Rand index (Hubert & Arabie 1985) and the V-measure (Rosenberg & Hirschberg 2007) of k-means, as
    many clusters as senses, and the senses.

    Args:
        vectors_nD: one word's.
        halves_Hn: which sentences each half has.
        seed: of the starts.

    Returns:
        Of each the mean over NUM_RUNS runs, and its (H,) means over the runs in every half alone, which deviate from
        each other as those of all sentences would in other samples (Politis, Romano & Wolf 1999, section 2.2: parts of
        half the sentences need no correction).
    """
    num = int(labels.max()) + 1
    present_Rn = np.concatenate([np.ones((NUM_RUNS, len(labels)), bool), np.repeat(halves_Hn, RUNS_OF_A_HALF, axis=0)])
    clusters_Rn = k_means(vectors_nD, num, present_Rn, seed=seed)
    cells_Rn = np.where(present_Rn, clusters_Rn * num + labels, num * num)
    tables = np.array([np.bincount(row, minlength=num * num + 1)[: num * num] for row in cells_Rn], dtype=np.float64)
    found = {}
    for name, index in (("ari", adjusted_rand), ("v_measure", v_measure)):
        of_runs = index(tables.reshape(-1, num, num))
        of_halves = of_runs[NUM_RUNS:].reshape(len(halves_Hn), RUNS_OF_A_HALF).mean(axis=1)
        found[name] = (float(of_runs[:NUM_RUNS].mean()), of_halves)
    return found


def draw_halves(strata: Numbers, rng: np.random.Generator) -> Bools:
    """(2 NUM_SPLITS, n) halves of the sentences (or sources), half of each stratum in each, every two together all."""
    halves = []
    for _ in range(NUM_SPLITS):
        # Within a stratum, ranks of random numbers alternate between the halves; which half begins is drawn as well.
        order = np.lexsort((rng.random(len(strata)), strata))
        half = np.empty(len(strata), dtype=bool)
        half[order] = (np.arange(len(strata)) + rng.integers(2)) % 2 == 0
        halves += [half, ~half]
    return np.array(halves)


def adjusted_rand(tables: Array) -> Array:
    """Of contingency tables (..., clusters, senses)."""
    rows, columns, all_pairs = (
        _pairs(tables.sum(axis=-1)).sum(axis=-1),
        _pairs(tables.sum(axis=-2)).sum(axis=-1),
        _pairs(tables.sum(axis=(-1, -2))),
    )
    expected = rows * columns / np.maximum(all_pairs, 1)
    room = (rows + columns) / 2 - expected
    found: Array = np.where(room > 0, (_pairs(tables).sum(axis=(-1, -2)) - expected) / np.where(room > 0, room, 1), 1.0)
    return found


def v_measure(tables: Array) -> Array:
    """Of contingency tables (..., clusters, senses): twice the mutual information over the sum of both entropies."""
    shares = tables / tables.sum(axis=(-1, -2), keepdims=True)
    rows, columns = _entropy(shares.sum(axis=-1)).sum(axis=-1), _entropy(shares.sum(axis=-2)).sum(axis=-1)
    both = rows + columns
    mutual = both - _entropy(shares).sum(axis=(-1, -2))
    # Entropies of equal shares differ in their last digit.
    found: Array = np.where(both > 0, np.clip(2 * mutual / np.where(both > 0, both, 1), 0, 1), 1.0)
    return found


def _pairs(counts: Array) -> Array:
    return counts * (counts - 1) / 2


def _entropy(shares: Array) -> Array:
    found: Array = -shares * np.log(np.where(shares > 0, shares, 1))
    return found


def silhouette(cosines: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """The mean silhouette (Rousseeuw 1987) of the gold senses by cosine distance, and the influence of every sentence,
    (n,): its own outcome and what it does to the others'.
    """
    num = int(labels.max()) + 1
    # Rounded, so that distances between equal vectors are 0 and the quotient of two of them is not noise.
    distances = np.round(1 - cosines, 6)
    np.fill_diagonal(distances, 0)
    sums = distances @ (labels[:, None] == np.arange(num)).astype(np.float64)
    sizes = np.bincount(labels, minlength=num).astype(np.float64)
    outcomes = _silhouettes(sums, sizes, labels)
    influence = outcomes.copy()
    for sense in range(num):
        for column in np.flatnonzero(labels == sense):
            moved = sums.copy()
            moved[:, sense] -= distances[:, column]
            change = outcomes - _silhouettes(moved, sizes - (np.arange(num) == sense), labels)
            influence[column] += change.sum() - change[column]
    return float(outcomes.mean()), influence


def _silhouettes(sums: Array, sizes: Array, labels: NDArray[np.int64]) -> Array:
    """(n,) from the sums of each sentence's distances to every sense; 0 for a sense's only sentence."""
    rows = np.arange(len(labels))
    inside = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    means = sums / np.maximum(sizes, 1)
    means[rows, labels] = np.inf
    outside = means.min(axis=1)
    greatest = np.maximum(inside, outside)
    quotient = np.where(greatest > 1e-9, (outside - inside) / np.where(greatest > 1e-9, greatest, 1), 0.0)
    found: Array = np.where(sizes[labels] > 1, quotient, 0.0)
    return found
