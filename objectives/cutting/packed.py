"""Rows filled with documents one after another, for objectives without sentence pairs.

Source: RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 4.2), whose FULL-SENTENCES and DOC-SENTENCES
are the boundaries `full_sentences` and `doc_sentences`. Differs from it: documents in one row never attend to each
other, and each piece has its own [CLS] ... [SEP] and positions from 0; by default (`cut`) a piece is cut where the row
ends and goes on in the next row, so that rows are full; where sentences are kept whole, a sentence longer than a row is
cut, at the start of a word if one is near, instead of being truncated; the batch size does not grow as rows of
`doc_sentences` get shorter.

Every epoch has row boundaries of its own. Where sentences are kept whole that costs no row: a document takes as few as
its sentences allow, and each row's end is drawn between the earliest and the latest that leave it so. Where there is
but one such end, it is the same in every epoch: of novels in rows of 128 tokens two thirds of the ends come again in
the next epoch (a quarter would by chance), in rows of 512 two fifths.
"""

# B rows, L tokens per row, P pieces, N rows of the epoch, D documents

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from objectives.draws import Key, permutation, uniforms
from objectives.rows import (
    TOKENS_AT_ONCE,
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

_NUM_SPECIAL = 2  # [CLS] and [SEP] around each piece
_SHORTEST_PIECE = 8  # tokens; what is left of a row below this is padded: a shorter context teaches little
_DRAWS_AT_ONCE = 1 << 16

logger = logging.getLogger(__name__)


class Packed(BaseModel, frozen=True, extra="forbid", strict=True):
    """Documents in a random order, one after another, in rows that hold as much of them as their boundaries allow."""

    name: Literal["packed"] = "packed"
    max_seq_length: int = Field(128, ge=16)
    """Tokens in a row, with [CLS] and [SEP]."""
    boundaries: Literal["cut", "full_sentences", "doc_sentences"] = "cut"
    """Where rows end: where they are full, and the sentence goes on in the next row (cut); behind the last sentence
    that fits, and the next document goes on in the same row (full_sentences) or in a new one (doc_sentences)."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> "PackedPlan":
        """Lay an epoch out: documents in the epoch's own order, the first row shortened by the epoch's own draw.

        Raises:
            ExamplesError: the split has no token.
        """
        refuse_no_tokens(split)
        offsets = document_token_offsets(split)
        order = permutation(Key(seed, epoch, "packed.documents"), len(offsets) - 1)
        draw = float(uniforms(Key(seed, epoch, "packed.offset"), 0))
        column = int(draw * self.max_seq_length / 2)  # what the first row leaves out, so that row boundaries differ
        is_shared = self.boundaries != "doc_sentences"
        if self.boundaries == "cut":
            pieces = _cut_pieces(offsets, order, max_seq_length=self.max_seq_length, column=column)
        else:
            draws = _draws(Key(seed, epoch, "packed.boundaries"))
            filling = _Filling(split, vocabulary, self.max_seq_length, is_shared, draws)
            pieces = filling.pieces(*_parts(split, offsets, order), column=column)
        starts, lengths, openings = zip(*pieces, strict=True)
        opens_row = np.concatenate(openings)
        opens_row[0] = True  # the first row is open before anything is in it
        plan = PackedPlan(
            max_seq_length=self.max_seq_length,
            split=split,
            vocabulary=vocabulary,
            document_offsets=offsets,
            is_shared=is_shared,
            first_piece=np.append(np.flatnonzero(opens_row), len(opens_row)),
            start=np.concatenate(starts),
            length=np.concatenate(lengths),
        )
        tokens = split.num_tokens + _NUM_SPECIAL * len(plan.start)
        log_fill(logger, f"packed, {self.boundaries}", len(plan), self.max_seq_length, num_tokens=tokens)
        return plan


@dataclass(frozen=True, slots=True)
class PackedPlan:
    """Pieces in the order of their rows."""

    max_seq_length: int
    split: TokenSplit
    vocabulary: Vocabulary
    document_offsets: Ints
    """(D + 1,) in tokens."""
    is_shared: bool
    """Whether a row may hold pieces of several documents."""
    first_piece: Ints
    """(N + 1,) int64: row r holds the pieces from first_piece[r] up to first_piece[r + 1]."""
    start: Ints
    """(P,) int64: first token of each piece in the split."""
    length: npt.NDArray[np.int32]
    """(P,) tokens of each piece, special ones apart."""

    def __len__(self) -> int:
        return len(self.first_piece) - 1

    @property
    def lengths(self) -> Ints | None:
        """(N,) tokens of each row, special ones included, where a row holds one document; shared rows are filled up."""
        return None if self.is_shared else self.length.astype(np.int64) + _NUM_SPECIAL

    def rows(self, indices: Ints) -> Rows:
        """The rows of these numbers; see objectives.rows.Rows."""
        first, num_pieces = self.first_piece[indices], self.first_piece[indices + 1] - self.first_piece[indices]
        piece = np.repeat(first, num_pieces) + ranges(num_pieces)
        spans = Spans(
            row=np.repeat(np.arange(len(indices)), num_pieces),
            start=self.start[piece],
            length=self.length[piece],
            opens=np.ones(len(piece), dtype=bool),
        )
        return rows_of_spans(
            spans,
            num_rows=len(indices),
            max_seq_length=self.max_seq_length,
            split=self.split,
            vocabulary=self.vocabulary,
            document_offsets=self.document_offsets,
            with_positions=self.is_shared,
        )


class _Pieces(NamedTuple):
    """Pieces of a block of documents, one after another."""

    start: Ints
    length: npt.NDArray[np.int32]
    opens_row: npt.NDArray[np.bool_]


# Cut where the row ends ----------------------------------------------------------------------------------------------


def _cut_pieces(offsets: Ints, order: Ints, *, max_seq_length: int, column: int) -> Iterator[_Pieces]:
    """Give each document its pieces: one in what is left of the row, full rows, and a rest that opens the next row."""
    capacity = max_seq_length - _NUM_SPECIAL
    num_tokens = offsets[order + 1] - offsets[order]
    for block in blocks(num_tokens):
        heads, column = _heads(num_tokens[block].tolist(), max_seq_length, column)
        head = np.asarray(heads)
        rest = num_tokens[block] - head
        num_pieces = (head > 0) - (-rest // capacity)
        owner = np.repeat(np.arange(len(head)), num_pieces)
        number = ranges(num_pieces) + (head == 0)[owner]  # 0 is the head, 1.. the rows after it
        is_head = number == 0
        behind = (number - 1) * capacity
        yield _Pieces(
            start=offsets[order[block]][owner] + np.where(is_head, 0, head[owner] + behind),
            length=np.where(is_head, head[owner], np.minimum(capacity, rest[owner] - behind)).astype(np.int32),
            opens_row=~is_head,
        )


def _heads(num_tokens: list[int], max_seq_length: int, column: int) -> tuple[list[int], int]:
    """Tokens of each document that go into the row before, and the column behind the last document."""
    capacity = max_seq_length - _NUM_SPECIAL
    heads = []
    for num in num_tokens:
        free = max_seq_length - column - _NUM_SPECIAL
        head = min(free, num) if free >= _SHORTEST_PIECE else 0
        heads.append(head)
        if num > head:
            column = ((num - head) % capacity or capacity) + _NUM_SPECIAL
        elif head:
            column += head + _NUM_SPECIAL
    return heads, column


# Sentences kept whole ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Filling:
    """Rows of whole sentences, of one document each or shared between documents."""

    split: TokenSplit
    vocabulary: Vocabulary
    max_seq_length: int
    is_shared: bool
    draws: Iterator[float]

    @property
    def capacity(self) -> int:
        return self.max_seq_length - _NUM_SPECIAL

    def pieces(self, offsets: Ints, order: Ints, *, column: int) -> Iterator[_Pieces]:
        """Give each document its pieces.

        Args:
            offsets: (D + 1,) of the documents, in tokens.
            order: (D,) documents in the order in which they are laid out.
            column: where the first row begins; only of rows that are shared.
        """
        sentences = np.asarray(self.split.sentence_offsets)
        first_sentences = np.searchsorted(sentences, offsets, side="right") - 1
        for block in blocks(offsets[order + 1] - offsets[order]):
            documents = order[block]
            bounds, openings = self._bounds(
                offsets[documents], offsets[documents + 1], first_sentences[documents], first_sentences[documents + 1]
            )
            listed = bounds.tolist()
            pieces: list[int] = []
            closings: list[int] = []
            heads: list[int] = []  # which pieces go into the row before
            for first, following in pairwise(openings.tolist()):
                last = following - 1
                free = self.max_seq_length - column - _NUM_SPECIAL if self.is_shared else 0
                here = _latest(listed, first, last, free) if free >= _SHORTEST_PIECE else first
                if here > first:
                    heads.append(len(pieces))
                    pieces.append(first)
                    column += listed[here] - listed[first] + _NUM_SPECIAL
                if here < last:
                    pieces += self._rows(listed, here, last)
                    column = listed[last] - listed[pieces[-1]] + _NUM_SPECIAL
                closings += [*pieces[len(closings) + 1 :], last]
            start = bounds[pieces]
            opens_row = np.ones(len(pieces), dtype=bool)
            opens_row[heads] = False
            yield _Pieces(start, (bounds[closings] - start).astype(np.int32), opens_row)

    def _rows(self, bounds: list[int], first: int, last: int) -> list[int]:
        """Where the rows of a document begin: as few as there can be, their ends drawn among those that leave it so.

        The last row begins as late as it can where other documents share it. As fewer rows do not suffice, the
        earliest end of a row lies behind the latest one of the row before, so that no row is empty.
        """
        starts = []
        here = first
        while here < last:
            starts.append(here)
            here = _latest(bounds, here, last, self.capacity)
        if len(starts) == 1:
            return starts
        final = starts[-1]
        if not self.is_shared:
            earliest = _earliest(bounds, first, last, self.capacity)
            final = earliest + int(next(self.draws) * (final - earliest + 1))
        earliest, ends = final, []
        for _ in starts[1:-1]:
            earliest = _earliest(bounds, first, earliest, self.capacity)
            ends.append(earliest)
        drawn = [first]
        for earliest in reversed(ends):
            latest = _latest(bounds, drawn[-1], last, self.capacity)
            draw = next(self.draws)  # half of the rows end as late as they can: drawn evenly, all would end early
            drawn.append(latest if draw < 0.5 else earliest + int((2 * draw - 1) * (latest - earliest + 1)))
        return [*drawn, final]

    def _bounds(self, starts: Ints, ends: Ints, firsts: Ints, lasts: Ints) -> tuple[Ints, Ints]:
        """Where rows may end in each of some documents, in tokens: behind a sentence, in one longer than a row behind
        a word, and in a word longer than a row anywhere.

        Args:
            starts, ends: (num_documents,) of the documents, in tokens.
            firsts, lasts: the sentences that these tokens belong to.

        Returns:
            The bounds of all documents one after another, each with its start and its end among them, and
            (num_documents + 1,) where those of each document begin.
        """
        sentences = np.asarray(self.split.sentence_offsets)
        num_bounds = lasts - firsts + 1 + (sentences[lasts] < ends)
        openings = np.append(0, np.cumsum(num_bounds))
        bounds = sentences[np.repeat(firsts, num_bounds) + ranges(num_bounds)]
        bounds[openings[:-1]], bounds[openings[1:] - 1] = starts, ends
        for words_only in (True, False):
            inner, behind = self._inside_long(bounds, openings, words_only=words_only)
            bounds = np.insert(bounds, behind, inner)
            openings = openings + np.searchsorted(behind, openings, side="right")
        return bounds, openings

    def _inside_long(self, bounds: Ints, openings: Ints, *, words_only: bool) -> tuple[Ints, Ints]:
        """Tokens inside stretches longer than a row, or those that begin a word, and the bound before which each is."""
        length = np.diff(bounds)
        length[openings[1:-1] - 1] = 0  # from one document to another
        long = np.flatnonzero(length > self.capacity)
        num_inner = length[long] - 1
        inner, behind = np.repeat(bounds[long] + 1, num_inner) + ranges(num_inner), np.repeat(long + 1, num_inner)
        if words_only:
            begins_word = self.vocabulary.begins_word(self.split.ids[inner - 1], self.split.ids[inner])
            inner, behind = inner[begins_word], behind[begins_word]
        return inner, behind


def _parts(split: TokenSplit, offsets: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Offsets and order with very long documents in parts, which end with a sentence if one ends.

    So what is held for each sentence is bounded, however long a document is; the seams cost a piece each.
    """
    num_seams = (np.diff(offsets) - 1) // TOKENS_AT_ONCE
    if not num_seams.any():
        return offsets, order
    seams = np.repeat(offsets[:-1], num_seams) + TOKENS_AT_ONCE * (1 + ranges(num_seams))
    sentences = np.asarray(split.sentence_offsets)
    whole = sentences[np.searchsorted(sentences, seams, side="right") - 1]
    seams = np.where(whole > seams - TOKENS_AT_ONCE, whole, seams)
    parts = np.sort(np.concatenate([offsets, seams]))
    return parts, np.repeat(np.searchsorted(parts, offsets[order]), num_seams[order] + 1) + ranges(num_seams[order] + 1)


def _latest(bounds: list[int], first: int, last: int, room: int) -> int:
    """The last bound up to which everything from the first on fits into so many tokens."""
    return bisect_right(bounds, bounds[first] + room, first, min(first + room, last) + 1) - 1


def _earliest(bounds: list[int], first: int, last: int, room: int) -> int:
    """The bound from which on everything up to the last one fits into so many tokens, the first one at the earliest."""
    return bisect_left(bounds, bounds[last] - room, max(first, last - room), last)


def _draws(key: Key) -> Iterator[float]:
    for block in count():
        yield from uniforms(key, np.arange(block * _DRAWS_AT_ONCE, (block + 1) * _DRAWS_AT_ONCE)).tolist()
