"""Texts with a class each, read from CSV or JSON lines.

Three forms are read, each also compressed (.gz):

    .csv     with a header that names the columns of the class and of the text (`label,text`)
    .csv     without a header, as AG News is distributed: number of the class, title, description. It is known by a
             first row of three cells of which the first is a number; the text is title and description, joined by a
             space, and a class is called by its number
    .jsonl   an object a line, with the same fields
"""

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes.probe_error import ProbeError
from probes.reading.lines import read_text

_LARGEST_CELL = 2**31 - 1  # of CSV, in characters: the most that the module takes on every system
_DISTRIBUTED = ("class", "title", "description")  # AG News' columns where the file has no header

Rows = Iterator[tuple[int, dict[str, object]]]
"""Number of the line, and the cells by name of their column."""


@dataclass(frozen=True)
class LabelledTexts:
    """N texts and the class of each."""

    texts: list[str]
    labels: list[str]
    file: str = ""
    """Where they are from, as the user gave it."""
    sha256: str = ""
    """Of that file, as it lies on the disk."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> list[str]:
        """Their names, sorted."""
        return sorted(set(self.labels))

    def taken(self, rows: NDArray[np.int64]) -> "LabelledTexts":
        """The texts of these rows, in their order."""
        return LabelledTexts(
            [self.texts[row] for row in rows], [self.labels[row] for row in rows], self.file, self.sha256
        )


def add_fields(parser: argparse._ActionsContainer) -> None:
    """Declare --label-field and --text-field, which every probe of labelled texts has."""
    parser.add_argument("--label-field", default="label", metavar="NAME", help="column of the class [label]")
    parser.add_argument(
        "--text-field", nargs="+", default=["text"], metavar="NAME", help="column of the text, or several [text]"
    )


def read_labelled_texts(path: Path, *, label_field: str, text_fields: Sequence[str]) -> LabelledTexts:
    """The texts of a file, in its order.

    Args:
        label_field: column of the class.
        text_fields: columns of the text; several are joined by a space.

    Raises:
        ProbeError: a file that is missing, empty, not UTF-8, or neither CSV nor JSON lines; a column that is not
            there; a row with a cell too many or too few, or without a class or a text, by its line.
    """
    data = _read(path)
    texts: list[str] = []
    labels: list[str] = []
    is_json = path.name.removesuffix(".gz").endswith(".jsonl")
    rows = _json_rows(path, data) if is_json else _csv_rows(path, data, [label_field, *text_fields])
    for line, row in rows:
        fields = _DISTRIBUTED if tuple(row) == _DISTRIBUTED else (label_field, *text_fields)
        missing = [name for name in fields if name not in row]
        if missing:
            raise _without_columns(f"{path}:{line}", missing, list(row))
        label, *parts = (_as_text(f"{path}:{line}", name, row[name]) for name in fields)
        text = " ".join(part for part in parts if part)
        if not label or not text:
            what = "class" if not label else "text"
            raise ProbeError(
                f"{path}:{line}: the {what} is empty, expected one in every row. Fill it in or take the row out."
            )
        labels.append(label)
        texts.append(text)
    if not texts:
        raise ProbeError(f"{path} has no text in it, expected a row for each text with its class. Add rows to it.")
    return LabelledTexts(texts, labels, str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def _read(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    if not name.endswith((".csv", ".jsonl")):
        raise ProbeError(f"{path}: expected the name of a labelled set to end in .csv or .jsonl (or .gz after it).")
    return read_text(path, expected="a labelled set (CSV or JSON lines)")


def _csv_rows(path: Path, data: str, fields: Sequence[str]) -> Rows:
    csv.field_size_limit(_LARGEST_CELL)
    rows = csv.reader(io.StringIO(data, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for row in rows:
            begun, line = line, rows.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header, is_header = _header(path, row, fields)
                if is_header:
                    continue
            if len(row) != len(header):
                raise ProbeError(
                    f"{path}:{begun}: got {len(row)} cells, expected {len(header)} ({', '.join(header)}). Put quotes"
                    " around a text that has commas in it."
                )
            yield begun, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ProbeError(
            f"{path}:{line}: not CSV ({error}), expected commas between cells, and double quotes around a text that"
            " has commas, quotes (doubled) or line breaks in it. Mend that row."
        ) from error


def _header(path: Path, row: list[str], fields: Sequence[str]) -> tuple[list[str], bool]:
    """Names of the columns, and whether the first row is what says them."""
    names = [cell.strip() for cell in row]
    missing = [name for name in fields if name not in names]
    if not missing:
        return names, True
    if len(row) == len(_DISTRIBUTED) and names[0].isdecimal():
        return list(_DISTRIBUTED), False
    raise _without_columns(str(path), missing, names)


def _json_rows(path: Path, data: str) -> Rows:
    for line, text in enumerate(data.split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProbeError(
                f"{path}:{line}: not JSON ({error}), expected an object on each line. Mend that line."
            ) from error
        if not isinstance(row, dict):
            raise ProbeError(f"{path}:{line}: got {text[:40]!r}, expected an object with its fields. Mend that line.")
        yield line, row


def _as_text(where: str, name: str, cell: object) -> str:
    if not isinstance(cell, str | int):  # a class may be a number or a truth value
        raise ProbeError(f"{where}: the field {name!r} is {cell!r}, expected text (or a whole number). Correct it.")
    return str(cell).strip()


def _without_columns(where: str, missing: Sequence[str], found: Sequence[str]) -> ProbeError:
    shown = ", ".join(repr(name[:40]) for name in found[:10]) or "(none)"
    return ProbeError(
        f"{where}: there is no column {', '.join(map(repr, missing))}; found {shown}. Expected a column for the class"
        " and one for the text. Name them by --label-field and --text-field, or correct the first line."
    )
