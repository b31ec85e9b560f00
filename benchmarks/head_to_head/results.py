"""What came of a comparison, as plain figures: every run, and for every budget the differences over seeds."""

from dataclasses import asdict
from typing import Any

from benchmarks.head_to_head.comparison import Comparison, measured, references
from benchmarks.head_to_head.measures import MEASURES, Measures
from benchmarks.head_to_head.paired import conclusion, leader, paired_difference, t_interval
from benchmarks.head_to_head.runs import Trained

Json = dict[str, Any]


def results_of(comparison: Comparison, measures: Measures) -> Json:
    """All figures of the runs that are there, as they stand in head_to_head.json."""
    return {
        "recipes": [side.label for side in (comparison.a, comparison.b)],
        "measures": MEASURES,
        "references": references(comparison, measures),
        "budgets": {budget: _budget(comparison, budget, measures) for budget in comparison.kinds},
    }


def _budget(comparison: Comparison, budget: str, measures: Measures) -> Json:
    runs: dict[str, list[Json]] = {comparison.a.label: [], comparison.b.label: []}
    for _, a, b in comparison.done(budget):
        for run in (a, b):
            runs[run.plan.side.label].append(_run(run, measures))
    return {"runs": runs, "comparisons": compare(runs) if all(runs.values()) else {}}


def _run(run: Trained, measures: Measures) -> Json:
    points = zip(run.points, measured(run, measures), strict=True)
    return {
        "seed": run.plan.seed,
        "kind": run.plan.kind,
        "folder": str(run.plan.folder),
        "steps": run.end.step,
        "tokens": run.end.tokens,
        "flops": run.end.flops,
        "training_seconds": run.end.seconds,
        "tokens_per_second": run.end.tokens / run.end.seconds,
        "held_out": run.held_out,
        "points": [
            {"step": point.step, "tokens": point.tokens, "seconds": point.seconds, "flops": point.flops, **figures}
            for point, figures in points
        ],
    }


def compare(runs: dict[str, list[Json]]) -> Json:
    """For each measure both means over the seeds, the paired difference B - A, and what it allows to say.

    Args:
        runs: of A, then of B, by recipe; the n-th runs of both have the same seed.
    """
    (a, runs_a), (b, runs_b) = runs.items()
    assert [run["seed"] for run in runs_a] == [run["seed"] for run in runs_b]
    compared = {}
    for measure in MEASURES:
        values_a, values_b = ([run["points"][-1][measure] for run in side] for side in (runs_a, runs_b))
        difference = paired_difference(values_a, values_b)
        compared[measure] = {
            a: asdict(t_interval(values_a)),
            b: asdict(t_interval(values_b)),
            "difference": asdict(difference),
            "ahead": {1: b, -1: a, 0: None}[leader(difference)],
            "conclusion": conclusion(difference, a=a, b=b),
        }
    return compared
