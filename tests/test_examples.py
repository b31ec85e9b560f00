"""Laws of every cutting: an epoch is a pure function of its seed and number, and its rows are well formed."""

# B rows, L tokens per row

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from objectives.examples import EXAMPLES
from objectives.rows import NO_DOCUMENT, Cutting, ExamplesError, Plan, Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]
WithOwnIds = Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]
WildDocuments = st.SearchStrategy[list[list[list[int]]]]

CASES: dict[str, dict[str, Any]] = {
    "documents": {"name": "documents"},
    "packed": {"name": "packed"},
    "packed, full_sentences": {"name": "packed", "boundaries": "full_sentences"},
    "packed, doc_sentences": {"name": "packed", "boundaries": "doc_sentences"},
    "segments": {"name": "segments"},
    "segments, all short": {"name": "segments", "short_seq_prob": 1.0},
    "segments, all single": {"name": "segments", "one_segment_prob": 1.0},
    "segments, none short or single": {"name": "segments", "short_seq_prob": 0.0, "one_segment_prob": 0.0},
    "sentence_order": {"name": "sentence_order"},
    "sentence_pairs": {"name": "sentence_pairs"},
    "sentence_pairs, reference": {"name": "sentence_pairs", "pairing": "reference"},
    "sentence_pairs, none short": {"name": "sentence_pairs", "short_seq_prob": 0.0},
}
"""Each cutting with its defaults, and each value of its options."""
AT_SENTENCES = ("packed, full_sentences", "packed, doc_sentences", "segments, all short", "sentence_order")
"""Those whose rows end with sentences, where sentences fit into a row."""
EACH_TOKEN_ONCE = [name for name in CASES if CASES[name]["name"] not in ("sentence_pairs", "sentence_order")]
REPEATS_TOKENS = ("sentence_pairs, reference",)
"""Those that draw a random B from text that another row holds too."""

every_case = pytest.mark.parametrize("name", CASES)


def _cutting(name: str, **fields: Any) -> Cutting:
    settings = CASES[name] | fields
    return EXAMPLES[settings["name"]](**settings)  # type: ignore[return-value]


def _all_rows(plan: Plan) -> Rows:
    return plan.rows(np.arange(len(plan)))


def _arrays(rows: Rows) -> dict[str, np.ndarray]:
    return {name: value for name in Rows.__slots__ if (value := getattr(rows, name)) is not None}


def _assert_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


class _Spread:
    """Token ids that lie in several files: no array, though they can be asked for like one."""

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        assert isinstance(which, slice) or (isinstance(which, np.ndarray) and which.dtype == np.int64)
        ids: np.ndarray = self._ids[which]
        return ids

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise AssertionError("the whole of the ids is never read")


def _document_of_token(split: TokenSplit) -> np.ndarray:
    ends = split.sentence_offsets[split.document_offsets[1:]]
    return np.searchsorted(ends, np.arange(split.num_tokens), side="right")


def test_every_cutting_is_held_to_the_laws() -> None:
    assert {case["name"] for case in CASES.values()} == set(EXAMPLES)


@every_case
@pytest.mark.parametrize("seed", [0, 1, 99])
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(
    name: str, vocabulary: Vocabulary, make_corpus: MakeSplit, seed: int
) -> None:
    split, cutting = make_corpus(60), _cutting(name, max_seq_length=64)
    plan = cutting.plan(split, vocabulary, seed=seed, epoch=4)
    cutting.plan(split, vocabulary, seed=seed, epoch=5)
    again = _cutting(name, max_seq_length=64).plan(split, vocabulary, seed=seed, epoch=4)
    assert len(plan) == len(again)
    _assert_equal(_arrays(_all_rows(plan)), _arrays(_all_rows(again)))


