"""What a cutting gives: rows of token ids before masking, and the plan of an epoch that makes them."""

# B rows, L tokens per row, P spans

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]
NO_DOCUMENT = -1


class ExamplesError(ValueError):
    """A corpus of which the chosen cutting can make no honest examples."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples before masking; arrays (B, L) int64 unless said otherwise."""

    input_ids: Ints
    attention_mask: Ints
    """1 at tokens, 0 at padding."""
    token_type_ids: Ints
    """0 up to and including the first [SEP] of a pair, 1 after it; 0 at padding."""
    documents: Ints
    """Number of the document that a token stems from, -1 at special tokens and padding."""
    position_ids: Ints | None = None
    """Positions from 0 in each piece; only where a row holds several pieces, which must not attend to each other."""
    next_sentence_label: Ints | None = None
    """(B,): 0 where B follows A in the corpus, 1 where B is random (transformers' own convention)."""
    sentence_order_label: Ints | None = None
    """(B,): 0 where A and B stand as in the corpus, 1 where they are exchanged (transformers' own convention)."""


class Plan(Protocol):
    """The examples of one epoch, cut but not yet read; memory grows with their number only."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> Ints | None:
        """(N,) tokens in each row, special ones included, where rows differ and batches should hold like ones."""
        ...

    def rows(self, indices: Ints) -> Rows:
        """The examples of these numbers (B,), in this order."""
        ...


class Cutting(Protocol):
    """The settings of a recipe's `examples` section and the rule that they steer."""

    @property
    def max_seq_length(self) -> int: ...

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> Plan:
        """Cut a split into the examples of an epoch: a pure function of (seed, epoch).

        Raises:
            ExamplesError: the split is too small for one example, or pairs cannot be made honestly.
        """
        ...


def place_spans(
    input_ids: Ints,
    documents: Ints,
    *,
    split: TokenSplit,
    row: Ints,
    column: Ints,
    start: Ints,
    length: Ints,
    document: Ints,
) -> None:
    """Write spans of a split into rows, in place.

    Args:
        input_ids, documents: (B, L), written at the spans' places.
        row, column, start, length, document: (P,) where each span goes, its first token in the split and its length.
    """
    within = _ranges(length)
    rows, columns = np.repeat(row, length), np.repeat(column, length) + within
    input_ids[rows, columns] = split.ids[np.repeat(start, length) + within]
    documents[rows, columns] = np.repeat(document, length)


def document_token_offsets(split: TokenSplit) -> Ints:
    """(num_documents + 1,) int64: where each document starts, in tokens."""
    offsets: Ints = np.asarray(split.sentence_offsets)[np.asarray(split.document_offsets)]
    return offsets


def _ranges(length: Ints) -> Ints:
    """0..length[0]-1, 0..length[1]-1, ... in one array."""
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    ranges: Ints = np.arange(total) - np.repeat(ends - length, length)
    return ranges
