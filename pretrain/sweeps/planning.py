"""A sweep that is ready to be run: its cells with their budgets, all checked, nothing started."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pretrain.assembly import prepared_store, training_examples
from pretrain.batches import Examples
from pretrain.recipe import Recipe, RecipeError, read_recipe
from pretrain.recipe_problems import did_you_mean
from pretrain.sweeps.budgets import amount_of, overrides_for
from pretrain.sweeps.cells import Cell, Setting, cells_of, reference_of, settings_of
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.settings import Sweep
from pretrain.word_classes import CLASSES


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
    stores: Mapping[str, str]
    """Fingerprint of the token store of each setting."""

    @property
    def is_comparable(self) -> bool:
        """Whether all cells are scored on the same rows: the same texts, tokenizer and length."""
        lengths = {recipe.examples.max_seq_length for recipe in self.recipes.values()}
        return len(lengths) == 1 and len(set(self.stores.values())) == 1

    def check_measure(self) -> None:
        """See to it that the finished cells will have what decides.

        Raises:
            RecipeError: they will not; with what they will have.
        """
        objective, sweep = self.base.objective, self.sweep
        parts = ["", *("own/" if rate == "own" else f"rate_{rate:g}/" for rate in sweep.rates)]
        parts += [f"{name}/" for name in CLASSES] if sweep.word_classes else []
        masked, *others = objective.terms
        known = [f"eval/{part}{name}" for part in parts for name in (f"{masked}_nats", f"accuracy/{masked}")]
        known += [f"eval/{name}" for term in others for name in (f"{term}_nats", f"accuracy/{term}")]
        known += [f"eval/{figure}" for figure in objective.figures]
        probes = [f"probe/{probe.name}/" for probe in self.base.probes]
        if self.measure not in known and not self.measure.startswith(tuple(probes)):
            listed, hint = ", ".join([*known, *(f"{probe}..." for probe in probes)]), did_you_mean(self.measure, known)
            raise RecipeError(f"measure: got {self.measure!r}, expected one that the cells will have{hint}: {listed}.")

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
    _check_files(sweep)
    stores = {label: _store_to_score(recipe) for label, recipe in first.items()}
    folder.check_stores(stores)
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
    found = SweepPlan(sweep, folder, base, settings, reference, amount, cells, stores)
    found.check_measure()
    return found


def _check_files(sweep: Sweep) -> None:
    for key in ("function_words", "accelerate_config"):
        path = getattr(sweep, key)
        if path is not None and not Path(path).is_file():
            raise RecipeError(f"{key}: got {path}, which is no file, expected one; correct it, or leave it out.")


def _store_to_score(recipe: Recipe) -> str:
    """Prepare the token store of a recipe; gives its fingerprint."""
    store = prepared_store(recipe) if recipe.corpus.held_out else None
    if store is None or not store.held_out.num_tokens:
        raise RecipeError(
            f"{recipe.name} holds no document out, expected some, by which cells are compared. Set corpus.held_out."
        )
    return store.fingerprint


def examples_of(recipe: Recipe) -> Examples:
    """What a recipe trains on."""
    return training_examples(recipe, prepared_store(recipe))


def _one_each(cells: Sequence[Cell]) -> dict[str, Recipe]:
    """The recipe of each setting with the first seed."""
    recipes: dict[str, Recipe] = {}
    for cell in cells:
        recipes.setdefault(cell.setting.label, cell.recipe)
    return recipes
