"""Cosines of one vector to very many, the nearest and the farthest of them, and what random pairs of them have."""

# V candidates, S random pairs, D dimensions

from dataclasses import dataclass

import numpy as np

from probes.intervals import NORMAL_QUANTILE, Array
from probes.source import Vectors
from probes.unit_vectors import unit
from probes.vocabulary import ROWS_AT_ONCE

NUM_RANDOM_PAIRS = 1000


@dataclass(frozen=True)
class RandomPairs:
    """Cosines of pairs of candidates drawn at random: how near any two of them are."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, cosines: Array) -> "RandomPairs":
        return cls(float(cosines.mean()), float(cosines.std(ddof=1)) if len(cosines) > 1 else 0.0, len(cosines))

    def z(self, cosine: float) -> float | None:
        """How many standard deviations a cosine is above that of random pairs; None where these do not differ."""
        return (cosine - self.mean) / self.sd if self.sd > 1e-9 else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean."""
        half = NORMAL_QUANTILE * self.sd / self.n**0.5
        return self.mean - half, self.mean + half


def cosines_to(query_D: Vectors, candidates_VD: Vectors) -> Array:
    """(V,) float64 cosines of the query to each candidate; a vector of zeros has cosine 0 to all."""
    cosines = np.empty(len(candidates_VD))
    query = unit(query_D[None])[0]
    for first in range(0, len(candidates_VD), ROWS_AT_ONCE):
        block = slice(first, first + ROWS_AT_ONCE)
        cosines[block] = unit(candidates_VD[block]) @ query
    return cosines


def paired_cosines(ones_SD: Vectors, others_SD: Vectors) -> Array:
    """(S,) float64 cosines, row by row."""
    cosines: Array = (unit(ones_SD) * unit(others_SD)).sum(axis=1)
    return cosines


def nearest(cosines: Array, top: int) -> list[int]:
    """Indices of the greatest cosines, the first of equals first."""
    return [int(index) for index in np.argsort(-cosines, kind="stable")[:top]]


def farthest(cosines: Array, top: int) -> list[int]:
    """Indices of the least cosines, the first of equals first."""
    return [int(index) for index in np.argsort(cosines, kind="stable")[:top]]
