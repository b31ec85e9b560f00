"""Laws of trouble: what is no number never reaches the weights, and a batch that went wrong can be looked into."""

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.objective import Loss
from pretrain.inspect import main as inspect
from pretrain.loop import Loop, NotFinite, TrainingError
from pretrain.recipe import Recipe
from pretrain.trouble import Trouble, robust_z_score

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
MakeLoop = Callable[[Recipe], Loop]
ROOT = Path(__file__).resolve().parents[1]


def _spoils_loss(loop: Loop, losses: dict[str, Loss], value: float) -> dict[str, Loss]:
    return losses | {"mlm": losses["mlm"]._replace(total=losses["mlm"].total * value)}


def _spoils_gradient(loop: Loop, losses: dict[str, Loss], value: float) -> dict[str, Loss]:
    parameter = next(parameter for parameter in loop.objective.parameters() if parameter.grad is not None)
    parameter.grad.view(-1)[0] = value  # type: ignore[union-attr]
    return losses


SPOILS = {
    "a loss that is nan": (_spoils_loss, math.nan),
    "a loss that is infinite": (_spoils_loss, math.inf),
    "a gradient that is nan": (_spoils_gradient, math.nan),
    "a gradient that is infinite": (_spoils_gradient, -math.inf),
}


def _spoil(monkeypatch: pytest.MonkeyPatch, what: str, steps: set[int], micro_batch: int = 1) -> None:
    """Spoil a micro-batch of some updates."""
    real, (spoils, value) = Loop._accumulate, SPOILS[what]

    def accumulate(loop: Loop, batch: Any, counts: Any, number: int, *, is_last: bool) -> dict[str, Loss]:
        losses = real(loop, batch, counts, number, is_last=is_last)
        return spoils(loop, losses, value) if loop.progress.step + 1 in steps and number == micro_batch else losses

    monkeypatch.setattr(Loop, "_accumulate", accumulate)


def _all_state(loop: Loop) -> list[torch.Tensor]:
    """Weights and optimizer, copied."""
    states = [value for optimizer in loop.optimizers for of in optimizer.state.values() for value in of.values()]
    return [torch.as_tensor(value).detach().clone() for value in [*loop.objective.parameters(), *states]]


def _lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# Numbers that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", SPOILS)
@pytest.mark.parametrize("on_nonfinite", ["stop", "skip"])
def test_what_is_no_number_reaches_neither_weights_nor_optimizer(
    tiny: Tiny, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch, what: str, on_nonfinite: str
) -> None:
    loop = make_loop(tiny("train.micro_batch_size=8", f"train.on_nonfinite={on_nonfinite}"))
    loop.step(0)
    before, position = _all_state(loop), loop.progress.position
    _spoil(monkeypatch, what, {2})
    if on_nonfinite == "stop":
        with pytest.raises(NotFinite, match=r"step 2 would train on .*, expected finite numbers; the weights are as"):
            loop.step(0)
        assert (loop.progress.step, loop.progress.position) == (1, position)
    else:
        loop.step(0)
        assert (loop.progress.step, loop.progress.skipped_steps) == (2, 1)
        assert loop.progress.position != position, "the batch is left out, not tried again"
    assert all(torch.equal(a, b) for a, b in zip(before, _all_state(loop), strict=True))
    loop.step(0) if on_nonfinite == "skip" else None
    assert math.isfinite(loop.metrics()["loss/mlm_nats"]), "a line of metrics leaves the batch out as well"


