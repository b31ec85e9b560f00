"""Pairs for next-sentence prediction of which nothing but the text tells the label.

Every chunk of running text is cut into A and B, and half of the chunks exchange their Bs two by two. Two chunks match
if their Bs are of different documents, of equal length, and alike in how they begin (with a sentence or a word) and end
(with the document or before). Chunks that find no match are cut in two elsewhere until they do; of those that never do
(about L / 64 in an epoch) two of nearly equal Bs match if the longer is shortened. Which of the matched chunks exchange
is drawn last, so the lengths of A, B and row, and where they were cut, are distributed alike under both labels as long
as nearly all chunks match. They do not where one document holds half of the text or more: its pairs are then random
less often than others, and lengths tell a little (AUC 0.54 at half of the text, 0.60 at 62 %); a warning says so. Only
where fewer than half of the chunks match, in a corpus of a few short documents, are other Bs exchanged as well.
"""

# N examples of the epoch, W chunks that wait for a partner

import logging
from dataclasses import dataclass, field

import numpy as np

from objectives.cutting.chunks import NUM_SPECIAL, Chunks, cut_in_two, token_bounds
from objectives.cutting.pair_plan import PairPlan
from objectives.draws import Key, permutation, uniforms
from objectives.rows import ExamplesError, Ints
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

_CUTS = 64  # times that a chunk is cut in two before it goes without a match
_IDLE_CUTS = 16  # without any match, after which there is hardly one to be found
_FEW = 16  # in units of L: more waiting chunks than this are of one document and would find no match by other cuts
_MAX_SHORTENED = 0.004  # of the tokens, lost so that Bs are of equal length
_NEIGHBOURS = (8, 64)  # how many neighbours in the order of length may exchange, where too few match
_MIN_EXCHANGED = 0.9  # of the exchanges that make half of the pairs random: 45 % of the pairs at least
_MIN_MATCHED = 0.95  # of the pairs; with fewer, lengths tell the label (at 0.5 of a text in one document: AUC 0.54)
_MAX_LOST = 0.005  # of the tokens, above which a warning and not a line of information tells it
_HASH_BITS = 32

logger = logging.getLogger(__name__)


def balanced_pairs(
    split: TokenSplit, vocabulary: Vocabulary, *, max_seq_length: int, short_seq_prob: float, seed: int, epoch: int
) -> PairPlan:
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
    max_tokens = max_seq_length - NUM_SPECIAL
    bounds = token_bounds(
        split, vocabulary, max_tokens=max_tokens, short_seq_prob=short_seq_prob, seed=seed, epoch=epoch
    )
    chunks, middle = cut_in_two(bounds, split, vocabulary, Key(seed, epoch, "pairs.split"))
    matching = _Matching(chunks, middle, chunks.end.copy(), np.arange(len(chunks)), seed=seed, epoch=epoch)
    matching.match_alike(few=_FEW * max_seq_length)
    first, second = matching.exchanges()

    source = np.arange(len(chunks))
    source[first], source[second] = second, first
    label = (source != np.arange(len(chunks))).astype(np.int64)
    a_length = middle - chunks.start
    b_length = np.minimum((matching.end - middle)[source], max_tokens - a_length)
    num_cut, num_emitted = int((chunks.end - chunks.start).sum()), int((a_length + b_length).sum())
    is_much = split.num_tokens - num_emitted > _MAX_LOST * split.num_tokens
    logger.log(
        logging.WARNING if is_much else logging.INFO,
        "sentence pairs of epoch %d: %d examples, %.2f%% random; of %d tokens %d truncated, %d left out in chunks of "
        "a single word",
        *(epoch, len(label), 100 * label.mean(), split.num_tokens, num_cut - num_emitted, split.num_tokens - num_cut),
    )
    return PairPlan(
        max_seq_length=max_seq_length,
        split=split,
        vocabulary=vocabulary,
        a_start=chunks.start,
        a_length=a_length,
        a_document=chunks.document,
        b_start=middle[source],
        b_length=b_length,
        b_document=chunks.document[source],
        next_sentence_label=label,
    )


