"""Laws of finding a corpus's files: folders, what `datasets` saved, and the digests that are remembered."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest

from tokenization.corpus import Corpus, CorpusError, Problems, read_documents, resolve_sources
from tokenization.reading.digests import Digests


@pytest.fixture(autouse=True)
def _quiet() -> None:
    datasets.disable_progress_bars()


def _put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _texts(*files: Path | str) -> list[str]:
    corpus = Corpus(files=tuple(map(str, files)))
    return [document.text for document in read_documents(resolve_sources(corpus).train, corpus, Problems("stop"))]


# Folders --------------------------------------------------------------------------------------------------------------


def test_a_folder_gives_every_kind_below_it_and_counts_what_it_passes_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _put(tmp_path / "a.txt", "one")
    _put(tmp_path / "deep" / "er" / "b.jsonl", '{"text": "two"}')
    _put(tmp_path / "deep" / "c.csv", "text\nthree")
    for name in (".hidden.txt", ".git/d.txt", "README.md", "notes/x.md", "LICENSE", "old.tar.gz"):
        _put(tmp_path / name, "not read")
    with caplog.at_level(logging.INFO):
        assert sorted(_texts(tmp_path)) == ["one", "three", "two"]
    assert [record.getMessage().split(":", 1)[1] for record in caplog.records] == [
        f" passed over 4 files in {tmp_path} of endings that are no text: 2 x .md, 1 x .tar.gz, 1 x no ending"
    ]


def test_the_order_of_a_folder_depends_on_content_alone(tmp_path: Path) -> None:
    for i in range(6):
        _put(tmp_path / "x" / f"{i}.txt", f"text {i}")
        _put(tmp_path / "y" / f"sub{i % 2}" / f"{9 - i}.txt", f"text {i}")
    assert _texts(tmp_path / "x") == _texts(tmp_path / "y")


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path) -> None:
    _put(tmp_path / "a.txt", "one")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert _texts(tmp_path) == ["one"]


def test_an_empty_file_in_a_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    _put(tmp_path / "a.txt", "one")
    _put(tmp_path / "b.txt", "")
    with pytest.raises(CorpusError, match=r"b\.txt: got an empty file"):
        _texts(tmp_path)


def test_a_glob_that_matches_folders_alone_gives_them(tmp_path: Path) -> None:
    _put(tmp_path / "part1" / "a.txt", "one")
    _put(tmp_path / "part2" / "a.txt", "two")
    assert sorted(_texts(tmp_path / "part*")) == ["one", "two"]


# Folders of datasets --------------------------------------------------------------------------------------------------

ROWS = [{"n": i, "text": f"document {i}"} for i in range(10)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder that save_to_disk wrote, in three files."""
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=3)
    return tmp_path / "saved"


def test_a_saved_dataset_gives_its_rows_a_source_a_file(saved: Path) -> None:
    corpus = Corpus(files=(str(saved),))
    sources = resolve_sources(corpus).train
    assert [source.kind for source in sources] == [".arrow"] * 3
    texts = [document.text for document in read_documents(sources, corpus, Problems("stop"))]
    assert sorted(texts) == sorted(row["text"] for row in ROWS)


def test_a_saved_dataset_is_found_in_a_folder_above_it(saved: Path) -> None:
    _put(saved.parent / "more.txt", "and this")
    assert sorted(_texts(saved.parent)) == sorted([*_texts(saved), "and this"])


def test_files_of_an_earlier_save_are_not_read(saved: Path) -> None:
    _put(saved / "data-00007-of-00008.arrow", "left over")
    assert len(_texts(saved)) == len(ROWS)


def test_rows_that_were_filtered_out_are_not_read(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).select([7, 2]).save_to_disk(tmp_path / "saved")
    assert _texts(tmp_path / "saved") == ["document 7", "document 2"]


@pytest.mark.parametrize("place", ["", "above"])
def test_a_dataset_dict_names_its_splits(tmp_path: Path, place: str) -> None:
    split = datasets.Dataset.from_list(ROWS)
    folder = tmp_path / place / "all"
    datasets.DatasetDict(train=split, test=split).save_to_disk(folder)
    with pytest.raises(CorpusError, match=rf"got a DatasetDict.*\nName.*: {folder}/train, {folder}/test"):
        _texts(tmp_path / place)
    assert len(_texts(folder / "train")) == len(ROWS)


