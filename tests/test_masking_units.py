"""Laws of words and spans: what hangs together is masked together, in every family of tokenizers."""

# B rows, L tokens per row

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from objectives.draws import Key, uniforms
from objectives.masking import SpanMasking
from objectives.masks.row_draws import RowDraws
from objectives.masks.segmenters import SEGMENTERS, segmented_word_starts
from objectives.masks.selection import choose_words
from objectives.masks.units import Words, piece_openings, word_starts
from tests.maskings import FAMILIES, OF_WORDS, characters, mask, packed_rows, plain_rows, policy, targets, words_of
from tokenization.vocabulary import Vocabulary

SIGMAS = 5.0
SMALLEST_P = 1e-4
GEOMETRIC = 0.2 * 0.8 ** np.arange(10) / (1 - 0.8**10)

of_words = pytest.mark.parametrize("name", OF_WORDS)
every_family = pytest.mark.parametrize("family", FAMILIES)


def _draws(num_rows: int, *, epoch: int = 0) -> RowDraws:
    return RowDraws(0, epoch, np.arange(num_rows))


# Words ---------------------------------------------------------------------------------------------------------------


@of_words
@every_family
@pytest.mark.parametrize("seed", [0, 1])
def test_words_are_whole_the_count_is_never_exceeded_and_less_than_a_word_is_missing(
    name: str, family: str, seed: int
) -> None:
    vocabulary = FAMILIES[family]
    rows = packed_rows(vocabulary, 300, seed=seed)
    chosen = targets(mask(policy(name, mlm_probability=0.2), rows, vocabulary, seed=seed))
    rounding = uniforms(Key(seed, 0, "masking.count"), np.arange(len(rows)))
    num_cut = num_short = 0
    for row, is_target, u in zip(rows, chosen, rounding, strict=True):
        words = words_of(row, vocabulary)
        num_maskable = sum(map(len, words))
        count = min(num_maskable, max(1, int(np.floor(0.2 * num_maskable + u))))
        missing = count - is_target.sum()
        if words and min(map(len, words)) > count:
            num_cut += 1
            assert missing == 0
            assert sum(is_target[word].any() for word in words) == 1
            continue
        assert all(is_target[word].all() or not is_target[word].any() for word in words)
        assert missing >= 0
        assert all(len(word) > missing for word in words if not is_target[word].any()) or missing == 0
        num_short += missing > 0
    assert num_cut and num_short, "the rows hold neither of what is looked for"


@given(st.data())
def test_words_are_taken_as_a_slow_reading_of_the_greedy_rule_takes_them(data: st.DataObject) -> None:
    num_rows, length = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 40))
    draw = np.random.default_rng(data.draw(st.integers(0, 1000)))
    maskable = draw.random((num_rows, length)) < data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    starts = maskable & (draw.random(maskable.shape) < data.draw(st.sampled_from([0.1, 0.5, 1.0])))
    starts |= maskable & ~np.pad(maskable, ((0, 0), (1, 0)))[:, :-1]
    order, limit = draw.random(maskable.shape), draw.integers(0, 30, size=num_rows)
    tried = draw.integers(0, 20, size=num_rows) if data.draw(st.booleans()) else None
    words = Words.cut(starts, maskable)
    chosen = choose_words(words, order, limit, tried)
    for row in range(num_rows):
        expected = np.zeros(length, dtype=bool)
        first_positions = sorted(np.flatnonzero(starts[row]), key=lambda position: order[row, position])
        for position in first_positions[: None if tried is None else tried[row]]:
            size = words.lengths[row, position]
            if expected.sum() + size <= limit[row]:
                expected[position : position + size] = True
        np.testing.assert_array_equal(chosen[row], expected)


