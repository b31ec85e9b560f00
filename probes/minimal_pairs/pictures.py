"""A picture of the accuracy on every paradigm, models side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from probes.captions import shorten
from probes.figures import COLOURS, DOTS_PER_INCH, GREY, MARKERS
from probes.minimal_pairs.pairs import Pair
from probes.results import Picture, Score

ROW_INCHES = 0.19
NAME_CHARACTERS = 60


def draw_paradigms(path: Path, scores: Sequence[Score], paradigms: Mapping[str, list[Pair]]) -> Picture:
    """A row for each paradigm, grouped by field and ordered by the first model's accuracy; a mark with its interval for
    each model, and a line at chance."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    models = list(dict.fromkeys(score.model for score in scores if score.role == "model"))
    single = {(s.model, s.group): s for s in scores if s.variant == "paradigm"}
    names = sorted(paradigms, key=lambda name: (paradigms[name][0].field, -single[models[0], name].value))
    figure = Figure(figsize=(9, 1.6 + ROW_INCHES * len(names) * max(1.0, 0.6 * len(models))), layout="constrained")
    plot = figure.subplots()
    for index, model in enumerate(models):
        shift = 0.7 * ((index + 0.5) / len(models) - 0.5)
        found = [single[model, name] for name in names]
        plot.errorbar(
            [100 * one.value for one in found],
            [row + shift for row in range(len(names))],
            xerr=[
                [100 * (one.value - one.low) for one in found],
                [100 * (one.high - one.value) for one in found],
            ],
            fmt=MARKERS[index % len(MARKERS)], color=COLOURS[index % len(COLOURS)], markersize=4.5, linewidth=1.2,
            label=shorten(model, 40),
        )  # fmt: skip
    plot.axvline(50, color=GREY, linestyle=(0, (6, 2)), linewidth=1.4, label="chance")
    for row in range(1, len(names)):
        if paradigms[names[row]][0].field != paradigms[names[row - 1]][0].field:
            plot.axhline(row - 0.5, color=GREY, linewidth=0.8)
    labels = [_label(name, paradigms[name][0].field) for name in names]
    plot.set_yticks(range(len(names)), labels, fontsize=8)
    plot.set(xlim=(-2, 102), ylim=(len(names) - 0.5, -0.5), xlabel="pairs decided rightly, %", title="Minimal pairs")
    plot.grid(axis="x", color="#dddddd", linewidth=0.7)
    plot.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(4, len(models) + 1), frameon=False, fontsize=9)
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH, facecolor="white")
    return Picture(
        file=path.name,
        caption="Accuracy by paradigm with 95 % intervals (Wilson), grouped by field; the broken line is chance.",
        kind="bars",
    )


def _label(name: str, field: str) -> str:
    return shorten(f"{name} ({field})" if field else name, NAME_CHARACTERS)
