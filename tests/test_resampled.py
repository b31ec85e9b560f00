"""Differences of resampled figures: none is certain for want of draws, and those of shares keep their bounds."""

import numpy as np
import pytest

from probes.resampled import Resampled


def share(outcomes: np.ndarray, *, seed: int = 0) -> Resampled:
    """The mean of independent outcomes; the same seed draws the same resamples."""
    counts = np.random.default_rng(seed).multinomial(len(outcomes), np.full(len(outcomes), 1 / len(outcomes)), 1000)
    draws = counts @ outcomes / len(outcomes)
    return Resampled.share(float(outcomes.mean()), draws, len(outcomes), num_trials=len(outcomes))


EDGE = 0.025 ** (1 / 8)
"""The least share of which 8 of 8 are no surprise (Clopper & Pearson)."""


def test_a_share_of_all_or_none_has_the_exact_bound() -> None:
    np.testing.assert_allclose(share(np.ones(8)).interval(), (EDGE, 1))
    np.testing.assert_allclose(share(np.zeros(8)).interval(), (0, 1 - EDGE))


def test_all_minus_none_is_as_uncertain_as_both() -> None:
    found = share(np.ones(8)) - share(np.zeros(8))
    np.testing.assert_allclose([found.value, *found.interval()], [1, 1 - np.hypot(1 - EDGE, 1 - EDGE), 1])


def test_two_that_are_alike_differ_by_no_more_than_a_bound() -> None:
    some = np.arange(8) % 2.0
    for outcomes in (np.ones(8), some):
        found = share(outcomes) - share(outcomes)
        np.testing.assert_allclose([found.value, *found.interval()], [0, EDGE - 1, 1 - EDGE])


def test_a_difference_is_antisymmetric_and_inside_what_a_difference_can_be() -> None:
    rng = np.random.default_rng(1)
    kinds = [np.ones(8), np.zeros(8), *(rng.integers(2, size=8).astype(float) for _ in range(6))]
    for one in kinds:
        for other in kinds:
            found, back = share(one) - share(other), share(other) - share(one)
            np.testing.assert_allclose(found.interval(), [-end for end in reversed(back.interval())], atol=1e-9)
            low, high = found.interval()
            assert -1 <= low <= found.value <= high <= 1 and low < high


def test_a_difference_of_what_is_no_share_is_that_of_the_draws() -> None:
    one, other = Resampled(3.0, np.array([2.0, 3, 4]), 9), Resampled(1.0, np.ones(3), 4)
    found = one - other
    np.testing.assert_allclose([found.value, *found.interval()], [2, 1.05, 2.95])
    assert found.n == 4 and (one - one).interval() == (0, 0)


@pytest.mark.parametrize("right", [0.97, 0.9, 0.5])
def test_intervals_of_differences_hold_the_truth_at_their_rate(right: float) -> None:
    """20 trials; one model is right at this rate, the other where the first is and a coin is heads as well."""
    rng, num_draws, held = np.random.default_rng(2), 300, 0
    for number in range(num_draws):
        one = (rng.random(20) < right).astype(float)
        other = one * (rng.random(20) < 0.95)
        low, high = (share(one, seed=number) - share(other, seed=number)).interval()
        held += low <= right * 0.05 <= high
    assert held / num_draws > 0.9, held / num_draws
