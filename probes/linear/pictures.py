"""Curves of the linear probe by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probes.figures import Curve, Level, draw_curves
from probes.layer_curves import layer_curve
from probes.linear.design import Design
from probes.linear.findings import MEASURES
from probes.results import Picture, Score

if TYPE_CHECKING:
    from probes.linear.examining import Probed

SHOWN = {"accuracy": "accuracy", "selectivity": "accuracy minus control accuracy", "bits_per_word": "bits a word"}


def draw(scores: Sequence[Score], probed: Sequence["Probed"], *, design: Design, out: Path) -> list[Picture]:
    """Accuracy, selectivity, code length and the mixture over the layers; writes linear.*.png."""
    if all(one.gravity is None for one in probed):
        return []
    pictures = []
    for measure, y_label in SHOWN.items():
        chosen = [
            s for s in scores
            if s.measure == measure and s.role != "difference" and s.group is None and not s.variant
        ]  # fmt: skip
        layered = [score for score in chosen if score.layer is not None]
        names = list(dict.fromkeys(score.model for score in layered))
        levels = [Level(score.model, score.value) for score in chosen if score.layer is None]
        if measure == "bits_per_word":
            levels.append(Level("uniform code", float(np.log2(len(design.labels)))))
        file, title = f"linear.{measure}.png", MEASURES[measure].title
        curves = [layer_curve(name, [score for score in layered if score.model == name]) for name in names]
        draw_curves(out / file, curves, title=title, x_label="layer", y_label=y_label, levels=levels, whole_x=True)
        pictures.append(Picture(file=file, caption=f"{title}; bands are 95 % intervals.", kind="curve"))
    return [*pictures, _mixture(probed, out)]


def _mixture(probed: Sequence["Probed"], out: Path) -> Picture:
    curves = [
        Curve(one.name, [float(layer or 0) for layer in one.layers], one.gravity.shares_K.tolist())
        for one in probed
        if one.gravity is not None
    ]
    file, title = "linear.mixture.png", "Weights of the layers in a trained mixture"
    draw_curves(out / file, curves, title=title, x_label="layer", y_label="weight (sum 1)", whole_x=True)
    return Picture(file=file, caption=f"{title}.", kind="curve")
