"""A word in a sentence, with the sense that it has there: reading such tables and checking them.

The table is UTF-8 text with tab-separated columns and a header: `word`, `sentence`, `sense`, and optionally `source`
(the document of the sentence: sentences of the same source are never compared) and `start` (character offset of the
word in the sentence, counted from 0; without it the first whole-word match, upper or lower case).
"""

import difflib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from probes.probe_error import ProbeError

REQUIRED = ("word", "sentence", "sense")
OPTIONAL = ("source", "start")
BUILT_IN = Path(__file__).with_name("senses.tsv")
MOST_PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class Usage:
    """One line of the table."""

    word: str
    sentence: str
    sense: str
    source: str | None
    """The document of the sentence, if it is known."""
    span: tuple[int, int]
    """First character of the word in the sentence, and the one after its last."""
    line: int
    """Line of the file, counted from 1."""

    def comparable(self, other: "Usage") -> bool:
        """Whether the other may be a neighbour of this one: not itself, and not from the same source."""
        return self.line != other.line and (self.source is None or self.source != other.source)


def read_usages(path: Path) -> list[Usage]:
    """The table's usages, grouped by word (in the order of first appearance) and by sense inside a word.

    Raises:
        ProbeError: with every problem found and its line: a file that is missing, empty or not UTF-8, a missing or
            unknown column, a word that does not stand in its sentence, a sentence given twice, a word with one sense,
            a sense with one sentence (or one source).
    """
    rows = _rows(path)
    problems: list[str] = []
    usages: list[Usage] = []
    for line, row in rows:
        try:
            usages.append(_usage(row, line))
        except ProbeError as problem:
            problems.append(str(problem))
    if not problems:
        problems = _problems_of_the_whole(usages)
    if problems:
        raise ProbeError(_listed(path, problems))
    words = {word: position for position, word in reversed(list(enumerate(u.word for u in usages)))}
    senses = {(u.word, u.sense): position for position, u in reversed(list(enumerate(usages)))}
    return sorted(usages, key=lambda u: (words[u.word], senses[u.word, u.sense], u.line))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, column -> text) of every line that is not blank, the header's columns checked."""
    if not path.is_file():
        raise ProbeError(f"{path}: there is no such file. Expected a table with the columns {', '.join(REQUIRED)}.")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProbeError(
            f"{path}:{line}: byte {error.start} is not UTF-8. Expected UTF-8 text. Save the file as UTF-8."
        ) from None
    # Only a newline ends a line: str.splitlines would also cut at characters that may stand in a sentence.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if len(filled) < 2:
        got = "is empty" if not filled else "has a header and no line below it"
        raise ProbeError(f"{path} {got}. Expected a header and one line for each sentence. Add sentences to it.")
    cells = [line.split("\t") for _, line in filled]
    header = [name.strip() for name in cells[0]]
    _check_header(path, header)
    short = [
        f"line {number}: got {len(row)} columns, expected {len(header)}. Separate columns by one tab each."
        for (number, _), row in zip(filled, cells, strict=True)
        if len(row) != len(header)
    ]
    if short:
        raise ProbeError(_listed(path, short))
    return [
        (number, {name: cell.strip() if name != "sentence" else cell for name, cell in zip(header, row, strict=True)})
        for (number, _), row in zip(filled[1:], cells[1:], strict=True)
    ]


def _check_header(path: Path, header: list[str]) -> None:
    known = (*REQUIRED, *OPTIONAL)
    problems = [f"the column {name!r} is missing" for name in REQUIRED if name not in header]
    for name, count in Counter(header).items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(f"the column {name!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif count > 1:
            problems.append(f"the column {name!r} stands {count} times")
    if problems:
        raise ProbeError(
            f"{path}:1: {'; '.join(problems)}. Expected a header of tab-separated columns: {', '.join(REQUIRED)}, and"
            f" optionally {', '.join(OPTIONAL)}. Correct the first line."
        )


def _usage(row: dict[str, str], line: int) -> Usage:
    word, sentence, sense = (row[name] for name in REQUIRED)
    for name in REQUIRED:
        if not row[name].strip():
            raise ProbeError(f"line {line}: the {name} is empty. Fill it in or take the line out.")
    return Usage(word, sentence, sense, row.get("source") or None, _span(word, sentence, row.get("start"), line), line)


def _span(word: str, sentence: str, start: str | None, line: int) -> tuple[int, int]:
    if start:
        if not start.isdecimal():
            raise ProbeError(f"line {line}: start is {start!r}, expected a whole number of characters from 0.")
        begin, end = int(start), int(start) + len(word)
        if sentence[begin:end].casefold() != word.casefold():
            raise ProbeError(
                f"line {line}: at start {start} stands {sentence[begin:end]!r}, expected the word {word!r}."
                " Count characters from 0, or leave start empty to take the first match."
            )
        return begin, end
    match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", sentence, re.IGNORECASE)
    if match is None:
        raise ProbeError(
            f"line {line}: {word!r} does not stand in {sentence!r} as a whole word. Change the sentence so that it has"
            " the word in this very form."
        )
    return match.span()


def _problems_of_the_whole(usages: list[Usage]) -> list[str]:
    """What is wrong with the table that no single line shows."""
    problems = []
    by_word: dict[str, dict[str, list[Usage]]] = defaultdict(lambda: defaultdict(list))
    first_line: dict[tuple[str, str], int] = {}
    for usage in usages:
        by_word[usage.word][usage.sense].append(usage)
        first = first_line.setdefault((usage.word, usage.sentence), usage.line)
        if first != usage.line:
            problems.append(
                f"line {usage.line}: repeats the sentence of line {first} for {usage.word!r}, so each would be the"
                " other's nearest neighbour. Take one out."
            )
    for word, senses in by_word.items():
        lines = [usage.line for members in senses.values() for usage in members]
        if len(senses) < 2:
            problems.append(
                f"line {lines[0]}: the word {word!r} has one sense ({next(iter(senses))!r}), expected at least 2."
                " Add sentences of another sense or take the word out."
            )
            continue
        for sense, members in senses.items():
            problems += _problems_of_a_sense(word, sense, members, [u for s in senses.values() for u in s])
    return problems


def _problems_of_a_sense(word: str, sense: str, members: list[Usage], of_the_word: list[Usage]) -> list[str]:
    where = f"line {members[0].line}: the sense {sense!r} of {word!r}"
    if len(members) < 2:
        return [f"{where} has 1 sentence, expected at least 2. Add one or take the sense out."]
    others = [usage for usage in of_the_word if usage.sense != sense]
    for usage in members:
        for candidates, kind in ((members, "of that sense"), (others, "of another sense")):
            if not any(usage.comparable(other) for other in candidates):
                return [
                    f"{where}: line {usage.line} has no sentence {kind} from another source than {usage.source!r} to be"
                    " compared with. Add sentences from other sources or correct the source column."
                ]
    return []


def _listed(path: Path, problems: list[str]) -> str:
    shown = [f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN]]
    if len(problems) > MOST_PROBLEMS_SHOWN:
        shown.append(f"  ... and {len(problems) - MOST_PROBLEMS_SHOWN} more")
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{path} has {count}", *shown])
