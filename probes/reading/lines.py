"""Text files and tables with tab-separated columns, and errors that list every problem with its line."""

import difflib
import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.probe_error import ProbeError

MOST_PROBLEMS_SHOWN = 10

Row = tuple[int, dict[str, str]]
"""Line of the file, counted from 1, and column -> text."""


@dataclass(frozen=True)
class Columns:
    """What a table may hold."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    verbatim: tuple[str, ...]
    """Columns whose text is taken as it is; the others lose blanks at their ends."""


def read_text(path: Path, *, expected: str) -> str:
    """The text of a UTF-8 file, also of one that gzip has compressed (.gz).

    Args:
        expected: what should be there, for the message: 'a table with the columns word ...'.

    Raises:
        ProbeError: there is no such file, or it holds no text.
    """
    if not path.is_file():
        got = "is a folder" if path.is_dir() else "there is no such file"
        raise ProbeError(f"{path}: {got}. Expected {expected}. Check the path.")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ProbeError(f"{path}: {error}. Expected {expected}. Check the file.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProbeError(
            f"{path}:{line}: byte {error.start} is not UTF-8. Expected UTF-8 text. Save the file as UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ProbeError(f"{path}:{line}: holds a NUL, so it is no text. Expected {expected}. Check the path.")
    return text


def split_lines(text: str) -> list[str]:
    """The lines without their ends. Only a newline ends one: str.splitlines would also cut at characters that may
    stand in a sentence."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def read_header(path: Path, *, expected: str) -> list[str]:
    """The names of the columns of a table, as they stand in its first line; none where the file is empty."""
    filled = [line for line in split_lines(read_text(path, expected=expected)) if line.strip()]
    return [name.strip() for name in filled[0].split("\t")] if filled else []


def read_rows(path: Path, columns: Columns) -> list[Row]:
    """Every line below the header that is not blank, the header's columns checked.

    Raises:
        ProbeError: a file that is missing, empty or no text, a missing or unknown column, lines of another width.
    """
    text = read_text(path, expected=f"a table with the columns {', '.join(columns.required)}")
    filled = [(number, line) for number, line in enumerate(split_lines(text), 1) if line.strip()]
    if len(filled) < 2:
        got = "is empty" if not filled else "has a header and no line below it"
        raise ProbeError(f"{path} {got}. Expected a header and one line for each sentence. Add sentences to it.")
    cells = [line.split("\t") for _, line in filled]
    header = [name.strip() for name in cells[0]]
    _check_header(path, header, columns)
    refuse(
        path,
        [
            f"line {number}: got {len(row)} columns, expected {len(header)}. Separate columns by one tab each."
            for (number, _), row in zip(filled, cells, strict=True)
            if len(row) != len(header)
        ],
    )
    rows: list[Row] = []
    for (number, _), row in zip(filled[1:], cells[1:], strict=True):
        named = zip(header, row, strict=True)
        rows.append((number, {name: cell if name in columns.verbatim else cell.strip() for name, cell in named}))
    return rows


def check_filled(row: dict[str, str], names: Sequence[str], line: int) -> None:
    """Refuse a line with an empty cell among these columns."""
    for name in names:
        if not row[name].strip():
            raise ProbeError(f"line {line}: the {name} is empty. Fill it in or take the line out.")


def refuse(path: Path, problems: Sequence[str]) -> None:
    """Raise all problems of a file or folder at once, if there is any."""
    if not problems:
        return
    shown = [f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN]]
    if len(problems) > MOST_PROBLEMS_SHOWN:
        shown.append(f"  ... and {len(problems) - MOST_PROBLEMS_SHOWN} more")
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise ProbeError("\n".join([f"{path} has {count}", *shown]))


def _check_header(path: Path, header: list[str], columns: Columns) -> None:
    known = (*columns.required, *columns.optional)
    problems = [f"the column {name!r} is missing" for name in columns.required if name not in header]
    for name, count in Counter(header).items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(f"the column {name!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif count > 1:
            problems.append(f"the column {name!r} stands {count} times")
    if problems:
        raise ProbeError(
            f"{path}:1: {'; '.join(problems)}. Expected a header of tab-separated columns:"
            f" {', '.join(columns.required)}, and optionally {', '.join(columns.optional)}. Correct the first line."
        )


def fingerprint(path: Path) -> str:
    """sha256 of a file, or of the names and contents of all text files of a folder and of the folders in it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted([*path.glob("*.txt"), *path.glob("*/*.txt")]):
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()
