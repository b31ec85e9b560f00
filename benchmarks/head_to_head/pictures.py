"""The picture of a comparison: what the models are worth as training goes on, a line a recipe, a column a budget."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.head_to_head.budgets import FLOPS, TITLES, WALL_CLOCK
from probes.figures import COLOURS, DASHES, DOTS_PER_INCH, GREY, MARKERS, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = dict[str, Any]

AXES = {WALL_CLOCK: ("minutes of training", "seconds", 1 / 60), FLOPS: ("FLOPs of training", "flops", 1.0)}
"""Budget -> label of its axis, key of a point, scale."""
_INCHES = (5.6, 3.3)


def draw(target: Path, results: Json) -> None:
    """Draw a row for each measure and a column for each budget into a PNG file."""
    from matplotlib.figure import Figure

    budgets = [budget for budget, found in results["budgets"].items() if found["comparisons"]]
    if not budgets:
        return
    measures = results["measures"]
    size = (_INCHES[0] * len(budgets), _INCHES[1] * len(measures))
    figure = Figure(figsize=size, layout="constrained")
    plots: Any = figure.subplots(len(measures), len(budgets), squeeze=False, sharey="row", sharex="col")
    for row, (measure, title) in enumerate(measures.items()):
        for column, budget in enumerate(budgets):
            plot = plots[row][column]
            label, key, scale = AXES[budget]
            runs = results["budgets"][budget]["runs"].items()
            _draw_plot(
                plot,
                [curve(name, of_recipe, measure, x=key, scale=scale) for name, of_recipe in runs],
                {name: 100 * one[measure] for name, one in results["references"].items() if measure in one},
                dict(zip(results["references"], cycle(DASHES), strict=False)),
            )
            plot.set_title(f"{TITLES[budget]}: {title}", fontsize=10)
            plot.set_ylabel("%" if column == 0 else "")
            plot.set_xlabel(label if row == len(measures) - 1 else "")
    _add_legend(figure, [plots[0][0], plots[-1][0]])
    figure.suptitle(f"{' against '.join(results['recipes'])}: mean over seeds, band from the lowest to the highest")
    figure.savefig(target, format="png", dpi=DOTS_PER_INCH, facecolor="white")


def curve(label: str, runs: Sequence[Json], measure: str, *, x: str, scale: float) -> Curve:
    """A measure in percent along training: means over seeds, and the lowest and highest of them.

    Points are taken by number, so that the n-th of all seeds make one; where a run has fewer, the last ones count.
    """
    num_points = min(len(run["points"]) for run in runs)
    columns = list(zip(*(run["points"][-num_points:] for run in runs), strict=True))
    values = [[100 * point[measure] for point in points] for points in columns]
    return Curve(
        label,
        [scale * _mean([point[x] for point in points]) for points in columns],
        [_mean(column) for column in values],
        low=[min(column) for column in values],
        high=[max(column) for column in values],
    )


def _draw_plot(plot: "Axes", curves: Sequence[Curve], levels: dict[str, float], dashes: dict[str, Any]) -> None:
    for index, one in enumerate(curves):
        style: Any = {"color": COLOURS[index], "marker": MARKERS[index], "markersize": 5, "linewidth": 1.8}
        plot.plot(one.x, one.y, label=one.label, **style)
        assert one.low is not None and one.high is not None
        plot.fill_between(one.x, one.low, one.high, color=COLOURS[index], alpha=0.18, linewidth=0)
    for name, level in levels.items():
        plot.axhline(level, color=GREY, linestyle=dashes[name], linewidth=1.4, label=name)
    plot.grid(axis="y", color="#dddddd", linewidth=0.7)
    plot.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Any, plots: Sequence["Axes"]) -> None:
    """One legend for all, below; a name that several plots have stands in it once."""
    entries: dict[str, Any] = {}
    for plot in plots:
        handles, labels = plot.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
