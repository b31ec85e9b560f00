"""SIGKILL, aimed."""

import contextlib
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.launches import Launched, one
from tests.faults.recipes import SAVES, STEPS
from tests.faults.runs import Whole, is_saving, last_step

_LONGEST_SAVE = 0.06  # seconds; a shot that comes too late is repeated
_LONGEST_STEP = 0.06
_SHOTS = 12


def _inside_a_save(launched: Launched, run: Path, draw: random.Random, whole: Whole) -> bool:
    """Die while a checkpoint is written; which one and how far it is is drawn."""
    step = last_step(run) + draw.choice((0, SAVES, 2 * SAVES, 4 * SAVES))
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


def _at_a_random_moment(launched: Launched, run: Path, draw: random.Random, whole: Whole) -> bool:
    """Die at a moment after the first step that is drawn from all of the run's time."""
    before = last_step(run)
    if not launched.until(lambda: last_step(run) > before):
        return False
    _pause(launched, draw.uniform(0, whole.seconds * (1 - before / STEPS)))
    died = not launched.is_over
    launched.kill()
    return died


AIMS: dict[str, Callable[[Launched, Path, random.Random, Whole], bool]] = {
    "inside a save": _inside_a_save,
    "at an epoch's end": _at_an_epochs_end,
    "at a random moment": _at_a_random_moment,
}
"""Waits for its moment, kills, and says whether the moment was hit."""


def killed(whole: Whole, run: Path, where: str, draw: random.Random) -> list[dict[str, Any]]:
    """Launch a run and kill it, and again until a kill hit what it was aimed at; gives the kills."""
    kills: list[dict[str, Any]] = []
    for _ in range(_SHOTS):
        with one(whole.recipe, f"output_dir={run}") as launched:
            hit = AIMS[where](launched, run, draw, whole)
        kills.append({"step": last_step(run), "saving": is_saving(run), "hit": hit})
        if hit:
            return kills
        if not launched.was_killed:
            assert launched.process.returncode == 0, launched.said
            shutil.rmtree(run)  # it came to its end before: another one
    raise AssertionError(f"{_SHOTS} kills and none {where}: {kills}")


def _pause(launched: Launched, seconds: float) -> None:
    """Let it go on for a while, or to its end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        launched.process.wait(timeout=seconds)
