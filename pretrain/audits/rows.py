"""What an audit counts of the rows of an epoch, before and after masking."""

# B rows, L tokens per row, V vocabulary

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from objectives.draws import Key, permutation
from objectives.masking import NOT_A_TARGET, Masked
from objectives.rows import NO_DOCUMENT, Ints, Rows, document_token_offsets
from pretrain.audits.figure import Lengths, share
from pretrain.batches import Examples
from pretrain.example import TargetCounts
from tokenization.vocabulary import Vocabulary

MAX_ROWS = 20_000
"""Rows of which labels, fill and masks are counted, drawn from all of an epoch."""
MAX_PLACES = 1 << 27
"""Places of an epoch up to which every row is read to see which text is left out; beyond, that is estimated."""

_PLACES_AT_ONCE = 1 << 18  # a few megabytes for each array

Bools = npt.NDArray[np.bool_]

logger = logging.getLogger(__name__)


class RowTally:
    """Counts over rows."""

    def __init__(self, vocabulary: Vocabulary, max_seq_length: int) -> None:
        self.vocabulary, self.max_seq_length = vocabulary, max_seq_length
        self.lengths = Lengths()
        """Tokens of each row, special ones included."""
        self.num_special = 0
        """Tokens that the cutting put around the text."""
        self.num_without_target = 0
        """Rows."""
        self.maskable = np.zeros(vocabulary.size, dtype=np.int64)
        """(V,) by id, tokens that may be targets."""
        self.targets = np.zeros(vocabulary.size, dtype=np.int64)
        """(V,) by id as it stood in the text."""
        self.kinds = TargetCounts(hidden=0, replaced=0, kept=0)
        self.times_drawn = np.zeros(max_seq_length + 1, dtype=np.int64)
        """Targets by how often they were drawn: once, but where a masking draws with replacement."""
        self.num_special_replacements = 0
        """Random replacements that are special tokens."""
        self.num_corrupted_elsewhere = 0
        """Places that were changed and are no targets."""
        self.num_false_labels = 0
        """Targets whose label is another token than the one that stood there."""
        self.next_sentence = LabelTally(max_seq_length)
        self.sentence_order = LabelTally(max_seq_length)

    @property
    def num_rows(self) -> int:
        return self.lengths.total

    @property
    def num_tokens(self) -> int:
        return self.lengths.tokens_beyond(0)

    @property
    def num_targets(self) -> int:
        return int(self.targets.sum())

    @property
    def num_draws(self) -> int:
        """Targets, each as often as it was drawn."""
        return int(self.times_drawn @ np.arange(len(self.times_drawn)))

    def add(self, rows: Rows, masked: Masked) -> None:
        """Count some more rows."""
        original, seen, labels = rows.input_ids, masked.input_ids, masked.labels
        is_special, is_target = self.vocabulary.is_special, labels != NOT_A_TARGET
        self.lengths.add(rows.attention_mask.sum(axis=1))
        self.num_special += int(((rows.attention_mask == 1) & (rows.documents == NO_DOCUMENT)).sum())
        self.num_without_target += int((~is_target.any(axis=1)).sum())
        self.maskable += np.bincount(original[~is_special[original]], minlength=self.vocabulary.size)
        self.targets += np.bincount(original[is_target], minlength=self.vocabulary.size)
        self.kinds += TargetCounts.of(seen, labels, self.vocabulary)
        times = is_target if masked.label_weights is None else masked.label_weights
        self.times_drawn += np.bincount(times[is_target].astype(np.int64), minlength=len(self.times_drawn))
        is_replaced = is_target & (seen != self.vocabulary.mask_id) & (seen != labels)
        self.num_special_replacements += int(is_special[seen[is_replaced]].sum())
        self.num_corrupted_elsewhere += int((~is_target & (seen != original)).sum())
        self.num_false_labels += int((is_target & (labels != original)).sum())
        if rows.next_sentence_label is not None:
            self.next_sentence.add(rows, rows.next_sentence_label)
        if rows.sentence_order_label is not None:
            self.sentence_order.add(rows, rows.sentence_order_label)


