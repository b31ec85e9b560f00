"""What every classifier of one call is fitted on, chosen on and tested on: the same rows for all of them."""

# N training texts, M test texts, S seeds

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.classify.dividing import divide, draw
from probes.reading.labelled_texts import LabelledTexts

CHOOSING_SHARE = 0.2
"""Of the training texts: those that the strength of the regularisation is chosen on."""
STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5)
"""Of the regularisation, the strongest first: of strength / 2 times the sum of squared weights beside the mean
cross-entropy, for vectors of length 1. As all representations are scaled to that length, one grid serves all."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Which training texts one seed takes."""

    seed: int
    """Of the weights that a classifier starts with."""
    fitting: Rows
    """Rows of the training texts, in rising order."""
    choosing: Rows
    """The same, none of them in `fitting`."""


@dataclass(frozen=True)
class Task:
    """Training texts, test texts, and the division of the first by each of S seeds."""

    train: LabelledTexts
    test: LabelledTexts
    splits: tuple[Split, ...]
    hidden: int | None = None
    """Units of a hidden layer of the classifiers on vectors; None: they are linear."""

    @property
    def classes(self) -> list[str]:
        return self.train.classes

    @property
    def num_train(self) -> int:
        """Training texts that each seed takes: N, or fewer in a learning curve."""
        return len(self.splits[0].fitting) + len(self.splits[0].choosing)

    @property
    def train_classes(self) -> NDArray[np.int64]:
        """(N,) numbers of classes."""
        return np.searchsorted(self.classes, self.train.labels)

    @property
    def test_classes(self) -> NDArray[np.int64]:
        """(M,) numbers of classes."""
        return np.searchsorted(self.classes, self.test.labels)

    def of_size(self, number: int, *, seed: int) -> "Task":
        """The same with so many of the training texts, each seed drawing its own, classes in their shares."""
        rows = [draw(self.train.labels, number, rng=_rng(seed, split.seed, number)) for split in self.splits]
        return Task(self.train, self.test, splits_of(self.train, rows, seed=seed), self.hidden)


def splits_of(train: LabelledTexts, rows: Sequence[Rows], *, seed: int) -> tuple[Split, ...]:
    """A split of each of these sets of rows: CHOOSING_SHARE of the different texts of each class is chosen on, the rest
    fitted on; equal texts stay together."""
    splits = []
    for number, taken in enumerate(rows):
        rng = _rng(seed, number)
        fitting, choosing = divide(train.taken(taken), CHOOSING_SHARE, rng=rng)
        splits.append(Split(int(rng.integers(2**31)), taken[fitting], taken[choosing]))
    return tuple(splits)


def _rng(*words: int) -> np.random.Generator:
    return np.random.default_rng(words)
