"""Where each setting of a sweep stands in a picture, and in which colour."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pretrain.sweeps.results import Results

LEAST_RATIO_OF_LOGARITHMS = 30
"""Greatest over least value of an axis from which it is drawn by logarithms, as learning rates and batch sizes are."""
LEAST_GAP = 0.035
"""Between two ticks, as a share of the axis; a label nearer to the last one is left out."""
NOWHERE: Mapping[str, str] = MappingProxyType({})
"""Levels of a setting that no cell tells of."""
COLOURS = 8
"""That are told apart; further settings have further dashes."""


@dataclass(frozen=True)
class Scale:
    """Labels of an axis as places along a picture's."""

    places: dict[str, float]
    is_numeric: bool
    """Whether distances mean something."""

    @classmethod
    def of(cls, labels: Sequence[str]) -> "Scale":
        """By their numbers where all labels are different ones, else in their order at equal distances."""
        numbers = [_number(label) for label in labels]
        values = [value for value in numbers if value is not None]
        if len(labels) < 2 or len(set(values)) < len(labels):
            return cls({label: float(at) for at, label in enumerate(labels)}, False)
        if min(values) > 0 and max(values) / min(values) >= LEAST_RATIO_OF_LOGARITHMS:
            values = [math.log10(value) for value in values]
        return cls(dict(zip(labels, values, strict=True)), True)

    @property
    def span(self) -> float:
        """From the first place to the last."""
        return max(self.places.values()) - min(self.places.values()) or 1.0

    @property
    def ends(self) -> tuple[float, float]:
        """The axis, with room beside the outermost places."""
        room = 0.06 * self.span if self.is_numeric else 0.6
        return min(self.places.values()) - room, max(self.places.values()) + room

    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels; of numbers that stand close to each other the first only."""
        kept: list[tuple[float, str]] = []
        for label, place in sorted(self.places.items(), key=lambda pair: pair[1]):
            if not kept or not self.is_numeric or place - kept[-1][0] >= LEAST_GAP * self.span:
                kept.append((place, label))
        return kept


@dataclass(frozen=True)
class Arrangement:
    """The settings of a sweep in its order."""

    names: list[str]
    levels: dict[str, Mapping[str, str]]
    """setting -> axis -> label of its value."""
    axes: dict[str, list[str]]

    @classmethod
    def of(cls, results: Results) -> "Arrangement":
        levels: dict[str, Mapping[str, str]] = {cell.setting: cell.levels for cell in results.cells}
        others = [name for view in results.views for name in view.settings if name not in levels]
        levels |= dict.fromkeys(others, NOWHERE)
        return cls(list(levels), levels, results.axes)

    def ordered(self, names: Sequence[str] | Mapping[str, object]) -> list[str]:
        """Those of the settings, in the sweep's order."""
        return [name for name in self.names if name in names]

    def numeric_axis(self, names: Sequence[str]) -> str | None:
        """The one axis of the sweep where the settings are numbers along it, all different; else None."""
        axis = next(iter(self.axes)) if len(self.axes) == 1 else None
        labels = [self.levels[name].get(axis or "", "") for name in names]
        return axis if Scale.of(labels).is_numeric else None

    def scale(self, names: Sequence[str]) -> Scale:
        """Places of the settings: along their axis if it is numeric, else below each other."""
        if (axis := self.numeric_axis(names)) is None:
            return Scale({name: float(at) for at, name in enumerate(names)}, False)
        along = Scale.of([self.levels[name][axis] for name in names])
        return Scale({name: along.places[self.levels[name][axis]] for name in names}, True)

    def ticks(self, names: Sequence[str]) -> list[tuple[float, str]]:
        """Places along the axis with the label of each: the value alone where the axis is numeric."""
        axis = self.numeric_axis(names)
        return self.scale(names).ticks() if axis is None else Scale.of([self.levels[n][axis] for n in names]).ticks()

    def colour(self, name: str) -> tuple[int, int]:
        """Number of a curve's colour and of its dash: in a grid of two axes one each, so that both can be followed."""
        axes, mine = list(self.axes.items()), self.levels[name]
        if len(axes) == 2 and len(self.names) > max(len(labels) for _, labels in axes):
            (first, levels), (second, others) = axes
            if mine.get(first) in levels and mine.get(second) in others and len(levels) <= COLOURS:
                return levels.index(mine[first]), others.index(mine[second])
        at = self.names.index(name)
        return at % COLOURS, at // COLOURS


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
