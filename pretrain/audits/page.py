"""An audit on one page: how it stands, what is not as it should be and what to do, then every figure."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pretrain.audits.figure import Figure, Section, Verdict

_STYLES = {Verdict.WRONG: "bold white on red", Verdict.LOOK: "black on yellow", Verdict.OK: "green"}
_SAID = {Verdict.WRONG: "wrong", Verdict.LOOK: "to look at", Verdict.OK: "ok"}
_WIDE = 110  # columns from which on there is room for n
_BAR = 8  # columns
_HISTOGRAMS = {
    "document_lengths": "tokens in a document",
    "sentence_lengths": "tokens in a sentence",
    "row_lengths": "tokens in a row",
}


def audit_page(title: str, sections: Sequence[Section], *, width: int, is_ascii: bool) -> RenderableType:
    """The page as rich prints it.

    Args:
        width: columns of the terminal.
        is_ascii: draw bars of signs that any output takes.
    """
    figures = [figure for section in sections for figure in section.figures]
    problems = [figure for verdict in (Verdict.WRONG, Verdict.LOOK) for figure in figures if figure.verdict is verdict]
    parts: list[RenderableType] = [_summary(title, figures), Text()]
    if problems:
        parts += [_problems(problems), Text()]
    parts += [_table(sections, with_n=width >= _WIDE), Text(), _histograms(figures, is_ascii)]
    return Group(*parts)


def _summary(title: str, figures: Sequence[Figure]) -> Text:
    summary = Text(f"{title}: ", "bold")
    for verdict, said in _SAID.items():
        count = sum(figure.verdict is verdict for figure in figures)
        summary.append("" if verdict is Verdict.WRONG else ", ", "not bold")
        summary.append(f"{count} {said}", _STYLES[verdict] if count else "not bold")
    return summary


def _problems(problems: Sequence[Figure]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for figure in problems:
        text = Text(f"{_name(figure)} {shown(figure)}", "bold").append(f"  {figure.reason}", "not bold")
        table.add_row(Text(figure.verdict, _STYLES[figure.verdict]), text)
    return table


def _table(sections: Sequence[Section], *, with_n: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, pad_edge=False, expand=True)
    table.show_header, table.header_style = with_n, "dim"
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True, justify="right")
    if with_n:
        table.add_column("of n", no_wrap=True, justify="right", style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("", ratio=1, style="dim")
    for section in sections:
        table.add_row(Text(section.title, "bold"), *[""] * with_n, "", "", section.note)
        for figure in section.figures:
            n = [f"{figure.n:,}"] if with_n else []
            reason = figure.reason if figure.verdict is Verdict.OK else "see above"
            table.add_row(
                f"  {_name(figure)}", shown(figure), *n, Text(figure.verdict, _STYLES[figure.verdict]), Text(reason)
            )
    return table


def _histograms(figures: Sequence[Figure], is_ascii: bool) -> Table:
    """The histograms that there are, side by side."""
    side_by_side = Table.grid(padding=(0, 4, 0, 0))
    drawn = [figure for figure in figures if figure.name in _HISTOGRAMS]
    for _ in drawn:
        side_by_side.add_column()
    side_by_side.add_row(*(_histogram(_HISTOGRAMS[figure.name], figure.value, is_ascii) for figure in drawn))
    return side_by_side


def _histogram(title: str, value: dict[str, Any], is_ascii: bool) -> RenderableType:
    used = value["bins"]
    while len(used) > 1 and used[0][2] == 0:
        used = used[1:]
    total, most = sum(count for _, _, count in used), max(count for _, _, count in used)
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=_BAR, no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    for low, high, count in used:
        name = _short(low) if low == high else f"{_short(low)}-{_short(high)}"
        percent = 100 * count / max(1, total)
        said = "<1 %" if 0 < percent < 1 else f"{percent:.0f} %"
        table.add_row(name, Text(_bar(count / max(1, most), is_ascii), "cyan"), said)
    return Group(Text(title, "bold", no_wrap=True), table)


def _bar(part: float, is_ascii: bool) -> str:
    eighths = round(part * _BAR * 8)
    if is_ascii:
        return "#" * round(eighths / 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _name(figure: Figure) -> str:
    return figure.name.replace("_", " ")


def shown(figure: Figure) -> str:
    """The value of a figure with its unit, short."""
    value = figure.value
    if value is None:
        return "none"
    if figure.name in _HISTOGRAMS:
        return f"median {value['median']:,}"
    if isinstance(value, dict):
        return f"{sum(value.values()):,}"
    if figure.unit == "share":
        return _percent(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _percent(part: float) -> str:
    percent = 100 * part
    return "under 0.01 %" if 0 < percent < 0.01 else f"{percent:.0f} %" if percent >= 99.95 else f"{percent:.3g} %"


def _short(number: int) -> str:
    return str(number) if number < 1000 else f"{number / 1024:.0f}k"
