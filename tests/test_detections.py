"""Laws of detections: the figures that the logits themselves would give, from counts that add up."""

# N positions

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from torch import Tensor

from objectives.detections import FIGURES, GUESSED, HISTOGRAM_SIZE, NUM_BINS, ORIGINAL, REPLACED, figures, histogram

WIDTH = 0.02
"""Of a bin of logits, as 1,000 of them reach from -10 to 10."""

drawn_logits = st.lists(
    st.tuples(st.floats(width=32, allow_nan=False), st.sampled_from([ORIGINAL, GUESSED, REPLACED])), max_size=40
)


def _of(pairs: list[tuple[float, int]]) -> tuple[Tensor, Tensor]:
    logits, kinds = zip(*pairs, strict=True) if pairs else ((), ())
    return torch.tensor(logits), torch.tensor(kinds, dtype=torch.int64)


def _drawn(num: int, *, shift: float, spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (N,) of which those of replaced positions are larger by a shift on average, and kinds."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.multinomial(torch.tensor([0.85, 0.05, 0.10]), num, replacement=True, generator=generator)
    logits = torch.randn(num, generator=generator) * spread - 1.0 + shift * (kinds == REPLACED)
    return logits, kinds


@given(pairs=drawn_logits)
def test_precision_recall_and_replaced_ratio_are_those_of_the_logits(pairs: list[tuple[float, int]]) -> None:
    logits, kinds = _of(pairs)
    found, is_called, is_replaced = figures(histogram(logits, kinds)), logits >= 0, kinds == REPLACED
    assert set(found) <= {"replaced_ratio", *FIGURES}
    assert ("precision/discriminator" in found) == bool(is_called.any())
    assert ("recall/discriminator" in found) == bool(is_replaced.any())
    assert ("replaced_ratio" in found) == bool((kinds != ORIGINAL).any())
    assert ("auc/discriminator" in found) == (bool(is_replaced.any()) and not bool(is_replaced.all()))
    if is_called.any():
        expected = precision_score(is_replaced, is_called)
        assert found["precision/discriminator"] == pytest.approx(expected)
    if is_replaced.any():
        assert found["recall/discriminator"] == pytest.approx(recall_score(is_replaced, is_called))
    if (kinds != ORIGINAL).any():
        assert found["replaced_ratio"] == pytest.approx(float(is_replaced.sum() / (kinds != ORIGINAL).sum()))
    assert all(math.isfinite(value) and 0.0 <= value <= 1.0 for value in found.values())


@given(pairs=drawn_logits)
def test_the_histogram_counts_as_many_calls_right_as_the_sign_of_the_logits_makes(
    pairs: list[tuple[float, int]],
) -> None:
    logits, kinds = _of(pairs)
    counts = histogram(logits, kinds).view(3, NUM_BINS)
    half = NUM_BINS // 2
    right = counts[REPLACED, half:].sum() + counts[ORIGINAL, :half].sum() + counts[GUESSED, :half].sum()
    assert int(right) == int(((logits >= 0) == (kinds == REPLACED)).sum())


@pytest.mark.parametrize("shift", [-2.0, 0.0, 1.0, 4.0])
@pytest.mark.parametrize("spread", [0.1, 1.0, 2.0])
def test_the_area_is_that_of_the_logits_up_to_pairs_in_one_bin(shift: float, spread: float) -> None:
    logits, kinds = _drawn(5_000, shift=shift, spread=spread)
    is_replaced = (kinds == REPLACED).numpy()
    bins = np.floor(logits.numpy() / WIDTH)
    _, of_replaced = np.unique(bins[is_replaced], return_counts=True)
    in_one_bin = sum(
        int(count) * int((bins[~is_replaced] == bin).sum())
        for bin, count in zip(np.unique(bins[is_replaced]), of_replaced, strict=True)
    )
    pairs = is_replaced.sum() * (~is_replaced).sum()
    found = figures(histogram(logits, kinds))["auc/discriminator"]
    assert found == pytest.approx(roc_auc_score(is_replaced, logits), abs=0.5 * in_one_bin / pairs + 1e-9)
    assert in_one_bin / pairs < 0.12  # so the bound says something


@given(
    pairs=st.lists(
        st.tuples(st.integers(-NUM_BINS // 2, NUM_BINS // 2 - 1), st.sampled_from([ORIGINAL, GUESSED, REPLACED])),
        min_size=2,
        max_size=40,
    ).filter(lambda pairs: len({kind == REPLACED for _, kind in pairs}) == 2)
)
def test_the_area_is_exact_where_a_bin_holds_one_logit_ties_counted_half(pairs: list[tuple[int, int]]) -> None:
    logits, kinds = _of([((bin + 0.5) * WIDTH, kind) for bin, kind in pairs])
    found = figures(histogram(logits, kinds))["auc/discriminator"]
    assert found == pytest.approx(roc_auc_score(kinds == REPLACED, logits), abs=1e-12)


def test_the_figures_of_a_few_positions_are_those_counted_by_hand() -> None:
    logits, kinds = _of(
        [
            (-3.0, ORIGINAL),
            (-1.0, ORIGINAL),
            (0.0, ORIGINAL),  # called replaced
            (2.0, ORIGINAL),  # called replaced
            (-2.0, GUESSED),
            (-2.5, REPLACED),  # above one of five
            (1.0, REPLACED),  # above four of five
            (2.0, REPLACED),  # above four of five, and level with one
        ]
    )
    found = figures(histogram(logits, kinds))
    assert found == {
        "replaced_ratio": pytest.approx(3 / 4),
        "precision/discriminator": pytest.approx(2 / 4),
        "recall/discriminator": pytest.approx(2 / 3),
        "auc/discriminator": pytest.approx((1 + 4 + 4.5) / 15),
    }
    assert tuple(found) == ("replaced_ratio", *FIGURES)


def test_a_logit_of_zero_of_either_sign_is_called_replaced_and_the_next_below_is_not() -> None:
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    for logit, is_called in ((0.0, True), (-0.0, True), (smallest, True), (-smallest, False)):
        found = figures(histogram(torch.tensor([logit]), torch.tensor([REPLACED])))
        assert found["recall/discriminator"] == float(is_called) == float(torch.tensor(logit) >= 0)


def test_logits_beyond_the_bins_are_called_as_they_are() -> None:
    largest = float(torch.finfo(torch.float32).max)
    logits = torch.tensor([-math.inf, -largest, -10.1, 9.99, 10.0, largest, math.inf])
    counts = histogram(logits, torch.tensor([ORIGINAL] * 3 + [REPLACED] * 4))
    assert counts.view(3, NUM_BINS)[ORIGINAL, 0] == 3 and counts.view(3, NUM_BINS)[REPLACED, -1] == 4
    found = figures(counts)
    assert found["auc/discriminator"] == found["precision/discriminator"] == found["recall/discriminator"] == 1.0


def test_logits_that_are_no_numbers_are_counted_and_stop_nothing() -> None:
    counts = histogram(torch.tensor([math.nan, 1.0]), torch.tensor([ORIGINAL, REPLACED]))
    assert int(counts.sum()) == 2 and counts.view(3, NUM_BINS)[REPLACED].sum() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_histograms_of_parts_add_up_to_that_of_the_whole(dtype: torch.dtype) -> None:
    logits, kinds = _drawn(900, shift=1.0, spread=3.0)
    logits = logits.to(dtype)
    whole = histogram(logits, kinds)
    assert whole.shape == (HISTOGRAM_SIZE,) and whole.dtype == torch.int64 and int(whole.sum()) == 900
    parts = [
        histogram(logits[part], kinds[part]) for part in (slice(0, 1), slice(1, 1), slice(1, 640), slice(640, 900))
    ]
    assert torch.equal(torch.stack(parts).sum(dim=0), whole)


def test_nothing_is_told_of_nothing() -> None:
    assert figures(torch.zeros(HISTOGRAM_SIZE)) == {}


@pytest.mark.parametrize("logit", [-3.0, 3.0])
def test_where_nothing_was_masked_there_is_neither_recall_nor_area(logit: float) -> None:
    found = figures(histogram(torch.full((5,), logit), torch.full((5,), ORIGINAL)))
    assert found == ({"precision/discriminator": 0.0} if logit > 0 else {})
