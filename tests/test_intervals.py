"""Intervals by resampling: paired, stratified, and wide enough on simulated data."""

import numpy as np

from probes.intervals import resample_counts, weighted_mean


def even(n: int) -> np.ndarray:
    return np.full(n, 1 / n)


def test_every_resample_draws_each_stratum_in_full() -> None:
    strata = np.repeat([0, 1, 2], [5, 2, 9])
    counts = resample_counts(strata, rng=np.random.default_rng(0), num_resamples=50)
    for stratum, size in enumerate((5, 2, 9)):
        assert (counts[:, strata == stratum].sum(axis=1) == size).all()
    assert (counts > 1).any()


def test_intervals_of_independent_outcomes_hold_the_truth_at_their_rate() -> None:
    rng, n, num_draws = np.random.default_rng(1), 60, 400
    counts = resample_counts(np.zeros(n, dtype=np.int64), rng=rng)
    found = weighted_mean((rng.random((num_draws, n)) < 0.7).astype(float), weights=even(n), counts=counts)
    share = ((found.low <= 0.7) & (found.high >= 0.7)).mean()
    # 5 standard deviations of a binomial around 0.95, and 2 points for the percentile method at this n.
    assert abs(share - 0.95) < 5 * np.sqrt(0.95 * 0.05 / num_draws) + 0.02


def test_intervals_of_means_over_pairs_hold_the_truth_at_their_rate() -> None:
    """The mean of x_i + x_j over all pairs: each sentence's outcome shows half of what the mean deviates by."""
    rng, n, num_draws = np.random.default_rng(2), 40, 300
    counts = resample_counts(np.zeros(n, dtype=np.int64), rng=rng)
    x = rng.normal(size=(num_draws, n))
    outcomes = x + (x.sum(axis=1, keepdims=True) - x) / (n - 1)
    found = weighted_mean(outcomes, weights=even(n), counts=counts, is_pairwise=True)
    share = ((found.low <= 0) & (found.high >= 0)).mean()
    assert abs(share - 0.95) < 5 * np.sqrt(0.95 * 0.05 / num_draws) + 0.02


def test_an_unvarying_share_is_not_called_certain() -> None:
    counts = resample_counts(np.zeros(20, dtype=np.int64), rng=np.random.default_rng(0))
    found = weighted_mean(np.array([np.ones(20), np.zeros(20)]), weights=even(20), counts=counts, is_share=True)
    bound = 0.025 ** (1 / 20)
    np.testing.assert_allclose([found.low[0], found.high[0]], [bound, 1])
    np.testing.assert_allclose([found.low[1], found.high[1]], [0, 1 - bound])


def test_a_paired_difference_of_equals_is_zero_without_width() -> None:
    rng = np.random.default_rng(0)
    counts = resample_counts(np.zeros(20, dtype=np.int64), rng=rng)
    outcomes = rng.random((1, 20))
    found = weighted_mean(outcomes - outcomes, weights=even(20), counts=counts)
    assert (found.low[0], found.value[0], found.high[0]) == (0, 0, 0)


def test_sentences_of_weight_zero_do_not_count() -> None:
    strata = np.repeat([0, 1], 10)
    counts = resample_counts(strata, rng=np.random.default_rng(0))
    outcomes = np.concatenate([np.linspace(0, 1, 10), np.full(10, 99.0)])[None]
    found = weighted_mean(outcomes, weights=np.where(strata == 0, 0.1, 0.0), counts=counts)
    np.testing.assert_allclose(found.value, 0.5)
    assert found.high[0] < 1
