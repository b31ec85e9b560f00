"""Laws of data sets that are streamed: the real loading code on a local folder, and the Hub behind a stub."""

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import errors

from tokenization.corpus import Corpus, CorpusError, HubDataset, Problems, ShardSource, read_documents, resolve_sources
from tokenization.reading import hub

TEXTS = [[f"shard {shard} row {row}" for row in range(400)] for shard in range(3)]
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    hub._stream.cache_clear()
    yield
    hub._stream.cache_clear()


def _jsonl(folder: Path, columns: tuple[str, ...] = ("text", "n")) -> Path:
    folder.mkdir(exist_ok=True)
    for shard, texts in enumerate(TEXTS):
        rows = [dict(zip(columns, (text, row), strict=True)) for row, text in enumerate(texts)]
        (folder / f"train-{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _parquet(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for shard, texts in enumerate(TEXTS):
        table = pa.table({"n": range(len(texts)), "text": texts})
        pq.write_table(table, folder / f"train-{shard}.parquet", row_group_size=150)
    return folder


def _corpus(path: Path | str, **settings: Any) -> Corpus:
    dataset = {key: settings.pop(key) for key in ("name", "split", "revision") if key in settings}
    return Corpus(dataset=HubDataset(path=str(path), **dataset), **settings)


def _refusal(corpus: Corpus) -> str:
    with pytest.raises(CorpusError) as caught:
        list(read_documents(resolve_sources(corpus).train, corpus, Problems(corpus.on_error)))
    return str(caught.value)


@pytest.mark.parametrize("write", [_jsonl, _parquet])
def test_each_shard_is_a_source_that_can_be_read_on_its_own(tmp_path: Path, write: Any) -> None:
    corpus = _corpus(write(tmp_path / "set"))
    sources = resolve_sources(corpus).train
    assert [source.kind for source in sources] == ["dataset"] * 3
    assert [source.digest for source in sources] == sorted({source.digest for source in sources})
    read = {}
    for source in pickle.loads(pickle.dumps(sources)):
        assert isinstance(source, ShardSource)
        read[source.shard] = [document.text for document in read_documents([source], corpus, Problems("stop"))]
    assert [read[shard] for shard in range(3)] == TEXTS


def test_a_shard_is_known_by_content_configuration_split_and_number_and_not_by_its_place(tmp_path: Path) -> None:
    here, there = _jsonl(tmp_path / "here"), _jsonl(tmp_path / "there")
    digests = [source.digest for source in resolve_sources(_corpus(here)).train]
    assert [source.digest for source in resolve_sources(_corpus(there)).train] == digests
    assert not {s.digest for s in resolve_sources(_corpus(here, name="default")).train} & set(digests)
    with (there / "train-1.jsonl").open("a") as file:
        file.write('{"text": "more", "n": 1}\n')
    assert not {source.digest for source in resolve_sources(_corpus(there)).train} & set(digests)


def test_the_commit_of_a_hub_id_is_what_is_read_and_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _jsonl(tmp_path / "set")
    asked: list[Any] = []
    load = datasets.load_dataset

    class Api:
        sha = SHA

        def dataset_info(self, path: str, *, revision: str | None) -> "Api":
            asked.append((path, revision))
            return self

    def load_dataset(path: str, *, revision: str | None, **options: Any) -> Any:
        asked.append((path, revision))
        return load(str(folder), **options)

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = _corpus("owner/name", revision="a-branch")
    sources = resolve_sources(corpus).train
    assert asked == [("owner/name", "a-branch"), ("owner/name", SHA)]
    first = {source.digest for source in sources}
    documents = list(read_documents(sources, corpus, Problems("stop")))
    assert sorted(document.text for document in documents) == sorted(text for texts in TEXTS for text in texts)
    assert documents[0].origin.startswith(f"owner/name@{SHA[:8]}/train[")
    assert documents[0].origin.endswith("of 3]:row 1")
    Api.sha = SHA[::-1]
    assert not {source.digest for source in resolve_sources(corpus).train} & first


def test_the_held_out_share_and_held_out_files_work_on_a_dataset(tmp_path: Path) -> None:
    folder = _jsonl(tmp_path / "set")
    (tmp_path / "valid.txt").write_text("held out")
    corpus = Corpus.model_validate(
        {"dataset": {"path": str(folder)}, "held_out": {"files": [str(tmp_path / "valid.txt")]}}
    )
    sources = resolve_sources(corpus)
    assert len(sources.train) == 3
    assert [document.text for document in read_documents(sources.held_out, corpus, Problems("stop"))] == ["held out"]


def _api_that_raises(error: Exception) -> Any:
    class Api:
        def dataset_info(self, path: str, *, revision: str | None) -> None:
            raise error

    return Api


def _of_hub(kind: Any) -> Any:
    return kind("said so", response=SimpleNamespace(headers={}, request=None, status_code=404))


class _ClientError(Exception):
    """An error of the HTTP client, which is no OSError."""


HUB_ERRORS = {
    "gated": (_of_hub, errors.GatedRepoError, r"which is gated \(.*\nExpected.*Ask for access"),
    "unknown": (_of_hub, errors.RepositoryNotFoundError, r"not known to the Hub.*\nExpected owner/name.*log in"),
    "revision": (_of_hub, errors.RevisionNotFoundError, r"no such revision.*\nExpected.*corpus\.dataset\.revision"),
    "offline": (None, errors.OfflineModeIsEnabled("off"), r"offline \(off\).*\nExpected.*Unset HF_HUB_OFFLINE"),
    "network": (None, ConnectionError("no route"), r"cannot be reached \(no route\).*\nExpected.*Check the network"),
    "client": (None, _ClientError("no name"), r"cannot be reached \(no name\).*\nExpected.*Check the network"),
}


@pytest.mark.parametrize("case", HUB_ERRORS)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_what_the_hub_refuses_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, case: str, on_error: Any
) -> None:
    make, error, message = HUB_ERRORS[case]
    monkeypatch.setattr(hub, "HfApi", _api_that_raises(make(error) if make else error))
    refusal = _refusal(_corpus("owner/name", on_error=on_error))
    assert refusal.startswith("corpus.dataset: got 'owner/name'")
    assert re.search(message, refusal)


