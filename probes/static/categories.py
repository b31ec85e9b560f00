"""A list of words by category: cosines within and between categories, beside those of random pairs of words."""

# W words, Q pairs of them

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array, Estimate, resample_counts
from probes.probe_error import ProbeError
from probes.random_pairs import random_pairs
from probes.static.analogies import Candidates, read_lines
from probes.static.pair_intervals import mean_over_pairs, resampled_means
from probes.static.similarity import interval
from probes.vectors.word_vectors import fold

BUILT_IN = {
    "animals": "dog cat horse cow sheep lion bear wolf",
    "colours": "red blue green yellow white black brown grey",
    "countries": "france germany spain italy england russia china india",
    "family": "father mother brother sister son daughter uncle aunt",
    "food": "bread meat fish cheese butter fruit sugar rice",
    "money": "bank loan debt credit interest payment price tax",
}
"""Common words of one category each, written for this probe."""
NUM_RANDOM_PAIRS = 5000


@dataclass(frozen=True)
class Category:
    """A category and its words, different ones, folded."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Heatmap:
    """Cosines of the words of a list that a table holds, category by category."""

    words: list[str]
    categories: list[str]
    """(W,) of each word; equal ones stand together."""
    cosines: Array
    """(W, W) float64."""


def built_in_categories() -> list[Category]:
    return [Category(name, tuple(words.split())) for name, words in BUILT_IN.items()]


def read_categories(path: Path) -> list[Category]:
    """Read lines of a word, a tab and its category; a first line 'word<TAB>category' is a header.

    Raises:
        ProbeError: it cannot be read, a line of another form, a word that stands twice, fewer than two categories, or
            one with a single word.
    """
    found: dict[str, list[str]] = {}
    lines_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(path, "words and their categories"), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not line.strip() or (number == 1 and cells == ["word", "category"]):
            continue
        if len(cells) != 2 or not all(cells):
            raise ProbeError(f"{path}:{number}: got {line[:60]!r}, expected a word, a tab and a category. Correct it.")
        word = fold(cells[0])
        if word in lines_of:
            raise ProbeError(
                f"{path}:{number}: {cells[0]!r} stands on line {lines_of[word]} already, expected each word once."
                " Take one of the two out."
            )
        lines_of[word] = number
        found.setdefault(cells[1], []).append(word)
    alone = [name for name, words in found.items() if len(words) < 2]
    if len(found) < 2 or alone:
        got = f"the category {alone[0]!r} has one word" if alone else f"got {len(found)} categories"
        raise ProbeError(f"{path}: {got}, expected two categories or more of two words or more. Add some.")
    return [Category(name, tuple(words)) for name, words in found.items()]


def heatmap(candidates: Candidates, categories: list[Category]) -> Heatmap:
    """The cosines of all words of the list that are candidates."""
    known = [(word, one.name) for one in categories for word in one.words if word in candidates.rows]
    unit_WD = candidates.unit_ND[[candidates.rows[word] for word, _ in known]].astype(np.float64)
    return Heatmap([word for word, _ in known], [name for _, name in known], unit_WD @ unit_WD.T)


def random_cosines(candidates: Candidates, rng: np.random.Generator) -> Array:
    """Cosines of pairs of different candidates drawn at random, (NUM_RANDOM_PAIRS,) or none for a single candidate."""
    n = len(candidates.words)
    if n < 2:
        return np.empty(0)
    first, second = random_pairs(n, NUM_RANDOM_PAIRS, rng).T
    found: Array = np.einsum("nd,nd->n", candidates.unit_ND[first], candidates.unit_ND[second]).astype(np.float64)
    return found


@dataclass(frozen=True)
class Cohesion:
    """Mean cosines of a heatmap; each an Estimate of one figure, with the number of pairs."""

    groups: dict[str, tuple[Estimate, int]]
    """'within', 'between' and each category with two known words or more."""
    separation: float
    """within - between"""
    separation_interval: tuple[float, float]
    resampled_separation: Array
    """(R,) for paired differences of heatmaps of the same words."""


def cohesion(found: Heatmap, *, rng: np.random.Generator) -> Cohesion | None:
    """Mean cosines within and between categories, intervals over other words of the same categories.

    None where there is no pair within or none between.
    """
    first, second = np.triu_indices(len(found.words), k=1)
    numbers = np.unique(found.categories, return_inverse=True)[1] if found.words else np.empty(0, dtype=np.int64)
    is_within = numbers[first] == numbers[second]
    if not is_within.any() or is_within.all():
        return None
    counts = resample_counts(numbers, rng=rng)
    members = {"within": is_within, "between": ~is_within}
    for name in dict.fromkeys(found.categories):
        own = np.array([one == name for one in found.categories])
        members[name] = own[first] & own[second]
    groups = {}
    for name, chosen in members.items():
        if chosen.any():
            outcomes = found.cosines[first[chosen], second[chosen]][None]
            estimate = mean_over_pairs(outcomes, first=first[chosen], second=second[chosen], counts=counts)
            groups[name] = (estimate, int(chosen.sum()))
    separation = float(groups["within"][0].value[0] - groups["between"][0].value[0])
    resampled = _resampled(found, first, second, is_within, counts) - _resampled(
        found, first, second, ~is_within, counts
    )
    return Cohesion(groups, separation, interval(resampled, separation), resampled)


def _resampled(
    found: Heatmap,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> Array:
    first, second = first[chosen], second[chosen]
    means = resampled_means(found.cosines[first, second][None], first=first, second=second, counts=counts)
    return np.asarray(means[0])
