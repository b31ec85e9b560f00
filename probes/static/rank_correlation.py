"""Spearman's rank correlation over pairs of words, with an interval that knows which pairs share a word.

999 pairs of SimLex have about as many words, 66 pairs may have 12: two pairs with a common word are not independent,
so drawing pairs anew claims too much, and drawing words anew far too little where pairs seldom share one. So the
variance is the sum over all couples of pairs that share a word (a pair with itself among them) of the product of their
influences (Fafchamps & Gubert 2007; Aronow, Samii & Assenova 2015, "Cluster-robust variance estimation for dyadic
data"), the influence of a pair being what leaving it out does (the jackknife's). Where that sum is smaller than the one
for independent pairs, as chance makes it, that one stands.
"""

# N pairs, W words, M models

from collections.abc import Sequence

import numpy as np

from probes.intervals import CONFIDENCE, Array

FEWEST_PAIRS = 3
PART = 200
"""Pairs that are left out, each by itself, at once."""


def spearman(cosines_N: Array, judged_N: Array) -> float | None:
    """Spearman's rho with midranks for ties; None where a side has fewer than 3 values or a single one."""
    from scipy.stats import spearmanr

    if len(cosines_N) < FEWEST_PAIRS or np.ptp(cosines_N) == 0 or np.ptp(judged_N) == 0:
        return None
    return float(spearmanr(cosines_N, judged_N).statistic)


def influences(cosines_MN: Array, judged_N: Array) -> Array:
    """What each pair does to rho, (M, N): (N - 1) (rho - rho without it); 0 where nothing varies without it."""
    num_pairs = len(judged_N)
    every = np.arange(num_pairs)
    found = np.zeros((len(cosines_MN), num_pairs))
    rhos_M1 = _correlations(cosines_MN[:, None], judged_N[None])
    for begin in range(0, num_pairs, PART):
        left_out = every[begin : begin + PART]
        kept = np.array([np.delete(every, one) for one in left_out])
        without_MP = _correlations(cosines_MN[:, kept], judged_N[kept])
        found[:, left_out] = (num_pairs - 1) * (rhos_M1 - np.where(np.isnan(without_MP), rhos_M1, without_MP))
    return found


def interval(value: float, influence_N: Array, pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """The 95 % interval of a rho, in Fisher's z, so that it stays within -1 and 1.

    Args:
        value: rho.
        influence_N: of each pair, from influences.
        pairs: the words of each, folded.
    """
    if abs(value) >= 1 - 1e-12:
        return value, value
    half = _half_width(influence_N, pairs) / (1 - value**2)
    centre = np.arctanh(value)
    return min(float(np.tanh(centre - half)), value), max(float(np.tanh(centre + half)), value)


def difference_interval(value: float, influence_N: Array, pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """The same of a difference of two rhos of the same pairs, whose influences are the differences of theirs."""
    half = _half_width(influence_N, pairs)
    return max(-2.0, value - half), min(2.0, value + half)


def _half_width(influence_N: Array, pairs: Sequence[tuple[str, str]]) -> float:
    from scipy.sparse import csr_array
    from scipy.stats import t

    numbers: dict[str, int] = {}
    words = [numbers.setdefault(word, len(numbers)) for pair in pairs for word in pair]
    holds_NW = csr_array((np.ones(len(words)), (np.repeat(np.arange(len(pairs)), 2), words)))
    own = influence_N - influence_N.mean()
    shares_NN = (holds_NW @ holds_NW.T > 0).astype(np.float64)
    variance = max(float(own @ (shares_NN @ own)), float(own @ own)) / len(pairs) ** 2
    # As many independent things as there are words, or pairs where these are fewer; a correlation takes two of them.
    free = max(min(len(numbers), len(pairs)) - 2, 1)
    return float(t.ppf((1 + CONFIDENCE) / 2, free) * np.sqrt(variance * (free + 2) / free))


def _correlations(cosines_MPN: Array, judged_PN: Array) -> Array:
    """Rho of each model and row, (M, P); NaN where a side does not vary."""
    judged_PN = _centred_ranks(judged_PN)
    found = np.full(cosines_MPN.shape[:2], np.nan)
    for row, cosines_PN in enumerate(cosines_MPN):
        ranks_PN = _centred_ranks(cosines_PN)
        sizes_P = np.sqrt((ranks_PN**2).sum(axis=1) * (judged_PN**2).sum(axis=1))
        np.divide((ranks_PN * judged_PN).sum(axis=1), sizes_P, out=found[row], where=sizes_P > 0)
    return found


def _centred_ranks(values_PN: Array) -> Array:
    from scipy.stats import rankdata

    ranks: Array = rankdata(values_PN, axis=1)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))
