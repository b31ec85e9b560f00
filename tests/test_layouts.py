"""Laws of the layout: how a batch is spread over micro-batches, processes and rows changes nothing but the rounding.

Every objective in float32 without dropout: loss, gradient norm and weights after 20 steps to 1e-5, and a run that goes
on in another layout is the run that did not. The objectives' batches are so small that no draw of a token lies on the
border of two words and no logit on that of two bins, where rounding alone would change what is counted.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from objectives import OBJECTIVES
from pretrain.loop import Loop
from pretrain.optimizer import OPTIMIZERS as OPTIMIZER_SETTINGS
from pretrain.processes import Processes
from pretrain.recipe import Recipe, read_recipe
from pretrain.signals import Interrupted
from tests.layouts import (
    CLOCK,
    ON_ONE,
    ON_TWO,
    OPTIMIZERS,
    SETUPS,
    STEPS,
    Apart,
    Course,
    as_one_batch,
    assert_bitwise,
    assert_same,
    assert_same_weights,
    course_of,
    loop_of,
    recorded,
)
from tests.two_ranks import Job, environment, read_course

ROOT = Path(__file__).resolve().parents[1]
LaunchRun = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
Train = Callable[..., Course]
Layout = tuple[str, ...]

QUICK = [(setup, of.optimizer) for setup, of in SETUPS.items()]
LONG = [(setup, name) for setup in SETUPS for name in OPTIMIZERS if (setup, name) not in QUICK]
PAIRS = [
    pytest.param(*pair, id=", ".join(pair), marks=pytest.mark.long if pair in LONG else ()) for pair in [*QUICK, *LONG]
]
every_pair = pytest.mark.parametrize(("setup", "optimizer"), PAIRS)
DROPOUT = ("encoder.hidden_dropout_prob=0.2", "encoder.attention_probs_dropout_prob=0.2")
CLIPPED = "train.max_grad_norm=0.05"
BFLOAT16 = "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02}"


def test_every_objective_and_every_optimizer_is_held_to_the_laws() -> None:
    assert {setup.objective for setup in SETUPS.values()} == OBJECTIVES.keys()
    assert OPTIMIZERS.keys() == OPTIMIZER_SETTINGS.keys()
    for name in OBJECTIVES:
        assert {setup.optimizer for setup in SETUPS.values() if setup.objective == name} >= {"adamw", "muon"}, name
        assert {"mlm", "replaced_token_detection"} <= {setup.objective for setup in _packed().values()}


def _packed() -> dict[str, Any]:
    return {name: setup for name, setup in SETUPS.items() if any("name: packed" in part for part in setup.overrides)}


# Runs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str]) -> Path:
    """The tiny recipe, which all runs override."""
    folder = tmp_path_factory.mktemp("layouts")
    (folder / "recipe.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def recipe_of(recipe_file: Path) -> MakeRecipe:
    """The recipe of a setup, or of a pair of setup and optimizer, with further overrides."""
    return lambda *overrides: read_recipe(recipe_file, overrides)


@pytest.fixture(scope="module")
def in_one(recipe_of: MakeRecipe) -> Train:
    """The course of a recipe in this process; made once, so it must not be changed."""
    made: dict[tuple[Any, ...], Course] = {}

    def train(*overrides: str, kind: str = "plain") -> Course:
        if (overrides, kind) not in made:
            made[overrides, kind] = course_of(loop_of(recipe_of(*overrides), Processes.start("no"), kind))
        return made[overrides, kind]

    return train


def _overrides(setup: str, optimizer: str, *more: str) -> tuple[str, ...]:
    return (*SETUPS[setup].overrides, OPTIMIZERS[optimizer], *more)


def _start_two(recipe: Path, jobs: Sequence[Job]) -> None:
    """Do the jobs in two processes and wait; what they wrote stands beside the recipe."""
    folder = recipe.parent
    (folder / "jobs.json").write_text(json.dumps(jobs))
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.two_ranks", str(folder), str(rank)],
            cwd=ROOT, env=environment(rank), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    told = [""]
    try:
        told = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(told)


# One process, two processes ------------------------------------------------------------------------------------------


@every_pair
def test_micro_batches_of_any_size_train_as_the_whole_batch(in_one: Train, setup: str, optimizer: str) -> None:
    whole, *others = (in_one(*_overrides(setup, optimizer, *layout)) for layout in ON_ONE.values())
    term = next(iter(whole.lines[0].keys() & {f"loss/{name}_nats" for name in ("mlm", "generator")}))
    assert whole.lines[-1][term] < whole.lines[0][term], "nothing was learnt, so nothing is compared"
    for other in others:
        assert_same(other, whole)
        assert other.seen == whole.seen


def _jobs(pairs: Sequence[tuple[str, str]]) -> list[Job]:
    plain = [
        Job(f"{setup}, {optimizer}, {name}", _overrides(setup, optimizer, *layout))
        for setup, optimizer in pairs
        for name, layout in ON_TWO.items()
    ]
    bare = [
        Job(f"{setup}, {optimizer}, bare", _overrides(setup, optimizer, CLIPPED, *ON_TWO["15 by 4"]), "bare")
        for setup, optimizer in pairs
    ]
    return [*plain, *bare]


@pytest.fixture(scope="module")
def two_ranks(recipe_file: Path, launch: LaunchRun, recipe_of: MakeRecipe, request: pytest.FixtureRequest) -> Path:
    """Where both processes wrote what they trained."""
    _start_two(recipe_file, [*_jobs(QUICK), *_twice()])
    return recipe_file.parent


def _twice() -> list[Job]:
    return []


@every_pair
def test_two_processes_train_as_one(two_ranks: Path, in_one: Train, setup: str, optimizer: str) -> None:
    for name, layout in ON_TWO.items():
        courses = [read_course(two_ranks, rank, f"{setup}, {optimizer}, {name}") for rank in (0, 1)]
        one = in_one(*_overrides(setup, optimizer, *as_one_batch(layout)))
        for course in courses:
            assert_same(course, one)
