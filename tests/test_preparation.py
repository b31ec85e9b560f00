"""Laws of the stages: the same store in any number of processes, in any order, and after any interruption."""

import dataclasses
import json
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenization.cache import Engine, prepare_store
from tokenization.corpus import Corpus, is_held_out
from tokenization.preparing import cores, sections, workers
from tokenization.preparing.cores import prepare_here
from tokenization.preparing.merging import merge
from tokenization.preparing.preparation import Preparation
from tokenization.preparing.shards import write_shard
from tokenization.store import TokenStore
from tokenization.training import WordPiece, train_tokenizer
from tokenization.vocabulary import load_tokenizer

WORDPIECE = WordPiece(vocab_size=150)
SHARD_BYTES = 3000

MakeStore = Callable[..., TokenStore]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of 60 documents, a fourth with named held-out ones; every seventh document stands there twice."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(200)]
    for name in ("a", "b", "c", "held"):
        texts = [
            "\n".join(" ".join(draw.choices(words, k=draw.randint(1, 12))) + "." for _ in range(draw.randint(1, 9)))
            for _ in range(60)
        ]
        rows = [{"text": text} for text in (*texts, *texts[::7])]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return Corpus(files=tuple(str(folder / f"{name}.jsonl") for name in "abc"), held_out=0.1)


def _with_shards(engine: Engine, num_bytes: int = SHARD_BYTES) -> Engine:
    return lambda preparation: engine(dataclasses.replace(preparation, shard_bytes=num_bytes))


def _files(store: TokenStore) -> dict[str, bytes]:
    return {str(p.relative_to(store.path)): p.read_bytes() for p in sorted(store.path.rglob("*")) if p.is_file()}


def _ids(store: TokenStore) -> list[list[int]]:
    return [split.ids[:].tolist() for split in (store.train, store.held_out)]


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    corpus = Corpus(files=tuple(str(folder / f"{name}.jsonl") for name in "abc"), held_out=0.1)
    return prepare_store(
        corpus, WORDPIECE, cache_dir=tmp_path_factory.mktemp("cache"), engine=_with_shards(_one_after_another)
    )


def _one_after_another(preparation: Preparation) -> None:
    for section in preparation.sections:
        preparation.survey(section)
    preparation.decide()
    for section in preparation.sections:
        preparation.write(section)
    merge(preparation)


def _backwards(preparation: Preparation) -> None:
    for section in reversed(preparation.sections):
        preparation.survey(section)
    preparation.decide()
    for section in reversed(preparation.sections):
        dataclasses.replace(preparation).write(section)
    merge(preparation)


ENGINES = {"here": prepare_here, "backwards": _backwards}


@pytest.mark.parametrize("name", ENGINES)
def test_the_store_does_not_depend_on_who_makes_it(
    corpus: Corpus, expected: TokenStore, tmp_path: Path, name: str
) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(ENGINES[name]))
    assert len(list((store.path / "shards").iterdir())) > 10
    assert _files(store) == _files(expected)


@pytest.mark.parametrize("sections_per_worker", [0, 1000])
def test_worker_processes_make_the_same_store(
    corpus: Corpus, expected: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections_per_worker: int
) -> None:
    for module in (cores, workers):
        monkeypatch.setattr(module, "cpu_count", lambda: 2)
    monkeypatch.setattr(cores, "_SECTIONS_PER_WORKER", sections_per_worker)
    monkeypatch.setattr(sections, "SECTION_BYTES", 1)
    small_sections = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(prepare_here))
    assert _ids(small_sections) == _ids(expected)
    for name in ("counts", "survey", "skipped"):
        assert small_sections.manifest[name] == expected.manifest[name]


@pytest.mark.parametrize("num_bytes", [300, 10**9])
def test_shards_of_any_size_hold_the_same_text(
    corpus: Corpus, expected: TokenStore, tmp_path: Path, num_bytes: int
) -> None:
    store = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(_one_after_another, num_bytes))
    assert _ids(store) == _ids(expected)
    for split in ("train", "held_out"):
        for kind in ("sentence_offsets", "document_offsets"):
            arrays = [getattr(getattr(s, split), kind) for s in (store, expected)]
            np.testing.assert_array_equal(*arrays)


