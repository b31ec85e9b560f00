"""The learning rate over a run: transformers' own where it has the schedule, else the closed form of the original."""

import itertools
from collections.abc import Callable

import pytest
import torch
import transformers
from pydantic import ValidationError

from pretrain.schedule import SCHEDULES, BertLinear, Constant, Cosine, ElectraLinear, Linear, Schedule, Trapezoidal

NUM_STEPS, NUM_WARMUP_STEPS = 400, 30
EXACT = 1e-12  # rounding of a few float64 operations

ENTRIES: dict[str, Callable[[int], Schedule]] = {
    "linear": lambda warmup_steps: Linear(warmup_steps=warmup_steps),
    "bert_linear": lambda warmup_steps: BertLinear(warmup_steps=warmup_steps),
    "electra_linear": lambda warmup_steps: ElectraLinear(warmup_steps=warmup_steps),
    "trapezoidal": lambda warmup_steps: Trapezoidal(warmup_steps=warmup_steps, decay_fraction=0.3),
    "cosine": lambda warmup_steps: Cosine(warmup_steps=warmup_steps),
    "constant": lambda warmup_steps: Constant(warmup_steps=warmup_steps),
}
all_schedules = pytest.mark.parametrize("name", sorted(SCHEDULES))
all_warmups = pytest.mark.parametrize("num_warmup_steps", [0, 1, NUM_WARMUP_STEPS, NUM_STEPS - 1])


def factors(schedule: Schedule, num_steps: int = NUM_STEPS) -> list[float]:
    """The multipliers of a whole run with a budget of steps, and the one that its end would have."""
    return [schedule.factor(step, step / num_steps) for step in range(num_steps + 1)]


