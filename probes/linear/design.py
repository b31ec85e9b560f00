"""What is the same for every model of a call: which sentences train and test, in which order, and the control task."""

# N sentences, W labelled words of all of them in their order, C labels, R resamples

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array, resample_counts
from probes.linear.classifier import Integers
from probes.linear.labelled_words import LabelledSentence
from probes.probe_error import ProbeError
from probes.resampled import Resampled

UNKNOWN = -1
"""A label of a test word that no training word has: no answer is right."""


@dataclass(frozen=True)
class Side:
    """The training or the test part."""

    sentences: list[LabelledSentence]
    words_W: list[str]
    """Each labelled word in lower case: its type."""
    labels_W: Integers
    """Among the labels of the training words, or UNKNOWN."""
    control_W: Integers
    """Label of the word's type in the control task."""
    owners_W: Integers
    """The sentence of each word, counted from 0."""
    counts_RN: Integers
    """How often each resample draws each sentence."""

    def mean(
        self, outcomes_W: Array, *, is_share: bool = False, chosen_W: NDArray[np.bool_] | None = None
    ) -> Resampled:
        """Mean over words, resampled by sentence: words of one sentence come and go together.

        Args:
            is_share: outcomes are 0 or 1. Where all are alike no resample differs; the exact binomial bound of so many
                sentences (Clopper & Pearson 1934) stands in then.
            chosen_W: the words that count, at least one; None: all. Resamples without any of them are NaN.
        """
        counted_W = np.ones(len(outcomes_W)) if chosen_W is None else chosen_W.astype(np.float64)
        sums_N = np.bincount(self.owners_W, weights=counted_W * outcomes_W)
        sizes_N = np.bincount(self.owners_W, weights=counted_W)
        value = float(sums_N.sum() / sizes_N.sum())
        sums_R, sizes_R = self.counts_RN @ sums_N, self.counts_RN @ sizes_N
        draws = sums_R / np.where(sizes_R == 0, np.nan, sizes_R)
        n = int(sizes_N.sum())
        if is_share:
            return Resampled.share(value, draws, n, num_trials=int(np.count_nonzero(sizes_N)))
        return Resampled(value, draws, n)


@dataclass(frozen=True)
class Design:
    """Both parts."""

    labels: list[str]
    """Of the training words, the C that a classifier chooses among, in the order of the alphabet."""
    train: Side
    """Its sentences in a random order: the one of the online code."""
    test: Side
    num_dropped: int
    """Training sentences left out because they are test sentences as well."""

    @classmethod
    def of(cls, train: Sequence[LabelledSentence], test: Sequence[LabelledSentence], *, seed: int) -> "Design":
        """Number the labels, draw the control task and the resamples.

        Raises:
            ProbeError: nothing is left to train or test on, or the training words have one label only.
        """
        tested = {one.text for one in test}
        kept = [one for one in train if one.text not in tested]
        if len(kept) < 2 or not test:
            raise ProbeError(
                f"got {len(kept)} sentence(s) to train on that are not tested on, and {len(test)} to test on; expected"
                " at least 2 and 1. Add sentences with labels."
            )
        labels = sorted({label for one in kept for label in one.labels})
        if len(labels) < 2:
            raise ProbeError(
                f"all training words have one label, {labels[0]!r}; expected at least 2 to tell apart. Check --column."
            )
        rng = np.random.default_rng(seed)
        kept, tests = [kept[i] for i in rng.permutation(len(kept))], list(test)
        numbers = {label: number for number, label in enumerate(labels)}
        drawn = np.array([numbers[label] for one in kept for label in one.labels])
        types = sorted({word for one in (*kept, *tests) for word in _types(one)})
        control = dict(zip(types, rng.choice(drawn, len(types)).tolist(), strict=True))
        return cls(
            labels, _side(kept, numbers, control, rng), _side(tests, numbers, control, rng), len(train) - len(kept)
        )

    def majority(self) -> Array:
        """(test words,) 1.0 where the commonest label of the training words is right."""
        commonest = int(np.bincount(self.train.labels_W).argmax())
        hits_W: Array = (self.test.labels_W == commonest).astype(np.float64)
        return hits_W

    def by_type(self) -> Array:
        """(test words,) 1.0 where the label that the word itself has most often in training is right; a word that is
        not there is given the commonest label of all."""
        seen: dict[str, Counter[int]] = defaultdict(Counter)
        for word, label in zip(self.train.words_W, self.train.labels_W.tolist(), strict=True):
            seen[word][label] += 1
        commonest = int(np.bincount(self.train.labels_W).argmax())
        guesses = [seen[word].most_common(1)[0][0] if word in seen else commonest for word in self.test.words_W]
        hits_W: Array = (self.test.labels_W == np.array(guesses)).astype(np.float64)
        return hits_W

    def seen(self) -> float:
        """Share of the test words whose type is among the training words."""
        types = set(self.train.words_W)
        return float(np.mean([word in types for word in self.test.words_W]))


def split(
    sentences: Sequence[LabelledSentence], *, share: float, seed: int
) -> tuple[list[LabelledSentence], list[LabelledSentence]]:
    """Training part, and that share of the different texts (at least one) to test on; equal texts stay together."""
    texts = sorted({one.text for one in sentences})
    rng = np.random.default_rng(seed)
    tested = {texts[i] for i in rng.permutation(len(texts))[: max(1, round(share * len(texts)))]}
    return [one for one in sentences if one.text not in tested], [one for one in sentences if one.text in tested]


def drawn(sentences: Sequence[LabelledSentence], *, most: int, seed: int) -> list[LabelledSentence]:
    """Sentences drawn at random as long as their labelled words are no more than `most`, in the order given."""
    order = np.random.default_rng(seed).permutation(len(sentences))
    sizes = np.cumsum([len(sentences[i].labels) for i in order])
    return [sentences[i] for i in sorted(order[: np.searchsorted(sizes, most, side="right")])]


def in_order(sentences: Sequence[LabelledSentence]) -> list[LabelledSentence]:
    """The same sentences sorted by what they hold, so that what is drawn does not hang on the order of a file's."""
    return sorted(sentences, key=lambda one: (one.text, one.spans, one.labels))


def check_most(most: int) -> None:
    if most < 1:
        raise ProbeError(f"--most: got {most}, expected at least 1. Name how many words may be trained on.")


def same_file(train: Path, test: Path | None) -> bool:
    """Whether the test part is to be taken from the training file."""
    return test is None or train.resolve() == test.resolve()


def _types(one: LabelledSentence) -> list[str]:
    return [one.text[a:b].lower() for a, b in one.spans]


def _side(
    sentences: list[LabelledSentence], numbers: dict[str, int], control: dict[str, int], rng: np.random.Generator
) -> Side:
    words = [word for one in sentences for word in _types(one)]
    return Side(
        sentences=sentences,
        words_W=words,
        labels_W=np.array([numbers.get(label, UNKNOWN) for one in sentences for label in one.labels]),
        control_W=np.array([control[word] for word in words]),
        owners_W=np.repeat(np.arange(len(sentences)), [len(one.labels) for one in sentences]),
        counts_RN=resample_counts(np.zeros(len(sentences), dtype=np.int64), rng=rng),
    )
