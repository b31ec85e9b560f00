"""Pairs for next-sentence prediction as create_pretraining_data.py of google-research/bert makes them.

Source: Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), appendix A.2, and the steps of that script, with its
statistics and its faults: more or fewer than half of the pairs random, Bs of A's own document called random, Bs that
begin inside a word, short rows, text that is never emitted. One epoch is one of its passes over the corpus. Differs in
how it is stored only: A and B stay contiguous when they are truncated, so an example is two spans of the token store,
and all that does not steer which sentences a chunk has is drawn afterwards for all examples at once.
"""

# N examples of the epoch

import logging
from bisect import bisect_left
from collections.abc import Iterator

import numpy as np

from objectives.cutting.chunks import NUM_SPECIAL
from objectives.cutting.pair_plan import PairPlan
from objectives.draws import Key, permutation, uniforms
from objectives.rows import ExamplesError, Ints
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

_DRAWS_OF_A_DOCUMENT = 10  # after which a random B may come from A's own document
_SHORTEST_TARGET = 2
_DRAWS_AT_ONCE = 1 << 16

logger = logging.getLogger(__name__)


def reference_pairs(
    split: TokenSplit, vocabulary: Vocabulary, *, max_seq_length: int, short_seq_prob: float, seed: int, epoch: int
) -> PairPlan:
    """One pass of the original over the corpus.

    Raises:
        ExamplesError: the split has no token.
    """
    if split.num_tokens == 0:
        raise ExamplesError(
            "the corpus has no token to make an example of; expected at least one sentence. Check corpus.files."
        )
    max_tokens = max_seq_length - NUM_SPECIAL
    targets = _targets(split.num_documents, max_tokens, short_seq_prob, seed=seed, epoch=epoch)
    document, start, middle, end, is_random = _chunks(split, targets, seed=seed, epoch=epoch)
    wanted = targets[document] - (middle - start)
    b_document, b_start, b_end = _random_bs(split, document, wanted, seed=seed, epoch=epoch)
    b_document = np.where(is_random, b_document, document)
    b_start, b_end = np.where(is_random, b_start, middle), np.where(is_random, b_end, end)
    (a_start, a_length), (b_start, b_length), num_truncated = _truncated(
        start, middle - start, b_start, b_end - b_start, max_tokens, seed=seed, epoch=epoch
    )
    never = split.num_tokens - _num_distinct(np.append(a_start, b_start), np.append(a_length, b_length))
    logger.info(
        "sentence pairs of epoch %d: %d examples, %.2f%% random, %.2f%% of these of A's own document, %d tokens "
        "truncated, %d never emitted, of %d",
        *(epoch, len(document), 100 * is_random.mean()),
        *(100 * (b_document == document)[is_random].sum() / max(1, is_random.sum()), num_truncated),
        *(never, split.num_tokens),
    )
    return PairPlan(
        max_seq_length=max_seq_length,
        split=split,
        vocabulary=vocabulary,
        a_start=a_start,
        a_length=a_length,
        a_document=document,
        b_start=b_start,
        b_length=b_length,
        b_document=b_document,
        next_sentence_label=is_random.astype(np.int64),
    )


def _targets(num_documents: int, max_tokens: int, short_seq_prob: float, *, seed: int, epoch: int) -> Ints:
    """(num_documents,) length at which a chunk of each document is complete, drawn once for all of its chunks."""
    number = np.arange(num_documents)
    shorter = uniforms(Key(seed, epoch, "pairs.length"), number) * (max_tokens - _SHORTEST_TARGET + 1)
    is_short = uniforms(Key(seed, epoch, "pairs.short"), number) < short_seq_prob
    return np.where(is_short, _SHORTEST_TARGET + shorter.astype(np.int64), max_tokens)


def _chunks(split: TokenSplit, targets: Ints, *, seed: int, epoch: int) -> tuple[Ints, Ints, Ints, Ints, np.ndarray]:
    """Of each chunk its document, its bounds (start, middle, end) in tokens, and whether its B is to be random.

    The sentences behind the middle of a chunk whose B is random are put back and open the next chunk.
    """
    draws = _draws(Key(seed, epoch, "pairs.split"))
    found: list[tuple[int, int, int, int, bool]] = []
    first_sentences = split.document_offsets
    for document in permutation(Key(seed, epoch, "pairs.documents"), split.num_documents).tolist():
        first, last = first_sentences[document : document + 2].tolist()
        offsets, target, here = split.sentence_offsets[first : last + 1].tolist(), int(targets[document]), 0
        while here < last - first:
            end = min(bisect_left(offsets, offsets[here] + target, here + 1), last - first)
            middle = here + 1 + (int(next(draws) * (end - here - 1)) if end > here + 1 else 0)
            is_random = end == here + 1 or next(draws) < 0.5
            found.append((document, offsets[here], offsets[middle], offsets[end], is_random))
            here = middle if is_random else end
    of_document, start, middles, ends, random = np.asarray(found, dtype=np.int64).T
    return of_document, start, middles, ends, random.astype(bool)


def _draws(key: Key) -> Iterator[float]:
    counter = 0
    while True:
        yield from uniforms(key, np.arange(counter, counter + _DRAWS_AT_ONCE)).tolist()
        counter += _DRAWS_AT_ONCE


def _random_bs(split: TokenSplit, document: Ints, wanted: Ints, *, seed: int, epoch: int) -> tuple[Ints, Ints, Ints]:
    """A random B for each example: its document, and its bounds in tokens.

    Args:
        document: (N,) document of A.
        wanted: (N,) tokens that complete B, which is of whole sentences and of one at least.
    """
    number = np.arange(len(document))
    other = document.copy()
    for draw in range(_DRAWS_OF_A_DOCUMENT):
        again = number[other == document]
        drawn = uniforms(Key(seed, epoch, "pairs.other"), again, draw) * split.num_documents
        other[again] = drawn.astype(np.int64)
    first, behind = split.document_offsets[other], split.document_offsets[other + 1]
    sentence = first + (uniforms(Key(seed, epoch, "pairs.start"), number) * (behind - first)).astype(np.int64)
    sentences = np.asarray(split.sentence_offsets)
    start = sentences[sentence]
    last = np.searchsorted(sentences, start + np.maximum(wanted, 1))
    return other, start, sentences[np.minimum(last, behind)]


def _truncated(
    a_start: Ints, a_length: Ints, b_start: Ints, b_length: Ints, max_tokens: int, *, seed: int, epoch: int
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints], int]:
    """A and B as (start, length) without the tokens that are too many, and how many these were.

    One token after the other is taken from the longer (at a tie from B), at its front or at its back with equal odds.
    """
    excess = np.maximum(a_length + b_length - max_tokens, 0)
    of_longer = np.minimum(excess, np.abs(a_length - b_length))
    rest = excess - of_longer  # of two of equal length: from B, from A, from B ...
    from_a = rest // 2 + np.where(a_length > b_length, of_longer, 0)
    from_b = excess - from_a
    draw = np.random.Generator(np.random.Philox(key=int(Key(seed, epoch, "pairs.truncation").word())))
    a_front, b_front = draw.binomial(from_a, 0.5), draw.binomial(from_b, 0.5)
    return (a_start + a_front, a_length - from_a), (b_start + b_front, b_length - from_b), int(excess.sum())


def _num_distinct(start: Ints, length: Ints) -> int:
    """Number of tokens that stand in at least one of the spans."""
    order = np.argsort(start, kind="stable")
    start, end = start[order], (start + length)[order]
    covered = np.maximum.accumulate(np.append(0, end[:-1]))
    return int(np.maximum(end - np.maximum(start, covered), 0).sum())
