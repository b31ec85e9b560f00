"""The original's pairing: the same statistics as its published steps taken one by one, its faults among them."""

# L tokens per row

import random
from collections.abc import Callable

import numpy as np
import pytest

from objectives.cutting.pair_plan import PairPlan
from objectives.cutting.reference_pairs import _targets, _truncated
from objectives.cutting.sentence_pairs import RANDOM, SentencePairs
from objectives.rows import NO_DOCUMENT, ExamplesError
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeSplit = Callable[..., TokenSplit]
WithOwnIds = Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]
Pair = tuple[list[int], list[int], bool]

L = 128


def _plan(split: TokenSplit, vocabulary: Vocabulary, *, max_seq_length: int = L, epoch: int = 0) -> PairPlan:
    return SentencePairs(max_seq_length=max_seq_length, pairing="reference").plan(
        split, vocabulary, seed=0, epoch=epoch
    )


# The steps, one by one -----------------------------------------------------------------------------------------------


def _one_pass(split: TokenSplit, draw: random.Random, *, max_seq_length: int, short_seq_prob: float) -> list[Pair]:
    """The published steps over lists of tokens, each token its own number: A, B and whether B is random."""
    sentences = [
        list(range(a, b)) for a, b in zip(split.sentence_offsets[:-1], split.sentence_offsets[1:], strict=True)
    ]
    documents = [sentences[a:b] for a, b in zip(split.document_offsets[:-1], split.document_offsets[1:], strict=True)]
    pairs: list[Pair] = []
    for own in range(len(documents)):
        room = max_seq_length - 3
        target = draw.randint(2, room) if draw.random() < short_seq_prob else room
        todo = list(documents[own])
        while todo:
            chunk = [todo.pop(0)]
            while todo and sum(map(len, chunk)) < target:
                chunk.append(todo.pop(0))
            a_end = 1 if len(chunk) == 1 else draw.randint(1, len(chunk) - 1)
            a = [token for sentence in chunk[:a_end] for token in sentence]
            b = [token for sentence in chunk[a_end:] for token in sentence]
            is_random = len(chunk) == 1 or draw.random() < 0.5
            if is_random:
                other = own
                for _ in range(10):
                    other = draw.randrange(len(documents))
                    if other != own:
                        break
                b = []
                for sentence in documents[other][draw.randrange(len(documents[other])) :]:
                    b += sentence
                    if len(b) >= target - len(a):
                        break
                todo = chunk[a_end:] + todo
            while len(a) + len(b) > room:
                longer = a if len(a) > len(b) else b
                longer.pop(0 if draw.random() < 0.5 else -1)
            pairs.append((a, b, is_random))
    return pairs


def _statistics(pairs: list[Pair], split: TokenSplit) -> np.ndarray:
    """Sums over a pass: of lengths, their squares and products by label, of where A and B begin, of documents."""
    begins = np.searchsorted(split.sentence_offsets, np.arange(split.num_tokens), side="right") - 1
    of_token = np.searchsorted(split.document_offsets, begins, side="right") - 1
    rows = []
    for a, b, is_random in pairs:
        x, y = len(a), len(b)
        within = [token - int(split.sentence_offsets[begins[token]]) for token in (a[0], b[0])]
        of_label = [1, x, y, x * y, x * x, x + y < 20, *within, int(b[0] in split.sentence_offsets)]
        same = of_token[a[0]] == of_token[b[0]]
        rows.append([*of_label, *(is_random * value for value in of_label), same, is_random * a[-1], b[-1]])
    return np.sum(rows, axis=0, dtype=float)


def _pairs_of(plan: PairPlan) -> list[Pair]:
    spans = zip(plan.a_start, plan.a_length, plan.b_start, plan.b_length, strict=True)
    assert plan.next_sentence_label is not None
    return [
        (list(range(a, a + x)), list(range(b, b + y)), bool(label))
        for (a, x, b, y), label in zip(spans, plan.next_sentence_label, strict=True)
    ]


