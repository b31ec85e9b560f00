"""A whole comparison: which runs it needs, which serve both budgets, and what they are measured to be worth."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.head_to_head.budgets import FLOPS, WALL_CLOCK
from benchmarks.head_to_head.files import write_json
from benchmarks.head_to_head.measures import Figures, Measures
from benchmarks.head_to_head.runs import (
    Plan,
    RunError,
    Side,
    Trained,
    finish,
    is_finished,
    seconds_per_step,
    trained,
)
from pretrain.sweeps.budgets import equal_steps

_CALIBRATION_SECONDS = (5.0, 60.0)  # at least, at most; between them a twentieth of the budget

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two recipes, and at what they are to be equal.

    At equal FLOPs without a number for them, A's runs by the clock are the reference, and only B is run again: for as
    many steps as spend what A spent on average.
    """

    a: Side
    b: Side
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float | None
    flops: float | None
    """FLOPs of every run at equal FLOPs; None: what A spends in `minutes`."""
    num_points: int
    out: Path

    @property
    def kinds(self) -> dict[str, tuple[str, str]]:
        """For each budget the kinds of run that A and B are represented by."""
        kinds = {}
        if WALL_CLOCK in self.budgets:
            kinds[WALL_CLOCK] = (WALL_CLOCK, WALL_CLOCK)
        if FLOPS in self.budgets:
            kinds[FLOPS] = (WALL_CLOCK if self.flops is None else FLOPS, FLOPS)
        return kinds

    def finish(self, measures: Measures) -> None:
        """Train and measure all that is not there yet; recipes take turns, the runs by the clock come first."""
        for kind in (WALL_CLOCK, FLOPS):
            sides = [side for at, side in enumerate((self.a, self.b)) if kind in [k[at] for k in self.kinds.values()]]
            for seed in self.seeds:
                for side in sides:
                    plan = self.plan(side, kind, seed)
                    logger.info("%s", plan.name)
                    finish(plan)
                    end = measured(trained(plan), measures)[-1]
                    logger.info("  %s", "  ".join(f"{name} {value:.3f}" for name, value in end.items()))
        references(self, measures)

    def plan(self, side: Side, kind: str, seed: int) -> Plan:
        """One run; at equal FLOPs, once the runs are there that say how many these are."""
        if kind == WALL_CLOCK:
            assert self.minutes is not None, "the command asks for them"
            seconds, (least, most) = 60 * self.minutes, _CALIBRATION_SECONDS
            per_step = seconds_per_step(side, seconds=min(max(seconds / 20, least), most), out=self.out)
            budget, steps = self.minutes / 60, seconds / per_step
        else:
            budget = steps = equal_steps(self.reference_flops(), per_step=side.flops_per_step)
        return Plan(side, seed, kind, budget, self.out, self.num_points, steps)

    def reference_flops(self) -> float:
        """FLOPs of a run at equal FLOPs. Found once: seeds that are added later do not move it."""
        if self.flops is not None:
            return self.flops
        path = self.out / "reference_flops.json"
        if not path.exists():
            ends = [trained(self.plan(self.a, WALL_CLOCK, seed)).end for seed in self.seeds]
            write_json(path, {"flops": mean(end.flops for end in ends), "seeds": list(self.seeds)})
        return float(json.loads(path.read_text(encoding="utf-8"))["flops"])

    def done(self, budget: str) -> Iterator[tuple[int, Trained, Trained]]:
        """Seed, A's run and B's, of the seeds for which both are there."""
        kinds = self.kinds[budget]
        for seed in self.seeds:
            plans = self._plans_that_are_there(kinds, seed)
            if plans is not None:
                yield seed, trained(plans[0]), trained(plans[1])

    def _plans_that_are_there(self, kinds: tuple[str, str], seed: int) -> tuple[Plan, Plan] | None:
        # What comes of a plan is asked for, not what it was to be, so the steps do not matter here.
        a, b = (
            Plan(side, seed, kind, 0, self.out, self.num_points, 0)
            for side, kind in zip((self.a, self.b), kinds, strict=True)
        )
        return (a, b) if is_finished(a) and is_finished(b) else None


def measured(run: Trained, measures: Measures) -> list[Figures]:
    """The figures of each point of a run, kept beside it in measures.json; only what is not there is measured."""
    path = run.plan.folder / "measures.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    points: dict[str, Figures] = kept["points"] if kept.get("of") == measures.fingerprint else {}
    for point in run.points:
        if str(point.step) not in points:
            points[str(point.step)] = measures.of(point.model)
            write_json(path, {"of": measures.fingerprint, "points": points})
    return [points[str(point.step)] for point in run.points]


def references(comparison: Comparison, measures: Measures) -> dict[str, Figures]:
    """What can win without being trained, measured once: random weights of both, bags of words, the majority sense."""
    path = comparison.out / "references.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: dict[str, Figures] = kept["references"] if kept.get("of") == measures.fingerprint else {}
    if not found:
        found = measures.of_references()
        for side in (comparison.a, comparison.b):
            found[f"random weights of {side.label}"] = measures.of_random_weights(_any_model(comparison, side))
        write_json(path, {"of": measures.fingerprint, "references": found})
    return found


def _any_model(comparison: Comparison, side: Side) -> Path:
    folders = sorted((comparison.out / "runs").glob(f"{side.label}-*-seed*/model"))
    if not folders:
        raise RunError(f"{comparison.out / 'runs'} holds no finished run of {side.label}, expected one to report on.")
    return folders[0]
