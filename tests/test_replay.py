"""Laws of replaying: steps run again give every bit of a checkpoint; what was changed behind a manifest is named."""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from objectives import OBJECTIVES
from objectives.objective import Loss
from pretrain import verify
from pretrain.checkpoints.checkpoint import _write_manifest
from pretrain.distributed.signals import Interrupted
from pretrain.loop import Loop
from pretrain.recipe import Recipe, read_recipe

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[1]
EVERY = ("train.steps=12", "checkpoint.every_steps=3", "checkpoint.keep=9", "evaluate.every_steps=4")
DROPOUT = ("encoder.hidden_dropout_prob=0.2", "encoder.attention_probs_dropout_prob=0.2")
OF_OBJECTIVE: dict[str, tuple[str, ...]] = {
    "mlm": ("objective={name: mlm}", "examples={name: packed, max_seq_length: 32}"),
    "mlm_nsp": (),
    "mlm_sop": ("objective={name: mlm_sop}", "examples={name: sentence_order, max_seq_length: 32}"),
}
"""Overrides of the tiny recipe; replaced-token detection has those of the fixture `detection`."""
OPTIMIZERS = {
    "adamw": "optimizer={name: adamw, learning_rate: 2e-3}",
    "muon": "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02}",
}


def _digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, by what it holds and when it was written."""
    return {
        str(path.relative_to(folder)): f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    }


def _replayed(capsys: pytest.CaptureFixture[str], run: Path, num_steps: int) -> str:
    """What a replay that finds everything equal says of it."""
    assert verify.main([str(run), "--replay", str(num_steps)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()[-1]


def _refused(capsys: pytest.CaptureFixture[str], run: Path, num_steps: int) -> str:
    capsys.readouterr()
    assert verify.main([str(run), "--replay", str(num_steps)]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: LaunchRun) -> Path:
    """A finished run of 12 steps with checkpoints of 3, 6, 9 and 12."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return launch(read_recipe(folder / "tiny.yaml", [*EVERY, *DROPOUT, "log.every_steps=2"]))


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


def _list_anew(checkpoint: Path) -> None:
    """A manifest that fits what is there now."""
    (checkpoint / "manifest.json").unlink()
    _write_manifest(checkpoint)


# What is equal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_run_again_give_every_bit_and_change_nothing_of_the_run(
    tiny: Tiny, launch: LaunchRun, detection: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str],
    objective: str, optimizer: str,
) -> None:  # fmt: skip
    of_objective = detection["electra"] if objective == "replaced_token_detection" else OF_OBJECTIVE[objective]
    few = ("train.steps=6", "checkpoint.every_steps=2", "evaluate.every_steps=4", "log.every_steps=3")
    run = launch(tiny(*of_objective, *few, *DROPOUT, OPTIMIZERS[optimizer], "train.micro_batch_size=7"))
    before = _digests(run)
    assert "steps 4 to 6: equal bit for bit (weights, state/, progress.json and 2 lines" in _replayed(capsys, run, 1)
    assert _digests(run) == before


