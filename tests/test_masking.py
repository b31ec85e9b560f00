"""Laws of masking, over every policy: which positions are targets, and what stands in their place."""

# B rows, L tokens per row

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from objectives.masking import MASKINGS, NOT_A_TARGET, ElectraReferenceMasking, Masked, Masking, TokenMasking
from tests.maskings import COUNTED
from tokenization.vocabulary import Vocabulary

SHARES = [(0.8, 0.1), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5), (0.25, 0.6)]
"""mask_replace_prob and random_replace_prob; the rest keep their token."""
SIGMAS = 5.0
SMALLEST_P = 1e-4  # the draws are fixed, so a test that passes once passes always
SEEDS = [0, 1, 12345]

Ids = np.ndarray
every_masking = pytest.mark.parametrize("name", MASKINGS)
every_counted_masking = pytest.mark.parametrize("name", COUNTED)


def _policy(name: str, **settings: Any) -> Masking:
    return MASKINGS[name](**settings)  # type: ignore[return-value]


def _rows(vocabulary: Vocabulary, *, num_rows: int, length: int = 128, seed: int = 0, shortest: int = 1) -> Ids:
    """Pairs of drawn lengths, some as short as `shortest` ordinary tokens, with unknown words and padding."""
    draw = np.random.default_rng(seed)
    rows = draw.choice(vocabulary.ordinary_ids, size=(num_rows, length))
    rows[:, 2:][draw.random((num_rows, length - 2)) < 0.01] = vocabulary.unk_id
    used = draw.integers(shortest + 2, length, size=num_rows, endpoint=True)
    rows[np.arange(length) >= used[:, None]] = vocabulary.pad_id
    rows[:, 0] = vocabulary.cls_id
    rows[np.arange(num_rows), used - 1] = vocabulary.sep_id
    rows[np.arange(num_rows), np.maximum(used // 2, 2)] = vocabulary.sep_id
    return rows


def _mask(policy: Masking, rows: Ids, vocabulary: Vocabulary, *, seed: int = 0, epoch: int = 0) -> Masked:
    return policy.mask(rows, indices=np.arange(len(rows)), vocabulary=vocabulary, seed=seed, epoch=epoch)


def _assert_share(hits: int, trials: int, probability: float) -> None:
    """That a count is within five standard deviations of its binomial."""
    bound = SIGMAS * np.sqrt(trials * probability * (1 - probability))
    assert abs(hits - trials * probability) <= bound + 1e-9, (hits / trials, probability)


@every_masking
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mlm_probability", [0.15, 0.9, 1.0])
def test_special_tokens_and_padding_are_never_targets(
    name: str, vocabulary: Vocabulary, mlm_probability: float, seed: int
) -> None:
    rows = _rows(vocabulary, num_rows=500, seed=seed)
    masked = _mask(_policy(name, mlm_probability=mlm_probability), rows, vocabulary, seed=seed)
    special = vocabulary.is_special[rows]
    assert special.any()
    assert (masked.labels[special] == NOT_A_TARGET).all()
    np.testing.assert_array_equal(masked.input_ids[special], rows[special])


@every_counted_masking
def test_at_probability_one_every_ordinary_token_is_a_target(name: str, vocabulary: Vocabulary) -> None:
    rows = _rows(vocabulary, num_rows=300)
    masked = _mask(_policy(name, mlm_probability=1.0), rows, vocabulary)
    np.testing.assert_array_equal(masked.labels != NOT_A_TARGET, ~vocabulary.is_special[rows])


@every_masking
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_hold_the_original_and_what_is_no_target_stays(name: str, vocabulary: Vocabulary, seed: int) -> None:
    rows = _rows(vocabulary, num_rows=500, seed=seed)
    before = rows.copy()
    masked = _mask(_policy(name), rows, vocabulary, seed=seed)
    is_target = masked.labels != NOT_A_TARGET
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(masked.labels[is_target], rows[is_target])
    np.testing.assert_array_equal(masked.input_ids[~is_target], rows[~is_target])
    assert (masked.input_ids[is_target] != rows[is_target]).any()
    assert masked.input_ids.dtype == masked.labels.dtype == np.int64


@every_masking
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mlm_probability", [1e-6, 0.15, 1.0])
def test_every_row_has_a_target(name: str, vocabulary: Vocabulary, mlm_probability: float, seed: int) -> None:
    rows = _rows(vocabulary, num_rows=1000, length=12, seed=seed)
    assert ((~vocabulary.is_special[rows]).sum(axis=1) == 1).sum() > 50
    masked = _mask(_policy(name, mlm_probability=mlm_probability), rows, vocabulary, seed=seed)
    assert (masked.labels != NOT_A_TARGET).any(axis=1).all()


@every_masking
def test_a_row_of_unknown_tokens_has_no_target_and_leaves_the_others_theirs(name: str, vocabulary: Vocabulary) -> None:
    rows = _rows(vocabulary, num_rows=4)
    rows[2] = vocabulary.unk_id
    masked = _mask(_policy(name), rows, vocabulary)
    assert ((masked.labels != NOT_A_TARGET).any(axis=1) == [True, True, False, True]).all()
    assert (masked.input_ids[2] == vocabulary.unk_id).all()


@pytest.mark.parametrize("mlm_probability", [0.15, 0.4])
def test_the_rate_of_single_tokens_is_the_one_asked_for_over_a_million_tokens(
    vocabulary: Vocabulary, mlm_probability: float
) -> None:
    rows = _rows(vocabulary, num_rows=16_000, shortest=20)
    masked = _mask(TokenMasking(mlm_probability=mlm_probability), rows, vocabulary, seed=3)
    num_maskable = int((~vocabulary.is_special[rows]).sum())
    assert num_maskable > 1_000_000
    _assert_share(int((masked.labels != NOT_A_TARGET).sum()), num_maskable, mlm_probability)


@every_counted_masking
@pytest.mark.parametrize("mlm_probability", [0.15, 0.4])
def test_rows_have_the_mean_of_targets_asked_for_within_half_a_target_over_a_million_tokens(
    name: str, vocabulary: Vocabulary, mlm_probability: float
) -> None:
    rows = _rows(vocabulary, num_rows=12_000, shortest=80)
    masked = _mask(_policy(name, mlm_probability=mlm_probability), rows, vocabulary, seed=3)
    num_maskable = (~vocabulary.is_special[rows]).sum(axis=1)
    assert num_maskable.sum() > 1_000_000
    missing = mlm_probability * num_maskable - (masked.labels != NOT_A_TARGET).sum(axis=1)
    assert -0.05 < missing.mean() < 0.5  # 0.05: more than five deviations of what rounding at random adds up to


@every_counted_masking
@pytest.mark.parametrize("num_maskable", [7, 10, 11, 13, 19, 37])
def test_the_mean_count_of_targets_is_exactly_its_share(name: str, vocabulary: Vocabulary, num_maskable: int) -> None:
    rows = np.full((20_000, num_maskable + 2), vocabulary.ordinary_ids[3])
    rows[:, 0], rows[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    masked = _mask(_policy(name, mlm_probability=0.15), rows, vocabulary)
    counts = (masked.labels != NOT_A_TARGET).sum(axis=1)
    expected = 0.15 * num_maskable
    assert set(counts.tolist()) == {int(expected), int(expected) + 1}
    _assert_share(int((counts - int(expected)).sum()), len(rows), expected - int(expected))


@pytest.mark.parametrize("seed", SEEDS)
def test_single_tokens_are_targets_as_often_at_every_position_and_apart(vocabulary: Vocabulary, seed: int) -> None:
    rows = np.full((10_000, 42), vocabulary.ordinary_ids[3])
    rows[:, 0], rows[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    targets = _mask(TokenMasking(), rows, vocabulary, seed=seed).labels[:, 1:-1] != NOT_A_TARGET
    counts = targets.sum(axis=0)
    # Six of forty without replacement: the counts sum to a constant and vary less than draws on their own would.
    statistic = ((counts - 1500.0) ** 2 / (1500 * (1 - 0.15)) * 39 / 40).sum()
    assert SMALLEST_P < stats.chi2.sf(statistic, 39) < 1 - SMALLEST_P
    across_rows, within_row = targets[:-1] & targets[1:], targets[:, :20] & targets[:, 20:]
    _assert_share(int(across_rows.sum()), across_rows.size, 0.15**2)
    _assert_share(int(within_row.sum()), within_row.size, 6 / 40 * 5 / 39)


@every_masking
@pytest.mark.parametrize(("mask_replace_prob", "random_replace_prob"), SHARES)
def test_targets_are_masked_replaced_or_kept_in_the_shares_asked_for(
    name: str, vocabulary: Vocabulary, mask_replace_prob: float, random_replace_prob: float
) -> None:
    """Every draw of a target decides anew: one that masks is enough, and it is kept if all of them keep it."""
    each_by_itself = {"replace_unit": "token"} if "replace_unit" in MASKINGS[name].model_fields else {}
    shares = {"mask_replace_prob": mask_replace_prob, "random_replace_prob": random_replace_prob}
    policy = _policy(name, mlm_probability=0.5, **shares, **each_by_itself)
    rows = _rows(vocabulary, num_rows=3000)
    masked = _mask(policy, rows, vocabulary, seed=7)
    is_target = masked.labels != NOT_A_TARGET
    inputs, labels = masked.input_ids[is_target], masked.labels[is_target]
    by_chance = 1 / len(vocabulary.ordinary_ids)  # a random token that happens to be the original
    kept = 1 - mask_replace_prob - random_replace_prob
    num_draws = np.ones(len(inputs)) if masked.label_weights is None else masked.label_weights[is_target]
    for times in np.unique(num_draws):
        drawn = num_draws == times
        unhidden, untouched = (1 - mask_replace_prob) ** times, max(0.0, kept) ** times
        itself = untouched + (unhidden - untouched) * by_chance
        _assert_share(int((inputs[drawn] == vocabulary.mask_id).sum()), int(drawn.sum()), 1 - unhidden)
        _assert_share(int((inputs[drawn] == labels[drawn]).sum()), int(drawn.sum()), itself)


@every_masking
@pytest.mark.parametrize(("mask_replace_prob", "random_replace_prob"), [(0.8, 0.1), (0.0, 1.0), (0.25, 0.6)])
@pytest.mark.parametrize("seed", SEEDS)
def test_replacements_are_uniform_over_ordinary_tokens(
    name: str, vocabulary: Vocabulary, mask_replace_prob: float, random_replace_prob: float, seed: int
) -> None:
    policy = _policy(
        name, mlm_probability=0.5, mask_replace_prob=mask_replace_prob, random_replace_prob=random_replace_prob
    )
    original = vocabulary.ordinary_ids[20]
    rows = np.full((2000, 100), original)
    rows[:, 0], rows[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    masked = _mask(policy, rows, vocabulary, seed=seed)
    inputs = masked.input_ids[masked.labels != NOT_A_TARGET]
    replacements = inputs[(inputs != vocabulary.mask_id) & (inputs != original)]
    counts = np.bincount(replacements, minlength=vocabulary.size)
    may_replace = np.isin(np.arange(vocabulary.size), vocabulary.ordinary_ids[vocabulary.ordinary_ids != original])
    assert counts[~may_replace].sum() == 0
    assert stats.chisquare(counts[may_replace]).pvalue > SMALLEST_P


@every_masking
@pytest.mark.parametrize("seed", SEEDS)
def test_a_mask_does_not_depend_on_batch_size_order_or_neighbours(name: str, vocabulary: Vocabulary, seed: int) -> None:
    policy = _policy(name)
    rows = _rows(vocabulary, num_rows=64, seed=seed)
    whole = _mask(policy, rows, vocabulary, seed=seed, epoch=2)
    draw = np.random.default_rng(seed)
    for indices in (np.arange(1), np.arange(63, -1, -1), draw.permutation(64)[:11], np.array([5, 5, 40])):
        part = policy.mask(rows[indices], indices=indices, vocabulary=vocabulary, seed=seed, epoch=2)
        np.testing.assert_array_equal(part.input_ids, whole.input_ids[indices])
        np.testing.assert_array_equal(part.labels, whole.labels[indices])
    others = _rows(vocabulary, num_rows=64, seed=seed + 1)
    others[20] = rows[20]
    np.testing.assert_array_equal(_mask(policy, others, vocabulary, seed=seed, epoch=2).labels[20], whole.labels[20])


@every_masking
def test_a_mask_does_not_depend_on_the_padding_behind_it(name: str, vocabulary: Vocabulary) -> None:
    rows = _rows(vocabulary, num_rows=64)
    padded = np.pad(rows, ((0, 0), (0, 40)), constant_values=vocabulary.pad_id)
    narrow, wide = (_mask(_policy(name), each, vocabulary) for each in (rows, padded))
    np.testing.assert_array_equal(wide.input_ids[:, :128], narrow.input_ids)
    np.testing.assert_array_equal(wide.labels[:, :128], narrow.labels)


@every_masking
@pytest.mark.parametrize("what", ["epoch", "seed"])
def test_ten_epochs_or_seeds_give_ten_unrelated_masks(name: str, vocabulary: Vocabulary, what: str) -> None:
    rows = np.full((400, 102), vocabulary.ordinary_ids[3])
    rows[:, 0], rows[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    targets = [
        _mask(_policy(name), rows, vocabulary, **{what: number}).labels[:, 1:-1] != NOT_A_TARGET for number in range(10)
    ]
    for first, second in itertools.combinations(targets, 2):
        assert (first != second).any(axis=1).all()
        common = (first & second).sum(axis=1)  # unrelated masks meet by chance, whatever hangs together in each
        assert abs(common.mean() - 100 * first.mean() * second.mean()) < SIGMAS * common.std() / np.sqrt(len(common))


@every_masking
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_and_epoch_give_the_same_masks(name: str, vocabulary: Vocabulary, seed: int) -> None:
    rows = _rows(vocabulary, num_rows=50)
    first, second = (_mask(_policy(name), rows, vocabulary, seed=seed, epoch=3) for _ in range(2))
    np.testing.assert_array_equal(first.input_ids, second.input_ids)
    np.testing.assert_array_equal(first.labels, second.labels)


@every_masking
def test_shares_that_sum_to_more_than_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"= 1\.1, expected at most 1; what is left over is kept"):
        _policy(name, mask_replace_prob=0.9, random_replace_prob=0.2)


@pytest.mark.parametrize(
    ("policy", "shares"), [(TokenMasking(), (0.15, 0.8, 0.1)), (ElectraReferenceMasking(), (0.15, 0.85, 0.0))]
)
def test_the_defaults_are_those_of_bert_and_of_electra(policy: Any, shares: tuple[float, ...]) -> None:
    assert (policy.mlm_probability, policy.mask_replace_prob, policy.random_replace_prob) == shares
