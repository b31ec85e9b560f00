"""accelerate launch -m pretrain.sweeps.calibration RECIPE: how long a recipe's steps take here, from a few of them.

The cells of a sweep are timed as they will run, in a process of their own each, before anybody waits for them.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil

from pretrain.assembly import prepared_store
from pretrain.checkpoints.state import make_loop
from pretrain.commands import guarded
from pretrain.distributed.processes import Processes
from pretrain.evaluation import HeldOut
from pretrain.loop import Loop
from pretrain.recipe import Recipe, RecipeError, read_recipe
from pretrain.sweeps.children import Share
from tokenization.store import TokenStore

_WARM_UP = 2  # steps that also find out which kernels are fastest
_LEAST_STEPS = 3
_SECONDS = 4.0
_SCORED_ROWS = 64
_LAST_LINES = 5
_WHOLE = Share()


@dataclass(frozen=True, slots=True)
class Pace:
    """What a recipe takes on this machine."""

    seconds_per_step: float
    start_seconds: float
    """From the launch to the first step, and from the last one to the end."""
    seconds_per_held_out_row: float
    """Of scoring."""


def pace_of(recipe: Recipe, launcher: Sequence[str], share: Share = _WHOLE) -> Pace:
    """Time a recipe in a process of its own.

    Args:
        launcher: the command before `-m`.
        share: what it may use of the machine.

    Raises:
        RecipeError: it does not run; with what it said last.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(recipe.to_yaml(), encoding="utf-8")
        command = [*launcher, "-m", "pretrain.sweeps.calibration", str(path)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            preexec_fn=share.confine,
            env=share.environment,
        )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise RecipeError(f"{recipe.name} cannot be timed, expected it to run a few steps. It said\n{said}")
    return Pace(**json.loads(done.stdout.splitlines()[-1]))


def measure(recipe: Recipe) -> Pace:
    """Time a recipe in this process."""
    processes = Processes.start(recipe.train.mixed_precision)
    store = prepared_store(recipe)
    loop = make_loop(recipe, processes, store, None)
    started = time.time() - psutil.Process().create_time()
    seconds: list[float] = []
    while len(seconds) < _WARM_UP + _LEAST_STEPS or sum(seconds) < _SECONDS:
        began = time.monotonic()
        loop.step(0)
        seconds.append(time.monotonic() - began)
    return Pace(median(seconds[_WARM_UP:]), started, _scoring(loop, store))


def _scoring(loop: Loop, store: TokenStore) -> float:
    """Seconds per held-out row, 0 where none is held out."""
    if not store.held_out.num_tokens:
        return 0.0
    recipe = loop.recipe
    held_out = HeldOut(
        store, recipe.objective.terms, max_seq_length=recipe.examples.max_seq_length, most_rows=_SCORED_ROWS
    )
    began = time.monotonic()
    held_out.measure(loop.objective, loop.processes, micro_batch_size=recipe.train.most_at_once)
    return (time.monotonic() - began) / min(_SCORED_ROWS, num_held_out_rows(recipe, store))


def num_held_out_rows(recipe: Recipe, store: TokenStore) -> int:
    """About how many rows all held-out documents make."""
    return -(-store.held_out.num_tokens // recipe.examples.max_seq_length)


def main() -> int:
    """Time the recipe that is named; the last line on standard output is JSON."""
    return guarded(lambda _: print(json.dumps(asdict(measure(read_recipe(sys.argv[1]))))))


if __name__ == "__main__":
    sys.exit(main())
