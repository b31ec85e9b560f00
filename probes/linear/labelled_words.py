"""Sentences whose words have labels: reading them in the two forms that they come in.

Columns: a word a line with its label in another column (tabs, or spaces where there is no tab), a blank line between
sentences; a first line with the names `word` (or `form`, `token`) and that of the label is a header. Ten columns
beginning with a number are CoNLL-U: comments, ranges (1-2) and empty nodes (1.1) are passed over. The words stand in
the sentence with one space between them.
Table: a header with the tab-separated columns `sentence`, `label`, and either `start` and `end` (characters from 0) or
`word` (the first whole-word match from `start` on); rows of the same sentence belong together.
A label that is empty or _ is none: the word stands in the sentence and is not asked about.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.probe_error import ProbeError
from probes.reading.lines import read_text
from probes.source import Span

WORD_NAMES = ("word", "form", "token")
NO_LABEL = ("", "_")
CONLLU_COLUMNS = 10
CONLLU_WORD, CONLLU_LABEL = 1, 3

_Line = tuple[int, list[str]]
"""Number of a line, counted from 1, and its cells; none where it is blank."""


@dataclass(frozen=True)
class LabelledSentence:
    """A sentence and those of its words that have a label."""

    text: str
    spans: tuple[Span, ...]
    labels: tuple[str, ...]
    number: int
    """Of the sentence in its file, counted from 1."""
    line: int
    """Where it begins."""


def read_labelled_words(path: Path, *, column: str | None = None) -> list[LabelledSentence]:
    """The sentences of a file that have at least one labelled word, in its order.

    Args:
        column: of the label: a number counted from 1, or a name of the header; None: the usual one.

    Raises:
        ProbeError: the file is missing, empty, not UTF-8 or no text, has no such column, a line with too few columns, a
            word that does not stand in its sentence, or no label at all.
    """
    lines = list(_lines(path))
    first = next((cells for _, cells in lines if cells), None)
    if first is None:
        raise ProbeError(f"{path} is empty. Expected a word and its label a line. Add sentences to it.")
    is_table = "sentence" in first and bool({"label", "word", "start", column} & set(first))
    sentences = list(_table(path, lines, column) if is_table else _columns(path, lines, first, column))
    labelled = [one for one in sentences if one.labels]
    if not labelled:
        raise ProbeError(f"{path}: got no label in {len(sentences)} sentences. Check --column.")
    return labelled


def _lines(path: Path) -> Iterator[_Line]:
    text = read_text(path, expected="a file of labelled words")
    separator = "\t" if "\t" in text else None
    for number, line in enumerate(text.split("\n"), 1):
        is_comment = line.startswith("#") and separator == "\t" and "\t" not in line
        if not is_comment and not line.startswith("-DOCSTART-"):
            yield number, [cell.strip() for cell in line.split(separator)] if line.strip() else []


def _columns(path: Path, lines: list[_Line], first: list[str], column: str | None) -> Iterator[LabelledSentence]:
    word, label = 0, 1
    header = [cell.lower() for cell in first]
    named = next((header.index(name) for name in WORD_NAMES if name in header), None)
    if named is not None and (column or "label").lower() in header:
        word, label = named, header.index((column or "label").lower())
        lines = [line for line in lines if line[1] != first]
    elif len(first) == CONLLU_COLUMNS and first[0][:1].isdigit():
        word, label = CONLLU_WORD, _number(path, column, first, CONLLU_LABEL)
        lines = [(number, cells) for number, cells in lines if not cells or cells[0].isdigit()]
    else:
        label = _number(path, column, first, label)
    begin, rows, number = 0, list[list[str]](), 0
    for line, cells in [*lines, (0, [])]:
        if cells and len(cells) <= max(word, label):
            raise ProbeError(
                f"{path}:{line}: got {len(cells)} column(s), expected a label in column {label + 1}. Mend the line, or"
                " name another --column."
            )
        if cells:
            begin = begin if rows else line
            rows.append(cells)
        elif rows:
            number += 1
            yield _joined([(row[word], row[label]) for row in rows], number, begin)
            rows = []


def _number(path: Path, column: str | None, first: Sequence[str], usual: int) -> int:
    """Place of the label's column, counted from 0."""
    place = usual if column is None else int(column) - 1 if column.isdecimal() else -1
    if not 0 <= place < len(first):
        raise ProbeError(
            f"{path}: has no column {column or usual + 1}: its first line has {len(first)} ({', '.join(first[:6])}),"
            " and is no header of that name. Name the label's column by its number, counted from 1: --column."
        )
    return place


def _joined(rows: Sequence[tuple[str, str]], number: int, line: int) -> LabelledSentence:
    text, spans, labels = "", [], []
    for word, label in rows:
        begin = len(text) + bool(text)
        text = f"{text} {word}" if text else word
        if label not in NO_LABEL:
            spans.append((begin, begin + len(word)))
            labels.append(label)
    return LabelledSentence(text, tuple(spans), tuple(labels), number, line)


def _table(path: Path, lines: list[_Line], column: str | None) -> Iterator[LabelledSentence]:
    (head, header), *rows = [(number, cells) for number, cells in lines if cells]
    names = {name: place for place, name in reversed(list(enumerate(header)))}
    if column is not None and column.isdecimal() and 0 < int(column) <= len(header):
        column = header[int(column) - 1]
    label = column or "label"
    missing = [name for name in ("sentence", label) if name not in names]
    if "word" not in names:
        missing += [name for name in ("start", "end") if name not in names]
    if missing:
        raise ProbeError(
            f"{path}:{head}: the column {missing[0]!r} is missing; got {', '.join(header)}. Expected sentence, {label},"
            " and start and end, or word. Correct the first line, or name the label's --column."
        )
    found: dict[str, list[tuple[Span, str, int]]] = {}
    for line, cells in rows:
        if len(cells) != len(header):
            raise ProbeError(f"{path}:{line}: got {len(cells)} columns, expected {len(header)}. Mend the line.")
        row = {name: cells[place] for name, place in names.items()}
        span = _span(path, line, row)
        found.setdefault(row["sentence"], []).append((span, row[label], line))
    for number, (text, words) in enumerate(found.items(), 1):
        kept = [(span, label) for span, label, _ in words if label not in NO_LABEL]
        yield LabelledSentence(text, tuple(s for s, _ in kept), tuple(label for _, label in kept), number, words[0][2])


def _span(path: Path, line: int, row: dict[str, str]) -> Span:
    sentence, word, start, end = (row.get(name, "") for name in ("sentence", "word", "start", "end"))
    if start.isdecimal() and end.isdecimal():
        if int(start) < int(end) <= len(sentence):
            return int(start), int(end)
    elif word and (not start or start.isdecimal()):
        found = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE).search(sentence, int(start or 0))
        if found:
            return found.span()
    place = f"characters {start or '?'} to {end or '?'}" if end or not word else repr(word)
    raise ProbeError(
        f"{path}:{line}: {place} is not in {sentence!r}. Expected the word's first character, counted from 0, and the"
        " one after its last, or the word as it stands there. Correct the line."
    )
