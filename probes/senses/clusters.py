"""Clusters of sentences: does k-means find the senses, and do the senses themselves make clusters?"""

# n sentences of one word, S senses and as many clusters, R runs of k-means, D hidden size

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.source import Vectors

NUM_RUNS = 20
MOST_STEPS = 100


def k_means(vectors_nD: Vectors, num_clusters: int, *, seed: int, num_runs: int = NUM_RUNS) -> NDArray[np.int64]:
    """Clusters of k-means (Lloyd 1982) from starts by k-means++ (Arthur & Vassilvitskii 2007): (R, n) numbers.

    All runs are made at once, which takes a thirtieth of the time of as many calls of scikit-learn's on some dozen
    sentences; each equals its result from the same start.
    """
    centres_RSD = starts(vectors_nD, num_clusters, rng=np.random.default_rng(seed), num_runs=num_runs)
    found = _assign(vectors_nD, centres_RSD)
    for _ in range(MOST_STEPS):
        member_RnS = (found[:, :, None] == np.arange(num_clusters)).astype(vectors_nD.dtype)
        sizes_RS1 = member_RnS.sum(axis=1)[:, :, None]
        means_RSD = member_RnS.transpose(0, 2, 1) @ vectors_nD / np.maximum(sizes_RS1, 1)
        # A cluster that lost all its sentences stays where it was.
        centres_RSD = np.where(sizes_RS1 > 0, means_RSD, centres_RSD)
        again = _assign(vectors_nD, centres_RSD)
        if (again == found).all():
            break
        found = again
    return found


def starts(vectors_nD: Vectors, num_clusters: int, *, rng: np.random.Generator, num_runs: int) -> Vectors:
    """(R, S, D) sentences that runs start from: each next one with probability in proportion to its squared distance
    from those before it."""
    n = len(vectors_nD)
    centres = [vectors_nD[rng.integers(n, size=num_runs)]]
    nearest_Rn = _squared(vectors_nD, centres[0][:, None])[..., 0]
    for _ in range(num_clusters - 1):
        summed = nearest_Rn.cumsum(axis=1)
        drawn = (summed <= rng.random((num_runs, 1)) * summed[:, -1:]).sum(axis=1).clip(max=n - 1)
        centres.append(vectors_nD[drawn])
        nearest_Rn = np.minimum(nearest_Rn, _squared(vectors_nD, centres[-1][:, None])[..., 0])
    return np.stack(centres, axis=1)


def _assign(vectors_nD: Vectors, centres_RSD: Vectors) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.argmin(_squared(vectors_nD, centres_RSD), axis=2)
    return found


def _squared(vectors_nD: Vectors, centres_RSD: Vectors) -> Array:
    """(R, n, S) squared distances."""
    num_runs, num_centres, width = centres_RSD.shape
    products = vectors_nD @ centres_RSD.reshape(-1, width).T
    products_RnS = products.reshape(len(vectors_nD), num_runs, num_centres).transpose(1, 0, 2)
    own = (vectors_nD**2).sum(axis=1)[None, :, None] + (centres_RSD**2).sum(axis=2)[:, None, :]
    squared: Array = np.maximum(own - 2 * products_RnS, 0)
    return squared


def agreement(clusters_Rn: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, tuple[float, Array]]:
    """The adjusted Rand index (Hubert & Arabie 1985) and the V-measure (Rosenberg & Hirschberg 2007) of clusters and
    senses, means over the runs, each with the influence of every sentence, (n,): n times what the figure loses without
    the sentence, the clusters being what they are.
    """
    n, num = len(labels), int(max(clusters_Rn.max(), labels.max())) + 1
    cells_Rn = clusters_Rn * num + labels
    table = np.array([np.bincount(row, minlength=num * num) for row in cells_Rn], dtype=np.float64)
    # Without a sentence of one cell: (R, cells, num, num), the same for all sentences of that cell.
    without = table[:, None, :] - np.eye(num * num)
    without = np.where(table[:, :, None] > 0, without, table[:, None, :]).reshape(len(table), num * num, num, num)
    found = {}
    for name, index in (("ari", adjusted_rand), ("v_measure", v_measure)):
        full = index(table.reshape(-1, num, num))
        lost = full[:, None] - index(without)
        found[name] = (float(full.mean()), n * np.take_along_axis(lost, cells_Rn, axis=1).mean(axis=0))
    return found


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
    n, num = len(labels), int(labels.max()) + 1
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
