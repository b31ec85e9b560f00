"""Laws of how many targets a row has, and readings of the published rules to hold them against."""

# B rows, L tokens per row

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from objectives.masking import ElectraReferenceMasking, TokenMasking
from tests.maskings import COUNTED, FAMILIES, Ids, mask, packed_rows, plain_rows, policy, targets, words_of
from tokenization.vocabulary import Vocabulary

SIGMAS = 5.0
SMALLEST_P = 1e-4
NUMBERS = ["exact", "bernoulli", "reference_bert", "reference_electra"]
COUNTS: list[tuple[str, dict[str, Any]]] = [(name, {"count": count}) for name in COUNTED for count in NUMBERS]
COUNTS.append(("electra_reference", {}))
LIMITED = [(name, {**count, "max_predictions": 3}) for name, count in COUNTS if count]

every_counted_masking = pytest.mark.parametrize("name", COUNTED)
every_count = pytest.mark.parametrize(("name", "count"), COUNTS, ids=str)


# Every count ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [*COUNTS, *LIMITED], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mlm_probability", [1e-6, 0.15, 1.0])
def test_special_tokens_are_never_targets_and_every_row_that_can_has_one_and_none_more_than_allowed(
    name: str, count: dict[str, Any], family: str, mlm_probability: float
) -> None:
    vocabulary = FAMILIES[family]
    rows = packed_rows(vocabulary, 200, length=40)
    rows[7] = vocabulary.unk_id
    masked = mask(policy(name, mlm_probability=mlm_probability, **count), rows, vocabulary)
    is_target, maskable = targets(masked), ~vocabulary.is_special[rows]
    assert not is_target[~maskable].any()
    np.testing.assert_array_equal(is_target.any(axis=1), maskable.any(axis=1))
    np.testing.assert_array_equal(masked.input_ids[~is_target], rows[~is_target])
    replaced = masked.input_ids[is_target]
    assert not vocabulary.is_special[replaced[replaced != vocabulary.mask_id]].any()
    if "max_predictions" in count:
        assert is_target.sum(axis=1).max() == count["max_predictions"] or mlm_probability < 0.1


@every_count
def test_a_mask_is_a_function_of_seed_epoch_index_and_share_alone(name: str, count: dict[str, Any]) -> None:
    vocabulary = FAMILIES["BPE"]
    rows = packed_rows(vocabulary, 80)
    schedule = {"schedule": "linear", "start": 0.5, "end": 0.1}
    chosen = policy(name, mlm_probability=schedule, **count)
    whole = mask(chosen, rows, vocabulary, seed=4, epoch=2, share=0.3)
    draw = np.random.default_rng(0)
    for indices in (np.array([17]), np.arange(79, -1, -1), draw.permutation(80)[:9], np.array([5, 5, 40])):
        part = mask(chosen, rows[indices], vocabulary, indices=indices, seed=4, epoch=2, share=0.3)
        np.testing.assert_array_equal(part.input_ids, whole.input_ids[indices])
        np.testing.assert_array_equal(part.labels, whole.labels[indices])
        assert (part.label_weights is None) == (whole.label_weights is None) == bool(count)
        if whole.label_weights is not None and part.label_weights is not None:
            np.testing.assert_array_equal(part.label_weights, whole.label_weights[indices])
    for other in ({"seed": 5}, {"epoch": 3}, {"share": 0.9}):
        assert (
            mask(chosen, rows, vocabulary, **{"seed": 4, "epoch": 2, "share": 0.3, **other}).labels != whole.labels
        ).any()


@every_count
def test_no_rows_give_no_rows(name: str, count: dict[str, Any], vocabulary: Vocabulary) -> None:
    masked = mask(policy(name, **count), np.zeros((0, 16), dtype=np.int64), vocabulary)
    assert masked.input_ids.shape == masked.labels.shape == (0, 16)


@every_counted_masking
@pytest.mark.parametrize("count", NUMBERS)
def test_weights_are_given_only_where_draws_repeat_and_rates_only_where_they_are_drawn(name: str, count: str) -> None:
    vocabulary = FAMILIES["WordPiece"]
    rows = packed_rows(vocabulary, 20)
    plain = mask(policy(name, count=count), rows, vocabulary)
    assert plain.label_weights is None and plain.mlm_probability is None


# Bernoulli -----------------------------------------------------------------------------------------------------------


def test_under_bernoulli_tokens_are_targets_each_by_itself(vocabulary: Vocabulary) -> None:
    rows = plain_rows(vocabulary, 10_000, 100)
    counts = targets(mask(TokenMasking(count="bernoulli"), rows, vocabulary)).sum(axis=1)
    bounds = np.array([0, 9, 11, 13, 15, 17, 19, 21, 101])
    found, _ = np.histogram(counts, bounds)
    expected = np.diff(stats.binom(100, 0.15).cdf(bounds - 1)) * len(rows)
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > SMALLEST_P


