"""Rows filled with documents one after another, for objectives without sentence pairs.

Differs from RoBERTa's packing (Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 4.2): documents in one row
never attend to each other, each piece has its own [CLS] ... [SEP] and positions from 0, and a piece is cut where the
row ends and goes on in the next row.
"""

# B rows, L tokens per row, P pieces, N rows of the epoch

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from objectives.draws import Key, permutation, uniforms
from objectives.rows import NO_DOCUMENT, ExamplesError, Ints, Rows, document_token_offsets, place_spans
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

_NUM_SPECIAL = 2  # [CLS] and [SEP] around each piece
_SHORTEST_PIECE = 8  # tokens; what is left of a row below this is padded: a shorter context teaches little


class Packed(BaseModel, frozen=True, extra="forbid", strict=True):
    """Documents in a random order, one after another, cut at the ends of rows."""

    name: Literal["packed"] = "packed"
    max_seq_length: int = Field(128, ge=16)
    """Tokens in a row, with [CLS] and [SEP]."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> "PackedPlan":
        """Lay an epoch out: documents in the epoch's own order, the first row shortened by the epoch's own draw.

        Raises:
            ExamplesError: the split has no token.
        """
        offsets = document_token_offsets(split)
        if split.num_tokens == 0:
            raise ExamplesError(
                "the corpus has no token to make an example of; expected at least one sentence. Check corpus.files."
            )
        order = permutation(Key(seed, epoch, "packed.documents"), len(offsets) - 1)
        draw = float(uniforms(Key(seed, epoch, "packed.offset"), 0))
        return _lay_out(self.max_seq_length, split, vocabulary, offsets, order, first_row=draw)


@dataclass(frozen=True, slots=True)
class PackedPlan:
    """Pieces in the order of their rows; arrays (P,) int64."""

    max_seq_length: int
    split: TokenSplit
    vocabulary: Vocabulary
    row: Ints
    column: Ints
    start: Ints
    length: Ints
    document: Ints

    def __len__(self) -> int:
        return int(self.row[-1]) + 1

    @property
    def lengths(self) -> None:
        """Rows are full."""
        return None

    def rows(self, indices: Ints) -> Rows:
        """The rows of these numbers; see objectives.rows.Rows."""
        first, last = np.searchsorted(self.row, indices), np.searchsorted(self.row, indices, side="right")
        counts = last - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        piece, row = np.repeat(first, counts) + within, np.repeat(np.arange(len(indices)), counts)
        column, length = self.column[piece], self.length[piece]

        shape = (len(indices), self.max_seq_length)
        input_ids = np.full(shape, self.vocabulary.pad_id, dtype=np.int64)
        documents = np.full(shape, NO_DOCUMENT, dtype=np.int64)
        input_ids[row, column] = self.vocabulary.cls_id
        input_ids[row, column + 1 + length] = self.vocabulary.sep_id
        place_spans(
            input_ids, documents, split=self.split, row=row, column=column + 1,
            start=self.start[piece], length=length, document=self.document[piece],
        )  # fmt: skip

        piece_start = np.zeros(shape, dtype=np.int64)
        piece_start[row, column] = column
        used = np.zeros(len(indices), dtype=np.int64)
        np.maximum.at(used, row, column + length + _NUM_SPECIAL)
        columns = np.arange(self.max_seq_length)[None, :]
        is_used = columns < used[:, None]
        return Rows(
            input_ids=input_ids,
            attention_mask=is_used.astype(np.int64),
            token_type_ids=np.zeros(shape, dtype=np.int64),
            documents=documents,
            position_ids=np.where(is_used, columns - np.maximum.accumulate(piece_start, axis=1), 0),
        )


def _lay_out(
    max_seq_length: int, split: TokenSplit, vocabulary: Vocabulary, offsets: Ints, order: Ints, *, first_row: float
) -> PackedPlan:
    """Give each document its pieces: one in what is left of the row, full rows, and a rest that opens the next row."""
    capacity = max_seq_length - _NUM_SPECIAL
    heads: list[int] = []  # tokens of each document that go into the row before
    columns: list[int] = []  # where that head starts
    column = int(first_row * max_seq_length / 2)
    leading = column  # columns that the first row leaves out, so that row boundaries differ between epochs
    for num_tokens in np.diff(offsets)[order].tolist():
        free = max_seq_length - column - _NUM_SPECIAL
        head = min(free, num_tokens) if free >= _SHORTEST_PIECE else 0
        heads.append(head)
        columns.append(column)
        if num_tokens > head:
            column = ((num_tokens - head) % capacity or capacity) + _NUM_SPECIAL
        elif head:
            column += head + _NUM_SPECIAL
    head_length, head_column = np.asarray(heads), np.asarray(columns)
    head_start, rest = offsets[:-1][order], np.diff(offsets)[order] - head_length
    num_full_rows = -(-rest // capacity)

    num_pieces = (head_length > 0).astype(np.int64) + num_full_rows
    owner = np.repeat(np.arange(len(order)), num_pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
    number += (head_length == 0)[owner]  # 0 is the head, 1.. the rows after it
    is_head = number == 0
    skipped = head_length[owner] + (number - 1) * capacity
    row = (np.cumsum(num_full_rows) - num_full_rows)[owner] + number
    place = np.where(is_head, head_column[owner] - np.where(row == 0, leading, 0), 0)
    return PackedPlan(
        max_seq_length=max_seq_length,
        split=split,
        vocabulary=vocabulary,
        row=row - row[0],  # the first row stays empty where the first document's head was too short for it
        column=place,
        start=head_start[owner] + np.where(is_head, 0, skipped),
        length=np.where(is_head, head_length[owner], np.minimum(capacity, rest[owner] - (number - 1) * capacity)),
        document=order[owner],
    )
