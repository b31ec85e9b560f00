"""Our side of the benchmarks of training: a recipe's own loop on its own data, timed step by step."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.turns import Turn

WARM_UP_STEPS = 2
UNBROKEN = ("train.steps=100000", "evaluate.every_steps=null", "checkpoint.every_steps=null", "checkpoint.best=null")
"""Overrides under which nothing but training happens."""


def time_steps(recipe_path: str, overrides: Sequence[str], *, steps: int) -> Turn:
    """Train for some steps, after two that warm up.

    Returns:
        tokens_per_second, flops_per_token (pretrain's estimate), flops_per_second (their product) and outside_share: of
        the time, what is spent outside forward, backward and optimizer.
    """
    from pretrain.assembly import build_objective, prepared_store, training_examples
    from pretrain.distributed.processes import Processes
    from pretrain.estimate import estimate
    from pretrain.loop import Loop, Progress
    from pretrain.recipe import read_recipe

    recipe = read_recipe(recipe_path, overrides)
    processes = Processes.start(recipe.train.mixed_precision)
    store = prepared_store(recipe)
    objective = build_objective(recipe, store, device=processes.device).train()
    examples = training_examples(recipe, store)
    loop = Loop(recipe, processes, objective, examples, recipe.optimizer.build(objective), Progress())
    for _ in range(WARM_UP_STEPS):
        loop.step(0)
    inside = _Stopwatch()
    loop._accumulate = inside.timed(loop._accumulate)  # type: ignore[method-assign]
    loop._clip = inside.timed(loop._clip)  # type: ignore[method-assign]
    loop._update = inside.timed(loop._update)  # type: ignore[method-assign]
    began = time.perf_counter()
    for _ in range(steps):
        loop.step(0)
    seconds = time.perf_counter() - began
    cost = estimate(recipe)
    assert cost.flops is not None and cost.tokens is not None, "a budget of steps says both"
    tokens_per_second = steps * recipe.train.batch_size * recipe.examples.max_seq_length / seconds
    return {
        "tokens_per_second": tokens_per_second,
        "flops_per_token": cost.flops / cost.tokens,
        "flops_per_second": tokens_per_second * cost.flops / cost.tokens,
        "outside_share": (seconds - inside.seconds) / seconds,
    }


class _Stopwatch:
    """Adds up the time spent in the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds += time.perf_counter() - began
            return result

        return wrapped
