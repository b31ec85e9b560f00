"""The sentences among which neighbours are sought, and their words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.coverage import read_by
from probes.probe_error import ProbeError
from probes.reading.lines import fingerprint, read_text, split_lines
from probes.reading.spans import words_of
from probes.source import Source, Span
from probes.usages import BUILT_IN, read

MOST_WORDS = 100_000
"""Words in sentences that are compared; the sentences behind them are left out."""
TABLES = (".tsv", ".tsv.gz")


@dataclass(frozen=True)
class Corpus:
    """Different sentences, and where they came from."""

    sentences: list[str]
    file: str
    sha256: str
    notes: list[str]


def read_corpus(among: Path | None, asked: str) -> Corpus:
    """The sentences of a file: one a line (.txt, .gz), or those of a table or folder as probes.usages reads. None: the
    built-in ones. Blank lines, repeated sentences and the sentence that is asked about are left out.

    Raises:
        ProbeError: the file cannot be read or has fewer than two other sentences.
    """
    path = BUILT_IN if among is None else among
    if path.is_dir() or path.name.endswith(TABLES):
        reading = read(path)
        lines, notes = [usage.sentence for usage in reading.usages], list(reading.notes)
    else:
        lines = split_lines(read_text(path, expected="a text with one sentence a line"))
        notes = []
    different = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    others = [sentence for sentence in different if sentence != asked.strip()]
    if len(others) < 2:
        raise ProbeError(
            f"{path}: got {len(others)} sentences beside the one that is asked about, expected at least 2. Add"
            " sentences, one a line."
        )
    kept, num_words = [], 0
    for sentence in others:
        num_words += len(words_of(sentence))
        if num_words > MOST_WORDS:
            break
        kept.append(sentence)
    if len(different) > len(others):
        notes.append("The sentence that is asked about stands in the corpus as well and is left out.")
    if len(kept) < len(others):
        notes.append(
            f"Of {len(others):,} sentences the first {len(kept):,} are searched, which have {MOST_WORDS:,} words at"
            " most."
        )
    return Corpus(kept, "built in" if among is None else str(path), fingerprint(path), notes)


def readable_words(source: Source, sentences: Sequence[str]) -> list[list[Span]]:
    """Where the words stand that the source has a vector for and reads in full."""
    return read_by(source, sentences, [words_of(one) for one in sentences])
