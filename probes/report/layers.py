"""A probe's figures by layer and by group: a chart for each measure, and tables of the same and of differences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from probes.cells import UNIT_NAMES, cell, verdict
from probes.report.chart import Chart, Line
from probes.report.sheet import Sheet
from probes.results import Measure, Results, Score
from probes.summary import measure_of, row_label

MOST_LINES = 8
"""Of a chart; with more, each variant has a chart of its own."""
MOST_CHECKPOINTS = 4
"""Of a run with a line each; the tables have all."""


@dataclass(frozen=True)
class LayerPart:
    """All that is shown of one measure by layer."""

    title: str
    charts: list[Chart]
    sheets: list[Sheet]
    by_group: list[Sheet]


def layer_parts(results: Results) -> list[LayerPart]:
    """A part for each measure that has layers, groups or both."""
    parts = []
    for key in dict.fromkeys(score.measure for score in results.scores):
        measure = measure_of(results.measures, key)
        scores = [score for score in results.scores if score.measure == key]
        # Where there is one group only, it is all.
        is_alone = len({score.group for score in scores}) == 1
        of_all = [score for score in scores if is_alone or score.group is None]
        plain = [score for score in of_all if score.role != "difference"]
        has_layers = any(score.layer is not None for score in plain)
        # A line of one point each is no curve: the table alone says it.
        are_curves = len({(s.model, s.variant) for s in plain}) < len({(s.model, s.variant, s.layer) for s in plain})
        charts = _charts(results, key, measure, plain) if has_layers and are_curves else []
        caption = "All figures, by layer" if charts else f"{measure.title}, by layer"
        is_news = bool(charts) or not {*map(_identity, plain)} <= {*map(_identity, results.headlines)}
        sheets = [_by_layer(plain, measure, caption)] if has_layers and is_news else []
        differences = [score for score in of_all if score.role == "difference" and score.layer is not None]
        if differences:
            sheets.append(_by_layer(differences, measure, "Differences, the first minus the second, by layer"))
        by_group = _by_group([score for score in scores if not is_alone and score.group is not None], measure)
        if is_alone and not has_layers and scores[0].group is not None:
            by_group = _by_group(scores, measure)
        if sheets or by_group:
            parts.append(LayerPart(measure.title, charts, sheets, by_group))
    return parts


def other_scores(results: Results) -> list[Score]:
    """Figures that neither the headlines nor layer_parts show: no layer, no group, of a measure without layers."""
    layered = {s.measure for s in results.scores if s.layer is not None and s.group is None and s.role != "difference"}
    shown = {_identity(score) for score in results.headlines}
    return [
        score
        for score in results.scores
        if score.layer is None and score.group is None and _identity(score) not in shown
        if score.role == "difference" or score.measure not in layered
    ]


def shown_models(results: Results) -> list[str]:
    """The models that charts draw and maps show at first: all, but of many checkpoints a few from first to last."""
    checkpoints = [card.name for card in sorted(results.models, key=lambda c: c.step or 0) if card.step is not None]
    if len(checkpoints) <= MOST_CHECKPOINTS:
        return [card.name for card in results.models]
    few = {checkpoints[round(i * (len(checkpoints) - 1) / (MOST_CHECKPOINTS - 1))] for i in range(MOST_CHECKPOINTS)}
    return [card.name for card in results.models if card.step is None or card.name in few]


def owner(name: str, results: Results) -> str | None:
    """The model that a baseline's name names ('random weights of bert'), the longest name first; None: none."""
    names = sorted((card.name for card in results.models), key=len, reverse=True)
    return next((model for model in names if renamed(name, model, "") != name), None)


def renamed(text: str, model: str, other: str) -> str:
    """The text with another name where the model's stands as a word of its own: 'a' is not in 'static vector'."""
    return re.sub(rf"(?<!\w){re.escape(model)}(?!\w)", lambda _: other, text) if model else text


def file_name(*words: str) -> str:
    """The words as part of a file's name: letters, digits, '-', '_' and '.'."""
    return ".".join(re.sub(r"[^\w-]+", "-", word).strip("-") or "x" for word in words)


def scale(measure: Measure) -> float:
    """What values are multiplied by along an axis: shares are shown in percent."""
    return 100.0 if measure.unit == "share" else 1.0


def _identity(score: Score) -> tuple[str | int | None, ...]:
    return score.measure, score.model, score.layer, score.group, score.variant, score.role


