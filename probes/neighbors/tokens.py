"""The rows of a source's table that may be neighbours: tokens of an encoder's vocabulary, or words with a vector."""

# V rows of the table, C of them that are candidates, D dimensions

import re
from dataclasses import dataclass

import numpy as np

from probes.embedders import Embedder
from probes.neighbors.ranking import ROWS_AT_ONCE
from probes.probe_error import ProbeError
from probes.source import Source, Vectors
from probes.word_vectors import WordVectors

UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]", re.IGNORECASE)


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
    if isinstance(source, WordVectors):
        return _words(source, word)
    assert isinstance(source, Embedder)
    return _pieces(source, word)


def check_known(source: Source, word: str) -> None:
    """Refuse a word that the source cannot write: its vector would be that of any unknown word."""
    if isinstance(source, Embedder):
        _ids(source, word)
    elif isinstance(source, WordVectors):
        _row(source, word)


def _words(source: WordVectors, word: str) -> Tokens:
    own = _row(source, word)
    kept = np.setdiff1d(np.flatnonzero(_filled(source.table)), [own])
    note = (
        f"{source.name}: {len(kept):,} of {len(source.words):,} words are candidates; left out are {word!r} itself and"
    )
    return Tokens(
        [source.words[row] for row in kept], source.table[kept], source.table[own], [f"{note} vectors of zeros."]
    )


def _row(source: WordVectors, word: str) -> int:
    row = source.row(word)
    if row is None:
        raise ProbeError(
            f"{source.name}: it has no vector for {word!r}, expected a word that it knows. Name another one."
        )
    return row


def _pieces(source: Embedder, word: str) -> Tokens:
    own = _ids(source, word)
    table = source.input_embeddings()
    names = _names(source, len(table))
    special = _special(source)
    is_filled = _filled(table)
    kept = [
        row
        for row, name in enumerate(names)
        if name is not None and is_filled[row] and row not in special and row not in own and not UNUSED.fullmatch(name)
    ]
    pieces = ", ".join(str(names[row]) for row in own)
    notes = [
        f"{source.name}: {len(kept):,} of {len(table):,} rows of the table of input embeddings are candidates; left out"
        f" are special and unused tokens, rows of zeros, rows without a token, and {word!r} itself ({pieces})."
    ]
    if len(own) > 1:
        notes.append(f"{source.name}: {word!r} is in {len(own)} pieces ({pieces}); its vector is their mean.")
    # Behind a blank, as a word stands in a sentence: byte-level vocabularies tell it from the beginning of a text.
    query = source.static([f" {word}"], [(1, 1 + len(word))])[0]
    return Tokens([str(names[row]) for row in kept], table[kept], query, notes)


def _ids(source: Embedder, word: str) -> list[int]:
    """The pieces of a word.

    Raises:
        ProbeError: there are none, or the tokenizer does not know one of them.
    """
    ids: list[int] = source.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    unknown = source.tokenizer.unk_token_id
    if not ids or unknown in ids:
        raise ProbeError(
            f"{source.name}: its vocabulary has no token and no pieces for {word!r}, expected a word that it can write."
            " Name another word."
        )
    return ids


def _names(source: Embedder, num_rows: int) -> list[str | None]:
    """The token of each row; None: the tokenizer has none."""
    names: list[str | None] = [None] * num_rows
    for name, row in source.tokenizer.get_vocab().items():
        if row < num_rows:
            names[row] = name
    return names


def _special(source: Embedder) -> set[int]:
    added = {row for row, token in source.tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(source.tokenizer.all_special_ids)


def _filled(table_VD: Vectors) -> np.ndarray:
    """(V,) bool: rows that are not all zeros."""
    blocks = range(0, len(table_VD), ROWS_AT_ONCE)
    return np.concatenate([table_VD[first : first + ROWS_AT_ONCE].any(axis=1) for first in blocks])
