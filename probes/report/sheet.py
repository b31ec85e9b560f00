"""One table of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from probes.cells import number
from probes.results import Cell, Table
from probes.summary import Summary

SHOWN_ROWS = 12
"""Rows of a long table that stand open."""
MOST_ROWS = 400
"""Rows that stand in the page at all; the CSV file has the others."""


@dataclass(frozen=True)
class Sheet:
    """Cells as text. The first column names the row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    more: list[list[str]] = field(default_factory=list)
    """Rows to be unfolded."""
    left_out: int = 0
    """Rows that are in the CSV file only."""
    csv: str = ""
    muted: frozenset[int] = frozenset()
    """Numbers of the rows that are baselines."""
    strong: frozenset[int] = frozenset()
    """Numbers of the rows that a reader looks for."""


def summary_sheet(summary: Summary, caption: str) -> Sheet | None:
    """The summary's cells with intervals, n and verdicts; None where it has no row."""
    if not summary.rows:
        return None
    rows = [[row.label, *(summary.text(row, key) for key in summary.measures)] for row in summary.rows]
    muted = {at for at, row in enumerate(summary.rows) if row.is_baseline}
    return Sheet(caption, ["", *summary.headings()], rows, muted=frozenset(muted))


def table_sheet(table: Table, probe: str) -> Sheet:
    """A probe's own table: its first rows open, the rest folded, no more of it than a page can bear."""
    are_small = [_are_small([row[at] for row in table.rows]) for at in range(len(table.columns))]
    rows = [
        [
            f"{cell:.3f}" if small and isinstance(cell, float) else _text(cell)
            for cell, small in zip(row, are_small, strict=True)
        ]
        for row in table.rows
    ]
    title = table.title if not table.model or table.model in table.title else f"{table.title}: {table.model}"
    return Sheet(
        f"{title}. {table.caption}" if table.caption else title,
        list(table.columns),
        rows[:SHOWN_ROWS],
        rows[SHOWN_ROWS:MOST_ROWS],
        max(len(rows) - MOST_ROWS, 0),
        f"{probe}.{table.name}.csv",
    )


def _are_small(cells: Sequence[Cell]) -> bool:
    """Whether three decimals show a column's numbers: cosines and shares, of which none is lost as 0.000."""
    numbers = [abs(cell) for cell in cells if isinstance(cell, float)]
    return any(value != int(value) for value in numbers) and all(value == 0 or 5e-4 <= value <= 1 for value in numbers)


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return number(cell) if isinstance(cell, float) else str(cell)
