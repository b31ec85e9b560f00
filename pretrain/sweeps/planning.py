"""A sweep that is ready to be run: its cells with their budgets, all checked, nothing started."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pretrain.assembly import prepared_store, training_examples
from pretrain.batches import Examples
from pretrain.recipe import Recipe, read_recipe
from pretrain.sweeps.budgets import amount_of, overrides_for
from pretrain.sweeps.cells import Cell, Setting, cells_of, reference_of, settings_of
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.settings import Sweep


@dataclass(frozen=True)
class SweepPlan:
    """A sweep's cells, and what they have in common."""

    sweep: Sweep
    folder: SweepFolder
    base: Recipe
    settings: list[Setting]
    reference: Setting
    amount: float
    cells: list[Cell]

    @property
    def measure(self) -> str:
        """The held-out figure that decides."""
        return self.sweep.measure or f"eval/{self.base.objective.terms[0]}_nats"

    @property
    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each setting with the first seed, by its label."""
        return _one_each(self.cells)


def plan(sweep: Sweep, folder: SweepFolder, seconds_per_step: Callable[[Recipe], float]) -> SweepPlan:
    """Work out a sweep, and prepare the token stores that its cells share.

    Args:
        seconds_per_step: times a recipe, where only that tells what it spends.

    Raises:
        RecipeError: the base, a cell or the folder is not as it must be.
    """
    base = read_recipe(sweep.base, sweep.overrides)
    settings = settings_of(sweep)
    reference = reference_of(sweep, settings)
    folder.check(sweep, base)
    first = _one_each(cells_of(sweep, settings, folder.path))
    for recipe in first.values():
        prepared_store(recipe)
    amount = sweep.amount or folder.amount()
    if amount is None:
        recipe = first[reference.label]
        amount = amount_of(sweep.match, recipe, examples_of(recipe), seconds_per_step=lambda: seconds_per_step(recipe))
    budgets = {
        label: overrides_for(sweep.match, amount, recipe, partial(examples_of, recipe))
        for label, recipe in first.items()
    }
    cells = cells_of(sweep, settings, folder.path, lambda setting: budgets[setting.label])
    folder.check_runs(cells)
    return SweepPlan(sweep, folder, base, settings, reference, amount, cells)


def examples_of(recipe: Recipe) -> Examples:
    """What a recipe trains on."""
    return training_examples(recipe, prepared_store(recipe))


def _one_each(cells: Sequence[Cell]) -> dict[str, Recipe]:
    """The recipe of each setting with the first seed."""
    recipes: dict[str, Recipe] = {}
    for cell in cells:
        recipes.setdefault(cell.setting.label, cell.recipe)
    return recipes
