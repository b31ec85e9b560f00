"""Laws of the loop: one division a term, a budget ends a run where it should, one rate an update."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pretrain.batches import Position
from pretrain.loop import Loop
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
MakeLoop = Callable[[Recipe], Loop]

MUON = "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02, newton_schulz_dtype: float32}"


# Sums and means ------------------------------------------------------------------------------------------------------


def test_every_term_is_divided_once_by_its_count_over_the_whole_batch(tiny: Tiny, make_loop: MakeLoop) -> None:
    loop = make_loop(tiny("train.micro_batch_size=3", "train.max_grad_norm=null", "objective.nsp_weight=0.5"))
    selection, _ = loop.examples.select(Position(0, 0), 16)
    reference = make_loop(tiny("objective.nsp_weight=0.5"))
    losses = reference.objective(reference.examples.batch(selection))
    (losses["mlm"].total / losses["mlm"].count + 0.5 * losses["nsp"].total / 16).backward()
    expected = torch.cat([p.grad.flatten() for p in reference.objective.parameters() if p.grad is not None]).norm()
    loop.step(0)
    assert float(loop.grad_norm) == pytest.approx(float(expected), rel=1e-5)


def test_metrics_are_the_means_over_the_targets_since_the_last_line(tiny: Tiny, make_loop: MakeLoop) -> None:
    recipe = tiny("optimizer.learning_rate=1e-30", "train.micro_batch_size=5")  # weights stay as they are
    loop = make_loop(recipe)
    total, count, position = 0.0, 0, Position(0, 0)
    for _ in range(3):
        selection, position = loop.examples.select(position, 16)
        with torch.no_grad():
            loss = loop.objective(loop.examples.batch(selection))["mlm"]
        total, count = total + float(loss.total), count + int(loss.count)
        loop.step(0)
    assert loop.metrics()["loss/mlm_nats"] == pytest.approx(total / count, rel=1e-5)
    assert "loss/mlm_nats" not in loop.metrics(), "the line before closed the sums"


# Budgets -------------------------------------------------------------------------------------------------------------


def _run_out(loop: Loop) -> None:
    while loop.share() < 1.0:
        loop.step(0)


def test_a_budget_of_steps_ends_after_so_many(tiny: Tiny, make_loop: MakeLoop) -> None:
    loop = make_loop(tiny("train.steps=7"))
    _run_out(loop)
    assert loop.progress.step == 7


@pytest.mark.parametrize("epochs", [0.3, 1.0, 2.5])
def test_a_budget_of_epochs_ends_with_the_first_batch_that_reaches_it(
    tiny: Tiny, make_loop: MakeLoop, epochs: float
) -> None:
    loop = make_loop(tiny("train.steps=null", f"train.epochs={epochs}"))
    sizes = [len(loop.examples.plan(epoch)) for epoch in range(3)]
    wanted = sum(sizes[: int(epochs)]) + (epochs % 1) * sizes[int(epochs)]
    _run_out(loop)
    assert loop.progress.step == math.ceil(wanted / 16)


def test_a_budget_of_tokens_ends_with_the_first_batch_that_reaches_it(tiny: Tiny, make_loop: MakeLoop) -> None:
    loop = make_loop(tiny("train.steps=null", "train.tokens=3000"))
    before = 0
    while loop.share() < 1.0:
        before = loop.progress.tokens
        selection, _ = loop.examples.select(loop.progress.position, 16)
        loop.step(0)
        assert loop.progress.tokens - before == int(loop.examples.batch(selection)["attention_mask"].sum())
    assert before < 3000 <= loop.progress.tokens


def test_a_budget_of_hours_ends_once_the_clock_reaches_it(
    tiny: Tiny, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("pretrain.loop.time.monotonic", lambda: clock[0])
    loop = make_loop(tiny("train.steps=null", "train.hours=0.01"))  # 36 seconds
    while loop.share() < 1.0:
        clock[0] += 8.0
        loop.step(0)
    assert loop.progress.step == 5
    assert loop.progress.elapsed_seconds == 40.0


def test_the_rate_is_set_once_an_update_whatever_the_micro_batches(tiny: Tiny, make_loop: MakeLoop) -> None:
    recipe = tiny("train.micro_batch_size=3", "train.steps=8", MUON)
    loop = make_loop(recipe)
    for step in range(8):
        loop.step(0)
        factor = recipe.schedule.factor(step, step / 8)
        rates = [group["lr"] for optimizer in loop.optimizers for group in optimizer.param_groups]
        assert rates == [peak * factor for peak in (0.02, 2e-3, 2e-3)]
        assert loop.metrics()["learning_rate"] == 2e-3 * factor


# Batches and epochs --------------------------------------------------------------------------------------------------


def test_every_example_is_trained_on_once_an_epoch_and_every_batch_is_full(
    tiny: Tiny, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop(tiny("train.steps=null", "train.epochs=3", "train.micro_batch_size=5"))
    seen: list[tuple[int, int]] = []
    batch = loop.examples.batch
    monkeypatch.setattr(
        loop.examples,
        "batch",
        lambda part, share: seen.extend(zip(part.epochs.tolist(), part.indices.tolist(), strict=True)) or batch(part),
    )
    _run_out(loop)
    assert len(seen) == 16 * loop.progress.step
    for epoch in range(3):
        indices = [index for e, index in seen if e == epoch]
        assert sorted(indices) == list(range(len(loop.examples.plan(epoch)))), f"epoch {epoch}"


# Clipping, numbers that are none, options ----------------------------------------------------------------------------


def test_the_gradient_is_clipped_by_its_norm_over_all_weights(tiny: Tiny, make_loop: MakeLoop) -> None:
    norms = {}
    for limit in ("null", "0.01"):
        loop = make_loop(tiny(f"train.max_grad_norm={limit}"))
        captured: list[Tensor] = []
        loop.optimizers[0].register_step_pre_hook(
            lambda optimizer, *_, captured=captured: captured.extend(
                p.grad.flatten().clone()
                for group in optimizer.param_groups
                for p in group["params"]
                if p.grad is not None
            )
        )
        loop.step(0)
        norms[limit] = (float(loop.grad_norm), float(torch.cat(captured).norm()))
    assert norms["null"][0] == pytest.approx(norms["null"][1], rel=1e-5)
    assert norms["0.01"][0] == pytest.approx(norms["null"][0], rel=1e-5), "what is told is the norm before clipping"
    assert norms["0.01"][1] == pytest.approx(0.01, rel=1e-3)


def test_gradient_checkpointing_trains_the_same(tiny: Tiny, launch: Callable[..., Path], tmp_path: Path) -> None:
    """To float precision: under it the last layer is computed everywhere, without it where it is looked at."""
    weights = []
    for name in ("false", "true"):
        overrides = ("train.steps=6", f"output_dir={tmp_path / name}", f"train.gradient_checkpointing={name}")
        weights.append(load_file(launch(tiny(*overrides)) / "model" / "model.safetensors"))
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_a_status_that_is_asked_for_ends_before_the_step(tiny: Tiny, make_loop: MakeLoop) -> None:
    loop = make_loop(tiny())
    loop.step(0)
    before = [p.detach().clone() for p in loop.objective.parameters()]
    assert loop.step(143) == 143
    assert loop.progress.step == 1
    assert all(torch.equal(a, b) for a, b in zip(before, loop.objective.parameters(), strict=True))


def test_dropout_is_a_function_of_seed_step_and_micro_batch(tiny: Tiny, make_loop: MakeLoop) -> None:
    overrides = ("encoder.hidden_dropout_prob=0.3", "train.micro_batch_size=8", "optimizer.learning_rate=1e-30")
    norms = []
    for seed_between in (1, 2):
        loop = make_loop(tiny(*overrides))
        course = []
        for _ in range(2):
            torch.manual_seed(seed_between)
            loop.step(0)
            course.append(float(loop.grad_norm))
        norms.append(course)
    assert norms[0] == norms[1]
    loop = make_loop(tiny(*overrides))
    words = []
    for step, micro_batch in ((0, 0), (0, 1), (1, 0)):
        loop.progress.step = step
        loop._seed_dropout(micro_batch)
        words.append(float(torch.rand(())))
    assert len(set(words)) == 3
