"""The figures of the wic probe: one for each model or baseline, layer and variant; and paired differences of two."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from probes.resampled import Resampled
from probes.results import Measure, Role, Score
from probes.wic.design import Design
from probes.wic.judging import Judged

Z_SCORED = "z-scored"
CHOSEN = "layer best in training"
LAST = "last layer of each"
ACCURACY, AUC = "accuracy", "auc"
MEASURES = {
    ACCURACY: Measure(title="Right with one threshold", unit="share"),
    AUC: Measure(title="Area under the ROC curve (0.5: chance)", unit="probability"),
}


@dataclass(frozen=True)
class Figure:
    """What was found for one set of vectors."""

    name: str
    """Of the model or baseline."""
    layer: int | None
    variant: str
    judged: Judged
    of: str = ""
    """The model that this is a baseline of; empty: a model's own, or a baseline of none."""
    is_baseline: bool = False
    """One that belongs to no model."""
    is_headline: bool = False

    @property
    def role(self) -> Role:
        return "baseline" if self.of or self.is_baseline else "model"

    @property
    def drawn(self) -> dict[str, Resampled]:
        return {ACCURACY: self.judged.accuracy, AUC: self.judged.auc}


def scores_of(figure: Figure, design: Design) -> list[Score]:
    """Its accuracy and its area under the curve, on the test pairs."""
    return [
        _score(measure, figure.name, drawn, design, layer=figure.layer, variant=figure.variant, role=figure.role)
        for measure, drawn in figure.drawn.items()
    ]


def differences(figures: Sequence[Figure], models: Sequence[str], design: Design) -> list[Score]:
    """Paired differences on the test pairs: every model to its baselines, and any two models to each other.

    To random weights: layer by layer, and each with the layer that is best in training. To the other baselines, which
    have no layers, and between models: the last layer and the layer that is best in training.
    """
    found: list[Score] = []
    for model in models:
        own = [one for one in figures if one.name == model and one.role == "model"]
        for other in figures:
            if other.of == model and other.layer is not None:
                pairs = [one for one in own if one.variant == other.variant and _same_place(one, other)]
            elif other.of == model or other.is_baseline:
                pairs = [one for one in own if _is_last(one, own) or CHOSEN in one.variant]
            else:
                pairs = []
            for one in pairs:
                found += _difference(one, other, design, layer=None if CHOSEN in one.variant else one.layer)
    for first, second in combinations(models, 2):
        by_place = {model: _places(figures, model) for model in (first, second)}
        for place in by_place[first]:
            found += _difference(by_place[first][place], by_place[second][place], design, layer=None, variant=place)
    return found


def _difference(
    one: Figure, other: Figure, design: Design, *, layer: int | None, variant: str | None = None
) -> list[Score]:
    return [
        _score(
            measure,
            f"{one.name} - {other.name}",
            one.drawn[measure] - other.drawn[measure],
            design,
            layer=layer,
            variant=one.variant if variant is None else variant,
            role="difference",
        )
        for measure in MEASURES
    ]


def _score(
    measure: str, name: str, drawn: Resampled, design: Design, *, layer: int | None, variant: str, role: Role
) -> Score:
    low, high = drawn.interval()
    return Score(
        measure=measure,
        model=name,
        value=drawn.value,
        low=low,
        high=high,
        n=len(design.test),
        layer=layer,
        variant=variant,
        role=role,
    )


def _same_place(one: Figure, other: Figure) -> bool:
    return CHOSEN in one.variant or one.layer == other.layer


def _is_last(figure: Figure, own: Sequence[Figure]) -> bool:
    return CHOSEN not in figure.variant and figure.layer == max(one.layer or 0 for one in own)


def _places(figures: Sequence[Figure], model: str) -> dict[str, Figure]:
    """What is compared of two models, which may have different numbers of layers."""
    own = [one for one in figures if one.name == model and one.role == "model"]
    places = {}
    for one in own:
        if CHOSEN in one.variant:
            places[one.variant] = one
        elif _is_last(one, own):
            places[", ".join(filter(None, [one.variant, LAST]))] = one
    return places
