"""What is the same for every model of a call: the sentences, which may be compared, and how they are resampled."""

# N sentences, n sentences of one word, R resamples, S senses of a word, H halves of the sentences

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probes.intervals import NUM_RESAMPLES, Array, deviations, resample_counts
from probes.probe_error import ProbeError
from probes.senses.clusters import draw_halves
from probes.senses.shots import SHOTS, Shots, draw_shots
from probes.usages import Usage


@dataclass(frozen=True)
class WordDesign:
    """One word: its sentences by their place in the table, their senses, and all that is drawn for it."""

    word: str
    rows: NDArray[np.int64]
    """(n,) where its sentences stand among all."""
    senses: list[str]
    """S names."""
    labels: NDArray[np.int64]
    """(n,) number of each sentence's sense."""
    comparable: NDArray[np.bool_]
    """(n, n) whether the second may be a neighbour of the first: not itself, and not from the same source."""
    sources: NDArray[np.int64]
    """(n,) number of the document of each sentence, one of its own where the table names none."""
    strata: NDArray[np.int64]
    """(n,) what is resampled by itself: each sense, and its train and test part where there are such. A source belongs
    to the one that most of its sentences do."""
    counts: NDArray[np.int64]
    """(R, n) how often each resample draws each sentence, stratum by stratum and all of a source together."""
    trained: NDArray[np.bool_] | None
    """(n,) which sentences are the train part; None: there are no such parts."""
    shots: dict[int, Shots]
    """By number of sentences a sense, those that there are enough sentences for."""
    halves: NDArray[np.bool_]
    """(H, n) parts of half the sentences, for what must be found anew in a sample."""
    half_weights: NDArray[np.float64]
    """(R, H) how each resample weighs the deviations of the halves."""
    seed: int
    """Of k-means and permutations: the word's own, so that its figures are the same whatever other words there are."""

    @property
    def n(self) -> int:
        return len(self.rows)

    def moved(self, influence: Array, tested: NDArray[np.bool_] | slice = slice(None)) -> Array:
        """(..., R) how far each resample moves a mean, by the influence of its sentences (all, or the tested ones)."""
        return deviations(
            influence, counts=self.counts[:, tested], strata=self.strata[tested], sources=self.sources[tested]
        )

    def num_sources(self, tested: NDArray[np.bool_] | slice = slice(None)) -> int:
        return len(np.unique(self.sources[tested]))


@dataclass(frozen=True)
class Design:
    """All words of a table."""

    usages: list[Usage]
    """Sorted by word, sense and text, so that nothing depends on the order of the table's lines."""
    words: list[WordDesign]
    seed: int

    @classmethod
    def of(cls, usages: Sequence[Usage], seed: int, *, num_resamples: int = NUM_RESAMPLES) -> "Design":
        ordered = sorted(usages, key=lambda u: (u.word, u.sense, u.sentence, u.source or "", u.span))
        names = sorted({usage.word for usage in ordered})
        rows = {word: np.array([i for i, u in enumerate(ordered) if u.word == word]) for word in names}
        words = [_word_design(word, rows[word], ordered, seed, num_resamples) for word in names]
        return cls(ordered, words, seed)

    def word_counts(self, num_words: int) -> NDArray[np.int64]:
        """(R, W) how often each resample of so many words draws each."""
        rng = np.random.default_rng([self.seed, _number("words"), num_words])
        return resample_counts(np.zeros(num_words, dtype=np.int64), rng=rng)

    @property
    def sentences(self) -> list[str]:
        return [usage.sentence for usage in self.usages]

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [usage.span for usage in self.usages]

    @property
    def shots(self) -> list[int]:
        """Numbers of sentences a sense that every word has enough for."""
        return [number for number in SHOTS if all(number in word.shots for word in self.words)]

    def counts_by_sense(self) -> dict[str, dict[str, int]]:
        return {word.word: dict(Counter(word.senses[label] for label in word.labels.tolist())) for word in self.words}


