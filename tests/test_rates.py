"""Laws of the masking rate: closed forms, draws for each example, and the way from the loop to the mask."""

# B rows, L tokens per row

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from objectives.cutting.packed import Packed
from objectives.masking import MASKINGS
from objectives.masks.rates import MaskingRate, mean_rate, rates
from objectives.masks.row_draws import RowDraws
from pretrain.batches import Examples, Position
from pretrain.distributed.signals import Interrupted
from pretrain.estimate import estimate
from pretrain.loop import Loop
from pretrain.recipe import Recipe, RecipeError, read_recipe
from tests.maskings import COUNTED, mask, plain_rows, policy, targets
from tests.whole_recipe import write_recipe
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

SMALLEST_P = 1e-4
SETTINGS: dict[str, Any] = {
    "constant": 0.25,
    "linear": {"schedule": "linear", "start": 0.3, "end": 0.15},
    "cosine": {"schedule": "cosine", "start": 0.3, "end": 0.15},
    "stepwise": {"schedule": "stepwise", "values": [0.4, 0.2, 0.1], "boundaries": [0.5, 0.75]},
}
CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 0.25,
    "linear": lambda share: 0.3 - 0.15 * share,
    "cosine": lambda share: 0.225 + 0.075 * math.cos(math.pi * share),
    "stepwise": lambda share: 0.4 if share < 0.5 else 0.2 if share < 0.75 else 0.1,
}
UNIFORM = {"schedule": "uniform"}

every_schedule = pytest.mark.parametrize("schedule", SETTINGS)
every_counted_masking = pytest.mark.parametrize("name", COUNTED)


def _setting(value: Any) -> Any:
    return TypeAdapter(MaskingRate).validate_python(value)


def _rates(value: Any, share: float, *, num_rows: int = 3, epoch: int = 0) -> np.ndarray:
    return rates(_setting(value), share=share, draws=RowDraws(0, epoch, np.arange(num_rows)))


# Closed forms --------------------------------------------------------------------------------------------------------


@every_schedule
@given(share=st.floats(0.0, 1.0))
def test_a_schedule_is_its_closed_form_and_the_same_for_all_rows(schedule: str, share: float) -> None:
    np.testing.assert_allclose(_rates(SETTINGS[schedule], share), CLOSED_FORMS[schedule](share), rtol=1e-12)


@every_schedule
def test_the_mean_over_the_run_is_the_integral(schedule: str) -> None:
    shares = (np.arange(4000) + 0.5) / 4000
    integral = np.mean([CLOSED_FORMS[schedule](share) for share in shares])
    assert mean_rate(_setting(SETTINGS[schedule])) == pytest.approx(integral, abs=1e-6)


def test_a_uniform_rate_is_a_half_in_the_mean_and_drawn_anew_for_every_row_and_epoch() -> None:
    assert mean_rate(_setting(UNIFORM)) == 0.5
    first, second = (_rates(UNIFORM, 0.0, num_rows=2000, epoch=epoch) for epoch in (0, 1))
    np.testing.assert_array_equal(first, _rates(UNIFORM, 0.7, num_rows=2000))
    assert len(np.unique(np.concatenate([first, second]))) == 4000
    assert stats.kstest(first, "uniform").pvalue > SMALLEST_P and stats.kstest(second, "uniform").pvalue > SMALLEST_P
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


# Masks ---------------------------------------------------------------------------------------------------------------


@every_counted_masking
@every_schedule
def test_the_share_of_targets_follows_the_schedule(name: str, schedule: str, vocabulary: Vocabulary) -> None:
    rows = plain_rows(vocabulary, 300, 200)
    for share in (0.0, 0.3, 0.6, 1.0):
        masked = mask(policy(name, mlm_probability=SETTINGS[schedule]), rows, vocabulary, share=share)
        counts = targets(masked).sum(axis=1)
        wanted = 200 * CLOSED_FORMS[schedule](share)
        assert set(counts) <= {math.floor(wanted + 1e-9), math.floor(wanted + 1 - 1e-9)}


@every_counted_masking
@pytest.mark.parametrize("count", ["exact", "bernoulli"])
def test_a_uniform_rate_gives_uniform_shares_of_targets_and_tells_them(
    name: str, count: str, vocabulary: Vocabulary
) -> None:
    rows = plain_rows(vocabulary, 1000, 400)
    rows[3, 1:-1] = vocabulary.unk_id
    masked = mask(policy(name, count=count, mlm_probability=UNIFORM), rows, vocabulary)
    shares = targets(masked).sum(axis=1) / np.maximum(1, (~vocabulary.is_special[rows]).sum(axis=1))
    assert masked.mlm_probability is not None and masked.mlm_probability.dtype == np.float32
    np.testing.assert_array_equal(masked.mlm_probability, shares.astype(np.float32))
    assert shares[3] == 0 and (np.delete(shares, 3) > 0).all()
    assert stats.kstest(np.delete(shares, 3), "uniform").pvalue > SMALLEST_P


