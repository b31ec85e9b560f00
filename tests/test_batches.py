"""Laws of the batches: every example once an epoch, the same whoever holds them, and a position that says it all."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from objectives.masking import TokenMasking
from objectives.packed import Packed
from objectives.sentence_pairs import SentencePairs
from pretrain.batches import Examples, Position, Selection, in_order, num_tokens, trimmed
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

CUTTINGS = {"packed": Packed(max_seq_length=32), "sentence_pairs": SentencePairs(max_seq_length=32)}


@pytest.fixture(params=CUTTINGS)
def examples(
    request: pytest.FixtureRequest, make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary
) -> Examples:
    split = make_corpus(12, sentences=(4, 10), words=(3, 12))
    return Examples(split, vocabulary, cutting=CUTTINGS[request.param], masking=TokenMasking(), seed=3)


def _course(examples: Examples, batch_size: int, epochs: int) -> list[Selection]:
    position, selections = Position(0, 0), []
    while position.epoch < epochs:
        selection, position = examples.select(position, batch_size)
        selections.append(selection)
    return selections


@pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
def test_every_example_comes_once_an_epoch_and_every_batch_is_full(examples: Examples, batch_size: int) -> None:
    selections = _course(examples, batch_size, 3)
    assert {len(selection.indices) for selection in selections} == {batch_size}
    pairs = [pair for s in selections for pair in zip(s.epochs.tolist(), s.indices.tolist(), strict=True)]
    assert [epoch for epoch, _ in pairs] == sorted(epoch for epoch, _ in pairs)
    for epoch in range(3):
        assert sorted(i for e, i in pairs if e == epoch) == list(range(len(examples.plan(epoch))))


def test_the_order_does_not_depend_on_the_batch_size_and_differs_from_epoch_to_epoch(examples: Examples) -> None:
    courses = [np.concatenate([s.indices for s in _course(examples, size, 2)]) for size in (1, 7)]
    count = len(courses[0])
    assert np.array_equal(courses[0], courses[1][:count])
    few = min(len(examples.plan(0)), len(examples.plan(1)))
    assert not np.array_equal(courses[0][:few], courses[0][len(examples.plan(0)) :][:few])


def test_a_position_is_all_that_is_needed_to_go_on(
    examples: Examples, make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary
) -> None:
    position = Position(0, 0)
    for _ in range(9):
        _, position = examples.select(position, 11)
    again = Examples(examples.split, vocabulary, cutting=examples.cutting, masking=TokenMasking(), seed=3)
    for here, there in zip(examples.select(position, 11)[0:1], again.select(position, 11)[0:1], strict=True):
        first, second = examples.batch(here), again.batch(there)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("micro_batch_size", [1, 4, 100])
def test_shares_and_parts_put_together_are_the_batch(
    examples: Examples, world_size: int, micro_batch_size: int
) -> None:
    start = Position(0, len(examples.plan(0)) - 5)  # the batch runs on across the end of the epoch
    selection, behind = examples.select(start, 13)
    assert behind == Position(1, 8)
    shares = [selection.share(rank, world_size) for rank in range(world_size)]
    sizes = [len(share.indices) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    parts = [part for share in shares for part in share.cut(micro_batch_size)]
    assert max(len(part.indices) for part in parts) <= micro_batch_size
    whole, cut = examples.batch(selection), [examples.batch(part) for part in parts]
    assert all(torch.equal(torch.cat([batch[name] for batch in cut]), whole[name]) for name in whole)


def test_another_seed_gives_another_order_and_other_masks(examples: Examples, vocabulary: Vocabulary) -> None:
    other = Examples(examples.split, vocabulary, cutting=examples.cutting, masking=TokenMasking(), seed=4)
    assert not np.array_equal(examples.order(0)[:20], other.order(0)[:20])


def test_trimming_takes_away_padding_only_and_leaves_a_multiple_of_eight(examples: Examples) -> None:
    for i in range(len(examples.plan(0))):
        batch = examples.batch(Selection(np.array([0]), np.array([i])))
        short = trimmed(batch)
        width = short["input_ids"].shape[1]
        assert width % 8 == 0 and num_tokens(short) == num_tokens(batch)
        assert width - num_tokens(batch) < 8
        assert (short["labels"] != -100).sum() == (batch["labels"] != -100).sum()
        assert {value.shape[1] for value in short.values() if value.ndim == 2} == {width}


@pytest.mark.parametrize("world_size", [1, 3])
def test_in_order_gives_every_example_of_an_epoch_once(examples: Examples, world_size: int) -> None:
    batches = [
        batch
        for rank in range(world_size)
        for batch in in_order(examples, epoch=2, rank=rank, world_size=world_size, micro_batch_size=6)
    ]
    count = len(examples.plan(2))
    whole = examples.batch(Selection(np.full(count, 2), np.arange(count)))
    assert sum(len(batch["input_ids"]) for batch in batches) == count
    assert sum(num_tokens(batch) for batch in batches) == num_tokens(whole)
    labels = torch.cat([batch["labels"][batch["labels"] != -100] for batch in batches])
    assert torch.equal(labels, whole["labels"][whole["labels"] != -100])
