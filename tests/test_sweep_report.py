"""A sweep's page and pictures: the figures of the results, all of them, and nothing that the results do not hold."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pretrain.recipe_problems import RecipeError
from pretrain.sweeps.report import write_report
from pretrain.sweeps.report.arrangement import Arrangement, Scale
from pretrain.sweeps.report.page import TEMPLATE, render
from pretrain.sweeps.report.pictures import Pictures, pictures_of
from pretrain.sweeps.report.tables import cells_sheet, comparison_sheet
from pretrain.sweeps.report.units import amount, axis_of, difference_text, estimate_text, figure, p_text, title_of
from pretrain.sweeps.results import Results
from tests import sweep_results as made
from tests.probe_results import PIXEL
from tests.sweep_results import EVIL
from tests.test_report import Reader

LONG = tuple(f"policy {number} of a masking whose name has many words {'x' * 40}" for number in range(3))
SWEEPS = {
    "rates": made.mask_rates(),
    "grid": made.grid(),
    "one seed": made.mask_rates(seeds=1),
    "failures": made.with_failures(),
    "evil": made.evil(),
    "long": made.named(*LONG),
    "one setting": made.named("token"),
    "nothing done": made.nothing_done(),
    "many": made.named(*(f"policy{number}" for number in range(14))),
}


@pytest.fixture(autouse=True)
def _no_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its five megabytes are the same in every page."""
    monkeypatch.setattr("probes.report.rendering._plotly", lambda: "")


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.report.chart.draw_curves", lambda target, *_, **__: target.write_bytes(PIXEL))


def page(results: Results) -> str:
    return render(results, pictures_of(results))


def read(name: str) -> Reader:
    return Reader(page(SWEEPS[name]))


def headings(reader: Reader) -> set[str]:
    return {line.strip() for line in reader.text.split("\n") if line.strip()}


def charts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(name).data)["charts"]
    return {key.removeprefix("sweep/"): chart for key, chart in found.items()}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_page_opens_with_the_answer_and_has_every_figure_of_the_views(name: str) -> None:
    results, text = SWEEPS[name], read(name).text
    said = [text.index(sentence) for sentence in results.answer]
    assert said == sorted(said)
    assert results.run_best in text and all(caution in text for caution in results.cautions)
    for view in results.views:
        assert title_of(view.measure) in text and all(note in text for note in view.notes)
        for setting, one in view.settings.items():
            assert setting in text and estimate_text(view.measure, one) in text
        for difference in view.differences:
            assert difference_text(view.measure, difference) in text and difference.verdict in text
    for cell in results.cells:
        assert cell.cell in text and cell.error in text
    first = results.views[0].settings if results.views else ()
    assert not first or said[0] < text.index(next(iter(first)), said[-1])


@pytest.mark.parametrize("name", SWEEPS)
def test_nothing_is_asked_of_the_network_and_no_text_is_markup(name: str) -> None:
    reader = read(name)
    assert not {tag for tag, _ in reader.tags} & {"link", "iframe", "object", "embed", "base", "form", "img", "video"}
    for tag, attributes in reader.tags:
        assert all(not (attributes.get(key) or "") for key in ("src", "href", "srcset", "style")), tag
    assert not re.search(r"https?:|url\(|@import", TEMPLATE.read_text(encoding="utf-8"))
    scripts = 3 if json.loads(reader.data or '{"charts": {}}')["charts"] else 0
    assert [tag for tag, _ in reader.tags].count("script") == scripts


def test_markup_in_texts_stays_text() -> None:
    whole = page(SWEEPS["evil"])
    assert whole.lower().count("</script") == 3 and EVIL in Reader(whole).text
    assert any(EVIL in line["n"] for chart in charts("evil").values() for line in chart["lines"])


def test_sections_are_there_where_there_is_something_to_show() -> None:
    always = {"How it was made", "The cells"}
    whole = always | {"The comparison that decides", "At equal cost", "Learning curves", "What it costs"}
    assert headings(read("nothing done")) >= always and not headings(read("nothing done")) & (whole - always)
    for name in SWEEPS.keys() - {"nothing done"}:
        assert headings(read(name)) >= whole
        assert ("Each axis by itself, and both together" in headings(read(name))) == (name == "grid")
    assert (
        "could not be shown to depend" not in read("grid").text
        and "F test of the interaction: p = 0.013" in read("grid").text
    )
    assert "pretrain.sweep recipes/sweeps" in read("rates").text


def test_one_seed_has_no_intervals_and_says_so() -> None:
    reader, drawn = read("one seed"), charts("one seed")
    assert "One seed each, so no interval is known" in reader.text and "best?" not in reader.text
    assert not [line for chart in drawn.values() for line in chart["lines"] if line["l"] or line["h"]]
    assert "No intervals: one seed says nothing of the spread." in reader.text
    assert [line["n"] for line in drawn["settings.png"]["lines"]] == ["", "single run"]


