"""Laws of segments and of documents cut into rows: text that goes on where it stopped, as ELECTRA cuts it."""

# L tokens per row

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.cutting.documents import Documents
from objectives.cutting.segments import Segments, SegmentsPlan
from objectives.rows import Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]
WithOwnIds = Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]
WildDocuments = st.SearchStrategy[list[list[list[int]]]]


def _all_rows(plan: SegmentsPlan) -> Rows:
    return plan.rows(np.arange(len(plan)))


def _within(share: float, expected: float, num: int) -> bool:
    """Whether a share of so many draws is within five standard errors of what is expected."""
    return bool(abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / num))


@given(data=st.data(), max_seq_length=st.sampled_from([16, 33, 64]), seed=st.integers(0, 5))
def test_b_follows_a_at_once_with_the_token_types_of_bert(
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    with_own_ids: WithOwnIds,
    wild_documents: WildDocuments,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split, own = with_own_ids(make_split(data.draw(wild_documents)), vocabulary)
    rows = _all_rows(Segments(max_seq_length=max_seq_length).plan(split, own, seed=seed, epoch=0))
    assert rows.next_sentence_label is None and rows.sentence_order_label is None and rows.position_ids is None
    for ids, types, origin, used in zip(
        rows.input_ids, rows.token_type_ids, rows.documents, rows.attention_mask.sum(axis=1), strict=True
    ):
        seps = np.flatnonzero(ids == own.sep_id)
        assert len(seps) in (1, 2) and seps[-1] == used - 1
        np.testing.assert_array_equal(types, (np.arange(len(ids)) > seps[0]) & (np.arange(len(ids)) < used))
        text = ids[:used][~own.is_special[ids[:used]]]
        np.testing.assert_array_equal(text, np.arange(text[0], text[0] + len(text)))
        assert len(set(origin[origin >= 0].tolist())) == 1
        if len(seps) == 2:
            assert ids[seps[0] + 1] in split.sentence_offsets


@pytest.mark.parametrize("max_seq_length", [128, 512])
def test_a_tenth_of_the_rows_is_one_segment_and_one_in_twenty_is_short(
    vocabulary: Vocabulary, make_corpus: MakeSplit, max_seq_length: int
) -> None:
    split = make_corpus(60, sentences=(1500, 1500), words=(3, 12))
    plan = Segments(max_seq_length=max_seq_length).plan(split, vocabulary, seed=0, epoch=0)
    is_long = plan.lengths > max_seq_length / 2
    assert _within((plan.b_length == 0)[is_long].mean(), 0.1, is_long.sum())
    # Short ones aim at 5 to L; those that aim at the last sentence of a full row are not seen to be short.
    reach = np.diff(split.sentence_offsets).max()
    seen = plan.lengths < max_seq_length - reach
    first_rows = 60  # of half to full length
    share = 0.05 * (max_seq_length - 2 * reach) / max_seq_length
    assert share * 0.8 < (seen.sum() - first_rows) / len(plan) < 0.05 + first_rows / len(plan)


def test_a_takes_sentences_up_to_about_half_of_the_row(
    vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds
) -> None:
    split, own = with_own_ids(make_corpus(60, sentences=(300, 300), words=(3, 12)), vocabulary)
    plan = Segments(max_seq_length=128, short_seq_prob=0.0, one_segment_prob=0.0).plan(split, own, seed=0, epoch=0)
    full = plan.lengths == 128
    half, reach = (128 - 3) // 2, np.diff(split.sentence_offsets).max()
    a_length = plan.a_length[full]
    assert half - reach <= a_length.min() and a_length.max() < half + reach
    assert abs(a_length.mean() - half) < 2
    beyond = (a_length >= half).mean()
    assert _within(beyond, 0.5, full.sum())


@pytest.mark.parametrize("max_seq_length", [32, 128])
def test_rows_of_segments_are_full_but_for_short_first_and_last_ones(
    vocabulary: Vocabulary, make_corpus: MakeSplit, max_seq_length: int
) -> None:
    split = make_corpus(50)
    plan = Segments(max_seq_length=max_seq_length, short_seq_prob=0.0).plan(split, vocabulary, seed=0, epoch=0)
    num_tokens = plan.a_length + plan.b_length
    assert (num_tokens < max_seq_length - 3).sum() <= 2 * split.num_documents
    assert num_tokens.max() == max_seq_length - 3


@pytest.mark.parametrize("max_seq_length", [32, 128])
def test_rows_of_documents_are_full_but_for_first_and_last_ones_of_those_that_need_several(
    vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds, max_seq_length: int
) -> None:
    split, own = with_own_ids(make_corpus(300, sentences=(1, 12)), vocabulary)
    capacity = max_seq_length - 2
    rows = Documents(max_seq_length=max_seq_length).plan(split, own, seed=0, epoch=0)
    owner = np.searchsorted(rows.document_offsets[1:], rows.start, side="right")
    for document in range(split.num_documents):
        lengths = rows.length[owner == document].tolist()
        assert lengths == [sum(lengths)] if sum(lengths) <= capacity else capacity / 2 <= lengths[0] <= capacity
        assert set(lengths[1:-1]) <= {capacity}


@pytest.mark.parametrize(
    "cutting", [Documents(max_seq_length=32), Segments(max_seq_length=32)], ids=["documents", "segments"]
)
def test_how_much_is_worked_on_at_a_time_makes_no_difference(
    vocabulary: Vocabulary, make_corpus: MakeSplit, monkeypatch: pytest.MonkeyPatch, cutting: Documents | Segments
) -> None:
    split = make_corpus(40, sentences=(1, 9))
    plans = [cutting.plan(split, vocabulary, seed=0, epoch=0)]
    monkeypatch.setattr("objectives.rows.TOKENS_AT_ONCE", 300)
    plans.append(cutting.plan(split, vocabulary, seed=0, epoch=0))
    np.testing.assert_array_equal(plans[0].start, plans[1].start)
    np.testing.assert_array_equal(plans[0].lengths, plans[1].lengths)
    for first, second in zip(*(plan.rows(np.arange(len(plan))).input_ids for plan in plans), strict=True):
        np.testing.assert_array_equal(first, second)
