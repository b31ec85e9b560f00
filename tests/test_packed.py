"""Laws of packed rows: every token once, documents apart, hardly any padding."""

# L tokens per row

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.cutting.packed import Packed, PackedPlan
from objectives.rows import NO_DOCUMENT, Rows
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


# Sentences kept whole ------------------------------------------------------------------------------------------------

WHOLE = ("full_sentences", "doc_sentences")
whole = pytest.mark.parametrize("boundaries", WHOLE)


def _pieces(rows: Rows, vocabulary: Vocabulary) -> list[tuple[int, int, int]]:
    """(row, first token, end) of each piece, for splits with own ids."""
    found = []
    for row, ids in enumerate(rows.input_ids):
        for opening in np.flatnonzero(ids == vocabulary.cls_id):
            length = int(np.argmax(ids[opening:] == vocabulary.sep_id)) - 1
            found.append((row, int(ids[opening + 1]), int(ids[opening + 1]) + length))
    return found


@whole
@given(data=st.data(), max_seq_length=st.sampled_from([16, 32, 64]), seed=st.integers(0, 5))
def test_sentences_stay_whole_where_they_fit_and_words_where_sentences_do_not(
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    with_own_ids: WithOwnIds,
    wild_documents: WildDocuments,
    boundaries: str,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split, own = with_own_ids(make_split(data.draw(wild_documents)), vocabulary)
    plan = Packed(max_seq_length=max_seq_length, boundaries=boundaries).plan(split, own, seed=seed, epoch=0)  # type: ignore[arg-type]
    sentences, words = split.sentence_offsets, np.append(np.flatnonzero(own.is_word_start[:-5]), split.num_tokens)
    for _, start, _ in _pieces(_all_rows(plan), own):
        for bounds in (sentences, words):
            following = np.searchsorted(bounds, start, side="right")
            if bounds[following - 1] == start:
                break  # between two of them
            assert bounds[following] - bounds[following - 1] > max_seq_length - 2


@pytest.mark.parametrize("max_seq_length", [32, 128])
def test_a_document_takes_as_few_rows_as_its_sentences_allow(
    vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds, max_seq_length: int
) -> None:
    split, own = with_own_ids(make_corpus(200, sentences=(1, 60), words=(1, 7)), vocabulary)
    rows = _all_rows(
        Packed(max_seq_length=max_seq_length, boundaries="doc_sentences").plan(split, own, seed=0, epoch=0)
    )
    taken = np.bincount(rows.documents[:, 1], minlength=200)
    assert np.diff(split.sentence_offsets).max() <= max_seq_length - 2
    for document, (first, last) in enumerate(pairwise(split.document_offsets)):
        needed, free = 1, max_seq_length - 2
        for length in np.diff(split.sentence_offsets[first : last + 1]):
            if length > free:
                needed, free = needed + 1, max_seq_length - 2
            free -= length
        assert taken[document] == needed


def test_a_document_of_two_rows_of_whole_sentences_is_cut_behind_any_that_leaves_two(
    vocabulary: Vocabulary, make_split: MakeSplit, with_own_ids: WithOwnIds
) -> None:
    split, own = with_own_ids(make_split([[[1] * 10] * 10]), vocabulary)
    plans = [
        Packed(max_seq_length=64, boundaries="doc_sentences").plan(split, own, seed=0, epoch=epoch)
        for epoch in range(40)
    ]
    assert {len(plan) for plan in plans} == {2}
    assert {int(plan.length[0]) for plan in plans} == {40, 50, 60}


def test_a_row_of_doc_sentences_holds_one_document(vocabulary: Vocabulary, make_corpus: MakeSplit) -> None:
    rows = _all_rows(
        Packed(max_seq_length=64, boundaries="doc_sentences").plan(make_corpus(100), vocabulary, seed=0, epoch=0)
    )
    assert ((rows.input_ids == vocabulary.cls_id).sum(axis=1) == 1).all()
    assert rows.position_ids is None


def test_the_next_document_goes_on_in_a_row_of_full_sentences_if_its_first_sentence_fits(
    vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds
) -> None:
    split, own = with_own_ids(make_corpus(300, sentences=(1, 12)), vocabulary)
    rows = _all_rows(Packed(max_seq_length=128, boundaries="full_sentences").plan(split, own, seed=0, epoch=0))
    pieces = _pieces(rows, own)
    used = rows.attention_mask.sum(axis=1)
    starts, lengths = split.sentence_offsets[:-1], np.diff(split.sentence_offsets)
    num_checked = 0
    for (row, _, _), (following, start, _) in pairwise(pieces):
        if following > row > 0 and start in split.sentence_offsets[split.document_offsets]:
            free = 128 - used[row] - 2
            assert free < 8 or lengths[np.searchsorted(starts, start)] > free
            num_checked += 1
    assert num_checked > 20
    assert len(pieces) > len(rows.input_ids) + 100


@pytest.mark.parametrize(
    ("boundaries", "max_seq_length", "lowest"),
    [("full_sentences", 128, 0.80), ("doc_sentences", 128, 0.75), ("full_sentences", 512, 0.93)],
)
def test_a_plan_says_how_full_its_rows_are(
    vocabulary: Vocabulary,
    make_corpus: MakeSplit,
    caplog: pytest.LogCaptureFixture,
    boundaries: str,
    max_seq_length: int,
    lowest: float,
) -> None:
    with caplog.at_level("INFO", "objectives.cutting.packed"):
        plan = Packed(max_seq_length=max_seq_length, boundaries=boundaries).plan(  # type: ignore[arg-type]
            make_corpus(200), vocabulary, seed=0, epoch=0
        )
    fill = _all_rows(plan).attention_mask.mean()
    assert fill > lowest
    assert caplog.messages == [
        f"packed, {boundaries}: {len(plan)} rows of {max_seq_length}, {100 * fill:.1f}% of their places are tokens"
    ]


@whole
@pytest.mark.parametrize("words", [(3, 30), (900, 2000)])
def test_a_document_longer_than_what_is_worked_on_at_a_time_is_laid_out_in_parts(
    vocabulary: Vocabulary,
    make_corpus: MakeSplit,
    with_own_ids: WithOwnIds,
    monkeypatch: pytest.MonkeyPatch,
    boundaries: str,
    words: tuple[int, int],
) -> None:
    split, own = with_own_ids(make_corpus(6, sentences=(1, 60), words=words), vocabulary)
    cutting = Packed(max_seq_length=64, boundaries=boundaries)  # type: ignore[arg-type]
    whole = len(cutting.plan(split, own, seed=0, epoch=0))
    monkeypatch.setattr("objectives.cutting.packed.TOKENS_AT_ONCE", 500)
    rows = _all_rows(cutting.plan(split, own, seed=0, epoch=0))
    emitted = _emitted(rows)
    np.testing.assert_array_equal(np.sort(emitted), np.arange(split.num_tokens))
    assert len(rows.input_ids) <= whole + split.num_tokens / 500
    if words[1] < 62:  # parts end with sentences
        assert {start for _, start, _ in _pieces(rows, own)} <= set(split.sentence_offsets.tolist())


@pytest.mark.parametrize("boundaries", ["cut", *WHOLE])
def test_how_much_is_worked_on_at_a_time_makes_no_difference(
    vocabulary: Vocabulary, make_corpus: MakeSplit, monkeypatch: pytest.MonkeyPatch, boundaries: str
) -> None:
    split = make_corpus(40, sentences=(1, 9))
    cutting = Packed(max_seq_length=64, boundaries=boundaries)  # type: ignore[arg-type]
    plan = cutting.plan(split, vocabulary, seed=0, epoch=0)
    monkeypatch.setattr("objectives.rows.TOKENS_AT_ONCE", 300)
    again = cutting.plan(split, vocabulary, seed=0, epoch=0)
    for name in ("first_piece", "start", "length"):
        np.testing.assert_array_equal(getattr(plan, name), getattr(again, name))
