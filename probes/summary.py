"""Figures side by side: a row for each model, baseline or variant, a column for each measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probes.cells import cell, heading, verdict
from probes.results import Measure, Score


@dataclass(frozen=True)
class Row:
    """One row of a summary."""

    label: str
    cells: dict[str, Score]
    """By measure; one that was not taken is missing."""

    @property
    def is_baseline(self) -> bool:
        return all(score.role == "baseline" for score in self.cells.values())


@dataclass(frozen=True)
class Summary:
    """Rows and columns of figures, models first, else in the order in which they were first met."""

    measures: dict[str, Measure]
    rows: list[Row]

    @classmethod
    def of(cls, scores: Sequence[Score], measures: Mapping[str, Measure], *, prefix: str = "") -> "Summary":
        """These figures; what differs in model, variant, group or layer stands in rows of its own."""
        rows: list[tuple[str, dict[str, Score]]] = []
        for score in sorted(scores, key=lambda score: score.role == "baseline"):
            label = prefix + row_label(score)
            for known, cells in rows:
                if known == label and score.measure not in cells:
                    cells[score.measure] = score
                    break
            else:
                rows.append((label, {score.measure: score}))
        used = dict.fromkeys(score.measure for score in scores)
        return cls({key: measure_of(measures, key) for key in used}, [Row(label, cells) for label, cells in rows])

    def joined(self, other: "Summary") -> "Summary":
        """The rows of both, one below the other."""
        return Summary({**self.measures, **other.measures}, [*self.rows, *other.rows])

    def headings(self) -> list[str]:
        """The columns' titles, with n where it is the same all the way down."""
        return [heading(measure) + self._n_told(key) for key, measure in self.measures.items()]

    def text(self, row: Row, key: str) -> str:
        """A cell: the figure with its interval, n where rows differ in it, the verdict of a difference; '' if none."""
        if (score := row.cells.get(key)) is None:
            return ""
        n = "" if self._n_told(key) else f" n = {score.n:,}"
        said = f": {verdict(score, self.measures[key])}" if score.role == "difference" else ""
        return cell(score, self.measures[key]) + n + said

    def _n_told(self, key: str) -> str:
        sizes = {row.cells[key].n for row in self.rows if key in row.cells}
        return f", n = {sizes.pop():,}" if len(sizes) == 1 else ""


def measure_of(measures: Mapping[str, Measure], key: str) -> Measure:
    """How a measure is shown; one that the results do not describe is shown under its key, as a plain quotient."""
    return measures.get(key) or Measure(title=key, unit="ratio", is_better="")


def row_label(score: Score, *, with_layer: bool = True) -> str:
    """'bert, 3 shots, bank, layer 6'."""
    layer = f"layer {score.layer}" if with_layer and score.layer is not None else ""
    return ", ".join(part for part in (score.model, score.variant, score.group or "", layer) if part)
