"""Laws of reading a corpus: order, held-out split, and what each kind of bad input is told."""

import gzip
import json
import logging
import math
import pickle
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tokenization.corpus import (
    Corpus,
    CorpusError,
    Problems,
    is_held_out,
    read_documents,
    read_splits,
    resolve_sources,
)


def _write_jsonl(path: Path, rows: list[Any]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _texts(corpus: Corpus) -> list[str]:
    return [document.text for document in read_documents(resolve_sources(corpus).train, corpus, Problems("stop"))]


def _splits(corpus: Corpus) -> dict[bool, list[str]]:
    splits: dict[bool, list[str]] = {False: [], True: []}
    for held_out, document in read_splits(resolve_sources(corpus), corpus, Problems("stop")):
        splits[held_out].append(document.text)
    return splits


# Reading -------------------------------------------------------------------------------------------------------------


def test_rows_with_differing_columns_are_read(tmp_path: Path) -> None:
    rows = [{"text": "one", "title": "a"}, {"topic": 3, "text": "two"}, {"label": None, "text": "three", "text2": []}]
    path = _write_jsonl(tmp_path / "rows.jsonl", rows)
    assert _texts(Corpus(files=(str(path),))) == ["one", "two", "three"]


def test_the_text_field_can_have_any_name(tmp_path: Path) -> None:
    path = _write_jsonl(tmp_path / "rows.jsonl", [{"body": "mine", "text": "not mine"}])
    assert _texts(Corpus(files=(str(path),), text_field="body")) == ["mine"]


def test_a_blank_line_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"text": "one"}\n  \n\n{"text": "two"}')
    assert _texts(Corpus(files=(str(path),))) == ["one", "two"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_a_blank_line_ends_a_document_of_text(tmp_path: Path, line_end: str, mark: str, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    lines = ["", "Line one.", "Line two.", "", " \t ", "Second document.", ""]
    data = (mark + line_end.join(lines)).encode()
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    corpus = Corpus(files=(str(path),))
    documents = list(read_documents(resolve_sources(corpus).train, corpus, Problems("stop")))
    assert [document.text for document in documents] == ["Line one.\nLine two.", "Second document."]
    assert [document.origin for document in documents] == [f"{path}:2", f"{path}:6"]


def test_a_byte_order_mark_and_crlf_are_fine_in_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n{"text": "two"}\r\n')
    assert _texts(Corpus(files=(str(path),))) == ["one", "two"]


def test_a_gz_of_several_members_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n') + gzip.compress(b'{"text": "two"}\n'))
    assert _texts(Corpus(files=(str(path),))) == ["one", "two"]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    path = _write_jsonl(tmp_path / f"big{ending}", [{"text": f"{i} " + "word " * 200} for i in range(4000)])
    corpus = Corpus(files=(str(path),))
    files = resolve_sources(corpus)
    tracemalloc.start()
    num_characters = sum(len(document.text) for document in read_documents(files.train, corpus, Problems("stop")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_characters > 4_000_000
    assert peak < num_characters / 8


# Order and files -----------------------------------------------------------------------------------------------------


def test_the_order_depends_on_the_content_and_not_on_names(tmp_path: Path) -> None:
    contents = [[{"text": f"file {i} document {j}"} for j in range(3)] for i in range(5)]
    orders = []
    for folder, names in (("x", "abcde"), ("y", "edcba"), ("z", "cadbe")):
        (tmp_path / folder).mkdir()
        for name, rows in zip(names, contents, strict=True):
            _write_jsonl(tmp_path / folder / f"{name}.jsonl", rows)
        orders.append(_texts(Corpus(files=(str(tmp_path / folder / "*.jsonl"),))))
    assert orders[0] == orders[1] == orders[2]
    assert len(orders[0]) == 15


def test_the_same_content_named_twice_counts_once(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        _write_jsonl(tmp_path / name, [{"text": "once"}])
    patterns = (str(tmp_path / "*.jsonl"), str(tmp_path / "a.jsonl"))
    assert _texts(Corpus(files=patterns)) == ["once"]


def test_a_file_name_may_look_like_a_glob(tmp_path: Path) -> None:
    path = _write_jsonl(tmp_path / "a[1].jsonl", [{"text": "found"}])
    assert _texts(Corpus(files=(str(path),))) == ["found"]


def test_held_out_files_are_not_trained_on_under_any_name(tmp_path: Path) -> None:
    _write_jsonl(tmp_path / "train.jsonl", [{"text": "train"}])
    valid = _write_jsonl(tmp_path / "valid.jsonl", [{"text": "valid"}])
    _write_jsonl(tmp_path / "copy-of-valid.jsonl", [{"text": "valid"}])
    corpus = Corpus.model_validate({"files": [str(tmp_path / "*.jsonl")], "held_out": {"files": [str(valid)]}})
    assert _splits(corpus) == {False: ["train"], True: ["valid"]}


# Held-out share ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("series", range(3))
def test_the_held_out_share_is_the_one_asked_for(share: float, series: int) -> None:
    n = 5000
    held_out = sum(is_held_out(f"series {series} text {i}", share=share) for i in range(n))
    assert abs(held_out - n * share) < 4 * math.sqrt(n * share * (1 - share))


def test_nothing_is_held_out_at_share_zero() -> None:
    assert not any(is_held_out(f"text {i}", share=0.0) for i in range(1000))


def test_a_larger_share_keeps_what_a_smaller_one_held_out() -> None:
    texts = [f"text {i}" for i in range(2000)]
    smaller = {text for text in texts if is_held_out(text, share=0.1)}
    larger = {text for text in texts if is_held_out(text, share=0.2)}
    assert smaller < larger


def test_adding_files_moves_no_document(tmp_path: Path) -> None:
    first = _write_jsonl(tmp_path / "a.jsonl", [{"text": f"first {i}"} for i in range(300)])
    second = _write_jsonl(tmp_path / "b.jsonl", [{"text": f"second {i}"} for i in range(300)])
    alone = _splits(Corpus(files=(str(first),), held_out=0.2))
    both = _splits(Corpus(files=(str(first), str(second)), held_out=0.2))
    assert alone[True] and alone[False]
    for held_out in (False, True):
        assert [text for text in both[held_out] if text.startswith("first")] == alone[held_out]


# Refusals ------------------------------------------------------------------------------------------------------------

GOOD = b'{"text": "good"}\n'
BAD_LINES = {
    "not JSON": (b"{'text': 1}\n", r":2: got a line that is not JSON .*expected an object"),
    "not a JSON object": (b'["text"]\n', r":2: got a list, expected an object with the key 'text'"),
    "no text field": (b'{"body": "b", "n": 1}\n', r":2: got an object without the key 'text'.*'body', 'n'"),
    "text field is not text": (b'{"text": null}\n', r":2: got null under 'text', expected text"),
    "broken Unicode escape": (b'{"text": "\\ud800"}\n', r":2: got half of a surrogate pair.*expected Unicode"),
    "document without text": (b'{"text": " \\n "}\n', r":2: got a document without any text, expected some"),
    "not UTF-8": (b'{"text": "caf\xe9"}\n', r":2: got byte 0xe9 at byte offset 30.*expected UTF-8"),
}
DEEP = b"[" * 100_000 + b"\n"


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_bad_line_stops_with_its_place_and_what_to_do(tmp_path: Path, reason: str, ending: str) -> None:
    line, message = BAD_LINES[reason]
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(GOOD + line + GOOD) if ending.endswith("gz") else GOOD + line + GOOD)
    with pytest.raises(CorpusError) as caught:
        _texts(Corpus(files=(str(path),)))
    first, remedy = str(caught.value).split("\n")
    assert first.startswith(str(path))
    assert re.search(message, first)
    assert "corpus.on_error: skip" in remedy


@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_bad_line_can_be_skipped_and_is_counted(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + BAD_LINES[reason][0] * 2 + b'{"text": "also good"}\n')
    corpus, problems = Corpus(files=(str(path),), on_error="skip"), Problems("skip")
    texts = [document.text for document in read_documents(resolve_sources(corpus).train, corpus, problems)]
    assert texts == ["good", "also good"]
    assert problems.counts == {reason: 2}


def test_json_nested_too_deeply_is_a_bad_line_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + DEEP)
    with pytest.raises(CorpusError, match=":2: got a line that is not JSON"):
        _texts(Corpus(files=(str(path),)))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("before", ["", "first line\n", "naïve\r\n\r\n"])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_byte_offset_is_that_of_the_byte_at_fault(
    tmp_path: Path, *, mark: bytes, before: str, compressed: bool
) -> None:
    data = mark + before.encode() + b"an \xff here\n"
    path = tmp_path / ("a.txt.gz" if compressed else "a.txt")
    path.write_bytes(gzip.compress(data) if compressed else data)
    with pytest.raises(CorpusError) as caught:
        _texts(Corpus(files=(str(path),)))
    found = re.search(r"byte offset (\d+)( after decompression)?", str(caught.value))
    assert found is not None
    assert data[int(found[1])] == 0xFF
    assert (found[2] is not None) == compressed


def _many_lines() -> bytes:
    # Digits of a chaotic sequence, so that the lines do not compress to nothing and many stand before the cut.
    return b"".join(b'{"text": "%d"}\n' % (i**5 * 7919) for i in range(5000))


def test_a_truncated_gz_stops_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(_many_lines())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"got a truncated \.gz.*after line \d+.*expected a complete one") as caught:
        _texts(Corpus(files=(str(path),)))
    assert "Copy or download it again" in str(caught.value)


def test_what_stands_before_the_cut_of_a_truncated_gz_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(_many_lines())
    path.write_bytes(whole[: len(whole) // 2])
    corpus, problems = Corpus(files=(str(path),), on_error="skip"), Problems("skip")
    texts = [document.text for document in read_documents(resolve_sources(corpus).train, corpus, problems)]
    assert problems.counts == {"truncated .gz": 1}
    assert texts == [json.loads(line)["text"] for line in _many_lines().splitlines()[: len(texts)]]
    assert 1000 < len(texts) < 4000


@pytest.mark.parametrize("position", [0, 200], ids=["header", "middle"])
def test_a_damaged_gz_stops_with_what_to_do(tmp_path: Path, position: int) -> None:
    path = tmp_path / "a.jsonl.gz"
    data = bytearray(gzip.compress(_many_lines()))
    data[position : position + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match=r"got a damaged \.gz.*expected a complete one") as caught:
        _texts(Corpus(files=(str(path),)))
    assert "Copy or download it again" in str(caught.value)


def test_a_file_of_blank_lines_holds_no_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n \n\n")
    with pytest.raises(CorpusError, match=r"a\.txt: got no document at all, expected.*\n.*Remove it"):
        _texts(Corpus(files=(str(path),)))


UNUSABLE = {
    "missing.jsonl": (None, r"got '.*missing\.jsonl', which is nothing at that place.*\n.*Expected.*Correct the path"),
    "none-*.jsonl": (None, r"got '.*none-\*\.jsonl', which is nothing.*\n.*Expected.*Correct the path"),
    "empty.txt": (b"", r"got an empty file \(0 bytes\), expected text.*\n.*Remove it"),
    "a.xml": (b"<text/>", r"got the ending '\.xml', expected one of .*\.jsonl, .*\.txt\.gz.*\n.*Convert"),
    "a.xml.gz": (b"<text/>", r"got the ending '\.xml\.gz', expected one of .*\n.*Convert"),
    "a.parquet.gz": (b"PAR1", r"got the ending '\.parquet\.gz', expected one of .*\n.*Convert"),
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_file_that_cannot_be_used_is_refused_even_if_bad_lines_are_skipped(
    tmp_path: Path, name: str, on_error: Any
) -> None:
    content, message = UNUSABLE[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        resolve_sources(Corpus(files=(str(tmp_path / name),), on_error=on_error))


def test_a_folder_without_a_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<text/>")
    with pytest.raises(CorpusError, match=r"got a folder without a file to read, expected some of \.csv.*\n.*Correct"):
        resolve_sources(Corpus(files=(str(tmp_path),)))


def test_a_corpus_that_is_held_out_as_a_whole_is_refused(tmp_path: Path) -> None:
    path = str(_write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}]))
    corpus = Corpus.model_validate({"files": [path], "held_out": {"files": [path]}})
    with pytest.raises(CorpusError, match=r"got only files that are held out.*expected at least one.*\n.*Add training"):
        resolve_sources(corpus)


def test_skipped_places_are_reported_in_one_line_by_reason(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems("skip")
    problems.add("not JSON", "a.jsonl:3: bad", "Mend it")
    problems.add("not JSON", "a.jsonl:9: bad", "Mend it")
    problems.add("not UTF-8", "b.txt:1: bad", "Convert it")
    problems.report(logging.getLogger("test"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    message = caplog.records[0].getMessage()
    assert "left out 3 places" in message
    assert "2 x not JSON (first: a.jsonl:3: bad)" in message
    assert "1 x not UTF-8 (first: b.txt:1: bad)" in message


def test_problems_of_several_readers_add_up_to_those_of_one(caplog: pytest.LogCaptureFixture) -> None:
    found = [("not JSON", "a:3"), ("not UTF-8", "b:1"), ("not JSON", "b:7"), ("not UTF-8", "c:2"), ("truncated", "c")]
    whole = Problems("skip")
    parts = [Problems("skip") for _ in range(3)]
    for reason, place in found:
        whole.add(reason, place, "Mend it")
        parts["abc".index(place[0])].add(reason, place, "Mend it")
    merged = Problems("skip")
    for part in parts:
        merged.merge(pickle.loads(pickle.dumps(part)))
    merged.report(logging.getLogger("test"))
    whole.report(logging.getLogger("test"))
    assert merged.counts == whole.counts
    assert caplog.records[0].getMessage() == caplog.records[1].getMessage()


def test_nothing_is_reported_where_nothing_was_skipped(caplog: pytest.LogCaptureFixture) -> None:
    Problems("skip").report(logging.getLogger("test"))
    assert caplog.records == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": []},
        {"files": "a.jsonl"},
        {"held_out": True},
        {"held_out": 1.0},
        {"held_out": -0.1},
        {"held_out": "0.1"},
        {"held_out": {"files": []}},
        {"held_out": {"file": ["a"]}},
        {"on_error": "ignore"},
        {"text_field": 3},
        {"fields": "text"},
        {"files": None},
        {"dataset": {"path": "owner/name"}},
        {"files": None, "dataset": {"path": "owner/name", "config": "a"}},
        {"files": None, "dataset": "owner/name"},
        {"txt_document": "line"},
        {"sentences": "line"},
        {"duplicate_documents": True},
        {"duplicate_lines": "first"},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    Corpus.model_validate({"files": ["a.jsonl"]})
    with pytest.raises(ValidationError):
        Corpus.model_validate({"files": ["a.jsonl"], **wrong})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"got none of them, expected exactly one of files, dataset; name the texts"),
        (
            {"files": ["a.jsonl"], "dataset": {"path": "owner/name"}},
            r"got files and dataset, expected exactly one of files, dataset; .*corpus\.files=null",
        ),
    ],
)
def test_a_corpus_is_either_files_or_a_dataset(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Corpus.model_validate(given)
    assert [error["type"] for error in caught.value.errors()] == ["exactly_one"]


def test_either_alone_is_enough_and_named_in_messages() -> None:
    assert Corpus.model_validate({"dataset": {"path": "owner/name"}}).named == "corpus.dataset: owner/name, split train"
    assert Corpus.model_validate({"files": ["a", "b"]}).named == "corpus.files: a, b"
