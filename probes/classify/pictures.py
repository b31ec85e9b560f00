"""What the classify probe draws: confusions, the weights of the layers, accuracies by layer and by size."""

from collections.abc import Sequence
from pathlib import Path

from probes.figures import Array, Curve, Level, draw_curves, draw_matrix
from probes.layer_curves import layer_curve
from probes.results import Picture, Score


def picture_confusion(
    out: Path, number: int, *, model: str, variant: str, counts: Array, names: Sequence[str]
) -> Picture:
    file = f"classify_confusion_{number}.png"
    draw_matrix(
        out / file, counts, row_labels=names, column_labels=names, title=f"{model}\n{variant}" if variant else model,
        row_title="true", column_title="predicted", low=0, number_format=".0f",
    )  # fmt: skip
    return Picture(
        file=file,
        caption=f"Confusions of {', '.join(filter(None, [model, variant]))}: numbers of test texts, the mean over"
        " seeds; rows are the true classes, columns the predicted ones.",
        kind="heatmap",
        model=model,
    )


def picture_layer_weights(out: Path, scores: Sequence[Score]) -> Picture:
    """One line a model; bands are the 95 % intervals."""
    file = "classify_layer_weights.png"
    counts = {sum(one.model == score.model for one in scores) for score in scores}
    levels = [Level(f"equal weights, {count} layers", 1 / count) for count in sorted(counts)]
    draw_curves(
        out / file, _by_layer(scores), title="Weight of each layer in the trainable mix",
        x_label="layer (0: output of the embedding layer)", y_label="weight", levels=levels, whole_x=True,
    )  # fmt: skip
    return Picture(
        file=file,
        caption="Which layers the classifier listens to: softmax(s), the mean over seeds with its 95 % interval for"
        " other training texts.",
        kind="curve",
    )


def picture_layers(out: Path, scores: Sequence[Score], levels: Sequence[Level]) -> Picture:
    """Accuracy of a classifier on each layer alone."""
    file = "classify_layers.png"
    draw_curves(
        out / file, _by_layer(scores), title="A classifier on one layer alone",
        x_label="layer (0: output of the embedding layer)", y_label="accuracy", levels=levels, whole_x=True,
    )  # fmt: skip
    return Picture(
        file=file, caption="Accuracy on each layer alone, mean over tokens, with 95 % intervals.", kind="curve"
    )


def picture_sizes(out: Path, curves: dict[str, list[tuple[int, Score]]]) -> Picture:
    """Accuracy over the number of training texts: curves by name, their points in rising order."""
    file = "classify_sizes.png"
    drawn = [_curve(name, points) for name, points in curves.items()]
    draw_curves(
        out / file, drawn, title="Accuracy by number of training texts", x_label="training texts", y_label="accuracy"
    )
    return Picture(file=file, caption="Learning curves with 95 % intervals over test texts.", kind="curve")


def _by_layer(scores: Sequence[Score]) -> list[Curve]:
    return [
        layer_curve(model, [score for score in scores if score.model == model])
        for model in dict.fromkeys(score.model for score in scores)
    ]


def _curve(name: str, points: Sequence[tuple[int, Score]]) -> Curve:
    scores = [score for _, score in points]
    return Curve(
        name,
        [x for x, _ in points],
        [score.value for score in scores],
        [score.low for score in scores],
        [score.high for score in scores],
    )