def test_a_run_that_stops_is_saved_and_goes_on_with_the_batch_left_out(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _spoil(monkeypatch, "a loss that is nan", {13})
    common = ("train.micro_batch_size=8", "checkpoint.every_steps=5", "log.every_steps=1")
    skipped = launch(tiny(*common, "train.on_nonfinite=skip", f"output_dir={tmp_path / 'skipped'}"))
    run = tiny().run_dir
    with pytest.raises(TrainingError) as stop:
        launch(tiny(*common))
    nsp = str(stop.value).split("nsp loss ")[1].split(";")[0]
    assert str(stop.value) == (
        f"step 13 would train on mlm loss nan, nsp loss {nsp}; the weights are as they were. The batch is in "
        f"{run / 'trouble' / 'step-00000013'}. Step 12 is saved: launch again with train.on_nonfinite=skip to leave "
        "such batches out, or start with --fresh and a lower optimizer.learning_rate or a longer schedule.warmup_steps."
    )
    assert max(path.name for path in (run / "checkpoints").iterdir()) == "step-00000012"
    launch(tiny(*common, "train.on_nonfinite=skip"))
    weights = [(path / "model" / "model.safetensors").read_bytes() for path in (skipped, run)]
    assert weights[0] == weights[1], "stopped and told to skip is the run that skipped"
    clock = {"elapsed_seconds", "tokens_per_second"}
    lines = [[{key: line[key] for key in line.keys() - clock} for line in _lines(path)] for path in (skipped, run)]
    assert lines[0] == lines[1]
    assert [line.get("skipped_steps") for line in lines[0] if "tokens" in line] == [None] * 12 + [1] * 8
    assert "loss/mlm_nats" not in lines[0][12], "no batch was trained on in this line"


@pytest.mark.parametrize("limit", ["1.0", "null"])
@pytest.mark.parametrize("what", ["a gradient that is nan", "a gradient that is infinite"])
def test_a_half_precision_gradient_that_overflows_updates_nothing_and_is_no_trouble(
    tiny: Tiny, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch, what: str, limit: str
) -> None:
    muon = "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02}"
    loop = make_loop(tiny(muon, "train.micro_batch_size=8", f"train.max_grad_norm={limit}"))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)  # one of float16, whose overflows are made by hand
    loop.processes.accelerator.scaler = scaler
    loop.step(0)
    before = _all_state(loop)
    _spoil(monkeypatch, what, {2, 3, 4, 5})
    for scale in (2.0, 1.0):
        loop.step(0)
        assert all(torch.equal(a, b) for a, b in zip(before, _all_state(loop), strict=True)), "one of two optimizers"
        assert scaler.get_scale() == scale
    assert loop.progress.skipped_steps == 0
    with pytest.raises(NotFinite, match="step 4 would train on"):
        loop.step(0)  # no scaling down would help
    assert scaler.get_scale() == 1.0, "a run that skips it goes on with the same scale"


