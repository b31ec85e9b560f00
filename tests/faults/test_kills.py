"""SIGKILL at any moment: the run that is launched again is the run that nothing happened to, bit for bit."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Wholes
from tests.faults.launches import Launched, one
from tests.faults.recipes import SAVES, STEPS
from tests.faults.runs import Whole, differences, is_saving, last_step

TRIES = {"inside a save": 15, "at an epoch's end": 8, "at a random moment": 27}
"""How many of the fifty tries are aimed where."""
_LONGEST_SAVE = 0.06  # seconds; a shot that comes too late is repeated
_LONGEST_STEP = 0.06

pytestmark = pytest.mark.long


def _in_a_save(launched: Launched, run: Path, draw: random.Random, whole: Whole) -> bool:
    """Die while a checkpoint is written; which one and how far is drawn."""
    step = min(last_step(run), STEPS - SAVES) + draw.choice((0, SAVES, 2 * SAVES, 4 * SAVES))
    if not launched.until(lambda: last_step(run) >= min(step, STEPS - SAVES) and is_saving(run)):
        return False
    _pause(launched, draw.uniform(0, _LONGEST_SAVE))
    launched.kill()
    return is_saving(run)


def _at_an_epochs_end(launched: Launched, run: Path, draw: random.Random, whole: Whole) -> bool:
    """Die in or behind the step that takes the last examples of an epoch."""
    ahead = [step for step in whole.epoch_ends if step > last_step(run) + 1]
    if not ahead:
        return False
    end = draw.choice(ahead[:3])
    if not launched.until(lambda: last_step(run) >= end - 1):
        return False
    _pause(launched, draw.uniform(0, _LONGEST_STEP))
    launched.kill()
    return last_step(run) in (end - 1, end)


def _anywhere(launched: Launched, run: Path, draw: random.Random, whole: Whole) -> bool:
    """Die at a moment after the first step that is drawn from all of the run's time."""
    if not launched.until(lambda: last_step(run) >= 1):
        return False
    _pause(launched, draw.uniform(0, whole.seconds))
    died = not launched.is_over
    launched.kill()
    return died


AIM: dict[str, Callable[[Launched, Path, random.Random, Whole], bool]] = {
    "inside a save": _in_a_save,
    "at an epoch's end": _at_an_epochs_end,
    "at a random moment": _anywhere,
}


@pytest.mark.parametrize(
    ("where", "number"), [(where, number) for where, count in TRIES.items() for number in range(count)]
)
def test_a_killed_run_that_is_launched_again_is_the_run_that_was_not(
    objective: str, where: str, number: int, wholes: Wholes, tmp_path: Path, tried: Callable[..., None]
) -> None:
    whole, run = wholes(objective), tmp_path / "run"
    kills = killed(whole, run, where, random.Random(f"{objective} {where} {number}"))
    tried("SIGKILL", objective=objective, phase=where, kills=kills)
    with one(whole.recipe, f"output_dir={run}") as launched:
        assert launched.wait() == 0, launched.said
    assert "damaged" not in launched.said, "a kill leaves no half checkpoint"
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


def killed(whole: Whole, run: Path, where: str, draw: random.Random) -> list[dict[str, Any]]:
    """Launch a run and kill it, and again until a kill hit what it was aimed at; gives the kills."""
    kills: list[dict[str, Any]] = []
    for _ in range(12):
        with one(whole.recipe, f"output_dir={run}") as launched:
            hit = AIM[where](launched, run, draw, whole)
        kills.append({"step": last_step(run), "saving": is_saving(run), "hit": hit})
        if hit:
            return kills
        if launched.process.returncode == 0:  # the run was quicker: another one
            shutil.rmtree(run)
    raise AssertionError(f"no kill hit {where}: {kills}")


def _pause(launched: Launched, seconds: float) -> None:
    """Let it run on for a while, or to its end."""
    try:
        launched.process.wait(timeout=seconds)
    except Exception:
        return
