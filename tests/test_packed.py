"""Laws of packed rows: every token once, documents apart, hardly any padding."""

# L tokens per row

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.packed import Packed, PackedPlan
from objectives.rows import NO_DOCUMENT, ExamplesError, Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]
WithOwnIds = Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]
WildDocuments = st.SearchStrategy[list[list[list[int]]]]


def _all_rows(plan: PackedPlan) -> Rows:
    return plan.rows(np.arange(len(plan)))


def _emitted(rows: Rows) -> np.ndarray:
    """The ordinary tokens of the rows, one after another."""
    ids: np.ndarray = rows.input_ids[rows.documents != NO_DOCUMENT]
    return ids


@given(data=st.data(), max_seq_length=st.sampled_from([16, 17, 32, 128]), seed=st.integers(0, 5))
def test_every_token_is_packed_exactly_once(
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    with_own_ids: WithOwnIds,
    wild_documents: WildDocuments,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split, own = with_own_ids(make_split(data.draw(wild_documents)), vocabulary)
    for epoch in range(3):
        plan = Packed(max_seq_length=max_seq_length).plan(split, own, seed=seed, epoch=epoch)
        np.testing.assert_array_equal(np.sort(_emitted(_all_rows(plan))), np.arange(split.num_tokens))


@given(data=st.data(), seed=st.integers(0, 5))
def test_each_piece_is_one_document_in_cls_and_sep_with_positions_from_zero(
    vocabulary: Vocabulary, make_split: MakeSplit, wild_documents: WildDocuments, data: st.DataObject, seed: int
) -> None:
    rows = _all_rows(
        Packed(max_seq_length=32).plan(make_split(data.draw(wild_documents)), vocabulary, seed=seed, epoch=0)
    )
    assert rows.position_ids is not None
    assert rows.next_sentence_label is None
    assert not rows.token_type_ids.any()
    for ids, positions, origin, used in zip(
        rows.input_ids, rows.position_ids, rows.documents, rows.attention_mask.sum(axis=1), strict=True
    ):
        starts = np.nonzero(ids == vocabulary.cls_id)[0]
        assert starts[0] == 0
        for start, end in zip(starts, [*starts[1:], used], strict=True):
            assert ids[end - 1] == vocabulary.sep_id
            np.testing.assert_array_equal(positions[start:end], np.arange(end - start))
            assert len(set(origin[start + 1 : end - 1].tolist())) == 1
            assert not vocabulary.is_special[ids[start + 1 : end - 1]].any()
        assert (positions[used:] == 0).all()


@pytest.mark.parametrize("max_seq_length", [64, 128, 512])
def test_rows_of_long_documents_are_full(
    vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds, max_seq_length: int
) -> None:
    split, own = with_own_ids(make_corpus(200, sentences=(60, 120)), vocabulary)
    rows = _all_rows(Packed(max_seq_length=max_seq_length).plan(split, own, seed=0, epoch=0))
    assert rows.attention_mask.mean() >= 0.99
    assert (rows.input_ids == own.cls_id).sum() > len(rows.input_ids)  # some row holds two pieces


@pytest.mark.parametrize("max_seq_length", [64, 128])
def test_rows_of_short_documents_waste_less_than_a_shortest_piece_each(
    vocabulary: Vocabulary, make_corpus: MakeSplit, max_seq_length: int
) -> None:
    split = make_corpus(2000, sentences=(1, 3), words=(1, 9))
    rows = _all_rows(Packed(max_seq_length=max_seq_length).plan(split, vocabulary, seed=0, epoch=0))
    padding = max_seq_length - rows.attention_mask.sum(axis=1)
    assert padding[1:-1].max() < 10  # the first row is short by design, the last by chance


def test_documents_come_in_another_order_in_each_epoch(vocabulary: Vocabulary, make_corpus: MakeSplit) -> None:
    split = make_corpus(300, sentences=(1, 3))
    orders = []
    for epoch in range(3):
        documents = _all_rows(Packed(max_seq_length=64).plan(split, vocabulary, seed=0, epoch=epoch)).documents
        flat = documents[documents != NO_DOCUMENT]
        orders.append(list(dict.fromkeys(flat.tolist())))
        assert sorted(orders[-1]) == list(range(300))
    assert abs(np.corrcoef(orders[0], orders[1])[0, 1]) < 0.3
    assert orders[1] != orders[2]


def test_a_single_long_document_is_cut_at_other_places_in_each_epoch(
    vocabulary: Vocabulary, make_split: MakeSplit, with_own_ids: WithOwnIds
) -> None:
    split, own = with_own_ids(make_split([[[1] * 3000]]), vocabulary)
    openings = [
        tuple(_all_rows(Packed(max_seq_length=64).plan(split, own, seed=0, epoch=epoch)).input_ids[1:, 1].tolist())
        for epoch in range(10)
    ]
    assert len(set(openings)) >= 8


def test_an_empty_split_is_refused(vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    with pytest.raises(ExamplesError, match=r"has no token.*expected at least one sentence\. Check corpus\.files"):
        Packed(max_seq_length=32).plan(make_split([]), vocabulary, seed=0, epoch=0)


@pytest.mark.parametrize("num_tokens", [1, 29, 30, 31, 60])
def test_a_single_document_around_the_size_of_a_row_is_packed(
    vocabulary: Vocabulary, make_split: MakeSplit, with_own_ids: WithOwnIds, num_tokens: int
) -> None:
    split, own = with_own_ids(make_split([[[1] * num_tokens]]), vocabulary)
    for epoch in range(20):
        rows = _all_rows(Packed(max_seq_length=32).plan(split, own, seed=0, epoch=epoch))
        np.testing.assert_array_equal(_emitted(rows), np.arange(num_tokens))
