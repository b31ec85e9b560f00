"""The quick part of the faults: of each kind one, to a real run, side by side; `make faults` does the long part."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from objectives import OBJECTIVES
from pretrain.checkpoints.checkpoint import verify
from pretrain.recipe import read_recipe
from tests.faults.kills import killed
from tests.faults.launches import one, two
from tests.faults.recipes import SMALL
from tests.faults.runs import Whole, checkpoints, differences
from tests.faults.signalling import problem, signalled
from tests.faults.wholes import ALL_KEPT, epoch_ends, small_recipe

Outcomes = dict[str, Future[dict[str, Any]]]


def test_every_objective_has_a_run_to_hurt() -> None:
    assert SMALL.keys() == OBJECTIVES.keys()


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: Callable[..., Path]
) -> Iterator[Outcomes]:
    """What came of each fault. Two go on at a time, since a launch is mostly imports."""
    folder, threads = tmp_path_factory.mktemp("quick"), torch.get_num_threads()
    recipe = read_recipe(small_recipe(folder, tiny_text, "mlm_nsp"), ALL_KEPT)
    torch.set_num_threads(1)  # as the launches have, for bitwise equality
    try:
        began = time.monotonic()
        whole = Whole(folder / "recipe.yaml", launch(recipe), time.monotonic() - began, epoch_ends(recipe))
    finally:
        torch.set_num_threads(threads)
    with ThreadPoolExecutor(2) as pool:
        yield {
            "one process": pool.submit(_one_process, whole, folder / "one"),
            "two ranks": pool.submit(_two_ranks, whole, folder / "two"),
        }


def _one_process(whole: Whole, run: Path) -> dict[str, Any]:
    """A run that is killed at a random moment and inside a save, that has no room then, and that ends all the same."""
    draw = random.Random(11)
    found: dict[str, Any] = {
        where: killed(whole, run, where, draw) for where in ("at a random moment", "inside a save")
    }
    limit = (checkpoints(whole.run)[-1] / "state" / "optimizer.safetensors").stat().st_size // 2
    before = [path.name for path in checkpoints(run)]
    with one(whole.recipe, f"output_dir={run}", max_file_bytes=limit) as launched:
        found["without room"] = launched.wait(), launched.errors, launched.said
    found["kept"] = before == [path.name for path in checkpoints(run)]
    for path in checkpoints(run):
        verify(path)
    with one(whole.recipe, f"output_dir={run}") as launched:
        found["end"] = launched.wait(), launched.said
    found["differences"] = differences(run, whole.run)
    return found


def _two_ranks(whole: Whole, run: Path) -> dict[str, Any]:
    with two(whole.recipe, f"output_dir={run}") as ranks:
        done = signalled(ranks, run, "stepping", 1, signal.SIGTERM, random.Random(12))
    return {"problem": problem(ranks, run, done, signal.SIGTERM), "said": [rank.said for rank in ranks], "done": done}


def test_a_run_that_was_killed_and_starved_is_the_run_that_was_not(outcomes: Outcomes) -> None:
    found = outcomes["one process"].result()
    assert found["inside a save"][-1]["hit"]
    assert found["at a random moment"][-1]["hit"]
    status, said = found["end"]
    assert status == 0, said
    assert "damaged" not in said
    assert found["differences"] == []


def test_a_file_that_cannot_grow_is_one_message_and_leaves_the_checkpoints_as_they_were(outcomes: Outcomes) -> None:
    found = outcomes["one process"].result()
    status, errors, said = found["without room"]
    assert (status, len(errors), "Traceback" in said) == (2, 1, False), said
    assert "Earlier checkpoints are as they were: make room" in said
    assert found["kept"]


def test_a_sigterm_to_one_of_two_ranks_ends_both_with_the_same_step_saved(outcomes: Outcomes) -> None:
    found = outcomes["two ranks"].result()
    assert found["problem"] == "", f"{found['done']}\n{found['said']}"
