"""The runs that nothing happened to, which the hurt ones are held against."""

import time
from collections.abc import Callable
from pathlib import Path

from pretrain.assembly import prepared_store, training_examples
from pretrain.recipe import Recipe, read_recipe
from tests.faults.launches import one, two
from tests.faults.recipes import STEPS, overrides
from tests.faults.runs import Whole, metrics

ALL_KEPT = (f"checkpoint.keep={STEPS}",)


def small_recipe(folder: Path, tiny_text: Callable[[Path], str], objective: str, *more: str) -> Path:
    """Write the recipe of an objective, whole, so that no launch need repeat an override; its store is made as well."""
    path = folder / "recipe.yaml"
    path.write_text(tiny_text(folder / "run"), encoding="utf-8")
    recipe = read_recipe(path, (*overrides(objective), *more))
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    prepared_store(recipe)
    return path


def whole_run(recipe: Path, *, processes: int) -> Whole:
    """Launch a recipe for real and let it come to its end."""
    run = read_recipe(recipe).run_dir
    if processes == 1:
        with one(recipe, *ALL_KEPT) as launched:
            assert launched.until(lambda: bool(metrics(run))), launched.said
            began = time.monotonic()
            assert launched.wait() == 0, launched.said
    else:
        with two(recipe, *ALL_KEPT) as ranks:
            assert ranks[0].until(lambda: bool(metrics(run))), ranks[0].said
            began = time.monotonic()
            assert [rank.wait() for rank in ranks] == [0, 0], ranks[0].said + ranks[1].said
    return Whole(recipe, run, time.monotonic() - began, epoch_ends(read_recipe(recipe)))


def epoch_ends(recipe: Recipe) -> tuple[int, ...]:
    """The steps whose batch takes the last examples of an epoch."""
    planned = training_examples(recipe, prepared_store(recipe))
    ends, examples = [], 0
    for epoch in range(STEPS):
        examples += len(planned.plan(epoch))
        ends.append(-(-examples // recipe.train.batch_size))
        if ends[-1] >= STEPS:
            break
    return tuple(step for step in ends if step < STEPS)
