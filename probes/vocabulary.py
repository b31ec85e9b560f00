"""The rows of a source's table that stand for something: tokens of an encoder's vocabulary, or words with a vector."""

# V rows of the table, D dimensions

import re

import numpy as np
from numpy.typing import NDArray

from probes.embedders import Embedder
from probes.probe_error import ProbeError
from probes.source import Source, Vectors
from probes.vectors.word_vectors import WordVectors

UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]", re.IGNORECASE)
ROWS_AT_ONCE = 8192
"""Bounds the memory beside the table itself."""


def table_of(source: Source) -> Vectors:
    """The table (V, D): of an encoder its input embeddings."""
    if isinstance(source, WordVectors):
        return source.table
    assert isinstance(source, Embedder)
    return source.input_embeddings()


def usable_rows(source: Source, table_VD: Vectors) -> dict[int, str]:
    """The token or word of each row, in rising order, without special and unused tokens, rows that have no token, and
    rows of zeros.

    Args:
        table_VD: the source's table.
    """
    is_filled = _filled(table_VD)
    if isinstance(source, WordVectors):
        return {row: word for row, word in enumerate(source.words) if is_filled[row]}
    assert isinstance(source, Embedder)
    added = source.tokenizer.added_tokens_decoder
    special = {row for row, token in added.items() if token.special} | set(source.tokenizer.all_special_ids)
    return {
        row: token
        for token, row in sorted(source.tokenizer.get_vocab().items(), key=lambda item: int(item[1]))
        if row < len(table_VD) and is_filled[row] and row not in special and not UNUSED.fullmatch(token)
    }


def rows_of(source: Source, word: str) -> list[int]:
    """The rows of a word's pieces; of word vectors its own.

    Raises:
        ProbeError: there are none, or the tokenizer does not know one of them: its vector would be that of any
            unknown word.
    """
    if isinstance(source, WordVectors):
        row = source.row(word)
        if row is None:
            raise ProbeError(
                f"{source.name}: it has no vector for {word!r}, expected a word that it knows. Name another one."
            )
        return [row]
    assert isinstance(source, Embedder)
    # Behind a blank, as a word stands in a sentence: byte-level vocabularies tell it from the beginning of a text.
    ids: list[int] = source.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    if not ids or source.tokenizer.unk_token_id in ids:
        raise ProbeError(
            f"{source.name}: its vocabulary has no token and no pieces for {word!r}, expected a word that it can write."
            " Name another word."
        )
    return ids


def _filled(table_VD: Vectors) -> NDArray[np.bool_]:
    """(V,) rows that are not all zeros."""
    blocks = range(0, len(table_VD), ROWS_AT_ONCE)
    return np.concatenate([table_VD[first : first + ROWS_AT_ONCE].any(axis=1) for first in blocks])