class LabelTally:
    """Counts over the labels of pairs."""

    def __init__(self, max_seq_length: int) -> None:
        self.counts = np.zeros((2, 2), dtype=np.int64)
        """By label, and by whether A and B are of one document."""
        self._lengths = np.zeros((3, 2, max_seq_length + 1), dtype=np.int64)  # of A, B and row, by label

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def add(self, rows: Rows, label: Ints) -> None:
        """Count some more rows."""
        is_text = rows.documents != NO_DOCUMENT
        in_a, in_b = is_text & (rows.token_type_ids == 0), is_text & (rows.token_type_ids == 1)
        np.add.at(self.counts, (label, _share_document(rows.documents, in_a, in_b).astype(np.int64)), 1)
        for kind, inside in enumerate((in_a, in_b, rows.attention_mask == 1)):
            np.add.at(self._lengths[kind], (label, inside.sum(axis=1)), 1)

    def area(self) -> float:
        """Area under the ROC curve of the one length of A, B and row that tells the label best: 0.5 where none does."""
        if not self.counts.sum(axis=1).all():
            return 0.5
        zeros, ones = self._lengths[:, 0].astype(np.float64), self._lengths[:, 1].astype(np.float64)
        below = np.cumsum(zeros, axis=1) - zeros / 2  # ties count half
        areas = (ones * below).sum(axis=1) / (zeros.sum(axis=1) * ones.sum(axis=1))
        return float(0.5 + np.abs(areas - 0.5).max())


def _share_document(documents: Ints, in_a: Bools, in_b: Bools) -> Bools:
    """(B,) whether the last token of A and the first of B are of one document."""
    row, last = np.arange(len(documents)), documents.shape[1] - 1
    end_of_a = documents[row, last - in_a[:, ::-1].argmax(axis=1)]
    return np.asarray(end_of_a == documents[row, in_b.argmax(axis=1)])


def tally_rows(examples: Examples) -> RowTally:
    """Count rows drawn from epoch 0, MAX_ROWS at most."""
    tally = RowTally(examples.vocabulary, examples.cutting.max_seq_length)
    drawn = permutation(Key(examples.seed, 0, "audit.rows"), len(examples.plan(0)))[:MAX_ROWS]
    chosen = np.sort(drawn)  # neighbours stand near each other on the disk
    logger.info("audit: masking %d rows of epoch 0", len(chosen))
    step = max(1, _PLACES_AT_ONCE // tally.max_seq_length)
    for start in range(0, len(chosen), step):
        tally.add(*examples.rows(0, chosen[start : start + step]))
    return tally


@dataclass(frozen=True, slots=True)
class Emitted:
    """How much of the text stands in the examples of an epoch."""

    left_out: float
    """Share of the text in no example; at least so great, as it is told from how many tokens each document gives."""
    again: float
    """Share of the text in a second example; at least so great."""
    is_estimate: bool
    """Whether it was told from a sample of rows."""


def emitted(examples: Examples, sample: RowTally) -> Emitted:
    """Compare what each document gives to the rows of epoch 0 with its length, or estimate it of a long epoch."""
    split, plan, width = examples.split, examples.plan(0), examples.cutting.max_seq_length
    if len(plan) * width > MAX_PLACES:
        given_in_all = (sample.num_tokens - sample.num_special) / sample.num_rows * len(plan)
        missing_in_all = 1.0 - given_in_all / split.num_tokens
        return Emitted(left_out=max(0.0, missing_in_all), again=max(0.0, -missing_in_all), is_estimate=True)
    logger.info("audit: reading all %d rows of epoch 0", len(plan))
    given = np.zeros(split.num_documents, dtype=np.int64)
    step = max(1, _PLACES_AT_ONCE // width)
    for start in tqdm(range(0, len(plan), step), desc="audit: rows", leave=False, disable=None):
        documents = plan.rows(np.arange(start, min(start + step, len(plan)))).documents
        given += np.bincount(documents[documents != NO_DOCUMENT], minlength=split.num_documents)
    missing = np.diff(document_token_offsets(split)) - given
    return Emitted(
        left_out=share(missing[missing > 0].sum(), split.num_tokens),
        again=share(-missing[missing < 0].sum(), split.num_tokens),
        is_estimate=False,
    )
