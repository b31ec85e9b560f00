"""What was to be compared: settings in the order of the sweep's axes, the seeds, the reference."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

Cell = tuple[str, int]
"""Setting and seed."""


@dataclass(frozen=True)
class Plan:
    axes: Mapping[str, Sequence[str]]
    """Labels of the values of each axis."""
    levels: Mapping[str, Mapping[str, str]]
    """setting -> axis -> label. In the order of the axes' labels, the last axis fastest."""
    reference: str
    seeds: tuple[int, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def sorted(self, cells: Iterable[Cell]) -> list[Cell]:
        """By setting, then by seed."""
        place = {setting: index for index, setting in enumerate(self.levels)}
        return sorted(cells, key=lambda cell: (place[cell[0]], cell[1]))

    @property
    def varied(self) -> list[str]:
        """Axes of more than one value."""
        return [axis for axis, labels in self.axes.items() if len(labels) > 1]

    def is_grid(self, settings: Iterable[str]) -> bool:
        """Whether these settings are all combinations of the values of two axes or more, each of them once."""
        found = [tuple(self.levels[setting].get(axis) for axis in self.varied) for setting in settings]
        return (
            len(self.varied) > 1
            and len(set(found)) == len(found) == prod(len(self.axes[axis]) for axis in self.varied)
            and all(label in self.axes[axis] for row in found for axis, label in zip(self.varied, row, strict=True))
        )

    def short(self, setting: str) -> str:
        """A setting as a sentence calls it that has named its axis already: the label alone where there is one axis."""
        levels = self.levels[setting]
        return levels.get(self.varied[0], setting) if len(self.varied) == 1 else setting


def plan(
    levels: Iterable[tuple[str, Mapping[str, str]]],
    *,
    axes: Mapping[str, Sequence[str]],
    reference: str,
    seeds: Sequence[int],
) -> Plan:
    """The settings that these cells have, put in order; the order of the cells does not matter."""
    known = dict(sorted(levels, key=lambda one: one[0]))

    def place(setting: str) -> tuple[list[int], str]:
        labels = [(known[setting].get(axis), list(values)) for axis, values in axes.items()]
        return [values.index(label) if label in values else len(values) for label, values in labels], setting

    return Plan(
        axes, {setting: known[setting] for setting in sorted(known, key=place)}, reference, tuple(sorted(seeds))
    )