@every_schedule
def test_electra_draws_as_often_as_the_schedule_says(schedule: str, vocabulary: Vocabulary) -> None:
    rows = plain_rows(vocabulary, 50, 198)
    for share in (0.0, 0.3, 0.6, 1.0):
        masked = mask(policy("electra_reference", mlm_probability=SETTINGS[schedule]), rows, vocabulary, share=share)
        assert masked.label_weights is not None
        assert set(masked.label_weights.sum(axis=1)) == {round(200 * CLOSED_FORMS[schedule](share))}


# From the loop to the mask -------------------------------------------------------------------------------------------


def test_a_batch_holds_the_weights_and_rates_that_a_policy_gives(
    vocabulary: Vocabulary, make_corpus: Callable[..., TokenSplit]
) -> None:
    masking = policy("electra_reference", mlm_probability=UNIFORM)
    examples = Examples(make_corpus(30), vocabulary, cutting=Packed(max_seq_length=64), masking=masking, seed=0)
    size = len(examples.plan(0)) + 3  # over the end of an epoch
    batch = examples.batch(examples.select(Position(0, 0), size)[0])
    assert batch["label_weights"].shape == batch["labels"].shape and batch["mlm_probability"].shape == (size,)
    assert batch["label_weights"].dtype == batch["mlm_probability"].dtype == torch.float32
    torch.testing.assert_close(batch["label_weights"] > 0, batch["labels"] != -100)


@pytest.mark.parametrize("budget", ["steps: 8", "epochs: 0.75", "tokens: 3000"])
def test_the_loop_masks_with_the_share_of_the_run_that_is_spent(
    tiny: Callable[..., Recipe], make_loop: Callable[[Recipe], Loop], monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    rate = "masking.mlm_probability={schedule: linear, start: 0.5, end: 0.1}"
    loop = make_loop(tiny(f"train={{{budget}, batch_size: 16, micro_batch_size: 6, mixed_precision: no}}", rate))
    shares: list[float] = []
    batch = loop.examples.batch
    monkeypatch.setattr(loop.examples, "batch", lambda part, share: shares.append(share) or batch(part, share=share))
    spent = []
    while loop.share() < 1:
        spent += [loop.share()] * 3
        loop.step(0)
    assert shares == spent and shares[0] == 0.0 and len(set(shares)) > 3


def test_a_run_with_a_schedule_of_the_rate_that_is_stopped_goes_on_bitwise(
    tiny: Callable[..., Recipe], launch: Callable[..., Path], tmp_path: Path
) -> None:
    common = ("masking={name: span, mlm_probability: {schedule: linear, start: 0.5, end: 0.1}}", "train.steps=8")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe = tiny(*common)
    with pytest.raises(Interrupted):
        launch(recipe, stop_after=3)
    launch(recipe)
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (whole, recipe.run_dir)]
    assert weights[0] == weights[1]
    other = launch(tiny(*common, "masking.mlm_probability.end=0.2", f"output_dir={tmp_path / 'other'}"))
    assert (other / "model" / "model.safetensors").read_bytes() != weights[0]


# Recipes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["{schedule: linear, start: 0.3, end: 0.15}", "{schedule: uniform}", "1",
                                   "{schedule: stepwise, values: [1, 0.15], boundaries: [0.5]}"])  # fmt: skip
def test_a_recipe_with_a_schedule_is_written_and_read_again(tmp_path: Path, value: str) -> None:
    recipe = read_recipe(write_recipe(tmp_path), [f"masking.mlm_probability={value}"])
    assert read_recipe(write_recipe(tmp_path, recipe.to_yaml())) == recipe
    assert estimate(recipe).flops


