"""SIGKILL at any moment: the run that is launched again is the run that nothing happened to, bit for bit."""

import random
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Tried, Wholes
from tests.faults.kills import AIMS, killed
from tests.faults.launches import one
from tests.faults.runs import differences

TRIES = {"inside a save": 15, "at an epoch's end": 8, "at a random moment": 27}
"""How many of the fifty tries are aimed where."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("where", "number"), [(where, number) for where, count in TRIES.items() for number in range(count)]
)
def test_a_killed_run_that_is_launched_again_is_the_run_that_was_not(
    objective: str, where: str, number: int, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective), tmp_path / "run"
    what = tried("SIGKILL", objective=objective, phase=where)
    what["kills"] = killed(whole, run, where, random.Random(f"{objective} {where} {number}"))
    with one(whole.recipe, f"output_dir={run}") as launched:
        assert launched.wait() == 0, launched.said
    assert "damaged" not in launched.said, "a kill leaves no half checkpoint"
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


def test_every_aim_is_tried() -> None:
    assert TRIES.keys() == AIMS.keys()
    assert sum(TRIES.values()) == 50
