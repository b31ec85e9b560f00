"""Laws of drawing tokens: the softmax at every temperature, the argmax at none, from one given number a position."""

# M positions, V vocabulary

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from objectives.draws import Key, uniforms
from objectives.sampling import sample_tokens

BELOW_ONE = 1.0 - 2.0**-53
"""The largest number that noise can be."""


def _noise(num: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(uniforms(Key(seed, 0, "the tests"), np.arange(num)))


def _logits(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_come_as_often_as_the_softmax_at_that_temperature_says(temperature: float, seed: int) -> None:
    num, logits = 40_000, _logits(20, seed=seed, spread=1.0)
    drawn = sample_tokens(logits.expand(num, -1), _noise(num, seed), temperature=temperature)
    counts = torch.bincount(drawn, minlength=20).numpy()

    def p_value(other: float) -> float:
        return float(stats.chisquare(counts, num * (logits.double() / other).softmax(dim=0).numpy()).pvalue)

    assert p_value(temperature) > 1e-3
    assert p_value(1.25 * temperature) < 1e-9  # the test would tell


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-300])
def test_towards_temperature_zero_the_draw_is_the_argmax(temperature: float) -> None:
    logits = _logits(400, 50)
    assert torch.equal(sample_tokens(logits, _noise(400), temperature=temperature), logits.argmax(dim=-1))


@given(
    rows=st.lists(
        st.lists(st.sampled_from([-math.inf, -300.0, -1.0, 0.0, 2.5, 80.0, 3e38]), min_size=6, max_size=6).filter(
            lambda row: max(row) > -math.inf
        ),
        min_size=1,
        max_size=5,
    ),
    noise=st.sampled_from([0.0, 2.0**-53, 0.3, 0.5, BELOW_ONE - 2.0**-53, BELOW_ONE]),
    temperature=st.sampled_from([1e-3, 0.5, 1.0, 7.0]),
)
def test_a_word_of_no_probability_is_never_drawn(rows: list[list[float]], noise: float, temperature: float) -> None:
    logits = torch.tensor(rows)
    drawn = sample_tokens(logits, torch.full((len(rows),), noise, dtype=torch.float64), temperature=temperature)
    probability = ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).exp()
    assert (probability.gather(1, drawn[:, None]) > 0).all()


def test_the_first_and_the_last_word_that_can_be_drawn_are_those_of_the_ends() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 1.0, -math.inf]] * 2)
    noise = torch.tensor([0.0, BELOW_ONE], dtype=torch.float64)
    assert sample_tokens(logits, noise, temperature=1.0).tolist() == [1, 3]


@given(noise=st.floats(0.0, BELOW_ONE), temperature=st.sampled_from([0.5, 1.0, 2.0]), seed=st.integers(0, 20))
def test_the_word_drawn_is_the_one_whose_stretch_holds_the_number(noise: float, temperature: float, seed: int) -> None:
    logits = _logits(1, 30, seed=seed)
    (drawn,) = sample_tokens(logits, torch.tensor([noise], dtype=torch.float64), temperature=temperature).tolist()
    ends = (logits[0].double() / temperature).softmax(dim=0).cumsum(dim=0)
    assert (ends[drawn - 1] if drawn else 0.0) - 1e-6 <= noise <= ends[drawn] + 1e-6


@pytest.mark.parametrize("num_words", [30_522, 250_112])
def test_in_a_large_vocabulary_rare_words_keep_their_stretches(num_words: int) -> None:
    logits, noise = torch.full((40, num_words), -12.0), _noise(40)
    logits[:, 0] = 0.0  # where sums in float32 would lose what the many small ones add up to
    logits[:, 1:] += _logits(num_words - 1, spread=0.1)
    drawn = sample_tokens(logits, noise, temperature=1.0)
    ends = logits[0].double().softmax(dim=0).cumsum(dim=0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    assert len(drawn.unique()) > 3
    assert (starts[drawn] - 1e-7 <= noise).all() and (noise <= ends[drawn] + 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_drawn_from_as_what_they_stand_for(dtype: torch.dtype) -> None:
    logits, noise = _logits(300, 40).to(dtype), _noise(300)
    exact = sample_tokens(logits.float(), noise, temperature=0.7)
    assert torch.equal(sample_tokens(logits, noise, temperature=0.7), exact)


@pytest.mark.parametrize("num", [1, 255, 256, 257, 700])
def test_a_draw_depends_on_its_own_logits_and_number_alone(num: int) -> None:
    logits, noise = _logits(num, 37), _noise(num)
    whole = sample_tokens(logits, noise, temperature=1.0)
    order = torch.from_numpy(np.random.default_rng(0).permutation(num))
    assert torch.equal(sample_tokens(logits[order], noise[order], temperature=1.0), whole[order])
    for i in range(0, num, 50):
        assert torch.equal(sample_tokens(logits[i : i + 1], noise[i : i + 1], temperature=1.0), whole[i : i + 1])
    assert num == 1 or not torch.equal(sample_tokens(logits, _noise(num, seed=1), temperature=1.0), whole)


def test_nothing_is_drawn_where_there_is_no_position() -> None:
    drawn = sample_tokens(torch.empty(0, 9), torch.empty(0, dtype=torch.float64), temperature=1.0)
    assert drawn.shape == (0,) and drawn.dtype == torch.int64


def test_a_draw_has_no_gradient() -> None:
    drawn = sample_tokens(_logits(3, 9).requires_grad_(), _noise(3), temperature=1.0)
    assert drawn.dtype == torch.int64 and not drawn.requires_grad


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_logits_that_are_no_numbers_give_a_word_of_the_vocabulary(broken: float) -> None:
    logits = _logits(8, 9)
    logits[::2, 4] = broken
    drawn = sample_tokens(logits, _noise(8), temperature=1.0)
    assert ((drawn >= 0) & (drawn < 9)).all()
    assert torch.equal(drawn[1::2], sample_tokens(logits[1::2], _noise(8)[1::2], temperature=1.0))