def test_an_id_that_is_none_is_refused_before_the_network(tmp_path: Path) -> None:
    assert "is no id of a data set and no folder" in _refusal(_corpus("a/b/c"))


@pytest.mark.parametrize(
    ("settings", "message", "remedy"),
    [
        ({"split": "nope"}, "Available splits: ['train']", "Correct corpus.dataset.split"),
        ({"name": "nope"}, "BuilderConfig 'nope' not found", "Correct corpus.dataset.name"),
        ({"revision": "main"}, "got 'main' for the local folder", "Leave it out"),
        ({"text_field": "body"}, "got no column 'body', expected one (its columns: 'text', 'n')", "corpus.text_field"),
    ],
)
def test_what_a_dataset_has_not_is_told_with_what_it_has(
    tmp_path: Path, settings: dict[str, Any], message: str, remedy: str
) -> None:
    first, second = _refusal(_corpus(_jsonl(tmp_path / "set"), **settings)).split("\n")
    assert message in first
    assert remedy in second


def test_a_saved_dataset_is_sent_to_files(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "saved")
    assert "Name the folder in corpus.files instead" in _refusal(_corpus(tmp_path / "saved"))


@pytest.mark.parametrize("value", [None, 3])
def test_a_row_without_text_is_told_by_shard_and_row(tmp_path: Path, value: Any) -> None:
    (tmp_path / "set").mkdir()
    table = pa.table({"text": ["a", None, "b"] if value is None else [3, 4, 5]})
    pq.write_table(table, tmp_path / "set" / "train.parquet")
    got = "got null" if value is None else "got a number"
    assert f"/train[1 of 1]:row {1 if value else 2}: {got} under 'text'" in _refusal(_corpus(tmp_path / "set"))


def test_a_damaged_shard_is_left_out_from_there_and_the_others_stay(tmp_path: Path) -> None:
    folder = _jsonl(tmp_path / "set")
    (folder / "train-1.jsonl").write_text('{"text": "good", "n": 1}\n{"text": \n')
    assert "got a shard that datasets cannot read" in _refusal(_corpus(folder))
    corpus, problems = _corpus(folder, on_error="skip"), Problems("skip")
    texts = [document.text for document in read_documents(resolve_sources(corpus).train, corpus, problems)]
    assert problems.counts["damaged shard"] == 1
    assert set(TEXTS[0] + TEXTS[2]) <= set(texts)


@pytest.mark.parametrize("error", [ConnectionError("reset"), TimeoutError("slow"), _ClientError("gone")])
def test_a_broken_network_is_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    corpus = _corpus(_jsonl(tmp_path / "set"), on_error="skip")
    sources = resolve_sources(corpus).train

    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(hub, "_texts", broken)
    with pytest.raises(CorpusError, match=r"the data set broke off \(.*\nExpected.*launch the same command"):
        list(read_documents(sources, corpus, Problems("skip")))
