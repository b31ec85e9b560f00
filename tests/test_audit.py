"""Laws of pretrain.audit: a clean corpus has nothing wrong, every planted fault is found, figures are right."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from objectives.cutting.packed import Packed
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.examples import EXAMPLES
from objectives.masking import MASKINGS, NOT_A_TARGET, ElectraReferenceMasking, Masked, TokenMasking
from objectives.rows import Rows
from pretrain import audit
from pretrain.assembly import prepared_store
from pretrain.audits.figure import Figure, Lengths, Verdict, at_least, at_most, doubling
from pretrain.audits.masks import token_kinds
from pretrain.audits.overlap import NGRAM, find_overlap
from pretrain.audits.rows import LabelTally
from pretrain.recipe import Recipe
from tokenization.store import TokenSplit, TokenStore
from tokenization.vocabulary import Vocabulary

CLEAN = {
    "duplicate_documents": 0, "duplicate_lines": 0, "dropped_documents": 0, "dropped_lines": 0,
    "shared_documents": 0, "shared_lines": 0, "special_token_documents": 0,
}  # fmt: skip


def _manifest(splits: dict[str, TokenSplit], unk_id: int, skipped: dict[str, int], **survey: int) -> dict[str, Any]:
    """What preparing would have written of a corpus whose words are of one token and four bytes."""
    counts = {
        name: {
            "documents": split.num_documents,
            "sentences": split.num_sentences,
            "tokens": split.num_tokens,
            "unknown": int((split.ids[:] == unk_id).sum()),
            "words": split.num_tokens,
            "bytes": 4 * split.num_tokens,
        }
        for name, split in splits.items()
    }
    totals = {
        "documents": sum(split.num_documents for split in splits.values()),
        "lines": sum(split.num_sentences for split in splits.values()),
        "bytes": 4 * sum(split.num_tokens for split in splits.values()),
    }
    return {"fingerprint": "f", "counts": counts, "skipped": skipped, "survey": {**CLEAN, **totals, **survey}}


@pytest.fixture(scope="module")
def make_store(make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary) -> Callable[..., TokenStore]:
    """A store of drawn documents in memory, with what is to be planted in it."""
    corpus, other = make_corpus(100, seed=1), make_corpus(20, seed=2)

    def make(
        train: TokenSplit = corpus,
        held_out: TokenSplit = other,
        *,
        skipped: dict[str, int] | None = None,
        **survey: int,
    ) -> TokenStore:
        manifest = _manifest({"train": train, "held_out": held_out}, vocabulary.unk_id, skipped or {}, **survey)
        return TokenStore(path=Path("store"), manifest=manifest, train=train, held_out=held_out, vocabulary=vocabulary)

    return make


@pytest.fixture
def figures(tiny: Callable[..., Recipe], make_store: Callable[..., TokenStore]) -> Callable[..., dict[str, Figure]]:
    """The figures by name of an audit of a store, under a cutting and a masking."""

    def run(store: TokenStore | None = None, **sections: Any) -> dict[str, Figure]:
        recipe = tiny("train.steps=200").model_copy(update={"examples": SentencePairs(max_seq_length=64), **sections})
        found = [figure for section in audit.audit(recipe, store or make_store()) for figure in section.figures]
        names = [figure.name for figure in found]
        assert len(names) == len(set(names))
        return dict(zip(names, found, strict=True))

    return run


def _not_ok(figures: dict[str, Figure]) -> dict[str, Verdict]:
    return {name: figure.verdict for name, figure in figures.items() if figure.verdict is not Verdict.OK}


# What is clean -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("cutting", EXAMPLES)
def test_a_clean_corpus_has_nothing_wrong_under_any_cutting_and_masking(
    figures: Callable[..., dict[str, Figure]], cutting: str, masking: str
) -> None:
    found = figures(examples=EXAMPLES[cutting](max_seq_length=64), masking=MASKINGS[masking]())
    assert Verdict.WRONG not in _not_ok(found).values()


def test_a_clean_corpus_has_nothing_to_look_at_but_its_size(figures: Callable[..., dict[str, Figure]]) -> None:
    assert _not_ok(figures()) == {"held_out_tokens": Verdict.LOOK}


# What is planted -----------------------------------------------------------------------------------------------------

SURVEYED: dict[str, tuple[dict[str, Any], str, Verdict]] = {
    "some duplicate documents": ({"duplicate_documents": 5}, "duplicate_documents", Verdict.LOOK),
    "many duplicate documents": ({"duplicate_documents": 60}, "duplicate_documents", Verdict.WRONG),
    "boilerplate": ({"duplicate_lines": 3000}, "duplicate_lines", Verdict.WRONG),
    "a held-out document in training": ({"shared_documents": 1}, "shared_documents", Verdict.WRONG),
    "[MASK] in a text": ({"special_token_documents": 1}, "special_token_documents", Verdict.LOOK),
    "a place left out": ({"skipped": {"not UTF-8": 1}}, "skipped_places", Verdict.LOOK),
    "a corpus left out": ({"skipped": {"no text field": 90}}, "skipped_places", Verdict.WRONG),
}


@pytest.mark.parametrize("case", SURVEYED)
def test_what_preparing_counted_is_judged(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore], case: str
) -> None:
    planted, name, verdict = SURVEYED[case]
    found = figures(make_store(**planted))
    assert _not_ok(found) == {"held_out_tokens": Verdict.LOOK, name: verdict}
    assert re.search(r"\. [A-Z].*\.$", found[name].reason), "says what to do"


def test_repeats_that_were_dropped_are_no_fault(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore]
) -> None:
    survey = {"duplicate_documents": 60, "dropped_documents": 60, "shared_documents": 2}
    found = figures(make_store(**survey, duplicate_lines=3000, dropped_lines=3000))
    assert _not_ok(found) == {"held_out_tokens": Verdict.LOOK}


def test_held_out_documents_that_are_trained_on_are_found(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_corpus: Callable[..., TokenSplit],
) -> None:  # fmt: skip
    train = make_corpus(100, seed=1)
    found = figures(make_store(train, held_out=train))
    assert found["contained_documents"].value == found["touched_documents"].value == found["shared_tokens"].value == 1.0
    assert found["contained_documents"].verdict is found["shared_tokens"].verdict is Verdict.WRONG


def test_a_copy_with_small_changes_is_found_and_other_documents_are_not(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary,
) -> None:  # fmt: skip
    train, held_out = make_corpus(100, seed=1), make_corpus(20, seed=2)
    ids, end = held_out.ids.copy(), held_out.sentence_offsets[held_out.document_offsets[1]]
    ids[:end] = train.ids[:end]
    ids[:end:100] = vocabulary.ordinary_ids[0]
    found = figures(make_store(train, dataclasses.replace(held_out, ids=ids)))
    assert found["contained_documents"].value == found["touched_documents"].value == 1 / 20
    assert found["contained_documents"].verdict is Verdict.WRONG


@pytest.mark.parametrize("planted", ["mask_id", "size"])
def test_special_and_foreign_ids_in_a_store_are_found(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary, planted: str,
) -> None:  # fmt: skip
    held_out = make_corpus(20, seed=2)
    ids = held_out.ids.copy()
    ids[[4, 77, 300]] = getattr(vocabulary, planted)
    found = figures(make_store(held_out=dataclasses.replace(held_out, ids=ids)))
    assert (found["special_ids_in_text"].value, found["special_ids_in_text"].verdict) == (3, Verdict.WRONG)


def test_a_vocabulary_that_cannot_spell_the_text_is_found(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary,
) -> None:  # fmt: skip
    train = make_corpus(100, seed=1)
    ids = train.ids.copy()
    ids[::20] = vocabulary.unk_id
    found = figures(make_store(dataclasses.replace(train, ids=ids)))
    assert found["unknown"].value == pytest.approx(0.05, abs=1e-3) and found["unknown"].verdict is Verdict.WRONG
    everything = dataclasses.replace(train, ids=np.full_like(ids, vocabulary.unk_id))
    assert figures(make_store(everything))["mask_rate"].verdict is Verdict.WRONG


def test_a_vocabulary_of_another_corpus_is_found(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary,
) -> None:  # fmt: skip
    train = make_corpus(100, seed=1)
    few = vocabulary.ordinary_ids[::2]
    ids = few[np.searchsorted(few, train.ids).clip(max=len(few) - 1)]
    found = figures(make_store(dataclasses.replace(train, ids=ids.astype(np.uint16))))["unused_vocabulary"]
    assert (found.value, found.verdict) == (pytest.approx(1 - len(few) / len(vocabulary.ordinary_ids)), Verdict.LOOK)


def test_text_without_ends_of_sentences_and_documents_of_one_sentence_are_looked_at(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_split: Callable[..., TokenSplit],
) -> None:  # fmt: skip
    found = figures(make_store(make_split([[[1] * 600]] * 60 + [[[1] * 20] * 30] * 20)))
    for name in ("sentence_lengths", "one_sentence_documents"):
        assert found[name].verdict is Verdict.LOOK
    assert "75 % of the tokens are in sentences of more than 512" in found["sentence_lengths"].reason


def test_one_document_is_wrong_for_pairs_and_the_rest_of_the_page_is_there(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_corpus: Callable[..., TokenSplit],
) -> None:  # fmt: skip
    found = figures(make_store(make_corpus(1)))
    assert found["examples"].verdict is Verdict.WRONG
    assert "got 1 document to cut into sentence pairs, expected at least 2" in found["examples"].reason
    assert "tokens" in found and "mask_rate" not in found


def test_without_held_out_text_that_is_said_and_nothing_is_compared(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore]
) -> None:
    nothing = TokenSplit(
        ids=np.zeros(0, np.uint16), sentence_offsets=np.zeros(1, int), document_offsets=np.zeros(1, int)
    )
    found = figures(make_store(held_out=nothing))
    assert _not_ok(found) == {"held_out_tokens": Verdict.LOOK}
    assert "nothing is held out. Raise corpus.held_out" in found["held_out_tokens"].reason
    assert "shared_tokens" not in found and found["pieces_per_word"].reason.startswith("on training text")


# Cuttings that lie ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A plan whose rows are changed."""

    plan: Any
    change: Callable[[Rows], Rows]
    length: int

    def __len__(self) -> int:
        return self.length

    @property
    def lengths(self) -> None:
        return None

    def rows(self, indices: np.ndarray) -> Rows:
        return self.change(self.plan.rows(indices % len(self.plan)))


