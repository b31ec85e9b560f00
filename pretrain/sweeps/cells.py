"""The cells of a sweep: every setting with every seed, each as a recipe of its own, all checked before any is run."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simpleeval import InvalidExpression, SimpleEval

from pretrain.recipe import Recipe, RecipeError, read_recipe, training_settings
from pretrain.sweeps.settings import Sweep, assignments

_SIGNIFICANT = 12  # digits of a linked number: 1 - 0.9 is 0.1
_LONGEST_NAME = 100
_SHOWN_CELLS = 6


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination of the axes' values."""

    label: str
    """What it is called in tables and pictures: `mlm_probability 0.15`."""
    levels: Mapping[str, str]
    """Label of its value on each axis."""
    values: Mapping[str, Any]
    """Its value on each axis."""
    overrides: tuple[str, ...]
    """section.key=value of the axes and of what is linked to them."""

    def run_name(self, seed: int) -> str:
        """Name of a run with it: `mlm_probability-0.15_seed-0`."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", self.label.replace(", ", "_")).strip("-._")
        return f"{plain[:_LONGEST_NAME]}_seed-{seed}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A setting with a seed: one run."""

    name: str
    setting: Setting
    seed: int
    recipe: Recipe


def settings_of(sweep: Sweep) -> list[Setting]:
    """All settings of a sweep in the order of its axes, the last axis changing fastest.

    Raises:
        RecipeError: a linked key is no expression of the recipe's numbers.
    """
    base = read_recipe(sweep.base, sweep.overrides)
    values = list(sweep.axes.values())
    combined = itertools.product(*values) if sweep.combine == "grid" else zip(*values, strict=True)
    return [
        _setting(sweep, base, dict(zip(sweep.axes, chosen, strict=True)), number)
        for number, chosen in enumerate(combined)
    ]


def reference_of(sweep: Sweep, settings: Sequence[Setting]) -> Setting:
    """The setting that the others are compared with.

    Raises:
        RecipeError: the sweep names one that it does not have.
    """
    if sweep.reference:
        for setting in settings:
            if all(_agrees(setting.values[key], wanted) for key, wanted in sweep.reference.items()):
                return setting
        names = ", ".join(setting.label for setting in settings)
        raise RecipeError(f"reference: got {sweep.reference}, expected values of one of the settings: {names}.")
    own = _leaf_values(read_recipe(sweep.base, sweep.overrides))
    for setting in settings:
        if all(key in own and _agrees(own[key], value) for key, value in setting.values.items()):
            return setting
    return settings[0]


def _agrees(whole: Any, part: Any) -> bool:
    """Whether a value is the same, or has all that a mapping says; 1 is 1.0, and true is not 1."""
    if isinstance(whole, Mapping) and isinstance(part, Mapping):
        return all(key in whole and _agrees(whole[key], value) for key, value in part.items())
    if isinstance(whole, list | tuple) and isinstance(part, list | tuple):
        return len(whole) == len(part) and all(map(_agrees, whole, part))
    return isinstance(whole, bool) == isinstance(part, bool) and bool(whole == part)


def cells_of(
    sweep: Sweep,
    settings: Sequence[Setting],
    folder: Path,
    budget: Callable[[Setting], Sequence[str]] = lambda setting: (),
) -> list[Cell]:
    """Every setting with every seed, seed after seed, so that what is compared is trained at about the same time.

    Args:
        folder: of the sweep; runs go to its runs/.
        budget: overrides that end the runs of a setting.

    Raises:
        RecipeError: every cell whose recipe is not valid, with what is wrong, or cells that come to the same recipe.
    """
    cells, wrong = [], {}
    for seed, setting in itertools.product(sweep.seeds, settings):
        name = setting.run_name(seed)
        overrides = [
            *sweep.overrides,
            "checkpoint.best=null",  # the finished model is the last one, which has cost what the others have
            *setting.overrides,
            *budget(setting),
            *(f"seed={seed}", f"name={name}", f"output_dir={json.dumps(str(folder / 'runs' / name))}"),
        ]
        try:
            cells.append(Cell(name, setting, seed, read_recipe(sweep.base, overrides)))
        except RecipeError as error:
            wrong[name] = str(error)
    if wrong:
        raise RecipeError(_told(wrong, len(settings) * len(sweep.seeds)))
    _check_different(cells)
    return cells


