"""Laws of reading one source, over every kind of file: what comes back, and what each kind of damage is told."""

import csv
import gzip
import io
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenization.corpus import Corpus, CorpusError, Problems, read_documents, resolve_sources
from tokenization.reading import json_arrays, streams
from tokenization.reading.readers import FILE_ENDINGS
from tokenization.reading.sources import DECOMPRESSED, FileSource
from tokenization.reading.streams import DECOMPRESSORS

Rows = list[dict[str, Any]]


# Writing every kind ---------------------------------------------------------------------------------------------------


def _jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _json(rows: Rows) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def _csv(rows: Rows) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=3)
    return sink.getvalue()


def _arrow(rows: Rows, new: Callable[..., Any] = pa.ipc.new_stream) -> bytes:
    sink, table = io.BytesIO(), pa.Table.from_pylist(rows)
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return sink.getvalue()


def _txt(rows: Rows) -> bytes:
    return "\n\n".join(row["text"] for row in rows).encode()


ROW_WRITERS = {".arrow": _arrow, ".csv": _csv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}
WRITERS = {**ROW_WRITERS, ".txt": _txt}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
}
COMPRESSED = [ending for ending in FILE_ENDINGS if ending.endswith(DECOMPRESSED)]
DAMAGED = [*COMPRESSED, ".parquet", ".arrow"]


def _write(folder: Path, ending: str, rows: Rows) -> Path:
    path = folder / f"rows{ending}"
    return _write_bytes(path, WRITERS["." + ending.split(".")[1]](rows))


def _write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(COMPRESS[path.suffix](data) if path.suffix in COMPRESS else data)
    return path


def _read(path: Path, problems: Problems | None = None, **settings: Any) -> list[str]:
    corpus = Corpus(files=(str(path),), **settings)
    sources = resolve_sources(corpus).train
    return [document.text for document in read_documents(sources, corpus, problems or Problems("stop"))]


def _refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        _read(path, **settings)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "expected" in message.split("\n")[0]
    assert "corpus.on_error: skip" in message.split("\n")[1]
    return message


def _rows(n: int) -> Rows:
    return [{"n": i, "text": f"document {i}: {(i + 2) ** 5 * 7919}"} for i in range(n)]


# What comes back ------------------------------------------------------------------------------------------------------


def test_every_ending_has_a_writer_here() -> None:
    assert set(COMPRESS) == set(DECOMPRESSORS) == set(DECOMPRESSED)
    assert {ending.removesuffix(".gz").removesuffix(".zst") for ending in FILE_ENDINGS} == set(WRITERS)


@pytest.mark.parametrize("ending", FILE_ENDINGS)
def test_every_kind_gives_the_same_documents_in_their_order(tmp_path: Path, ending: str) -> None:
    rows = _rows(10)
    assert _read(_write(tmp_path, ending, rows)) == [row["text"] for row in rows]


WILD = st.text(
    st.one_of(
        st.sampled_from('\0\r\n\t",\\\u2028\u0085\ufeff\u200d \u05d0\u0645😀é\x1b'), st.characters(codec="utf-8")
    ),
    min_size=1,
).filter(lambda text: not text.isspace())


