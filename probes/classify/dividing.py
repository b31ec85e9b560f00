"""Dividing labelled texts by class, drawing from them, and whether a classifier can be fitted on them."""

# N texts, M of them in the second part

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts

LEAST_OF_A_CLASS = 2
"""Different training texts of every class: one to fit on and one to choose on."""


def in_order(texts: LabelledTexts) -> LabelledTexts:
    """The same texts sorted, so that what is drawn of them does not hang on the order of a file's rows."""
    return texts.taken(np.array(sorted(range(len(texts)), key=lambda row: (texts.texts[row], texts.labels[row]))))


def divide(texts: LabelledTexts, share: float, *, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Two sets of rows, (N - M,) and (M,) in rising order. Equal texts are in the same; of the different texts of every
    class that share, at least one, is in the second, and at least one in the first.

    A text that has several classes counts for the rarest of them. A class with one text alone is in the first.

    Args:
        texts: N of them.
        share: of the different texts of each class, between 0 and 1.
        rng: the only source of randomness.
    """
    counts = Counter(texts.labels)
    classes: dict[str, str] = {}
    for text, label in zip(texts.texts, texts.labels, strict=True):
        classes[text] = min(classes.get(text, label), label, key=lambda name: (counts[name], name))
    different = sorted(classes)
    second: set[str] = set()
    for members in _members([classes[text] for text in different]):
        number = min(max(round(share * len(members)), 1), len(members) - 1)
        second |= {different[row] for row in rng.permutation(members)[:number]}
    for label in counts:
        own = {text for text, name in zip(texts.texts, texts.labels, strict=True) if name == label}
        if own <= second:  # all of them count for rarer classes
            second.remove(min(own))
    in_second = np.array([text in second for text in texts.texts])
    return np.flatnonzero(~in_second), np.flatnonzero(in_second)


def draw(labels: Sequence[str], number: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """So many rows in rising order, the classes in the shares that they have in the whole (all rows, if there are
    not more): the largest remainders are rounded up.

    Args:
        labels: N names of classes.
        rng: the only source of randomness.
    """
    if number >= len(labels):
        return np.arange(len(labels))
    members = _members(labels)
    ideal = np.array([len(rows) for rows in members]) * number / len(labels)
    quotas = np.floor(ideal).astype(int)
    quotas[np.argsort(quotas - ideal, kind="stable")[: number - quotas.sum()]] += 1
    drawn = [rng.permutation(rows)[:quota] for rows, quota in zip(members, quotas, strict=True)]
    return np.sort(np.concatenate(drawn))


def check_classes(train: LabelledTexts, test: LabelledTexts) -> None:
    """See to it that a classifier can be fitted and tested.

    Raises:
        ProbeError: one class only, a class with fewer different training texts than LEAST_OF_A_CLASS, or a class of the
            test texts that the training texts lack.
    """
    counts = Counter(label for label, _ in {*zip(train.labels, train.texts, strict=True)})
    if len(counts) < 2:
        raise ProbeError(
            f"{train.file}: all its {len(train)} texts are of the class {train.labels[0]!r}, expected two classes or"
            " more. Add texts of another class."
        )
    rare = sorted(name for name, count in counts.items() if count < LEAST_OF_A_CLASS)
    if rare:
        raise ProbeError(
            f"{train.file}: {_named(rare)} has {counts[rare[0]]} training text, expected {LEAST_OF_A_CLASS} or more"
            " that differ: one to fit the classifier on and one to choose its regularisation on. Add texts or take the"
            " class out."
        )
    unknown = [name for name in test.classes if name not in counts]
    if unknown:
        raise ProbeError(
            f"{test.file}: {_named(unknown)} is in no training text of {train.file}, so it could never be found."
            f" Expected the classes {', '.join(map(repr, sorted(counts)))}. Give two parts of one set."
        )


def _members(labels: Sequence[str]) -> list[NDArray[np.int64]]:
    """Rows of each class, the classes sorted by name."""
    array = np.array(labels)
    return [np.flatnonzero(array == name) for name in sorted(set(labels))]


def _named(names: Sequence[str]) -> str:
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"the class {names[0]!r}{more}"
