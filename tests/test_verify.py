"""Laws of pretrain.verify: what is whole is said to be, and every damage is named at once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrain import verify
from pretrain.recipe import Recipe, read_recipe


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: Callable[..., Path]
) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    recipe: Recipe = read_recipe(
        folder / "tiny.yaml", ["train.steps=6", "checkpoint.every_steps=3", f"cache_dir={folder / 'cache'}"]
    )
    return launch(recipe)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def _store(run: Path) -> Path:
    (store,) = [path for path in (run.parent / "cache").iterdir() if path.is_dir()]
    return store


def test_a_whole_run_is_verified_with_its_store_and_its_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(run)]) == 0
    names = [run / "checkpoints" / "step-00000003", run / "checkpoints" / "step-00000006", _store(run)]
    assert capsys.readouterr().out.splitlines() == [
        *(f"{name}: as it was written" for name in names),
        f"{run / 'model'}: as step-00000006 has it",
        f"{run}: not held against anything: metrics.jsonl, recipe.yaml, model/README.md",
    ]


@pytest.mark.parametrize("damage", ["has other content", "is missing"])
def test_a_finished_model_that_is_not_its_checkpoints_is_named(
    copy: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    weights = copy / "model" / "model.safetensors"
    if damage == "is missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert verify.main([str(copy)]) == 2
    message = capsys.readouterr().err
    assert f"{copy / 'model'} is damaged: model.safetensors {damage}, expected what {copy}" in message
    assert "Launch the run again" in message


def test_the_generator_is_held_as_well(
    tiny: Callable[..., Recipe],
    launch: Callable[..., Path],
    detection: dict[str, tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = launch(tiny(*detection["electra"], "train.steps=5"))
    assert verify.main([str(run)]) == 0
    assert f"{run / 'generator'}: as step-00000005 has it" in capsys.readouterr().out
    (run / "generator" / "config.json").write_text("{}")
    assert verify.main([str(run)]) == 2
    assert f"{run / 'generator'} is damaged: config.json has other content" in capsys.readouterr().err


def test_what_cannot_be_held_against_anything_is_said(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "checkpoints" / ".writing-step-00000009").mkdir()
    (copy / "notes.txt").write_text("mine")
    checkpoint = copy / "checkpoints" / "step-00000006"
    shutil.rmtree(checkpoint)
    assert verify.main([str(copy)]) == 0, "none of this is damage"
    told = capsys.readouterr().out
    assert f"{copy / 'model'}: not held against anything: its checkpoint, of step 6, is not there any more" in told
    assert f"{copy}: not held against anything: metrics.jsonl, model, notes.txt, recipe.yaml" in told
    assert f"{copy / 'checkpoints' / '.writing-step-00000009'}: of a save that is under way or was cut off" in told
    (copy / "model" / "README.md").write_text("# a card of my own")
    assert verify.main([str(copy)]) == 0
    assert f"{copy / 'model'}: not held against anything: its README.md does not say" in capsys.readouterr().out


def test_a_store_that_is_gone_is_said(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = copy / "checkpoints" / "step-00000006" / "recipe.yaml"
    text = recipe.read_text()
    assert "cache_dir: " in text
    recipe.write_text(text.replace("cache_dir: ", "cache_dir: nowhere", 1))
    assert verify.main([str(copy)]) == 2, "the recipe was changed"
    told = capsys.readouterr()
    assert "not held against anything: its token store, nowhere" in told.out
    assert "model: not held against anything: its checkpoint, of step 6, is damaged" in told.out


def test_a_checkpoint_and_a_store_can_be_named(run: Path) -> None:
    assert verify.main([str(run / "checkpoints" / "step-00000003"), str(_store(run))]) == 0


def test_every_damaged_checkpoint_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint in (copy / "checkpoints").iterdir():
        (checkpoint / "model" / "config.json").write_text("{}")
    assert verify.main([str(copy)]) == 2
    message = capsys.readouterr().err
    assert all(f"step-0000000{step}" in message for step in (3, 6))
    assert message.count("config.json has other content than was written") == 2


def test_a_flipped_bit_in_a_store_is_found(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = shutil.copytree(_store(run), tmp_path / "store")
    file = next(store.glob("shards/*/train_ids.npy"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 4
    file.write_bytes(content)
    assert verify.main([str(store)]) == 2
    message = capsys.readouterr().err
    assert "train_ids.npy: got other bytes than were written, expected sha256" in message
    assert "Delete this folder and prepare the corpus again" in message


def test_a_folder_with_nothing_to_verify_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "is no run with checkpoints, no checkpoint and no token store, expected one of them" in message
    assert "Traceback" not in message


def test_damage_is_told_beside_what_cannot_be_verified(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "checkpoints" / "step-00000003" / "model" / "config.json").write_text("{}")
    assert verify.main([str(copy), str(tmp_path / "nothing")]) == 2
    message = capsys.readouterr().err
    assert "config.json has other content" in message
    assert "nothing is no run" in message