@pytest.mark.parametrize(
    ("shape", "short_seq_prob"),
    [
        ({"num_documents": 15, "sentences": (1, 12), "words": (3, 30)}, 0.1),
        ({"num_documents": 3, "sentences": (1, 9), "words": (1, 40)}, 0.5),
        ({"num_documents": 1, "sentences": (25, 25), "words": (1, 30)}, 0.0),
        ({"num_documents": 8, "sentences": (1, 6), "words": (20, 150)}, 0.9),
    ],
    ids=["documents", "three documents", "a single document", "paragraphs"],
)
def test_a_pass_has_the_statistics_of_the_published_steps(
    vocabulary: Vocabulary, make_corpus: MakeSplit, shape: dict[str, object], short_seq_prob: float
) -> None:
    split = make_corpus(**shape)
    cutting = SentencePairs(max_seq_length=64, pairing="reference", short_seq_prob=short_seq_prob)
    ours = np.stack(
        [_statistics(_pairs_of(cutting.plan(split, vocabulary, seed=0, epoch=e)), split) for e in range(100)]
    )
    draw = random.Random(0)
    steps = [_one_pass(split, draw, max_seq_length=64, short_seq_prob=short_seq_prob) for _ in range(100)]
    theirs = np.stack([_statistics(pairs, split) for pairs in steps])
    error = np.sqrt(ours.var(axis=0) / len(ours) + theirs.var(axis=0) / len(theirs))
    assert (error > 0).sum() >= 17
    np.testing.assert_array_less(abs(ours.mean(axis=0) - theirs.mean(axis=0)), 4.5 * error + 1e-9)


def test_short_targets_are_uniform_from_two_tokens_to_a_full_row() -> None:
    targets = _targets(61_000, 62, 1.0, seed=0, epoch=0)
    counts = np.bincount(targets, minlength=63)
    assert not counts[:2].any()
    assert ((counts[2:] - 1000) ** 2 / 1000).sum() < 120  # chi-squared of 60 degrees of freedom: 1 in 100,000
    is_full = _targets(50_000, 62, 0.1, seed=0, epoch=0) == 62
    assert abs(is_full.mean() - (0.9 + 0.1 / 61)) < 4 * np.sqrt(0.09 / 50_000)


def test_truncation_leaves_the_lengths_that_dropping_token_after_token_leaves() -> None:
    lengths = np.arange(1, 40)
    a_length, b_length = (grid.ravel() for grid in np.meshgrid(lengths, lengths))
    zero = np.zeros(len(a_length), dtype=np.int64)
    (a_start, a_left), (b_start, b_left), num_truncated = _truncated(
        zero, a_length, zero, b_length, 29, seed=0, epoch=0
    )
    for a, b, x, y in zip(a_length.tolist(), b_length.tolist(), a_left.tolist(), b_left.tolist(), strict=True):
        while a + b > 29:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        assert (a, b) == (x, y)
    assert num_truncated == (a_length - a_left + b_length - b_left).sum()
    for start, length, left in ((a_start, a_length, a_left), (b_start, b_length, b_left)):
        dropped = length - left
        assert ((start >= 0) & (start <= dropped)).all()
        assert abs(start.sum() - dropped.sum() / 2) < 4 * np.sqrt(dropped.sum()) / 2


# The table of its faults ---------------------------------------------------------------------------------------------


def _corpus(
    vocabulary: Vocabulary, make_split: MakeSplit, sentences: np.ndarray, tokens: tuple[int, int]
) -> TokenSplit:
    """Documents of so many sentences each, of so many words of one piece."""
    draw = np.random.default_rng(1)
    return make_split([[[1] * draw.integers(*tokens, endpoint=True) for _ in range(num)] for num in sentences.tolist()])


def _within(share: float, expected: float, count: int) -> bool:
    """Whether a share of so many draws lies within the binomial bounds of four standard errors, or half a percent."""
    return abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / count) + 0.005


def _share_random(plan: PairPlan) -> float:
    assert plan.next_sentence_label is not None
    return float((plan.next_sentence_label == RANDOM).mean())


def _padding(plan: PairPlan) -> float:
    return float(1 - plan.lengths.mean() / plan.max_seq_length)


