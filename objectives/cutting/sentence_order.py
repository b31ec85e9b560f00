"""Pairs of segments for sentence-order prediction.

Source: ALBERT (Lan et al. 2020, https://arxiv.org/abs/1909.11942), section 3.1: two consecutive segments of one
document, in order or exchanged. Differs from the paper's code: exactly half of the rows are exchanged; every token is
emitted once an epoch, where there what is too long is cut off; and the lengths of the two segments do not tell the
label. To that end chunks are matched two by two with one whose segments have the same lengths the other way round, and
one of the two is exchanged; chunks that find no such partner are cut in two elsewhere until they do. Chunks are
whole sentences, so that neither does a segment that ends inside a sentence tell the label; only in a chunk of a single
sentence (beside which the next has no room, or a whole document) is the sentence cut in two, at the start of a word.
Which half came first then shows in where they were cut: take rows that are long beside the sentences.
"""

# N examples of the epoch, W chunks that wait for a partner

import logging
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from objectives.cutting.chunks import NUM_SPECIAL, Chunks, cut_in_two, sentence_bounds
from objectives.cutting.pair_plan import PairPlan
from objectives.cutting.sentence_pairs import refuse_single_sentences
from objectives.draws import Key, permutation, uniforms
from objectives.rows import Ints
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

IN_ORDER, EXCHANGED = 0, 1
_CUTS = 40  # times that a chunk is cut in two before it goes without a partner
_EXACT_CUTS, _CUTS_A_WIDTH = 20, 4  # of these without a difference in length; how many before it may be twice as large

logger = logging.getLogger(__name__)


class SentenceOrder(BaseModel, frozen=True, extra="forbid", strict=True):
    """[CLS] A [SEP] B [SEP], where A and B are consecutive segments of a document, in order or exchanged."""

    name: Literal["sentence_order"] = "sentence_order"
    max_seq_length: int = Field(128, ge=32)
    """Tokens in a row at most, with [CLS] and both [SEP]."""
    short_seq_prob: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the chunks cut to a random shorter length (ALBERT: 0.1), or to two sentences if these are longer."""
    single_sentence_documents: Literal["split", "error"] = "split"
    """What to do with documents of one sentence: order parts of the sentence, cut between words, or refuse them."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> PairPlan:
        """Cut each document into chunks, each chunk into two segments, and exchange these in half of the chunks.

        Raises:
            ExamplesError: no chunk of two words, or documents of one sentence that are not wanted.
        """
        if self.single_sentence_documents == "error":
            refuse_single_sentences(split)
        bounds = sentence_bounds(
            split,
            vocabulary,
            max_tokens=self.max_seq_length - NUM_SPECIAL,
            short_seq_prob=self.short_seq_prob,
            seed=seed,
            epoch=epoch,
        )
        chunks, middle = cut_in_two(bounds, split, vocabulary, Key(seed, epoch, "order.split"))
        label = _labels(chunks, middle, seed=seed, epoch=epoch)
        logger.info(
            "sentence order of epoch %d: %d examples, %.2f%% exchanged; of %d tokens %d left out in chunks of a single "
            "word",
            *(epoch, len(label), 100 * label.mean()),
            *(split.num_tokens, split.num_tokens - (chunks.end - chunks.start).sum()),
        )
        is_exchanged = label == EXCHANGED
        before, behind = middle - chunks.start, chunks.end - middle
        return PairPlan(
            max_seq_length=self.max_seq_length,
            split=split,
            vocabulary=vocabulary,
            a_start=np.where(is_exchanged, middle, chunks.start),
            a_length=np.where(is_exchanged, behind, before),
            a_document=chunks.document,
            b_start=np.where(is_exchanged, chunks.start, middle),
            b_length=np.where(is_exchanged, before, behind),
            b_document=chunks.document,
            sentence_order_label=label,
        )


def _labels(chunks: Chunks, middle: Ints, *, seed: int, epoch: int) -> Ints:
    """(N,) labels, half of them 1; `middle` is drawn anew in place where a chunk's lengths have no mirror image."""
    label = np.zeros(len(chunks), dtype=np.int64)
    waiting = np.arange(len(chunks))
    for cut in range(_CUTS):
        if cut:
            middle[waiting] = chunks.middles(waiting, Key(seed, epoch, "order.split"), draw=cut)
        width = 1 << max(0, cut - _EXACT_CUTS) // _CUTS_A_WIDTH
        first, second, waiting = _mirrored(
            waiting, (middle - chunks.start)[waiting], (chunks.end - middle)[waiting], width=width
        )
        of_first = uniforms(Key(seed, epoch, "order.label"), first) < 0.5
        label[first], label[second] = of_first, ~of_first
        if not len(waiting):
            break
    exchanged = permutation(Key(seed, epoch, "order.rest"), len(waiting))[: len(waiting) // 2]
    label[waiting[exchanged]] = EXCHANGED
    return label


def _mirrored(waiting: Ints, before: Ints, behind: Ints, *, width: int) -> tuple[Ints, Ints, Ints]:
    """Match chunks whose segments have lengths (x, y) with others that have (y, x); and who is still waiting.

    Args:
        waiting, before, behind: (W,) chunks and the lengths of their segments.
        width: lengths that differ by less may count as equal.
    """
    side = np.where(before == behind, waiting % 2, before > behind)
    shorter, longer = np.minimum(before, behind) // width, np.maximum(before, behind) // width
    shape = shorter * (1 + int(longer.max())) + longer
    order = np.argsort(2 * shape + side, kind="stable")
    key = (2 * shape + side)[order]
    rank = np.arange(len(key)) - np.searchsorted(key, key)
    partner = np.searchsorted(key, key + 1) + rank
    fits = (key % 2 == 0) & (partner < np.searchsorted(key, key + 1, side="right"))
    first, second = order[fits], order[partner[fits]]
    left = np.ones(len(waiting), dtype=bool)
    left[first] = left[second] = False
    return waiting[first], waiting[second], waiting[left]
