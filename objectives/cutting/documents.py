"""One document cut into rows: [CLS] tokens [SEP], padded where the document ends.

For texts that must not share a row, and for encoders without packed rows. A row is cut where it is full, also inside a
sentence, and the next one goes on from there, so that no token is lost. The first row of a document that needs several
is shortened by a draw, so that every epoch has row boundaries of its own; a document that fits into one row is one row.
"""

# N rows of the epoch, D documents

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from objectives.draws import Key, uniforms
from objectives.rows import (
    Ints,
    Rows,
    Spans,
    blocks,
    document_token_offsets,
    log_fill,
    ranges,
    refuse_no_tokens,
    rows_of_spans,
)
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

_NUM_SPECIAL = 2  # [CLS] and [SEP]

logger = logging.getLogger(__name__)


class Documents(BaseModel, frozen=True, extra="forbid", strict=True):
    """[CLS] tokens [SEP], the rows of a document one after another."""

    name: Literal["documents"] = "documents"
    max_seq_length: int = Field(128, ge=16)
    """Tokens in a row at most, with [CLS] and [SEP]."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> "DocumentsPlan":
        """Cut each document into full rows behind a first one of half to full length.

        Raises:
            ExamplesError: the split has no token.
        """
        refuse_no_tokens(split)
        offsets = document_token_offsets(split)
        capacity = self.max_seq_length - _NUM_SPECIAL
        starts, lengths = zip(*_rows(offsets, capacity, Key(seed, epoch, "documents.first")), strict=True)
        plan = DocumentsPlan(
            max_seq_length=self.max_seq_length,
            split=split,
            vocabulary=vocabulary,
            document_offsets=offsets,
            start=np.concatenate(starts),
            length=np.concatenate(lengths),
        )
        log_fill(logger, "documents", len(plan), self.max_seq_length, num_tokens=int(plan.lengths.sum()))
        return plan


@dataclass(frozen=True, slots=True)
class DocumentsPlan:
    """Where the rows stand in the split."""

    max_seq_length: int
    split: TokenSplit
    vocabulary: Vocabulary
    document_offsets: Ints
    """(D + 1,) in tokens."""
    start: Ints
    """(N,) int64."""
    length: npt.NDArray[np.int32]
    """(N,) tokens of each row, special ones apart."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> Ints:
        """(N,) tokens of each row, special ones included."""
        return self.length.astype(np.int64) + _NUM_SPECIAL

    def rows(self, indices: Ints) -> Rows:
        """The rows of these numbers; see objectives.rows.Rows."""
        spans = Spans(
            row=np.arange(len(indices)),
            start=self.start[indices],
            length=self.length[indices],
            opens=np.ones(len(indices), dtype=bool),
        )
        return rows_of_spans(
            spans,
            num_rows=len(indices),
            max_seq_length=self.max_seq_length,
            split=self.split,
            vocabulary=self.vocabulary,
            document_offsets=self.document_offsets,
            with_positions=False,
        )


def _rows(offsets: Ints, capacity: int, key: Key) -> Iterator[tuple[Ints, npt.NDArray[np.int32]]]:
    """Start and length of the rows of a block of documents."""
    num_tokens = np.diff(offsets)
    for block in blocks(num_tokens):
        num = num_tokens[block]
        draw = uniforms(key, np.arange(block.start, block.stop))
        first = np.where(num > capacity, np.ceil(capacity * (1.0 + draw) / 2).astype(np.int64), num)
        num_rows = 1 - (first - num) // capacity
        owner, number = np.repeat(np.arange(len(num)), num_rows), ranges(num_rows)
        skipped = np.where(number > 0, first[owner] + (number - 1) * capacity, 0)
        length = np.where(number > 0, np.minimum(capacity, num[owner] - skipped), first[owner])
        yield offsets[block.start : block.stop][owner] + skipped, length.astype(np.int32)
