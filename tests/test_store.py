"""Laws of a token store on disk: what is damaged is found."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.small_corpora import make_texts, snapshot, write_corpus
from tokenization.cache import prepare_store
from tokenization.corpus import Corpus
from tokenization.store import StoreError, TokenStore
from tokenization.training import WordPiece

# Damage --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    folder = tmp_path_factory.mktemp("whole")
    path = write_corpus(folder / "in" / "a.jsonl", make_texts(200))
    return prepare_store(
        Corpus(files=(str(path),), held_out=0.2), WordPiece(vocab_size=120), cache_dir=folder / "cache"
    )


FILES = [
    "manifest.json",
    *(f"tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json")),
    *(f"{split}/{kind}_offsets.npy" for split in ("train", "held_out") for kind in ("sentence", "document")),
    *(f"shards/00000-00000/{split}_ids.npy" for split in ("train", "held_out")),
]


def test_these_are_all_the_files_of_a_store(whole_store: TokenStore) -> None:
    assert sorted(snapshot(whole_store.path)) == sorted(FILES)
    assert {"manifest.json", *whole_store.manifest["files"]} == set(FILES)


@pytest.mark.parametrize("damage", ["cut", "removed"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_store_is_refused_by_the_file_at_fault(
    whole_store: TokenStore, tmp_path: Path, name: str, damage: str
) -> None:
    path = shutil.copytree(whole_store.path, tmp_path / "store")
    if damage == "cut":
        (path / name).write_bytes((path / name).read_bytes()[:-1][: -len(b"}\n")])
    else:
        (path / name).unlink()
    with pytest.raises(StoreError, match=rf"{re.escape(name)}.*expected.*\nDelete this folder and prepare") as caught:
        TokenStore.open(path)
    assert str(path) in str(caught.value)


def test_a_flipped_letter_in_the_tokenizer_is_found(whole_store: TokenStore, tmp_path: Path) -> None:
    path = shutil.copytree(whole_store.path, tmp_path / "store")
    file = path / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text().replace('"##a"', '"##A"'))
    with pytest.raises(StoreError, match=r"tokenizer\.json: got other bytes.*expected.*\nDelete this folder"):
        TokenStore.open(path)


def test_a_store_of_another_format_is_refused(whole_store: TokenStore, tmp_path: Path) -> None:
    path = shutil.copytree(whole_store.path, tmp_path / "store")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 999}))
    with pytest.raises(StoreError, match=r"got store format 999, expected \d+\.\nDelete this folder"):
        TokenStore.open(path)


def test_a_flipped_letter_in_the_manifest_is_found(whole_store: TokenStore, tmp_path: Path) -> None:
    path = shutil.copytree(whole_store.path, tmp_path / "store")
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"language": "en"', '"language": "eo"'))
    with pytest.raises(StoreError, match=r"manifest\.json: got other words.*expected.*\nDelete this folder"):
        TokenStore.open(path)


def test_verifying_reads_every_file(whole_store: TokenStore) -> None:
    assert sorted(whole_store.verify()) == sorted(set(FILES) - {"manifest.json"})


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".npy")])
def test_verifying_finds_a_flipped_bit_in_any_array(whole_store: TokenStore, tmp_path: Path, name: str) -> None:
    path = shutil.copytree(whole_store.path, tmp_path / "store")
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(StoreError, match=rf"{re.escape(name)}: got other bytes.*expected sha256.*\nDelete this folder"):
        list(dataclasses.replace(whole_store, path=path).verify())