@dataclasses.dataclass(frozen=True)
class _Cutting:
    """Sentence pairs at fault."""

    change: Callable[[Rows], Rows] = lambda rows: rows
    rows_ratio: float = 1.0
    max_seq_length: int = 64

    def plan(self, *corpus: Any, seed: int, epoch: int) -> _Plan:
        plan = SentencePairs(max_seq_length=64).plan(*corpus, seed=seed, epoch=epoch)
        return _Plan(plan, self.change, int(len(plan) * self.rows_ratio))


def _relabelled(label: Callable[[Rows], np.ndarray]) -> _Cutting:
    return _Cutting(lambda rows: dataclasses.replace(rows, next_sentence_label=label(rows).astype(np.int64)))


def _padded(rows: Rows) -> Rows:
    wide = {
        name: np.pad(getattr(rows, name), ((0, 0), (0, 100)), constant_values=fill)
        for name, fill in (("input_ids", 7), ("attention_mask", 0), ("token_type_ids", 0), ("documents", -1))
    }
    return dataclasses.replace(rows, **wide)


def _ordered(rows: Rows) -> Rows:
    return dataclasses.replace(rows, sentence_order_label=rows.next_sentence_label, next_sentence_label=None)


CUTTINGS: dict[str, tuple[_Cutting, dict[str, Verdict]]] = {
    "labels the wrong way round": (
        _relabelled(lambda rows: 1 - rows.next_sentence_label),  # type: ignore[operator]
        {"same_document_negatives": Verdict.WRONG, "next_across_documents": Verdict.WRONG},
    ),
    "all called random": (
        _relabelled(lambda rows: np.ones(len(rows.input_ids))),
        {"next_sentence_random": Verdict.WRONG, "same_document_negatives": Verdict.WRONG},
    ),
    "labels by length": (
        _relabelled(lambda rows: rows.token_type_ids.sum(axis=1) > 30),
        {
            "same_document_negatives": Verdict.WRONG,
            "next_across_documents": Verdict.WRONG,
            "next_sentence_from_lengths": Verdict.WRONG,
            "next_sentence_random": Verdict.LOOK,
        },
    ),
    "order across documents": (_Cutting(_ordered), {"sentence_order_across_documents": Verdict.WRONG}),
    "a tenth left out": (_Cutting(rows_ratio=0.9), {"text_left_out": Verdict.WRONG}),
    "a tenth twice": (_Cutting(rows_ratio=1.1), {"text_again": Verdict.LOOK}),
    "mostly padding": (_Cutting(_padded, max_seq_length=164), {"fill": Verdict.WRONG}),
}


