"""Minimal pairs as BLiMP writes them (Warstadt et al. 2020, https://arxiv.org/abs/1912.00582): JSON lines.

Each line has `sentence_good` and `sentence_bad`, and optionally `UID` (the paradigm, else the file's name), `field` and
`linguistics_term`; other keys are passed over.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.probe_error import ProbeError
from probes.reading.lines import read_text

MOST_PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class Pair:
    """Two sentences, of which speakers accept the first only."""

    good: str
    bad: str
    paradigm: str
    field: str
    """Empty: not said; so with the next."""
    term: str
    place: str
    """File and line, for messages."""


def read_pairs(path: Path, *, most: int | None = None) -> dict[str, list[Pair]]:
    """The pairs of a file, or of all `*.jsonl` of a folder, by paradigm in the order of first appearance.

    Args:
        most: pairs of a paradigm, the first ones; None: all.

    Raises:
        ProbeError: with every problem and its line: no such file, nothing in it, a line that is no JSON object or lacks
            a sentence, a paradigm in two fields. Pairs of the same sentence twice are let through: BLiMP has some.
    """
    problems: list[str] = []
    paradigms: dict[str, list[Pair]] = {}
    for file in files_of(path):
        for line, text in _lines(file):
            found = _pair(text, file, line)
            if isinstance(found, str):
                problems.append(f"{file.name}, line {line}: {found}")
                continue
            known = paradigms.setdefault(found.paradigm, [])
            if known and (known[0].field, known[0].term) != (found.field, found.term):
                problems.append(
                    f"{found.place}: {found.paradigm} is of {found.field} / {found.term}, at {known[0].place} of"
                    f" {known[0].field} / {known[0].term}"
                )
            if most is None or len(known) < most:
                known.append(found)
    if problems:
        shown = [f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN]]
        more = [f"  ... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
        raise ProbeError("\n".join([f"{path} has {len(problems)} problems", *shown, *more]))
    if not paradigms:
        raise ProbeError(f"{path} holds no pairs, expected lines with sentence_good and sentence_bad. Check the file.")
    return paradigms


def files_of(path: Path) -> list[Path]:
    """The file itself, or the `*.jsonl` of a folder in the order of their names."""
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else []
    if not files:
        got = "a folder without any" if path.is_dir() else "no such file or folder"
        raise ProbeError(
            f"--pairs {path}: {got}, expected a file of JSON lines or a folder of *.jsonl. Check the path."
        )
    return files


def sha256_of(path: Path) -> str:
    """Of the file, or of all files of the folder one after the other."""
    digest = hashlib.sha256()
    for file in files_of(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    text = read_text(file, expected="pairs of sentences as JSON lines")
    # Not splitlines, which would also cut at characters that JSON allows inside a string.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _pair(text: str, file: Path, line: int) -> Pair | str:
    """The pair of a line, or what is wrong with it."""
    try:
        row: Any = json.loads(text)
    except ValueError as error:
        return f"no JSON ({error})"
    if not isinstance(row, dict):
        return f"got {type(row).__name__}, expected an object with sentence_good and sentence_bad"
    for key in ("sentence_good", "sentence_bad"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            return f"{key} is {row.get(key)!r}, expected a sentence"
    for key in ("UID", "field", "linguistics_term"):
        if not isinstance(row.get(key, ""), str):
            return f"{key} is {row[key]!r}, expected text"
    paradigm = row.get("UID") or file.stem
    good, bad = row["sentence_good"], row["sentence_bad"]
    return Pair(good, bad, paradigm, row.get("field", ""), row.get("linguistics_term", ""), f"{file.name}, line {line}")
