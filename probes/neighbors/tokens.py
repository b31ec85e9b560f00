"""The rows of a source's table that may be neighbours of a word."""

# C rows that are candidates, D dimensions

from dataclasses import dataclass

from probes.embedders import Embedder
from probes.source import Source, Vectors
from probes.vectors.word_vectors import WordVectors
from probes.vocabulary import rows_of, table_of, usable_rows


@dataclass(frozen=True)
class Tokens:
    """Candidates with their names, and the word that is asked about."""

    names: list[str]
    """C tokens as they stand in the vocabulary."""
    table_CD: Vectors
    query_D: Vectors
    """The word's own vector: the mean over its pieces."""
    notes: list[str]


def tokens_of(source: Source, word: str) -> Tokens:
    """The table of input embeddings without special tokens, unused ones, rows of zeros and the pieces of the word.

    Raises:
        ProbeError: the vocabulary has no such word, or not even pieces of it.
    """
    own, table = rows_of(source, word), table_of(source)
    names = {row: name for row, name in usable_rows(source, table).items() if row not in own}
    kept = list(names)
    if isinstance(source, WordVectors):
        notes = [
            f"{source.name}: {len(kept):,} of {len(table):,} words are candidates; left out are {word!r} itself and"
            " vectors of zeros."
        ]
        return Tokens(list(names.values()), table[kept], table[own[0]], notes)
    assert isinstance(source, Embedder)
    pieces = ", ".join(source.tokenizer.convert_ids_to_tokens(own))
    notes = [
        f"{source.name}: {len(kept):,} of {len(table):,} rows of the table of input embeddings are candidates; left out"
        f" are special and unused tokens, rows of zeros, rows without a token, and {word!r} itself ({pieces})."
    ]
    if len(own) > 1:
        notes.append(f"{source.name}: {word!r} is in {len(own)} pieces ({pieces}); its vector is their mean.")
    query_D = source.static([f" {word}"], [(1, 1 + len(word))])[0]
    return Tokens(list(names.values()), table[kept], query_D, notes)
