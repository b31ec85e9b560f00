"""Mean cosines over pairs of vectors, with intervals that know that pairs share their ends.

The interval is a delete-one jackknife with Student's t (Efron & Tibshirani 1993, chapter 11): each unit (a sentence, a
text) is left out in turn with all pairs that it has a part in. It covers other units of the same kind.
"""

# N vectors, D dimensions, U units

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.intervals import CONFIDENCE, Array
from probes.unit_vectors import unit

Pairs = NDArray[np.bool_]
"""(N, N) symmetric: which pairs count."""


@dataclass(frozen=True)
class PairMean:
    """A mean over pairs with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Units that have a part in a pair."""
    left_out: Array
    """(U,) the mean without each unit; the mean itself for units that have no part, nan where no pair would remain."""
    has_part: NDArray[np.bool_]
    """(U,)"""


def cosine_matrix(vectors: NDArray[np.floating]) -> Array:
    """(N, N) float64 cosines of every two; a vector of zeros has cosine 0 to all, itself too."""
    scaled = unit(vectors)
    cosines: Array = scaled @ scaled.T
    return cosines


def z_scored(vectors: NDArray[np.floating], reference: NDArray[np.floating]) -> Array:
    """(N, D) float64, every dimension less the mean of the reference and over its deviation; 0 where that is none.

    Few dimensions dominate the cosines of many encoders; so they count like the others (Timkey & van Schijndel 2021).
    """
    known = np.asarray(reference, dtype=np.float64)
    deviations = known.std(axis=0)
    varies = deviations > 1e-6 * np.abs(known).max(initial=0)
    scaled: Array = np.where(varies, vectors - known.mean(axis=0), 0.0) / np.where(varies, deviations, 1.0)
    return scaled


def pair_mean(cosines: Array, pairs: Pairs, units: NDArray[np.int64], num_units: int) -> PairMean | None:
    """The mean of the cosines over the pairs; None: there is none.

    Args:
        cosines: (N, N).
        pairs: which count, the diagonal never.
        units: (N,) number of the unit that each vector belongs to, from 0 to num_units - 1.

    Returns:
        Where leaving a unit out leaves no pair (two sentences), nothing is known of other units, and the interval is
        -1 to 1, all that a cosine can be.
    """
    if not pairs.any():
        return None
    inside = units[:, None] == units[None, :]

    def without(matrix: Array) -> Array:
        """(U,) sums over the pairs that a unit has no part in."""
        rows = np.bincount(units, matrix.sum(axis=1), num_units)
        own = np.bincount(units, (matrix * inside).sum(axis=1), num_units)
        remaining: Array = matrix.sum() - 2 * rows + own
        return remaining

    totals, counts = np.where(pairs, cosines, 0.0), pairs.astype(np.float64)
    value = float(totals.sum() / counts.sum())
    has_part = np.bincount(units, counts.sum(axis=1), num_units) > 0
    left = without(counts)
    left_out = np.where(left > 0, without(totals) / np.maximum(left, 1), np.nan)
    left_out = np.where(has_part, left_out, value)
    low, high = _interval(value, left_out[has_part], widest=1.0)
    return PairMean(value, low, high, int(has_part.sum()), left_out, has_part)


def difference(one: PairMean, other: PairMean) -> PairMean:
    """One mean minus another over the same units, paired: -2 to 2 where nothing is known of other units."""
    left_out = one.left_out - other.left_out
    has_part = one.has_part | other.has_part
    value = one.value - other.value
    low, high = _interval(value, left_out[has_part], widest=2.0)
    return PairMean(value, low, high, int(has_part.sum()), left_out, has_part)


def _interval(value: float, left_out: Array, *, widest: float) -> tuple[float, float]:
    from scipy.special import stdtrit

    n = len(left_out)
    if n < 2 or np.isnan(left_out).any():
        return -widest, widest
    deviation = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation
    # The last digit of equal cosines moves; an interval never excludes its value.
    return min(value, max(value - half, -widest)), max(value, min(value + half, widest))