@pytest.mark.parametrize("case", CUTTINGS)
def test_a_cutting_at_fault_is_found(figures: Callable[..., dict[str, Figure]], case: str) -> None:
    cutting, expected = CUTTINGS[case]
    found = _not_ok(figures(examples=cutting))
    found.pop("held_out_tokens")
    assert found == expected


# Maskings that lie ---------------------------------------------------------------------------------------------------


class _Lying(TokenMasking):
    """Says one thing, does another."""

    does: Any = ()
    harm: Any = None

    def mask(self, input_ids: np.ndarray, *, vocabulary: Vocabulary, **draws: Any) -> Masked:
        masked = TokenMasking(**dict(self.does)).mask(input_ids, vocabulary=vocabulary, **draws)
        if self.harm is not None:
            self.harm(input_ids, masked, vocabulary)
        return masked


def _mask_cls(input_ids: np.ndarray, masked: Masked, vocabulary: Vocabulary) -> None:
    masked.labels[:, 0] = vocabulary.cls_id
    masked.input_ids[:, 0] = vocabulary.mask_id


def _replace_by_special(input_ids: np.ndarray, masked: Masked, vocabulary: Vocabulary) -> None:
    replaced = (masked.labels != NOT_A_TARGET) & ~np.isin(masked.input_ids, [vocabulary.mask_id])
    masked.input_ids[replaced & (masked.input_ids != masked.labels)] = vocabulary.sep_id