def test_skipping_has_an_end(tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil(monkeypatch, "a gradient that is nan", set(range(4, 12)), micro_batch=0)
    used_up = r"step 7 would train on .*; train\.max_skipped_steps = 3 are used up\. The batch is in .*"
    with pytest.raises(
        TrainingError, match=rf"{used_up} the weights and not the batches .* raise train\.max_skipped_st"
    ):
        launch(tiny("train.on_nonfinite=skip", "train.max_skipped_steps=3"))
    assert len(list((tiny().run_dir / "trouble").iterdir())) == 4


def test_the_batch_is_written_down_with_all_it_takes_to_look_into_it(
    tiny: Tiny,
    tiny_file: Path,
    launch: LaunchRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _spoil(monkeypatch, "a loss that is infinite", {3})
    run = launch(tiny("train.micro_batch_size=5", "train.on_nonfinite=skip"))
    (folder,) = (run / "trouble").iterdir()
    assert folder.name == "step-00000003"
    trouble = json.loads((folder / "trouble.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (trouble["step"], trouble["kind"], trouble["losses"]["mlm"]) == (3, "not finite", "inf")
    parts = trouble["micro_batches"]
    assert [len(part["examples"]) for part in parts] == [5, 5, 5, 1]
    assert [part["losses"]["mlm"]["total_nats"] == "inf" for part in parts] == [False, True, False, False]
    examples = [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]
    listed = [(example["epoch"], example["index"]) for part in parts for example in part["examples"]]
    assert [(example["epoch"], example["index"]) for example in examples] == listed
    assert sum(part["losses"]["mlm"]["count"] for part in parts) == sum(
        label != -100 for example in examples for label in example["labels"]
    )
    capsys.readouterr()
    assert inspect([str(tiny_file), "--jsonl", "--examples", "999"]) == 0
    inspected = {(line["epoch"], line["index"]): line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert all(inspected[example["epoch"], example["index"]] == example for example in examples)


def test_a_trouble_that_cannot_be_written_does_not_hide_itself(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, "a gradient that is nan", {3}, micro_batch=0)
    run = tiny().run_dir
    run.mkdir()
    (run / "trouble").write_text("a file in the way of the folder")
    with pytest.raises(
        TrainingError, match=r"step 3 would .* The batch could not be written to .*/trouble/step-00000003"
    ):
        launch(tiny())


def test_one_process_in_trouble_stops_both_before_the_update(tiny_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "spoiled.py"
    script.write_text(
        "import os, sys\nfrom pretrain.__main__ import main\nfrom pretrain.loop import Loop\n"
        "real = Loop._accumulate\n"
        "def accumulate(loop, batch, counts, number, *, is_last):\n"
        "    losses = real(loop, batch, counts, number, is_last=is_last)\n"
        "    if loop.progress.step + 1 == 3 and os.environ['RANK'] == '1':\n"
        "        losses = losses | {'mlm': losses['mlm']._replace(total=losses['mlm'].total * float('nan'))}\n"
        "    return losses\n"
        "Loop._accumulate = accumulate\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "MASTER_", "LOCAL_"))}
    environment = {**kept, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    command = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), str(tiny_file)]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.stderr.count("error: step 3 would train on mlm loss nan") == 2, done.stderr
    assert "exitcode  : 2" in done.stderr
    run = tmp_path / "run"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    parts = json.loads((run / "trouble" / "step-00000003" / "trouble.json").read_text())["micro_batches"]
    assert [(part["rank"], part["losses"]["mlm"]["total_nats"] == "nan") for part in parts] == [(0, False), (1, True)]


# Spikes --------------------------------------------------------------------------------------------------------------


def _feed(trouble: Trouble, loop: Loop, losses: list[float]) -> None:
    """Let losses follow each other as if each were a step's."""
    loop.step(0)
    for loss in losses:
        assert loop.trained is not None
        object.__setattr__(loop.trained, "losses", {"mlm": loss})
        object.__setattr__(loop.trained, "step", loop.trained.step + 1)
        trouble.look()


def test_a_spike_is_told_with_its_batch_and_an_ordinary_loss_is_not(
    tiny: Tiny, make_loop: MakeLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make_loop(tiny())
    draw = np.random.default_rng(3)
    falling = (7.0 - np.linspace(0, 2, 400) + draw.normal(0, 0.05, 400)).tolist()
    _feed(Trouble(tmp_path, loop, spike_score=8.0), loop, falling)
    assert not (tmp_path / "trouble").exists(), "a loss that falls with noise has no spike"
    caplog.set_level(logging.WARNING)
    _feed(Trouble(tmp_path, loop, spike_score=8.0), loop, [6.9])
    (folder,) = (tmp_path / "trouble").iterdir()
    record = json.loads((folder / "trouble.json").read_text())
    assert record["kind"] == "spike" and record["robust_z_scores"]["mlm"] > 8
    assert len((folder / "examples.jsonl").read_text().splitlines()) == 16
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "pretrain.trouble"]
    assert "loss spike: mlm with a robust z-score of" in warning and str(folder) in warning
    _feed(Trouble(tmp_path, loop, spike_score=None), loop, [60.0])
    assert len(list((tmp_path / "trouble").iterdir())) == 1, "null looks for none"


def test_spikes_are_looked_for_against_enough_steps_and_do_not_fill_the_disk(
    tiny: Tiny, make_loop: MakeLoop, tmp_path: Path
) -> None:
    loop = make_loop(tiny())
    trouble = Trouble(tmp_path, loop, spike_score=8.0)
    _feed(trouble, loop, [5.0, 50.0, 5.0] * 3)
    assert not (tmp_path / "trouble").exists()
    _feed(trouble, loop, [5.0] * 64)
    for _ in range(30):
        _feed(trouble, loop, [50.0, *[5.0] * 5])
    assert len(list((tmp_path / "trouble").iterdir())) == 20
    assert len(loop.progress.recent_losses["mlm"]) == 64


def test_a_resumed_run_finds_the_spikes_that_the_run_would_have(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Loop._trained

    def trained(loop: Loop, *args: Any) -> Any:
        found = real(loop, *args)
        if found.step == 45:
            found.losses["nsp"] = 30.0
        return found

    monkeypatch.setattr(Loop, "_trained", trained)
    common = ("train.steps=48", "train.batch_size=4", "log.spike_score=30")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    with pytest.raises(Exception, match="step 40 is saved"):
        launch(tiny(*common), stop_after=40)
    run = launch(tiny(*common))
    assert [path.name for path in (run / "trouble").iterdir()] == ["step-00000045"]
    for name in ("trouble.json", "examples.jsonl"):
        files = [path / "trouble" / "step-00000045" / name for path in (whole, run)]
        assert files[0].read_bytes() == files[1].read_bytes()


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=80), st.floats(0.1, 50), st.floats(-200, 200))
def test_the_robust_z_score_is_that_of_the_definition(others: list[float], scale: float, value: float) -> None:
    middle = sorted(others)
    median = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
    deviations = sorted(abs(other - median) for other in others)
    mad = (deviations[(len(others) - 1) // 2] + deviations[len(others) // 2]) / 2
    expected = (value - median) / max(1.4826 * mad, 0.005 * abs(median), 1e-12)
    assert robust_z_score(value, others) == pytest.approx(expected, rel=1e-9)
    if mad * 1.4826 > 0.005 * abs(median) and mad > 1e-6:
        scaled = [scale * other for other in others]
        assert robust_z_score(scale * value, scaled) == pytest.approx(expected, rel=1e-6, abs=1e-6)
