"""Laws of sentence order: half of the rows exchanged, all of the text there, and nothing but the text tells which."""

# L tokens per row

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from objectives.cutting.pair_plan import PairPlan
from objectives.cutting.sentence_order import EXCHANGED, IN_ORDER, SentenceOrder
from objectives.rows import ExamplesError
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]
WildDocuments = st.SearchStrategy[list[list[list[int]]]]

CORPORA: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {
    "sentences": (500, {"sentences": (5, 60), "words": (3, 30)}),
    "short documents": (6000, {"sentences": (1, 4), "words": (2, 12)}),
    "one sentence per document": (6000, {"sentences": (1, 1), "words": (4, 40)}),
    "one paragraph per line": (200, {"sentences": (5, 20), "words": (80, 400)}),
    "a single document": (1, {"sentences": (9000, 9000), "words": (3, 30)}),
}
every_corpus = pytest.mark.parametrize("corpus", CORPORA)


@pytest.fixture(scope="module")
def splits(make_corpus: MakeSplit) -> dict[str, TokenSplit]:
    return {name: make_corpus(num_documents, **shape) for name, (num_documents, shape) in CORPORA.items()}


def _in_corpus_order(plan: PairPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds of the chunks (start, middle, end), whatever stands first in the row."""
    is_exchanged = plan.sentence_order_label == EXCHANGED
    start, middle = np.where(is_exchanged, (plan.b_start, plan.a_start), (plan.a_start, plan.b_start))
    before = np.where(is_exchanged, plan.b_length, plan.a_length)
    np.testing.assert_array_equal(start + before, middle)
    return start, middle, start + plan.a_length + plan.b_length


@every_corpus
@pytest.mark.parametrize("max_seq_length", [64, 128])
def test_half_of_the_rows_are_exchanged_and_every_token_is_emitted_once(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit], corpus: str, max_seq_length: int
) -> None:
    split = splits[corpus]
    plan = SentenceOrder(max_seq_length=max_seq_length).plan(split, vocabulary, seed=0, epoch=0)
    label = plan.sentence_order_label
    assert label is not None and plan.next_sentence_label is None
    assert set(label.tolist()) == {IN_ORDER, EXCHANGED}
    assert abs(int((label == EXCHANGED).sum()) - len(plan) / 2) <= 0.5
    start, _, end = _in_corpus_order(plan)
    assert (start[1:] >= end[:-1]).all()
    assert (end - start).sum() >= 0.998 * split.num_tokens  # what is left out are documents of one word
    assert plan.lengths.max() <= max_seq_length
    offsets = split.sentence_offsets[split.document_offsets]
    np.testing.assert_array_equal(np.searchsorted(offsets, start, side="right") - 1, plan.a_document)
    np.testing.assert_array_equal(np.searchsorted(offsets, end) - 1, plan.b_document)


def test_segments_are_whole_sentences_but_for_those_that_fill_a_row(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit]
) -> None:
    split = splits["sentences"]
    for epoch in range(2):
        bounds = _in_corpus_order(SentenceOrder().plan(split, vocabulary, seed=0, epoch=epoch))
        assert np.mean([np.isin(bound, split.sentence_offsets) for bound in bounds]) > 0.99


@given(data=st.data(), max_seq_length=st.sampled_from([32, 64]), seed=st.integers(0, 5))
def test_both_segments_of_any_corpus_begin_a_word_and_follow_one_another(
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    wild_documents: WildDocuments,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split = make_split(data.draw(wild_documents))
    try:
        plan = SentenceOrder(max_seq_length=max_seq_length).plan(split, vocabulary, seed=seed, epoch=0)
    except ExamplesError:
        assume(False)
    start, middle, end = _in_corpus_order(plan)
    assert ((start < middle) & (middle < end)).all()
    assert vocabulary.is_word_start[split.ids[middle]].all()
    # A word of more tokens than a bound is moved back for may be cut where it is longer than the row has room for.
    longest = np.diff(np.append(np.nonzero(vocabulary.is_word_start[split.ids])[0], split.num_tokens)).max()
    assert longest > 4 or vocabulary.is_word_start[split.ids[start]].all()
    rows = plan.rows(np.arange(len(plan)))
    np.testing.assert_array_equal(rows.sentence_order_label, plan.sentence_order_label)
    assert rows.next_sentence_label is None
    np.testing.assert_array_equal(rows.token_type_ids.sum(axis=1), plan.b_length + 1)


@every_corpus
def test_lengths_do_not_tell_the_label(vocabulary: Vocabulary, make_corpus: MakeSplit, corpus: str) -> None:
    """Nor does what a classifier learns of one corpus help with the next of its kind."""
    num_documents, shape = CORPORA[corpus]
    parts = []
    for seed in (1, 2):
        split = make_corpus(num_documents, **shape, seed=seed)
        plans = [SentenceOrder(max_seq_length=64).plan(split, vocabulary, seed=seed, epoch=epoch) for epoch in range(3)]
        lengths = np.concatenate([np.stack([p.a_length, p.b_length, p.lengths], axis=1) for p in plans])
        parts.append((lengths, np.concatenate([p.sentence_order_label for p in plans])))
    (x, y), (other_x, other_y) = parts
    assert len(other_y) > 9_000
    model = HistGradientBoostingClassifier(max_iter=40, early_stopping=False, random_state=0).fit(x, y)
    area = roc_auc_score(other_y, model.predict_proba(other_x)[:, 1])
    assert abs(area - 0.5) <= 0.02


def test_documents_of_one_sentence_are_refused_if_they_are_not_to_be_split(
    vocabulary: Vocabulary, make_split: MakeSplit
) -> None:
    split = make_split([[[1] * 20], [[1] * 20] * 5])
    with pytest.raises(ExamplesError, match="got 1 of 2 documents with one sentence alone, expected at least two"):
        SentenceOrder(single_sentence_documents="error").plan(split, vocabulary, seed=0, epoch=0)
    assert len(SentenceOrder().plan(split, vocabulary, seed=0, epoch=0)) >= 2


def test_a_plan_says_how_many_rows_it_exchanged_and_what_it_left_out(
    vocabulary: Vocabulary, make_split: MakeSplit, caplog: pytest.LogCaptureFixture
) -> None:
    split = make_split([*([[[3]]] * 2), *([[[1, 1, 1], [2, 1]]] * 10)])
    caplog.set_level("INFO", logger="objectives.cutting.sentence_order")
    SentenceOrder().plan(split, vocabulary, seed=0, epoch=7)
    assert "sentence order of epoch 7: 10 examples, 50.00% exchanged; of 66 tokens 6 left out" in caplog.text
