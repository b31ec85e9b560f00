"""A sweep that is ready to be run: its cells with their budgets, all checked, nothing started."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from pretrain.assembly import prepared_store
from pretrain.recipe import Recipe, read_recipe
from pretrain.sweeps.budgets import amount_of, overrides_for
from pretrain.sweeps.cells import Cell, Setting, cells_of, reference_of, settings_of
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.settings import Sweep


@dataclass(frozen=True)
class Plan:
    """A sweep's cells, and what they have in common."""

    sweep: Sweep
    folder: SweepFolder
    base: Recipe
    settings: list[Setting]
    reference: Setting
    amount: float
    cells: list[Cell]


def plan(sweep: Sweep, folder: SweepFolder, seconds_per_step: Callable[[Recipe], float]) -> Plan:
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
    first = {cell.setting.label: cell.recipe for cell in reversed(cells_of(sweep, settings, folder.path))}

    store = cache(prepared_store)
    amount = sweep.amount or folder.amount()
    if amount is None:
        recipe = first[reference.label]
        amount = amount_of(sweep.match, recipe, store(recipe), seconds_per_step=lambda: seconds_per_step(recipe))
    budgets = {
        label: overrides_for(sweep.match, amount, recipe, store(recipe)) for label, recipe in first.items()
    }
    cells = cells_of(sweep, settings, folder.path, lambda setting: budgets[setting.label])
    folder.check_runs(cells)
    return Plan(sweep, folder, base, settings, reference, amount, cells)
