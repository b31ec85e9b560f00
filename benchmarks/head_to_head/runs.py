"""One run of a comparison: planned, trained by `python -m pretrain` in a process of its own, and read back."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.head_to_head.budgets import WALL_CLOCK, nearest, points_of, spacing
from pretrain.checkpoints.checkpoint import Checkpoints, read_progress
from pretrain.recipe import differing_keys, read_recipe
from pretrain.sweeps.budgets import budget_overrides
from probes.report import Metrics

_UNLESS_TOLD = ("evaluate.every_steps=null", "log.every_steps=10")
_ALWAYS = ("checkpoint.best=null", "checkpoint.keep=1000", "probes=[]")
"""The finished model is the last one, whatever a recipe would rather hand over; checkpoints are pruned by us."""
_LOG_CHARACTERS = 3000


class RunError(ValueError):
    """A run that cannot be made or read."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two recipes, with what is overridden in it."""

    recipe: Path
    label: str
    """The recipe's name."""
    overrides: tuple[str, ...]
    max_seq_length: int
    flops_per_step: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is wanted."""

    side: Side
    seed: int
    kind: str
    """WALL_CLOCK: it ends after `budget` hours. FLOPS: it ends after `budget` steps."""
    budget: float
    out: Path
    num_points: int
    steps: float
    """How many there will be; by the clock, a guess."""

    @property
    def name(self) -> str:
        return f"{self.side.label}-{self.kind}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        return self.out / "runs" / self.name

    @property
    def overrides(self) -> list[str]:
        every_steps = spacing(self.steps, self.num_points, is_guess=self.kind == WALL_CLOCK)
        return [
            *_UNLESS_TOLD,
            *self.side.overrides,
            *_ALWAYS,
            *(f"seed={self.seed}", f"name={self.name}", f"output_dir={self.folder}"),
            *budget_overrides("hours" if self.kind == WALL_CLOCK else "steps", self.budget),
            f"checkpoint.every_steps={every_steps}",
        ]


@dataclass(frozen=True, slots=True)
class Point:
    """A model on the way, or the finished one."""

    step: int
    tokens: int
    seconds: float
    """Of training, resumes included and whatever lay between them not."""
    flops: float
    model: Path


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run."""

    plan: Plan
    points: list[Point]
    """In order; the last is the finished model."""
    held_out: dict[str, float] = field(default_factory=dict)
    """The last evaluation's figures by the names that metrics.jsonl has."""

    @property
    def end(self) -> Point:
        return self.points[-1]


def finish(plan: Plan) -> None:
    """Train a run to its end, unless it is there; one that was cut off goes on from its newest checkpoint.

    Raises:
        RunError: the run that is there was made by another recipe, or training failed.
    """
    if is_finished(plan):
        done = read_recipe(plan.folder / "recipe.yaml")
        if differences := differing_keys(done, read_recipe(plan.side.recipe, plan.overrides)):
            listed = "\n".join(f"  {difference}" for difference in differences)
            raise RunError(
                f"{plan.folder} was made by another recipe, expected the one that is compared now. It differs in\n"
                f"{listed}\nGive another --out, or take the changes back."
            )
    else:
        train(plan.side.recipe, plan.overrides, log=plan.out / "logs" / f"{plan.name}.log")
    _keep_points(plan)


def is_finished(plan: Plan) -> bool:
    """Whether the run has handed its model over."""
    return (plan.folder / "model" / "config.json").is_file()


def trained(plan: Plan) -> Trained:
    """What a finished run has left."""
    per_step = plan.side.flops_per_step
    points = []
    for checkpoint in Checkpoints(plan.folder).all():
        progress = read_progress(checkpoint)
        step, seconds = int(progress["step"]), float(progress["elapsed_seconds"])
        points.append(Point(step, int(progress["tokens"]), seconds, step * per_step, checkpoint / "model"))
    if not points:
        raise RunError(f"{plan.folder} has no checkpoint, expected those of a finished run. Delete it to train anew.")
    metrics = Metrics.read(plan.folder / "metrics.jsonl")
    held_out = {key: float(value) for key in metrics.keys("eval/") if (value := metrics.last(key)) is not None}
    return Trained(plan, points, held_out)


def seconds_per_step(side: Side, *, seconds: float, out: Path) -> float:
    """The median time of a step in a short run of its own, which is made unless it is there."""
    folder = out / "calibration" / side.label
    if not (folder / "model" / "config.json").is_file():
        settings = ["log.every_steps=1", f"name=calibration-{side.label}", f"output_dir={folder}"]
        budget = budget_overrides("hours", seconds / 3600)
        overrides = [*_UNLESS_TOLD, *side.overrides, *_ALWAYS, *settings, *budget, "checkpoint.every_steps=null"]
        train(side.recipe, overrides, log=out / "logs" / f"calibration-{side.label}.log")
    lines = Metrics.read(folder / "metrics.jsonl").lines
    ends = [float(line["elapsed_seconds"]) for line in lines if "elapsed_seconds" in line]
    return median(after - before for before, after in pairwise([0.0, *ends]))


def train(recipe: Path, overrides: Sequence[str], *, log: Path) -> None:
    """Run `python -m pretrain` to its end; what it says goes to the log.

    Raises:
        RunError: it failed; the message has the end of the log.
        KeyboardInterrupt, SystemExit: we were asked to stop; the run was asked too, and has saved.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pretrain", str(recipe), *overrides]
    with log.open("a", encoding="utf-8") as file:
        # In a session of its own, so that Ctrl-C reaches it once, through us.
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            status = process.wait()
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)
                process.wait()
    if status:
        end = log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
        raise RunError(f"python -m pretrain {recipe} ended with status {status}:\n{end}\nAll of it: {log}")


def _keep_points(plan: Plan) -> None:
    """Delete the checkpoints that are not the nearest to a point of the budget; the last one stays."""
    *earlier, last = Checkpoints(plan.folder).all()
    by_clock = plan.kind == WALL_CLOCK
    spent = [float(read_progress(path)["elapsed_seconds" if by_clock else "step"]) for path in [*earlier, last]]
    kept = nearest(spent[:-1], [share * spent[-1] for share in points_of(plan.num_points)])
    for number, path in enumerate(earlier):
        if number not in kept:
            shutil.rmtree(path)
