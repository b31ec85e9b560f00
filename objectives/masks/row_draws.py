"""Keyed draws of the rows of a batch: a number depends on (seed, epoch), its row's own index and a counter."""

# B rows, N counters per row

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from objectives.draws import Key, uniforms

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowDraws:
    """Uniform draws in [0, 1), float64, that neither the other rows of a batch nor their order change."""

    seed: int
    epoch: int
    indices: Ints
    """(B,) number of each row in its epoch."""

    def of_rows(self, purpose: str) -> Floats:
        """(B,) one draw a row."""
        return uniforms(Key(self.seed, self.epoch, purpose), self.indices)

    def of_each(self, purpose: str, num: int) -> Floats:
        """(B, num) draws for the counters 0 .. num - 1 of every row."""
        return uniforms(Key(self.seed, self.epoch, purpose), self.indices[:, None], np.arange(num)[None, :])

    def at(self, purpose: str, row: Ints, counter: Ints) -> Floats:
        """(M,) draws for single counters of single rows; `row` counts within the batch."""
        return uniforms(Key(self.seed, self.epoch, purpose), self.indices[row], counter)

    def some(self, rows: Ints) -> "RowDraws":
        """The draws of these rows of the batch alone."""
        return RowDraws(self.seed, self.epoch, self.indices[rows])
