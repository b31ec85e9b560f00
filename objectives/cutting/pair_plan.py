"""The pairs of an epoch, and the rows [CLS] A [SEP] B [SEP] that are made of them."""

# B rows, L tokens per row, N examples of the epoch

from dataclasses import dataclass

import numpy as np

from objectives.cutting.chunks import NUM_SPECIAL
from objectives.rows import NO_DOCUMENT, Ints, Rows, place_spans
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary


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
    next_sentence_label: Ints | None = None
    sentence_order_label: Ints | None = None

    def __len__(self) -> int:
        return len(self.a_start)

    @property
    def lengths(self) -> Ints:
        """(N,) tokens of each row, special ones included."""
        return self.a_length + self.b_length + NUM_SPECIAL

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
            next_sentence_label=None if self.next_sentence_label is None else self.next_sentence_label[indices],
            sentence_order_label=None if self.sentence_order_label is None else self.sentence_order_label[indices],
        )
