"""Pairs of segments for next-sentence prediction.

Source: Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), section 3.1 and appendix A.2. Where we differ from
create_pretraining_data.py: half of the pairs are random on any corpus (there 42 to 100 %), a random B never stems
from A's document, B starts with a sentence (with a word where a chunk holds no start of a sentence, never inside a
word), every token is emitted once an epoch (but for the last of a B that is longer than the one it replaces), and the
lengths of A, B and row do not tell the label. To that end random Bs are exchanged between chunks whose Bs are of like
length, instead of being drawn from anywhere; with fewer than a thousand chunks like is not always equal, and a
classifier on the lengths is right a little more often than not. As there, a chunk may end inside a sentence; here the
next chunk goes on from that word instead of losing the rest.
"""

# B rows, L tokens per row, N examples of the epoch

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from objectives.draws import Key, permutation, uniforms
from objectives.rows import NO_DOCUMENT, ExamplesError, Ints, Rows, document_token_offsets, place_spans
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

NEXT, RANDOM = 0, 1
_NUM_SPECIAL = 3  # [CLS], [SEP], [SEP]
_REACH = 3  # tokens that a chunk's end is moved back at most to fall between two words
_SHORTEST = 2 * _REACH + 2  # tokens of a shortened chunk at least (BERT: 2, which leaves A or B without context)
_NEIGHBOURS = (8, 64)  # how many neighbours in the order of length may exchange, where equal lengths do not suffice
_MIN_EXCHANGED = 0.9  # of the exchanges that make half of the pairs random: 45 % of the pairs at least
_DRAWS_AT_ONCE = 1 << 16

logger = logging.getLogger(__name__)


class SentencePairs(BaseModel, frozen=True, extra="forbid", strict=True):
    """[CLS] A [SEP] B [SEP], where B follows A in its document or is exchanged for another document's."""

    name: Literal["sentence_pairs"] = "sentence_pairs"
    max_seq_length: int = Field(128, ge=32)
    """Tokens in a row at most, with [CLS] and both [SEP]."""
    short_seq_prob: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the chunks cut to a random shorter length (BERT: 0.1, drawn there once a document)."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> "PairPlan":
        """Cut each document into chunks, each chunk into A and B, and exchange half of the Bs.

        Raises:
            ExamplesError: fewer than two documents, no chunk of two words, or one document that outweighs the others so
                much that half of the Bs cannot come from another document.
        """
        if split.num_documents < 2:
            raise ExamplesError(
                f"got {split.num_documents} document to cut into sentence pairs, expected at least 2: a random B must "
                "come from another document. Separate documents by a blank line (.txt) or by rows (.jsonl), or use "
                "examples.name: packed."
            )
        max_tokens = self.max_seq_length - _NUM_SPECIAL
        bounds = self._bounds(document_token_offsets(split), seed=seed, epoch=epoch)
        bounds = _between_words(bounds, split, vocabulary)
        start, middle, end = _split_chunks(bounds, split, vocabulary, Key(seed, epoch, "pairs.split"))
        document = np.searchsorted(document_token_offsets(split)[1:], start, side="right")
        first, second = _exchanged(document, end - middle, seed=seed, epoch=epoch)

        source = np.arange(len(start))
        source[first], source[second] = second, first
        label = np.full(len(start), NEXT, dtype=np.int64)
        label[first] = label[second] = RANDOM
        a_length = middle - start
        return PairPlan(
            max_seq_length=self.max_seq_length,
            split=split,
            vocabulary=vocabulary,
            a_start=start,
            a_length=a_length,
            a_document=document,
            b_start=middle[source],
            b_length=np.minimum((end - middle)[source], max_tokens - a_length),
            b_document=document[source],
            next_sentence_label=label,
        )

    def _bounds(self, offsets: Ints, *, seed: int, epoch: int) -> Ints:
        """(N + 1,) where chunks start, in tokens, and the end; each document is cut into chunks of drawn lengths."""
        lengths = self._lengths(Key(seed, epoch, "pairs.short"), Key(seed, epoch, "pairs.length"))
        # A document's first chunk varies between half and full, so that every epoch has boundaries of its own.
        openings = (1.0 + uniforms(Key(seed, epoch, "pairs.first"), np.arange(len(offsets) - 1))) / 2
        bounds: list[int] = []
        for start, end, opening in zip(offsets[:-1].tolist(), offsets[1:].tolist(), openings.tolist(), strict=True):
            here, length = start, max(_SHORTEST, int(next(lengths) * opening))
            while here < end:
                bounds.append(here)
                here, length = here + length, next(lengths)
        return np.asarray([*bounds, offsets[-1]], dtype=np.int64)

    def _lengths(self, short: Key, length: Key) -> Iterator[int]:
        """Lengths of chunk after chunk: full, or with `short_seq_prob` uniform from the shortest to full."""
        full = self.max_seq_length - _NUM_SPECIAL - _REACH
        counter = 0
        while True:
            number = np.arange(counter, counter + _DRAWS_AT_ONCE)
            shorter = _SHORTEST + np.floor(uniforms(length, number) * (full - _SHORTEST + 1))
            yield from np.where(uniforms(short, number) < self.short_seq_prob, shorter, full).astype(np.int64).tolist()
            counter += _DRAWS_AT_ONCE


