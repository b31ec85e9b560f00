"""What reading a corpus gives: documents, and what was wrong on the way."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal


class CorpusError(ValueError):
    """A mistake in the corpus that its owner can mend. The message says what was got, what was expected, what to do."""


class SourceLost(CorpusError):
    """A source that could be read and now cannot, by a fault of the disk or the network and not of the corpus."""


class Unreadable(Exception):
    """A source that its reader cannot go on with; `read_documents` makes it one of the `Problems`."""

    def __init__(self, reason: str, message: str, remedy: str) -> None:
        super().__init__(reason, message, remedy)
        self.reason, self.message, self.remedy = reason, message, remedy


@dataclass(frozen=True, slots=True)
class Document:
    """One document and where it stands, as in `novels.jsonl.gz:17` (a line) or `novels.parquet:row 17`; both from 1."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How documents are found in a source; the settings of the same names."""

    text_field: str = "text"
    txt_document: Literal["blank_line", "file"] = "blank_line"


class Problems:
    """What is wrong with a corpus: raised at the first, or counted by reason where `on_error` is skip.

    Can be pickled, so that processes that read parts of a corpus can send theirs to the one that reports.
    """

    def __init__(self, on_error: Literal["stop", "skip"]) -> None:
        self.on_error = on_error
        self.counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, message: str, remedy: str) -> None:
        """Count one problem, or raise it.

        Raises:
            CorpusError: `on_error` is stop.
        """
        if self.on_error == "stop":
            raise CorpusError(f"{message}\n{remedy}, or set corpus.on_error: skip to leave such places out.")
        self.counts[reason] += 1
        self._first.setdefault(reason, message)

    def merge(self, other: "Problems") -> None:
        """Add the counts of another, and its first places of the reasons that have none here.

        The report does not depend on who read what if the parts are merged in the order of the sources.
        """
        self.counts += other.counts
        self._first = {**other._first, **self._first}

    def state(self) -> dict[str, Any]:
        """All of it as JSON can hold it; `from_state` reads it back."""
        return {"on_error": self.on_error, "counts": dict(self.counts), "first": self._first}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Problems":
        problems = cls(state["on_error"])
        problems.counts.update(state["counts"])
        problems._first.update(state["first"])
        return problems

    def report(self, log: logging.Logger) -> None:
        """Log one warning with the counts by reason and the first place of each; nothing if there was no problem."""
        if self.counts:
            reasons = "; ".join(f"{n} x {reason} (first: {self._first[reason]})" for reason, n in self.counts.items())
            log.warning("corpus: left out %d places: %s", self.counts.total(), reasons)


def row_document(row: Any, origin: str, text_field: str, problems: Problems) -> Iterator[Document]:
    """Give the document of a JSON value, or add what keeps it from being one."""
    if not isinstance(row, dict):
        got = f"{origin}: got {json_name(row)}, expected an object with the key {text_field!r}."
        problems.add("not a JSON object", got, "Write one object a line")
    elif text_field not in row:
        keys = ", ".join(map(repr, row)) or "none"
        got = f"{origin}: got an object without the key {text_field!r}, expected it (its keys: {keys})."
        problems.add("no text field", got, "Set corpus.text_field to the key that holds the text")
    else:
        yield from value_document(row[text_field], origin, text_field, problems)


def value_document(value: Any, origin: str, text_field: str, problems: Problems) -> Iterator[Document]:
    """Give the document that a value under the text field is, or add what keeps it from being one."""
    if not isinstance(value, str):
        got = f"{origin}: got {json_name(value)} under {text_field!r}, expected text."
        problems.add("text field is not text", got, "Mend the row or set corpus.text_field")
    elif not is_unicode(value):
        got = f"{origin}: got half of a surrogate pair (an escape like \\ud800) in the text, expected Unicode."
        problems.add("broken Unicode escape", got, "Mend the row")
    else:
        yield Document(text=value, origin=origin)


def check_columns(names: Sequence[str], place: str, text_field: str) -> None:
    """Hold the columns of a table against the text field.

    Raises:
        Unreadable: none of them has that name, or more than one.
    """
    found = names.count(text_field)
    if found != 1:
        columns = ", ".join(map(repr, names)) or "none"
        got = f"{'no column' if not found else f'{found} columns'} {text_field!r}"
        raise Unreadable(
            "no text field",
            f"{place}: got {got}, expected one (its columns: {columns}).",
            "Set corpus.text_field to the column that holds the text",
        )


def json_name(value: Any) -> str:
    """What a value is called in a message, in words of JSON where it has one."""
    names = {list: "a list", dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    numbers = {int: "a number", float: "a number"}
    return (names | numbers).get(type(value), f"a value of type {type(value).__name__}")


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def column_documents(
    column: Any, origin: str, num_before: int, text_field: str, problems: Problems
) -> Iterator[Document]:
    """Give the documents of a pyarrow array of texts.

    Args:
        num_before: rows of the source before this array; rows count from 1 in a document's origin.
    """
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = [_decoded(scalar) for scalar in column]
    for number, value in enumerate(values, start=num_before + 1):
        place = f"{origin}:row {number}"
        if isinstance(value, UnicodeDecodeError):
            got = f"{place}: got byte 0x{value.object[value.start]:02x} under {text_field!r}, expected UTF-8."
            problems.add("not UTF-8", got, "Mend the row")
        else:
            yield from value_document(value, place, text_field, problems)


def _decoded(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error
