"""What a command prints: the answer in words, then the figures side by side, within 100 columns of plain text."""

import io
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from probes.results import Results
from probes.summary import Summary

COLUMNS = 100
MOST_LABEL_COLUMNS = 36
LEAST_CELL_COLUMNS = 16
MOST_CELL_COLUMNS = 26
GAP = 2


def print_results(results: Results, path: Path) -> None:
    """Print what was found on standard output, and where it stands."""
    print(plain(show_results(results, path)))


def plain(text: str) -> str:
    """The text without what a terminal would take for orders: texts and names may be a stranger's."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) != "Cc" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def show_results(results: Results, path: Path) -> str:
    """The answer, the headlines side by side, the differences with what they allow to say, and the file's place."""
    plain = [score for score in results.headlines if score.role != "difference"]
    differences = [score for score in results.headlines if score.role == "difference"]
    blocks = ["\n".join(textwrap.fill(line, COLUMNS) for line in results.answer)]
    blocks += _tables(Summary.of(plain, results.measures), "")
    blocks += _tables(Summary.of(differences, results.measures), "Differences, the first minus the second:\n")
    # A path is never wrapped, so that it can be copied.
    blocks.append(f"95 % intervals in brackets. Results, with tables and pictures beside them:\n{path}")
    return "\n\n".join(block for block in blocks if block)


def _tables(summary: Summary, title: str) -> Iterator[str]:
    """The summary as one table, or as several with the same rows where its columns do not fit."""
    from rich.cells import cell_len

    if not summary.rows:
        return
    labels = min(max(cell_len(row.label) for row in summary.rows), MOST_LABEL_COLUMNS)
    columns = [
        (
            head,
            [summary.text(row, key).replace(" n = ", "\nn = ").replace(": ", ":\n") or "-" for row in summary.rows],
        )
        for head, key in zip(summary.headings(), summary.measures, strict=True)
    ]
    batch: list[tuple[str, list[str]]] = []
    room = COLUMNS - labels
    for column in columns:
        if batch and room < _width(column):
            yield title + _table([row.label for row in summary.rows], batch, labels)
            batch, room = [], COLUMNS - labels
        batch.append(column)
        room -= _width(column)
    yield title + _table([row.label for row in summary.rows], batch, labels)


def _width(column: tuple[str, list[str]]) -> int:
    """Columns of the screen that a column takes, with the gap before it; its heading is wrapped."""
    widest = max(len(line) for text in column[1] for line in text.split("\n"))
    longest_word = max(map(len, column[0].split()), default=0)
    return GAP + min(max(LEAST_CELL_COLUMNS, widest, longest_word), MOST_CELL_COLUMNS)


def _table(labels: Sequence[str], columns: Sequence[tuple[str, list[str]]], label_columns: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    full = [at for at in range(len(labels)) if any(column[1][at] != "-" for column in columns)]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=True)
    table.add_column("", width=label_columns, overflow="fold")
    for column in columns:
        table.add_column(
            Text(column[0].replace("n = ", "n\u00a0=\u00a0")),
            width=_width(column) - GAP,
            overflow="fold",
            vertical="top",
        )
    for index in full:
        table.add_row(Text(labels[index]), *(Text(column[1][index]) for column in columns))
    text = io.StringIO()
    Console(file=text, width=COLUMNS, color_system=None, force_terminal=False, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().split("\n"))
