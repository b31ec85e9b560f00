"""What a sweep will cost, told before anything is run."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pretrain.assembly import prepared_store
from pretrain.recipe import Recipe
from pretrain.sweeps.budgets import UNITS, flops_per_step, steps_of, targets_per_step, tokens_per_step
from pretrain.sweeps.calibration import Pace, num_held_out_rows, pace_of
from pretrain.sweeps.cells import Cell
from pretrain.sweeps.executors import shares_of
from pretrain.sweeps.planning import SweepPlan, examples_of
from pretrain.sweeps.running import Job, is_done, launcher


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one run of a setting will cost."""

    label: str
    steps: int
    tokens: float
    targets: float
    flops: float
    training_seconds: float
    seconds: float
    """In all: starting, training, evaluations on the way and scoring the finished model. Probes are not in it."""


def forecasts(plan: SweepPlan, num_workers: int) -> list[Forecast]:
    """Time each setting for a few steps, as many at once as will run at once, and work out what a run will cost."""
    recipes, shares = plan.recipes, shares_of(num_workers)
    with ThreadPoolExecutor(num_workers) as pool:
        paces = pool.map(
            lambda numbered: pace_of(numbered[1], launcher(plan.sweep), shares[numbered[0] % num_workers]),
            enumerate(recipes.values()),
        )
        return [
            _forecast(label, recipe, pace, num_passes=1 + len(plan.sweep.rates))
            for (label, recipe), pace in zip(recipes.items(), paces, strict=True)
        ]


def lines(plan: SweepPlan, cells: Sequence[Cell], found: Sequence[Forecast], num_workers: int) -> list[str]:
    """For people: the cells that are to be run, what each costs, and the whole time of those that are not done."""
    num_seeds, longest = len(plan.sweep.seeds), max(len(one.label) for one in found)
    missing = [cell for cell in cells if not is_done(Job.of(cell, plan.sweep, plan.folder))]
    seconds = {one.label: one.seconds for one in found}
    head = f"{'setting':{longest}}  {'steps':>9}  {'tokens':>8}  {'targets':>8}  {'FLOPs':>8}  {'minutes':>8}"
    rows = [
        f"{one.label:{longest}}  {one.steps:9,}  {one.tokens:8.2e}  {one.targets:8.2e}  {one.flops:8.2e}  "
        f"{one.seconds / 60:8.1f}{'  the reference' if one.label == plan.reference.label else ''}"
        for one in found
    ]
    total = sum(seconds[cell.setting.label] for cell in missing)
    return [
        f"{plan.sweep.name}: {len(found)} settings x {num_seeds} seeds = {len(plan.cells)} cells, each "
        f"{plan.amount:g} {UNITS[plan.sweep.match]}",
        head,
        *rows,
        f"{len(missing)} cells are to be run: {total / 3600:.1f} hours of one worker, about "
        f"{total / 3600 / num_workers:.1f} hours with {num_workers} at a time; probes come on top",
        "the cells:",
        *(f"  {cell.name}{'' if cell in missing else '  done'}" for cell in cells),
    ]


def _forecast(label: str, recipe: Recipe, pace: Pace, *, num_passes: int) -> Forecast:
    examples, batch_size = examples_of(recipe), recipe.train.batch_size
    num_rows = num_held_out_rows(recipe, prepared_store(recipe))
    scored, every = min(num_rows, recipe.evaluate.most_rows or num_rows), recipe.evaluate.every_steps
    per_evaluation = scored * pace.seconds_per_held_out_row
    per_step = pace.seconds_per_step + (per_evaluation / every if every else 0.0)
    own = steps_of(recipe, examples)
    steps = max(1, round(3600 * (recipe.train.hours or 0.0) / per_step if own is None else own))
    training = steps * per_step
    last = per_evaluation + num_rows * pace.seconds_per_held_out_row * num_passes
    return Forecast(
        label=label,
        steps=steps,
        tokens=steps * tokens_per_step(examples, batch_size),
        targets=steps * targets_per_step(examples, batch_size),
        flops=steps * flops_per_step(recipe),
        training_seconds=training,
        seconds=2 * pace.start_seconds + training + last,
    )