@every_case
@pytest.mark.parametrize("other", [{"seed": 0, "epoch": 1}, {"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 7}])
def test_another_epoch_or_seed_cuts_at_other_places(
    name: str, vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds, other: dict[str, int]
) -> None:
    split, own = with_own_ids(make_corpus(60), vocabulary)
    cutting = _cutting(name, max_seq_length=64)
    plans = [cutting.plan(split, own, seed=0, epoch=0), cutting.plan(split, own, **other)]
    first, second = (_all_rows(plan).input_ids[:, 1] for plan in plans)
    assert min(len(first), len(second)) > 300
    if name not in AT_SENTENCES:
        # A document's first token opens a row in every epoch, and one boundary in 64 falls together.
        assert np.isin(first, second).mean() < 0.25
    # Where rows end with sentences there are but two or three ends to choose from, and some have to be taken.
    ends = split.sentence_offsets[split.document_offsets]
    cuts = [[rows[(rows > start) & (rows < end)] for start, end in pairwise(ends)] for rows in (first, second)]
    of_many_rows = [pair for pair in zip(*cuts, strict=True) if len(pair[0]) >= 8]
    assert len(of_many_rows) > 20
    as_before = sum(np.array_equal(np.sort(here), np.sort(there)) for here, there in of_many_rows)
    assert as_before <= len(of_many_rows) / 6  # of the 31 lengths of a first row, two are alike now and then


@every_case
def test_rows_do_not_depend_on_how_they_are_asked_for(
    name: str, vocabulary: Vocabulary, make_corpus: MakeSplit
) -> None:
    plan = _cutting(name, max_seq_length=64).plan(make_corpus(40), vocabulary, seed=0, epoch=0)
    whole = _arrays(_all_rows(plan))
    order = np.random.default_rng(0).permutation(len(plan))
    for indices in (np.array([len(plan) - 1]), order, order[:7], np.array([3, 3, 0]), np.array([], dtype=np.int64)):
        part = _arrays(plan.rows(indices))
        _assert_equal(part, {key: value[indices] for key, value in whole.items()})


@pytest.mark.parametrize("name", EACH_TOKEN_ONCE)
@given(data=st.data(), max_seq_length=st.sampled_from([16, 17, 32, 128]), seed=st.integers(0, 5))
def test_every_token_comes_exactly_once(
    name: str,
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    with_own_ids: WithOwnIds,
    wild_documents: WildDocuments,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split, own = with_own_ids(make_split(data.draw(wild_documents)), vocabulary)
    for epoch in range(2):
        rows = _all_rows(_cutting(name, max_seq_length=max_seq_length).plan(split, own, seed=seed, epoch=epoch))
        emitted = rows.input_ids[rows.documents != NO_DOCUMENT]
        np.testing.assert_array_equal(np.sort(emitted), np.arange(split.num_tokens))


@pytest.mark.parametrize("name", EACH_TOKEN_ONCE)
def test_an_empty_split_is_refused(name: str, vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    with pytest.raises(ExamplesError, match=r"has no token.*expected at least one sentence\. Check corpus\.files"):
        _cutting(name, max_seq_length=32).plan(make_split([]), vocabulary, seed=0, epoch=0)


@pytest.mark.parametrize("name", EACH_TOKEN_ONCE)
@pytest.mark.parametrize("num_tokens", [1, 2, 29, 30, 31, 60, 500])
def test_a_single_document_of_a_single_sentence_is_cut(
    name: str, vocabulary: Vocabulary, make_split: MakeSplit, with_own_ids: WithOwnIds, num_tokens: int
) -> None:
    split, own = with_own_ids(make_split([[[1] * num_tokens]]), vocabulary)
    for epoch in range(10):
        rows = _all_rows(_cutting(name, max_seq_length=32).plan(split, own, seed=0, epoch=epoch))
        np.testing.assert_array_equal(rows.input_ids[rows.documents != NO_DOCUMENT], np.arange(num_tokens))


@pytest.mark.parametrize("name", ["sentence_pairs", "sentence_pairs, none short"])
def test_a_single_document_has_no_random_b(name: str, vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    with pytest.raises(ExamplesError, match=r"got 1 document"):
        _cutting(name, max_seq_length=32).plan(make_split([[[1] * 20, [1] * 20]]), vocabulary, seed=0, epoch=0)


@every_case
def test_a_plan_needs_of_the_ids_only_their_length_slices_and_indexing_by_arrays(
    name: str, vocabulary: Vocabulary, make_corpus: MakeSplit
) -> None:
    split = make_corpus(30, sentences=(3, 12), words=(3, 60))
    spread = dataclasses.replace(split, ids=_Spread(split.ids))  # type: ignore[arg-type]
    plans = [_cutting(name, max_seq_length=32).plan(s, vocabulary, seed=0, epoch=0) for s in (split, spread)]
    _assert_equal(*(_arrays(_all_rows(plan)) for plan in plans))


@every_case
def test_lengths_are_those_of_the_rows(name: str, vocabulary: Vocabulary, make_corpus: MakeSplit) -> None:
    plan = _cutting(name, max_seq_length=64).plan(make_corpus(40), vocabulary, seed=0, epoch=0)
    rows = _all_rows(plan)
    assert (plan.lengths is None) == (rows.position_ids is not None)
    if plan.lengths is not None:
        np.testing.assert_array_equal(plan.lengths, rows.attention_mask.sum(axis=1))


@every_case
@given(data=st.data(), max_seq_length=st.sampled_from([32, 33, 64, 128]), seed=st.integers(0, 5))
def test_rows_of_any_corpus_are_well_formed(
    name: str,
    vocabulary: Vocabulary,
    make_split: MakeSplit,
    with_own_ids: WithOwnIds,
    wild_documents: WildDocuments,
    data: st.DataObject,
    max_seq_length: int,
    seed: int,
) -> None:
    split, own = with_own_ids(make_split(data.draw(wild_documents)), vocabulary)
    try:
        plan = _cutting(name, max_seq_length=max_seq_length).plan(split, own, seed=seed, epoch=0)
    except ExamplesError:
        assume(False)
    rows = _all_rows(plan)
    ids = rows.input_ids
    for key, value in _arrays(rows).items():
        assert value.dtype == np.int64, key
        assert value.shape == ((len(plan),) if key.endswith("_label") else (len(plan), max_seq_length)), key

    num_used = rows.attention_mask.sum(axis=1)
    is_used = np.arange(max_seq_length) < num_used[:, None]
    np.testing.assert_array_equal(rows.attention_mask, is_used)
    np.testing.assert_array_equal(ids == own.pad_id, ~is_used)
    assert (rows.token_type_ids[~is_used] == 0).all()

    assert (ids[:, 0] == own.cls_id).all()
    assert (ids[np.arange(len(plan)), num_used - 1] == own.sep_id).all()
    assert not np.isin(ids, [own.mask_id, own.unk_id]).any()
    is_special = own.is_special[ids]
    assert not (is_special[:, 1:] & is_special[:, :-1] & (ids[:, :-1] == own.cls_id)).any()
    assert (~is_special).any(axis=1).all()

    np.testing.assert_array_equal(rows.documents == NO_DOCUMENT, is_special)
    np.testing.assert_array_equal(rows.documents[~is_special], _document_of_token(split)[ids[~is_special]])
    emitted = ids[~is_special]
    if name not in REPEATS_TOKENS:
        assert len(np.unique(emitted)) == len(emitted)

    # Between special tokens the text runs on as it stands in the corpus.
    is_inner = ~is_special[:, 1:] & ~is_special[:, :-1]
    assert (np.diff(ids, axis=1)[is_inner] == 1).all()
