"""The damage table: whatever happens to whichever file of a checkpoint of any objective is found and named."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objectives import OBJECTIVES
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints, verify
from pretrain.recipe import read_recipe

Damage = Callable[[Path], object]
PAIRS = {"mlm_nsp": "sentence_pairs", "mlm_sop": "sentence_order"}


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 << len(content) % 8
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "one bit flipped": _flip_a_bit,
    "deleted": Path.unlink,
}


@pytest.fixture(scope="module", params=OBJECTIVES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of an objective with two checkpoints, of the encoder and sharing with the most files."""
    folder, name = tmp_path_factory.mktemp("run"), request.param
    (folder / "tiny.yaml").write_text(request.getfixturevalue("tiny_text")(folder / "run"), encoding="utf-8")
    is_detection = name == "replaced_token_detection"
    objective = f"{{name: {name}{', generator_fraction: 1.0, sharing: gradient_disentangled' * is_detection}}}"
    recipe = read_recipe(
        folder / "tiny.yaml",
        [
            "encoder={name: electra, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, "
            "embedding_size: 16, intermediate_size: 16, max_position_embeddings: 40}",
            f"objective={objective}",
            f"examples={{name: {PAIRS.get(name, 'packed')}, max_seq_length: 32}}",
            "schedule={name: constant}",
            "train={steps: 4, batch_size: 4, mixed_precision: no}",
            "checkpoint={every_steps: 2}",
        ],
    )
    launched: Path = request.getfixturevalue("launch")(recipe)
    return launched


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def _damaged(file: Path) -> Iterator[str]:
    """Do each damage to a file in turn, and take it back."""
    content = file.read_bytes()
    for name, damage in DAMAGES.items():
        damage(file)
        yield name
        file.write_bytes(content)


def test_every_damage_to_every_file_is_named_and_the_checkpoint_before_is_used(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older, newer = Checkpoints(run).all()
    files = _files(newer)
    assert {"model/model.safetensors", "state/optimizer.safetensors", "progress.json", "manifest.json"} <= {
        str(file.relative_to(newer)) for file in files
    }
    for file in files:
        name = file.relative_to(newer).as_posix()
        for damage in _damaged(file):
            with pytest.raises(CheckpointError) as refused:
                verify(newer)
            others = [str(other.relative_to(newer)) for other in files if other not in (file, newer / "manifest.json")]
            message = str(refused.value)
            assert f"{newer} is damaged: {name} " in message, damage
            if name != "manifest.json":
                assert not [other for other in others if f"; {other}" in message], "what is whole is named as well"
            caplog.clear()
            assert Checkpoints(run).newest_valid() == older
            (warned,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
            assert warned == f"{message} It is passed over."
    assert Checkpoints(run).newest_valid() == newer


def test_all_damages_are_named_at_once(run: Path, tmp_path: Path) -> None:
    place = shutil.copytree(Checkpoints(run).all()[-1], tmp_path / "step-00000004")
    for file in _files(place):
        if file.name != "manifest.json":
            _flip_a_bit(file)
    (place / "more").mkdir()
    (place / "more" / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError) as refused:
        verify(place)
    for file in _files(place):
        what = "is not listed" if file.name == "pytorch_model.bin" else "has other content than was written"
        assert file.name == "manifest.json" or f"{file.relative_to(place)} {what}" in str(refused.value)


# Made by hand --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    def fill(folder: Path) -> None:
        (folder / "state").mkdir()
        for name in ("progress.json", "state/a0", "state/a1"):  # of the last two the names differ by one bit
            (folder / name).write_text("{}")

    return Checkpoints(tmp_path).write(1, fill)


def test_every_flipped_bit_of_a_manifest_is_found(small: Path) -> None:
    manifest = small / "manifest.json"
    content = manifest.read_bytes()
    for bit in range(len(content) * 8):
        with manifest.open("r+b") as file:  # in place: to empty a file first is slow
            file.write(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
        try:
            verify(small)
        except CheckpointError as error:
            assert "is damaged: manifest.json " in str(error)
        else:
            raise AssertionError(f"bit {bit} of {content!r} is not missed")


@pytest.mark.parametrize(
    ("manifest", "what"),
    [
        ({"files": {}}, r"progress\.json is not listed; state/a0 is not listed; state/a1 is not listed"),
        ({}, r"manifest\.json cannot be read"),
        ([], r"manifest\.json cannot be read"),
        ({"files": 3}, r"manifest\.json cannot be read"),
        ({"files": {"../x": {}}}, r"'\.\./x' is no name of a file"),
        ({"files": {"/etc/passwd": {}}}, r"'/etc/passwd' is no name of a file"),
        ({"files": {"a\0b": {}}}, r"'a\\x00b' is no name of a file"),
        ({"files": {"state": {}}}, r"state cannot be read"),
        ({"files": {"state/a0": 3}}, r"state/a0 has other content"),
        ({"files": {"state/a0": {"bytes": 2, "sha256": None}}}, r"state/a0 has other content"),
    ],
    ids=str,
)
def test_a_manifest_that_somebody_else_wrote_is_damage(small: Path, manifest: object, what: str) -> None:
    (small / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=rf"is damaged: (.*; )?{what}.*, expected what its manifest lists"):
        verify(small)


def test_a_manifest_without_end_is_damage(small: Path) -> None:
    (small / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"is damaged: manifest\.json cannot be read"):
        verify(small)


@pytest.mark.parametrize("place", ["state/a0", "state"])
def test_a_link_in_a_checkpoint_is_damage_wherever_it_leads(small: Path, tmp_path: Path, place: str) -> None:
    (small / place).rename(tmp_path / "elsewhere")
    (small / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=rf"is damaged: (.*; )?{place} is (a link or no file|not listed)"):
        verify(small)


def test_a_file_that_cannot_be_read_is_damage_and_a_pipe_is_not_waited_for(small: Path) -> None:
    (small / "state" / "a0").unlink()
    os.mkfifo(small / "state" / "a0")
    with pytest.raises(CheckpointError, match="is damaged: state/a0 is a link or no file"):
        verify(small)
