"""Vectors in two or three dimensions: principal components, and t-SNE (van der Maaten & Hinton 2008).

Both are repeatable: t-SNE starts from the principal components, and their signs are settled by the points alone, so
that vectors that were only rotated give the same picture.
"""

# N points, D dimensions

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PERPLEXITY = 30.0
"""Of t-SNE: about how many neighbours count (van der Maaten & Hinton: typical values are 5 to 50)."""
LEAST_SPREAD = 1e-6
"""Coordinates that differ by less are equal: float32 vectors of length 1 do not tell more."""


class Principal(NamedTuple):
    """Points along the directions in which they differ most."""

    points: Array
    """(N, num); columns beyond what the points span are 0."""
    variance: Array
    """(num,) share of all variance that each column holds; 0 where the points do not differ."""


def principal(vectors: NDArray[np.floating], num: int = 3) -> Principal:
    """The first `num` principal coordinates of (N, D) vectors, N >= 1. The farthest point of each axis lies on its
    positive side.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    centred = wide - wide.mean(axis=0)
    found = Principal(np.zeros((len(wide), num)), np.zeros(num))
    if np.abs(centred).max(initial=0) <= LEAST_SPREAD:
        return found
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = (left * sizes)[:, :num]
    # Among ends that are equally far the first point decides, so that the last digit does not.
    lengths = np.abs(points)
    farthest = (lengths >= lengths.max(axis=0) * (1 - 1e-6)).argmax(axis=0)
    signs = np.where(points[farthest, np.arange(points.shape[1])] < 0, -1.0, 1.0)
    found.points[:, : points.shape[1]] = points * signs
    found.variance[: points.shape[1]] = (sizes**2 / (sizes**2).sum())[:num]
    return found


def project_pca(vectors: NDArray[np.floating]) -> Array:
    """The first two principal coordinates of (N, D) vectors: (N, 2), zeros where the vectors do not differ."""
    return principal(vectors, 2).points


def project_tsne(vectors: NDArray[np.floating], *, seed: int, perplexity: float = PERPLEXITY) -> Array:
    """t-SNE of (N, D) vectors from their PCA: (N, 2), zeros where they do not differ. Its forces are approximate
    (Barnes-Hut, van der Maaten 2014).

    Args:
        perplexity: at most this; a third of the other points where that is less, so that any number of points serves.
    """
    start = project_pca(vectors)
    spread = start[:, 0].std()
    if spread == 0:
        return start
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(
        2,
        perplexity=min(perplexity, (len(start) - 1) / 3),
        # As sklearn scales its own start from PCA; twins are parted by the seed alone.
        init=start / spread * 1e-4,
        random_state=seed,
    )
    # One thread: threads are opened anew a thousand times over. Beside another process on two cores, 50 points took
    # 44 s that way and 0.07 s in one thread, where the exact method took 0.13 s (1000 points: 2.3 s and 8.4 s).
    with threadpool_limits(1):
        points: Array = model.fit_transform(np.asarray(vectors, dtype=np.float64)).astype(np.float64)
    return points
