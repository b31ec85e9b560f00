"""The largest of several correlated t statistics: what simultaneous intervals and adjusted p values rest on.

Dunnett 1955 (two-sided, against a control) and Hsu 1984 (one-sided, against the best) take it for contrasts of equal
correlation; here it is the contrasts' own correlation, so cells may be missing (Hothorn, Bretz & Westfall 2008,
section 3). The normal numerators are the 2^16 scrambled points of a Sobol sequence with one fixed seed, the
denominator is integrated exactly. Quantiles came within 0.05 % of those by quadrature (equal correlations, 2 to 7
contrasts, 2 to 28 degrees of freedom), and are the same bit for bit each time.
"""

# K contrasts, P points, Q quantiles

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Array = NDArray[np.float64]

_LOG2_POINTS = 16
_POINTS_AT_ONCE = 32
"""Neighbours among the sorted points that stand as their mean; the tail is smooth in them."""
_SEED = 0


def quantile(correlation_KK: Array, *, df: int, confidence: float, is_two_sided: bool) -> float:
    """What the largest of K t statistics, or of their absolute values, stays below with this confidence."""
    return _quantile(_key(correlation_KK), df, confidence, is_two_sided)


def tail(t: float, correlation_KK: Array, *, df: int, is_two_sided: bool) -> float:
    """How probable it is that the largest of K t statistics is at least `t`, which is above 0 for one side."""
    return _tail(t, _key(correlation_KK), df, is_two_sided)


def _key(correlation_KK: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.round(correlation_KK, 12).tolist())


@functools.lru_cache(maxsize=256)
def _quantile(correlation: tuple[tuple[float, ...], ...], df: int, confidence: float, is_two_sided: bool) -> float:
    beyond = (1 - confidence) / (2 if is_two_sided else 1)
    alone = float(stats.t.isf(beyond, df))
    if len(correlation) == 1:
        return alone
    # It lies between that of one statistic and Bonferroni's.
    most = float(stats.t.isf(beyond / len(correlation), df))
    found = optimize.brentq(
        lambda t: _tail(t, correlation, df, is_two_sided) - (1 - confidence), 0.98 * alone, 1.02 * most, xtol=1e-9
    )
    return float(found)


def _tail(t: float, correlation: tuple[tuple[float, ...], ...], df: int, is_two_sided: bool) -> float:
    if len(correlation) == 1:
        return float((2 if is_two_sided else 1) * stats.t.sf(abs(t) if is_two_sided else t, df))
    largest_Q = _largest_normals(correlation, is_two_sided)
    # Largest normal / sqrt(chi2 / df) >= t for every chi2 up to df (largest / t)^2.
    with np.errstate(divide="ignore", over="ignore"):
        bounds_Q = df * (np.maximum(largest_Q, 0) / np.float64(abs(t))) ** 2
    return float(np.mean(special.chdtr(df, bounds_Q)))


@functools.lru_cache(maxsize=64)
def _largest_normals(correlation: tuple[tuple[float, ...], ...], is_two_sided: bool) -> Array:
    """(Q,) the largest of K correlated standard normals, from the least to the most."""
    points_PK = stats.qmc.Sobol(len(correlation), scramble=True, rng=np.random.default_rng(_SEED)).random_base2(
        _LOG2_POINTS
    )
    # Eigenvectors and not Cholesky's factor: a correlation that rounding has made singular is still one.
    values_K, vectors_KK = np.linalg.eigh(np.asarray(correlation))
    root_KK = vectors_KK * np.sqrt(np.maximum(values_K, 0))
    normals_PK = special.ndtri(np.clip(points_PK, 1e-12, 1 - 1e-12)) @ root_KK.T
    largest_P = np.sort((np.abs(normals_PK) if is_two_sided else normals_PK).max(axis=1))
    return np.asarray(largest_P.reshape(-1, _POINTS_AT_ONCE).mean(axis=1))
