"""Pictures: names that cover nothing, text shown as it stands, any number of rows and groups."""

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from probes import figures
from probes.captions import wrap
from probes.figures import Panel, draw_heatmaps, draw_matrix, draw_panels, draw_projections
from probes.labels import place_labels

PNG = b"\x89PNG"
STRANGE = ["a$b$c$", "漢字", "שלום", "مرحبا", "😀", "100 % _x^2\\frac", "", "internationalization" * 9]
LONG = "A title with $signs$ and " + "many words " * 30


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    found: list[Any] = []
    save = figures._save
    monkeypatch.setattr(figures, "_save", lambda figure, target: (found.append(figure), save(figure, target)))
    return found


def drawn(draw: Any, *arguments: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    draw(target, *arguments, **options)
    return target.getvalue()


def points(n: int, width: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, width))


def texts(figure: Any) -> list[str]:
    return [text.get_text() for plot in figure.axes for text in plot.texts]


def boxes(figure: Any) -> np.ndarray:
    """(names, 4) pixels of the names of the first plot, without the lines that lead to points."""
    from matplotlib.text import Text

    extents = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    return np.array([[box.x0, box.y0, box.x1, box.y1] for box in extents])


@pytest.mark.parametrize("width", [2, 3])
def test_no_name_covers_another_or_leaves_the_plot(width: int, kept: list[Any]) -> None:
    labels = [f"word {i}" for i in range(120)]
    assert drawn(draw_panels, [[Panel("p", points(120, width), [""] * 120, labels)]], title="t").startswith(PNG)
    (figure,) = kept
    figure.draw_without_rendering()
    found, frame = boxes(figure), figure.axes[0].get_window_extent()
    assert 20 < len(found) < 120, "some have room and some do not"
    # Half a pixel, as letters stand on whole ones.
    assert (found[:, :2] >= [frame.x0 - 0.5, frame.y0 - 0.5]).all()
    assert (found[:, 2:] <= [frame.x1 + 0.5, frame.y1 + 0.5]).all()
    for row, (left, bottom, right, top) in enumerate(found):
        others = np.delete(found, row, axis=0)
        across = (left < others[:, 2] - 0.5) & (right > others[:, 0] + 0.5)
        assert not (across & (bottom < others[:, 3] - 0.5) & (top > others[:, 1] + 0.5)).any()


def test_no_name_covers_a_point(kept: list[Any]) -> None:
    at = points(60)
    drawn(draw_panels, [[Panel("p", at, [""] * 60, ["word"] * 60)]], title="t")
    figure = kept[0]
    figure.draw_without_rendering()
    pixels = figure.axes[0].transData.transform(at)
    for left, bottom, right, top in boxes(figure):
        inside = (pixels > [left, bottom]).all(axis=1) & (pixels < [right, top]).all(axis=1)
        assert not inside.any()


def test_points_that_stand_apart_are_all_named_and_empty_names_are_passed_over() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    plot = figure.add_subplot()
    at = np.array([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]])
    plot.scatter(*at.T)
    plot.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    assert place_labels(figure, plot, at, ["a", "", "c"], colour="k") == 2
    assert sorted(text.get_text() for text in plot.texts) == ["a", "c"]


@pytest.mark.parametrize("n", [1, 2, 60])
def test_any_number_of_points_in_any_number_of_groups_can_be_drawn(n: int, kept: list[Any]) -> None:
    groups = [f"group {i}" for i in range(n)]
    drawn(draw_projections, [[("a", points(n)), ("b", points(n, 3))]], groups=groups, title=LONG)
    (legend,) = kept[0].legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(shown) == min(n, 25) and (("other groups" in shown) == (n == 60))
    marks = {(tuple(h.get_facecolor()[0]), h.get_paths()[0].vertices.tobytes()) for h in legend.legend_handles}
    assert len(marks) == len(shown), "no two groups look the same"


def test_a_group_looks_the_same_in_every_panel(kept: list[Any]) -> None:
    panels = [Panel("a", points(3), ["x", "y", ""]), Panel("b", points(2), ["y", "z"])]
    drawn(draw_panels, [panels], title="t")
    one, other = ({c.get_label(): c.get_facecolor().tolist() for c in plot.collections} for plot in kept[0].axes)
    assert one["y"] == other["y"] and one["x"] != one["y"] != other["z"]


@pytest.mark.parametrize("draw", ["matrix", "heatmaps", "panels"])
def test_text_of_any_script_is_shown_as_it_stands(draw: str, kept: list[Any]) -> None:
    n = len(STRANGE)
    square = points(n, n)
    {
        "matrix": lambda: drawn(draw_matrix, square, row_labels=STRANGE, column_labels=STRANGE, title=LONG),
        "heatmaps": lambda: drawn(draw_heatmaps, [("$", square)], labels=STRANGE, groups=STRANGE, title=LONG),
        "panels": lambda: drawn(draw_panels, [[Panel("$", points(n), STRANGE, STRANGE)]], title=LONG),
    }[draw]()
    title = kept[0].get_suptitle()
    assert title.replace("\n", " ").split() == LONG.split()
    assert not any(text.get_parse_math() for text in kept[0].findobj(lambda artist: hasattr(artist, "get_parse_math")))


def test_the_numbers_of_a_matrix_stand_in_its_cells_and_an_empty_cell_has_none(kept: list[Any]) -> None:
    matrix = np.array([[3.0, np.nan, 1], [0, 2, 10]])
    drawn(draw_matrix, matrix, row_labels="ab", column_labels="xyz", title="t", number_format=".0f", low=0)
    assert [(t.get_position(), t.get_text()) for t in kept[0].axes[0].texts] == [
        ((0, 0), "3"), ((2, 0), "1"), ((0, 1), "0"), ((1, 1), "2"), ((2, 1), "10"),
    ]  # fmt: skip
    assert {t.get_text(): t.get_color() for t in kept[0].axes[0].texts}["10"] == "black"


@pytest.mark.parametrize("shape", [(1, 1), (60, 60), (2, 40)])
def test_a_matrix_of_any_shape_can_be_drawn(shape: tuple[int, int], kept: list[Any]) -> None:
    rows, columns = ([f"label {i}" for i in range(n)] for n in shape)
    assert drawn(draw_matrix, np.zeros(shape), row_labels=rows, column_labels=columns, title="t").startswith(PNG)
    assert len(texts(kept[0])) == (1 if shape == (1, 1) else 0)


@pytest.mark.parametrize("n", [1, 2, 60])
def test_a_heatmap_of_up_to_60_rows_keeps_its_rows_apart(n: int, kept: list[Any]) -> None:
    drawn(draw_heatmaps, [("p", points(n, n))], labels=[f"row {i}" for i in range(n)], groups=["g"] * n, title="t")
    figure = kept[0]
    figure.draw_without_rendering()
    extents = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(extents) == n
    tops = sorted((box.y0, box.y1) for box in extents)
    assert all(below[1] <= above[0] + 1 for below, above in pairwise(tops))


def test_titles_wrap_at_the_width_of_the_plot() -> None:
    assert wrap("one two three", 0.8) == "one two\nthree"
    assert all(len(line) <= 44 for line in wrap("x" * 200, 4).split("\n"))