@dataclass(frozen=True, slots=True)
class PairPlan:
    """Where A and B of each example stand in the split; arrays (N,) int64."""

    max_seq_length: int
    split: TokenSplit
    vocabulary: Vocabulary
    a_start: Ints
    a_length: Ints
    a_document: Ints
    b_start: Ints
    b_length: Ints
    b_document: Ints
    next_sentence_label: Ints

    def __len__(self) -> int:
        return len(self.a_start)

    @property
    def lengths(self) -> Ints:
        """(N,) tokens of each row, special ones included."""
        return self.a_length + self.b_length + _NUM_SPECIAL

    def rows(self, indices: Ints) -> Rows:
        """The examples of these numbers; see objectives.rows.Rows."""
        a_length, b_length = self.a_length[indices], self.b_length[indices]
        row, zero = np.arange(len(indices)), np.zeros(len(indices), dtype=np.int64)
        shape = (len(indices), self.max_seq_length)
        input_ids = np.full(shape, self.vocabulary.pad_id, dtype=np.int64)
        documents = np.full(shape, NO_DOCUMENT, dtype=np.int64)
        input_ids[:, 0] = self.vocabulary.cls_id
        first_sep = a_length + 1
        last_sep = first_sep + b_length + 1
        input_ids[row, first_sep] = self.vocabulary.sep_id
        input_ids[row, last_sep] = self.vocabulary.sep_id
        for column, start, length, document in (
            (zero + 1, self.a_start, a_length, self.a_document),
            (first_sep + 1, self.b_start, b_length, self.b_document),
        ):
            place_spans(
                input_ids, documents, split=self.split, row=row, column=column,
                start=start[indices], length=length, document=document[indices],
            )  # fmt: skip
        columns = np.arange(self.max_seq_length)[None, :]
        is_used = columns <= last_sep[:, None]
        return Rows(
            input_ids=input_ids,
            attention_mask=is_used.astype(np.int64),
            token_type_ids=(is_used & (columns > first_sep[:, None])).astype(np.int64),
            documents=documents,
            next_sentence_label=self.next_sentence_label[indices],
        )


def _between_words(bounds: Ints, split: TokenSplit, vocabulary: Vocabulary) -> Ints:
    """Move each bound back to the start of the word that it falls into, if that is within reach."""
    back = np.arange(_REACH + 1)
    inner = bounds[:-1]
    is_word_start = vocabulary.is_word_start[split.ids[np.maximum(inner[:, None] - back, 0)]]
    moved = inner - np.where(is_word_start.any(axis=1), np.argmax(is_word_start, axis=1), 0)
    is_opening = np.isin(inner, document_token_offsets(split))
    return np.append(np.where(is_opening, inner, moved), bounds[-1])