@dataclass(slots=True)
class _Matching:
    """Chunks that may exchange their Bs, two by two; arrays (N,) are changed in place where that makes more match."""

    chunks: Chunks
    middle: Ints
    end: Ints
    waiting: Ints
    """(W,) chunks without a match."""
    seed: int = field(kw_only=True)
    epoch: int = field(kw_only=True)
    firsts: list[Ints] = field(default_factory=list)
    seconds: list[Ints] = field(default_factory=list)

    def exchanges(self) -> tuple[Ints, Ints]:
        """Pairs of chunks that exchange their Bs, a quarter as many as there are chunks: of those that match if enough.

        Raises:
            ExamplesError: one document outweighs the others.
        """
        wanted = max(1, round(len(self.chunks) / 4))
        num_matched = sum(map(len, self.firsts))
        if num_matched < wanted:
            self._match_near()
        if 2 * num_matched < _MIN_MATCHED * len(self.chunks):
            logger.warning(
                "only %.0f%% of the pairs can exchange their Bs unnoticed, mostly because one document holds much of "
                "the text: then lengths tell a little of the label. Split that document, or add others.",
                200 * num_matched / len(self.chunks),
            )
        first, second = np.concatenate(self.firsts), np.concatenate(self.seconds)
        if len(first) < _MIN_EXCHANGED * wanted:
            share = 2 * len(first) / len(self.chunks)
            raise ExamplesError(
                f"got one document with so much of the text that only {share:.0%} of the pairs can have a B from "
                "another document, expected 50%. Split that document, add others, or use examples.name: packed."
            )
        if num_matched < wanted:
            return first[:wanted], second[:wanted]
        chosen = permutation(self._key("label"), len(first))[:wanted]
        return first[chosen], second[chosen]

    def match_alike(self, *, few: int) -> None:
        """Match chunks whose exchange changes neither lengths nor how Bs begin and end.

        Args:
            few: waiting chunks for which it is worth while to try other cuts.
        """
        document = self.chunks.document
        ends_document = np.append(document[1:] != document[:-1], True)
        kind = 2 * (self.chunks.num_starts == 0) + ends_document
        idle = 0
        for cut in range(_CUTS):
            if cut:
                self.middle[self.waiting] = self.chunks.middles(self.waiting, self._key("split"), draw=cut)
            block = 4 * (self.end - self.middle)[self.waiting] + kind[self.waiting]
            self._match(block, self._key(f"match.{cut}"))
            idle = 0 if len(self.firsts[-1]) else idle + 1
            if not 2 <= len(self.waiting) <= few or idle == _IDLE_CUTS:
                break
        if len(self.waiting) <= few:
            self._match_shortened()

    def _match_shortened(self) -> None:
        """Match chunks of which the one loses the last tokens of its B, whether it exchanges or not: the cheapest."""
        b_length, begins_with_word = self.end - self.middle, self.chunks.num_starts == 0
        self.waiting = self.waiting[np.lexsort((b_length[self.waiting], begins_with_word[self.waiting]))]
        first, second = self.waiting[: len(self.waiting) // 2 * 2].reshape(-1, 2).T
        fits = self.chunks.document[first] != self.chunks.document[second]
        fits &= begins_with_word[first] == begins_with_word[second]
        first, second = first[fits], second[fits]
        cost = b_length[second] - b_length[first]
        order = np.argsort(cost, kind="stable")
        made = order[np.cumsum(cost[order]) <= _MAX_SHORTENED * self.chunks.split.num_tokens]
        self.end[second[made]] -= cost[made]
        self._add(first[made], second[made])

    def _match_near(self) -> None:
        """Match whoever is of another document, the nearest in length first."""
        for width in (*_NEIGHBOURS, len(self.chunks)):
            self.waiting = self.waiting[np.argsort((self.end - self.middle)[self.waiting], kind="stable")]
            self._match(np.arange(len(self.waiting)) // width, self._key(f"near.{width}"))

    def _match(self, block: Ints, key: Key) -> None:
        """Match chunks of different documents within blocks.

        In a block that is sorted by document, in an order of its own, a member and the one half a block on are of
        different documents unless one document holds more than half of the block.

        Args:
            block: (W,) block of each waiting chunk, below 2**31.
        """
        document = self.chunks.document[self.waiting]
        place_of_document = uniforms(key, document, block) * (1 << _HASH_BITS)
        order = np.argsort((block << _HASH_BITS) + place_of_document.astype(np.int64), kind="stable")
        place, block = np.arange(len(order)), block[order]
        opening = np.searchsorted(block, block)
        half = (np.searchsorted(block, block, side="right") - opening) // 2
        first = np.nonzero(place - opening < half)[0]
        second = order[first + half[first]]
        first = order[first]
        fits = document[first] != document[second]
        self._add(self.waiting[first[fits]], self.waiting[second[fits]])

    def _add(self, first: Ints, second: Ints) -> None:
        self.firsts.append(first)
        self.seconds.append(second)
        self.waiting = np.setdiff1d(self.waiting, np.append(first, second), assume_unique=True)

    def _key(self, purpose: str) -> Key:
        return Key(self.seed, self.epoch, f"pairs.{purpose}")
