"""Laws of saving beside the training: what is written is the moment of the save, and no failure is lost."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from objectives import OBJECTIVES
from pretrain.assembly import prepared_store
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints, verify
from pretrain.checkpoints.saving import Saving
from pretrain.checkpoints.state import Snapshot
from pretrain.distributed.signals import Interrupted
from pretrain.loop import Loop
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def recipe_of(tiny: Tiny, detection: dict[str, tuple[str, ...]]) -> Callable[[str], Recipe]:
    """The tiny recipe of an objective."""
    of = {
        "mlm": ("objective={name: mlm}", "examples={name: packed, max_seq_length: 32}"),
        "mlm_sop": ("objective={name: mlm_sop}", "examples={name: sentence_order, max_seq_length: 32}"),
        "replaced_token_detection": (*detection["electra"], "objective.sharing=gradient_disentangled"),
    }
    return lambda name: tiny(*of.get(name, ()), "train.steps=200")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_snapshot_does_not_follow_the_loop_and_shares_what_the_loop_shares(
    recipe_of: Callable[[str], Recipe], make_loop: Callable[[Recipe], Loop], tmp_path: Path, name: str
) -> None:
    recipe = recipe_of(name)
    loop, store = make_loop(recipe), prepared_store(recipe)
    for _ in range(2):
        loop.step(0)
    snapshot = Snapshot.of(loop, store)
    (tmp_path / "before").mkdir()
    snapshot.write(tmp_path / "before")
    ours = {parameter.data_ptr() for parameter in loop.objective.parameters()}
    theirs = [parameter.data_ptr() for parameter in snapshot.objective.parameters()]
    assert not ours & set(theirs) and len(theirs) == len(ours)
    loop.step(0)
    (tmp_path / "after").mkdir()
    snapshot.write(tmp_path / "after")
    assert _files(tmp_path / "before") == _files(tmp_path / "after")
    (tmp_path / "now").mkdir()
    Snapshot.of(loop, store).write(tmp_path / "now")
    changed = {
        file for file, content in _files(tmp_path / "now").items() if content != _files(tmp_path / "after")[file]
    }
    assert {"model/model.safetensors", "state/optimizer.safetensors", "progress.json"} <= changed


def test_training_goes_on_while_a_checkpoint_is_written_and_the_next_one_waits(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    common = ("checkpoint.every_steps=5", "checkpoint.keep=9")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    steps: list[int] = []
    behind: dict[int, int] = {}
    real_write, real_step = Checkpoints.write, Loop.step

    def write(checkpoints: Checkpoints, step: int, fill: Callable[[Path], None]) -> Path:
        until = time.monotonic() + 60
        while step < 20 and steps[-1] < step + 4 and time.monotonic() < until:
            time.sleep(0.001)
        behind[step] = steps[-1]
        return real_write(checkpoints, step, fill)

    def step(loop: Loop, status: int) -> int:
        steps.append(loop.progress.step)
        return real_step(loop, status)

    monkeypatch.setattr(Checkpoints, "write", write)
    monkeypatch.setattr(Loop, "step", step)
    run = launch(tiny(*common))
    assert behind == {5: 9, 10: 14, 15: 19, 20: 19}, "the last step before the next save is trained meanwhile"
    clock = {"elapsed_seconds", "logged_seconds"}
    for path in Checkpoints(run).all():
        verify(path)
        files, expected = _files(path), _files(whole / "checkpoints" / path.name)
        assert files.pop("model/model.safetensors") == expected.pop("model/model.safetensors")
        assert files.pop("state/optimizer.safetensors") == expected.pop("state/optimizer.safetensors")
        records = [json.loads(of["progress.json"]) for of in (files, expected)]
        assert len({json.dumps({key: of[key] for key in of.keys() - clock}, sort_keys=True) for of in records}) == 1


def test_a_write_that_fails_stops_the_run_and_leaves_the_earlier_checkpoints(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Snapshot.write

    def fails(snapshot: Snapshot, folder: Path) -> None:
        real(snapshot, folder)
        if snapshot.record["step"] == 10:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Snapshot, "write", fails)
    with pytest.raises(CheckpointError, match=r"checkpoint of step 10 could not be written .* Earlier checkpoints are"):
        launch(tiny("checkpoint.every_steps=5", "log.every_steps=1"))
    assert [path.name for path in Checkpoints(tiny().run_dir).folder.iterdir()] == ["step-00000005"]


@pytest.mark.parametrize("stop_after", [5, None])
def test_a_run_does_not_end_before_its_last_checkpoint_stands(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch, stop_after: int | None
) -> None:
    real = Snapshot.write

    def slowly(snapshot: Snapshot, folder: Path) -> None:
        time.sleep(0.5)
        real(snapshot, folder)

    monkeypatch.setattr(Snapshot, "write", slowly)
    if stop_after is None:
        launch(tiny())
    else:
        with pytest.raises(Interrupted, match="step 5 is saved"):
            launch(tiny(), stop_after=stop_after)
    (checkpoint,) = Checkpoints(tiny().run_dir).all()
    verify(checkpoint)


def test_what_went_wrong_is_raised_once_and_where_it_is_waited_for() -> None:
    saving, begun = Saving(), threading.Event()

    def fails() -> Any:
        begun.set()
        raise CheckpointError("no room")

    saving.start(fails)
    begun.wait()
    with pytest.raises(CheckpointError, match="no room"):
        saving.finish()
    saving.finish()
    done: list[torch.Tensor] = []
    saving.start(lambda: done.append(torch.zeros(1)))
    saving.finish()
    saving.check()
    assert len(done) == 1
