"""What a finished cell has left, read from its run directory and its comparing evaluation."""

import json
from collections.abc import Mapping

import numpy as np

from pretrain.sweeps.budgets import flops_per_step
from pretrain.sweeps.cells import Cell
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.outcome import Cost, Outcome, Point
from probes.report import Metrics
from probes.results import read_results

_FIGURES = "eval/"
_COUNTS = "/targets"  # of a class of words: the same in all cells, as the frozen masks are
_KEYS: dict[Cost, str] = {"tokens": "tokens", "targets": "targets", "hours": "elapsed_seconds"}


def outcome_of(cell: Cell, folder: SweepFolder) -> Outcome:
    """The outcome of a cell that is done."""
    metrics = Metrics.read(folder.run(cell.name) / "metrics.jsonl")
    per_step = flops_per_step(cell.recipe)
    evaluations = {line["step"]: line for line in metrics.lines if any(key.startswith(_FIGURES) for key in line)}
    costs = _costs(metrics, sorted(evaluations), per_step)
    curve = [Point(costs[step], _figures(evaluations[step])) for step in sorted(evaluations)]
    last_step = max(line["step"] for line in metrics.lines)
    spent = _costs(metrics, [last_step], per_step)[last_step]
    return Outcome(
        cell=cell.name,
        setting=cell.setting.label,
        levels=cell.setting.levels,
        seed=cell.seed,
        curve=tuple(curve),
        figures=_compared(cell, folder),
        costs=spent,
        tokens_per_second=spent["tokens"] / (3600 * spent["hours"]),
        steady_share=cell.recipe.schedule.steady_share,
    )


def failure_of(cell: Cell, folder: SweepFolder) -> str:
    """What a cell that is not done said last when it failed, empty if it did not."""
    path = folder.failed(cell.name)
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _costs(metrics: Metrics, steps: list[int], flops_per_step: float) -> dict[int, dict[Cost, float]]:
    """What was spent at each of the steps; between two lines of metrics, in proportion."""
    lines = {line["step"]: line for line in metrics.lines if "elapsed_seconds" in line}  # the last one of a step counts
    known = sorted(lines)
    spent: dict[int, dict[Cost, float]] = {step: {"steps": step, "flops": step * flops_per_step} for step in steps}
    for cost, key in _KEYS.items():
        if all(key in lines[step] for step in known):
            values = np.interp(steps, [0, *known], [0, *(lines[step][key] for step in known)])
            for step, value in zip(steps, values.tolist(), strict=True):
                spent[step][cost] = value / 3600 if cost == "hours" else value
    return spent


def _compared(cell: Cell, folder: SweepFolder) -> dict[str, float]:
    """The comparing evaluation, and the headlines of the probes that looked at the finished model."""
    record = json.loads(folder.compared(cell.name).read_text(encoding="utf-8"))
    figures = {key: figure for key, figure in _figures(record["figures"]).items() if not key.endswith(_COUNTS)}
    for probe in cell.recipe.probes:
        results = read_results(folder.run(cell.name) / "probes" / f"{probe.name}.json")
        for score in results.headlines:
            if score.role == "model":
                path = ["probe", results.probe, score.measure, score.variant, score.group or ""]
                figures["/".join(filter(None, path))] = score.value
    return figures


def _figures(line: Mapping[str, float | None]) -> dict[str, float]:
    return {key: float(value) for key, value in line.items() if key != "step" and value is not None}
