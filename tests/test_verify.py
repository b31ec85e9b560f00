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


def test_a_whole_run_is_verified_with_its_store(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(run)]) == 0
    names = [run / "checkpoints" / "step-00000003", run / "checkpoints" / "step-00000006", _store(run)]
    assert capsys.readouterr().out.splitlines() == [f"{name}: as it was written" for name in names]


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