@pytest.mark.parametrize("kind", ROW_WRITERS)
@given(texts=st.lists(WILD, min_size=1, max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_unicode_text_comes_back_as_it_was(tmp_path: Path, kind: str, texts: list[str]) -> None:
    assert _read(_write(tmp_path, kind, [{"text": text, "n": 1} for text in texts])) == texts


@pytest.mark.parametrize("kind", WRITERS)
def test_a_document_of_one_character_is_one(tmp_path: Path, kind: str) -> None:
    assert _read(_write(tmp_path, kind, [{"text": "م"}])) == ["م"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_giant_line_is_one_document(tmp_path: Path, kind: str) -> None:
    giant = "wörd " * 300_000 + "."
    assert _read(_write(tmp_path, kind, [{"text": giant}])) == [giant]


@pytest.mark.parametrize("kind", [".csv", ".json", ".jsonl", ".txt"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    path.write_bytes(b"\xef\xbb\xbf" + WRITERS[kind]([{"text": "one"}]))
    assert _read(path) == ["one"]


@pytest.mark.parametrize("ending", COMPRESSED)
def test_a_file_of_several_compressed_parts_is_read_to_its_end(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    kind, compress = Path(ending).stem, COMPRESS[path.suffix]
    data = WRITERS[kind](_rows(6))
    path.write_bytes(compress(data[:40]) + compress(data[40:]))
    assert _read(path) == [row["text"] for row in _rows(6)]


def test_an_ending_may_be_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "A.JSONL.GZ"
    path.write_bytes(gzip.compress(_jsonl(_rows(2))))
    assert len(_read(path)) == 2


@pytest.mark.parametrize("ending", [".csv", ".json.gz", ".txt.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    path = _write(tmp_path, ending, [{"text": f"{i} " + "word " * 200} for i in range(12_000)])
    corpus = Corpus(files=(str(path),))
    sources = resolve_sources(corpus)
    tracemalloc.start()
    num_characters = sum(len(document.text) for document in read_documents(sources.train, corpus, Problems("stop")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_characters > 12_000_000
    # A .json is read through a window of a mebibyte, which stands there some times: as bytes, as text, and as both.
    assert peak < 7_500_000


def test_the_arrow_file_format_is_read_as_well_as_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(_arrow(_rows(7), pa.ipc.new_file))
    assert _read(path) == [row["text"] for row in _rows(7)]


@pytest.mark.parametrize("kind", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    "of_type", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()], ids=str
)
def test_every_arrow_type_of_text_is_text(tmp_path: Path, kind: str, of_type: pa.DataType) -> None:
    table = pa.table({"n": [1, 2], "text": pa.array(["one", "two"]).cast(of_type)})
    path = tmp_path / f"a{kind}"
    if kind == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    assert _read(path) == ["one", "two"]


def test_a_txt_can_be_one_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\r\n\r\nOne.\r\n\r\n\r\nTwo.\r\nThree.\r\n\r\n")
    assert _read(path, txt_document="file") == ["One.\n\n\nTwo.\nThree."]
    assert _read(path, txt_document="blank_line") == ["One.", "Two.\nThree."]


# .json ----------------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("size", range(1, 12))
def test_a_number_that_the_window_cuts_anywhere_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(json_arrays, "_CHUNK_BYTES", size)
    path = tmp_path / "a.json"
    for gap in ("", " ", "  ", "   "):
        path.write_text(f"[0.0,{gap}1e+5, -2.5E-3,{gap}[], 12345678901234567890,{gap}7]")
        file = FileSource(path=path, digest="", num_bytes=1)
        values = [0.0, 1e5, -2.5e-3, [], 12345678901234567890, 7]
        assert list(json_arrays.array_rows(json_arrays.Window(file))) == values


@given(values=st.lists(JSON_VALUES, max_size=6), indent=st.none() | st.integers(0, 3), size=st.integers(1, 50))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_array_is_read_as_the_json_module_reads_it_wherever_the_window_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any], indent: int | None, size: int
) -> None:
    monkeypatch.setattr(json_arrays, "_CHUNK_BYTES", size)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
    file = FileSource(path=path, digest="", num_bytes=1)
    assert list(json_arrays.array_rows(json_arrays.Window(file))) == values


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("broken", "row", "reason"),
    [
        ('[{"text": "a"}, {"text": "b"', 2, "Expecting ',' delimiter"),
        ('[{"text": "a"}, {"text": "b', 2, "Unterminated string"),
        ('[{"text": "a"}', 1, "Expecting ',' or ']' behind it, got None"),
        ('[{"text": "a"} {"text": "b"}]', 1, "Expecting ',' or ']' behind it, got '{'"),
        ('[{"text": "a"}, ]', 2, "Expecting value"),
        ('[{"text": "a"}, {"text": tru}, {"text": "a rather long one"}]', 2, "Expecting value"),
        ('[{"text": "a"}] and more', 1, "the array ends behind it, but 'a' follows"),
        ('[{"text": "a"}, {"text": "b\0"}]', 2, "Invalid control character"),
        ('[{"text": "a"}, ' + "9" * 5000 + "]", 2, "Exceeds the limit"),
        ('[{"text": "a"}, ' + "[" * 100_000, 2, "recursion"),
    ],
)
def test_a_broken_array_gives_what_stands_before_the_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, row: int, reason: str, size: int
) -> None:
    if len(broken) > 1000 and size < 100:
        size *= 1000
    monkeypatch.setattr(json_arrays, "_CHUNK_BYTES", size)
    path = tmp_path / "a.json"
    path.write_text(broken)
    message = _refusal(path)
    assert re.search(rf":row {row}: got a row that is not JSON \(.*{re.escape(reason)}", message)
    problems = Problems("skip")
    assert _read(path, problems) == ["a"]
    assert problems.counts == {"not JSON": 1}


def test_one_object_a_line_is_read_under_the_name_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\n{"text": "one", "n": [1]}\n{"text": "two"}\n')
    assert _read(path) == ["one", "two"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('{"version": 1, "data": [{"text": "a"}]}', r"one object with a list under 'data', .*\n.*jq -c '\.data\[\]'"),
        ('{\n "text": "a"\n}\n', r"one object over several lines, expected an array.*\n.*jq -c '\.KEY\[\]'"),
    ],
)
def test_an_object_that_holds_the_rows_is_explained(tmp_path: Path, written: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(written)
    assert re.search(message, _refusal(path))


@pytest.mark.parametrize("data", [b'[{"text": "caf\xe9 a"}]', b'[{"text": "caf\xc3'], ids=["middle", "end"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_byte_of_a_json_array_that_is_not_utf8_is_named_by_its_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, size: int
) -> None:
    monkeypatch.setattr(json_arrays, "_CHUNK_BYTES", size)
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert re.search(r"got byte 0x(e9|c3) at byte offset 14, expected UTF-8", _refusal(path))


# .csv -----------------------------------------------------------------------------------------------------------------

BAD_CSV = {
    "not CSV": (b'"two" more,1\n', r":3: got a row that is not CSV \(.*expected commas"),
    "row of another length": (b"Hello, world, again\n", r":3: got 3 fields, expected 2 as in the header"),
    "not UTF-8": (b"caf\xe9,1\n", r":3: got byte 0xe9 under 'text', expected UTF-8"),
    "document without text": (b",1\n", r":3: got a document without any text"),
}


@pytest.mark.parametrize("reason", BAD_CSV)
def test_a_bad_row_of_csv_is_named_or_left_out_alone(tmp_path: Path, reason: str) -> None:
    row, message = BAD_CSV[reason]
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,n\none,1\n" + row + b'\n"three\nlines",1\n')
    assert re.search(message, _refusal(path))
    problems = Problems("skip")
    assert _read(path, problems) == ["one", "three\nlines"]
    assert problems.counts == {reason: 1}


def test_a_quote_that_never_ends_is_named_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\none\n"two\nthree\n')
    assert re.search(r":3: got a row that is not CSV \(unexpected end of data\)", _refusal(path))


def test_a_csv_of_a_header_alone_has_no_document(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,n\n")
    assert "got no document at all" in _refusal(path)


# Refusals of every kind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ROW_WRITERS)
def test_a_missing_text_field_names_those_that_are_there(tmp_path: Path, kind: str) -> None:
    message = _refusal(_write(tmp_path, kind, [{"body": "b", "n": 1}]))
    assert re.search(r"'text'.*'body', 'n'\)\.\nSet corpus\.text_field", message)


@pytest.mark.parametrize("kind", [".parquet", ".arrow", ".csv"])
def test_two_columns_of_that_name_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    if kind == ".csv":
        path.write_text("text,text\na,b\n")
    elif kind == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    assert "got 2 columns 'text', expected one" in _refusal(path)


@pytest.mark.parametrize("kind", [".json", ".jsonl", ".parquet", ".arrow"])
def test_a_null_is_left_out_alone(tmp_path: Path, kind: str) -> None:
    path = _write(tmp_path, kind, [{"text": "one"}, {"text": None}, {"text": "three"}])
    assert re.search(r":(row )?2: got null under 'text', expected text", _refusal(path))
    problems = Problems("skip")
    assert _read(path, problems) == ["one", "three"]
    assert problems.counts == {"text field is not text": 1}


@pytest.mark.parametrize("kind", [".json", ".jsonl", ".parquet", ".arrow"])
@pytest.mark.parametrize("value", [3, 1.5, True, ["a"], {"a": 1}, b"bytes"], ids=str)
def test_what_is_no_text_is_told_as_what_it_is(tmp_path: Path, kind: str, value: Any) -> None:
    if isinstance(value, bytes) and kind.startswith(".json"):
        value = [1]
    names = "a number|true or false|a list|an object|column 'text' of type"
    assert re.search(rf"got (the )?({names}).*expected text", _refusal(_write(tmp_path, kind, [{"text": value}])))


@pytest.mark.parametrize("kind", [".json", ".jsonl"])
def test_half_of_a_surrogate_pair_is_left_out_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    rows = ['{"text": "a"}', '{"text": "\\ud800"}', '{"text": "\\ud83d\\ude00"}']
    path.write_text("\n".join(rows) if kind == ".jsonl" else f"[{','.join(rows)}]")
    assert "half of a surrogate pair" in _refusal(path)
    assert _read(path, Problems("skip")) == ["a", "😀"]


@pytest.mark.parametrize("kind", [".parquet", ".arrow"])
def test_a_text_of_a_table_that_is_not_utf8_is_left_out_alone(tmp_path: Path, kind: str) -> None:
    offsets = pa.array([0, 1, 3, 4], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffbc")])
    path = _write_table_of(tmp_path / f"a{kind}", broken)
    assert ":row 2: got byte 0xff under 'text', expected UTF-8" in _refusal(path)
    problems = Problems("skip")
    assert _read(path, problems) == ["a", "c"]
    assert problems.counts == {"not UTF-8": 1}


def _write_table_of(path: Path, column: pa.Array) -> Path:
    table = pa.table({"text": column})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("ending", DAMAGED)
@pytest.mark.parametrize("num_lost", [1, 8, 300, "half"], ids=str)
def test_a_truncated_file_is_told_as_one_and_what_stands_before_can_be_kept(
    tmp_path: Path, ending: str, num_lost: Any
) -> None:
    path = _write(tmp_path, ending, _rows(3000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 if num_lost == "half" else -num_lost])
    message = _refusal(path)
    assert re.search(r"got a (truncated|damaged) \.\w+ file.*expected a complete one.*\nCopy or download", message)
    problems = Problems("skip")
    kept = _read(path, problems)
    # A text file may end within a document, which is given as far as it goes.
    assert kept[:-1] == [row["text"] for row in _rows(3000)][: len(kept)][:-1]
    assert problems.counts.total() == 1
    assert problems.counts.keys() <= {f"{fault} {Path(path).suffix}" for fault in ("truncated", "damaged")}


@pytest.mark.parametrize("ending", DAMAGED)
@pytest.mark.parametrize("data", [b"\xff" * 600, b"plain text, and nothing else " * 30], ids=["bytes", "text"])
def test_a_file_that_is_something_else_is_told_as_damaged(tmp_path: Path, ending: str, data: bytes) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(data)
    assert re.search(r"got a damaged \.\w+ file", _refusal(path))


@pytest.mark.parametrize("ending", FILE_ENDINGS)
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_is_worse_than_a_problem(tmp_path: Path, ending: str, data: st.DataObject) -> None:
    path = _write(tmp_path, ending, _rows(8))
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=12))
    whole[at : at + len(damage)] = damage
    path.write_bytes(bytes(whole))
    assert all(text.strip() and text.encode() for text in _read(path, Problems("skip")))


@pytest.mark.parametrize("ending", FILE_ENDINGS)
def test_a_file_that_goes_away_is_told_even_if_problems_are_skipped(tmp_path: Path, ending: str) -> None:
    path = _write(tmp_path, ending, _rows(2))
    corpus = Corpus(files=(str(path),), on_error="skip")
    sources = resolve_sources(corpus)
    path.unlink()
    with pytest.raises(CorpusError, match=r"cannot be read \(No such file.*\nExpected.*Check"):
        list(read_documents(sources.train, corpus, Problems("skip")))


def test_a_window_of_zstd_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only zstd --long writes one, so what pyarrow says of it is put in its mouth here.
    def refuse(raw: Any) -> Any:
        raise OSError("ZSTD decompress failed: Frame requires too much memory for decoding")
        yield

    monkeypatch.setattr(streams, "DECOMPRESSORS", {".zst": lambda raw: _Failing(refuse)})
    assert "Decompress it with zstd -d --long=31" in _refusal(_write(tmp_path, ".txt.zst", _rows(2)))


class _Failing(io.BytesIO):
    def __init__(self, refuse: Callable[[Any], Any]) -> None:
        super().__init__()
        self._refuse = refuse

    def __iter__(self) -> Any:
        return self._refuse(None)
