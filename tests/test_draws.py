"""Laws of the keyed draws: a number depends on its key and counters alone, and looks random in every one of them."""

import itertools

import numpy as np
import pytest
from scipy import stats

from objectives.draws import Key, permutation, uniforms

KEYS = [Key(0, 0, "a"), Key(1, 0, "a"), Key(0, 1, "a"), Key(0, 0, "b"), Key(2**40, 3, "masking.position")]
PAIRS_OF_KEYS = list(itertools.combinations(KEYS, 2))
SMALLEST_P = 1e-4  # the draws are fixed, so a test that passes once passes always
NUM_DRAWS = 40_000


def _split_mix_64(state: int, count: int) -> list[int]:
    """SplitMix64 as published, in whole numbers of any size."""
    word, numbers = (1 << 64) - 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & word
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & word
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & word
        numbers.append(mixed ^ (mixed >> 31))
    return numbers


def test_counting_up_gives_the_stream_of_split_mix_64() -> None:
    assert _split_mix_64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for key in KEYS:
        expected = [number / 2**64 for number in _split_mix_64(int(key.word()), 50)]
        np.testing.assert_allclose(uniforms(key, np.arange(50)), expected, atol=2.0**-52, rtol=0)


@pytest.mark.parametrize("key", KEYS)
def test_a_draw_does_not_depend_on_the_order_or_shape_of_asking(key: Key) -> None:
    rows, columns = np.arange(30), np.arange(20)
    table = uniforms(key, rows[:, None], columns[None, :])
    assert table.shape == (30, 20)
    shuffled = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(uniforms(key, rows[shuffled][:, None], columns[None, ::-1]), table[shuffled][:, ::-1])
    row, column = np.divmod(np.arange(600), 20)
    np.testing.assert_array_equal(uniforms(key, row, column), table.reshape(-1))
    for i, j in ((0, 0), (7, 19), (29, 3)):
        assert uniforms(key, i, j) == table[i, j]
    np.testing.assert_array_equal(uniforms(key, rows.astype(np.uint16)), uniforms(key, rows))


def test_a_draw_of_a_single_number_is_quiet_under_every_key() -> None:
    draws = [float(uniforms(Key(seed, 0, "packed.offset"), 0)) for seed in range(200)]
    assert len(set(draws)) == 200


@pytest.mark.parametrize("key", KEYS)
def test_draws_are_uniform(key: Key) -> None:
    for draws in (
        uniforms(key, np.arange(NUM_DRAWS)),
        uniforms(key, np.arange(200)[:, None], np.arange(200)[None, :]).reshape(-1),
        uniforms(key, np.arange(NUM_DRAWS), 5),
        uniforms(key, 5, np.arange(NUM_DRAWS) * 128),
    ):
        assert draws.min() >= 0.0
        assert draws.max() < 1.0
        assert stats.kstest(draws, "uniform").pvalue > SMALLEST_P
        low_bits = (draws * 2.0**53).astype(np.uint64) % np.uint64(64)
        assert stats.chisquare(np.bincount(low_bits.astype(np.int64), minlength=64)).pvalue > SMALLEST_P


def test_neighbouring_counters_are_unrelated() -> None:
    draws = uniforms(KEYS[0], np.arange(400)[:, None], np.arange(400)[None, :])
    for first, second in ((draws[:, :-1], draws[:, 1:]), (draws[:-1], draws[1:]), (draws, draws.T)):
        off_diagonal = first.reshape(-1) != second.reshape(-1)
        _assert_unrelated(first.reshape(-1)[off_diagonal], second.reshape(-1)[off_diagonal])


@pytest.mark.parametrize(("first", "second"), PAIRS_OF_KEYS)
def test_keys_that_differ_in_a_field_give_unrelated_draws(first: Key, second: Key) -> None:
    numbers = np.arange(NUM_DRAWS)
    for shift in (0, 1, 2):
        _assert_unrelated(uniforms(first, numbers), uniforms(second, numbers + shift))


def test_no_two_of_many_keys_share_a_stream() -> None:
    keys = [Key(seed, epoch, purpose) for seed in range(30) for epoch in range(30) for purpose in ("a", "b", "masking")]
    assert len({int(key.word()) for key in keys}) == len(keys)
    assert len(np.unique([uniforms(key, np.arange(40)) for key in keys])) == 40 * len(keys)


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
@pytest.mark.parametrize("key", KEYS)
def test_a_permutation_holds_every_number_once_and_is_the_same_again(key: Key, size: int) -> None:
    order = permutation(key, size)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(size))
    np.testing.assert_array_equal(order, permutation(key, size))


@pytest.mark.parametrize(("first", "second"), PAIRS_OF_KEYS)
def test_permutations_of_different_keys_are_unrelated(first: Key, second: Key) -> None:
    _assert_unrelated(permutation(first, NUM_DRAWS), permutation(second, NUM_DRAWS))


def test_every_permutation_is_as_likely() -> None:
    counts = np.zeros(24)
    orders = list(itertools.permutations(range(4)))
    for epoch in range(4800):
        counts[orders.index(tuple(permutation(Key(0, epoch, "order"), 4).tolist()))] += 1
    assert stats.chisquare(counts).pvalue > SMALLEST_P


def _assert_unrelated(first: np.ndarray, second: np.ndarray) -> None:
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(first))