NAMES = "cosine | linear | stepwise | uniform"
REFUSALS = {
    ("masking.mlm_probability=fast",): "masking.mlm_probability: got 'fast' (text), expected a number > 0 and <= 1 or "
    f"a mapping with schedule: {NAMES}",
    ("masking.mlm_probability={schedule: liner}",): "masking.mlm_probability.schedule: got 'liner' (text), expected "
    "one of cosine, linear, stepwise, uniform; did you mean linear?",
    ("masking.mlm_probability={start: 0.3}",): "masking.mlm_probability.schedule: missing; expected one of cosine, ",
    ("masking.mlm_probability={schedule: linear, start: 0.3}",): "masking.mlm_probability.end: missing; expected a "
    "number > 0 and <= 1",
    ("masking.mlm_probability={schedule: cosine, start: 3, end: 0.1}",): "masking.mlm_probability.start: got 3, "
    "expected a number > 0 and <= 1",
    ("masking.mlm_probability={schedule: uniform, start: 0.1}",): "masking.mlm_probability.start: unknown key. Known: "
    "schedule",
    ("masking.mlm_probability={schedule: stepwise, values: [0.3, 0.1], boundaries: []}",): "masking.mlm_probability: "
    "got 2 values and 0 boundaries, expected one boundary fewer than values; the first value holds from the run's",
    ("masking.mlm_probability={schedule: stepwise, values: [0.3, 0.2, 0.1], boundaries: [0.5, 0.5]}",):
    "masking.mlm_probability: got boundaries [0.5, 0.5], expected ascending shares of the run; sort them",
    ("masking.mlm_probability={schedule: stepwise, values: [0.3, 0.1], boundaries: [1]}",):
    "masking.mlm_probability.boundaries[0]: got 1, expected a number > 0 and < 1",
    (
        "masking={name: electra_reference, mlm_probability: {schedule: uniform}}",
        "objective={name: mlm, target_weighting: inverse_probability}",
    ): "masking.name: got electra_reference with objective.target_weighting inverse_probability, which needs each row "
    "to have the targets of its rate, each once; choose another, or set objective.target_weighting to none",
    (
        "masking={name: token, max_predictions: 5, mlm_probability: {schedule: uniform}}",
        "objective={name: mlm, target_weighting: inverse_probability}",
    ): "masking.max_predictions: got 5 with objective.target_weighting inverse_probability, which needs each row to "
    "have the targets of its rate, each once; leave it out, or set objective.target_weighting to none",
    ("masking={name: electra_reference, count: exact}",): "masking.count: unknown key. Known: mask_replace_prob, "
    "mlm_probability, name, random_replace_prob",
    ("masking={name: span, segmenter: jiba}",): "masking.segmenter: got 'jiba' (text), expected null or one of jieba",
    ("masking.max_predictions=0",): "masking.max_predictions: got 0, expected a whole number >= 1 or null",
    ("masking.mlm_probability={schedule: linear, start: 0.3, end: 0.1}", "train.hours=1", "train.steps=null"):
    "masking.mlm_probability: got schedule linear with train.hours, by which the masks would depend on how fast the "
    "machine is, expected a budget of steps, epochs or tokens; set one, or give a number",
    ("objective={name: mlm, target_weighting: inverse_probability}",): "objective.target_weighting: got "
    "inverse_probability, which weighs each row by the rate that was drawn for it, expected masking.mlm_probability: "
    "{schedule: uniform}; set that, or set objective.target_weighting to none",
}  # fmt: skip


@pytest.mark.parametrize("overrides", REFUSALS, ids=lambda overrides: overrides[0])
def test_a_mistake_in_the_masking_is_refused(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    best = ("checkpoint.best=eval/mlm_nats",)
    with pytest.raises(RecipeError) as refused:
        read_recipe(write_recipe(tmp_path), [*overrides, *best])
    (problem,) = str(refused.value).splitlines()[1:]
    assert problem.strip().startswith(REFUSALS[overrides])


@pytest.mark.parametrize("count", ["reference_bert", "reference_electra"])
def test_counts_as_published_go_with_inverse_probability(tmp_path: Path, count: str) -> None:
    masking = f"masking={{name: token, count: {count}, mlm_probability: {{schedule: uniform}}}}"
    objective = "objective={name: mlm, target_weighting: inverse_probability}"
    recipe = read_recipe(write_recipe(tmp_path), [masking, objective, "checkpoint.best=eval/mlm_nats"])
    assert recipe.masking.count == count  # type: ignore[attr-defined]


@pytest.mark.parametrize("rate", ["0.15", "{schedule: uniform}"])
def test_a_rate_that_does_not_follow_the_run_goes_with_a_budget_of_hours(tmp_path: Path, rate: str) -> None:
    overrides = [f"masking.mlm_probability={rate}", "train.hours=1", "train.steps=null"]
    assert read_recipe(write_recipe(tmp_path), overrides).train.hours == 1


@pytest.mark.parametrize(
    ("rate", "peak"),
    [
        (0.15, 0.15),
        ({"schedule": "linear", "start": 0.1, "end": 0.4}, 0.4),
        ({"schedule": "cosine", "start": 0.5, "end": 0.1}, 0.5),
        ({"schedule": "stepwise", "values": [0.1, 0.3, 0.2], "boundaries": [0.2, 0.6]}, 0.3),
        ({"schedule": "uniform"}, 1.0),
    ],
)
def test_the_peak_of_a_rate_is_the_most_that_a_row_can_have(rate: Any, peak: float) -> None:
    assert MASKINGS["token"].model_validate({"mlm_probability": rate}).peak_probability == peak  # type: ignore[attr-defined]
