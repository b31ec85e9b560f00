"""Laws of going on: a run that was stopped and launched again is the run that was not, bit for bit."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from encoders.config import EncoderError
from pretrain.__main__ import main
from pretrain.checkpoints.checkpoint import CheckpointError
from pretrain.distributed.signals import Interrupted
from pretrain.evaluation import HeldOut
from pretrain.launching import Launch
from pretrain.loop import TrainingError
from pretrain.recipe import Recipe, RecipeError

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[1]
DROPOUT = ("encoder.hidden_dropout_prob=0.2", "encoder.attention_probs_dropout_prob=0.2")
CLOCK = ("elapsed_seconds", "tokens_per_second", "logged_seconds")


def _metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl without what the clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def _last(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def _state(run: Path) -> dict[str, Any]:
    """All that training has made, in bytes where it can be."""
    checkpoint = _last(run)
    progress = json.loads((checkpoint / "progress.json").read_text())
    return {
        "weights": (checkpoint / "model" / "model.safetensors").read_bytes(),
        "optimizer": (checkpoint / "state" / "optimizer.safetensors").read_bytes(),
        "model": (run / "model" / "model.safetensors").read_bytes(),
        "progress": {key: value for key, value in progress.items() if key not in CLOCK},
        "metrics": _metrics(run),
    }


def _stop(launch: LaunchRun, recipe: Recipe, steps: int, **options: Any) -> None:
    with pytest.raises(Interrupted):
        launch(recipe, stop_after=steps, **options)


OPTIMIZERS = {
    "adamw": "optimizer={name: adamw, learning_rate: 2e-3}",
    "bert_adam": "optimizer={name: bert_adam, learning_rate: 2e-3}",
    "muon": "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02}",
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_stopped_anywhere_goes_on_bitwise_with_dropout_on(
    tiny: Tiny, launch: LaunchRun, tmp_path: Path, optimizer: str
) -> None:
    common = (*DROPOUT, OPTIMIZERS[optimizer], "train.micro_batch_size=7", "evaluate.every_steps=6", "train.steps=22")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe = tiny(*common, f"output_dir={tmp_path / 'stopped'}", "checkpoint.every_steps=4")
    epochs = []
    for steps in (3, 2, 1, 12):  # to step 3 and 5 (within lines of metrics and on one), 6 (an evaluation), 18
        _stop(launch, recipe, steps)
        epochs.append(json.loads((_last(recipe.run_dir) / "progress.json").read_text())["epoch"])
    assert epochs[-1] >= 2, "the last stop is not in the third epoch"
    launch(recipe)
    assert _state(recipe.run_dir) == _state(whole)


def test_a_run_stopped_on_the_boundary_of_an_epoch_goes_on_bitwise(
    tiny: Tiny, launch: LaunchRun, make_loop: Callable[[Recipe], Any], tmp_path: Path
) -> None:
    size = len(make_loop(tiny()).examples.plan(0))
    common = (f"train.batch_size={size}", "train.micro_batch_size=16", "train.steps=4", "schedule.warmup_steps=1")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe = tiny(*common)
    _stop(launch, recipe, 1)
    progress = json.loads((_last(recipe.run_dir) / "progress.json").read_text())
    assert (progress["epoch"], progress["example"]) == (1, 0)
    launch(recipe)
    assert _state(recipe.run_dir) == _state(whole)


def test_a_run_that_was_killed_between_checkpoints_writes_no_line_of_metrics_twice(
    tiny: Tiny, launch: LaunchRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("log.every_steps=2", "checkpoint.every_steps=7", "evaluate.every_steps=8")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe = tiny(*common)
    with monkeypatch.context() as patch:  # dies at step 13, six steps behind its checkpoint, in the middle of a line
        patch.setattr("pretrain.loop.Loop._update", _dies_at_update(13))
        with pytest.raises(RuntimeError, match="power cut"):
            launch(recipe)
    with (recipe.run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "tok')
    assert max(line["step"] for line in _metrics_so_far(recipe.run_dir)) == 12
    launch(recipe)
    assert _state(recipe.run_dir) == _state(whole)


def _dies_at_update(update: int) -> Callable[[Any], None]:
    from pretrain.loop import Loop

    real = Loop._update

    def dies(loop: Loop) -> None:
        if loop.progress.step + 1 == update:
            raise RuntimeError("power cut")
        real(loop)

    return dies


def _metrics_so_far(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[:-1]]


@pytest.mark.parametrize("ends_at", [6, 20], ids=["between checkpoints", "at the end"])
def test_an_evaluation_that_a_signal_cut_off_is_made_up_for_once(
    tiny: Tiny, launch: LaunchRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_at: int
) -> None:
    common = ("evaluate.every_steps=6", "log.every_steps=2", "checkpoint.best=eval/mlm_nats")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe, real = tiny(*common), HeldOut.measure
    with monkeypatch.context() as patch:
        patch.setattr(HeldOut, "measure", _ends_in_evaluation(recipe, ends_at))
        with pytest.raises(Interrupted, match=rf"step {ends_at} is saved"):
            launch(recipe)
    assert HeldOut.measure is real
    assert not json.loads((_last(recipe.run_dir) / "progress.json").read_text())["evaluation"]
    if ends_at == 6:
        with monkeypatch.context() as patch:  # killed once more, when the evaluation was made up for and is not saved
            patch.setattr("pretrain.loop.Loop._update", _dies_at_update(8))
            with pytest.raises(RuntimeError, match="power cut"):
                launch(recipe)
        assert [line["step"] for line in _metrics(recipe.run_dir) if "tokens" not in line] == [6]
    launch(recipe)
    assert _state(recipe.run_dir) == _state(whole)


def _ends_in_evaluation(recipe: Recipe, step: int) -> Callable[..., dict[str, float]]:
    """Stands for a signal that comes while a step is evaluated."""
    real = HeldOut.measure

    def measure(held_out: HeldOut, *args: Any, asked: Callable[[], int], **options: Any) -> dict[str, float]:
        lines = _metrics(recipe.run_dir)
        return real(held_out, *args, asked=lambda: 143 if lines[-1]["step"] == step else 0, **options)

    return measure


def test_another_layout_is_told_and_the_same_one_is_not(
    tiny: Tiny, launch: LaunchRun, caplog: pytest.LogCaptureFixture
) -> None:
    _stop(launch, tiny(), 4)
    _stop(launch, tiny(), 4)
    assert not [record for record in caplog.records if "computed in another way" in record.getMessage()]
    run = launch(tiny("train.micro_batch_size=4"))
    (warning,) = [record.getMessage() for record in caplog.records if "computed in another way" in record.getMessage()]
    assert "(micro_batch_size: 16 -> 4)" in warning
    progress = json.loads((_last(run) / "progress.json").read_text())
    assert {step: layout["micro_batch_size"] for step, layout in progress["layouts"].items()} == {"0": 16, "8": 4}


def test_a_finished_run_that_is_launched_again_stays_as_it_is(
    tiny: Tiny, launch: LaunchRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = launch(tiny())
    before = _state(run)
    assert "is trained already" not in caplog.text
    launch(tiny())
    assert "tiny is trained already; --fresh starts again" in caplog.text
    assert _state(run) == before


def test_a_longer_log_interval_or_another_micro_batch_is_the_same_run(tiny: Tiny, launch: LaunchRun) -> None:
    _stop(launch, tiny(), 5)
    run = launch(tiny("log.every_steps=3", "train.micro_batch_size=8", "checkpoint.keep=1", "name=other"))
    steps = [line["step"] for line in _metrics(run) if "tokens" in line]
    assert steps == [5, *range(6, 20, 3), 20], "it went on and did not start anew"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000020"]


# What a launch goes on from ------------------------------------------------------------------------------------------


@pytest.fixture
def two_checkpoints(tiny: Tiny, launch: LaunchRun) -> Path:
    """A run with whole checkpoints of steps 5 and 10, stopped there."""
    _stop(launch, tiny("checkpoint.every_steps=5"), 10)
    folder = tiny().run_dir / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000005", "step-00000010"]
    return folder


def _damage(checkpoint: Path) -> None:
    weights = checkpoint / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


def test_a_changed_recipe_is_refused_with_the_keys_that_differ(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path
) -> None:
    with pytest.raises(RecipeError) as refusal:
        launch(tiny("optimizer.learning_rate=1e-3", "train.batch_size=8", "seed=8"))
    text = str(refusal.value)
    assert "step-00000010 was trained by another recipe, expected the same" in text
    for line in ("seed: 7 -> 8", "optimizer.learning_rate: 0.002 -> 0.001", "train.batch_size: 16 -> 8"):
        assert f"\n  {line}\n" in text
    assert "--fresh" in text


def test_changed_text_under_the_same_name_is_refused(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, corpus_files: tuple[Path, Path], tmp_path: Path
) -> None:
    longer = tmp_path / "train.jsonl"
    longer.write_text(corpus_files[0].read_text() + json.dumps({"text": "The old sailor left. He went home."}) + "\n")
    with pytest.raises(
        RecipeError, match=r"\n  corpus: its files, or the versions of sentencex or tokenizers, are other ones now\n"
    ):
        launch(tiny(f"corpus.files=[{longer}]"))


def test_fresh_starts_again_and_leaves_nothing_of_the_old_run(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, tmp_path: Path
) -> None:
    other = ("seed=8", "train.steps=8")
    whole = launch(tiny(*other, f"output_dir={tmp_path / 'whole'}"))
    run = launch(tiny(*other), fresh=True)
    assert [path.name for path in two_checkpoints.iterdir()] == ["step-00000008"]
    assert _state(run) == _state(whole)


def test_a_fresh_start_that_fails_leaves_the_old_run_as_it_was(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, tmp_path: Path
) -> None:
    run = two_checkpoints.parent
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(EncoderError, match=r"nowhere is not a transformers model folder"):
        launch(tiny(f"encoder={{from: {tmp_path / 'nowhere'}}}"), fresh=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_weights_that_are_no_numbers_are_never_saved(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretrain.loop import Loop

    update = Loop._update

    def spoil(loop: Loop) -> None:
        update(loop)
        with torch.no_grad():
            next(loop.objective.parameters()).fill_(float("nan"))

    monkeypatch.setattr(Loop, "_update", spoil)
    names = sorted(path.name for path in two_checkpoints.iterdir())
    recipe = tiny("checkpoint.every_steps=1", "log.every_steps=1000")
    with pytest.raises(TrainingError, match=r"no numbers at step 11, expected finite ones; they are not saved\. Lower"):
        launch(recipe)
    assert sorted(path.name for path in two_checkpoints.iterdir()) == names


def test_resume_names_the_checkpoint_to_go_on_from(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, tmp_path: Path
) -> None:
    whole = launch(tiny(f"output_dir={tmp_path / 'whole'}"))
    _stop(launch, tiny(), 2, resume=two_checkpoints / "step-00000005")
    assert max(path.name for path in two_checkpoints.iterdir()) == "step-00000007", (
        "later ones are of a run left behind"
    )
    run = launch(tiny())
    assert _state(run) == _state(whole)


def test_a_run_that_went_back_and_was_killed_at_once_goes_on_from_there(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = launch(tiny(f"output_dir={tmp_path / 'whole'}"))
    with monkeypatch.context() as patch:
        patch.setattr("pretrain.loop.Loop._update", _dies_at_update(7))
        with pytest.raises(RuntimeError, match="power cut"):
            launch(tiny(), resume=two_checkpoints / "step-00000005")
    assert [path.name for path in two_checkpoints.iterdir()] == ["step-00000005"], "its lines of metrics are gone"
    assert _state(launch(tiny())) == _state(whole)


def test_a_restart_by_torchrun_neither_starts_again_nor_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    back = Path("runs/x/checkpoints/step-00000005")
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    assert Launch.asked(resume=None, fresh=True) == Launch(fresh=True)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert Launch.asked(resume=back, fresh=False) == Launch(resume=back)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert Launch.asked(resume=None, fresh=True) == Launch.asked(resume=back, fresh=False) == Launch()


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _damage(two_checkpoints / "step-00000010")
    whole = launch(tiny(f"output_dir={tmp_path / 'whole'}"))
    caplog.clear()
    run = launch(tiny())
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    (warning,) = [record.getMessage() for record in warnings if record.name == "pretrain.checkpoints.checkpoint"]
    assert re.search(
        r"step-00000010 is damaged: model/model\.safetensors has other content.* It is passed over", warning
    )
    assert _state(run) == _state(whole)


def test_a_damaged_checkpoint_neither_pushes_out_a_whole_one_nor_is_the_best(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path
) -> None:
    (two_checkpoints / "step-00000010" / "progress.json").unlink()
    recipe = tiny("checkpoint.keep=1", "checkpoint.best=eval/mlm_nats")
    _stop(launch, recipe, 2)
    assert [path.name for path in two_checkpoints.iterdir()] == ["step-00000007"]
    launch(recipe)


def test_a_damaged_best_checkpoint_is_not_handed_over(tiny: Tiny, launch: LaunchRun) -> None:
    recipe = tiny("checkpoint.best=eval/mlm_nats")
    run = launch(recipe)
    before = (run / "model" / "model.safetensors").read_bytes()
    shutil.copytree(_last(run), run / "checkpoints" / "step-00000019")  # as good, and found first
    _damage(run / "checkpoints" / "step-00000019")
    with pytest.raises(CheckpointError, match=r"step-00000019 is damaged: model/model\.safetensors"):
        launch(recipe)
    assert (run / "model" / "model.safetensors").read_bytes() == before


def test_a_damaged_checkpoint_that_is_named_is_an_error(tiny: Tiny, launch: LaunchRun, two_checkpoints: Path) -> None:
    _damage(two_checkpoints / "step-00000010")
    with pytest.raises(CheckpointError, match=r"step-00000010 is damaged: .*, expected what its manifest"):
        launch(tiny(), resume=two_checkpoints / "step-00000010")
    with pytest.raises(
        CheckpointError, match=r"nowhere is no checkpoint, expected a folder such as .*step-\d+\. Name one"
    ):
        launch(tiny(), resume=two_checkpoints / "nowhere")


def test_a_run_without_a_whole_checkpoint_is_not_started_anew_in_silence(
    tiny: Tiny, launch: LaunchRun, two_checkpoints: Path
) -> None:
    for path in two_checkpoints.iterdir():
        _damage(path)
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* is whole, expected .* --fresh"):
        launch(tiny())
    assert len(list(two_checkpoints.iterdir())) == 2


# Signals -------------------------------------------------------------------------------------------------------------


def test_nothing_is_saved_where_nothing_was_trained(tiny: Tiny, launch: LaunchRun) -> None:
    with pytest.raises(Interrupted, match="no step was done yet") as interruption:
        launch(tiny(), stop_after=0, status=130)
    assert interruption.value.status == 130
    assert not (tiny().run_dir / "checkpoints").exists()


def test_real_signals_end_a_process_with_a_checkpoint_and_their_status(
    tiny: Tiny, launch: LaunchRun, tiny_file: Path, tmp_path: Path
) -> None:
    common = ("train.steps=100000", "schedule={name: constant, warmup_steps: 4}", "log.every_steps=1")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "pretrain", str(tiny_file), *common]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # bitwise at one thread count
    last = 0
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
            _wait_for_step(run / "metrics.jsonl", last + 3, process)
            process.send_signal(number)
            _, errors = process.communicate(timeout=120)
        assert process.returncode == status, errors
        step = json.loads((_last(run) / "progress.json").read_text())["step"]
        assert step > last
        assert errors.splitlines()[-1] == f"interrupted; step {step} is saved; launch the same command to go on"
        assert "Traceback" not in errors
        last = step
    lines = _metrics(run)
    assert [line["step"] for line in lines] == list(range(1, last + 1)), "a gap, or a line twice"

    shutil.move(run, tmp_path / "stopped")
    whole = tiny(*common, f"output_dir={tmp_path / 'whole'}")
    with pytest.raises(Interrupted):
        launch(whole, stop_after=last)
    stopped = (_last(tmp_path / "stopped") / "model" / "model.safetensors").read_bytes()
    assert stopped == (_last(whole.run_dir) / "model" / "model.safetensors").read_bytes()


def _wait_for_step(metrics: Path, step: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= step:
            return
        time.sleep(0.05)
    pytest.fail(f"step {step} did not come, exit status {process.poll()}")


def test_the_exit_status_of_a_run_that_ends_is_zero(tiny_file: Path) -> None:
    assert main([str(tiny_file), "train.steps=5"]) == 0