@pytest.mark.parametrize("num_written", [0, 1, 5, 11])
def test_a_killed_preparation_goes_on_with_the_shards_that_are_missing(
    corpus: Corpus, expected: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_written: int
) -> None:
    written: list[str] = []
    write_shard = cores.write_shard

    def count(*task: Any) -> None:
        if len(written) == num_written:
            raise KeyboardInterrupt
        written.append(task[1].name)
        write_shard(*task)

    for module in (cores, workers):
        monkeypatch.setattr(module, "cpu_count", lambda: 1)
    monkeypatch.setattr(cores, "_SECTIONS_PER_WORKER", 1000)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cores, "write_shard", count)
        prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(prepare_here))
    first, num_written = list(written), 10**9
    with monkeypatch.context() as patched:
        patched.setattr(cores, "write_shard", count)
        store = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(prepare_here))
    assert len(set(written)) == len(written) > len(first)
    assert _files(store) == _files(expected)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "notes"])
def test_a_shard_that_was_damaged_on_the_way_is_written_again(
    corpus: Corpus, expected: TokenStore, tmp_path: Path, damage: str
) -> None:
    def damaging(preparation: Preparation) -> None:
        for section in preparation.sections:
            preparation.survey(section)
        preparation.decide()
        preparation.write(preparation.sections[0])
        shard = sorted(preparation.writing.folder.iterdir())[1]
        path = shard / ("shard.json" if damage == "notes" else "train_ids.npy")
        content = bytearray(path.read_bytes())
        if damage == "remove":
            path.unlink()
        else:
            content[-1] ^= 1
            path.write_bytes(content[:-1] if damage == "cut" else b"{}" if damage == "notes" else content)
        _one_after_another(preparation)

    store = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(damaging))
    assert _files(store) == _files(expected)


# Duplicates ----------------------------------------------------------------------------------------------------------


def _texts(split_files: list[Path]) -> list[str]:
    return [json.loads(line)["text"] for path in split_files for line in path.read_text().splitlines()]


def test_duplicates_are_counted_and_kept_unless_told_otherwise(expected: TokenStore) -> None:
    survey = expected.manifest["survey"]
    assert (survey["documents"], survey["duplicate_documents"], survey["dropped_documents"]) == (207, 27, 0)
    assert expected.train.num_documents + expected.held_out.num_documents == 207


def test_duplicate_documents_are_dropped_on_demand(corpus: Corpus, expected: TokenStore, tmp_path: Path) -> None:
    store = prepare_store(corpus.model_copy(update={"duplicate_documents": "drop"}), WORDPIECE, cache_dir=tmp_path)
    assert store.train.num_documents + store.held_out.num_documents == 180
    assert store.manifest["survey"]["dropped_documents"] == 27
    assert store.fingerprint != expected.fingerprint


def test_duplicate_lines_are_dropped_on_demand(corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    store = prepare_store(corpus.model_copy(update={"duplicate_lines": "drop"}), WORDPIECE, cache_dir=tmp_path)
    tokenizer = load_tokenizer(store.tokenizer_path)
    texts = _texts([folder / f"{name}.jsonl" for name in "abc"])
    distinct = {line for text in texts for line in text.split("\n")}
    expected = sum(len(tokenizer(line, add_special_tokens=False).input_ids) for line in distinct)
    assert store.train.num_tokens + store.held_out.num_tokens == expected
    assert store.manifest["survey"]["dropped_lines"] == sum(text.count("\n") + 1 for text in texts) - len(distinct)


def test_a_training_document_that_is_held_out_too_is_told_and_dropped_on_demand(folder: Path, tmp_path: Path) -> None:
    held = {"files": [str(folder / "held.jsonl")]}
    both = tmp_path / "both.jsonl"
    both.write_text((folder / "a.jsonl").read_text() + (folder / "held.jsonl").read_text().splitlines()[0] + "\n")
    corpus = Corpus.model_validate({"files": [str(both)], "held_out": held})
    kept = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path / "cache")
    assert kept.manifest["survey"]["shared_documents"] == 2  # the first of the file stands there twice
    dropping = corpus.model_copy(update={"duplicate_documents": "drop"})
    dropped = prepare_store(dropping, WORDPIECE, cache_dir=tmp_path / "cache")
    assert dropped.held_out.num_documents == 60
    assert dropped.train.num_documents == 60


