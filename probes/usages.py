"""Words in sentences with their senses: reading them, whatever form they come in.

The kit's own form is UTF-8 text with tab-separated columns and a header: `word`, `sentence`, `sense`, and optionally
`source` (the document of the sentence: sentences of the same source are never compared), `start` (character offset of
the word in the sentence, counted from 0; without it the first whole-word match, upper or lower case) and `split` (train
or test). Folders of CoarseWSD-20 and tables of WordNet's examples are read as well; any file may be a .gz.
"""

from dataclasses import dataclass
from pathlib import Path

from probes.reading.coarsewsd import read_coarsewsd
from probes.reading.lines import read_header
from probes.reading.usage import Usage, in_order
from probes.reading.usage_table import COLUMNS, read_usage_table
from probes.reading.wordnet_examples import read_wordnet_examples

BUILT_IN = Path(__file__).with_name("senses.tsv")

__all__ = ["BUILT_IN", "Reading", "Usage", "read", "read_usages"]


@dataclass(frozen=True)
class Reading:
    """What was read."""

    usages: list[Usage]
    """Grouped by word, in the order of first appearance, and by sense inside a word."""
    notes: list[str]
    """What was left out of it, in sentences; for the notes of results."""


def read_usages(path: Path) -> list[Usage]:
    """The usages of a file or folder, without what `read` says of them. Order and errors as there."""
    return read(path).usages


def read(path: Path) -> Reading:
    """The usages of a file or folder.

    Args:
        path: a table as above; one of WordNet's examples (probes.reading.wordnet_examples), known by its columns lemma
            and example; a folder of CoarseWSD-20 (probes.reading.coarsewsd), of one word or of several.

    Raises:
        ProbeError: with every problem found, its line and file: what is missing, empty or not UTF-8, a missing or
            unknown column, a word that does not stand in its sentence, a sentence given twice, a word with one sense, a
            sense with one sentence (or one source).
    """
    if path.is_dir():
        return Reading(in_order(read_coarsewsd(path)), [])
    header = read_header(path, expected=f"a table with the columns {', '.join(COLUMNS.required)}")
    if {"lemma", "example"} <= set(header):
        usages, left_out = read_wordnet_examples(path)
        return Reading(in_order(usages), [left_out])
    return Reading(in_order(read_usage_table(path)), [])
