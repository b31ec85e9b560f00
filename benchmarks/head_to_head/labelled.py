"""A labelled set of texts, read from CSV files with the columns `label` and `text` (the form of AG News)."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHOOSING_FRACTION = 0.2
"""Share of the training rows on which what is to be chosen is chosen."""
_SEED = 0  # which training rows are taken is the same for every model


class LabelledError(ValueError):
    """A labelled set that cannot be read as one."""


@dataclass(frozen=True)
class LabelledSet:
    """Texts with labels: rows to fit on, rows to choose on, rows to test on, in this order."""

    texts: list[str]
    labels: NDArray[np.str_]
    """(N,)"""
    num_fitting: int
    num_choosing: int
    fingerprint: str
    """Of the files and of which rows were taken."""

    @property
    def fitting(self) -> slice:
        return slice(0, self.num_fitting)

    @property
    def choosing(self) -> slice:
        return slice(self.num_fitting, self.num_fitting + self.num_choosing)

    @property
    def training(self) -> slice:
        """The rows to fit on and to choose on."""
        return slice(0, self.num_fitting + self.num_choosing)

    @property
    def test(self) -> slice:
        return slice(self.num_fitting + self.num_choosing, len(self.texts))


def read_labelled(train: Path, test: Path, *, num_train: int) -> LabelledSet:
    """Read a labelled set.

    Args:
        num_train: training rows that are taken, at random; all of them where there are fewer.

    Raises:
        LabelledError: a file that is missing or lacks a column, a row without text, a label that only one of them has.
    """
    training, testing = _rows(train), _rows(test)
    if {label for label, _ in training} != {label for label, _ in testing}:
        raise LabelledError(f"{train} and {test} have different labels, expected the same. Give two parts of one set.")
    order = np.random.default_rng(_SEED).permutation(len(training))[:num_train]
    rows = [*(training[row] for row in order), *testing]
    num_choosing = round(CHOOSING_FRACTION * len(order))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (train, test)))
    return LabelledSet(
        texts=[text for _, text in rows],
        labels=np.array([label for label, _ in rows]),
        num_fitting=len(order) - num_choosing,
        num_choosing=num_choosing,
        fingerprint=f"{digest.hexdigest()[:16]}/{len(order)}",
    )


def _rows(path: Path) -> list[tuple[str, str]]:
    """Label and text of each row."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows: Sequence[dict[str, str | None]] = list(csv.DictReader(file))
    except OSError as error:
        raise LabelledError(
            f"{path} cannot be read ({error.strerror}), expected a CSV file. Check the path."
        ) from error
    found = [((row.get("label") or "").strip(), (row.get("text") or "").strip()) for row in rows]
    wrong = next((number for number, row in enumerate(found, start=2) if not all(row)), None)
    if wrong is not None or not found:
        raise LabelledError(
            f"{path}: {f'row {wrong} has no label or no text' if wrong else 'there is no row'}, expected a header with"
            " the columns label and text, and both in every row. Correct the file."
        )
    return found
