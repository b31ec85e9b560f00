"""From predictions to figures with intervals: accuracy, macro-F1, confusion, and paired differences.

A text's outcome is the share of the seeds that classify it right. Intervals come from a bootstrap of the test texts
inside their classes (probes.intervals), the same resamples for every entry, so that differences are paired. They say
how far a figure would move with other test texts of these classes, and not with other training texts.
"""

# M test texts, S seeds, C classes, R resamples, K layers

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.classify.representations import Fits
from probes.intervals import CONFIDENCE, percentiles, resample_counts, weighted_mean
from probes.results import Role

Classes = NDArray[np.int64]
_TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, eq=False)
class Entry:
    """One line of the table: a representation of the texts with its classifiers."""

    model: str
    """A model's name, or a baseline's."""
    variant: str
    """Which representation, where a model has several."""
    role: Role
    fits: Fits
    num_train: int
    layer: int | None = None
    """The only one that it takes, in a curve over layers."""
    num_cut: tuple[int, int] = (0, 0)
    """Training and test texts that the model could not read to their end."""
    num_unknown: tuple[int, int] = (0, 0)
    """Training and test texts that it has no vector for."""


@dataclass(frozen=True)
class Figure:
    """One number and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, value: float, low: float, high: float, n: int) -> "Figure":
        """An interval never excludes its value, whatever the last digit of a resample."""
        return cls(float(value), float(min(low, value)), float(max(high, value)), n)


class Judge:
    """The test texts' true classes and one set of resamples of them."""

    def __init__(self, classes: Classes, names: Sequence[str], *, rng: np.random.Generator) -> None:
        """
        Args:
            classes: (M,) true classes.
            names: of the C classes.
            rng: the only source of randomness.
        """
        self.classes = classes
        self.names = list(names)
        self._counts_RM = resample_counts(classes, rng=rng)

    def outcomes(self, fits: Fits) -> NDArray[np.float64]:
        """(M,) share of the seeds that are right."""
        return np.asarray((fits.predictions == self.classes).mean(axis=0, dtype=np.float64))

    def accuracy(self, fits: Fits, of_class: int | None = None) -> Figure:
        """Share of the texts (of one class: its recall) that are classified right."""
        taken = self.classes == of_class if of_class is not None else np.ones(len(self.classes), dtype=bool)
        found = weighted_mean(
            self.outcomes(fits)[None], weights=taken / taken.sum(), counts=self._counts_RM, is_share=True
        )
        return Figure.of(found.value[0], found.low[0], found.high[0], int(taken.sum()))

    def accuracy_difference(self, first: Fits, second: Fits) -> Figure:
        """First minus second. Where no text tells them apart no resample does: then a bound on the share of texts that
        would stands in (as in weighted_mean)."""
        n = len(self.classes)
        differences = self.outcomes(first) - self.outcomes(second)
        found = weighted_mean(differences[None], weights=np.full(n, 1 / n), counts=self._counts_RM)
        if not differences.any():
            bound = 1 - _TAIL ** (1 / n)
            return Figure.of(0.0, -bound, bound, n)
        return Figure.of(found.value[0], found.low[0], found.high[0], n)

    def macro_f1(self, fits: Fits) -> Figure:
        """Mean F1 of the classes, averaged over seeds. Where all texts are right, the bound of the accuracy stands in
        for the interval."""
        value, resampled_R = self._macro_f1(fits)
        low, high = percentiles(resampled_R)
        if (fits.predictions == self.classes).all():
            low = self.accuracy(fits).low
        return Figure.of(value, low, high, len(self.classes))

    def macro_f1_difference(self, first: Fits, second: Fits) -> Figure:
        """First minus second. Where both say the same of every text, as accuracy_difference."""
        if np.array_equal(first.predictions, second.predictions):
            return self.accuracy_difference(first, second)
        (value, resampled_R), (other, other_R) = self._macro_f1(first), self._macro_f1(second)
        low, high = percentiles(resampled_R - other_R)
        return Figure.of(value - other, low, high, len(self.classes))

    def confusion(self, fits: Fits) -> NDArray[np.float64]:
        """(C, C) numbers of texts by true class (rows) and predicted class (columns), the mean over seeds."""
        num = len(self.names)
        pairs = np.bincount((self.classes * num + fits.predictions).ravel(), minlength=num * num)
        return pairs.reshape(num, num) / len(fits.predictions)

    def by_seed(self, fits: Fits) -> NDArray[np.float64]:
        """(S,) accuracies."""
        return np.asarray((fits.predictions == self.classes).mean(axis=1, dtype=np.float64))

    def _macro_f1(self, fits: Fits) -> tuple[float, NDArray[np.float64]]:
        """The figure itself and (R,) that of every resample."""
        every = np.ones((1, len(self.classes)), dtype=np.int64)
        seeds = [
            [macro_f1(self.classes, predicted, len(self.names), counts) for counts in (every, self._counts_RM)]
            for predicted in fits.predictions
        ]
        return float(np.mean([value for value, _ in seeds])), np.mean([resampled for _, resampled in seeds], axis=0)


def macro_f1(true: Classes, predicted: Classes, num_classes: int, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over classes of 2 TP / (true + predicted), of those that are true or predicted somewhere: (R,).

    Args:
        true: (M,) classes.
        predicted: (M,) classes.
        counts: (R, M) how often each text counts.
    """
    from scipy.sparse import csr_array

    texts = np.arange(len(true))

    def count(classes: Classes, taken: NDArray[np.bool_]) -> NDArray[np.float64]:
        marks_MC = csr_array((taken.astype(np.float64), (texts, classes)), shape=(len(true), num_classes))
        return np.asarray((marks_MC.T @ counts.T).T)

    every = np.ones(len(true), dtype=bool)
    hits_RC = count(true, true == predicted)
    total_RC = count(true, every) + count(predicted, every)
    f1_RC = 2 * hits_RC / np.maximum(total_RC, 1)
    return np.asarray(f1_RC.sum(axis=1) / (total_RC > 0).sum(axis=1))


def layer_weight_figures(weights_SK: NDArray[np.float64], choosing_share: float) -> list[Figure]:
    """The mean weight of each layer over seeds, with an interval for other training texts: K figures.

    Every seed has left out a share of the training texts, so the spread over seeds is that of a jackknife which leaves
    out a share d of n (Shao & Wu 1989): the variance of the estimate is (1 - d) / d times that over the seeds. With S
    seeds the factor of the interval is Student's t with S - 1 degrees of freedom. Where the seeds start differently and
    end differently, that adds to it. One seed has no interval.
    """
    from scipy.stats import t

    seeds = len(weights_SK)
    means = weights_SK.mean(axis=0)
    if seeds < 2:
        return [Figure.of(mean, 0.0, 1.0, seeds) for mean in means]
    spread = weights_SK.std(axis=0, ddof=1) * ((1 - choosing_share) / choosing_share) ** 0.5
    reach = t.ppf(1 - _TAIL, seeds - 1) * spread
    lows, highs = np.clip(means - reach, 0, 1), np.clip(means + reach, 0, 1)
    return [Figure.of(mean, low, high, seeds) for mean, low, high in zip(means, lows, highs, strict=True)]
