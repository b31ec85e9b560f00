"""What the maps' three questions say alike: scores, sentences and notes."""

from probes.mapping.cosines import PairMean
from probes.results import Role, Score

RAW, Z_SCORED = "", "z-scored"
"""Variants of a cosine."""

INTERVALS = "Intervals are 95 % jackknife intervals with Student's t,"
WITH_TSNE = (
    "Maps show vectors of length 1, so distances follow the cosine. t-SNE keeps neighbours: distances between groups"
    " and their sizes mean nothing, and it finds groups in noise as well."
)


def score_of(
    mean: PairMean,
    measure: str,
    *,
    model: str,
    layer: int | None = None,
    variant: str = RAW,
    group: str | None = None,
    role: Role = "model",
) -> Score:
    """The mean as a score."""
    return Score(
        measure=measure, model=model, layer=layer, group=group, variant=variant, role=role,
        value=mean.value, low=mean.low, high=mean.high, n=mean.n,
    )  # fmt: skip


def stated(mean: PairMean) -> str:
    """A mean with its interval, for a sentence."""
    interval = "no interval" if mean.high - mean.low >= 2 else f"{mean.low:.2f} to {mean.high:.2f}"
    return f"{mean.value:.2f} ({interval})"
