"""Analogies, a is to b as c is to d, answered by 3CosAdd (Mikolov et al. 2013; Levy & Goldberg 2014, section 3).

The answer is the word whose vector has the largest cosine with b - a + c, all three of length 1; a, b and c are no
candidates. Letters' case does not matter. Only questions whose four words are all among the candidates are asked; the
others lower the coverage and not the accuracy. Beside it stands what needs no analogy: the nearest word to c (Linzen
2016, "Issues in evaluating semantic spaces using word analogies").
"""

# Q questions, N candidates, D dimensions

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes.probe_error import ProbeError
from probes.reading.lines import read_text, split_lines
from probes.vectors.word_vectors import WordVectors, fold

PART = 1 << 25
"""Cosines held at once."""


@dataclass(frozen=True)
class Question:
    """a is to b as c is to d."""

    words: tuple[str, str, str, str]
    """Folded."""
    section: str


@dataclass(frozen=True)
class Answers:
    """How a table answered Q questions."""

    covered: NDArray[np.bool_]
    """(Q,) whether all four words are candidates."""
    correct: NDArray[np.bool_]
    """(Q,) whether 3CosAdd gives d; False where it was not asked."""
    nearest: NDArray[np.bool_]
    """(Q,) whether the nearest word to c gives d."""


def read_analogies(path: Path) -> list[Question]:
    """Read questions in the form of questions-words.txt: ': section', then lines of four words.

    Raises:
        ProbeError: it cannot be read, holds no question, or has a line of another form.
    """
    questions, section = [], ""
    for number, line in enumerate(read_lines(path, "analogies"), 1):
        words = fold(line).split()
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words) == 4:
            questions.append(Question((words[0], words[1], words[2], words[3]), section))
        elif words:
            raise ProbeError(
                f"{path}:{number}: got {len(words)} words ({line.strip()[:60]!r}), expected four, or ': ' and the name"
                " of a section. Correct that line."
            )
    if not questions:
        raise ProbeError(f"{path} holds no question. Expected lines of four words. Name another file.")
    return questions


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a UTF-8 file.

    Raises:
        ProbeError: it cannot be read as such.
    """
    return split_lines(read_text(path, expected=f"{what} as UTF-8 text"))


class Candidates:
    """The words that may be an answer: the first ones of a table, each once whatever its case, vectors of length 1."""

    def __init__(self, vectors: WordVectors, most_frequent: int | None) -> None:
        """
        Args:
            most_frequent: how many words from the table's beginning, which files sort by frequency; None: all.
        """
        rows: dict[str, int] = {}
        for row, word in enumerate(vectors.words[:most_frequent]):
            rows.setdefault(fold(word), row)
        table = vectors.table[list(rows.values())]
        lengths = np.linalg.norm(table, axis=1, keepdims=True)
        # A vector of length 0 has no direction, so its word cannot be asked about.
        kept = lengths[:, 0] > 0
        self.words = [word for word, is_kept in zip(rows, kept.tolist(), strict=True) if is_kept]
        self.unit_ND = (table[kept] / lengths[kept]).astype(np.float32)
        self.rows = {word: row for row, word in enumerate(self.words)}


def answer(candidates: Candidates, questions: Sequence[Question]) -> Answers:
    """Answer all questions that can be asked."""
    rows_Q4 = np.array([[candidates.rows.get(word, -1) for word in one.words] for one in questions])
    covered = np.asarray((rows_Q4 >= 0).all(axis=1))
    correct, nearest = np.zeros(len(questions), dtype=bool), np.zeros(len(questions), dtype=bool)
    asked = rows_Q4[covered]
    if len(asked):
        correct[covered] = _three_cos_add(candidates.unit_ND, asked) == asked[:, 3]
        nearest[covered] = _nearest_to_third(candidates.unit_ND, asked) == asked[:, 3]
    return Answers(covered, correct, nearest)


def _three_cos_add(unit_ND: NDArray[np.float32], rows_Q4: NDArray[np.int64]) -> NDArray[np.int64]:
    """(Q,) rows of the answers."""
    step = max(1, PART // len(unit_ND))
    answers = []
    for begin in range(0, len(rows_Q4), step):
        a, b, c = rows_Q4[begin : begin + step, :3].T
        cosines_QN = (unit_ND[b] - unit_ND[a] + unit_ND[c]) @ unit_ND.T
        for asked in (a, b, c):
            cosines_QN[np.arange(len(a)), asked] = -np.inf
        answers.append(cosines_QN.argmax(axis=1))
    return np.concatenate(answers)


def _nearest_to_third(unit_ND: NDArray[np.float32], rows_Q4: NDArray[np.int64]) -> NDArray[np.int64]:
    """(Q,) rows of the nearest words to c that are none of a, b and c; -1 where no word is left."""
    thirds, inverse = np.unique(rows_Q4[:, 2], return_inverse=True)
    step = max(1, PART // len(unit_ND))
    most = min(4, len(unit_ND))
    best = []
    for begin in range(0, len(thirds), step):
        cosines_QN = unit_ND[thirds[begin : begin + step]] @ unit_ND.T
        top = np.argpartition(-cosines_QN, most - 1, axis=1)[:, :most]
        order = np.take_along_axis(-cosines_QN, top, axis=1).argsort(axis=1, kind="stable")
        best.append(np.take_along_axis(top, order, axis=1))
    best_Q4 = np.concatenate(best)[inverse]
    is_free = ~(best_Q4[:, :, None] == rows_Q4[:, None, :3]).any(axis=2)
    chosen = is_free.argmax(axis=1)
    return np.where(is_free.any(axis=1), best_Q4[np.arange(len(best_Q4)), chosen], -1)
