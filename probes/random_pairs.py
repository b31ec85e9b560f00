"""Pairs drawn at random: what a cosine is compared with."""

import numpy as np
from numpy.typing import NDArray


def random_pairs(num_candidates: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(number, 2) indices of candidates, the two of a pair never the same; pairs are drawn with replacement.

    Args:
        num_candidates: at least 2.
        rng: the only source of randomness.
    """
    assert num_candidates > 1
    first = rng.integers(num_candidates, size=number)
    second = (first + rng.integers(1, num_candidates, size=number)) % num_candidates
    return np.stack([first, second], axis=1)
