"""Scores by layer as curves."""

from collections.abc import Sequence

from probes.figures import Curve
from probes.results import Score


def layer_curve(name: str, scores: Sequence[Score], *, scale: float = 1) -> Curve:
    """A figure over the layers, the lowest first, with its interval as a band.

    Args:
        scores: each of another layer; one without a layer stands at 0.
        scale: what values are multiplied by: 100 shows shares in percent.
    """
    rising = sorted(scores, key=lambda score: score.layer or 0)
    return Curve(
        name,
        [float(score.layer or 0) for score in rising],
        [scale * score.value for score in rising],
        [scale * score.low for score in rising],
        [scale * score.high for score in rising],
    )
