"""Laws of the checkpoints: whole or not there, every damage found and named, pruned behind newer ones, no pickle."""

import errno
import json
import logging
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pretrain.checkpoints import checkpoint
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints, _write_manifest, read_progress, verify
from pretrain.distributed.signals import Interrupted
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
FILES = (
    *(f"model/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")),
    "model/extra_heads.safetensors",
    *(f"state/{name}" for name in ("optimizer.json", "optimizer.safetensors", "tally.safetensors")),
    "progress.json",
    "recipe.yaml",
)


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real checkpoint, of ModernBERT with next sentences: the one with the most files."""
    yield from _made_once(request, tmp_path_factory)


def _made_once(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Iterator[Path]:
    from pretrain.recipe import read_recipe

    folder = factory.mktemp("whole")
    train, valid = request.getfixturevalue("corpus_files")
    recipe = folder / "r.yaml"
    recipe.write_text(
        f"""\
name: whole
output_dir: {folder / "run"}
cache_dir: {request.getfixturevalue("cache_dir")}
corpus: {{files: [{train}], held_out: {{files: [{valid}]}}}}
tokenizer: {{name: wordpiece, vocab_size: 200}}
examples: {{name: sentence_pairs, max_seq_length: 32}}
masking: {{name: token}}
encoder: {{name: modernbert, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}}
objective: {{name: mlm_nsp}}
optimizer: {{name: muon, learning_rate: 1e-3, muon_learning_rate: 0.01}}
schedule: {{name: constant}}
train: {{steps: 2, batch_size: 4, mixed_precision: no}}
"""
    )
    run = request.getfixturevalue("launch")(read_recipe(recipe))
    yield run / "checkpoints" / "step-00000002"


# What it holds -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_holds_these_files_and_its_manifest_lists_every_one(whole: Path) -> None:
    found = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert found == {*FILES, "manifest.json"}
    assert json.loads((whole / "manifest.json").read_text())["files"].keys() == set(FILES)


def test_nothing_in_a_checkpoint_is_a_pickle(whole: Path) -> None:
    for path in whole.rglob("*"):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                assert list(file.keys())
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.is_file():
            assert path.name == "recipe.yaml"
            assert path.read_text(encoding="utf-8").startswith("name: whole")


def test_a_whole_checkpoint_is_verified(whole: Path) -> None:
    verify(whole)
    progress = read_progress(whole)
    assert (progress["step"], progress["world_size"], progress["mixed_precision"]) == (2, 1, "no")
    assert {"torch", "transformers", "tokenizers", "accelerate", "python"} <= progress["versions"].keys()


# Damage --------------------------------------------------------------------------------------------------------------


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "cut by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "a bit flipped": _flip_a_bit,
    "deleted": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_every_damage_to_every_file_is_found_and_named(whole: Path, tmp_path: Path, name: str, damage: str) -> None:
    checkpoint = shutil.copytree(whole, tmp_path / "step-00000002")
    DAMAGES[damage](checkpoint / name)
    what = "cannot be read" if damage == "deleted" else "has other content than was written"
    with pytest.raises(CheckpointError, match=rf"step-00000002 is damaged: {name} {what}.*expected .*manifest.*Delete"):
        verify(checkpoint)


@pytest.mark.parametrize("damage", ["emptied", "deleted", "cut by a byte"])
def test_a_damaged_manifest_is_found(whole: Path, tmp_path: Path, damage: str) -> None:
    checkpoint = shutil.copytree(whole, tmp_path / "step-00000002")
    manifest = checkpoint / "manifest.json"
    manifest.write_text(manifest.read_text().rstrip())
    DAMAGES[damage](manifest)
    with pytest.raises(CheckpointError, match=r"step-00000002 is damaged: manifest\.json cannot be read"):
        verify(checkpoint)


def test_the_newest_whole_checkpoint_is_found_behind_damaged_ones(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        shutil.copytree(whole, tmp_path / "checkpoints" / f"step-{step:08d}")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest_valid() == tmp_path / "checkpoints" / "step-00000003"
    for step in (3, 2):
        (tmp_path / "checkpoints" / f"step-{step:08d}" / "recipe.yaml").unlink()
    assert checkpoints.newest_valid() == tmp_path / "checkpoints" / "step-00000001"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["step-00000003" in warned[0], "step-00000002" in warned[1]] == [True, True]


# Writing -------------------------------------------------------------------------------------------------------------


def _fill(folder: Path, content: str = "x", **evaluation: float) -> None:
    (folder / "weights").write_text(content)
    (folder / "progress.json").write_text(json.dumps({"evaluation": evaluation}))


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for content in ("old", "new"):
        path = checkpoints.write(7, lambda folder, content=content: _fill(folder, content))
    assert checkpoints.all() == [path]
    assert (path / "weights").read_text() == "new"


def test_one_that_is_replaced_comes_back_if_the_new_one_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.write(7, lambda folder: _fill(folder, "old"))
    sync = checkpoint.sync_path

    def corrupting(synced: Path) -> None:  # a disk that keeps something else
        sync(synced)
        if synced == checkpoints.folder and path.exists() and (path / "weights").read_text() == "new":
            (path / "weights").write_text("n\0w")

    monkeypatch.setattr(checkpoint, "sync_path", corrupting)
    with pytest.raises(CheckpointError, match="step-00000007 is damaged: weights has other content"):
        checkpoints.write(7, lambda folder: _fill(folder, "new"))
    assert list(checkpoints.folder.iterdir()) == [path]
    assert (path / "weights").read_text() == "old"
    verify(path)


@pytest.mark.parametrize("place", [None, "damaged", "whole"])
@pytest.mark.parametrize("aside", ["damaged", "whole"])
def test_of_two_of_one_step_that_a_crash_left_the_whole_one_is_kept(
    tmp_path: Path, place: str | None, aside: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    path, old = checkpoints.folder / "step-00000007", checkpoints.folder / ".replaced-step-00000007"
    for target, state in ((old, aside), (path, place)):
        if state is not None:
            checkpoints.write(7, lambda folder, target=target: _fill(folder, target.name)).rename(target)
            if state == "damaged":
                (target / "progress.json").write_text("damaged")
        if target is old:
            old.rename(tmp_path / "aside")  # the next write would clear it
    (tmp_path / "aside").rename(old)
    checkpoints.clear_leftovers()
    assert list(checkpoints.folder.iterdir()) == [path]
    comes_back = place is None or (place, aside) == ("damaged", "whole")
    assert (path / "weights").read_text() == (old if comes_back else path).name


def _refuses(number: int) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        _fill(folder)
        raise OSError(number, "refused")

    return fill


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_a_write_that_the_disk_refuses_leaves_the_earlier_ones_and_says_so(tmp_path: Path, number: int) -> None:
    checkpoints = Checkpoints(tmp_path)
    first = checkpoints.write(1, _fill)
    with pytest.raises(CheckpointError, match=r"step 2 could not be written .*expected room.* Earlier .*make room"):
        checkpoints.write(2, _refuses(number))
    assert list(checkpoints.folder.iterdir()) == [first]
    verify(first)


def test_a_write_that_is_cut_off_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)

    def dies(folder: Path) -> None:
        _fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(1, dies)
    assert list(checkpoints.folder.iterdir()) == []
    (checkpoints.folder / ".writing-step-00000002").mkdir()  # as a power cut leaves it
    assert checkpoints.all() == []
    checkpoints.write(2, _fill)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000002"]


@contextmanager
def _files_of_at_most(num_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_while_training_costs_only_the_new_checkpoint(
    tiny: Tiny, launch: LaunchRun, tmp_path: Path
) -> None:
    recipe = tiny("checkpoint.every_steps=4", "train.steps=8")
    with pytest.raises(Exception, match="is saved"):
        launch(recipe, stop_after=4)
    (first,) = (recipe.run_dir / "checkpoints").iterdir()
    with _files_of_at_most(50_000), pytest.raises(CheckpointError, match="step 8 could not be written"):
        launch(recipe)
    assert list((recipe.run_dir / "checkpoints").iterdir()) == [first]
    verify(first)
    launch(recipe)
    assert (recipe.run_dir / "model" / "model.safetensors").exists()


def test_a_tokenizer_that_finds_no_room_is_a_full_disk_too(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: Any, **__: Any) -> None:  # the tokenizers library raises nothing narrower
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", save)
    with pytest.raises(CheckpointError, match=r"step 6 could not be written .*No space left on device"):
        launch(tiny("train.steps=6"))


# Pruning -------------------------------------------------------------------------------------------------------------


def _steps(checkpoints: Checkpoints) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints.all()]


@pytest.mark.parametrize(
    ("metric", "best"), [("eval/mlm_nats", 2), ("eval/accuracy/mlm", 1), ("eval/auc/discriminator", 1)]
)
def test_the_newest_and_the_best_are_kept(tmp_path: Path, metric: str, best: int) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step, value in enumerate((9.0, 3.0, 5.0, 4.0, 6.0), start=1):
        checkpoints.write(step, lambda folder, value=value: _fill(folder, **{metric: value}))
    checkpoints.write(6, _fill)  # one that was not evaluated
    assert checkpoints.best(metric) == checkpoints.folder / f"step-{best:08d}"
    checkpoints.prune(6, keep=2, best=metric)
    assert _steps(checkpoints) == [best, 5, 6]
    checkpoints.prune(6, keep=1, best=None)
    assert _steps(checkpoints) == [6]


def test_checkpoints_of_later_steps_make_way(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 5, 9, 2):
        checkpoints.write(step, _fill)
    checkpoints.prune(2, keep=2, best=None)
    assert _steps(checkpoints) == [1, 2]


def test_checkpoints_of_a_multiple_are_kept_for_good_unless_a_resume_went_behind_them(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (2, 3, 4, 6, 8, 9):
        checkpoints.write(step, _fill)
    checkpoints.prune(9, keep=1, keep_every=4, best=None)
    assert _steps(checkpoints) == [4, 8, 9]
    checkpoints.write(6, _fill)
    checkpoints.prune(6, keep=1, keep_every=4, best=None)
    assert _steps(checkpoints) == [4, 6]


@pytest.mark.parametrize(
    ("whole", "left"), [({2}, [2, 4]), ({1, 2}, [2, 4]), ({9}, [4, 9]), ({3, 4}, [4]), (set(), [4])]
)
def test_the_only_whole_checkpoint_is_never_pruned(tmp_path: Path, whole: set[int], left: list[int]) -> None:
    for step in (1, 2, 3, 4, 9):
        path = Checkpoints(tmp_path).write(step, _fill)
        if step not in whole:
            (path / "weights").write_text("damaged")
    checkpoints = Checkpoints(tmp_path)  # of a process that wrote none of them
    checkpoints.prune(4, keep=1, best=None)
    assert _steps(checkpoints) == left


def test_what_was_just_written_and_verified_is_not_read_again_to_prune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.write(step, _fill)
    monkeypatch.setattr("pretrain.checkpoints.checkpoint.verify", lambda path: pytest.fail("it is read again"))
    checkpoints.prune(2, keep=1, best=None)
    assert _steps(checkpoints) == [2]


def test_a_copy_under_another_name_is_no_checkpoint_and_is_left_alone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    copy = shutil.copytree(checkpoints.write(1, _fill), checkpoints.folder / "step-00000001.bak")
    checkpoints.write(2, _fill)
    checkpoints.prune(2, keep=1, best=None)
    assert sorted(checkpoints.folder.iterdir()) == [copy, checkpoints.folder / "step-00000002"]


def test_a_step_of_more_digits_is_newer(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (99_999_999, 100_000_000):
        checkpoints.write(step, _fill)
    assert _steps(checkpoints) == [99_999_999, 100_000_000]


def test_a_training_run_keeps_as_many_as_asked_and_hands_over_the_best(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {6: 3.0, 12: 1.0, 18: 2.0, 20: 4.0}
    values = iter(scores.values())
    monkeypatch.setattr("pretrain.evaluation.HeldOut.measure", lambda *_, **__: {"eval/mlm_nats": next(values)})
    every = ("checkpoint.every_steps=6", "evaluate.every_steps=6")
    run = launch(tiny(*every, "checkpoint.keep=1", "checkpoint.best=eval/mlm_nats"))
    assert _steps(Checkpoints(run)) == [12, 20]
    kept, last = (path / "model" / "model.safetensors" for path in Checkpoints(run).all())
    assert (run / "model" / "model.safetensors").read_bytes() == kept.read_bytes() != last.read_bytes()
    assert "| steps | 12 |" in (run / "model" / "README.md").read_text()


def test_a_checkpoint_carries_the_evaluation_of_its_own_step_only(tiny: Tiny, launch: LaunchRun) -> None:
    run = launch(tiny("evaluate.every_steps=4", "checkpoint.every_steps=6", "checkpoint.keep=9"))
    evaluated = {path.name: bool(read_progress(path)["evaluation"]) for path in Checkpoints(run).all()}
    assert evaluated == {
        "step-00000006": False, "step-00000012": True, "step-00000018": False, "step-00000020": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("progress.json", {"layouts": 3}, "progress.json"),
        ("progress.json", {"layouts": {"0": {"world_size": 1}}}, "progress.json"),
        ("state/tally.safetensors", None, "step-00000005"),
    ],
)
def test_a_checkpoint_of_another_shape_is_said_to_be_one(
    tiny: Tiny, launch: LaunchRun, file: str, change: dict[str, object] | None, named: str
) -> None:
    with pytest.raises(Interrupted):
        launch(tiny(), stop_after=5)
    (checkpoint,) = Checkpoints(tiny().run_dir).all()
    if change is None:
        save_file({"mlm": torch.zeros(7)}, checkpoint / file)
    else:
        (checkpoint / file).write_text(json.dumps(read_progress(checkpoint) | change))
    (checkpoint / "manifest.json").unlink()
    _write_manifest(checkpoint)  # as someone who wants it to pass would
    with pytest.raises(CheckpointError, match=rf"{named} does not fit \(.*expected the state of this recipe's run"):
        launch(tiny())
