"""A figure of an audit: what was counted, of how many, and whether it is as it should be."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np

from objectives.rows import Ints

_LONGEST = 1 << 20  # tokens; what is longer is counted as this long, so that counts by length fit into memory

SIGMAS = 4.0
"""Standard deviations by which a count may miss its mean before it counts as off: 6 in 100,000 honest ones do."""


class Verdict(StrEnum):
    """What to think of a figure."""

    OK = "ok"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its verdict."""

    name: str
    value: Any
    """A number in `unit`, or counts by something."""
    n: int
    """Of how many the figure was taken."""
    unit: str
    """What the number counts; "share" for one in 0..1."""
    verdict: Verdict
    reason: str
    """Why the verdict is what it is, and what to do where it is not ok."""

    def record(self) -> dict[str, Any]:
        """Everything as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Section:
    """Figures on one thing."""

    title: str
    figures: tuple[Figure, ...]
    note: str = ""
    """What holds for all of the figures, such as that they are of a sample."""


def at_most(value: float, *, look: float, wrong: float = float("inf")) -> Verdict:
    """ok up to `look`, look up to `wrong`, and wrong above it."""
    return Verdict.OK if value <= look else Verdict.LOOK if value <= wrong else Verdict.WRONG


def at_least(value: float, *, look: float, wrong: float = -float("inf")) -> Verdict:
    """ok from `look` on, look from `wrong` on, and wrong below it."""
    return at_most(-value, look=-look, wrong=-wrong)


def up_to(limit: float) -> str:
    """A limit on a share, for the reason of what is within it."""
    return f"ok to {100 * limit:g} %"


def judged(
    name: str, value: Any, verdict: Verdict, *, n: int, unit: str, fine: str, problem: str, remedy: str
) -> Figure:
    """A figure whose reason is `fine` where it is ok, and else the problem with its remedy."""
    reason = fine if verdict is Verdict.OK else f"{problem}. {remedy}."
    return Figure(name=name, value=value, n=n, unit=unit, verdict=verdict, reason=reason)


def told(name: str, value: Any, *, n: int, unit: str, reason: str) -> Figure:
    """A figure that no value of is a fault."""
    return Figure(name=name, value=value, n=n, unit=unit, verdict=Verdict.OK, reason=reason)


def share(part: float, whole: float) -> float:
    """part / whole, 0 where there is nothing."""
    return float(part / whole) if whole else 0.0


def spread(probability: float, n: int) -> float:
    """By how much a share of n independent draws may miss its probability."""
    return float(SIGMAS * np.sqrt(probability * (1.0 - probability) / max(1, n)))


class Lengths:
    """How many things there are of each length, in tokens."""

    def __init__(self) -> None:
        self.counts = np.zeros(1, dtype=np.int64)

    def add(self, lengths: Ints) -> None:
        """Count some more."""
        more = np.bincount(np.minimum(lengths, _LONGEST))
        longer, shorter = (more, self.counts) if len(more) > len(self.counts) else (self.counts, more)
        self.counts = longer.astype(np.int64)
        self.counts[: len(shorter)] += shorter

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def quantile(self, probability: float) -> int:
        """The smallest length that so great a share of all does not exceed."""
        return int(np.searchsorted(np.cumsum(self.counts), probability * self.total))

    def bins(self, edges: list[int]) -> list[tuple[int, int, int]]:
        """(shortest, longest, count) between edges; the last bin takes all that is longer."""
        bounds = [*edges, len(self.counts)]
        return [
            (low, high - 1, int(self.counts[low:high].sum()))
            for low, high in pairwise(bounds)
            if low < len(self.counts)
        ]

    def value(self, edges: list[int]) -> dict[str, Any]:
        """For JSON: quantiles and bins."""
        quantiles = {"p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
        return {**{name: self.quantile(at) for name, at in quantiles.items()}, "bins": self.bins(edges)}

    def tokens_beyond(self, length: int) -> int:
        """Tokens of all that is longer than this."""
        lengths = np.arange(len(self.counts))
        return int((self.counts * lengths)[length + 1 :].sum())


def doubling(longest: int) -> list[int]:
    """Edges 1, 2, 4, ... up to a length."""
    return [1 << power for power in range(max(1, longest).bit_length())]
