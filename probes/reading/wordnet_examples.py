"""Usages from a table of WordNet's example sentences: lemma, pos, sense, example, surface (the form in the example).

Most senses have one example, which nothing could be compared with, so the table is cut down to what can be asked:
lemmas with at least two senses of at least two examples.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from probes.probe_error import ProbeError
from probes.reading.lines import Columns, check_filled, read_rows, refuse
from probes.reading.spans import find_word
from probes.reading.usage import Usage

COLUMNS = Columns(
    ("lemma", "pos", "sense", "example", "surface"), ("n_senses", "synset_offset", "definition"), verbatim=("example",)
)
LEAST = 2
"""Senses of a lemma, and examples of a sense."""


@dataclass(frozen=True)
class _Cut:
    usages: list[Usage]
    ambiguous: int
    """Examples that stand with several senses of a lemma."""
    repeated: int
    """Examples that stand twice with one sense."""


def read_wordnet_examples(path: Path) -> tuple[list[Usage], str]:
    """The usages that can be asked about, in the order of the lines, and what was left out, in a sentence.

    A word is lemma.pos and a sense lemma.pos.number. Where the form stands in the example more than once, the first
    is meant. An example given for several senses of a lemma is left out, one given twice for a sense counts once.

    Raises:
        ProbeError: with every problem found and its line; or no lemma has enough examples.
    """
    problems: list[str] = []
    usages: list[Usage] = []
    for line, row in read_rows(path, COLUMNS):
        try:
            check_filled(row, COLUMNS.required, line)
            word = f"{row['lemma']}.{row['pos']}"
            span = find_word(row["surface"], row["example"])
            usages.append(Usage(word, row["example"], f"{word}.{row['sense']}", None, span, line))
        except ProbeError as problem:
            problems.append(str(problem) if str(problem).startswith("line ") else f"line {line}: {problem}")
    refuse(path, problems)
    cut = _without_repeated(usages)
    kept = _with_enough(cut.usages)
    if not kept:
        raise ProbeError(
            f"{path}: no lemma has {LEAST} senses with {LEAST} examples each, so nothing can be compared. Expected at"
            " least one. Add examples."
        )
    return kept, _left_out(usages, kept, cut)


def _without_repeated(usages: list[Usage]) -> _Cut:
    senses: dict[tuple[str, str], set[str]] = defaultdict(set)
    for usage in usages:
        senses[usage.word, usage.sentence].add(usage.sense)
    clear = [usage for usage in usages if len(senses[usage.word, usage.sentence]) == 1]
    once = list({(usage.word, usage.sentence): usage for usage in reversed(clear)}.values())[::-1]
    return _Cut(once, len(usages) - len(clear), len(clear) - len(once))


def _with_enough(usages: list[Usage]) -> list[Usage]:
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for usage in usages:
        sizes[usage.word][usage.sense] += 1
    senses = {word: {sense for sense, size in of.items() if size >= LEAST} for word, of in sizes.items()}
    return [usage for usage in usages if len(senses[usage.word]) >= LEAST and usage.sense in senses[usage.word]]


def _left_out(usages: list[Usage], kept: list[Usage], cut: _Cut) -> str:
    words, senses = len({usage.word for usage in kept}), len({usage.sense for usage in kept})
    all_words, all_senses = len({usage.word for usage in usages}), len({usage.sense for usage in usages})
    return (
        f"Kept are {words:,} of {all_words:,} lemmas, {senses:,} of {all_senses:,} senses and {len(kept):,} of"
        f" {len(usages):,} example sentences: those of lemmas with at least {LEAST} senses of at least {LEAST} examples"
        f" each. Before that, {cut.ambiguous:,} examples that stand with several senses of a lemma were left out, and"
        f" {cut.repeated:,} that stand twice with one."
    )
