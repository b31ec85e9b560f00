"""Laws of the cache: a store holds the corpus as it is, is keyed by content, and survives what fails."""

import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.small_corpora import KEPT, make_texts, snapshot, write_corpus
from tokenization.cache import prepare_store
from tokenization.corpus import Corpus, CorpusError, is_held_out
from tokenization.reading.documents import SourceLost
from tokenization.reading.sentences import split_sentences
from tokenization.store import StoreError, TokenSplit, TokenStore
from tokenization.training import WordPiece
from tokenization.vocabulary import TokenizerFolder, load_tokenizer

ROOT = Path(__file__).resolve().parents[1]
WORDPIECE = WordPiece(vocab_size=120)
SPECIALS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(files=(str(write_corpus(tmp_path / "in" / "a.jsonl", make_texts(200))),), held_out=0.2)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _documents(split: TokenSplit) -> list[list[list[int]]]:
    """A split as lists of ids by sentence by document."""
    sentences = [
        split.ids[start:end].tolist()
        for start, end in zip(split.sentence_offsets[:-1], split.sentence_offsets[1:], strict=True)
    ]
    return [
        sentences[start:end] for start, end in zip(split.document_offsets[:-1], split.document_offsets[1:], strict=True)
    ]


# Content -------------------------------------------------------------------------------------------------------------


def test_the_store_holds_every_sentence_of_every_document_in_order(corpus: Corpus, cache: Path) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    tokenizer = load_tokenizer(store.tokenizer_path)
    stored = _documents(store.train) + _documents(store.held_out)
    expected = [
        [tokenizer(sentence, add_special_tokens=False).input_ids for sentence in split_sentences(text)]
        for text in make_texts(200)
    ]
    assert sorted(stored) == sorted(expected)
    in_training = [document for document in expected if document in _documents(store.train)]
    assert _documents(store.train) == in_training
    assert 20 <= store.held_out.num_documents <= 60


def test_the_counts_are_those_of_the_arrays(corpus: Corpus, cache: Path) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    texts: dict[str, list[str]] = {"train": [], "held_out": []}
    for text in make_texts(200):
        texts["held_out" if is_held_out(text, share=0.2) else "train"].append(text)
    for name in ("train", "held_out"):
        split: TokenSplit = getattr(store, name)
        assert store.manifest["counts"][name] == {
            "documents": split.num_documents,
            "sentences": split.num_sentences,
            "tokens": split.num_tokens,
            "words": sum(len(text.split()) for text in texts[name]),
            "bytes": sum(len(text.encode()) for text in texts[name]),
            "unknown": 0,
            "special_token_documents": 0,
        }
        assert split.num_documents < split.num_sentences < split.num_tokens == len(split.ids)


def test_the_offsets_are_memory_mapped_and_cannot_be_written_to(corpus: Corpus, cache: Path) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    for array in (store.train.sentence_offsets, store.train.document_offsets):
        assert isinstance(array, np.memmap)
        assert array.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_two_bytes_where_they_fit(tmp_path: Path, cache: Path, size: int, dtype: str) -> None:
    words = [*SPECIALS.values(), *(f"w{i}" for i in range(size - 5))]
    _save_word_level(tmp_path / "tokenizer", words)
    path = write_corpus(tmp_path / "in" / "a.jsonl", [f"w0 w7 w{size - 6}"])
    corpus = Corpus(files=(str(path),), held_out=0.0)
    store = prepare_store(corpus, TokenizerFolder(path=str(tmp_path / "tokenizer")), cache_dir=cache)
    assert store.train.ids.dtype == dtype
    assert store.train.ids[:].tolist() == [5, 12, size - 1]


def _save_word_level(folder: Path, words: list[str]) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIALS).save_pretrained(folder)


def test_the_name_of_a_special_token_in_a_text_is_not_that_token(tmp_path: Path, cache: Path) -> None:
    texts = ["Some [MASK] text [SEP] with [CLS] names [PAD] here.", *make_texts(50)]
    corpus = Corpus(files=(str(write_corpus(tmp_path / "in" / "a.jsonl", texts)),), held_out=0.0)
    trained = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert trained.train.ids[:].min() >= 5
    # A tokenizer that has the names as whole words gives their ids; in a store they are unknown.
    _save_word_level(tmp_path / "words", [*SPECIALS.values(), "Some", "text"])
    words = prepare_store(corpus, TokenizerFolder(path=str(tmp_path / "words")), cache_dir=cache)
    assert _documents(words.train)[0] == [[5, 1, 6, 1, 1, 1, 1, 1, 1]]


