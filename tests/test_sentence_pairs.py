"""Laws of sentence pairs: half of them random on any corpus, honestly so, and nothing but the text tells which."""

# L tokens per row

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from objectives.cutting.pair_plan import PairPlan
from objectives.cutting.sentence_pairs import NEXT, RANDOM, SentencePairs
from objectives.rows import NO_DOCUMENT, ExamplesError, Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]
WithOwnIds = Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]
WildDocuments = st.SearchStrategy[list[list[list[int]]]]

CORPORA: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {
    "sentences": (500, {"sentences": (5, 60), "words": (3, 30)}),
    "short documents": (6000, {"sentences": (1, 4), "words": (2, 12)}),
    "one sentence per document": (9000, {"sentences": (1, 1), "words": (4, 40)}),
    "one paragraph per line": (200, {"sentences": (5, 20), "words": (80, 400)}),
    "one long line per document": (60, {"sentences": (1, 1), "words": (2000, 5000)}),
    "documents of very different length": (300, {"sentences": (1, 400), "words": (1, 20)}),
}
every_corpus = pytest.mark.parametrize("corpus", CORPORA)


def _all_rows(plan: PairPlan) -> Rows:
    return plan.rows(np.arange(len(plan)))


def _segments(rows: Rows, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the first and the last [SEP]."""
    is_sep = rows.input_ids == vocabulary.sep_id
    assert (is_sep.sum(axis=1) == 2).all()
    return np.argmax(is_sep, axis=1), is_sep.shape[1] - 1 - np.argmax(is_sep[:, ::-1], axis=1)


@pytest.fixture(scope="module")
def splits(make_corpus: MakeSplit) -> dict[str, TokenSplit]:
    return {name: make_corpus(num_documents, **shape) for name, (num_documents, shape) in CORPORA.items()}


# A, B and the label --------------------------------------------------------------------------------------------------


@every_corpus
@pytest.mark.parametrize("max_seq_length", [64, 128])
def test_half_of_the_pairs_are_random_and_of_another_document(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit], with_own_ids: WithOwnIds, corpus: str, max_seq_length: int
) -> None:
    split, own = with_own_ids(splits[corpus], vocabulary)
    for epoch in range(2):
        rows = _all_rows(SentencePairs(max_seq_length=max_seq_length).plan(split, own, seed=0, epoch=epoch))
        label = rows.next_sentence_label
        assert label is not None
        assert 0.49 <= (label == RANDOM).mean() <= 0.51
        assert set(label.tolist()) == {NEXT, RANDOM}
        first_sep, _ = _segments(rows, own)
        row = np.arange(len(label))
        last_of_a, first_of_b = first_sep - 1, first_sep + 1
        same_document = rows.documents[row, last_of_a] == rows.documents[row, first_of_b]
        np.testing.assert_array_equal(same_document, label == NEXT)
        follows = rows.input_ids[row, last_of_a] + 1 == rows.input_ids[row, first_of_b]
        assert follows[label == NEXT].all()
        # A document's first words may by chance follow the last ones of the document before it.
        assert follows[label == RANDOM].mean() < 0.05


@every_corpus
def test_a_and_b_each_begin_with_a_word(vocabulary: Vocabulary, splits: dict[str, TokenSplit], corpus: str) -> None:
    rows = _all_rows(SentencePairs(max_seq_length=64).plan(splits[corpus], vocabulary, seed=0, epoch=0))
    first_sep, _ = _segments(rows, vocabulary)
    assert vocabulary.is_word_start[rows.input_ids[:, 1]].all()
    assert vocabulary.is_word_start[rows.input_ids[np.arange(len(first_sep)), first_sep + 1]].all()


@every_corpus
def test_words_may_begin_behind_a_token_that_ends_one(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit], with_own_ids: WithOwnIds, corpus: str
) -> None:
    """As in byte-level BPE, where the token after a bracket begins a word without a mark of its own."""
    split, own = with_own_ids(splits[corpus], vocabulary)
    is_word_end = np.random.default_rng(0).random(own.size) < 0.1
    own = dataclasses.replace(own, is_word_start=own.is_word_start & ~np.roll(is_word_end, 1), is_word_end=is_word_end)
    rows = _all_rows(SentencePairs(max_seq_length=64).plan(_by_arrays_alone(split), own, seed=0, epoch=0))  # type: ignore[arg-type]
    first_sep, _ = _segments(rows, own)
    first_of_b = rows.input_ids[np.arange(len(first_sep)), first_sep + 1]
    begins = own.begins_word(first_of_b - 1, first_of_b) | np.isin(first_of_b, split.sentence_offsets)
    assert begins.all()
    assert (~own.is_word_start[first_of_b]).sum() > 20, "some words begin without a mark"


class _Ids:
    """What a store that is spread over files promises of its ids: a length, slices and arrays of places."""

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        assert isinstance(places, slice) or (isinstance(places, np.ndarray) and places.ndim == 1), places
        assert isinstance(places, slice) or not len(places) or places.min() >= 0
        return self._ids[places]


def _by_arrays_alone(split: TokenSplit) -> TokenSplit:
    return dataclasses.replace(split, ids=_Ids(split.ids))  # type: ignore[arg-type]


def test_b_begins_with_a_sentence_where_a_chunk_holds_the_start_of_one(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit], with_own_ids: WithOwnIds
) -> None:
    split, own = with_own_ids(splits["sentences"], vocabulary)
    rows = _all_rows(SentencePairs(max_seq_length=128).plan(split, own, seed=0, epoch=0))
    first_sep, _ = _segments(rows, own)
    is_sentence = np.isin(np.arange(split.num_tokens), split.sentence_offsets)
    num_checked = 0
    for ids, sep, used in zip(
        rows.input_ids[rows.next_sentence_label == NEXT],
        first_sep[rows.next_sentence_label == NEXT],
        rows.attention_mask[rows.next_sentence_label == NEXT].sum(axis=1),
        strict=True,
    ):
        chunk = np.append(ids[1:sep], ids[sep + 1 : used - 1])
        if is_sentence[chunk[1:]].any():
            assert is_sentence[ids[sep + 1]]
            num_checked += 1
    assert num_checked > 1000


@given(data=st.data(), max_seq_length=st.sampled_from([32, 64, 128]), seed=st.integers(0, 5))
def test_pairs_of_any_corpus_are_cls_a_sep_b_sep_with_the_token_types_of_bert(
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    wild_documents: WildDocuments,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split = make_split(data.draw(wild_documents))
    try:
        plan = SentencePairs(max_seq_length=max_seq_length).plan(split, vocabulary, seed=seed, epoch=0)
    except ExamplesError:
        assume(False)
    rows = _all_rows(plan)
    first_sep, last_sep = _segments(rows, vocabulary)
    columns = np.arange(max_seq_length)
    is_b = (columns > first_sep[:, None]) & (columns <= last_sep[:, None])
    np.testing.assert_array_equal(rows.token_type_ids, is_b)
    np.testing.assert_array_equal(last_sep + 1, rows.attention_mask.sum(axis=1))
    assert (first_sep >= 2).all()
    assert (last_sep >= first_sep + 2).all()
    assert rows.position_ids is None
    row, label = np.arange(len(plan)), rows.next_sentence_label
    assert label is not None
    assert vocabulary.is_word_start[rows.input_ids[row, first_sep + 1]].all()
    of_a, of_b = rows.documents[row, first_sep - 1], rows.documents[row, first_sep + 1]
    np.testing.assert_array_equal(of_a == of_b, label == NEXT)
    assert abs(int((label == RANDOM).sum()) - len(plan) / 2) <= max(1, 0.05 * len(plan))
    for origin, end in zip(rows.documents, last_sep, strict=True):
        assert len({*origin[1:end].tolist()} - {NO_DOCUMENT}) <= 2


# What is emitted -----------------------------------------------------------------------------------------------------


@every_corpus
@pytest.mark.parametrize("max_seq_length", [64, 128])
def test_every_token_is_emitted_once_but_for_half_a_percent(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit], with_own_ids: WithOwnIds, corpus: str, max_seq_length: int
) -> None:
    split, own = with_own_ids(splits[corpus], vocabulary)
    rows = _all_rows(SentencePairs(max_seq_length=max_seq_length).plan(split, own, seed=0, epoch=0))
    counts = np.bincount(rows.input_ids[rows.documents != NO_DOCUMENT], minlength=split.num_tokens)
    assert counts.max() == 1
    assert (counts == 0).mean() <= 0.005


def test_chunks_of_a_single_word_are_left_out_and_counted(
    vocabulary: Vocabulary, make_split: MakeSplit, caplog: pytest.LogCaptureFixture
) -> None:
    split = make_split([*([[[1]]] * 20), *([[[1, 1, 1], [2, 1]]] * 30), [[9]]])
    caplog.set_level("INFO", logger="objectives.cutting.balanced_pairs")
    plan = SentencePairs(max_seq_length=32).plan(split, vocabulary, seed=0, epoch=0)
    rows = _all_rows(plan)
    assert (rows.documents != NO_DOCUMENT).sum() == 30 * 6
    assert set(rows.documents[rows.documents != NO_DOCUMENT].tolist()) == set(range(20, 50))
    assert (
        "sentence pairs of epoch 0: 30 examples, 53.33% random; of 209 tokens 0 truncated, 29 left out in chunks of a "
        "single word" in caplog.text
    )


@pytest.mark.parametrize("short_seq_prob", [0.0, 0.1, 0.5])
def test_the_share_of_shortened_chunks_is_the_one_asked_for(
    vocabulary: Vocabulary, make_corpus: MakeSplit, short_seq_prob: float
) -> None:
    split = make_corpus(100, sentences=(300, 300))
    cutting = SentencePairs(max_seq_length=128, short_seq_prob=short_seq_prob)
    rows = _all_rows(cutting.plan(split, vocabulary, seed=0, epoch=0))
    num_ordinary = rows.attention_mask.sum(axis=1) - 3
    of_a_document = 2 / (len(num_ordinary) / 100)  # its first and last chunk are short for another reason
    trials = len(num_ordinary)
    expected = short_seq_prob * (1 - of_a_document) + of_a_document
    is_short = (num_ordinary < 128 - 3 - 2 * 3).mean()
    assert abs(is_short - expected) < 5 * np.sqrt(expected * (1 - expected) / trials) + 0.05 * short_seq_prob


# Lengths -------------------------------------------------------------------------------------------------------------


def _lengths(plans: list[PairPlan]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of A, B and row of each example, and its label."""
    a_length, b_length, label = (
        np.concatenate([getattr(plan, name) for plan in plans])
        for name in ("a_length", "b_length", "next_sentence_label")
    )
    return np.stack([a_length, b_length, a_length + b_length], axis=1), label


def _held_out_auc(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    model = HistGradientBoostingClassifier(max_iter=40, early_stopping=False, random_state=0).fit(*train)
    return float(roc_auc_score(test[1], model.predict_proba(test[0])[:, 1]))


@every_corpus
def test_lengths_do_not_tell_the_label(vocabulary: Vocabulary, splits: dict[str, TokenSplit], corpus: str) -> None:
    cutting = SentencePairs(max_seq_length=64)
    plans = [cutting.plan(splits[corpus], vocabulary, seed=0, epoch=epoch) for epoch in range(6)]
    train, test = _lengths(plans[:3]), _lengths(plans[3:])
    assert len(test[1]) > 10_000  # so that 0.02 is more than three standard errors of the area
    assert abs(_held_out_auc(train, test) - 0.5) <= 0.02


@pytest.mark.parametrize(
    ("max_seq_length", "num_documents", "num_epochs", "bound"),
    [(128, 160, 20, 0.02), (512, 1600, 6, 0.02), (128, 40, 64, 0.02)],
    ids=["128", "512", "few chunks"],
)
def test_lengths_of_longer_rows_do_not_tell_the_label(
    vocabulary: Vocabulary,
    make_corpus: MakeSplit,
    max_seq_length: int,
    num_documents: int,
    num_epochs: int,
    bound: float,
) -> None:
    split, cutting = make_corpus(num_documents), SentencePairs(max_seq_length=max_seq_length)
    plans = [cutting.plan(split, vocabulary, seed=0, epoch=epoch) for epoch in range(num_epochs)]
    train, test = _lengths(plans[: num_epochs // 2]), _lengths(plans[num_epochs // 2 :])
    assert len(test[1]) > 9_000
    assert abs(_held_out_auc(train, test) - 0.5) <= bound


@pytest.mark.parametrize(
    "shape", [{"num_documents": 500}, {"num_documents": 3000, "sentences": (1, 4), "words": (5, 60)}]
)
def test_how_segments_begin_and_end_does_not_tell_the_label(
    vocabulary: Vocabulary, make_corpus: MakeSplit, shape: dict[str, Any]
) -> None:
    """A row that is short, but whose B ends inside a sentence, would be random for sure if any B stood in it."""
    split = make_corpus(**shape)
    parts: tuple[list[tuple[np.ndarray, np.ndarray]], ...] = ([], [])
    for epoch in range(6):
        plan = SentencePairs(max_seq_length=64).plan(split, vocabulary, seed=0, epoch=epoch)
        bounds = (plan.a_start + plan.a_length, plan.b_start, plan.b_start + plan.b_length)
        marks = [np.isin(bound, split.sentence_offsets) for bound in bounds]
        assert 0.05 < marks[2].mean() < 0.95
        lengths, label = _lengths([plan])
        parts[epoch % 2].append((np.stack([*lengths.T, *marks], axis=1), label))
    train, test = ((np.concatenate([x for x, _ in part]), np.concatenate([y for _, y in part])) for part in parts)
    assert len(test[1]) > 10_000
    assert abs(_held_out_auc(train, test) - 0.5) <= 0.02


def test_random_bs_come_from_anywhere_in_the_corpus(vocabulary: Vocabulary, splits: dict[str, TokenSplit]) -> None:
    plan = SentencePairs(max_seq_length=64).plan(splits["sentences"], vocabulary, seed=0, epoch=0)
    is_random = plan.next_sentence_label == RANDOM
    distance = (plan.b_document - plan.a_document)[is_random] / 500
    # Uniform numbers are a third apart in the mean; half of the corpus apart, as neighbours in a sorted list, never.
    assert abs(np.abs(distance).mean() - 1 / 3) < 0.02
    assert abs(np.corrcoef(plan.a_document[is_random], plan.b_document[is_random])[0, 1]) < 0.05


def test_the_classifier_does_see_lengths_that_tell_the_label(
    vocabulary: Vocabulary, splits: dict[str, TokenSplit]
) -> None:
    cutting = SentencePairs(max_seq_length=64)
    (train, label), (test, test_label) = (
        _lengths([cutting.plan(splits["sentences"], vocabulary, seed=0, epoch=epoch)]) for epoch in range(2)
    )
    for lengths, random in ((train, label == RANDOM), (test, test_label == RANDOM)):
        lengths[random, 1] = np.random.default_rng(0).permutation(lengths[random, 1])
        lengths[:, 2] = lengths[:, 0] + lengths[:, 1]
    assert _held_out_auc((train, label), (test, test_label)) > 0.6


# Corpora of which no honest pairs can be made ------------------------------------------------------------------------


def test_a_single_document_is_refused(vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    split = make_split([[[1] * 20] * 50])
    with pytest.raises(
        ExamplesError,
        match=r"got 1 document .*expected at least 2: a random B must come.*blank line.*examples\.name: packed",
    ):
        SentencePairs().plan(split, vocabulary, seed=0, epoch=0)


def test_documents_of_one_sentence_are_refused_if_they_are_not_to_be_split(
    vocabulary: Vocabulary, make_split: MakeSplit
) -> None:
    split = make_split([*([[[1] * 20]] * 1312), *([[[1] * 20] * 5] * 40)])
    for pairing in ("balanced", "reference"):
        cutting = SentencePairs(single_sentence_documents="error", pairing=pairing)
        with pytest.raises(
            ExamplesError,
            match=r"got 1,312 of 1,352 documents with one sentence alone, expected at least two in each.*Set "
            r"examples\.single_sentence_documents: split.*examples\.name: packed",
        ):
            cutting.plan(split, vocabulary, seed=0, epoch=0)
    several = make_split([[[1] * 20] * 5] * 40)
    one, other = (
        SentencePairs(single_sentence_documents=choice).plan(several, vocabulary, seed=0, epoch=0)
        for choice in ("error", "split")
    )
    np.testing.assert_array_equal(one.a_start, other.a_start)


def test_one_document_that_outweighs_the_others_is_refused(vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    split = make_split([[[1] * 20] * 2000, *([[[1] * 20] * 5] * 40)])
    with pytest.raises(
        ExamplesError,
        match=r"got one document .*only \d+% of the pairs .*expected 50%\. Split that document.*examples\.name: packed",
    ):
        SentencePairs().plan(split, vocabulary, seed=0, epoch=0)


def test_documents_of_a_single_word_are_refused(vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    split = make_split([[[3]]] * 100)
    with pytest.raises(
        ExamplesError, match=r"got no document of two words.*expected at least two sentences.*Check corpus\.files"
    ):
        SentencePairs().plan(split, vocabulary, seed=0, epoch=0)


@pytest.mark.parametrize("num_documents", range(2, 16))
def test_a_handful_of_short_documents_is_enough(
    vocabulary: Vocabulary, make_split: MakeSplit, num_documents: int
) -> None:
    split = make_split([[[1] * 5, [1] * 6]] * num_documents)
    plan = SentencePairs().plan(split, vocabulary, seed=0, epoch=0)
    assert len(plan) >= num_documents
    num_random = int((plan.next_sentence_label == RANDOM).sum())
    assert num_random >= 2
    assert abs(num_random - len(plan) / 2) <= 1


def test_a_document_that_holds_half_of_the_text_is_warned_of(
    vocabulary: Vocabulary, make_split: Callable[..., TokenSplit], caplog: pytest.LogCaptureFixture
) -> None:
    small = [[[1] * 12 for _ in range(20)] for _ in range(100)]
    for big, warned in ((0, False), (2500, True)):
        caplog.clear()
        split = make_split([*small, [[1] * 12 for _ in range(20 + big)]])
        SentencePairs(max_seq_length=64).plan(split, vocabulary, seed=0, epoch=0)
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert any("can exchange their Bs unnoticed" in message for message in told) == warned
