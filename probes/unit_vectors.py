"""Vectors scaled to length 1, whose products are cosines."""

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array


def unit(vectors: NDArray[np.floating]) -> Array:
    """Vectors (..., D) scaled to length 1, float64; a vector of zeros stays one, and has cosine 0 to all."""
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    scaled: Array = wide / np.where(lengths == 0, 1, lengths)
    return scaled