def label_of(value: Any) -> str:
    """A value of an axis as it is called: numbers as they are written, a section by its name and what else it says."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case float() if value == int(value) and abs(value) < 1e15:
            return f"{value:.1f}"
        case float():
            return f"{value:.6g}"
        case Mapping():
            return " ".join(label_of(v) if k == "name" else f"{k} {label_of(v)}" for k, v in value.items())
        case list() | tuple():
            return " ".join(map(label_of, value))
        case _:
            return str(value)


def chosen(cells: Sequence[Cell], filters: Sequence[str]) -> list[Cell]:
    """The cells that a filter of --only lets through; without any, all.

    Args:
        filters: each key=value[,key=value ...]; a cell passes one if all of it holds. A key is an axis, or the last
            part of one, or seed; a value is the label of one.

    Raises:
        RecipeError: a filter names no axis or lets no cell through.
    """
    if not filters:
        return list(cells)
    found = [cell for cell in cells if any(_passes(cell, text) for text in filters)]
    if not found:
        names = "\n  ".join(cell.name for cell in cells)
        raise RecipeError(f"--only {' '.join(filters)} lets no cell through, expected some of\n  {names}")
    return found


def _passes(cell: Cell, text: str) -> bool:
    names = {short: key for key, short in _short_keys(cell.setting.levels).items()}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        key = names.get(key, key)
        if not equals or (key != "seed" and key not in cell.setting.levels):
            known = ", ".join([*cell.setting.levels, "seed"])
            raise RecipeError(f"--only got {part.strip()!r}, expected KEY=VALUE with a key of {known}.")
        if value.strip() != (str(cell.seed) if key == "seed" else cell.setting.levels[key]):
            return False
    return True


# One setting ----------------------------------------------------------------------------------------------------------


def _setting(sweep: Sweep, base: Recipe, values: Mapping[str, Any], number: int) -> Setting:
    linked = {key: _evaluated(key, formula, base, values) for key, formula in sweep.linked.items()}
    levels = {key: label_of(value) for key, value in values.items()}
    if sweep.labels is not None:
        label = sweep.labels[number]
        if len(sweep.axes) == 1:
            levels = dict.fromkeys(sweep.axes, label)
    else:
        label = ", ".join(f"{short} {levels[key]}" for key, short in _short_keys(levels).items())
    return Setting(label, levels, dict(values), tuple(assignments({**values, **linked})))


def _evaluated(key: str, formula: str | float, base: Recipe, values: Mapping[str, Any]) -> float:
    """What a linked key comes to in one setting."""
    if not isinstance(formula, str):
        return formula
    names: dict[str, Any] = base.model_dump(mode="json", by_alias=True)
    for path, value in values.items():
        *above, last = path.split(".")
        inner = names
        for part in above:
            if not isinstance(inner.get(part), dict):
                inner[part] = {}
            inner = inner[part]
        inner[last] = value
    try:
        found = SimpleEval(names=names).eval(formula)
    except (InvalidExpression, SyntaxError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise RecipeError(
            f"linked: {key} got {formula!r} ({error}), expected an expression of numbers and of keys of the recipe, "
            "such as 1 - masking.mask_replace_prob."
        ) from None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise RecipeError(f"linked: {key} got {formula!r}, which is {found!r}, expected it to come to a number.")
    return found if isinstance(found, int) else float(f"{found:.{_SIGNIFICANT}g}")


def _short_keys(keys: Mapping[str, Any]) -> dict[str, str]:
    """Each key's last part, or all of it where two end alike."""
    last = [key.rpartition(".")[2] for key in keys]
    shortened = {key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)}
    # `name` alone says nothing of what is named.
    return {key: key.partition(".")[0] if short == "name" else short for key, short in shortened.items()}


def _leaf_values(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe by its key, sections among them."""

    def walk(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, inner in value.items():
            yield f"{path}{key}", inner
            if isinstance(inner, Mapping):
                yield from walk(inner, f"{path}{key}.")

    return dict(walk(recipe.model_dump(mode="json", by_alias=True), ""))


# What is wrong --------------------------------------------------------------------------------------------------------


def _told(wrong: Mapping[str, str], num_cells: int) -> str:
    """All invalid cells; those with the same problems together."""
    by_problem: dict[str, list[str]] = {}
    for name, text in wrong.items():
        by_problem.setdefault("\n".join(text.splitlines()[1:]) or text, []).append(name)
    lines = [f"{len(wrong)} of {num_cells} cells have no valid recipe, so nothing was started."]
    for problem, names in by_problem.items():
        more = f" and {len(names) - _SHOWN_CELLS} more" if len(names) > _SHOWN_CELLS else ""
        lines.append(f"{', '.join(names[:_SHOWN_CELLS])}{more}:\n{problem}")
    return "\n".join(lines)


def _check_different(cells: Sequence[Cell]) -> None:
    seen: dict[str, Cell] = {}
    for cell in cells:
        if (other := seen.setdefault(cell.name, cell)) is not cell:
            raise RecipeError(
                f"{other.setting.label!r} and {cell.setting.label!r} would both be called {cell.name}, expected "
                "different names. Give labels to the settings, or change a value."
            )
    trained: dict[str, Cell] = {}
    for cell in cells:
        other = trained.setdefault(json.dumps(training_settings(cell.recipe), sort_keys=True), cell)
        if other is not cell:
            raise RecipeError(
                f"{other.name} and {cell.name} come to the same recipe, expected every cell to train another way. "
                "Their keys change nothing of the training, or a linked key undoes them, or they name other texts, "
                "which a sweep does not compare; take one of the settings out."
            )
