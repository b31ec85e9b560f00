"""SIGTERM and SIGINT to a rank in a phase that is aimed at."""

import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.launches import Launched, catches
from tests.faults.recipes import EVALUATIONS, STEPS
from tests.faults.runs import is_evaluating, is_saving, last_step, saved_step

LONGEST = 30.0
"""Seconds in which all ranks are gone after the signal."""
STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}
Ranks = tuple[Launched, ...]


def _is_stepping(ranks: Ranks, run: Path) -> bool:
    return last_step(run) > 0 and not is_saving(run) and not is_evaluating(run, every_steps=EVALUATIONS)


PHASES: dict[str, Callable[[Ranks, Path], bool]] = {
    "meeting": lambda ranks, run: not any("store:" in rank.said or "processes on" in rank.said for rank in ranks),
    "preparing": lambda ranks, run: "training a vocabulary" in ranks[0].said and "processes on" not in ranks[0].said,
    "starting": lambda ranks, run: "processes on" in ranks[0].said and last_step(run) == 0,
    "stepping": _is_stepping,
    "evaluating": lambda ranks, run: is_evaluating(run, every_steps=EVALUATIONS),
    "saving": lambda ranks, run: is_saving(run),
}
"""Whether ranks are in a phase, by what is seen from outside."""


@dataclass
class Signalled:
    """What a signal did to a run."""

    hit: bool
    """Whether the ranks were in the phase both before and after it was sent."""
    step: int
    """Last step that was told when it was sent."""
    statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """Until the last rank was gone."""


def signalled(
    ranks: Ranks, run: Path, phase: str, victim: int, number: signal.Signals, draw: random.Random
) -> Signalled:
    """Send one rank a signal in a phase and wait for all to end.

    Raises:
        AssertionError: a rank hangs.
    """
    target = ranks[victim]
    assert target.until(lambda: catches(target, number)), target.said
    # Which step's saving, evaluation or work it is, and how far that is, is drawn.
    step = draw.randrange(STEPS // 2) if phase in ("stepping", "evaluating", "saving") else 0
    assert target.until(lambda: last_step(run) >= step and PHASES[phase](ranks, run)), target.said
    time.sleep(draw.uniform(0, 0.02))
    before = PHASES[phase](ranks, run)
    target.send(number)
    done = Signalled(hit=before and PHASES[phase](ranks, run), step=last_step(run))
    began = time.monotonic()
    try:
        done.statuses = [rank.wait(max(1.0, began + LONGEST - time.monotonic())) for rank in ranks]
    except AssertionError as hang:
        others = "\n".join(f"rank {number} said\n{rank.said}" for number, rank in enumerate(ranks))
        pytest.fail(f"{number.name} to rank {victim} while {phase}: {hang}\n{others}")
    done.seconds = time.monotonic() - began
    return done


def problem(ranks: Ranks, run: Path, done: Signalled, number: signal.Signals) -> str:
    """What is wrong with how the ranks ended, empty if nothing."""
    told = [
        re.findall(r"^interrupted; (?:step (\d+) is saved|no step was done yet)", rank.said, re.M) for rank in ranks
    ]
    if done.statuses != [STATUS[number]] * len(ranks):
        return f"statuses {done.statuses}"
    if any("Traceback" in rank.said for rank in ranks):
        return "a traceback"
    steps = {int(step or 0) for rank in told for step in rank}
    if not steps <= {saved_step(run)}:
        return f"said {told}, saved {saved_step(run)}"
    if saved_step(run) > done.step + 1 or (done.step and saved_step(run) < done.step):
        return f"step {saved_step(run)} is saved, the signal came at step {done.step}"
    return ""
