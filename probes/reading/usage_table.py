"""Usages in the kit's own form: a table with the columns word, sentence, sense."""

from pathlib import Path
from typing import cast, get_args

from probes.probe_error import ProbeError
from probes.reading.lines import Columns, check_filled, read_rows, refuse
from probes.reading.spans import find_word
from probes.reading.usage import Split, Usage, problems_of_all

COLUMNS = Columns(("word", "sentence", "sense"), ("source", "start", "split"), verbatim=("sentence",))


def read_usage_table(path: Path) -> list[Usage]:
    """The usages of a table, in the order of its lines. Errors as probes.usages.read_usages."""
    problems: list[str] = []
    usages: list[Usage] = []
    for line, row in read_rows(path, COLUMNS):
        try:
            usages.append(_usage(row, line))
        except ProbeError as problem:
            problems.append(str(problem))
    refuse(path, problems or problems_of_all(usages, lambda usage: f"line {usage.line}"))
    return usages


def split_of(row: dict[str, str], line: int) -> Split | None:
    """The part that a line is meant for; None where the table has no column for it."""
    if "split" not in row:
        return None
    if row["split"] not in get_args(Split):
        raise ProbeError(f"line {line}: the split is {row['split']!r}, expected train or test. Write one of them.")
    return cast(Split, row["split"])


def _usage(row: dict[str, str], line: int) -> Usage:
    check_filled(row, COLUMNS.required, line)
    word, sentence, sense = (row[name] for name in COLUMNS.required)
    try:
        span = find_word(word, sentence, row.get("start"))
    except ProbeError as problem:
        raise ProbeError(f"line {line}: {problem}") from None
    return Usage(word, sentence, sense, row.get("source") or None, span, line, split_of(row, line))