def test_charts_draw_the_numbers_of_the_results() -> None:
    results, drawn = SWEEPS["rates"], charts("rates")
    first = results.views[0]
    shown = {
        (x, y, low, high)
        for line in drawn["settings.png"]["lines"]
        if line["s"] == "marks"
        for x, y, low, high in zip(line["x"], line["y"], line["l"], line["h"], strict=True)
    }
    short = {
        (float(name.split()[-1]), *(float(f"{v:.6g}") for v in (one.value, one.low or 0, one.high or 0)))
        for name, one in first.settings.items()
    }
    assert shown == short
    dots = next(line for line in drawn["settings.png"]["lines"] if line["s"] == "dots")
    assert sorted(dots["y"]) == sorted(float(f"{cell.figures[results.measure]:.6g}") for cell in results.cells)
    apart = {x for line in drawn["differences.png"]["lines"] if line["s"] == "marks" for x in line["x"]}
    assert apart == {0.1, 0.2, 0.3, 0.4, 0.6}, "the reference, 0.15, is the line at zero"
    assert drawn["differences.png"]["levels"] == [["reference, mlm_probability 0.15", 0.0]]
    assert drawn["differences.png"]["y"] == "nats, below 0 is better"


def test_the_best_its_rivals_and_the_reference_are_marked() -> None:
    results, drawn = SWEEPS["rates"], charts("rates")
    best = results.views[0].best
    assert best is not None
    lines = {line["n"]: line for line in drawn["settings.png"]["lines"]}
    at = {name: float(name.split()[-1]) for name in results.views[0].settings}
    assert lines["best mean"]["x"] == [at[best.setting]]
    assert set(lines["may be the best as well (95 % confidence)"]["x"]) == {at[n] for n in best.candidates} - {
        at[best.setting]
    }
    assert set(lines["ruled out as the best"]["x"]) == set(at.values()) - {at[name] for name in best.candidates}
    assert drawn["settings.png"]["levels"][0][0].startswith("reference, mlm_probability 0.15: 4.4")
    sheet = comparison_sheet(results, results.views[0])
    assert [row[0] for at, row in enumerate(sheet.rows) if at in sheet.strong] == [best.setting]


def test_numbers_stand_along_their_axis_and_names_below_each_other() -> None:
    assert charts("rates")["settings.png"]["ticks"] == [
        [float(rate), rate] for rate in ("0.10", "0.15", "0.20", "0.30", "0.40", "0.60")
    ]
    names = charts("long")["settings.png"]
    assert names["sideways"] and [name for _, name in names["ticks"]] == [f"name {name}" for name in LONG]
    assert "left of 0" in charts("long")["differences.png"]["y"]


def test_a_wide_axis_of_numbers_is_drawn_by_logarithms() -> None:
    assert Scale.of(["1e-4", "1e-3", "1e-2"]).places == pytest.approx({"1e-4": -4, "1e-3": -3, "1e-2": -2})
    assert Scale.of(["16", "64", "128"]).places == {"16": 16, "64": 64, "128": 128}
    for labels in (["nan", "1"], ["1", "1.0"], ["a", "2"], ["7"]):
        assert not Scale.of(labels).is_numeric
    assert [label for _, label in Scale.of(["0", "1", "2", "100"]).ticks()] == ["0", "100"]


def test_a_curve_starts_at_nothing_spent_and_shows_its_late_part() -> None:
    chart = charts("rates")["curves-tokens.png"]
    (from_x, to_x), (low, high) = chart["ranges"]
    late = [y for line in chart["lines"] for x, y in zip(line["x"], line["y"], strict=True) if x >= line["x"][-1] / 2]
    assert from_x == 0 and to_x >= max(x for line in chart["lines"] for x in line["x"])
    assert low < min(late) and max(late) < high < max(line["y"][0] for line in chart["lines"])
    assert "earlier parts run out of it" in read("rates").text
    assert chart["x"] == "tokens, M" and max(chart["lines"][0]["x"]) == pytest.approx(5.34, rel=0.05)


def test_every_cost_has_its_curves_and_settings_keep_their_looks() -> None:
    drawn = charts("grid")
    looks = []
    for cost in ("steps", "tokens", "targets", "flops", "hours"):
        looks.append([(line["n"], line["c"], line["d"]) for line in drawn[f"curves-{cost}.png"]["lines"]])
    assert all(one == looks[0] for one in looks) and len({(c, d) for _, c, d in looks[0]}) == 9
    many = charts("many")["curves-steps.png"]["lines"]
    assert len({(line["c"], line["d"]) for line in many}) == 14


