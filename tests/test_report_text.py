"""Figures as text: units, intervals, verdicts, and what a command prints."""

from pathlib import Path

import pytest

from probes.cells import cell, parts, verdict
from probes.results import Measure, Score, Unit
from probes.summary import Summary
from probes.terminal import show_results
from tests import probe_results as made


@pytest.mark.parametrize(
    ("unit", "role", "numbers", "said"),
    [
        ("share", "model", (0.7123, 0.64, 0.781), "71.2 % [64.0, 78.1]"),
        ("share", "difference", (0.021, -0.04, 0.082), "+2.1 points [-4.0, +8.2]"),
        ("share", "baseline", (0.5, 0.5, 0.5), "50.0 %"),
        ("cosine", "model", (0.4124, 0.39, 0.433), "0.412 [0.390, 0.433]"),
        ("cosine", "difference", (-0.0004, -0.1, 0.1), "-4.0e-04 [-0.100, +0.100]"),
        ("index", "model", (-0.0, -0.2, 0.2), "0.000 [-0.200, 0.200]"),
        ("probability", "model", (0.0001, 0.0001, 0.0001), "1.0e-04"),
        ("bits", "model", (12345.6, 12000.0, 13000.4), "12,346 [12,000, 13,000]"),
        ("count", "model", (7, 7, 7), "7"),
        ("seconds", "difference", (0.01234, 0.01, 0.02), "+0.01234 [+0.01, +0.02]"),
    ],
)
def test_a_figure_has_its_unit_and_its_interval(
    unit: Unit, role: str, numbers: tuple[float, float, float], said: str
) -> None:
    value, low, high = numbers
    score = Score(measure="m", model="a", value=value, low=low, high=high, n=1, role=role)
    assert cell(score, Measure(title="M", unit=unit)) == said


@pytest.mark.parametrize(
    ("low", "high", "is_better", "said"),
    [
        (0.1, 0.2, "higher", "better"),
        (0.1, 0.2, "lower", "worse"),
        (-0.2, -0.1, "lower", "better"),
        (-0.2, -0.1, "higher", "worse"),
        (0.1, 0.2, "", "higher"),
        (-0.2, -0.1, "", "lower"),
        (-0.1, 0.2, "higher", "no clear difference"),
        (0.0, 0.0, "higher", "no clear difference"),
    ],
)
def test_a_verdict_follows_the_interval(low: float, high: float, is_better: str, said: str) -> None:
    score = Score(measure="m", model="a - b", value=(low + high) / 2, low=low, high=high, n=1, role="difference")
    assert verdict(score, Measure(title="M", unit="share", is_better=is_better)) == said


def test_two_figures_of_one_place_both_stand() -> None:
    scores = [made.score("accuracy", "a", value) for value in (0.1, 0.9)]
    summary = Summary.of(scores, {})
    assert [row.cells["accuracy"].value for row in summary.rows] == [0.1, 0.9]


def test_n_stands_in_the_heading_where_it_is_the_same_and_else_in_the_cells() -> None:
    measures = {"m": Measure(title="M", unit="share")}
    same = Summary.of([made.score("m", name, 0.5, n=7) for name in "ab"], measures)
    assert same.headings() == ["M, n = 7"] and same.text(same.rows[0], "m") == "50.0 % [45.0, 55.0]"
    other = Summary.of([made.score("m", name, 0.5, n=n) for name, n in (("a", 7), ("b", 1234))], measures)
    assert other.headings() == ["M"] and other.text(other.rows[1], "m").endswith("n = 1,234")


@pytest.mark.parametrize("results", [made.senses_like(), made.classify_like(), made.minimal_pairs_like()])
def test_what_is_printed_fits_and_has_every_figure(results: made.Results) -> None:
    shown = show_results(results, Path("out/x.json"))
    assert max(map(len, shown.split("\n"))) <= 100
    for score in results.headlines:
        assert all(part in shown for part in parts(score, results.measures[score.measure])) and score.model in shown
    assert results.answer[0] in " ".join(shown.split()) and "out/x.json" in shown


def test_many_measures_are_several_tables_of_the_same_rows_and_wide_letters_count_twice() -> None:
    measures = {f"m{number}": Measure(title=f"Measure number {number}", unit="share") for number in range(9)}
    scores = [made.score(key, f"银行{name}", 0.5) for key in measures for name in "ab"]
    results = made.classify_like().model_copy(update={"measures": measures, "headlines": scores})
    shown = show_results(results, Path("x.json"))
    assert shown.count("银行a") == 3 and all(f"number {number}" in " ".join(shown.split()) for number in range(9))
    assert max(len(line) + line.count("银") + line.count("行") for line in shown.split("\n")) <= 100


def test_markup_of_the_terminal_in_names_is_printed_as_it_stands() -> None:
    results = made.classify_like()
    odd = [score.model_copy(update={"model": "[red]x[/red]"}) for score in results.headlines[:1]]
    assert "[red]x[/red]" in show_results(results.model_copy(update={"headlines": odd}), Path("x.json"))


def test_a_quotient_of_two_models_is_compared_with_one() -> None:
    measure = Measure(title="faster", unit="ratio", is_better="")

    def said(value: float, low: float, high: float) -> str:
        score = Score(measure="m", model="a / b", value=value, low=low, high=high, n=3, role="difference")
        return f"{cell(score, measure)}: {verdict(score, measure)}"

    assert said(0.73, 0.45, 1.06) == "0.73 [0.45, 1.06]: no clear difference"
    assert said(0.73, 0.45, 0.9).endswith("lower") and said(2.0, 1.5, 3.0).endswith("higher")
