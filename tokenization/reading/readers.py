"""Reading the documents of one source, by its kind; memory holds one document, or one batch of rows of a table.

.jsonl        an object a line
.json         an array of objects, or an object a line
.csv          RFC 4180 with a header; a row is refused where its quotes are wrong and not guessed at
.txt          a blank line ends a document, or the file is one document
.parquet      only the column of the text is read
.arrow        what `datasets` saves and caches (the streaming format), and the file format

An array of .json is read with the scanner of Python's json over a window of text. Of the streaming parsers, ijson 3.6
was tried: it turns half of a surrogate pair into a question mark without a word, and its memory grows with the square
of the depth, so that a file of 100,000 brackets ended the process.
"""

import codecs
import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, cast

from tokenization.reading.documents import (
    Document,
    Problems,
    Reading,
    SourceLost,
    Unreadable,
    check_columns,
    column_documents,
    is_unicode,
    row_document,
)
from tokenization.reading.hub import read_shard
from tokenization.reading.sources import FileSource

_UTF8_BOM = b"\xef\xbb\xbf"
_BUFFER_BYTES = 1 << 17
_CHUNK_BYTES = 1 << 20  # of the window on a .json
_BATCH_BYTES = 4 << 20  # of text that a batch of rows should hold
_SPACE = re.compile(r"[ \t\r\n]*")
# Of JSON: a literal or a number that the end of the window cuts is an error up to this many characters before the end.
_LONGEST_LITERAL = 16
_ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream
_LARGEST_FIELD = 2**31 - 1  # of CSV, in characters: the most that the module takes on every system


# Lines and bytes ------------------------------------------------------------------------------------------------------


def _open_gz(raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw))


def _open_zst(raw: BinaryIO) -> BinaryIO:
    # pyarrow and not zstandard, whose stream ends without an error where a file is cut off.
    import pyarrow as pa

    return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(raw, "zstd"), _BUFFER_BYTES))


DECOMPRESSORS: dict[str, Callable[[BinaryIO], BinaryIO]] = {".gz": _open_gz, ".zst": _open_zst}


