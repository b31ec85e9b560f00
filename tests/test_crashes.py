"""Laws of saving under crashes: wherever a process is killed while it saves and prunes, a whole checkpoint stands."""

import logging
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain.checkpoints.checkpoint import Checkpoints, read_progress, verify
from pretrain.checkpoints.state import Snapshot
from pretrain.loop import Loop
from pretrain.recipe import Recipe
from tests.faults import crash

Fill = Callable[[Path], None]
Work = Callable[[Path], None]
METRIC = "eval/mlm_nats"


@pytest.fixture(autouse=True)
def _watching_ends() -> Iterator[None]:
    yield
    crash.stop()


def _is_killed(work: Callable[[], None], *, after: int, within: Path) -> bool:
    """Whether a child of this process that does the work is killed after so many operations; else it does it all."""
    with warnings.catch_warnings():  # of forking beside torch's threads, which the child has no use for
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            crash.arm(after, within)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(30_000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed"
            return os.WIFSIGNALED(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


def _small(folder: Path, content: str = "new", value: float = 2.0) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "weights").write_text(content)
    (folder / "progress.json").write_text(f'{{"content": "{content}", "evaluation": {{"{METRIC}": {value}}}}}')


def _wrote(run: Path, step: int, content: str, value: float = 2.0) -> Path:
    return Checkpoints(run).write(step, lambda folder: _small(folder, content, value))


# Where a crash finds a run: each makes one, and gives the work that may be killed ------------------------------------


def _first(run: Path) -> Work:
    return lambda run: _save(run, 1)


def _pruning_many(run: Path) -> Work:
    for step in (1, 2, 3, 9):
        _wrote(run, step, "old", value=float(step))
    return lambda run: _save(run, 4, best=METRIC, keep_every=2)


def _again(run: Path) -> Work:
    _wrote(run, 2, "old")
    return lambda run: _save(run, 2)


def _over_a_damaged_one(run: Path) -> Work:
    _wrote(run, 1, "old")
    (_wrote(run, 2, "damaged") / "state" / "weights").write_text("xx")
    return lambda run: _save(run, 2)


def _behind_a_crash(run: Path) -> Work:
    """The only checkpoint is the one that was set aside."""
    _wrote(run, 2, "old").rename(run / "checkpoints" / ".replaced-step-00000002")
    (run / "checkpoints" / ".writing-step-00000002").mkdir()
    (run / "checkpoints" / ".pruned-step-00000001").mkdir()
    return lambda run: _save(run, 2)


def _save(run: Path, step: int, keep_every: int | None = None, best: str | None = None) -> None:
    checkpoints = Checkpoints(run)
    checkpoints.clear_leftovers()
    checkpoints.newest_valid()
    checkpoints.write(step, _small)
    checkpoints.prune(step, keep=1, keep_every=keep_every, best=best)


PLACES: dict[str, Callable[[Path], Work]] = {
    "the first": _first,
    "pruning many": _pruning_many,
    "the same step again": _again,
    "over a damaged one": _over_a_damaged_one,
    "behind a crash": _behind_a_crash,
}


@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_save_is_killed_a_whole_checkpoint_stands_and_the_next_save_works(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = tmp_path / "before"
    work = PLACES[place](before)
    before.mkdir(exist_ok=True)
    operations = crash.watch(shutil.copytree(before, tmp_path / "whole"))
    work(tmp_path / "whole")
    crash.stop()
    total, old = len(operations), [path for path in Checkpoints(before).all() if path.name != "step-00000009"]
    assert total > 15
    caplog.clear()
    for after in range(total + 1):
        run = shutil.copytree(before, tmp_path / str(after))
        assert _is_killed(lambda run=run: work(run), after=after, within=run) == (after < total)
        _survived(run, has_old=bool(old) or place == "behind a crash", is_done=after == total)
        shutil.rmtree(run)
    named = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert all("state/weights has other content" in name for name in named), "a half one was taken for a checkpoint"
    assert bool(named) == (place == "over a damaged one")


def _survived(run: Path, *, has_old: bool, is_done: bool) -> None:
    checkpoints = Checkpoints(run)
    checkpoints.clear_leftovers()
    assert not [path for path in run.glob("checkpoints/*") if path not in checkpoints.all()], "not tidied up"
    newest = checkpoints.newest_valid()
    contents = [read_progress(path)["content"] for path in [newest] if path is not None]
    assert contents in ([["new"]] if is_done else [["old"], ["new"]] if has_old else [[], ["new"]])
    written = checkpoints.write(10, _small)
    checkpoints.prune(10, keep=1, best=None)
    assert list(checkpoints.folder.iterdir()) == [written]
    verify(written)


# A whole save, as a run does it --------------------------------------------------------------------------------------


@pytest.fixture
def fill(tiny: Callable[..., Recipe], make_loop: Callable[[Recipe], Loop]) -> Fill:
    """Writes all that a run's checkpoint holds of weights, optimizer and tokenizer."""
    from pretrain.assembly import prepared_store

    recipe = tiny("optimizer={name: adamw, learning_rate: 1e-3}")
    loop, store = make_loop(recipe), prepared_store(recipe)
    loop.step(0)

    return Snapshot.of(loop, store).write


def test_wherever_the_save_of_a_real_model_is_killed_its_weights_can_be_loaded(tmp_path: Path, fill: Fill) -> None:
    before = tmp_path / "before"
    Checkpoints(before).write(1, fill)

    def save(run: Path) -> None:
        checkpoints = Checkpoints(run)
        checkpoints.write(2, fill)
        checkpoints.prune(2, keep=1, best=None)

    operations = crash.watch(shutil.copytree(before, tmp_path / "whole"))
    save(tmp_path / "whole")
    crash.stop()
    kinds = [operation.kind for operation in operations]
    assert {"make", "write", "sync", "rename", "mkdir", "remove", "rmdir"} == set(kinds)
    made = {operation.path.name for operation in operations if operation.kind == "make"}
    assert {"model.safetensors", "optimizer.safetensors", "tokenizer.json", "config.json", "manifest.json"} <= made
    expected = load_file(tmp_path / "whole" / "checkpoints" / "step-00000002" / "model" / "model.safetensors")
    for after in range(len(operations)):
        run = shutil.copytree(before, tmp_path / str(after))
        assert _is_killed(lambda run=run: save(run), after=after, within=run)
        checkpoints = Checkpoints(run)
        checkpoints.clear_leftovers()
        newest = checkpoints.newest_valid()
        assert newest is not None
        found = load_file(newest / "model" / "model.safetensors")
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        shutil.rmtree(run)


def test_all_is_on_the_disk_before_it_is_renamed_and_the_renaming_before_anything_is_deleted(
    tmp_path: Path, fill: Fill
) -> None:
    checkpoints = Checkpoints(tmp_path / "run")
    for step in (1, 2):
        checkpoints.write(step, fill)
    operations = crash.watch(tmp_path / "run")
    checkpoints.write(2, fill)
    checkpoints.prune(2, keep=1, best=None)
    crash.stop()
    writing = checkpoints.folder / ".writing-step-00000002"
    renamed = _index(operations, "rename", checkpoints.folder / "step-00000002")
    behind = {path: number for number, (kind, path) in enumerate(operations[:renamed]) if kind in ("write", "mkdir")}
    assert len(behind) > 10
    for path, number in behind.items():
        assert ("sync", path) in operations[number:renamed], f"{path} is renamed before it is on the disk"
    manifest = _index(operations, "make", writing / "manifest.json")
    assert not {kind for kind, path in operations[manifest + 2 : renamed]} - {"sync", "rename"}, "it is not the last"
    assert all(("sync", path) in operations[:manifest] for path in behind if path.name != "manifest.json")

    deleted = [number for number, (kind, _) in enumerate(operations) if kind in ("remove", "rmdir")]
    for number in (number for number, (kind, _) in enumerate(operations) if kind == "rename"):
        following = [first for first in deleted if first > number]
        assert ("sync", checkpoints.folder) in operations[number : following[0]]
    hidden = (".replaced-", ".pruned-", ".writing-")
    below = [operations[number].path.relative_to(checkpoints.folder).parts[0] for number in deleted]
    assert below and all(name.startswith(hidden) for name in below), "a checkpoint was deleted under its own name"


def _index(operations: list[crash.Operation], kind: str, path: Path) -> int:
    return operations.index(crash.Operation(kind, path))
