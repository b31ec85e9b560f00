"""Curves of the geometry by layer."""

from collections.abc import Sequence
from pathlib import Path

from probes.figures import draw_curves
from probes.geometry.findings import MEASURES
from probes.layer_curves import layer_curve
from probes.results import Picture, Score

SHOWN = {
    "anisotropy": "Mean cosine of two random words",
    "self_similarity_adjusted": "Two uses of a word, minus random pairs",
    "intra_sentence_beyond_shuffled": "Words to the mean of their sentence, minus shuffled sentences",
    "explained_variance_adjusted": "Variance of a word's vectors in one direction, minus random words",
    "contribution_of_1": "Part of the mean cosine that one dimension makes",
}


UNIT_NAMES = {"cosine": "cosine", "index": "difference of shares"}


def draw(scores: Sequence[Score], *, out: Path) -> list[Picture]:
    """One picture a measure: every model and baseline over the layers, with bands; writes geometry.*.png."""
    pictures = []
    for measure, title in SHOWN.items():
        chosen = [s for s in scores if s.measure == measure and not s.variant and s.role != "difference"]
        names = list(dict.fromkeys(score.model for score in chosen))
        file = f"geometry.{measure}.png"
        draw_curves(
            out / file,
            [layer_curve(name, [score for score in chosen if score.model == name]) for name in names],
            title=title,
            x_label="layer",
            y_label=UNIT_NAMES[MEASURES[measure].unit],
            whole_x=True,
        )
        pictures.append(Picture(file=file, caption=f"{title}; bands are 95 % intervals.", kind="curve"))
    return pictures
