"""What a cutting gives: rows of token ids before masking, and the plan of an epoch that makes them."""

# B rows, L tokens per row, P spans

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]
NO_DOCUMENT = -1
TOKENS_AT_ONCE = 1 << 18  # of documents that a plan works on, which bounds what it holds beside its rows


class ExamplesError(ValueError):
    """A corpus of which the chosen cutting can make no honest examples."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples before masking; arrays (B, L) int64 unless said otherwise."""

    input_ids: Ints
    attention_mask: Ints
    """1 at tokens, 0 at padding."""
    token_type_ids: Ints
    """0 up to and including the first [SEP] of a pair, 1 after it; 0 at padding."""
    documents: Ints
    """Number of the document that a token stems from, -1 at special tokens and padding."""
    position_ids: Ints | None = None
    """Positions from 0 in each piece; only where a row holds several pieces, which must not attend to each other."""
    next_sentence_label: Ints | None = None
    """(B,): 0 where B follows A in the corpus, 1 where B is random (transformers' own convention)."""
    sentence_order_label: Ints | None = None
    """(B,): 0 where A and B stand as in the corpus, 1 where they are exchanged (transformers' own convention)."""


class Plan(Protocol):
    """The examples of one epoch, cut but not yet read; memory grows with their number only."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> Ints | None:
        """(N,) tokens in each row, special ones included, where rows differ and batches should hold like ones."""
        ...

    def rows(self, indices: Ints) -> Rows:
        """The examples of these numbers (B,), in this order."""
        ...


class Cutting(Protocol):
    """The settings of a recipe's `examples` section and the rule that they steer."""

    @property
    def max_seq_length(self) -> int: ...

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> Plan:
        """Cut a split into the examples of an epoch: a pure function of (seed, epoch).

        Raises:
            ExamplesError: the split is too small for one example, or pairs cannot be made honestly.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of a split in the order in which they stand in rows, row after row; arrays (P,).

    Each is followed by [SEP]; one that opens a piece has [CLS] before it, any other is the second segment of its piece.
    """

    row: Ints
    """int64, ascending."""
    start: Ints
    """int64, in tokens of the split."""
    length: Ints | npt.NDArray[np.int32]
    opens: npt.NDArray[np.bool_]


def rows_of_spans(
    spans: Spans,
    *,
    num_rows: int,
    max_seq_length: int,
    split: TokenSplit,
    vocabulary: Vocabulary,
    document_offsets: Ints,
    with_positions: bool,
) -> Rows:
    """Write spans one after another into rows, padded to the right.

    Args:
        document_offsets: (num_documents + 1,) of the split, in tokens.
        with_positions: give position_ids, which rows of several pieces need.
    """
    before = spans.opens.astype(np.int64)
    width = before + spans.length + 1
    ends = np.cumsum(width)
    firsts = ends - width
    token = np.arange(width.sum()) + np.repeat(spans.start - before - firsts, width)
    # At [CLS] and [SEP] this reads the neighbours of a span, which the next lines write over.
    ids = split.ids[np.clip(token, 0, split.num_tokens - 1)].astype(np.int64)
    documents = np.repeat(np.searchsorted(document_offsets[1:], spans.start, side="right"), width)
    cls, sep = firsts[spans.opens], ends - 1
    ids[cls], ids[sep] = vocabulary.cls_id, vocabulary.sep_id
    documents[cls] = documents[sep] = NO_DOCUMENT

    used = np.bincount(spans.row, weights=width, minlength=num_rows)
    is_used = np.arange(max_seq_length) < used[:, None]

    def place(values: Ints, padding: int) -> Ints:
        placed = np.full(is_used.shape, padding, dtype=np.int64)
        placed[is_used] = values
        return placed

    piece_firsts = np.maximum.accumulate(np.where(spans.opens, firsts, 0))
    positions = np.arange(len(ids)) - np.repeat(piece_firsts, width) if with_positions else None
    return Rows(
        input_ids=place(ids, vocabulary.pad_id),
        attention_mask=is_used.astype(np.int64),
        token_type_ids=place(np.repeat(1 - before, width), 0),
        documents=place(documents, NO_DOCUMENT),
        position_ids=None if positions is None else place(positions, 0),
    )


def place_spans(
    input_ids: Ints,
    documents: Ints,
    *,
    split: TokenSplit,
    row: Ints,
    column: Ints,
    start: Ints,
    length: Ints,
    document: Ints,
) -> None:
    """Write spans of a split into rows, in place.

    Args:
        input_ids, documents: (B, L), written at the spans' places.
        row, column, start, length, document: (P,) where each span goes, its first token in the split and its length.
    """
    within = ranges(length)
    rows, columns = np.repeat(row, length), np.repeat(column, length) + within
    input_ids[rows, columns] = split.ids[np.repeat(start, length) + within]
    documents[rows, columns] = np.repeat(document, length)


def document_token_offsets(split: TokenSplit) -> Ints:
    """(num_documents + 1,) int64: where each document starts, in tokens."""
    offsets: Ints = np.asarray(split.sentence_offsets)[np.asarray(split.document_offsets)]
    return offsets


def refuse_no_tokens(split: TokenSplit) -> None:
    """Raises ExamplesError where a split has no token."""
    if split.num_tokens == 0:
        raise ExamplesError(
            "the corpus has no token to make an example of; expected at least one sentence. Check corpus.files."
        )


def log_fill(logger: logging.Logger, name: str, num_rows: int, max_seq_length: int, *, num_tokens: int) -> None:
    """Say how full the rows of a plan are; tokens include the special ones."""
    fill = num_tokens / (num_rows * max_seq_length)
    logger.info("%s: %d rows of %d, %.1f%% of their places are tokens", name, num_rows, max_seq_length, 100 * fill)


def blocks(num_tokens: Ints) -> Iterator[slice]:
    """Stretches of documents of some 300,000 tokens, or a longer one alone: what a plan works on at a time.

    So what is held for each sentence on the way to a plan is bounded, however large the corpus is.

    Args:
        num_tokens: (D,) of the documents in the order in which they are worked on.
    """
    number = (np.cumsum(num_tokens) - 1) // TOKENS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(num_tokens)]
    for start, end in pairwise(edges):
        yield slice(start, end)


def ranges(length: Ints) -> Ints:
    """0..length[0]-1, 0..length[1]-1, ... in one array."""
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    counted: Ints = np.arange(total) - np.repeat(ends - length, length)
    return counted
