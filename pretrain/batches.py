"""Which examples a step trains on, and the batches made of them.

Order and masks are pure functions of (seed, epoch, example index), so a position in the run is two integers, and what a
process holds does not depend on how many there are. Batches run on across the end of an epoch: all of them are full.
"""

# B rows, L tokens per row

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from objectives.draws import Key, permutation
from objectives.masking import Masked, Masking
from objectives.objective import Batch
from objectives.rows import Cutting, Ints, Plan, Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

_COLUMN_STEP = 8  # rows are cut to the longest of a micro-batch, rounded up to a multiple of this: few distinct shapes


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands in its data: the next example to train on."""

    epoch: int
    example: int
    """Number of examples of this epoch that were trained on."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The examples of one optimizer step; arrays (batch_size,) int64."""

    epochs: Ints
    indices: Ints

    def share(self, rank: int, world_size: int) -> "Selection":
        """The contiguous part that one process trains on; the parts differ by one example at most."""
        part = np.array_split(np.arange(len(self.indices)), world_size)[rank]
        return Selection(self.epochs[part], self.indices[part])

    def cut(self, micro_batch_size: int) -> list["Selection"]:
        """Parts of at most so many examples."""
        starts = range(0, len(self.indices), micro_batch_size)
        return [
            Selection(self.epochs[i : i + micro_batch_size], self.indices[i : i + micro_batch_size]) for i in starts
        ]


class Examples:
    """The examples of a split under a cutting and a masking, epoch after epoch."""

    def __init__(
        self, split: TokenSplit, vocabulary: Vocabulary, *, cutting: Cutting, masking: Masking, seed: int
    ) -> None:
        self.split, self.vocabulary = split, vocabulary
        self.cutting, self.masking, self.seed = cutting, masking, seed
        self.plan = lru_cache(maxsize=2)(self._plan)  # a batch touches two epochs at most
        self.order = lru_cache(maxsize=2)(self._order)

    def select(self, position: Position, batch_size: int) -> tuple[Selection, Position]:
        """The next examples in the order of the run, and the position behind them."""
        epoch, example = position.epoch, position.example
        epochs, indices = [], []
        missing = batch_size
        while missing:
            order = self.order(epoch)
            taken = order[example : example + missing]
            epochs.append(np.full(len(taken), epoch))
            indices.append(taken)
            missing -= len(taken)
            example += len(taken)
            if example == len(order):
                epoch, example = epoch + 1, 0
        return Selection(np.concatenate(epochs), np.concatenate(indices)), Position(epoch, example)

    def batch(self, selection: Selection) -> Batch:
        """The masked examples as a Batch of int64 tensors on the host, in the selection's order."""
        epochs = np.unique(selection.epochs)
        parts = [self._masked(epoch, selection.indices[selection.epochs == epoch]) for epoch in epochs.tolist()]
        return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}

    def rows(self, epoch: int, indices: Ints) -> tuple[Rows, Masked]:
        """Examples of an epoch as they were cut, and what masking makes of them."""
        rows = self.plan(epoch).rows(indices)
        return rows, self.masking.mask(
            rows.input_ids, indices=indices, vocabulary=self.vocabulary, seed=self.seed, epoch=epoch
        )

    def _masked(self, epoch: int, indices: Ints) -> dict[str, Ints]:
        rows, masked = self.rows(epoch, indices)
        return _as_batch(rows, input_ids=masked.input_ids, labels=masked.labels)

    def _plan(self, epoch: int) -> Plan:
        return self.cutting.plan(self.split, self.vocabulary, seed=self.seed, epoch=epoch)

    def _order(self, epoch: int) -> Ints:
        return permutation(Key(self.seed, epoch, "order"), len(self.plan(epoch)))


def in_order(examples: Examples, *, epoch: int, rank: int, world_size: int, micro_batch_size: int) -> Iterator[Batch]:
    """Every example of an epoch once, by index: this process's share in micro-batches."""
    count = len(examples.plan(epoch))
    everything = Selection(np.full(count, epoch), np.arange(count))
    for part in everything.share(rank, world_size).cut(micro_batch_size):
        yield trimmed(examples.batch(part))


def trimmed(batch: Batch) -> Batch:
    """The batch without the columns that are padding in every row (up to a multiple of 8)."""
    longest = int(batch["attention_mask"].sum(dim=1).max())
    width = min(batch["input_ids"].shape[1], -(-longest // _COLUMN_STEP) * _COLUMN_STEP)
    return {name: value[:, :width] if value.ndim == 2 else value for name, value in batch.items()}


def num_tokens(batch: Batch) -> int:
    """Tokens that are not padding, special ones included."""
    return int(batch["attention_mask"].sum())


def _as_batch(rows: Rows, *, input_ids: Ints, labels: Ints) -> dict[str, Ints]:
    batch = {
        "input_ids": input_ids,
        "attention_mask": rows.attention_mask,
        "token_type_ids": rows.token_type_ids,
        "labels": labels,
    }
    if rows.position_ids is not None:
        batch["position_ids"] = rows.position_ids
    if rows.next_sentence_label is not None:
        batch["next_sentence_label"] = rows.next_sentence_label
    if rows.sentence_order_label is not None:
        batch["sentence_order_label"] = rows.sentence_order_label
    return batch