def _change_elsewhere(input_ids: np.ndarray, masked: Masked, vocabulary: Vocabulary) -> None:
    row = np.arange(len(input_ids))
    place = (masked.labels == NOT_A_TARGET).argmax(axis=1)  # [CLS]
    masked.input_ids[row, place] = vocabulary.ordinary_ids[0]


def _label_another(input_ids: np.ndarray, masked: Masked, vocabulary: Vocabulary) -> None:
    masked.labels[masked.labels != NOT_A_TARGET] = vocabulary.ordinary_ids[-1]


def _no_targets_in_half(input_ids: np.ndarray, masked: Masked, vocabulary: Vocabulary) -> None:
    masked.labels[::2] = NOT_A_TARGET
    masked.input_ids[::2] = input_ids[::2]


def _never_common(input_ids: np.ndarray, masked: Masked, vocabulary: Vocabulary) -> None:
    spared = (input_ids <= np.median(input_ids)) & (masked.labels != NOT_A_TARGET)
    masked.labels[spared], masked.input_ids[spared] = NOT_A_TARGET, input_ids[spared]


LIES: dict[str, tuple[_Lying, str, Verdict]] = {
    "twice as much": (_Lying(does={"mlm_probability": 0.3}), "mask_rate", Verdict.WRONG),
    "a tenth less": (_Lying(does={"mlm_probability": 0.135}), "mask_rate", Verdict.LOOK),
    "half hidden": (_Lying(does={"mask_replace_prob": 0.5}), "hidden", Verdict.WRONG),
    "none replaced": (_Lying(does={"mask_replace_prob": 0.9, "random_replace_prob": 0.0}), "replaced", Verdict.LOOK),
    "none kept": (_Lying(does={"mask_replace_prob": 0.8, "random_replace_prob": 0.2}), "kept", Verdict.LOOK),
    "[CLS] a target": (_Lying(harm=_mask_cls), "special_targets", Verdict.WRONG),
    "[SEP] as a replacement": (_Lying(harm=_replace_by_special), "special_replacements", Verdict.WRONG),
    "changes elsewhere": (_Lying(harm=_change_elsewhere), "changed_elsewhere", Verdict.WRONG),
    "other labels": (_Lying(harm=_label_another), "false_targets", Verdict.WRONG),
    "rows without targets": (_Lying(harm=_no_targets_in_half), "rows_without_target", Verdict.WRONG),
    "nearly all masked": (
        _Lying(mlm_probability=0.9, does={"mlm_probability": 0.9}), "mask_rate", Verdict.LOOK
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_masking_at_fault_is_found(figures: Callable[..., dict[str, Figure]], case: str) -> None:
    masking, name, verdict = LIES[case]
    assert figures(masking=masking)[name].verdict is verdict


DRAWN_AGAIN = {"examples": EXAMPLES["documents"](max_seq_length=128)}
SPLIT = ("hidden", "replaced", "kept")


@pytest.mark.parametrize(
    ("mask_replace_prob", "random_replace_prob"), [(0.85, 0.0), (0.5, 0.3), (0.3, 0.7), (0.0, 0.0)]
)
def test_a_masking_that_draws_again_is_held_against_its_draws(
    figures: Callable[..., dict[str, Figure]], mask_replace_prob: float, random_replace_prob: float
) -> None:
    shares = {"mask_replace_prob": mask_replace_prob, "random_replace_prob": random_replace_prob}
    found = figures(**DRAWN_AGAIN, masking=ElectraReferenceMasking(mlm_probability=0.5, **shares))
    assert {found[name].verdict for name in ("mask_rate", *SPLIT)} == {Verdict.OK}
    assert 0.35 < found["mask_rate"].value < 0.45, "positions, of which many are drawn twice"
    assert re.search(r"counted as often as drawn, 5\d\.?\d? % \(recipe, .*: 50 %\)", found["mask_rate"].reason)
    if 0 < mask_replace_prob < 1:
        assert found["hidden"].value > mask_replace_prob + 0.02, "one of several draws is enough"


class _DrawingOtherwise(ElectraReferenceMasking):
    """Says what its class says, does another thing."""

    does: Any = ()

    def mask(self, *rows: Any, **draws: Any) -> Masked:
        return ElectraReferenceMasking(**dict(self.does)).mask(*rows, **draws)


@pytest.mark.parametrize(
    ("does", "name", "verdict"),
    [
        ({"mlm_probability": 0.13}, "mask_rate", Verdict.LOOK),
        ({"mlm_probability": 0.3}, "mask_rate", Verdict.WRONG),
        ({"mask_replace_prob": 0.5}, "hidden", Verdict.WRONG),
        ({"random_replace_prob": 0.05}, "replaced", Verdict.LOOK),
    ],
)
def test_a_masking_that_draws_again_and_otherwise_than_it_says_is_found(
    figures: Callable[..., dict[str, Figure]], does: dict[str, float], name: str, verdict: Verdict
) -> None:
    assert figures(**DRAWN_AGAIN, masking=_DrawingOtherwise(does=does))[name].verdict is verdict


def test_a_masking_that_spares_a_kind_of_token_is_found(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore], vocabulary: Vocabulary
) -> None:
    store = make_store()
    tokens = list(vocabulary.tokens)
    for id in vocabulary.ordinary_ids[:6]:
        tokens[id] = ","
    for id in vocabulary.ordinary_ids[-6:]:
        tokens[id] = "1984"
    store = dataclasses.replace(store, vocabulary=dataclasses.replace(vocabulary, tokens=tuple(tokens)))
    honest = figures(store)
    assert _not_ok(honest) == {"held_out_tokens": Verdict.LOOK}
    assert honest["mask_rate_number"].n > 1000 and honest["mask_rate_punctuation"].n > 1000
    found = figures(store, masking=_Lying(harm=_never_common))
    assert (found["mask_rate_punctuation"].value, found["mask_rate_punctuation"].verdict) == (0.0, Verdict.WRONG)
    assert found["mask_rate_number"].verdict is Verdict.WRONG, "twice as often as all"


# Figures to the digit ------------------------------------------------------------------------------------------------


def test_figures_are_what_a_hand_counts(
    figures: Callable[..., dict[str, Figure]], make_store: Callable[..., TokenStore],
    make_split: Callable[..., TokenSplit], vocabulary: Vocabulary,
) -> None:  # fmt: skip
    # Five documents of 3, 6, 9, 40 and 40 tokens; the first two are of one sentence.
    split = make_split([[[1] * 3], [[2] * 3], [[1] * 4, [1] * 5], [[1] * 20] * 2, [[1] * 10] * 4])
    found = figures(make_store(split, skipped={"not JSON": 2}), examples=Packed(max_seq_length=50))
    assert [found[name].value for name in ("documents", "sentences", "tokens")] == [5, 10, 98]
    lengths = found["document_lengths"]
    assert {name: lengths.value[name] for name in ("p5", "median", "max")} == {"p5": 3, "median": 9, "max": 40}
    assert lengths.value["bins"] == [(1, 1, 0), (2, 3, 1), (4, 7, 1), (8, 15, 1), (16, 31, 0), (32, 40, 2)]
    assert found["sentence_lengths"].value["bins"] == [(1, 1, 0), (2, 3, 1), (4, 7, 3), (8, 15, 4), (16, 20, 2)]
    assert found["one_sentence_documents"].value == 2 / 5
    assert found["skipped_places"].value == {"not JSON": 2} and "2 x not JSON" in found["skipped_places"].reason
    assert found["pieces_per_word"].value == 1 and found["bytes_per_token"].value == 4
    unused = set(vocabulary.ordinary_ids.tolist()) - set(split.ids.tolist())
    assert found["unused_vocabulary"].value == len(unused) / len(vocabulary.ordinary_ids)
    plan = Packed(max_seq_length=50).plan(split, vocabulary, seed=7, epoch=0)
    rows = plan.rows(np.arange(len(plan)))
    assert found["examples"].value == len(plan)
    assert found["passes"].value == 200 * 16 / len(plan)
    assert found["fill"].value == rows.attention_mask.mean()
    framing = rows.attention_mask.sum() - 98
    assert found["special_tokens"].value == framing / rows.attention_mask.sum()
    assert found["text_left_out"].value == found["text_again"].value == 0
    assert found["mask_rate_number"].value is None


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=6),
    st.lists(st.integers(1, 60), max_size=4),
    st.integers(1, 8),
    st.integers(0, 1000),
)
def test_shared_ngrams_are_those_that_looking_at_every_one_finds(
    train_lengths: list[int], lengths: list[int], num_ids: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    train, held_out = ([draw.integers(0, num_ids, n).tolist() for n in all] for all in (train_lengths, lengths))
    held_out += [train[0], train[0][-9:] + train[1][:9], [9] * 5 + train[-1] + [9] * 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.audits.overlap._TOKENS_AT_ONCE", 17)
        overlap = find_overlap(_split(train), _split(held_out), seed=0)
    known = {tuple(ids[i : i + NGRAM]) for ids in train for i in range(len(ids) - NGRAM + 1)}
    for number, ids in enumerate(held_out):
        starts = [i for i in range(len(ids) - NGRAM + 1) if tuple(ids[i : i + NGRAM]) in known]
        covered = {place for start in starts for place in range(start, start + NGRAM)}
        assert (overlap.num_tokens[number], overlap.num_shared[number]) == (len(ids), len(covered))
        assert overlap.is_touched[number] == bool(covered)


def _split(documents: list[list[int]]) -> TokenSplit:
    offsets = np.cumsum([0, *map(len, documents)])
    ids = np.array([id for document in documents for id in document], dtype=np.uint16)
    return TokenSplit(ids=ids, sentence_offsets=offsets, document_offsets=np.arange(len(offsets)))


def test_of_a_large_held_out_part_a_draw_is_looked_at_and_said(
    figures: Callable[..., dict[str, Figure]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretrain.audits.overlap.MAX_HELD_OUT_TOKENS", 3000)
    found = figures()["touched_documents"]
    assert 1 <= found.n < 20 and f"a draw of {found.n} of 20" in found.reason


def test_of_many_rows_a_sample_is_counted_and_of_a_long_epoch_the_text_left_out_is_estimated(
    tiny: Callable[..., Recipe], make_store: Callable[..., TokenStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretrain.audits.rows.MAX_ROWS", 300)
    monkeypatch.setattr("pretrain.audits.rows.MAX_PLACES", 1)
    sections = {section.title: section for section in audit.audit(tiny(), make_store())}
    found = {figure.name: figure for section in sections.values() for figure in section.figures}
    assert found["row_lengths"].n == found["next_sentence_random"].n == 300
    note = f"a random 300 of {found['examples'].value:,} rows of epoch 0"
    assert sections["masks"].note == sections["examples"].note == note
    assert "(estimated)" in found["text_left_out"].reason
    assert found["text_left_out"].value == pytest.approx(0, abs=0.05)


def test_kinds_of_tokens_are_told_from_the_text_and_from_how_they_look(vocabulary: Vocabulary) -> None:
    tokens = [""] * vocabulary.size
    ordinary = vocabulary.ordinary_ids.tolist()
    for id, token in zip(ordinary, ["the", "1984", "3.5", "b2", ",", "--", "½", "中", "”"], strict=False):
        tokens[id] = token
    counts = np.zeros(vocabulary.size, dtype=np.int64)
    counts[ordinary[:9]] = [500, 200, 200, 20, 20, 20, 20, 10, 10]
    kinds = token_kinds(dataclasses.replace(vocabulary, tokens=tuple(tokens)), counts)
    named = {kind: [tokens[id] for id in np.nonzero(members)[0]] for kind, members in kinds.items()}
    assert named["number"] == ["1984", "3.5"]
    assert named["punctuation"] == [",", "--", tokens[ordinary[8]]]
    assert named["frequent"] == ["the"]
    assert sorted(named["rare"]) == sorted(["½", "中", tokens[ordinary[8]]])


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(1, 3))
def test_lengths_counted_in_parts_have_the_quantiles_of_all(lengths: list[int], parts: int) -> None:
    counted = Lengths()
    for part in np.array_split(np.array(lengths), parts):
        counted.add(part)
    for probability in (0.05, 0.5, 0.95, 1.0):
        assert counted.quantile(probability) == np.quantile(lengths, probability, method="inverted_cdf")
    bins = counted.bins(doubling(max(lengths)))
    assert sum(count for _, _, count in bins) == len(lengths)
    assert all(count == sum(low <= length <= high for length in lengths) for low, high, count in bins)
    assert counted.tokens_beyond(100) == sum(length for length in lengths if length > 100)


@pytest.mark.parametrize("seed", range(3))
def test_what_lengths_tell_of_a_label_is_the_area_under_the_curve(seed: int) -> None:
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2, 400)
    of_a, of_b = draw.integers(1, 20, 400) + 3 * label, draw.integers(1, 20, 400)
    columns = np.arange(64)
    is_a, is_b = columns < of_a[:, None], (columns >= of_a[:, None]) & (columns < (of_a + of_b)[:, None])
    rows = Rows(
        input_ids=np.zeros((400, 64), dtype=np.int64),
        attention_mask=(is_a | is_b).astype(np.int64),
        token_type_ids=is_b.astype(np.int64),
        documents=np.where(is_a | is_b, 0, -1),
    )
    tally = LabelTally(64)
    for part in (slice(0, 150), slice(150, 400)):
        some = {
            name: getattr(rows, name)[part] for name in ("input_ids", "attention_mask", "token_type_ids", "documents")
        }
        tally.add(Rows(**some), label[part])
    areas = [roc_auc_score(label, lengths) for lengths in (of_a, of_b, of_a + of_b)]
    assert tally.area() == pytest.approx(0.5 + max(abs(area - 0.5) for area in areas))


def test_limits_belong_to_the_better_verdict() -> None:
    assert [at_most(x, look=1, wrong=2) for x in (1, 1.5, 2, 2.1)] == ["ok", "look", "look", "wrong"]
    assert [at_least(x, look=2, wrong=1) for x in (2, 1.5, 1, 0.9)] == ["ok", "look", "look", "wrong"]


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def surveyed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Stores of this test have a survey, into which something may be planted."""
    planted: dict[str, int] = {}

    def prepare(recipe: Recipe) -> TokenStore:
        store = prepared_store(recipe)
        splits = {"train": store.train, "held_out": store.held_out}
        return dataclasses.replace(store, manifest=_manifest(splits, store.vocabulary.unk_id, {}, **planted))

    monkeypatch.setattr(audit, "prepared_store", prepare)
    yield planted


def test_json_is_one_object_of_figures(
    tiny_file: Path, surveyed: dict[str, int], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert audit.main([str(tiny_file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["recipe"] == "tiny"
    assert len(document["figures"]) > 40
    for figure in document["figures"]:
        assert list(figure) == ["name", "value", "n", "unit", "verdict", "reason"]
        assert figure["verdict"] in ("ok", "look", "wrong")
        assert figure["reason"] and isinstance(figure["n"], int)
        if figure["unit"] == "share" and figure["value"] is not None:
            assert 0 <= figure["value"] <= 1
    assert any(message.startswith("audit: counting") for message in caplog.messages), "progress is told"


@pytest.mark.parametrize("width", [80, 140])
def test_the_page_names_every_figure_and_what_is_wrong_comes_first(
    tiny_file: Path, surveyed: dict[str, int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    surveyed["duplicate_documents"] = 20
    assert audit.main([str(tiny_file), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert audit.main([str(tiny_file)]) == 0, "whatever the verdicts"
    page = capsys.readouterr().out
    assert "\x1b" not in page and max(map(len, page.splitlines())) <= width
    count = {verdict: sum(figure["verdict"] == verdict for figure in figures) for verdict in ("wrong", "look", "ok")}
    assert count["wrong"] >= 1 and count["look"] >= 1
    summary, _, first = page.splitlines()[:3]
    assert summary == f"tiny: {count['wrong']} wrong, {count['look']} to look at, {count['ok']} ok"
    assert first.startswith("wrong duplicate documents 66.7 %")
    for figure in figures:
        assert re.search(rf"^  {figure['name'].replace('_', ' ')}  .* (ok|look|wrong) ", page, re.MULTILINE), figure
    said = " ".join(page.split())
    assert all(" ".join(f["reason"].split()) in said for f in figures if f["verdict"] != "ok")
    for title in ("tokens in a document", "tokens in a sentence", "tokens in a row"):
        assert title in page


def test_a_mistake_is_one_message(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main([str(tiny_file), "masking.mlm_probabilty=0.2"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and "Traceback" not in captured.err
    assert "did you mean mlm_probability?" in captured.err
