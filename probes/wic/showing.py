"""Tables and pictures of the wic probe."""

from collections.abc import Sequence
from pathlib import Path

from probes.figures import Curve, Level, draw_curves
from probes.layer_curves import layer_curve
from probes.reading.spans import marked
from probes.results import Cell, Picture, Table
from probes.wic.design import Design
from probes.wic.figures import ACCURACY, AUC, MEASURES, Figure, scores_of

MOST_MISTAKES = 20


def tables(figures: Sequence[Figure], design: Design) -> list[Table]:
    """The thresholds, and for each model the test pairs that its last layer gets most wrong."""
    rows: list[list[Cell]] = [
        [one.name, one.layer, one.variant, one.judged.threshold, one.judged.train_accuracy, one.judged.accuracy.value]
        for one in figures
    ]
    thresholds = Table(
        name="thresholds",
        title="Thresholds, set on the training pairs",
        columns=["model", "layer", "variant", "threshold", "accuracy in training", "accuracy in the test"],
        rows=rows,
        caption=f"{len(design.train)} training pairs and {len(design.test)} test pairs. A threshold of -1 calls every"
        " pair the same, one above 1 none.",
    )
    models = list(dict.fromkeys(one.name for one in figures if one.role == "model"))
    return [thresholds, *(_mistakes(figures, name, number, design) for number, name in enumerate(models, 1))]


def _mistakes(figures: Sequence[Figure], name: str, number: int, design: Design) -> Table:
    own = [one for one in figures if one.name == name and one.role == "model" and one.variant == ""]
    last = max(own, key=lambda one: one.layer or 0)
    cosines, threshold = last.judged.cosines_P, last.judged.threshold
    wrong = [index for index in design.test if (cosines[index] >= threshold) != design.is_same_P[index]]
    wrong.sort(key=lambda index: -abs(cosines[index] - threshold))
    rows: list[list[Cell]] = []
    for index in wrong[:MOST_MISTAKES]:
        pair = design.pairs[index]
        texts = [marked(*side) for side in zip(pair.sentences, pair.spans, strict=True)]
        rows.append([pair.word, "same" if pair.is_same else "different", float(cosines[index]), *texts])
    return Table(
        name=f"mistakes-{number}",
        title=f"Farthest on the wrong side of the threshold: {name}, layer {last.layer}",
        columns=["word", "label", "cosine", "sentence 1", "sentence 2"],
        rows=rows,
        caption=f"{len(rows)} of {len(wrong)} mistakes in {len(design.test)} test pairs. The threshold is"
        f" {threshold:.3f}: cosines of pairs of the same word, of which it parts those with one sense from the others.",
        model=name,
    )


def pictures(figures: Sequence[Figure], design: Design, out: Path) -> list[Picture]:
    """Both measures over the layers; none where only one layer was asked for."""
    by_name: dict[str, list[Figure]] = {}
    for one in figures:
        if one.layer is not None and one.variant == "":
            by_name.setdefault(one.name, []).append(one)
    curved = {name: own for name, own in by_name.items() if len(own) > 1}
    if not curved:
        return []
    # Those of several models would be more lines than can be told apart.
    is_alone = len({one.name for one in figures if one.role == "model"}) == 1
    drawn = []
    for measure in (ACCURACY, AUC):
        file = f"wic.{measure}.png"
        draw_curves(
            out / file,
            [_curve(name, own, measure, design) for name, own in curved.items()],
            title="Words in context: the same sense or not?",
            x_label="layer (0: output of the embedding layer)",
            y_label=MEASURES[measure].title,
            levels=[
                Level(one.name, one.drawn[measure].value)
                for one in figures
                if one.role == "baseline" and one.layer is None and (one.is_baseline or is_alone)
            ],
            whole_x=True,
        )
        caption = f"{MEASURES[measure].title}, by layer, raw cosines, on {len(design.test)} test pairs; bands are 95 %."
        drawn.append(Picture(file=file, caption=caption, kind="curve"))
    return drawn


def _curve(name: str, own: Sequence[Figure], measure: str, design: Design) -> Curve:
    scores = [next(s for s in scores_of(one, design) if s.measure == measure) for one in own]
    return layer_curve(name, scores)