def _charts(results: Results, key: str, measure: Measure, scores: Sequence[Score]) -> list[Chart]:
    """One chart, or one for each of the models' variants where one would be too crowded."""
    models = set(shown_models(results))
    drawn = [s for s in scores if (owner(s.model, results) or s.model) in models or owner(s.model, results) is None]
    num_lines = len({(score.model, score.variant) for score in drawn})
    # A variant without layers has nothing to draw; its figure stands in the table.
    variants = list(dict.fromkeys(s.variant for s in drawn if s.role == "model" and s.layer is not None))
    others = {score.variant for score in drawn if score.role == "model"} - set(variants)
    if num_lines <= MOST_LINES or not variants:
        return [_chart(results, measure, drawn, f"{file_name(results.probe, key)}.png", measure.title)]
    return [
        _chart(
            results,
            measure,
            [score for score in drawn if score.variant == variant or score.variant not in {*variants, *others}],
            f"{file_name(results.probe, key, *([variant] if len(variants) > 1 and variant else []))}.png",
            f"{measure.title}, {variant}" if variant else measure.title,
        )
        for variant in variants
    ]


def _chart(results: Results, measure: Measure, scores: Sequence[Score], file: str, title: str) -> Chart:
    unit = scale(measure)
    names = [card.name for card in results.models]
    colours: dict[str, int] = {name: index for index, name in enumerate(names)}
    lines, levels = [], []
    drawn = dict.fromkeys((score.model, score.variant, score.role) for score in scores)
    several_variants = len({variant for _, variant, role in drawn if role == "model"}) > 1
    seen: dict[str, int] = {}
    for model, variant, role in drawn:
        mine = [score for score in scores if (score.model, score.variant, score.role) == (model, variant, role)]
        label = row_label(mine[0], with_layer=False) if several_variants or role == "baseline" else model
        levels += [(f"{label}: {cell(s, measure)}", unit * s.value) for s in mine if s.layer is None]
        points = sorted((score for score in mine if score.layer is not None), key=lambda score: score.layer or 0)
        if not points:
            continue
        base = owner(model, results) or model
        seen[base] = seen.get(base, -1) + 1
        lines.append(
            Line(
                label,
                [float(score.layer or 0) for score in points],
                [unit * score.value for score in points],
                [unit * score.low for score in points],
                [unit * score.high for score in points],
                [f"layer {score.layer}: {cell(score, measure)}, n = {score.n:,}" for score in points],
                colour=colours.setdefault(base, len(colours)),
                dash=seen[base],
            )
        )
    left_out = len(names) - len(shown_models(results))
    notes = ["Bands and brackets: 95 % intervals."]
    if measure.is_better:
        notes.append(f"{measure.is_better.capitalize()} is better.")
    if left_out:
        notes.append(f"{left_out} of {len(names)} checkpoints are in the table only.")
    return Chart(
        file, title, "layer (0: embeddings)", UNIT_NAMES[measure.unit], lines, levels, " ".join(notes), is_whole=True
    )


def _by_layer(scores: Sequence[Score], measure: Measure, caption: str) -> Sheet:
    """A row for each layer, a column for each model; what has no layer is the same in every row."""
    columns = list(dict.fromkeys(row_label(score, with_layer=False) for score in scores))
    layers = sorted({score.layer for score in scores if score.layer is not None})
    cells = {(row_label(score, with_layer=False), score.layer): _said(score, measure) for score in scores}
    sizes = sorted({score.n for score in scores})
    n = f", n = {sizes[0]:,}" if len(sizes) == 1 else f", n from {sizes[0]:,} to {sizes[-1]:,}"
    rows = [
        [str(layer), *(cells.get((column, layer)) or cells.get((column, None), "") for column in columns)]
        for layer in layers
    ]
    return Sheet(caption + n, ["layer", *columns], rows)


def _by_group(scores: Sequence[Score], measure: Measure) -> list[Sheet]:
    """Without layers one table, groups by models; with layers one for each model, groups by layers."""
    sheets = []
    flat = [score for score in scores if score.layer is None]
    if flat:
        sheets.append(_groups(flat, measure, "By group", {row_label(_of_all(s), with_layer=False): None for s in flat}))
    layered = [score for score in scores if score.layer is not None]
    for label in dict.fromkeys(row_label(_of_all(score), with_layer=False) for score in layered):
        mine = [score for score in layered if row_label(_of_all(score), with_layer=False) == label]
        layers = {
            f"layer {layer}": None for layer in sorted({score.layer for score in mine if score.layer is not None})
        }
        sheets.append(_groups(mine, measure, f"{label}, by group and layer", layers))
    return sheets


def _groups(scores: Sequence[Score], measure: Measure, caption: str, columns: dict[str, None]) -> Sheet:
    sizes = {score.group: score.n for score in scores}
    cells = {
        (
            score.group,
            row_label(_of_all(score), with_layer=False) if score.layer is None else f"layer {score.layer}",
        ): _said(score, measure)
        for score in scores
    }
    rows = [
        [group or "", f"{n:,}", *(cells.get((group, column), "") for column in columns)] for group, n in sizes.items()
    ]
    return Sheet(caption, ["", "n", *columns], rows)


def _of_all(score: Score) -> Score:
    return score.model_copy(update={"group": None})


def _said(score: Score, measure: Measure) -> str:
    said = f": {verdict(score, measure)}" if score.role == "difference" else ""
    return cell(score, measure) + said