# The sample of the vocabulary ----------------------------------------------------------------------------------------


def test_a_vocabulary_is_trained_on_a_sample_of_the_size_that_was_asked_for(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watch(settings: WordPiece, read_texts: Callable[[], Iterator[str]]) -> Any:
        seen.extend(read_texts())
        return train_tokenizer(settings, read_texts)

    monkeypatch.setattr("tokenization.preparing.preparation.train_tokenizer", watch)
    size = sum(len(text) for text in _texts([Path(name) for name in corpus.files]))
    settings = WordPiece(vocab_size=80, sample_megabytes=size / 3e6)
    store = prepare_store(corpus, settings, cache_dir=tmp_path)
    assert 0.2 * size < sum(map(len, seen)) < 0.5 * size
    assert not any(is_held_out(text, share=0.1) for text in seen)
    assert store.vocabulary.size == 80


def test_a_corpus_that_changes_while_it_is_read_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in _texts([Path(corpus.files[0])])))

    def changing(preparation: Preparation) -> None:
        for section in preparation.sections:
            preparation.survey(section)
        preparation.decide()
        path.write_text(json.dumps({"text": "Something else."}) + "\n")
        _one_after_another(preparation)

    with pytest.raises(ValueError, match=r"got other documents than.*expected the corpus to stay.*\nLaunch the same"):
        prepare_store(Corpus(files=(str(path),), held_out=0.0), WORDPIECE, cache_dir=tmp_path / "c", engine=changing)


def test_a_vocabulary_has_something_to_be_trained_on_however_small_the_sample(corpus: Corpus, tmp_path: Path) -> None:
    store = prepare_store(corpus, WordPiece(vocab_size=40, sample_megabytes=1e-6), cache_dir=tmp_path)
    assert store.vocabulary.size == 40


def test_training_text_that_is_all_held_out_too_is_told(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_text("\n" + (folder / "a.jsonl").read_text())
    held = {"files": [str(folder / "a.jsonl")]}
    corpus = Corpus.model_validate({"files": [str(copy)], "held_out": held, "duplicate_documents": "drop"})
    with pytest.raises(ValueError, match=r"got no document to train on.*expected at least one"):
        prepare_store(corpus, WORDPIECE, cache_dir=tmp_path / "cache")


def test_documents_without_a_token_are_not_counted_as_duplicates(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text((folder / "a.jsonl").read_text() + '{"text": "\\u200b"}\n{"text": "\\u200b \\u200b"}\n')
    corpus = Corpus(files=(str(path),), held_out=0.0, on_error="skip", duplicate_documents="drop")
    survey = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path / "cache").manifest["survey"]
    assert (survey["dropped_documents"], survey["emptied_documents"]) == (9, 0)


def test_more_sections_than_files_may_be_open_are_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "SECTION_BYTES", 1)
    for module in (cores, workers):
        monkeypatch.setattr(module, "cpu_count", lambda: 1)
    for number in range(150):
        (tmp_path / f"{number}.txt").write_text(f"The {number * 37 % 11} men of row {number} sat there.")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(list(Path("/proc/self/fd").iterdir())) + 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        store = prepare_store(
            Corpus(files=(str(tmp_path / "*.txt"),), held_out=0.0), WordPiece(vocab_size=60), cache_dir=tmp_path / "c"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(store.manifest["shards"]["train"]) == store.train.num_documents == 150


def test_two_that_prepare_the_same_in_one_folder_do_each_other_no_harm(
    corpus: Corpus, expected: TokenStore, tmp_path: Path
) -> None:
    def twice(preparation: Preparation) -> None:
        other = dataclasses.replace(preparation)
        for section in preparation.sections:
            survey_before = preparation.surveys[section.number].folder
            preparation.survey(section)
            other.survey(section)
            assert survey_before.exists()
        preparation.decide()
        for section in preparation.sections:
            for (shard, texts), (same, again) in zip(
                preparation.shard_texts(section), other.shard_texts(section), strict=True
            ):
                write_shard(preparation.writing, shard, texts)
                write_shard(other.writing, same, again)
        merge(preparation)

    store = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=_with_shards(twice))
    assert _files(store) == _files(expected)