def test_under_bernoulli_words_are_targets_each_by_itself() -> None:
    vocabulary = FAMILIES["Unigram"]
    rows = packed_rows(vocabulary, 400)
    is_target = targets(mask(policy("whole_word", count="bernoulli", mlm_probability=0.3), rows, vocabulary))
    hits = [
        wanted[word].all() for row, wanted in zip(rows, is_target, strict=True) for word in words_of(row, vocabulary)
    ]
    parts = [
        wanted[word].any() for row, wanted in zip(rows, is_target, strict=True) for word in words_of(row, vocabulary)
    ]
    assert hits == parts
    # Rows of few words get one where chance gives none, which adds a little.
    assert abs(np.mean(hits) - 0.3) <= SIGMAS * np.sqrt(0.3 * 0.7 / len(hits)) + 0.003


@pytest.mark.parametrize("name", ["span", "ngram"])
def test_under_bernoulli_spans_cover_the_share_asked_for(name: str, vocabulary: Vocabulary) -> None:
    rows = plain_rows(vocabulary, 3000, 120)
    is_target = targets(mask(policy(name, count="bernoulli", mlm_probability=0.3), rows, vocabulary))
    row_means = is_target[:, 1:-1].mean(axis=1)
    assert abs(row_means.mean() - 0.3) <= SIGMAS * row_means.std() / np.sqrt(len(rows))


# As published --------------------------------------------------------------------------------------------------------


@every_counted_masking
@pytest.mark.parametrize("max_predictions", [None, 4])
def test_reference_bert_counts_all_tokens_and_rounds_halves_to_even(name: str, max_predictions: int | None) -> None:
    vocabulary = FAMILIES["WordPiece"]
    first = vocabulary.ordinary_ids[0]
    for num_tokens in range(3, 64):
        rows = np.full((1, 64), vocabulary.pad_id)
        rows[0, :num_tokens] = first
        rows[0, 0], rows[0, num_tokens - 1] = vocabulary.cls_id, vocabulary.sep_id
        for probability in (0.15, 0.25, 0.5):
            chosen = policy(name, count="reference_bert", mlm_probability=probability, max_predictions=max_predictions)
            expected = min(max_predictions or num_tokens, max(1, round(num_tokens * probability)), num_tokens - 2)
            assert targets(mask(chosen, rows, vocabulary)).sum() == expected


def _electra_count(row: Ids, vocabulary: Vocabulary, probability: float) -> int:
    """Draws of a row in pretrain_helpers.py of ELECTRA: num_to_predict, with N of configure_pretraining.py."""
    num_tokens = sum(id != vocabulary.pad_id for id in row.tolist())
    return max(1, min(int((probability + 0.005) * len(row)), round(num_tokens * probability)))


@every_counted_masking
@pytest.mark.parametrize("max_predictions", [None, 4])
def test_reference_electra_counts_all_tokens_and_places_and_takes_none_twice(
    name: str, max_predictions: int | None
) -> None:
    vocabulary = FAMILIES["BPE"]
    word_begins = vocabulary.ordinary_ids[vocabulary.is_word_start[vocabulary.ordinary_ids]][0]
    num_bound = 0
    for num_places, probability in itertools.product((16, 17, 64), (0.15, 0.25, 0.5)):
        rows = np.full((num_places - 2, num_places), vocabulary.pad_id)
        for row, num_tokens in zip(rows, range(3, num_places + 1), strict=True):
            row[:num_tokens] = word_begins
            row[0], row[num_tokens - 1] = vocabulary.cls_id, vocabulary.sep_id
        settings = {"count": "reference_electra", "max_predictions": max_predictions}
        masked = mask(policy(name, mlm_probability=probability, **settings), rows, vocabulary)
        published = [_electra_count(row, vocabulary, probability) for row in rows]
        expected = np.minimum(np.minimum(published, max_predictions or num_places), np.arange(1, num_places - 1))
        np.testing.assert_array_equal(targets(masked).sum(axis=1), expected)
        num_bound += published[-1] < round(num_places * probability)
    assert num_bound, "in no case do the places bind"


def test_single_tokens_of_a_full_row_are_19_without_replacement_and_17_7_of_19_draws_with(
    vocabulary: Vocabulary,
) -> None:
    rows = plain_rows(vocabulary, 3000, 126)
    once = mask(TokenMasking(count="reference_electra"), rows, vocabulary)
    again = mask(ElectraReferenceMasking(), rows, vocabulary)
    assert set(targets(once).sum(axis=1)) == {19} and once.label_weights is None
    assert again.label_weights is not None and set(again.label_weights.sum(axis=1)) == {19.0}
    assert abs(targets(again).sum(axis=1).mean() - 17.7) < 0.2
    assert targets(again).sum(axis=1).max() == 19


