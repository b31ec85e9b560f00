"""What is the same for every model of a call: the pairs, which of them train, and how the test pairs are resampled."""

# P pairs, T test pairs, U different usages of a word, R resamples

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.intervals import NUM_RESAMPLES, resample_counts
from probes.probe_error import ProbeError
from probes.reading.pairs import Pair
from probes.source import Span

Ints = NDArray[np.int64]
Unit = Literal["pairs", "sentences", "words"]
"""What a resample draws. Pairs, each label by itself, where no two of them share a sentence. Else words with all their
pairs; or, where there are too few words for that, the sentences of each word, a pair counting as often as the product
of its two (the bootstrap of a U-statistic, Bickel & Freedman 1981)."""
FEW_WORDS = 20
"""Fewer clusters than this give intervals that are clearly too narrow (Cameron, Gelbach & Miller 2008)."""


@dataclass(frozen=True)
class Design:
    """Pairs, parts and resamples."""

    pairs: list[Pair]
    """In the order of their texts."""
    sentences: list[str]
    """U sentences, one for each different word in a sentence: vectors are taken once."""
    spans: list[Span]
    rows_P2: Ints
    """Which of the U each pair consists of."""
    is_same_P: NDArray[np.bool_]
    train: Ints
    test: Ints
    """Indices of pairs."""
    counts_RT: Ints
    """How often each resample draws each test pair."""
    unit: Unit
    num_units: int
    """Test pairs, sentences or words that are drawn."""

    @classmethod
    def of(cls, pairs: Sequence[Pair], rng: np.random.Generator, *, num_resamples: int = NUM_RESAMPLES) -> "Design":
        """The design of pairs that all have a part; their order makes no difference.

        Raises:
            ProbeError: a part has no pair of one of the labels.
        """
        pairs = sorted(pairs, key=_content)
        rows: dict[tuple[str, Span], int] = {}
        for pair in pairs:
            for usage in zip(pair.sentences, pair.spans, strict=True):
                rows.setdefault(usage, len(rows))
        rows_P2 = np.array([[rows[u] for u in zip(pair.sentences, pair.spans, strict=True)] for pair in pairs])
        parts = np.array([pair.split for pair in pairs])
        train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
        is_same_P = np.array([pair.is_same for pair in pairs])
        for name, part in (("train", train), ("test", test)):
            _check_labels(name, is_same_P[part])
        words_T = np.unique(np.array([pair.word for pair in pairs])[test], return_inverse=True)[1]
        unit = _unit(rows_P2[test], words_T)
        drawn = _draw(unit, rows_P2[test], words_T, is_same_P[test], rng=rng, num_resamples=num_resamples)
        return cls(
            pairs=pairs,
            sentences=[sentence for sentence, _ in rows],
            spans=[span for _, span in rows],
            rows_P2=rows_P2,
            is_same_P=is_same_P,
            train=train,
            test=test,
            counts_RT=drawn.counts_RT,
            unit=unit,
            num_units=drawn.num_units,
        )

    @property
    def train_rows(self) -> Ints:
        """Which of the U stand in a training pair."""
        return np.unique(self.rows_P2[self.train])

    def words(self, part: Ints) -> list[str]:
        return list(dict.fromkeys(self.pairs[index].word for index in part.tolist()))


def split_by_word(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:
    """The pairs with a part each: of the words, drawn in random order, one half trains and the other tests. Which ones,
    the words and the generator alone decide.

    Raises:
        ProbeError: there is only one word.
    """
    words = sorted({pair.word for pair in pairs})
    if len(words) < 2:
        raise ProbeError(
            f"got pairs of {len(words)} word, expected at least 2: the threshold is set on other words than it is"
            " tested on. Add another word, or a column split with train and test."
        )
    train = {words[index] for index in rng.permutation(len(words))[: len(words) // 2]}
    return [replace(pair, split="train" if pair.word in train else "test") for pair in pairs]


def _content(pair: Pair) -> tuple[object, ...]:
    """All that tells a pair from others, so that what is drawn does not hang on the order of a file's lines."""
    return pair.word, pair.sentences, pair.spans, pair.is_same, pair.split or ""


def _check_labels(part: str, is_same: NDArray[np.bool_]) -> None:
    if is_same.all() or not is_same.any():
        got = f"{len(is_same)} pairs, all of them with the same label" if len(is_same) else "no pair"
        raise ProbeError(
            f"the {part} part has {got}. Expected pairs with the same sense and pairs with two, in both parts. Add"
            " some, or correct the split."
        )


def _unit(rows_T2: Ints, words_T: Ints) -> Unit:
    if np.unique(rows_T2, return_counts=True)[1].max() == 1:
        return "pairs"
    return "words" if words_T.max() + 1 >= FEW_WORDS else "sentences"


class _Resamples(NamedTuple):
    counts_RT: Ints
    num_units: int


def _draw(
    unit: Unit,
    rows_T2: Ints,
    words_T: Ints,
    is_same_T: NDArray[np.bool_],
    *,
    rng: np.random.Generator,
    num_resamples: int,
) -> _Resamples:
    """How often each resample draws each test pair."""

    def draws(strata: Ints) -> Ints:
        return resample_counts(strata, rng=rng, num_resamples=num_resamples)

    if unit == "pairs":
        return _Resamples(draws(is_same_T.astype(np.int64)), len(is_same_T))
    if unit == "words":
        num_words = int(words_T.max()) + 1
        return _Resamples(draws(np.zeros(num_words, dtype=np.int64))[:, words_T], num_words)
    members, places = np.unique(rows_T2, return_inverse=True)
    places_T2 = places.reshape(rows_T2.shape)
    strata = np.zeros(len(members), dtype=np.int64)
    strata[places_T2] = words_T[:, None]
    counts = draws(strata)
    return _Resamples(counts[:, places_T2[:, 0]] * counts[:, places_T2[:, 1]], len(members))
