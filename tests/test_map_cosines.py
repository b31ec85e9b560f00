"""Mean cosines over pairs, and their intervals."""

from itertools import combinations

import numpy as np
import pytest

from probes.mapping.cosines import PairMean, cosine_matrix, difference, pair_mean, z_scored


def apart(n: int) -> np.ndarray:
    return ~np.eye(n, dtype=bool)


def test_cosines_of_every_two_are_those_computed_by_hand() -> None:
    found = cosine_matrix(np.array([[1.0, 0], [2, 2], [0, 0]]))
    half = np.sqrt(0.5)
    assert np.allclose(found, [[1, half, 0], [half, 1, 0], [0, 0, 0]])


def test_z_scored_vectors_have_mean_0_and_deviation_1_and_are_0_where_nothing_varies() -> None:
    vectors = np.array([[1.0, 5, 0.1], [3, 5, 0.1], [5, 5, 0.1]], dtype=np.float32)
    found = z_scored(vectors, vectors)
    assert np.allclose(found, [[-np.sqrt(1.5), 0, 0], [0, 0, 0], [np.sqrt(1.5), 0, 0]])
    assert np.allclose(z_scored(vectors[:1] + np.array([2, 9, 9]), vectors), [[0, 0, 0]])


def brute_force(cosines: np.ndarray, pairs: np.ndarray, kept: list[int]) -> float:
    return float(np.mean([cosines[i, j] for i, j in combinations(kept, 2) if pairs[i, j]]))


def test_a_mean_and_all_that_leave_a_unit_out_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    cosines = cosine_matrix(rng.normal(size=(9, 4)))
    units = np.array([0, 0, 1, 1, 1, 3, 3, 4, 4])
    pairs = units[:, None] != units[None, :]
    found = pair_mean(cosines, pairs, units, 6)
    assert found is not None and found.n == 4
    assert found.value == pytest.approx(brute_force(cosines, pairs, list(range(9))))
    for unit in range(6):
        kept = [row for row in range(9) if units[row] != unit]
        assert found.left_out[unit] == pytest.approx(brute_force(cosines, pairs, kept))
    assert found.has_part.tolist() == [True, True, False, True, True, False]


def test_without_a_pair_there_is_no_mean() -> None:
    assert pair_mean(np.ones((3, 3)), np.zeros((3, 3), dtype=bool), np.arange(3), 3) is None


def test_two_units_tell_nothing_of_others() -> None:
    found = pair_mean(np.full((2, 2), 0.3), apart(2), np.arange(2), 2)
    assert found is not None and (found.value, found.low, found.high) == (0.3, -1.0, 1.0)


def test_equal_cosines_have_an_interval_of_no_width() -> None:
    found = pair_mean(np.full((5, 5), 0.3), apart(5), np.arange(5), 5)
    assert found is not None and found.low == pytest.approx(0.3) == pytest.approx(found.high)
    assert found.low <= found.value <= found.high


def test_the_difference_of_a_mean_to_itself_is_nothing() -> None:
    found = pair_mean(cosine_matrix(np.random.default_rng(0).normal(size=(6, 3))), apart(6), np.arange(6), 6)
    assert found is not None
    same = difference(found, found)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def draw(rng: np.random.Generator, n: int) -> PairMean:
    vectors = rng.normal([1, 0, 0, 0, 0], size=(n, 5))
    found = pair_mean(cosine_matrix(vectors), apart(n), np.arange(n), n)
    assert found is not None
    return found


@pytest.mark.parametrize("n", [4, 8, 30])
def test_intervals_cover_the_truth_at_their_rate(n: int) -> None:
    rng = np.random.default_rng(0)
    truth = draw(rng, 2000).value
    draws = [draw(rng, n) for _ in range(500)]
    covered = np.mean([one.low <= truth <= one.high for one in draws])
    # Three standard errors of a share of 0.95 among 500 are 0.03.
    assert 0.92 <= covered <= 0.99