def test_the_front_goes_through_what_nothing_as_cheap_beats() -> None:
    results = SWEEPS["rates"]
    front = next(one for one in results.tradeoffs if one.cost == "flops")
    chart = charts("rates")["tradeoff-flops.png"]
    line, points = chart["lines"][0], [front.points[name] for name in front.front]
    assert line["x"][::2] == pytest.approx([x / 1e15 for x, _ in points]) and len(points) > 2
    assert line["y"][::2] == pytest.approx([y for _, y in points], rel=1e-5)
    # Between two of them the line goes across first, then down.
    assert line["x"][1::2] == line["x"][2::2] and line["y"][1::2] == line["y"][:-1:2]
    assert [line["n"] for line in chart["lines"] if line["n"].endswith("(front)")] == [
        f"{name} (front)" for name in Arrangement.of(results).ordered(front.front)
    ]


def test_an_interaction_has_a_line_for_each_level_of_the_second_axis() -> None:
    chart, found = charts("grid")["interaction.png"], SWEEPS["grid"].views[0].interaction
    assert found is not None and [line["n"] for line in chart["lines"]] == [
        f"masking.mlm_probability {level}" for level in ("0.15", "0.30", "0.50")
    ]
    for line, level in zip(chart["lines"], ("0.15", "0.30", "0.50"), strict=True):
        assert line["y"] == [float(f"{found.means[size][level]:.6g}") for size in ("16", "32", "64")]
        assert line["l"] and all(low < y for low, y in zip(line["l"], line["y"], strict=True))


def test_cells_that_failed_are_told_with_their_last_lines() -> None:
    text, sheet = read("failures").text, cells_sheet(SWEEPS["failures"])
    assert "18 cells: 15 done, 2 failed, 1 not run." in text
    assert "<b>last</b> line" in text and "It left no message." in text
    assert sheet is not None and [row[1] for row in [*sheet.rows, *sheet.more]].count("failed") == 2


@pytest.mark.usefixtures("no_drawing")
def test_the_same_results_make_the_same_page_and_a_picture_for_each_chart(tmp_path: Path) -> None:
    for results in (SWEEPS["grid"], SWEEPS["nothing done"]):
        first = write_report(results, tmp_path / "one").read_bytes()
        assert (
            write_report(Results.model_validate_json(results.model_dump_json()), tmp_path / "two").read_bytes() == first
        )
    assert {file.name for file in (tmp_path / "one").glob("*.png")} == {key for key in charts("grid")}


@pytest.mark.usefixtures("no_drawing")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match=r"file: the report cannot be written .*Expected a folder.*Free it"):
        write_report(SWEEPS["nothing done"], tmp_path / "file")


def test_pictures_are_drawn_and_not_blank(tmp_path: Path) -> None:
    from matplotlib.image import imread

    whole, sideways = pictures_of(SWEEPS["rates"]), pictures_of(SWEEPS["long"])
    for chart in (
        whole.settings,
        whole.curves[0],
        whole.tradeoffs[0],
        sideways.differences,
        pictures_of(SWEEPS["grid"]).interaction,
    ):
        assert chart is not None
        (tmp_path / chart.file).write_bytes(b"old")
        chart.draw(tmp_path)
        pixels = imread(tmp_path / chart.file)
        assert pixels.shape[1] == 1080 and 0.6 < pixels[..., :3].mean() < 0.995
    assert pictures_of(SWEEPS["nothing done"]) == Pictures()


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (amount("tokens", 5_340_000), "5.34 M tokens"),
        (amount("targets", 801_000), "801 k targets"),
        (amount("flops", 1.234e15), "1.2e15 FLOPs"),
        (amount("hours", 5 / 60), "5.0 min"),
        (amount("hours", 26.04), "26.0 h"),
        (amount("hours", 0.005), "18 s"),
        (amount("steps", 3000), "3,000 steps"),
        (axis_of("flops", 2.4e15), (1e15, "FLOPs (1e15)")),
        (axis_of("hours", 0.5), (1 / 60, "minutes of training")),
        (axis_of("tokens", 5e6), (1e6, "tokens, M")),
        (figure("eval/mlm_nats", -0.0001), "0.000"),
        (figure("eval/mlm_nats", 0.0126, signed=True), "+0.013"),
        (figure("eval/accuracy/mlm", 0.4123), "41.2"),
        (p_text(0.00004), "< 0.001"),
        (p_text(None), ""),
        (title_of("eval/mlm_nats"), "held-out mlm loss"),
        (title_of("eval/accuracy/mlm"), "held-out accuracy, mlm"),
        (title_of("masks_30/mlm_nats"), "masks 30, mlm loss"),
    ],
)
def test_figures_are_told_in_units_for_people(got: object, expected: object) -> None:
    assert got == expected
