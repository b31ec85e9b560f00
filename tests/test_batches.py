"""Laws of the batches: every example once an epoch, the same whoever holds them, and a position that says it all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.cutting.documents import Documents
from objectives.cutting.packed import Packed
from objectives.cutting.segments import Segments
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.draws import Key, permutation
from objectives.masking import TokenMasking
from objectives.rows import Cutting, Ints, Rows
from pretrain.batches import Examples, Position, Selection, in_order, num_tokens, trimmed
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]

CUTTINGS: dict[str, Cutting] = {
    "packed": Packed(max_seq_length=32),
    "doc_sentences": Packed(max_seq_length=32, boundaries="doc_sentences"),
    "documents": Documents(max_seq_length=32),
    "segments": Segments(max_seq_length=32),
    "sentence_pairs": SentencePairs(max_seq_length=32),
}
OF_LIKE_LENGTH: dict[str, Cutting] = {
    "doc_sentences": Packed(max_seq_length=128, boundaries="doc_sentences"),
    "documents": Documents(max_seq_length=128),
    "segments": Segments(max_seq_length=128),
    "sentence_pairs": SentencePairs(max_seq_length=128, short_seq_prob=0.1),
}


@dataclass(frozen=True)
class _AnyLengths:
    """A cutting whose epochs have rows of the given lengths, in turn, and nothing in them."""

    epochs: Sequence[Ints]
    max_seq_length: int = 128

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> "_Lengths":
        return _Lengths(self.epochs[epoch % len(self.epochs)])


@dataclass(frozen=True)
class _Lengths:
    lengths: Ints

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, indices: Ints) -> Rows:
        raise AssertionError("no test of the order reads a row")


@pytest.fixture(params=CUTTINGS)
def examples(request: pytest.FixtureRequest, make_corpus: MakeSplit, vocabulary: Vocabulary) -> Examples:
    return _examples(CUTTINGS[request.param], make_corpus(12, sentences=(4, 10), words=(3, 12)), vocabulary)


def _examples(cutting: Cutting, split: TokenSplit, vocabulary: Vocabulary) -> Examples:
    return Examples(split, vocabulary, cutting=cutting, masking=TokenMasking(), seed=3)


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


def test_shared_rows_come_in_the_order_that_is_drawn_whatever_the_batch_size(
    make_corpus: MakeSplit, vocabulary: Vocabulary
) -> None:
    examples = _examples(CUTTINGS["packed"], make_corpus(12, sentences=(4, 10), words=(3, 12)), vocabulary)
    drawn = np.concatenate([permutation(Key(3, epoch, "order"), len(examples.plan(epoch))) for epoch in range(2)])
    for batch_size in (1, 7, 16):
        course = np.concatenate([s.indices for s in _course(examples, batch_size, 2)])
        assert np.array_equal(course[: len(drawn)], drawn)


def test_the_order_differs_from_epoch_to_epoch(examples: Examples) -> None:
    course = np.concatenate([s.indices for s in _course(examples, 7, 2)])
    few = min(len(examples.plan(0)), len(examples.plan(1)))
    assert not np.array_equal(course[:few], course[len(examples.plan(0)) :][:few])


@pytest.mark.parametrize("batch_size", [1, 11, 23, 150])
def test_a_position_is_all_that_is_needed_to_go_on(examples: Examples, vocabulary: Vocabulary, batch_size: int) -> None:
    again = _examples(examples.cutting, examples.split, vocabulary)
    position = Position(0, 0)
    for _ in range(9):
        selection, behind = examples.select(position, batch_size)
        again.order.cache_clear()  # as if the run began here
        other, _ = again.select(position, batch_size)
        assert np.array_equal(selection.epochs, other.epochs) and np.array_equal(selection.indices, other.indices)
        position = behind
    first, second = examples.batch(selection), again.batch(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    batch_size=st.integers(1, 130),
    seed=st.integers(0, 10),
)
def test_epochs_of_any_size_give_each_row_once_and_can_be_resumed_at_any_batch(
    make_split: MakeSplit, vocabulary: Vocabulary, sizes: list[int], batch_size: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    cutting = _AnyLengths([draw.integers(5, 129, size=size) for size in sizes])
    examples = _examples(cutting, make_split([[[1]]]), vocabulary)
    position, seen = Position(0, 0), []
    while position.epoch < 5:
        selection, behind = examples.select(position, batch_size)
        resumed, _ = _examples(cutting, examples.split, vocabulary).select(position, batch_size)
        assert np.array_equal(selection.indices, resumed.indices)
        seen += zip(selection.epochs.tolist(), selection.indices.tolist(), strict=True)
        position = behind
    assert [epoch for epoch, _ in seen] == sorted(epoch for epoch, _ in seen)
    for epoch in range(5):
        assert sorted(i for e, i in seen if e == epoch) == list(range(sizes[epoch % len(sizes)]))


# Batches of rows of like length --------------------------------------------------------------------------------------


def _padding(lengths: Ints) -> float:
    """Share of padding in trimmed batches of rows of these lengths (batches, rows)."""
    widths = np.minimum(128, -(-lengths.max(axis=1) // 8) * 8)
    return 1 - float(lengths.sum() / (widths.sum() * lengths.shape[1]))


@pytest.mark.parametrize("name", OF_LIKE_LENGTH)
def test_rows_of_like_length_in_a_batch_leave_at_most_a_third_of_the_padding(
    make_corpus: MakeSplit, vocabulary: Vocabulary, name: str
) -> None:
    examples = _examples(OF_LIKE_LENGTH[name], make_corpus(500), vocabulary)
    lengths = examples.plan(0).lengths
    assert lengths is not None
    batches = np.stack([s.indices for s in _course(examples, 16, 1)[:-1]])
    drawn = permutation(Key(3, 0, "order"), len(lengths))[: batches.size].reshape(batches.shape)
    assert _padding(lengths[batches]) < _padding(lengths[drawn]) / 3


@pytest.mark.parametrize("name", OF_LIKE_LENGTH)
def test_lengths_do_not_become_a_curriculum(make_corpus: MakeSplit, vocabulary: Vocabulary, name: str) -> None:
    examples = _examples(OF_LIKE_LENGTH[name], make_corpus(500), vocabulary)
    for epoch in range(2):
        lengths = examples.plan(epoch).lengths
        assert lengths is not None
        means = lengths[np.stack([s.indices for s in _course(examples, 8, epoch + 1) if (s.epochs == epoch).all()])]
        means = means.mean(axis=1)
        bound = 4 / np.sqrt(len(means))  # four standard errors of a correlation of nothing
        assert len(means) > 300
        assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < bound
        assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < bound


def test_a_batch_is_drawn_from_among_a_few_batches_of_rows(make_corpus: MakeSplit, vocabulary: Vocabulary) -> None:
    examples = _examples(OF_LIKE_LENGTH["documents"], make_corpus(300), vocabulary)
    place = np.argsort(permutation(Key(3, 0, "order"), len(examples.plan(0))))
    batches = [place[s.indices] for s in _course(examples, 8, 1)[:-1]]
    assert len(batches) > 3 * 32
    assert max(batch.max() - batch.min() for batch in batches) < 32 * 8


def test_another_batch_size_sorts_other_rows_together(make_corpus: MakeSplit, vocabulary: Vocabulary) -> None:
    examples = _examples(OF_LIKE_LENGTH["documents"], make_corpus(60), vocabulary)
    first, second = (set(examples.select(Position(0, 0), size)[0].indices.tolist()) for size in (16, 17))
    assert not first <= second


# What a batch is made of ---------------------------------------------------------------------------------------------


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
    assert not np.array_equal(*(e.select(Position(0, 0), 20)[0].indices for e in (examples, other)))


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


# Noise for objectives that draw tokens -------------------------------------------------------------------------------


@pytest.fixture(params=CUTTINGS)
def with_noise(request: pytest.FixtureRequest, make_corpus: MakeSplit, vocabulary: Vocabulary) -> Examples:
    split = make_corpus(12, sentences=(4, 10), words=(3, 12))
    return Examples(split, vocabulary, cutting=CUTTINGS[request.param], masking=TokenMasking(), seed=3, with_noise=True)


def _noise(examples: Examples, epochs: Sequence[int], indices: Sequence[int]) -> torch.Tensor:
    return examples.batch(Selection(np.array(epochs), np.array(indices)))["replacement_noise"]


def test_noise_is_uniform_in_0_to_1_and_comes_only_where_it_is_asked_for(
    with_noise: Examples, examples: Examples
) -> None:
    noise = _noise(with_noise, [0] * 8, range(8))
    assert noise.shape == (8, 32) and noise.dtype == torch.float64
    assert (noise >= 0).all() and (noise < 1).all() and len(noise.unique()) == 8 * 32
    assert abs(float(noise.mean()) - 0.5) < 4 * (1 / 12 / noise.numel()) ** 0.5
    batch = with_noise.batch(Selection(np.zeros(8, dtype=np.int64), np.arange(8)))
    assert batch.keys() - examples.batch(Selection(np.zeros(8, dtype=np.int64), np.arange(8))).keys() == {
        "replacement_noise"
    }


def test_the_noise_of_a_token_is_the_same_in_any_batch_order_and_share_of_the_run(with_noise: Examples) -> None:
    whole = _noise(with_noise, [1] * 9, range(9))
    order = [4, 0, 8, 2]
    assert torch.equal(_noise(with_noise, [1] * 4, order), whole[order])
    assert torch.equal(_noise(with_noise, [0, 1, 1], [5, 5, 7])[1:], whole[[5, 7]])  # a batch across two epochs
    selection = Selection(np.full(9, 1), np.arange(9))
    assert torch.equal(with_noise.batch(selection, share=0.9)["replacement_noise"], whole)
    cut = [trimmed(with_noise.batch(part))["replacement_noise"] for part in selection.cut(2)]
    for part, rows in zip(cut, whole.split(2), strict=True):
        assert torch.equal(part, rows[:, : part.shape[1]])


def test_noise_differs_by_epoch_seed_row_and_position_and_from_the_draws_of_the_masks(
    with_noise: Examples, vocabulary: Vocabulary
) -> None:
    other = Examples(
        with_noise.split, vocabulary, cutting=with_noise.cutting, masking=TokenMasking(), seed=4, with_noise=True
    )
    noise = torch.stack([_noise(with_noise, [0] * 8, range(8)), _noise(with_noise, [1] * 8, range(8))])
    noise = torch.cat([noise, _noise(other, [0] * 8, range(8))[None]])
    assert len(noise.unique()) == noise.numel()
    # Targets are those with the least draws: with the same draws, guesses would be of the first words alone.
    is_target = with_noise.batch(Selection(np.zeros(8, dtype=np.int64), np.arange(8)))["labels"] != -100
    assert float(noise[0][is_target].max()) > 0.6
