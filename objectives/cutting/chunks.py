"""Chunks of running text and where each is cut in two: what sentence pairs and sentence order have in common."""

# N chunks of the epoch, C of them asked for

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from objectives.draws import Key, uniforms
from objectives.rows import ExamplesError, Ints, document_token_offsets
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

NUM_SPECIAL = 3  # [CLS], [SEP], [SEP]
_REACH = 3  # tokens that a bound inside a sentence is moved back at most to fall between two words
_SHORTEST = 2 * _REACH + 2  # tokens of a shortened chunk at least (BERT: 2, which leaves A or B without context)
_TRIES = 16  # draws of a word start before the words of a chunk are counted; two tokens in three start one
_STRETCH = 256  # sentences that are filled in one direction
_DRAWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Chunks:
    """Stretches of documents that hold two words or more; arrays (N,) int64 in the order of the corpus."""

    split: TokenSplit
    vocabulary: Vocabulary
    start: Ints
    end: Ints
    document: Ints
    lowest: Ints
    """The first sentence that starts inside the chunk, if one does."""
    num_starts: Ints
    """How many sentences start inside the chunk, its own first token not counted."""

    def __len__(self) -> int:
        return len(self.start)

    def middles(self, chunks: Ints, key: Key, *, draw: int) -> Ints:
        """Where the chunks of these numbers (C,) are cut in two, in tokens: at a random start of a sentence.

        A chunk in which no sentence starts is cut at a random start of a word; one of a single word gives its start.
        """
        start, num_starts = self.start[chunks], self.num_starts[chunks]
        choice = self.lowest[chunks] + (uniforms(key, chunks, draw) * num_starts).astype(np.int64)
        middle: Ints = np.array(start)
        has_start = num_starts > 0
        middle[has_start] = np.asarray(self.split.sentence_offsets)[choice[has_start]]
        middle[~has_start] = self._word_starts(chunks[~has_start], key, draw)
        return middle

    def _word_starts(self, chunks: Ints, key: Key, draw: int) -> Ints:
        """A random start of a word inside each chunk, not its first; where there is none, the chunk's start."""
        start, end = self.start[chunks], self.end[chunks]
        chosen = start.copy()
        open_ = np.nonzero(end - start > 1)[0]
        for number in range(_TRIES):  # a token drawn until it starts a word is uniform over those that do
            u = uniforms(key, chunks[open_], draw, number + 1)
            drawn = start[open_] + 1 + (u * (end - start - 1)[open_]).astype(np.int64)
            begins = self._begins_word(drawn)
            chosen[open_[begins]] = drawn[begins]
            open_ = open_[~begins]
            if not len(open_):
                break
        for i in open_.tolist():
            inside = np.arange(start[i] + 1, end[i])
            words = inside[self._begins_word(inside)]
            if len(words):
                chosen[i] = words[int(uniforms(key, chunks[i], draw, _TRIES + 1) * len(words))]
        return chosen

    def _begins_word(self, positions: Ints) -> np.ndarray:
        ids = self.split.ids
        return self.vocabulary.begins_word(ids[positions - 1], ids[positions])

    def take(self, chunks: Ints) -> "Chunks":
        """The chunks of these numbers alone."""
        arrays = (self.start, self.end, self.document, self.lowest, self.num_starts)
        return Chunks(self.split, self.vocabulary, *(array[chunks] for array in arrays))


def cut_in_two(bounds: Ints, split: TokenSplit, vocabulary: Vocabulary, key: Key) -> tuple[Chunks, Ints]:
    """The chunks between bounds (N + 1,) and their middles (N,), drawn as `middles` draws with number 0.

    A chunk of a single word cannot be a pair; it is left out.

    Raises:
        ExamplesError: no chunk has two words.
    """
    start, end = bounds[:-1], bounds[1:]
    sentences = np.asarray(split.sentence_offsets)
    lowest = np.searchsorted(sentences, start, side="right")
    num_starts = np.searchsorted(sentences, end) - lowest
    document = np.searchsorted(document_token_offsets(split)[1:], start, side="right")
    chunks = Chunks(split, vocabulary, start, end, document, lowest, num_starts)
    middle = chunks.middles(np.arange(len(start)), key, draw=0)
    is_pair = middle > start
    if not is_pair.any():
        raise ExamplesError(
            "got no document of two words, of which no pair of segments can be cut; expected at least two sentences in "
            "most documents. Check corpus.files and corpus.text_field, or use examples.name: packed."
        )
    return chunks.take(np.nonzero(is_pair)[0]), middle[is_pair]


# Bounds --------------------------------------------------------------------------------------------------------------


def token_bounds(
    split: TokenSplit, vocabulary: Vocabulary, *, max_tokens: int, short_seq_prob: float, seed: int, epoch: int
) -> Ints:
    """(N + 1,) where chunks start, in tokens, and the end: documents cut into full chunks, between two words.

    Args:
        max_tokens: of a chunk at most.
        short_seq_prob: share of the chunks of a random shorter length.
    """
    offsets = document_token_offsets(split)
    lengths = _lengths(max_tokens - _REACH, short_seq_prob, seed=seed, epoch=epoch)
    bounds: list[int] = []
    openings = _openings(len(offsets) - 1, seed=seed, epoch=epoch)
    for start, end, opening in zip(offsets[:-1].tolist(), offsets[1:].tolist(), openings, strict=True):
        here, length = start, max(_SHORTEST, int(next(lengths) * opening))
        while here < end:
            bounds.append(here)
            here, length = here + length, next(lengths)
    return _between_words(np.asarray([*bounds, offsets[-1]], dtype=np.int64), split, vocabulary)


