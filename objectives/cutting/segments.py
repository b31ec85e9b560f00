"""One or two segments that follow each other in a document: ELECTRA's own examples, without a label.

Source: Clark et al. 2020 (https://arxiv.org/abs/2003.10555) and build_pretraining_dataset.py of its reference code: a
tenth of the rows is one segment and one in twenty is short, ending with the first sentence that reaches a length drawn
from 5 to the row's; segment A takes sentences up to about half of the row, the one that goes beyond with probability
one half, and B the others. Differs from it: what overshoots a row opens the next one instead of being thrown away; B
always follows A (there a short sentence behind the start of B may still join A); the first row of a document that needs
several is shortened by a draw, so that every epoch has row boundaries of its own; a row of one segment leaves the place
of the second [SEP] empty. As there, a row whose first sentence fills it has one segment.
"""

# N rows of the epoch, D documents

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
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

_NUM_SPECIAL = 3  # [CLS], [SEP], [SEP]
_SHORTEST = 5  # tokens that a short row aims at, at least (ELECTRA: 5)
_DRAWS_AT_ONCE = 1 << 16

logger = logging.getLogger(__name__)


class Segments(BaseModel, frozen=True, extra="forbid", strict=True):
    """[CLS] A [SEP] B [SEP], where B follows A, or [CLS] A [SEP]."""

    name: Literal["segments"] = "segments"
    max_seq_length: int = Field(128, ge=16)
    """Tokens in a row at most, with [CLS] and both [SEP]."""
    one_segment_prob: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the rows that are drawn to be one segment (ELECTRA: 0.1); rows of a single sentence are so anyway."""
    short_seq_prob: float = Field(0.05, ge=0.0, le=1.0)
    """Share of the rows that are drawn to be short (ELECTRA: 0.05)."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> "SegmentsPlan":
        """Cut each document into rows, and each row into A and B.

        Raises:
            ExamplesError: the split has no token.
        """
        refuse_no_tokens(split)
        offsets = document_token_offsets(split)
        cut = _Cut(self, split, seed, epoch)
        starts, a_lengths, b_lengths = zip(*cut.blocks(offsets), strict=True)
        plan = SegmentsPlan(
            max_seq_length=self.max_seq_length,
            split=split,
            vocabulary=vocabulary,
            document_offsets=offsets,
            start=np.concatenate(starts),
            a_length=np.concatenate(a_lengths),
            b_length=np.concatenate(b_lengths),
        )
        log_fill(logger, "segments", len(plan), self.max_seq_length, num_tokens=int(plan.lengths.sum()))
        return plan


@dataclass(frozen=True, slots=True)
class SegmentsPlan:
    """Where the segments stand in the split: B right behind A."""

    max_seq_length: int
    split: TokenSplit
    vocabulary: Vocabulary
    document_offsets: Ints
    """(D + 1,) in tokens."""
    start: Ints
    """(N,) int64: first token of A."""
    a_length: npt.NDArray[np.int32]
    """(N,)."""
    b_length: npt.NDArray[np.int32]
    """(N,), 0 where there is no B."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> Ints:
        """(N,) tokens of each row, special ones included."""
        num_special = _NUM_SPECIAL - (self.b_length == 0)
        lengths: Ints = num_special + self.a_length + self.b_length
        return lengths

    def rows(self, indices: Ints) -> Rows:
        """The rows of these numbers; see objectives.rows.Rows."""
        a_length, b_length = self.a_length[indices], self.b_length[indices]
        num_segments = 1 + (b_length > 0)
        is_b = ranges(num_segments) > 0
        row = np.repeat(np.arange(len(indices)), num_segments)
        spans = Spans(
            row=row,
            start=self.start[indices][row] + np.where(is_b, a_length[row], 0),
            length=np.where(is_b, b_length[row], a_length[row]),
            opens=~is_b,
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


@dataclass(frozen=True, slots=True)
class _Cut:
    """Rows of an epoch, a block of documents at a time."""

    settings: Segments
    split: TokenSplit
    seed: int
    epoch: int

    def blocks(self, offsets: Ints) -> Iterator[tuple[Ints, npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """Start, length of A and length of B of the rows of a block of documents."""
        targets = self._targets()
        num_rows = 0
        for block in blocks(np.diff(offsets)):
            start, aim = self._rows(offsets[block.start : block.stop + 1], block.start, targets)
            end = np.append(start[1:], offsets[block.stop])
            middle = self._middles(start, end, aim, np.arange(num_rows, num_rows + len(start)))
            num_rows += len(start)
            yield start, (middle - start).astype(np.int32), (end - middle).astype(np.int32)

    def _rows(self, offsets: Ints, number: int, targets: Iterator[int]) -> tuple[Ints, Ints]:
        """Start of the rows of neighbouring documents, the first of this number, and the length that each aims at."""
        capacity = self.settings.max_seq_length - _NUM_SPECIAL
        sentences = np.asarray(self.split.sentence_offsets)
        draw = uniforms(Key(self.seed, self.epoch, "segments.first"), np.arange(number, number + len(offsets) - 1))
        shortened = np.ceil(capacity * (1.0 + draw) / 2).astype(np.int64)
        openings = np.where(np.diff(offsets) > capacity, shortened, capacity)
        starts: list[int] = []
        aims: list[int] = []
        for here, end, room in zip(offsets[:-1].tolist(), offsets[1:].tolist(), openings.tolist(), strict=True):
            while here < end:
                aim = min(next(targets), room + _NUM_SPECIAL)
                starts.append(here)
                aims.append(aim)
                if aim < min(
                    room, end - here
                ):  # up to the end of the sentence that reaches it, if that is within the row
                    here = min(here + room, int(sentences[sentences.searchsorted(here + aim)]))
                else:
                    here += room
                room = capacity
        return np.asarray(starts), np.asarray(aims)

    def _middles(self, start: Ints, end: Ints, aim: Ints, number: Ints) -> Ints:
        """Where B begins in the rows of these numbers; their end where they have none."""
        sentences = np.asarray(self.split.sentence_offsets)
        first_end = np.searchsorted(sentences, start, side="right")
        within = np.searchsorted(sentences, start + (aim - _NUM_SPECIAL) // 2) - 1  # the last that ends before the half
        goes_beyond = uniforms(Key(self.seed, self.epoch, "segments.half"), number) < 0.5
        middle = np.where(within >= first_end, within + goes_beyond, first_end)
        is_one = uniforms(Key(self.seed, self.epoch, "segments.one"), number) < self.settings.one_segment_prob
        return np.where(is_one, end, np.minimum(sentences[np.minimum(middle, len(sentences) - 1)], end))

    def _targets(self) -> Iterator[int]:
        """The length that row after row aims at: that of the row, or with `short_seq_prob` one from 5 to it."""
        short = Key(self.seed, self.epoch, "segments.short")
        length = Key(self.seed, self.epoch, "segments.length")
        full = self.settings.max_seq_length
        for block in count():
            number = np.arange(block * _DRAWS_AT_ONCE, (block + 1) * _DRAWS_AT_ONCE)
            shorter = _SHORTEST + np.floor(uniforms(length, number) * (full - _SHORTEST + 1))
            is_short = uniforms(short, number) < self.settings.short_seq_prob
            yield from np.where(is_short, shorter, full).astype(np.int64).tolist()