def _electra_by_hand(
    row: Ids, vocabulary: Vocabulary, probability: float, draw: random.Random
) -> tuple[int, dict[int, int], set[int]]:
    """pretrain_helpers.py of ELECTRA, step by step: draws, how often each position, and where [MASK] was put."""
    num = _electra_count(row, vocabulary, probability)
    candidates = [i for i, id in enumerate(row.tolist()) if not vocabulary.is_special[id]]
    positions = [draw.choice(candidates) for _ in range(num)]
    masked = {position for position in positions if draw.random() < 0.85}
    return num, {position: positions.count(position) for position in positions}, masked


def test_electra_reference_draws_as_published(vocabulary: Vocabulary) -> None:
    rows = plain_rows(vocabulary, 3000, 126)
    rows[2000:, 90], rows[2000:, 91:] = vocabulary.sep_id, vocabulary.pad_id
    masked = mask(ElectraReferenceMasking(), rows, vocabulary)
    assert masked.label_weights is not None and masked.label_weights.dtype == np.float32
    draw = random.Random(0)
    by_hand = [_electra_by_hand(row, vocabulary, 0.15, draw) for row in rows]
    np.testing.assert_array_equal(masked.label_weights.sum(axis=1), [num for num, _, _ in by_hand])
    assert set(masked.label_weights[:2000].sum(axis=1)) == {19.0} and set(masked.label_weights[2000:].sum(axis=1)) == {
        14.0
    }
    is_target = targets(masked)
    np.testing.assert_array_equal(masked.label_weights > 0, is_target)
    assert not vocabulary.is_special[rows[is_target]].any()

    distinct, theirs = is_target[:2000].sum(axis=1), np.array([len(times) for _, times, _ in by_hand[:2000]])
    assert abs(distinct.mean() - 126 * (1 - (1 - 1 / 126) ** 19)) < SIGMAS * distinct.std() / np.sqrt(2000)  # 17.7
    assert abs(distinct.mean() - theirs.mean()) < SIGMAS * np.sqrt(2 / 2000) * theirs.std()

    is_mask = masked.input_ids == vocabulary.mask_id
    np.testing.assert_array_equal(masked.input_ids[~is_mask], rows[~is_mask])  # no random words
    for times in (1, 2):
        drawn = masked.label_weights == times
        expected = 1 - 0.15**times  # once is enough
        assert abs(is_mask[drawn].mean() - expected) < SIGMAS * np.sqrt(expected * (1 - expected) / drawn.sum())
        hand = [place in put for _, often, put in by_hand for place, num in often.items() if num == times]
        assert abs(np.mean(hand) - expected) < SIGMAS * np.sqrt(expected * (1 - expected) / len(hand))
    counts = is_target[:2000, 1:-1].sum(axis=0)
    assert stats.chisquare(counts).pvalue > SMALLEST_P


@given(
    num_places=st.integers(2, 60),
    probability=st.floats(1e-6, 1.0),
    seed=st.integers(0, 1000),
    share_special=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_electra_reference_draws_its_count_from_ordinary_tokens_alone_whatever_the_row(
    num_places: int, probability: float, seed: int, share_special: float
) -> None:
    vocabulary, draw = FAMILIES["Unigram"], np.random.default_rng(seed)
    rows = draw.choice(vocabulary.ordinary_ids, size=(6, num_places))
    special = draw.random(rows.shape) < share_special
    rows[special] = draw.choice(np.flatnonzero(vocabulary.is_special), size=int(special.sum()))
    masked = mask(ElectraReferenceMasking(mlm_probability=probability), rows, vocabulary, seed=seed)
    assert masked.label_weights is not None
    maskable = ~vocabulary.is_special[rows]
    # In float32 as there: where p m ends in about a half, a reading in float64 may round it the other way.
    num_tokens = (rows != vocabulary.pad_id).sum(axis=1)
    halves = np.abs(num_tokens * probability % 1 - 0.5) < 1e-5
    published = np.array([_electra_count(row, vocabulary, probability) for row in rows])
    expected = np.where(maskable.any(axis=1), published, 0)
    np.testing.assert_array_equal(masked.label_weights.sum(axis=1)[~halves], expected[~halves])
    np.testing.assert_array_equal(masked.label_weights > 0, targets(masked))
    assert not targets(masked)[~maskable].any()


@pytest.mark.parametrize("setting", [{"count": "exact"}, {"count": "reference_electra"}, {"max_predictions": 5}])
def test_how_many_electra_reference_draws_is_no_setting(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        policy("electra_reference", **setting)