@pytest.mark.parametrize(("max_seq_length", "padding"), [(128, 0.11), (512, 0.37)])
def test_of_documents_55_percent_of_the_pairs_are_random_and_rows_are_short(
    vocabulary: Vocabulary, make_split: MakeSplit, max_seq_length: int, padding: float
) -> None:
    split = _corpus(vocabulary, make_split, np.random.default_rng(0).integers(5, 61, size=400), (5, 41))
    plan = _plan(split, vocabulary, max_seq_length=max_seq_length)
    assert _within(_share_random(plan), 0.55, len(plan))
    assert abs(_padding(plan) - padding) <= 0.015
    is_random = plan.next_sentence_label == RANDOM
    assert (plan.a_document == plan.b_document)[is_random].mean() <= 0.001


def test_of_documents_of_one_sentence_every_pair_is_random(vocabulary: Vocabulary, make_split: MakeSplit) -> None:
    plan = _plan(_corpus(vocabulary, make_split, np.ones(3000, dtype=int), (4, 40)), vocabulary)
    assert len(plan) == 3000
    assert _share_random(plan) == 1.0
    assert (plan.a_document != plan.b_document).all()
    assert abs(_padding(plan) - 0.63) <= 0.01


def test_of_paragraphs_as_lines_88_percent_are_random_and_text_is_never_emitted(
    vocabulary: Vocabulary, make_split: MakeSplit, caplog: pytest.LogCaptureFixture
) -> None:
    sentences = np.random.default_rng(0).choice([1, 2], p=[0.7, 0.3], size=2000)
    split = _corpus(vocabulary, make_split, sentences, (62, 95))
    caplog.set_level("INFO", logger="objectives.cutting.reference_pairs")
    plan = _plan(split, vocabulary)
    assert _within(_share_random(plan), 0.88, len(plan))
    assert _padding(plan) < 0.005
    emitted = np.zeros(split.num_tokens, dtype=bool)
    for a, b, _ in _pairs_of(plan):
        emitted[a] = emitted[b] = True
    never = int((~emitted).sum())
    assert abs(never / split.num_tokens - 0.18) <= 0.02
    assert f"{never} never emitted, of {split.num_tokens}" in caplog.text


def test_of_a_single_document_every_random_pair_is_labelled_falsely(
    vocabulary: Vocabulary, make_split: MakeSplit
) -> None:
    plan = _plan(_corpus(vocabulary, make_split, np.array([700]), (5, 40)), vocabulary)
    assert _within(_share_random(plan), 0.42, len(plan))
    assert (plan.b_document == 0).all()


# What it shares with every cutting -----------------------------------------------------------------------------------


def test_an_epoch_is_a_pure_function_of_seed_and_epoch_and_rows_hold_the_spans(
    vocabulary: Vocabulary, make_corpus: MakeSplit, with_own_ids: WithOwnIds
) -> None:
    split, own = with_own_ids(make_corpus(20), vocabulary)
    plan, again, other = (_plan(split, own, epoch=epoch) for epoch in (3, 3, 4))
    everything = np.arange(len(plan))
    rows = plan.rows(everything)
    np.testing.assert_array_equal(rows.input_ids, again.rows(everything).input_ids)
    assert set(plan.a_start.tolist()) != set(other.a_start.tolist())
    np.testing.assert_array_equal(rows.attention_mask.sum(axis=1), plan.lengths)
    assert plan.lengths.max() <= L
    for i, (a, b, label) in enumerate(_pairs_of(plan)):
        expected = [own.cls_id, *a, own.sep_id, *b, own.sep_id]
        assert rows.input_ids[i, : len(expected)].tolist() == expected
        assert label == (rows.next_sentence_label[i] == RANDOM)  # type: ignore[index]
        assert label or a[-1] <= b[0]
        assert (rows.documents[i, 1 : len(a) + 1] == plan.a_document[i]).all()
        assert rows.documents[i, len(a) + 1] == NO_DOCUMENT


def test_a_corpus_without_a_token_is_refused(vocabulary: Vocabulary) -> None:
    nothing = np.zeros(1, dtype=np.int64)
    split = TokenSplit(ids=nothing[:0], sentence_offsets=nothing, document_offsets=nothing)
    with pytest.raises(ExamplesError, match=r"no token to make an example of; expected at least one .*corpus\.files"):
        _plan(split, vocabulary)