def test_the_vocabulary_is_trained_on_training_documents_only(tmp_path: Path, cache: Path) -> None:
    train = write_corpus(tmp_path / "in" / "train.jsonl", make_texts(100))
    valid = write_corpus(tmp_path / "in" / "valid.jsonl", ["ωψχ ωψχ ωψχ."])
    corpus = Corpus.model_validate({"files": [str(train)], "held_out": {"files": [str(valid)]}})
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert not set("ωψχ") & set("".join(load_tokenizer(store.tokenizer_path).get_vocab()))
    assert store.manifest["counts"]["held_out"]["unknown"] == 3


def test_an_existing_tokenizer_is_taken_as_it_is(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    trained = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    shutil.copytree(trained.tokenizer_path, tmp_path / "mine")
    taken = prepare_store(corpus, TokenizerFolder(path=str(tmp_path / "mine")), cache_dir=cache)
    assert taken.path != trained.path
    assert taken.vocabulary.fingerprint == trained.vocabulary.fingerprint
    assert _documents(taken.train) == _documents(trained.train)


def test_there_may_be_no_held_out_document(corpus: Corpus, cache: Path) -> None:
    store = prepare_store(corpus.model_copy(update={"held_out": 0.0}), WORDPIECE, cache_dir=cache)
    split = store.held_out
    assert (split.num_documents, split.num_sentences, split.num_tokens) == (0, 0, 0)
    assert store.train.num_documents == 200


# Key -----------------------------------------------------------------------------------------------------------------


def test_a_store_that_is_there_is_not_built_again(
    corpus: Corpus, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    before = first.path.stat().st_ino
    caplog.set_level(logging.INFO)
    second = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert second.path == first.path
    assert second.path.stat().st_ino == before
    assert caplog.records == []


def test_two_builds_of_the_same_corpus_are_byte_identical(corpus: Corpus, tmp_path: Path) -> None:
    first, second = (prepare_store(corpus, WORDPIECE, cache_dir=tmp_path / name) for name in ("x", "y"))
    files = [snapshot(store.path) for store in (first, second)]
    manifests = [json.loads(snapshot.pop("manifest.json")) | {"seconds": 0} for snapshot in files]
    assert files[0] == files[1]
    assert manifests[0] == manifests[1]


def test_moving_or_renaming_the_corpus_keeps_the_store(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    first = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    (tmp_path / "elsewhere").mkdir()
    moved = Path(corpus.files[0]).rename(tmp_path / "elsewhere" / "b.jsonl")
    second = prepare_store(corpus.model_copy(update={"files": (str(moved),)}), WORDPIECE, cache_dir=cache)
    assert second.path == first.path


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "held-out share": ({"held_out": 0.3}, {}, []),
    "vocabulary size": ({}, {"vocab_size": 130}, []),
    "case": ({}, {"lowercase": False}, []),
    "bad lines": ({"on_error": "skip"}, {}, []),
    "language": ({"language": "de"}, {}, []),
    "text": ({}, {}, ["One more document."]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_content_changes_the_key(corpus: Corpus, cache: Path, change: str) -> None:
    of_corpus, of_tokenizer, texts = CHANGES[change]
    first = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    before = snapshot(first.path)
    write_corpus(Path(corpus.files[0]), [*make_texts(200), *texts])
    second = prepare_store(
        corpus.model_copy(update=of_corpus), WORDPIECE.model_copy(update=of_tokenizer), cache_dir=cache
    )
    assert second.path != first.path
    assert second.fingerprint != first.fingerprint
    assert snapshot(first.path) == before


def test_the_fingerprint_names_the_folder(corpus: Corpus, cache: Path) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert re.fullmatch("[0-9a-f]{64}", store.fingerprint)
    assert store.path == cache / store.fingerprint[:16]
    assert TokenStore.open(store.path).fingerprint == store.fingerprint


# Bad documents -------------------------------------------------------------------------------------------------------


def test_skipped_documents_are_counted_once_and_reported(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_corpus(tmp_path / "in" / "a.jsonl", [*make_texts(100), "\u200b", "\u200b \u200b"])
    path.write_text(path.read_text() + "{broken\n")
    corpus = Corpus(files=(str(path),), held_out=0.0, on_error="skip")
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert store.manifest["skipped"] == {"document without a sentence": 2, "not JSON": 1}
    assert store.train.num_documents == 100
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "left out 3 places" in warnings[0]


def test_a_document_in_which_there_is_no_token_is_refused(tmp_path: Path, cache: Path) -> None:
    path = write_corpus(tmp_path / "in" / "a.jsonl", [*make_texts(50), "\u200b"])
    with pytest.raises(CorpusError, match=r":51: got a document.*no token, expected a sentence\.\n.*Remove it"):
        prepare_store(Corpus(files=(str(path),), held_out=0.0), WORDPIECE, cache_dir=cache)
    assert snapshot(cache) == {}


def test_a_corpus_without_a_training_document_is_refused(tmp_path: Path, cache: Path) -> None:
    path = write_corpus(tmp_path / "in" / "a.jsonl", ["Only one."])
    corpus = Corpus(files=(str(path),), held_out=np.nextafter(1.0, 0.0))
    with pytest.raises(
        CorpusError, match=r"got no document to train on.*expected at least one.*\n.*lower corpus\.held_out"
    ):
        prepare_store(corpus, WORDPIECE, cache_dir=cache)


def test_a_damaged_store_is_replaced_by_preparing_again(
    corpus: Corpus, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    expected = _documents(store.train)
    (store.path / "train" / "sentence_offsets.npy").write_bytes(b"")
    again = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert again.path == store.path
    assert _documents(again.train) == expected
    assert [path.name for path in cache.iterdir() if path.name not in KEPT] == [store.path.name]
    assert "is damaged and is replaced" in caplog.text


# Failure while building ----------------------------------------------------------------------------------------------


@contextmanager
def _largest_file(num_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more than this into any file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_touches_nothing(tmp_path: Path, cache: Path) -> None:
    other = Corpus(files=(str(write_corpus(tmp_path / "in" / "other.jsonl", make_texts(50))),), held_out=0.0)
    prepare_store(other, WORDPIECE, cache_dir=cache)
    before = snapshot(cache)
    large = Corpus(files=(str(write_corpus(tmp_path / "in" / "a.jsonl", make_texts(3000, seed=1))),))
    with (
        _largest_file(40_000),
        pytest.raises(StoreError, match=r"the disk is full: got .* MB.*expected room for .* MB\.\nFree some") as caught,
    ):
        prepare_store(large, WORDPIECE, cache_dir=cache)
    assert str(cache) in str(caught.value)
    assert snapshot(cache) == before
    assert prepare_store(large, WORDPIECE, cache_dir=cache).train.num_documents > 2900


def test_a_cache_that_cannot_be_made_is_told(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"got .*expected to write a token store there\.\n.*set cache_dir to"):
        prepare_store(corpus, WORDPIECE, cache_dir=tmp_path / "file" / "cache")


MOMENTS = [
    "tokenization.preparing.preparation.train_tokenizer",
    "tokenization.preparing.cores.write_shard",
    "tokenization.preparing.arrays.ArrayWriter.append",
    "tokenization.preparing.merging.sync_path",
    "tokenization.preparing.merging.write_manifest",
    "tokenization.preparing.merging._put_in_place",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_fault_of_the_corpus_leaves_the_cache_as_it_was(
    corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    prepare_store(corpus, WORDPIECE, cache_dir=cache)
    before = snapshot(cache)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise CorpusError("a document that is at fault")

    with monkeypatch.context() as patched, pytest.raises(CorpusError):
        patched.setattr(moment, fail)
        prepare_store(corpus, WordPiece(vocab_size=130), cache_dir=cache)
    assert snapshot(cache) == before
    assert len([path for path in cache.iterdir() if path.name not in KEPT]) == 1


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SourceLost])
def test_after_an_interruption_the_next_call_makes_the_same_store(
    corpus: Corpus, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, error: type[Exception]
) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patched, pytest.raises(error):
        patched.setattr(moment, interrupt)
        prepare_store(corpus, WORDPIECE, cache_dir=cache)
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    assert sorted(path.name for path in cache.iterdir() if path.name not in KEPT) == [store.path.name]
    undisturbed = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path / "other")
    assert snapshot(store.path) == snapshot(undisturbed.path)


def test_what_a_dead_build_of_another_corpus_left_goes_after_a_week(corpus: Corpus, cache: Path) -> None:
    folders = {name: cache / f".building-{name}" for name in ("0123456789abcdef", "fedcba9876543210")}
    for name, folder in folders.items():
        (folder / "shards").mkdir(parents=True)
        (folder / "shards" / "half").write_bytes(b"half")
        age = 8 * 24 * 3600 if name.startswith("0") else 3600
        for path in (folder / "shards", folder):
            os.utime(path, (time.time() - age, time.time() - age))
    store = prepare_store(corpus, WORDPIECE, cache_dir=cache)
    left = {path.name for path in cache.iterdir() if path.name not in KEPT}
    assert left == {store.path.name, ".building-fedcba9876543210"}


PREPARE_IN_A_PROCESS = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(message)s")
from tokenization.corpus import Corpus
from tokenization.cache import prepare_store
from tokenization.training import WordPiece
corpus = Corpus(files=(sys.argv[1],), held_out=0.2)
store = prepare_store(corpus, WordPiece(vocab_size=120), cache_dir=Path(sys.argv[2]))
print(store.train.num_tokens)
"""


def test_processes_that_ask_at_once_build_once(corpus: Corpus, cache: Path) -> None:
    command = [sys.executable, "-c", PREPARE_IN_A_PROCESS, corpus.files[0], str(cache)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert len({tokens for tokens, _ in results}) == 1
    assert sum("training a vocabulary" in log for _, log in results) == 1
