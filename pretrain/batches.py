"""Which examples a step trains on, and the batches made of them.

Order and masks are pure functions of (seed, epoch, example index), so a position in the run is two integers, and what a
process holds does not depend on how many there are. Batches run on across the end of an epoch: all of them are full.
Where the rows of a plan differ in length, those of a batch are of like length, so that little of it is padding.
"""

# B rows, L tokens per row

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from objectives.draws import Key, permutation
from objectives.masking import Masked, Masking
from objectives.masks.row_draws import RowDraws
from objectives.objective import Batch
from objectives.rows import Cutting, Ints, Plan, Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

_WINDOW = 32  # batches of rows that are drawn together, sorted by length and cut into batches of like length
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
        self,
        split: TokenSplit,
        vocabulary: Vocabulary,
        *,
        cutting: Cutting,
        masking: Masking,
        seed: int,
        with_noise: bool = False,
    ) -> None:
        """
        Args:
            with_noise: give batches replacement_noise, (B, L) float64 uniform in [0, 1), as pure a function of (seed,
                epoch, example index, position) as the masks are, for objectives that draw tokens.
        """
        self.split, self.vocabulary = split, vocabulary
        self.cutting, self.masking, self.seed, self.with_noise = cutting, masking, seed, with_noise
        self.plan = lru_cache(maxsize=2)(self._plan)  # most batches touch two epochs at most
        self.order = lru_cache(maxsize=2)(self._order)

    def select(self, position: Position, batch_size: int) -> tuple[Selection, Position]:
        """The next examples in the order of the run, and the position behind them."""
        epoch, example = position.epoch, position.example
        epochs, indices = [], []
        missing = batch_size
        while missing:
            # Batches of an epoch begin at its start or behind the one that ran on into it, so they all tell where.
            order = self.order(epoch, batch_size, (example if missing == batch_size else missing) % batch_size)
            taken = order[example : example + missing]
            epochs.append(np.full(len(taken), epoch))
            indices.append(taken)
            missing -= len(taken)
            example += len(taken)
            if example == len(order):
                epoch, example = epoch + 1, 0
        return Selection(np.concatenate(epochs), np.concatenate(indices)), Position(epoch, example)

    def batch(self, selection: Selection, *, share: float = 0.0) -> Batch:
        """The masked examples as a Batch of tensors on the host, in the selection's order; int64 but for weights and
        noise.

        Args:
            share: share of the run that is spent, in 0..1, which a schedule of the masking rate follows.
        """
        epochs = np.unique(selection.epochs)
        parts = [
            self._part(epoch, selection.indices[selection.epochs == epoch], share=share) for epoch in epochs.tolist()
        ]
        return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}

    def rows(self, epoch: int, indices: Ints, *, share: float = 0.0) -> tuple[Rows, Masked]:
        """Examples of an epoch as they were cut, and what masking makes of them at this share of the run."""
        rows = self.plan(epoch).rows(indices)
        return rows, self.masking.mask(
            rows.input_ids, indices=indices, vocabulary=self.vocabulary, seed=self.seed, epoch=epoch, share=share
        )

    def _part(self, epoch: int, indices: Ints, *, share: float) -> dict[str, np.ndarray]:
        rows, masked = self.rows(epoch, indices, share=share)
        batch = _as_batch(rows, masked)
        if self.with_noise:
            draws = RowDraws(self.seed, epoch, indices)
            batch["replacement_noise"] = draws.of_each("replacement", rows.input_ids.shape[1])
        return batch

    def _plan(self, epoch: int) -> Plan:
        return self.cutting.plan(self.split, self.vocabulary, seed=self.seed, epoch=epoch)

    def _order(self, epoch: int, batch_size: int, first: int) -> Ints:
        """The order of an epoch, of which `first` examples complete the batch that ran on into it."""
        plan = self.plan(epoch)
        order = permutation(Key(self.seed, epoch, "order"), len(plan))
        if plan.lengths is None:
            return order
        return _grouped(order, plan.lengths, batch_size, first, Key(self.seed, epoch, "order.batches"))


def _grouped(order: Ints, lengths: Ints, batch_size: int, first: int, key: Key) -> Ints:
    """Put rows of like length into the same batch, and the batches into a random order.

    What is left over at both ends of the epoch, less than a batch each, stays as it is drawn.

    Args:
        order: (N,) a permutation of the rows.
        lengths: (N,) tokens of each row.
        first: where in the order the first whole batch begins, < batch_size.
    """
    num_batches = max(0, len(order) - first) // batch_size
    whole = order[first : first + num_batches * batch_size]
    window = np.arange(len(whole)) // (_WINDOW * batch_size)
    batches = whole[np.lexsort((lengths[whole], window))].reshape(num_batches, batch_size)
    batches = batches[permutation(key, num_batches)]
    return np.concatenate([order[:first], batches.ravel(), order[first + len(whole) :]])


def in_order(
    examples: Examples, *, epoch: int, rank: int, world_size: int, micro_batch_size: int, indices: Ints | None = None
) -> Iterator[Batch]:
    """Every example of an epoch once, by index, or those of these numbers: this process's share in micro-batches."""
    indices = np.arange(len(examples.plan(epoch))) if indices is None else indices
    selection = Selection(np.full(len(indices), epoch), indices)
    for part in selection.share(rank, world_size).cut(micro_batch_size):
        yield trimmed(examples.batch(part))


def trimmed(batch: Batch) -> Batch:
    """The batch without the columns that are padding in every row (up to a multiple of 8)."""
    longest = int(batch["attention_mask"].sum(dim=1).max())
    width = min(batch["input_ids"].shape[1], -(-longest // _COLUMN_STEP) * _COLUMN_STEP)
    return {name: value[:, :width] if value.ndim >= 2 else value for name, value in batch.items()}


def num_tokens(batch: Batch) -> int:
    """Tokens that are not padding, special ones included."""
    return int(batch["attention_mask"].sum())


def _as_batch(rows: Rows, masked: Masked) -> dict[str, np.ndarray]:
    batch: dict[str, np.ndarray] = {
        "input_ids": masked.input_ids,
        "attention_mask": rows.attention_mask,
        "token_type_ids": rows.token_type_ids,
        "labels": masked.labels,
    }
    if masked.label_weights is not None:
        batch["label_weights"] = masked.label_weights
    if masked.mlm_probability is not None:
        batch["mlm_probability"] = masked.mlm_probability
    if rows.position_ids is not None:
        batch["position_ids"] = rows.position_ids
    if rows.next_sentence_label is not None:
        batch["next_sentence_label"] = rows.next_sentence_label
    if rows.sentence_order_label is not None:
        batch["sentence_order_label"] = rows.sentence_order_label
    return batch