@contextmanager
def _opened(file: FileSource) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed.

    Raises:
        CorpusError: the file cannot be opened, or the system fails to read it.
    """
    try:
        with ExitStack() as stack:
            raw: BinaryIO = stack.enter_context(file.path.open("rb", buffering=_BUFFER_BYTES))
            if file.is_compressed:
                yield stack.enter_context(DECOMPRESSORS[file.path.suffix.lower()](raw))
            else:
                yield raw
    except OSError as error:
        if error.errno is None:
            raise
        raise _system_fault(file, error) from error


def _system_fault(file: FileSource, error: OSError) -> SourceLost:
    # pyarrow puts more than the system's words into strerror.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SourceLost(
        f"{file.path}: cannot be read ({reason}).\nExpected the file that was there at the start. "
        "Check the file and its disk, and launch the same command again."
    )


def _pieces(file: FileSource, by: Callable[[BinaryIO], Iterable[bytes]], unit: str) -> Iterator[bytes]:
    """Give a file in pieces, lines or chunks.

    Raises:
        Unreadable: the file is damaged or breaks off; raised behind the last whole piece.
    """
    num_pieces = 0
    with _opened(file) as stream:
        try:
            for piece in by(stream):
                num_pieces += 1
                yield piece
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            ending = file.path.suffix.lower()
            if "requires too much memory" in str(error):
                raise Unreadable(
                    f"{ending} with a large window",
                    f"{file.path}: got a {ending} file written with a window of over 128 MB (zstd --long), "
                    "expected a smaller one.",
                    "Decompress it with zstd -d --long=31 and compress it again without --long",
                ) from error
            fault = "truncated" if isinstance(error, EOFError) or "Truncated" in str(error) else "damaged"
            raise Unreadable(
                f"{fault} {ending}",
                f"{file.path}: got a {fault} {ending} file that breaks off after {unit} {num_pieces} ({error}), "
                "expected a complete one.",
                "Copy or download it again",
            ) from error


def _raw_lines(file: FileSource) -> Iterator[bytes]:
    """Give each line with its line end and without a byte order mark; only \\n ends a line."""
    lines = _pieces(file, iter, "line")
    for first in islice(lines, 1):
        yield first.removeprefix(_UTF8_BOM)
    yield from lines


def _lines(file: FileSource, problems: Problems) -> Iterator[tuple[int, str]]:
    """Give each line with its number from 1, decoded and without its line end."""
    offset = 0
    for number, line in enumerate(_pieces(file, iter, "line"), start=1):
        mark = len(_UTF8_BOM) if number == 1 and line.startswith(_UTF8_BOM) else 0
        try:
            yield number, line[mark:].rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            at = mark + error.start
            problems.add(*_not_utf8(file, f"{file.path}:{number}", line[at], offset + at))
        offset += len(line)


def _not_utf8(file: FileSource, origin: str, byte: int, offset: int) -> tuple[str, str, str]:
    place = f"byte offset {offset}{' after decompression' if file.is_compressed else ''}"
    got = f"{origin}: got byte 0x{byte:02x} at {place}, expected UTF-8."
    return "not UTF-8", got, "Convert the file to UTF-8, for example with iconv"


# Text kinds -----------------------------------------------------------------------------------------------------------


def _read_jsonl(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    text_field = reading.text_field
    for number, line in _lines(file, problems):
        if not line or line.isspace():
            continue
        origin = f"{file.path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add("not JSON", f"{origin}: got a line that is not JSON ({error}), expected an object.", "Mend it")
            continue
        yield from row_document(row, origin, text_field, problems)


def _read_txt(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    lines: list[str] = []
    start = 1
    blank_line_ends = reading.txt_document == "blank_line"
    for number, line in _lines(file, problems):
        if line and not line.isspace():
            if not lines:
                start = number
            lines.append(line)
        elif lines and blank_line_ends:
            yield Document(text="\n".join(lines), origin=f"{file.path}:{start}")
            lines = []
        elif lines:
            lines.append("")
    if lines:
        yield Document(text="\n".join(lines).rstrip("\n"), origin=f"{file.path}:{start}")


def _read_csv(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    csv.field_size_limit(_LARGEST_FIELD)  # of the whole process: the module knows no other
    # A byte that is not UTF-8 becomes a character that stands for it, so that only its own row is left out.
    rows = csv.reader((line.decode(errors="surrogateescape") for line in _raw_lines(file)), strict=True)
    header: list[str] | None = None
    column = 0
    while True:
        origin = f"{file.path}:{rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            got = f"{origin}: got a row that is not CSV ({error}), expected commas, and quotes around what has any."
            problems.add("not CSV", got, "Mend its quotes")
            continue
        if row is None:
            return
        if header is None and row:
            check_columns(row, origin, reading.text_field)
            header, column = row, row.index(reading.text_field)
        elif header is not None and row:
            yield from _csv_document(row, header, column, origin, problems)


def _csv_document(
    row: list[str], header: list[str], column: int, origin: str, problems: Problems
) -> Iterator[Document]:
    if len(row) > len(header) or len(row) <= column:
        fields = f"{len(row)} field{'s' if len(row) > 1 else ''}"
        got = f"{origin}: got {fields}, expected {len(header)} as in the header."
        problems.add("row of another length", got, "Mend the row, with quotes around a field that has commas")
    elif not is_unicode(text := row[column]):
        byte = next(ord(c) for c in text if "\ud800" <= c <= "\udfff") - 0xDC00
        got = f"{origin}: got byte 0x{byte:02x} under {header[column]!r}, expected UTF-8."
        problems.add("not UTF-8", got, "Convert the file to UTF-8, for example with iconv")
    else:
        yield Document(text=text, origin=origin)


# .json ----------------------------------------------------------------------------------------------------------------


def _read_json(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    if _Window(file).take() == "[":
        for number, row in enumerate(_array_rows(_Window(file)), start=1):
            yield from row_document(row, f"{file.path}:row {number}", reading.text_field, problems)
    else:
        first = next((line.strip() for line in _raw_lines(file) if line.strip()), b"")
        _refuse_one_object(file, first, reading.text_field)
        yield from _read_jsonl(file, reading, problems)


def _refuse_one_object(file: FileSource, first: bytes, text_field: str) -> None:
    """Raise Unreadable if a file, whose first line is given, seems to be one object with the rows somewhere in it."""
    lists: list[str] = []
    try:
        row = json.loads(first)
        lists = [key for key, value in row.items() if isinstance(value, list)] if isinstance(row, dict) else []
        is_one = bool(lists) and text_field not in row
    except (ValueError, RecursionError):
        is_one = first.startswith(b"{") and not first.endswith(b"}")
    if is_one:
        holding = f" with a list under {', '.join(map(repr, lists))}" if lists else " over several lines"
        raise Unreadable(
            "one JSON object",
            f"{file.path}: got one object{holding}, expected an array of objects, or one object a line.",
            f"Write its rows one a line, for example with jq -c '.{lists[0] if lists else 'KEY'}[]'",
        )


def _array_rows(window: "_Window") -> Iterator[Any]:
    """Give the values of a JSON array one after another.

    Raises:
        Unreadable: behind the last whole value, where the array breaks off or is no JSON.
    """
    assert window.take() == "["
    if window.take(only="]"):
        return
    number = 1
    while True:
        yield window.value(number)
        if window.take(only=","):
            number += 1
        elif window.take(only="]"):
            break
        else:
            raise window.fault(number, f"Expecting ',' or ']' behind it, got {window.take()!r}")
    if (more := window.take()) is not None:
        raise window.fault(number, f"the array ends behind it, but {more!r} follows")


class _Window:
    """The part of a .json file that is looked at: from the value that is read next to as far as it was needed."""

    def __init__(self, file: FileSource) -> None:
        self._path = file.path
        self._chunks = _decoded(file)
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0

    def take(self, *, only: str | None = None) -> str | None:
        """Step over white space and give the character behind it; None at the end, or if it is not `only` that."""
        while (at := _SPACE.match(self._text, self._at).end()) == len(self._text):  # type: ignore[union-attr]
            if not self._extend():
                return None
        if only is not None and self._text[at] != only:
            return None
        self._at = at + 1
        return self._text[at]

    def value(self, number: int) -> Any:
        """Step over one JSON value and give it.

        Raises:
            Unreadable: there is none.
        """
        while True:
            start = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            try:
                value, end = self._decode(self._text, start)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos + _LONGEST_LITERAL > len(self._text)
                if not (cut and self._extend()):
                    raise self.fault(number, error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self.fault(number, str(error)) from error
            else:
                # A number that ends with the window may go on behind it.
                if end < len(self._text) or not self._extend():
                    self._at = end
                    return value

    def fault(self, number: int, error: str) -> Unreadable:
        """What to raise where the array is no JSON."""
        got = f"{self._path}:row {number}: got a row that is not JSON ({error}), expected an array of objects."
        return Unreadable("not JSON", got, "Mend the array there")

    def _extend(self) -> bool:
        """Forget what is behind, and have at least twice as much as is left; whether there was any more."""
        left = self._text[self._at :]
        more = []
        num_more = 0
        while num_more <= len(left) and (chunk := next(self._chunks, "")):
            more.append(chunk)
            num_more += len(chunk)
        self._text, self._at = left + "".join(more), 0
        return num_more > 0


def _decoded(file: FileSource) -> Iterator[str]:
    """Give the text of a file in chunks, none of them empty, without a byte order mark.

    Raises:
        Unreadable: a byte is not UTF-8; raised behind the last chunk without one.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    offset = 0
    for chunk in _pieces(file, lambda stream: iter(partial(stream.read, _CHUNK_BYTES), b""), "MiB"):
        num_kept = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            at = offset - num_kept + error.start
            raise Unreadable(*_not_utf8(file, str(file.path), error.object[error.start], at)) from error
        offset += len(chunk)
        if text:
            yield text
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        at = offset - len(error.object) + error.start
        raise Unreadable(*_not_utf8(file, str(file.path), error.object[error.start], at)) from error


