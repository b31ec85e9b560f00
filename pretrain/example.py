"""One training example: the row as it was cut, and what masking made of it."""

# L tokens per row

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from objectives.masking import NOT_A_TARGET, Masked, Weights
from objectives.rows import NO_DOCUMENT, Ints, Rows
from pretrain.batches import Examples
from tokenization.vocabulary import Vocabulary

Bools = npt.NDArray[np.bool_]

_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An example of an epoch; arrays (L,) as in objectives.rows.Rows and objectives.masking.Masked."""

    epoch: int
    index: int
    """Number of the example in its epoch, which its masks are drawn from."""
    input_ids: Ints
    """What the model sees."""
    original_ids: Ints
    """What stood there before masking."""
    labels: Ints
    label_weights: Weights | None
    attention_mask: Ints
    token_type_ids: Ints
    documents: Ints
    position_ids: Ints | None
    next_sentence_label: int | None
    sentence_order_label: int | None

    @classmethod
    def of_row(cls, rows: Rows, masked: Masked, row: int, *, epoch: int, index: int) -> "Example":
        """The example at a place of a batch."""
        labels = (rows.next_sentence_label, rows.sentence_order_label)
        next_sentence, sentence_order = (None if label is None else int(label[row]) for label in labels)
        return cls(
            epoch=epoch,
            index=index,
            input_ids=masked.input_ids[row],
            original_ids=rows.input_ids[row],
            labels=masked.labels[row],
            label_weights=None if masked.label_weights is None else masked.label_weights[row],
            attention_mask=rows.attention_mask[row],
            token_type_ids=rows.token_type_ids[row],
            documents=rows.documents[row],
            position_ids=None if rows.position_ids is None else rows.position_ids[row],
            next_sentence_label=next_sentence,
            sentence_order_label=sentence_order,
        )

    @property
    def is_target(self) -> Bools:
        """(L,) bool."""
        return np.asarray(self.labels != NOT_A_TARGET)

    def record(self) -> dict[str, Any]:
        """Everything as JSON takes it; keys that the cutting or the masking does not fill are left out."""
        record: dict[str, Any] = {"index": self.index, "epoch": self.epoch}
        for name in ("input_ids", "token_type_ids", "attention_mask", "labels", "original_ids", "documents"):
            record[name] = getattr(self, name).tolist()
        if self.next_sentence_label is not None:
            record["next_sentence_label"] = self.next_sentence_label
        if self.sentence_order_label is not None:
            record["sentence_order_label"] = self.sentence_order_label
        if self.position_ids is not None:
            record["position_ids"] = self.position_ids.tolist()
        if self.label_weights is not None:
            record["label_weights"] = self.label_weights.tolist()
        return record

    def parts(self) -> list[slice]:
        """The pieces of the row, without padding: parted where the segment, the document or the positions change."""
        num_tokens = int(self.attention_mask.sum())
        starts = self.token_type_ids[1:num_tokens] != self.token_type_ids[: num_tokens - 1]
        if self.position_ids is not None:
            starts = starts | (self.position_ids[1:num_tokens] == 0)
        bounds = {0, *(np.nonzero(starts)[0] + 1).tolist()}
        text = np.nonzero(self.documents[:num_tokens] != NO_DOCUMENT)[0]
        for before, here in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
            changes = self.documents[before] != self.documents[here]
            if changes and bounds.isdisjoint(range(before + 1, here + 1)):
                bounds.add(here)
        ordered = sorted(bounds)
        return [slice(start, end) for start, end in zip(ordered, [*ordered[1:], num_tokens], strict=True)]

    def documents_of(self, part: slice) -> list[int]:
        """The documents that a piece stems from, in their order there."""
        found = self.documents[part][self.documents[part] != NO_DOCUMENT]
        return list(dict.fromkeys(found.tolist()))


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """How many targets there are of each kind."""

    hidden: int
    """[MASK] stands in their place."""
    replaced: int
    """Another token stands in their place."""
    kept: int
    """They stand unchanged."""

    @classmethod
    def of(cls, input_ids: Ints, labels: Ints, vocabulary: Vocabulary) -> "TargetCounts":
        """Count over arrays of any one shape."""
        is_target = labels != NOT_A_TARGET
        hidden = int((is_target & (input_ids == vocabulary.mask_id)).sum())
        kept = int((is_target & (input_ids == labels)).sum())
        return cls(hidden=hidden, replaced=int(is_target.sum()) - hidden - kept, kept=kept)

    @property
    def total(self) -> int:
        return self.hidden + self.replaced + self.kept

    def __add__(self, other: "TargetCounts") -> "TargetCounts":
        return TargetCounts(self.hidden + other.hidden, self.replaced + other.replaced, self.kept + other.kept)


def read_examples(
    examples: Examples, *, epoch: int, count: int, batch_size: int, share: float = 0.0
) -> Iterator[Example]:
    """The first examples of an epoch in the order of training; fewer where the epoch has fewer.

    Args:
        batch_size: of the run: rows of like length share a batch. The epoch is shown as if it began with a batch.
        share: share of the run that is spent, which a schedule of the masking rate follows.

    Raises:
        ExamplesError: the cutting can make no examples of the corpus.
    """
    order = examples.order(epoch, batch_size, 0)[:count]
    for start in range(0, len(order), _ROWS_AT_ONCE):
        indices = order[start : start + _ROWS_AT_ONCE]
        rows, masked = examples.rows(epoch, indices, share=share)
        for row, index in enumerate(indices.tolist()):
            yield Example.of_row(rows, masked, row, epoch=epoch, index=index)