def choose(usages: Sequence[Usage], *, words: Sequence[str] | None, most: int | None, seed: int) -> list[Usage]:
    """The usages of these words (None: all), at most so many of each sense (and of each part, train and test).

    Which ones depends on the seed and on the texts, not on their order.

    Raises:
        ProbeError: no word named, a word that the table does not have, or fewer than 2 sentences a sense asked for.
    """
    known = sorted({usage.word for usage in usages})
    if words is not None and not words:
        raise ProbeError(
            f"--words: got no word, expected words of the table: {', '.join(known[:20])}"
            f"{' ...' if len(known) > 20 else ''}. Name some, or leave --words out for all."
        )
    if missing := [word for word in words or () if word not in known]:
        raise ProbeError(
            f"--words: got {', '.join(missing)}, expected words of the table: {', '.join(known[:20])}"
            f"{' ...' if len(known) > 20 else ''}. Correct the spelling or leave --words out."
        )
    if most is not None and most < 2:
        raise ProbeError(f"--most {most}: expected at least 2 sentences of each sense. Raise it, or leave it out.")
    groups: dict[tuple[str, ...], list[Usage]] = defaultdict(list)
    for usage in usages:
        if words is None or usage.word in words:
            groups[usage.word, usage.sense, getattr(usage, "split", None) or ""].append(usage)
    return [
        usage
        for members in groups.values()
        for usage in sorted(members, key=lambda u: hashlib.sha256(f"{seed} {u.sentence} {u.span}".encode()).digest())[
            :most
        ]
    ]


def cut_around(usage: Usage, window: int) -> Usage:
    """The same with so many words (as spaces part them) either side of the target and no more."""
    begin, end = usage.span
    before, after = usage.sentence[:begin].split(), usage.sentence[end:].split()
    # What touches the word, such as a comma, is no word of its own.
    is_touched_before = begin > 0 and not usage.sentence[begin - 1].isspace()
    is_touched_after = end < len(usage.sentence) and not usage.sentence[end].isspace()
    keep_before = before[max(len(before) - window - is_touched_before, 0) :]
    keep_after = after[: window + is_touched_after]
    head = " ".join(keep_before) + ("" if is_touched_before or not keep_before else " ")
    tail = ("" if is_touched_after or not keep_after else " ") + " ".join(keep_after)
    word = usage.sentence[begin:end]
    return replace(usage, sentence=head + word + tail, span=(len(head), len(head) + len(word)))


def _word_design(
    word: str, rows: NDArray[np.int64], usages: Sequence[Usage], seed: int, num_resamples: int
) -> WordDesign:
    chosen = [usages[row] for row in rows]
    senses = sorted({usage.sense for usage in chosen})
    labels = np.array([senses.index(usage.sense) for usage in chosen])
    # Sentences without a source have one of their own. Numbered as they first come up.
    numbers: dict[str, int] = {}
    sources = np.array([numbers.setdefault(u.source or f"\0{i}", len(numbers)) for i, u in enumerate(chosen)])
    own_seed = _number(f"{seed} {word}")
    splits = np.array([getattr(usage, "split", None) or "" for usage in chosen])
    of_sentences = np.unique(labels * 3 + np.unique(splits, return_inverse=True)[1], return_inverse=True)[1]
    of_sources = np.array([np.bincount(of_sentences[sources == source]).argmax() for source in range(len(numbers))])
    rng = np.random.default_rng([own_seed, 1])
    halves = draw_halves(of_sources, np.random.default_rng([own_seed, 5]))[:, sources]
    counts = resample_counts(of_sources, rng=np.random.default_rng([own_seed, 0]), num_resamples=num_resamples)
    multipliers = np.random.default_rng([own_seed, 6]).normal(size=(num_resamples, len(halves)))
    return WordDesign(
        word,
        rows,
        senses,
        labels,
        sources[:, None] != sources[None, :],
        sources,
        of_sources[sources],
        counts[:, sources],
        splits == "train" if (splits == "train").any() and (splits == "test").any() else None,
        {s: found for s in SHOTS if (found := draw_shots(labels, sources, splits, s, rng)) is not None},
        halves,
        multipliers / np.sqrt(len(halves) - 1),
        own_seed,
    )


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