@of_words
def test_a_row_whose_words_are_all_too_long_gets_a_part_of_one_anywhere_in_it(
    name: str, vocabulary: Vocabulary
) -> None:
    ordinary = vocabulary.ordinary_ids
    rows = np.full((2000, 14), ordinary[~vocabulary.is_word_start[ordinary]][0])
    rows[:, [1, 7]] = ordinary[0]
    rows[:, 0], rows[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    chosen = targets(mask(policy(name, mlm_probability=0.2), rows, vocabulary))[:, 1:-1]
    assert set(chosen.sum(axis=1)) == {2, 3}
    assert (np.abs(np.diff(chosen.astype(int), axis=1)).sum(axis=1) <= 2).all(), "a part stands together"
    assert not (chosen[:, :6].any(axis=1) & chosen[:, 6:].any(axis=1)).any(), "a part is of one word"
    assert (chosen.sum(axis=0) > 100).all()


# Spans ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [tuple(GEOMETRIC), (1 / 3, 1 / 3, 1 / 3), (1.0,), (0.0, 0.5, 0.0, 0.5)])
def test_pieces_have_the_lengths_asked_for_and_begin_at_every_word_alike(
    vocabulary: Vocabulary, shares: tuple[float, ...]
) -> None:
    rows = plain_rows(vocabulary, 4000, 60)
    maskable = ~vocabulary.is_special[rows]
    words = Words.cut(word_starts(rows, maskable, vocabulary), maskable)
    opening = piece_openings(words, maskable, shares, _draws(len(rows))).reshape(rows.shape)
    begins = (opening == np.arange(rows.size).reshape(rows.shape))[:, 1:-1]
    mean = sum(length * share for length, share in enumerate(shares, start=1))
    counts = begins[:, 1:].sum(axis=0)
    assert np.abs(counts - len(rows) / mean).max() <= SIGMAS * np.sqrt(len(rows) / mean * (1 - 1 / mean)) + 1e-6
    # Of the pieces that begin in the middle none is cut, neither by the row's beginning nor by its end.
    starts = [np.flatnonzero(row) for row in begins]
    lengths = np.concatenate([np.diff(row)[(row[:-1] >= 15) & (row[:-1] < 45)] for row in starts])
    found = np.bincount(lengths, minlength=len(shares) + 1)[1:]
    expected = np.asarray(shares) * len(lengths)
    assert (found[expected == 0] == 0).all() and len(found) == len(shares)
    if len(expected[expected > 0]) > 1:
        assert stats.chisquare(found[expected > 0], expected[expected > 0]).pvalue > SMALLEST_P


@every_family
def test_no_piece_crosses_a_special_token(family: str) -> None:
    vocabulary = FAMILIES[family]
    rows = packed_rows(vocabulary, 500)
    maskable = ~vocabulary.is_special[rows]
    words = Words.cut(word_starts(rows, maskable, vocabulary), maskable)
    opening = piece_openings(words, maskable, (0.0,) * 9 + (1.0,), _draws(len(rows)))
    run = np.cumsum(~maskable.ravel())  # every special token begins a stretch of its own
    assert (run[opening.ravel()] == run).all()
    assert (words.opening[maskable] >= opening[maskable]).all() and (words.opening[maskable] > opening[maskable]).any()


def _spans_one_by_one(row: np.ndarray, count: int, draw: np.random.Generator) -> tuple[list[int], np.ndarray]:
    """SpanBERT's own way, over one-piece words: a length, a beginning that is not masked yet, until the budget is
    spent. Gives the words of each span and the mask."""
    is_masked, spans = np.zeros(len(row), dtype=bool), []
    while is_masked.sum() < count:
        length, begin = 1 + draw.choice(10, p=GEOMETRIC), draw.integers(len(row))
        if is_masked[begin]:
            continue
        num = 0
        while num < length and begin + num < len(row) and is_masked.sum() < count:
            is_masked[begin + num] = True
            num += 1
        spans.append(num)
    return spans, is_masked


def test_spans_are_as_long_as_those_that_are_drawn_one_by_one(vocabulary: Vocabulary) -> None:
    rows = plain_rows(vocabulary, 3000, 126)
    maskable = ~vocabulary.is_special[rows]
    chosen = targets(mask(SpanMasking(), rows, vocabulary))
    words = Words.cut(word_starts(rows, maskable, vocabulary), maskable)
    opening = piece_openings(words, maskable, tuple(GEOMETRIC / GEOMETRIC.sum()), _draws(len(rows)))
    ours = np.bincount(opening[chosen])
    ours = np.bincount(ours[ours > 0], minlength=11)[1:]
    draw = np.random.default_rng(0)
    drawn = [_spans_one_by_one(row, count, draw) for row, count in zip(rows[:, 1:-1], chosen.sum(axis=1), strict=True)]
    theirs = np.bincount(np.concatenate([spans for spans, _ in drawn]), minlength=11)[1:]
    distance = np.abs(ours / ours.sum() - theirs / theirs.sum()).sum() / 2
    assert distance < 0.02  # measured over 20,000 rows: 0.006
    # Where they differ: one by one, the first word of a row is only masked by the spans that begin with it.
    first = np.mean([is_masked[0] for _, is_masked in drawn])
    assert first < 0.07 and 0.13 < chosen[:, 1].mean() < 0.19


# Replacing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask_replace_prob", "random_replace_prob"), [(0.8, 0.1), (0.5, 0.5), (0.25, 0.6)])
def test_words_are_masked_replaced_or_kept_as_a_whole_in_the_shares_asked_for(
    mask_replace_prob: float, random_replace_prob: float
) -> None:
    vocabulary = FAMILIES["WordPiece"]
    rows = packed_rows(vocabulary, 2000)
    shares = {"mask_replace_prob": mask_replace_prob, "random_replace_prob": random_replace_prob}
    masked = mask(policy("whole_word", mlm_probability=0.5, replace_unit="unit", **shares), rows, vocabulary)
    is_target = targets(masked)
    fates: list[str] = []
    for row, inputs, wanted in zip(rows[:500], masked.input_ids, is_target, strict=False):
        for word in words_of(row, vocabulary):
            if not wanted[word].all():
                continue
            is_mask, is_kept = inputs[word] == vocabulary.mask_id, inputs[word] == row[word]
            assert is_mask.all() or not is_mask.any()
            fates.append("mask" if is_mask.all() else "kept" if is_kept.all() else "random")
    for fate, share in (("mask", mask_replace_prob), ("random", random_replace_prob)):
        slack = random_replace_prob / 30  # a random token that is the original by chance
        bound = SIGMAS * np.sqrt(share * (1 - share) / len(fates)) + (slack if fate == "random" else 0)
        assert abs(fates.count(fate) / len(fates) - share) <= bound


@pytest.mark.parametrize("name", ["span", "ngram"])
@pytest.mark.parametrize("replace_unit", ["unit", "token"])
def test_spans_share_a_fate_only_where_the_unit_is_replaced(
    name: str, replace_unit: str, vocabulary: Vocabulary
) -> None:
    rows = plain_rows(vocabulary, 3000, 100)
    shares = {"mask_replace_prob": 0.5, "random_replace_prob": 0.0}
    masked = mask(policy(name, replace_unit=replace_unit, **shares), rows, vocabulary)
    is_target, is_mask = targets(masked), masked.input_ids == vocabulary.mask_id
    neighbours = is_target[:, :-1] & is_target[:, 1:]
    alike = (is_mask[:, :-1] == is_mask[:, 1:])[neighbours]
    if replace_unit == "token":
        assert abs(alike.mean() - 0.5) < SIGMAS * np.sqrt(0.25 / len(alike))
    else:
        assert alike.mean() > 0.85  # neighbours are of one unit, but where two units meet
    longest = 10 if name == "span" else 3
    assert abs(is_mask[is_target].mean() - 0.5) < SIGMAS * np.sqrt(longest * 0.25 / is_target.sum())


def test_the_defaults_are_those_of_the_papers() -> None:
    span, ngram, words = policy("span"), policy("ngram"), policy("whole_word")
    assert (span.geometric_p, span.max_span_length, span.replace_unit) == (0.2, 10, "unit")  # type: ignore[attr-defined]
    assert (ngram.max_ngram, ngram.replace_unit, words.replace_unit) == (3, "token", "token")  # type: ignore[attr-defined]


# Segmenters ----------------------------------------------------------------------------------------------------------

SENTENCE = "我来到北京清华大学"


def _segmented(text: str, segment: Any) -> str:
    """A text of one-character tokens with a bar before every word that a segmenter finds."""
    vocabulary = characters(text)
    ids = {token: id for id, token in enumerate(vocabulary.tokens)}
    row = np.array(
        [[vocabulary.cls_id, *(ids[character] for character in text if character != " "), vocabulary.sep_id]]
    )
    maskable = ~vocabulary.is_special[row]
    starts = segmented_word_starts(row, maskable, vocabulary, word_starts(row, maskable, vocabulary), segment)
    assert not starts[~maskable].any()
    tokens = [vocabulary.tokens[id] for id in row[0]]
    return "".join("|" * bool(is_start) + token for token, is_start in zip(tokens, starts[0], strict=True))[5:-5]


def test_jieba_finds_the_words_of_chinese_text() -> None:
    assert _segmented(SENTENCE, SEGMENTERS["jieba"]) == "|我|来到|北京|清华大学"


def test_a_segmenter_sees_each_run_of_ordinary_tokens_with_spaces_where_words_of_spaced_scripts_begin() -> None:
    vocabulary = FAMILIES["WordPiece"]
    texts: list[str] = []

    def record(text: str) -> list[str]:
        texts.append(text)
        return [text]

    names = ["[CLS]", "w1", "##p2", "w3", "[SEP]", "[CLS]", "##p4", "w5", "[UNK]", "w6", "[SEP]", "[PAD]"]
    ids = {token: id for id, token in enumerate(_names(vocabulary))}
    row = np.array([[ids[name] for name in names]])
    maskable = ~vocabulary.is_special[row]
    starts = segmented_word_starts(row, maskable, vocabulary, word_starts(row, maskable, vocabulary), record)
    assert texts == ["w1p2 w3", "p4 w5", "w6"]
    assert np.flatnonzero(starts[0]).tolist() == [1, 6, 9]


def _names(vocabulary: Vocabulary) -> list[str]:
    return [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"w{i}" for i in range(30)),
        *(f"##p{i}" for i in range(20)),
    ]


@of_words
def test_policies_of_words_mask_what_the_segmenter_finds_whole(name: str) -> None:
    vocabulary = characters(SENTENCE)
    ids = {token: id for id, token in enumerate(vocabulary.tokens)}
    row = [vocabulary.cls_id, *(ids[character] for character in SENTENCE), vocabulary.sep_id]
    rows = np.array([row] * 200)
    plain = targets(mask(policy(name, mlm_probability=0.5), rows, vocabulary))
    chosen = targets(mask(policy(name, mlm_probability=0.5, segmenter="jieba"), rows, vocabulary))
    for word in ([2, 3], [4, 5], [6, 7, 8, 9]):
        assert (chosen[:, word].all(axis=1) == chosen[:, word].any(axis=1)).all()
    assert (plain[:, [6, 7, 8, 9]].all(axis=1) != plain[:, [6, 7, 8, 9]].any(axis=1)).any()


@of_words
def test_a_segmenter_that_is_unknown_or_not_installed_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"got 'jiba' \(text\), expected null or one of jieba"):
        policy(name, segmenter="jiba")
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(ValueError, match=r"got jieba, .* not installed here, expected .* that is; pip install jieba"):
        policy(name, segmenter="jieba")