# Tables ---------------------------------------------------------------------------------------------------------------


def _read_parquet(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    import pyarrow.parquet as pq  # takes a while, and only this reader needs it

    with _table_damage(file), ExitStack() as stack:
        # Without pre_buffer, which would hold whole row groups, and without a memory map, which would count as ours.
        table = stack.enter_context(
            pq.ParquetFile(file.path, pre_buffer=False, buffer_size=_BUFFER_BYTES, page_checksum_verification=True)
        )
        index = _text_column(table.schema_arrow, file, reading.text_field)
        num_rows = 0
        for group in range(table.num_row_groups):
            batches = table.iter_batches(
                _rows_per_batch(table.metadata.row_group(group), reading.text_field),
                row_groups=[group],
                columns=[table.schema_arrow.names[index]],
                use_threads=False,
            )
            for batch in batches:
                yield from column_documents(batch.column(0), file.origin, num_rows, reading.text_field, problems)
                num_rows += batch.num_rows


def _rows_per_batch(group: Any, text_field: str) -> int:
    columns = (group.column(i) for i in range(group.num_columns))
    num_bytes = int(sum(c.total_uncompressed_size for c in columns if c.path_in_schema == text_field))
    return max(1, int(group.num_rows) * _BATCH_BYTES // max(1, num_bytes))


def _read_arrow(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    import pyarrow as pa

    with _table_damage(file), pa.OSFile(str(file.path)) as data:
        is_file = data.read(6) == b"ARROW1"
        data.seek(0)
        open_table = pa.ipc.open_file if is_file else pa.ipc.open_stream
        index = _text_column(open_table(data).schema, file, reading.text_field)
        data.seek(0)
        table = open_table(data, options=pa.ipc.IpcReadOptions(included_fields=[index], use_threads=False))
        num_rows = 0
        batches = (table.get_batch(i) for i in range(table.num_record_batches)) if is_file else table
        for batch in batches:
            yield from column_documents(batch.column(0), file.origin, num_rows, reading.text_field, problems)
            num_rows += batch.num_rows
        data.seek(file.num_bytes - len(_ARROW_END))
        if not is_file and data.read() != _ARROW_END:
            raise _table_fault(file, "truncated", f"no end mark behind row {num_rows}")


def _text_column(schema: Any, file: FileSource, text_field: str) -> int:
    """The index of the column of the text in an Arrow schema.

    Raises:
        Unreadable: there is none, or it has no text.
    """
    import pyarrow as pa

    check_columns(schema.names, file.origin, text_field)
    index = int(schema.get_field_index(text_field))
    found = schema.field(index).type
    inner = found.value_type if pa.types.is_dictionary(found) else found
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_kind(inner) for is_kind in kinds):
        raise Unreadable(
            "text field is not text",
            f"{file.path}: got the column {text_field!r} of type {found}, expected text (string).",
            "Set corpus.text_field to the column that holds the text",
        )
    return index


@contextmanager
def _table_damage(file: FileSource) -> Iterator[None]:
    """Turn what pyarrow raises while it reads a file into Unreadable."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _system_fault(file, error) from error
        raise _table_fault(file, "damaged", str(error)) from error


def _table_fault(file: FileSource, fault: str, error: str) -> Unreadable:
    got = f"{file.path}: got a {fault} {file.kind} file ({error}), expected a complete one."
    return Unreadable(f"{fault} {file.kind}", got, "Copy or download it again")


READERS: dict[str, Callable[[Any, Reading, Problems], Iterator[Document]]] = {
    ".arrow": _read_arrow,
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_txt,
    "dataset": read_shard,
}
"""By kind of source. A reader adds to the problems what it steps over, and raises Unreadable where it cannot go on."""

FILE_ENDINGS = (
    *(f"{kind}{compressed}" for kind in (".csv", ".json", ".jsonl", ".txt") for compressed in ("", *DECOMPRESSORS)),
    *(".arrow", ".parquet"),
)
"""The files that can be read; a .parquet or .arrow file is compressed inside, if at all."""
