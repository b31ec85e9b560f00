"""Reading the documents of one source, by its kind; memory holds one document, or one batch of rows of a table.

.jsonl        an object a line
.json         an array of objects, or an object a line
.csv          RFC 4180 with a header; a row is refused where its quotes are wrong and not guessed at
.txt          a blank line ends a document, or the file is one document
.parquet      only the column of the text is read
.arrow        what `datasets` saves and caches (the streaming format), and the file format
"""

import csv
import json
from collections.abc import Callable, Iterator
from typing import Any

from tokenization.reading.documents import (
    Document,
    Problems,
    Reading,
    Unreadable,
    check_columns,
    is_unicode,
    row_document,
)
from tokenization.reading.hub import read_shard
from tokenization.reading.json_arrays import Window, array_rows
from tokenization.reading.sources import FileSource
from tokenization.reading.streams import DECOMPRESSORS, numbered_lines, raw_lines
from tokenization.reading.tables import read_arrow, read_parquet

_LARGEST_FIELD = 2**31 - 1  # of CSV, in characters: the most that the module takes on every system


def _read_jsonl(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    text_field = reading.text_field
    for number, line in numbered_lines(file, problems):
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
    for number, line in numbered_lines(file, problems):
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
    rows = csv.reader((line.decode(errors="surrogateescape") for line in raw_lines(file)), strict=True)
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
    if Window(file).take() == "[":
        for number, row in enumerate(array_rows(Window(file)), start=1):
            yield from row_document(row, f"{file.path}:row {number}", reading.text_field, problems)
    else:
        first = next((line.strip() for line in raw_lines(file) if line.strip()), b"")
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


READERS: dict[str, Callable[[Any, Reading, Problems], Iterator[Document]]] = {
    ".arrow": read_arrow,
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": read_parquet,
    ".txt": _read_txt,
    "dataset": read_shard,
}
"""By kind of source. A reader adds to the problems what it steps over, and raises Unreadable where it cannot go on."""

FILE_ENDINGS = (
    *(f"{kind}{compressed}" for kind in (".csv", ".json", ".jsonl", ".txt") for compressed in ("", *DECOMPRESSORS)),
    *(".arrow", ".parquet"),
)
"""The files that can be read; a .parquet or .arrow file is compressed inside, if at all."""