def reference(name: str, num_warmup_steps: int) -> list[float]:
    """The same from transformers."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup = {"num_warmup_steps": num_warmup_steps}
    match name:
        case "linear":
            scheduler = transformers.get_linear_schedule_with_warmup(optimizer, **warmup, num_training_steps=NUM_STEPS)
        case "cosine":
            scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, **warmup, num_training_steps=NUM_STEPS)
        case "constant":
            scheduler = transformers.get_constant_schedule_with_warmup(optimizer, **warmup)
        case "trapezoidal":
            scheduler = transformers.get_wsd_schedule(
                optimizer, **warmup, num_decay_steps=120, num_training_steps=NUM_STEPS, decay_type="linear"
            )
    return [scheduler.lr_lambdas[0](step) for step in range(NUM_STEPS + 1)]


def test_every_schedule_is_held_to_the_laws_below() -> None:
    assert ENTRIES.keys() == SCHEDULES.keys()
    for name, make in ENTRIES.items():
        assert isinstance(make(0), SCHEDULES[name]) and make(0).name == name


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
@all_warmups
def test_a_whole_run_has_the_rates_of_transformers(name: str, num_warmup_steps: int) -> None:
    assert factors(ENTRIES[name](num_warmup_steps)) == pytest.approx(reference(name, num_warmup_steps), abs=EXACT)


@pytest.mark.parametrize("num_warmup_steps", [0, 1, NUM_WARMUP_STEPS, NUM_STEPS - 120])
def test_a_trapezoid_that_fits_has_the_rates_of_transformers(num_warmup_steps: int) -> None:
    ours = factors(ENTRIES["trapezoidal"](num_warmup_steps))
    assert ours == pytest.approx(reference("trapezoidal", num_warmup_steps), abs=EXACT)


@all_warmups
def test_bert_linear_is_the_closed_form_of_the_original(num_warmup_steps: int) -> None:
    for step, factor in enumerate(factors(BertLinear(warmup_steps=num_warmup_steps))):
        original = step / num_warmup_steps if step < num_warmup_steps else 1 - step / NUM_STEPS
        assert factor == pytest.approx(original, abs=EXACT)


def test_bert_linear_drops_by_the_share_of_the_warmup_at_the_seam() -> None:
    schedule = BertLinear(warmup_steps=NUM_WARMUP_STEPS)
    before_the_seam = NUM_WARMUP_STEPS / NUM_WARMUP_STEPS  # where the warm-up would arrive
    assert factors(schedule)[NUM_WARMUP_STEPS] == pytest.approx(before_the_seam - NUM_WARMUP_STEPS / NUM_STEPS)


@all_warmups
def test_electra_linear_is_the_closed_form_of_the_original(num_warmup_steps: int) -> None:
    """polynomial_decay of power 1 over all steps, times min(1, step / warm-up); without a warm-up theirs is 0 / 0."""
    for step, factor in enumerate(factors(ElectraLinear(warmup_steps=num_warmup_steps))):
        warmup = min(1.0, step / num_warmup_steps) if num_warmup_steps else 1.0
        assert factor == pytest.approx((1 - step / NUM_STEPS) * warmup, abs=EXACT)


def test_electra_linear_has_no_seam_and_is_the_line_of_bert_behind_the_warmup() -> None:
    electra, bert = (factors(ENTRIES[name](NUM_WARMUP_STEPS)) for name in ("electra_linear", "bert_linear"))
    assert electra[NUM_WARMUP_STEPS:] == pytest.approx(bert[NUM_WARMUP_STEPS:], abs=EXACT)
    assert max(electra) == electra[NUM_WARMUP_STEPS] == pytest.approx(1 - NUM_WARMUP_STEPS / NUM_STEPS)
    assert max(abs(after - before) for before, after in itertools.pairwise(electra)) <= 1 / NUM_WARMUP_STEPS


def test_two_runs_over_parts_of_the_bert_line_have_the_rates_of_one_run() -> None:
    whole = factors(BertLinear(warmup_steps=NUM_WARMUP_STEPS))
    first = factors(BertLinear(warmup_steps=NUM_WARMUP_STEPS, end_fraction=0.9), num_steps=360)
    second = factors(BertLinear(start_fraction=0.9), num_steps=40)
    assert [*first[:-1], *second] == pytest.approx(whole, abs=EXACT)


def test_a_line_without_length_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"got start_fraction 0.9 and end_fraction 0.5, expected start_fraction <"
    ):
        BertLinear(start_fraction=0.9, end_fraction=0.5)


@pytest.mark.parametrize("name", sorted(SCHEDULES.keys() - {"electra_linear"}))
def test_the_warmup_is_a_line_from_zero_to_the_peak(name: str) -> None:
    rates = factors(ENTRIES[name](NUM_WARMUP_STEPS))
    assert rates[:NUM_WARMUP_STEPS] == [step / NUM_WARMUP_STEPS for step in range(NUM_WARMUP_STEPS)]


@all_schedules
def test_without_a_warmup_the_first_update_has_the_peak(name: str) -> None:
    assert ENTRIES[name](0).factor(0, 0.0) == 1.0


@all_schedules
def test_the_rate_falls_to_zero_at_the_end_unless_it_is_constant(name: str) -> None:
    end = factors(ENTRIES[name](NUM_WARMUP_STEPS))[-1]
    assert end == (1.0 if name == "constant" else 0.0)


@all_schedules
@pytest.mark.parametrize("num_warmup_steps", [0, 3, 50])
@pytest.mark.parametrize("seed", range(20))
def test_any_course_of_a_run_keeps_the_rate_in_range(name: str, num_warmup_steps: int, seed: int) -> None:
    """Shares as a budget of hours has them: uneven, standing still, jumping to the end, perhaps within the warm-up."""
    generator = torch.Generator().manual_seed(seed)
    jumps = torch.rand(60, generator=generator, dtype=torch.float64) ** 8
    shares = [0.0, *(jumps.cumsum(0) / max(1.0, float(jumps.sum()))).clamp(max=1.0).tolist(), 1.0]
    schedule = ENTRIES[name](num_warmup_steps)
    rates = [schedule.factor(step, share) for step, share in enumerate(shares)]
    assert all(0.0 <= rate <= 1.0 for rate in rates)
    if name != "constant":
        assert rates[-1] == 0.0


@all_schedules
def test_a_budget_that_is_used_up_evenly_gives_the_rates_of_a_budget_of_steps(name: str) -> None:
    """Tokens: the share is known before each update, the number of steps is not."""
    schedule = ENTRIES[name](NUM_WARMUP_STEPS)
    tokens = [schedule.factor(step, 4096 * step / (4096 * NUM_STEPS)) for step in range(NUM_STEPS + 1)]
    assert tokens == factors(schedule)


def test_a_trapezoid_falls_even_if_the_run_ends_within_its_warmup() -> None:
    schedule = Trapezoidal(warmup_steps=1000, decay_fraction=0.5)
    assert schedule.factor(100, 0.99) == pytest.approx(0.02)
    assert schedule.factor(101, 1.0) == 0.0


def test_the_linear_rate_follows_the_estimate_of_the_steps_in_all() -> None:
    schedule = Linear(warmup_steps=10)
    assert schedule.factor(20, 0.2) == pytest.approx((100 - 20) / (100 - 10))
    assert schedule.factor(20, 0.4) == pytest.approx((50 - 20) / (50 - 10))