def test_a_run_is_replayed_from_its_beginning_where_no_checkpoint_stands_earlier(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _digests(run)
    for num_steps in (12, 500):
        assert "steps 0 to 12: equal bit for bit (weights, state/, progress.json and 9 lines" in _replayed(
            capsys, run, num_steps
        )
    assert _digests(run) == before


def test_threads_are_those_of_the_run_and_not_of_the_launch(
    tiny: Tiny, launch: LaunchRun, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run = launch(tiny("train.steps=6", "checkpoint.every_steps=4"))
        torch.set_num_threads(1)
        assert "steps 4 to 6: equal bit for bit" in _replayed(capsys, run, 2)
        assert torch.get_num_threads() == 1, "the process's own number is back"
    finally:
        torch.set_num_threads(threads)


def test_a_run_that_was_stopped_and_told_more_often_from_there_on_is_replayed(
    tiny: Tiny, launch: LaunchRun, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*DROPOUT, "train.steps=12", "checkpoint.every_steps=4", "checkpoint.keep=9")
    with pytest.raises(Interrupted):
        launch(tiny(*common, "log.every_steps=4"), stop_after=7)
    run = launch(tiny(*common, "log.every_steps=3"))
    shutil.rmtree(run / "checkpoints" / "step-00000007")
    assert "steps 4 to 12: equal bit for bit (weights, state/, progress.json and 3 lines" in _replayed(capsys, run, 5)


@pytest.mark.parametrize(("kept", "lines"), [(0, 0), (3, 2), (4, 3), (6, 5)])
def test_a_log_that_was_lost_or_cut_off_is_held_as_far_as_it_goes(
    copy: Path, capsys: pytest.CaptureFixture[str], kept: int, lines: int
) -> None:
    log = copy / "metrics.jsonl"
    whole = log.read_text().splitlines(keepends=True)
    assert [json.loads(line)["step"] for line in whole] == [2, 4, 4, 6, 8, 8, 10, 12, 12]
    log.write_text("".join(whole[:kept]) + whole[kept][:20])  # the last line as a power cut leaves it
    told = f"steps 3 to 12: equal bit for bit (weights, state/, progress.json and {lines} lines"
    assert told in _replayed(capsys, copy, 9)


def test_batches_that_were_skipped_are_skipped_again_and_written_down_nowhere(
    tiny: Tiny, launch: LaunchRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loop._accumulate

    def accumulate(loop: Loop, *arguments: Any, **options: Any) -> dict[str, Loss]:
        losses = real(loop, *arguments, **options)
        spoilt = losses["mlm"]._replace(total=losses["mlm"].total * math.nan)
        return losses | {"mlm": spoilt} if loop.progress.step == 5 else losses

    monkeypatch.setattr(Loop, "_accumulate", accumulate)
    common = ("train.steps=8", "checkpoint.every_steps=3", "checkpoint.keep=9", "log.every_steps=2")
    with pytest.raises(Interrupted):
        launch(tiny(*common, "train.on_nonfinite=skip"), stop_after=7)
    run = launch(tiny(*common, "train.on_nonfinite=stop"))
    before = _digests(run)
    assert "trouble/step-00000006/trouble.json" in before
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-2])["skipped_steps"] == 1
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    before = _digests(run)
    assert "steps 3 to 8: equal bit for bit" in _replayed(capsys, run, 4)
    assert _digests(run) == before


# What differs --------------------------------------------------------------------------------------------------------


def _change_by_one_ulp(file: Path) -> str:
    """Move one number of a file of tensors to its neighbour; gives the name of its tensor."""
    tensors = load_file(file)
    name = sorted(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 1)[3]
    flat = tensors[name].view(-1)
    flat[1] = torch.nextafter(flat[1], torch.tensor(torch.inf, dtype=flat.dtype))
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    save_file(tensors, file, metadata)
    return name


@pytest.mark.parametrize("file", ["model/model.safetensors", "state/optimizer.safetensors", "state/tally.safetensors"])
def test_one_ulp_behind_a_manifest_that_fits_is_found_and_named(
    copy: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    checkpoint = copy / "checkpoints" / "step-00000012"
    if "tally" in file:
        tensors = load_file(checkpoint / file)
        save_file({**tensors, "mlm": tensors["mlm"] + 1e-9}, checkpoint / file)
        name = "mlm"
    else:
        name = _change_by_one_ulp(checkpoint / file)
    shutil.rmtree(copy / "model")  # or the copy would tell
    _list_anew(checkpoint)
    assert verify.main([str(copy)]) == 0, "the manifest was not rewritten to fit"
    message = _refused(capsys, copy, 3)
    assert f"{checkpoint} is not what its steps give: steps 9 to 12 were run again from {copy}" in message
    found = re.search(
        rf"  {file}: {re.escape(name)} is the first of 1 of \d+ tensors that differ, by (\S+) at most", message
    )
    assert found, message
    assert 0.0 < float(found[1]) < 1e-6
    assert "The lines of metrics.jsonl (3) agree" in message
    assert "Do not go on from it: delete it and launch the same command" in message


def test_a_checkpoint_at_the_beginning_that_was_changed_is_told_by_the_metrics(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = copy / "checkpoints" / "step-00000009"
    weights = load_file(checkpoint / "model" / "model.safetensors")
    with safe_open(checkpoint / "model" / "model.safetensors", "pt") as opened:
        metadata = opened.metadata()
    save_file(
        {name: weight * 1.01 for name, weight in weights.items()}, checkpoint / "model" / "model.safetensors", metadata
    )
    _list_anew(checkpoint)
    message = _refused(capsys, copy, 3)
    assert re.search(
        r"metrics\.jsonl: the first line that differs is of step 10, \w\S+: [\d.e-]+ -> [\d.e-]+\n", message
    )
    assert f"Either {checkpoint} is not as the run left it, or the steps were computed otherwise" in message


@pytest.mark.parametrize(
    ("step", "key", "told"),
    [
        (10, "loss/mlm_nats", "of step 10, loss/mlm_nats: 1.5 -> "),
        (12, "eval/mlm_nats", "of step 12, eval/mlm_nats: 1.5 -> "),
        (12, "invented", "of step 12, invented: 1.5 -> nothing"),
    ],
)
def test_a_line_of_metrics_that_was_changed_is_found(
    copy: Path, capsys: pytest.CaptureFixture[str], step: int, key: str, told: str
) -> None:
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    line = next(line for line in lines if line["step"] == step and (key in line or key == "invented"))
    line[key] = 1.5
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert f"metrics.jsonl: the first line that differs is {told}" in _refused(capsys, copy, 3)


def test_a_figure_of_progress_that_was_changed_is_found(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = copy / "checkpoints" / "step-00000012"
    _edit(checkpoint, example=7, elapsed_seconds=1e6)
    message = _refused(capsys, copy, 3)
    assert re.search(r"  progress\.json: example: 7 -> \d+\n", message)
    assert "elapsed_seconds" not in message, "what the clock says is no difference"


def _edit(checkpoint: Path, **figures: Any) -> None:
    """Change progress.json and the manifest with it."""
    record = json.loads((checkpoint / "progress.json").read_text())
    (checkpoint / "progress.json").write_text(json.dumps(record | figures))
    _list_anew(checkpoint)


# What cannot be replayed ---------------------------------------------------------------------------------------------


def test_without_a_checkpoint_early_enough_it_says_what_would_do(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy / "checkpoints" / "step-00000003")
    message = _refused(capsys, copy, 10)
    assert "has whole checkpoints of steps 6, 9, 12, expected one of step 2 or before" in message
    assert (
        "Name --replay 6 or less, or --replay 12 to begin with the run; checkpoint.keep and checkpoint.keep_every"
        in message
    )
    for step in (6, 9):
        shutil.rmtree(copy / "checkpoints" / f"step-{step:08d}")
    assert "of step 11 or before to run the last 1 steps again from. Name --replay 12 to begin" in _refused(
        capsys, copy, 1
    )


def test_a_damaged_checkpoint_is_named_and_an_older_one_gone_on_from(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "checkpoints" / "step-00000009" / "state" / "optimizer.json").write_text("{}")
    assert verify.main([str(copy), "--replay", "3"]) == 2
    out, err = capsys.readouterr()
    assert "steps 6 to 12: equal bit for bit" in out
    assert "step-00000009 is damaged: state/optimizer.json has other content than was written" in err


def test_nothing_is_run_again_where_the_newest_checkpoint_is_damaged(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretrain.loop.Loop.step", lambda *_: pytest.fail("a step was done"))
    (copy / "checkpoints" / "step-00000012" / "progress.json").write_text("{}")
    assert "step-00000012 is damaged: progress.json has other content" in _refused(capsys, copy, 3)


LAYOUTS = {
    "world_size": (2, "were computed by 2 processes and 1 were started, expected as many, .*Start\n"
                      "  ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m pretrain.verify .*copy --replay N"),
    "device": ("cuda", r"in another way than this launch computes \(device: cuda -> cpu\), expected the same"),
    "versions": ({"python": "3.11.0", "torch": "0.4.1"}, r"\(.*torch: 0\.4\.1 -> .*\).* with the libraries"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_steps_of_another_layout_are_refused_with_the_way_to_replay_them(
    copy: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    value, told = LAYOUTS[name]
    checkpoint = copy / "checkpoints" / "step-00000012"
    layouts = json.loads((checkpoint / "progress.json").read_text())["layouts"]
    layouts["0"][name] = value
    _edit(checkpoint, layouts=layouts)
    assert re.search(told, _refused(capsys, copy, 3))


def test_steps_of_two_layouts_are_refused_and_those_of_the_last_one_replayed(
    tiny: Tiny, launch: LaunchRun, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*DROPOUT, "train.steps=8", "checkpoint.every_steps=2", "checkpoint.keep=9")
    with pytest.raises(Interrupted):
        launch(tiny(*common), stop_after=4)
    run = launch(tiny(*common, "train.micro_batch_size=5"))
    message = _refused(capsys, run, 5)
    assert "computes in another way from step 4 on (micro_batch_size: 16 -> 5), expected steps 2 to 8" in message
    assert "Name --replay 4 or less, which needs a checkpoint of step 4 or later" in message
    assert "steps 4 to 8: equal bit for bit" in _replayed(capsys, run, 4)


def test_checkpoints_that_do_not_say_how_they_were_computed_are_refused(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(copy / "checkpoints" / "step-00000012", layouts={})
    assert "does not say how step 9 was computed, expected the processes, threads" in _refused(capsys, copy, 3)


@pytest.mark.parametrize(
    ("schedule", "is_refused"),
    [
        ("{name: constant, warmup_steps: 2}", False),
        ("{name: linear, warmup_steps: 100}", False),  # the warm-up counts steps
        ("{name: linear, warmup_steps: 2}", True),
    ],
)
def test_learning_rates_that_followed_the_clock_are_refused(
    tiny: Tiny, launch: LaunchRun, capsys: pytest.CaptureFixture[str], schedule: str, is_refused: bool
) -> None:
    recipe = tiny("train.steps=null", "train.hours=1", f"schedule={schedule}", "checkpoint.every_steps=2")
    with pytest.raises(Interrupted):
        launch(recipe, stop_after=4)
    if is_refused:
        message = _refused(capsys, recipe.run_dir, 2)
        assert "schedule.name = linear followed the clock in steps 2 to 4, as train.hours is the budget" in message
    else:
        assert "steps 2 to 4: equal bit for bit" in _replayed(capsys, recipe.run_dir, 2)


def test_a_store_that_is_gone_is_named_with_the_way_to_make_it_again(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = copy / "checkpoints" / "step-00000012"
    text = (checkpoint / "recipe.yaml").read_text()
    (checkpoint / "recipe.yaml").write_text(re.sub(r"^cache_dir: .*$", "cache_dir: nowhere", text, flags=re.MULTILINE))
    _list_anew(checkpoint)
    message = _refused(capsys, copy, 3)
    assert re.search(r"the token store nowhere/\w+ that .*copy was trained on is not there.*pretrain\.prepare", message)


def test_a_checkpoint_that_a_run_prunes_meanwhile_is_said_to_be_gone(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loop.step

    def step(loop: Loop, status: int) -> int:
        shutil.rmtree(copy / "checkpoints" / "step-00000012", ignore_errors=True)
        return real(loop, status)

    monkeypatch.setattr(Loop, "step", step)
    assert "step-00000012 was pruned while its steps were run again, expected it to stay" in _refused(capsys, copy, 3)


def test_only_one_run_is_replayed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no run with checkpoints, expected one to replay" in _refused(
        capsys, run / "checkpoints" / "step-00000012", 3
    )
    for arguments, told in (
        ([str(run), str(run), "--replay", "3"], "goes with one run"),
        ([str(run), "--replay", "0"], "at least 1"),
    ):
        with pytest.raises(SystemExit) as ending:
            verify.main(arguments)
        assert ending.value.code == 2
        assert told in capsys.readouterr().err


# Interruptions, and several processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["pretrain.replay._run_again", "pretrain.checkpoints.state.Snapshot.write"])
def test_an_interruption_leaves_nothing_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupted(*arguments: Any) -> None:
        if place.endswith("write"):
            (arguments[1] / "half").write_text("done")
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)  # type: ignore[operator, misc]

    monkeypatch.setattr(place, interrupted)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = _digests(run)
    with pytest.raises(SystemExit) as ending:
        verify.main([str(run), "--replay", "3"])
    assert ending.value.code == 130
    assert _digests(run) == before
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_two_processes_is_replayed_by_two(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = (
        *DROPOUT,
        "schedule.warmup_steps=1",
        "train.steps=4",
        "checkpoint.every_steps=2",
        "train.micro_batch_size=3",
    )
    done = _two_processes("pretrain", str(tiny_file), *overrides)
    assert done.returncode == 0, done.stderr
    before = _digests(tmp_path / "run")
    done = _two_processes("pretrain.verify", str(tmp_path / "run"), "--replay", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("steps 2 to 4: equal bit for bit") == 1, "said once, by the main process"
    assert _digests(tmp_path / "run") == before
    assert "were computed by 2 processes and 1 were started" in _refused(capsys, tmp_path / "run", 2)


def _two_processes(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "MASTER_"))}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