def _split_chunks(bounds: Ints, split: TokenSplit, vocabulary: Vocabulary, key: Key) -> tuple[Ints, Ints, Ints]:
    """Token bounds (start, middle, end) of the chunks: A before the middle, B from it on.

    The middle is a random start of a sentence, else of a word. A chunk of a single word cannot be a pair; it is left
    out, counted and logged.
    """
    start, end = bounds[:-1], bounds[1:]
    sentences = np.asarray(split.sentence_offsets)
    lowest = np.searchsorted(sentences, start, side="right")
    choices = np.searchsorted(sentences, end) - lowest
    draw = uniforms(key, np.arange(len(start)))
    middle = np.where(
        choices > 0, sentences[np.minimum(lowest + (draw * choices).astype(np.int64), len(sentences) - 1)], start
    )
    for i in np.nonzero(choices == 0)[0]:
        words = start[i] + 1 + np.nonzero(vocabulary.is_word_start[split.ids[start[i] + 1 : end[i]]])[0]
        if len(words):
            middle[i] = words[int(draw[i] * len(words))]
    is_pair = middle > start
    if not is_pair.any():
        raise ExamplesError(
            "got no document of two words, of which no pair of segments can be cut; expected at least two sentences in "
            "most documents. Check corpus.files and corpus.text_field, or use examples.name: packed."
        )
    if not is_pair.all():
        lost = int((end - start)[~is_pair].sum())
        logger.info("left out %d of %d chunks (%d tokens) that are a single word", (~is_pair).sum(), len(is_pair), lost)
    return start[is_pair], middle[is_pair], end[is_pair]


def _exchanged(document: Ints, b_length: Ints, *, seed: int, epoch: int) -> tuple[Ints, Ints]:
    """Pairs of chunks that exchange their Bs: of different documents, with Bs of like length, half of all in sum.

    Partners are sought among Bs of equal length, then among the nearest few in the order of length, then among all.
    """
    tie = permutation(Key(seed, epoch, "pairs.tie"), len(document))
    waiting = np.lexsort((tie, b_length))
    firsts, seconds = [], []
    for width in (1, *_NEIGHBOURS, len(document)):
        block = b_length[waiting] if width == 1 else np.arange(len(waiting)) // width
        first, second, waiting = _match(waiting, document, block)
        firsts.append(first)
        seconds.append(second)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    wanted = max(1, round(len(document) / 4))
    if len(first) < _MIN_EXCHANGED * wanted:
        share = 2 * len(first) / len(document)
        raise ExamplesError(
            f"got one document with so much of the text that only {share:.0%} of the pairs can have a B from another "
            "document, expected 50%. Split that document, add others, or use examples.name: packed."
        )
    chosen = permutation(Key(seed, epoch, "pairs.label"), len(first))[:wanted]
    return first[chosen], second[chosen]


def _match(waiting: Ints, document: Ints, block: Ints) -> tuple[Ints, Ints, Ints]:
    """Match members of different documents within blocks; gives the pairs and who is still waiting.

    In a block sorted by document, a member and the one half a block on are of different documents unless one document
    holds more than half of the block.

    Args:
        waiting: (W,) chunks.
        document: (N,) document of each chunk.
        block: (W,) block of each waiting chunk, ascending.
    """
    place = np.arange(len(waiting))
    by_document = np.lexsort((place, document[waiting], block))
    opening = np.searchsorted(block, block)
    half = (np.searchsorted(block, block, side="right") - opening) // 2
    first = np.nonzero(place - opening < half)[0]
    second = by_document[first + half[first]]
    first = by_document[first]
    fits = document[waiting[first]] != document[waiting[second]]
    left = np.ones(len(waiting), dtype=bool)
    left[first[fits]] = left[second[fits]] = False
    return waiting[first[fits]], waiting[second[fits]], waiting[left]