def sentence_bounds(
    split: TokenSplit, vocabulary: Vocabulary, *, max_tokens: int, short_seq_prob: float, seed: int, epoch: int
) -> Ints:
    """As `token_bounds`, but a chunk is as many whole sentences as it has room for.

    A sentence that is longer than a chunk is cut between two words; its rest goes on with the sentences behind it.
    Half of the stretches of text are filled from their end: the sentence that does not fit opens the next chunk, which
    is a long one more often than not, so that otherwise first segments would be longer than second ones.
    """
    lengths = _lengths(max_tokens, short_seq_prob, seed=seed, epoch=epoch)
    documents = np.asarray(split.document_offsets)
    num_stretches = -(-np.diff(documents) // _STRETCH)
    within = np.arange(num_stretches.sum()) - np.repeat(np.cumsum(num_stretches) - num_stretches, num_stretches)
    first = np.repeat(documents[:-1], num_stretches) + within * _STRETCH
    last = np.minimum(first + _STRETCH, np.repeat(documents[1:], num_stretches))
    is_backward = uniforms(Key(seed, epoch, "order.backward"), np.arange(len(first))) < 0.5
    openings = _openings(len(first), seed=seed, epoch=epoch)
    bounds: list[int] = []
    for a, b, backward, opening in zip(first.tolist(), last.tolist(), is_backward.tolist(), openings, strict=True):
        offsets = np.asarray(split.sentence_offsets[a : b + 1])
        ends = (offsets[-1] - offsets[::-1] if backward else offsets - offsets[0]).tolist()
        found = _fill(ends, lengths, opening, max_tokens)
        if backward:
            found = [0, *(ends[-1] - bound for bound in reversed(found[1:]))]
        bounds += [int(offsets[0]) + bound for bound in found]
    return _between_words(np.asarray([*bounds, split.num_tokens], dtype=np.int64), split, vocabulary)


def _fill(ends: list[int], lengths: Iterator[int], opening: float, max_tokens: int) -> list[int]:
    """Where the chunks of a stretch of sentences start, the first not excepted.

    Args:
        ends: 0 and where each sentence ends, in tokens of the stretch.
    """
    bounds: list[int] = []
    here, length, current, is_inside = 0, int(next(lengths) * opening), 1, False
    while here < ends[-1]:  # ends[current] is where the sentence at `here` ends
        bounds.append(here)
        most = max_tokens - (_REACH if is_inside else 0)
        beyond = bisect_right(ends, here + most, current)
        wanted = bisect_right(ends, here + min(length, most), current, beyond)
        behind = min(beyond, max(wanted, current + 2))  # two sentences at least, where they fit
        if behind == len(ends) - 1 and behind > current + 2 and ends[-1] - ends[-3] <= max_tokens:
            behind -= 1  # nor is the last one left alone
        is_inside = behind == current
        here = here + most - _REACH if is_inside else ends[behind - 1]
        current, length = behind, next(lengths)
    return bounds


def _openings(num_documents: int, *, seed: int, epoch: int) -> list[float]:
    """Share of a chunk's length that the first chunk has, so that every epoch has boundaries of its own."""
    draws: list[float] = ((1.0 + uniforms(Key(seed, epoch, "pairs.first"), np.arange(num_documents))) / 2).tolist()
    return draws


def _lengths(full: int, short_seq_prob: float, *, seed: int, epoch: int) -> Iterator[int]:
    """Lengths of chunk after chunk: full, or with `short_seq_prob` uniform from the shortest to full."""
    short, length = Key(seed, epoch, "pairs.short"), Key(seed, epoch, "pairs.length")
    counter = 0
    while True:
        number = np.arange(counter, counter + _DRAWS_AT_ONCE)
        shorter = _SHORTEST + np.floor(uniforms(length, number) * (full - _SHORTEST + 1))
        yield from np.where(uniforms(short, number) < short_seq_prob, shorter, full).astype(np.int64).tolist()
        counter += _DRAWS_AT_ONCE


def _between_words(bounds: Ints, split: TokenSplit, vocabulary: Vocabulary) -> Ints:
    """Move each bound back to the start of the word that it falls into, if that is within reach."""
    inner = bounds[:-1]
    sentences = np.asarray(split.sentence_offsets)
    sentence = sentences[np.searchsorted(sentences, inner, side="right") - 1]  # the one that each bound falls into
    back = np.minimum(np.arange(_REACH + 2), (inner - sentence)[:, None])
    ids = split.ids[(inner[:, None] - back).ravel()].reshape(back.shape)
    begins = vocabulary.begins_word(ids[:, 1:], ids[:, :-1]) | (inner[:, None] - back[:, :-1] == sentence[:, None])
    place = np.argmax(begins, axis=1)
    return np.append(inner - np.where(begins.any(axis=1), back[np.arange(len(inner)), place], 0), bounds[-1])
