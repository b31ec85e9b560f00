"""Which words of which sentences are measured, which are compared, and how they are resampled: the same for all models.

Words are whole: runs of letters, digits and _, with ' or - inside, whatever pieces a tokenizer makes of them. Two are
the same word if they are so in lower case.
"""

# N sentences, W words of all of them in their order, V words that occur often enough, R resamples

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.intervals import resample_counts
from probes.probe_error import ProbeError
from probes.source import Span

Integers = NDArray[np.int64]

MOST_USES = 100
"""Of one word that are compared with each other; of more, so many are drawn."""


@dataclass(frozen=True)
class Material:
    """The words, and what is drawn about them."""

    sentences: list[str]
    spans: list[list[Span]]
    """At least two words of each sentence."""
    words: list[str]
    """The V words that are compared with themselves, in lower case, those of the most sentences first."""
    uses: list[Integers]
    """Rows of each of them, at most MOST_USES, of as many sentences as can be."""
    chance: list[Integers]
    """As many rows for each, drawn from all W without regard to the word."""
    shuffled: Integers
    """(W,) a random order of all rows."""
    sentence_counts: Integers
    """(R, N) how often each resample draws each sentence."""
    word_counts: Integers
    """(R, V) the same of the words."""

    @classmethod
    def of(cls, sentences: Sequence[str], spans: Sequence[Sequence[Span]], *, min_uses: int, seed: int) -> "Material":
        """Of words by sentence; sentences with fewer than two are left out.

        Args:
            min_uses: different sentences, at least two, that a word must stand in to be compared with itself.

        Raises:
            ProbeError: fewer than two sentences are left, or no word stands in `min_uses` of them.
        """
        kept = [(sentence, list(words)) for sentence, words in zip(sentences, spans, strict=True) if len(words) > 1]
        if len(kept) < 2:
            raise ProbeError(
                f"got {len(kept)} sentence(s) with two words or more that every model reads, expected at least 2."
                " Add sentences."
            )
        rng = np.random.default_rng(seed)
        rows: dict[str, list[int]] = defaultdict(list)
        texts = [sentence[a:b].lower() for sentence, words in kept for a, b in words]
        for row, text in enumerate(texts):
            rows[text].append(row)
        owners_W = np.repeat(np.arange(len(kept)), [len(words) for _, words in kept])
        spread = {word: len(np.unique(owners_W[found])) for word, found in rows.items()}
        ranked = sorted(spread, key=lambda word: (-spread[word], word))
        often = [word for word in ranked if spread[word] >= min_uses]
        if not often:
            raise ProbeError(
                f"no word stands in {min_uses} sentences; {ranked[0]!r} stands in {spread[ranked[0]]} of {len(kept)},"
                " and none in more. Add sentences or lower --min-uses."
            )
        uses = [_drawn(np.array(rows[word]), owners_W, rng) for word in often]
        return cls(
            sentences=[sentence for sentence, _ in kept],
            spans=[words for _, words in kept],
            words=often,
            uses=uses,
            chance=[rng.choice(len(texts), len(found), replace=False) for found in uses],
            shuffled=rng.permutation(len(texts)),
            sentence_counts=resample_counts(np.zeros(len(kept), dtype=np.int64), rng=rng),
            word_counts=resample_counts(np.zeros(len(often), dtype=np.int64), rng=rng),
        )

    @property
    def owners(self) -> Integers:
        """(W,) the sentence of each word, counted from 0."""
        return np.repeat(np.arange(len(self.spans)), self.sizes)

    @property
    def sizes(self) -> Integers:
        """(N,) words of each sentence."""
        return np.array([len(words) for words in self.spans])

    @property
    def num_words(self) -> int:
        return int(self.sizes.sum())


def _drawn(rows: Integers, owners_W: Integers, rng: np.random.Generator) -> Integers:
    """At most MOST_USES of a word's rows, in rising order: one of every sentence before a second one of any."""
    shuffled = rng.permutation(rows)
    first = np.unique(owners_W[shuffled], return_index=True)[1]
    others = np.setdiff1d(np.arange(len(shuffled)), first)
    return np.sort(shuffled[np.concatenate([np.sort(first), others])[:MOST_USES]])
