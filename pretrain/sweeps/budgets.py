"""What is equal in all cells of a sweep, and the budget that makes it so in each.

Steps, tokens and hours are budgets of a recipe. Targets and FLOPs are turned into steps, of which there are whole ones
only, so cells are equal in them to half a step.
"""

from collections.abc import Callable, Sequence

import numpy as np

from objectives.masking import NOT_A_TARGET
from pretrain.batches import Examples
from pretrain.estimate import estimate
from pretrain.recipe import BUDGETS, Recipe
from pretrain.sweeps.settings import Match

UNITS: dict[Match, str] = {
    "steps": "steps",
    "tokens": "tokens",
    "targets": "targets (masked tokens)",
    "flops": "FLOPs",
    "wall_clock": "hours of training",
}
_SHARES = 8  # points of a run at which rows are masked to count targets, as a rate may follow it
_ROWS = 64  # at each


def budget_overrides(name: str, value: float) -> list[str]:
    """The overrides that end a run by one budget of pretrain's, whichever the recipe names."""
    assert name in BUDGETS
    return [f"train.{name}={value!r}", *(f"train.{other}=null" for other in BUDGETS if other != name)]


def flops_per_step(recipe: Recipe) -> float:
    """FLOPs of one update of the weights, all networks of a recipe together.

    Places in a batch count whether they hold a token or padding, so packed rows are what this is exact for.
    """
    of_one_step = dict.fromkeys(BUDGETS) | {"steps": 1}
    flops = estimate(recipe.model_copy(update={"train": recipe.train.model_copy(update=of_one_step)})).flops
    assert flops is not None, "a budget of steps says how many there are"
    return flops


def equal_steps(amount: float, *, per_step: float) -> int:
    """The steps that spend this much, to half a step; at least one."""
    return max(1, round(amount / per_step))


def targets_per_step(examples: Examples, batch_size: int) -> float:
    """Mean number of masked tokens in a batch, counted on rows of the first epoch over the course of the run."""
    count = len(examples.plan(0))
    means = []
    for part in range(_SHARES):
        indices = np.unique(np.linspace(part % count, count - 1, num=min(_ROWS, count), dtype=np.int64))
        _, masked = examples.rows(0, indices, share=(part + 0.5) / _SHARES)
        per_row = (masked.labels != NOT_A_TARGET) if masked.label_weights is None else masked.label_weights
        means.append(per_row.sum() / len(indices))
    return float(np.mean(means) * batch_size)


def tokens_per_step(examples: Examples, batch_size: int) -> float:
    """Mean number of tokens in a batch, padding not counted, on rows of the first epoch."""
    plan = examples.plan(0)
    rows = plan.rows(np.unique(np.linspace(0, len(plan) - 1, num=min(_SHARES * _ROWS, len(plan)), dtype=np.int64)))
    return float(rows.attention_mask.sum() / len(rows.attention_mask) * batch_size)


def steps_of(recipe: Recipe, examples: Examples) -> float | None:
    """The steps that a recipe's own budget comes to, None where only a clock can tell."""
    train = recipe.train
    if train.steps is not None:
        return train.steps
    if train.tokens is not None:
        return train.tokens / tokens_per_step(examples, train.batch_size)
    return None if train.epochs is None else train.epochs * len(examples.plan(0)) / train.batch_size


def amount_of(match: Match, recipe: Recipe, examples: Examples, *, seconds_per_step: Callable[[], float]) -> float:
    """What a recipe spends by its own budget, in the unit of a match.

    Args:
        seconds_per_step: times the recipe; asked only where nothing else tells.
    """
    own = recipe.train.hours if match == "wall_clock" else getattr(recipe.train, match, None)
    if own is not None:
        return float(own)
    steps = steps_of(recipe, examples)
    if steps is None:
        assert recipe.train.hours is not None, "a recipe has exactly one budget"
        steps = recipe.train.hours * 3600 / seconds_per_step()
    match match:
        case "steps":
            return float(round(steps))
        case "tokens":
            return float(round(steps * tokens_per_step(examples, recipe.train.batch_size)))
        case "targets":
            return float(round(steps * targets_per_step(examples, recipe.train.batch_size)))
        case "flops":
            return steps * flops_per_step(recipe)
        case "wall_clock":
            return steps * seconds_per_step() / 3600


def overrides_for(match: Match, amount: float, recipe: Recipe, examples: Callable[[], Examples]) -> Sequence[str]:
    """The overrides with which a recipe spends this much.

    Args:
        examples: gives those that it trains on; asked only where targets are counted.
    """
    match match:
        case "targets":
            per_step = targets_per_step(examples(), recipe.train.batch_size)
            return budget_overrides("steps", equal_steps(amount, per_step=per_step))
        case "flops":
            return budget_overrides("steps", equal_steps(amount, per_step=flops_per_step(recipe)))
        case "wall_clock":
            return budget_overrides("hours", amount)
        case _:
            return budget_overrides(match, int(amount))
