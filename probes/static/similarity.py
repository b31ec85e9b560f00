"""Agreement with people's judgements of how alike two words are: Spearman's rank correlation with the cosines.

SimLex-999 (Hill et al. 2015) asks for likeness alone, WordSim-353 (Finkelstein et al. 2002) for relatedness as well.
"""

# N pairs

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.intervals import Array, percentiles
from probes.probe_error import ProbeError
from probes.static.analogies import read_lines
from probes.static.rank_correlation import FEWEST_PAIRS
from probes.vectors.word_vectors import WordVectors


@dataclass(frozen=True)
class Similarities:
    """Pairs of words with what people said of them."""

    name: str
    """The file's, as part of a measure's key: letters, digits and '_'."""
    pairs: list[tuple[str, str]]
    judged: Array
    """(N,) the larger, the more alike."""


def read_similarities(path: Path) -> Similarities:
    """Read lines of two words and a number, separated by tabs, commas or blanks; '#' begins a comment.

    A first line without a number in third place is taken for the names of the columns.

    Raises:
        ProbeError: it cannot be read, a line has another form, or fewer than 3 pairs.
    """
    pairs: list[tuple[str, str]] = []
    judged: list[float] = []
    for number, line in enumerate(read_lines(path, "pairs of words"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in re.split(r"\t|,|;", line)] if re.search(r"[\t,;]", line) else line.split()
        try:
            first, second, value = cells[0], cells[1], float(cells[2])
        except (IndexError, ValueError):
            if not pairs and len(cells) >= 3 and number == 1:
                continue
            raise ProbeError(
                f"{path}:{number}: got {line.strip()[:60]!r}, expected two words and a number (such as 'old new 1.58')."
                " Correct that line."
            ) from None
        if not np.isfinite(value):
            raise ProbeError(
                f"{path}:{number}: got the judgement {value}, expected a finite number. Correct that line."
            )
        pairs.append((first, second))
        judged.append(value)
    if len(pairs) < FEWEST_PAIRS:
        raise ProbeError(f"{path} holds {len(pairs)} pairs, expected at least {FEWEST_PAIRS}. Name another file.")
    return Similarities(re.sub(r"\W+", "_", path.stem.lower()), pairs, np.array(judged))


def cosines(vectors: WordVectors, pairs: list[tuple[str, str]], *, with_parts: bool = False) -> Array:
    """(N,) float64 cosine of each pair; NaN where a word is unknown or its vector has length 0.

    Args:
        with_parts: vectors made of a word's parts count as well.
    """
    found = np.full(len(pairs), np.nan)
    for number, pair in enumerate(pairs):
        one, other = (_unit(vectors, word, with_parts) for word in pair)
        if one is not None and other is not None:
            found[number] = one @ other
    return found


def _unit(vectors: WordVectors, word: str, with_parts: bool) -> Array | None:
    if not with_parts and vectors.row(word) is None:
        return None
    found = vectors.find(word)
    if found is None or not (length := np.linalg.norm(found)) > 0:
        return None
    return np.asarray(found, dtype=np.float64) / length


def interval(resampled: Array, value: float) -> tuple[float, float]:
    """The 95 % percentile interval of (R,) resampled figures; it holds the figure itself."""
    low, high = percentiles(resampled)
    return min(float(low), value), max(float(high), value)