def _lose_a_file(folder: Path) -> None:
    (folder / "data-00001-of-00003.arrow").unlink()


def _break_the_state(folder: Path) -> None:
    (folder / "state.json").write_text("{")


def _empty_the_state(folder: Path) -> None:
    (folder / "state.json").write_text('{"_data_files": []}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_lose_a_file, r"without data-00001-of-00003\.arrow, expected all.*\nCopy"),
        (_break_the_state, r"state\.json that cannot be used \(JSONDecodeError.*expected.*\nSave"),
        (_empty_the_state, r"without any data file, expected all.*\nCopy"),
    ],
)
def test_a_damaged_saved_dataset_is_refused(saved: Path, damage: Any, message: str) -> None:
    damage(saved)
    with pytest.raises(CorpusError, match=message):
        _texts(saved)


# Digests --------------------------------------------------------------------------------------------------------------


def _age(path: Path, seconds: int = 60) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


def _digest(path: Path, place: Path | None) -> str:
    digests = Digests(place)
    digest, _ = digests.of(path)
    digests.save()
    return digest


def test_a_remembered_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, place = _put(tmp_path / "a.txt", "text"), tmp_path / "cache" / "digests.json"
    _age(path)
    first = _digest(path, place)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
    assert _digest(path, place) == first


def _other_bytes(path: Path) -> None:
    path.write_text("taxt")


def _other_bytes_long_ago(path: Path) -> None:
    path.write_text("taxt")
    _age(path, seconds=1000)


def _other_file_of_the_same_time(path: Path) -> None:
    other = _put(path.with_name("other"), "taxt")
    shutil.copystat(path, other)
    other.replace(path)


@pytest.mark.parametrize("change", [_other_bytes, _other_bytes_long_ago, _other_file_of_the_same_time])
def test_a_changed_file_is_read_again(tmp_path: Path, change: Any) -> None:
    path, place = _put(tmp_path / "a.txt", "text"), tmp_path / "digests.json"
    _age(path)
    first = _digest(path, place)
    change(path)
    assert _digest(path, place) == _digest(path, None) != first


def test_a_file_of_the_last_two_seconds_is_not_trusted(tmp_path: Path) -> None:
    path, place = _put(tmp_path / "a.txt", "text"), tmp_path / "digests.json"
    _age(path, seconds=-60)
    _digest(path, place)
    status = path.stat()
    path.write_text("taxt")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _digest(path, place) == _digest(path, None)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[1]", "\xff", '{"%s": 3}', '{"%s": [4, 1, 1, 7]}', '{"%s": [4, 1, 1, "ab"]}'],
)
def test_a_damaged_memory_counts_as_empty(tmp_path: Path, damage: str) -> None:
    path, place = _put(tmp_path / "a.txt", "text"), tmp_path / "digests.json"
    _age(path)
    place.write_bytes(damage.replace("%s", str(path)).encode("latin-1"))
    assert _digest(path, place) == _digest(path, None)
    assert json.loads(place.read_text()).keys() == {str(path)}


def test_two_launches_remember_beside_each_other_and_forget_what_is_gone(tmp_path: Path) -> None:
    a, b, place = _put(tmp_path / "a", "a"), _put(tmp_path / "b", "b"), tmp_path / "digests.json"
    _age(a)
    _age(b)
    first, second = Digests(place), Digests(place)
    first.of(a)
    second.of(b)
    first.save()
    second.save()
    assert json.loads(place.read_text()).keys() == {str(a), str(b)}
    a.unlink()
    c = _put(tmp_path / "c", "c")
    _age(c)
    _digest(c, place)
    assert json.loads(place.read_text()).keys() == {str(b), str(c)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "digests.json"]


def test_a_memory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    path = _put(tmp_path / "a.txt", "text")
    _age(path)
    assert _digest(path, path / "below-a-file.json") == _digest(path, None)


def test_a_corpus_is_resolved_through_the_memory(tmp_path: Path) -> None:
    path, place = _put(tmp_path / "a.txt", "text"), tmp_path / "cache" / "digests.json"
    _age(path)
    corpus = Corpus(files=(str(path),))
    assert resolve_sources(corpus, digests=place) == resolve_sources(corpus, digests=place) == resolve_sources(corpus)
    assert json.loads(place.read_text()).keys() == {str(path)}
