"""Intervals by resampling: paired, stratified, and wide enough on simulated data."""

import numpy as np

from probes.intervals import deviations, group_interval, resample_counts, share_interval, weighted_mean


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


def test_deviations_have_the_variance_of_the_mean_even_of_few_sentences() -> None:
    rng, strata = np.random.default_rng(3), np.repeat([0, 1], [4, 7])
    counts = resample_counts(strata, rng=rng, num_resamples=20000)
    outcomes = rng.normal(size=11)
    moved = deviations(outcomes, counts=counts, strata=strata)
    expected = sum(outcomes[strata == s].var(ddof=1) * (strata == s).sum() for s in (0, 1)) / 11**2
    assert abs(moved.var() / expected - 1) < 5 * np.sqrt(2 / 20000) + 0.02
    assert (deviations(np.ones(11) * 0.1, counts=counts, strata=strata) == 0).all()


def test_the_interval_of_a_share_is_wilsons_where_outcomes_are_independent() -> None:
    # 10 of 40 by the formula: (0.25 + z2 / 80 -+ z sqrt(0.25 0.75 / 40 + z2 / 6400)) / (1 + z2 / 40).
    deviation = np.array([-1.0, 1.0])[None] * np.sqrt(0.25 * 0.75 / 40)
    found = share_interval(np.array([0.25]), deviation, 40, is_count=True)
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.1419, 0.4019], atol=1e-4)
    fixed = share_interval(np.array([0.4]), np.zeros((1, 5)), 40, is_count=True)
    assert fixed.low == fixed.high == 0.4
    certain = share_interval(np.array([0.0, 1.0]), np.zeros((2, 5)), 48, is_count=True)
    np.testing.assert_allclose(certain.low, [0, 0.9259], atol=1e-4)
    np.testing.assert_allclose(certain.high, [0.0741, 1], atol=1e-4)


def test_intervals_over_few_groups_hold_the_truth_at_their_rate() -> None:
    rng, num_draws = np.random.default_rng(4), 600
    for num_words in (5, 12):
        counts = resample_counts(np.zeros(num_words, dtype=np.int64), rng=rng)
        found = group_interval(rng.normal(size=(num_words, num_draws)), counts_RW=counts)
        held = ((found.low <= 0) & (found.high >= 0)).mean()
        assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / num_draws) + 0.01, num_words
