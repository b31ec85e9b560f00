"""Results of sweeps as they may come, for tests of what shows them: made up by a formula, the same on every call."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from pretrain.sweeps.outcome import COSTS, Cost, is_lower_better
from pretrain.sweeps.results import (
    Band,
    Best,
    CellRow,
    Difference,
    Effect,
    Estimate,
    Interaction,
    Results,
    Tradeoff,
    View,
)

EVIL = "</script><script>alert('x')</script>"
LOSS, ACCURACY = "eval/mlm_nats", "eval/accuracy/mlm"
STUDENT = {1: math.nan, 2: 12.706, 3: 4.303, 4: 3.182}
"""Quantile of Student's t for a 95 % interval over that many seeds."""
POINTS = 24
Levels = Mapping[str, str]


def mask_rates(*, seeds: int = 3) -> Results:
    """A rate of masking along one numeric axis."""
    rates = ("0.10", "0.15", "0.20", "0.30", "0.40", "0.60")
    return sweep(
        {"masking.mlm_probability": rates},
        lambda levels: 4.42 + 0.9 * (float(levels["masking.mlm_probability"]) - 0.24) ** 2,
        seeds=seeds,
        reference="mlm_probability 0.15",
    )


def grid() -> Results:
    """Two axes of three, with an interaction."""
    axes = {"train.batch_size": ("16", "32", "64"), "masking.mlm_probability": ("0.15", "0.30", "0.50")}
    return sweep(axes, _grid_loss, seeds=3, reference="batch_size 32, mlm_probability 0.15")


def named(*names: str, seeds: int = 3) -> Results:
    """One axis of names."""
    losses = {name: 4.5 - 0.03 * at for at, name in enumerate(names)}
    return sweep(
        {"masking.name": names}, lambda one: losses[one["masking.name"]], seeds=seeds, reference=f"name {names[0]}"
    )


def with_failures() -> Results:
    """Two cells failed and one did not run."""
    whole = mask_rates()
    states = {4: ("failed", "RuntimeError: loss is nan\n<b>last</b> line"), 9: ("failed", ""), 17: ("not run", "")}
    cells = [
        cell.model_copy(
            update={
                "state": states[at][0],
                "error": states[at][1],
                "figures": {},
                "costs": {},
                "tokens_per_second": None,
            }
        )
        if at in states
        else cell
        for at, cell in enumerate(whole.cells)
    ]
    return whole.model_copy(update={"cells": cells, "cautions": ["2 cells failed, 1 did not run."]})


def nothing_done() -> Results:
    """No cell is done."""
    whole = named("token", "span")
    cells = [
        cell.model_copy(update={"state": "failed", "error": "killed", "figures": {}, "costs": {}})
        for cell in whole.cells
    ]
    empty = {"views": [], "curves": [], "tradeoffs": [], "run_best": "", "answer": ["No cell is done."]}
    return whole.model_copy(update={"cells": cells, **empty})


def evil() -> Results:
    """Markup wherever a text may stand."""
    made = named(f"token {EVIL}", f"span {EVIL}").model_dump()
    texts = {"name": EVIL, "answer": [EVIL], "cautions": [EVIL], "run_best": EVIL, "provenance": {EVIL: {EVIL: [EVIL]}}}
    made |= texts
    made["axes"] = {EVIL: ["a", "b"]}
    made["views"][0]["notes"] = [EVIL]
    made["cells"][0] |= {"cell": EVIL, "state": "failed", "error": EVIL, "figures": {}, "costs": {}}
    return Results.model_validate(made)


def sweep(axes: Mapping[str, Sequence[str]], loss: Callable[[Levels], float], *, seeds: int, reference: str) -> Results:
    """All cells of a grid, whose loss is the formula's and some noise of its seed and its own."""
    noise = np.random.default_rng(3)
    settings = {_name(levels): levels for levels in _levels(axes)}
    of_seed = noise.normal(0, 0.01, seeds)
    losses = {
        name: [loss(one) + of_seed[s] + noise.normal(0, 0.008) for s in range(seeds)] for name, one in settings.items()
    }
    cells = [_cell(name, settings[name], seed, losses[name][seed]) for name in settings for seed in range(seeds)]
    views = [_view(LOSS, losses, reference), _view(LOSS, losses, reference, equal="tokens", at=5_300_000.0)]
    views.append(_view(LOSS, losses, reference, equal="steps", at=3000.0))
    accuracies = {name: [0.9 - value / 8 for value in values] for name, values in losses.items()}
    others = {f"masks_{rate}/mlm_nats": losses for rate in (30, 50)}
    views += [
        _view(ACCURACY, accuracies, reference),
        *(_view(name, values, reference) for name, values in others.items()),
    ]
    views += [_view("probe/wic/auc", {name: [v / 9 for v in values] for name, values in losses.items()}, reference)]
    if len(axes) == 2:
        views[0] = views[0].model_copy(update=_factorial(axes, settings, losses))
    best = min(losses, key=lambda name: float(np.mean(losses[name])))
    spread = f"{np.mean(losses[best]) - np.mean(losses[reference]):+.3f} nats" if seeds > 1 else "nobody knows how much"
    return Results(
        name="mask_rate",
        answer=[
            f"{best} has the lowest held-out loss, {spread} against {reference}, at the same 5 minutes of training.",
            "With 95 % confidence the others are worse than it." if seeds > 1 else "One seed allows no conclusion.",
            "All cells together took 1.6 hours on 2 cores.",
        ],
        match="wall_clock",
        amount=5 / 60,
        measure=LOSS,
        reference=reference,
        axes={axis: list(labels) for axis, labels in axes.items()},
        seeds=list(range(seeds)),
        cells=cells,
        views=views,
        curves=[band for cost in COSTS for name in settings for band in [_band(name, losses[name], cost)]],
        tradeoffs=[_tradeoff(losses, cost) for cost in ("flops", "hours")],
        cautions=["Equal time is equal on this machine only: cells that ran beside others took longer a step."],
        run_best=" ".join(["accelerate launch -m pretrain recipes/small.yaml", *map("=".join, settings[best].items())]),
        provenance={"command": "python -m pretrain.sweep recipes/sweeps/mask_rate.yaml", "torch": "2.13.0", "cores": 2},
    )


def _levels(axes: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [dict(zip(axes, labels, strict=True)) for labels in product(*axes.values())]


def _name(levels: Levels) -> str:
    return ", ".join(f"{axis.rsplit('.', 1)[-1]} {label}" for axis, label in levels.items())


def _grid_loss(levels: Levels) -> float:
    size, rate = float(levels["train.batch_size"]), float(levels["masking.mlm_probability"])
    return 4.4 + 0.05 * abs(math.log2(size / 32)) + 0.8 * (rate - 0.2) ** 2 - 0.12 * (size == 64) * (rate - 0.15)


def _cell(name: str, levels: Levels, seed: int, loss: float) -> CellRow:
    figures = {LOSS: loss, ACCURACY: 0.9 - loss / 8}
    cell = f"{'_'.join(label for label in levels.values())}_seed-{seed}"
    return CellRow(
        cell=cell,
        setting=name,
        levels=dict(levels),
        seed=seed,
        state="done",
        figures=figures,
        costs=_costs(name),
        tokens_per_second=17_800.0 + 100 * seed,
    )


def _costs(name: str) -> dict[Cost, float]:
    speed = 1 + 0.02 * (len(name) % 3)
    return {
        "steps": 3000 * speed,
        "tokens": 5_340_000 * speed,
        "targets": 801_000.0,
        "flops": 1.23e15 * speed,
        "hours": 5 / 60,
    }


def _estimate(values: Sequence[float]) -> Estimate:
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Estimate(value=mean, n=1)
    half = STUDENT[n] * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n)


def _difference(name: str, measure: str, values: Sequence[float], reference: Sequence[float]) -> Difference:
    alone = _estimate([a - b for a, b in zip(values, reference, strict=True)])
    if alone.low is None or alone.high is None:
        return Difference(setting=name, value=alone.value, n=1, verdict="nothing can be concluded")
    low, high = alone.value - 1.6 * (alone.value - alone.low), alone.value + 1.6 * (alone.high - alone.value)
    is_told = low > 0 or high < 0
    verdict = "better" if (alone.value < 0) == is_lower_better(measure) else "worse"
    return Difference(
        setting=name,
        value=alone.value,
        low=low,
        high=high,
        alone_low=alone.low,
        alone_high=alone.high,
        p=0.004 if is_told else 0.41,
        n=alone.n,
        verdict=verdict if is_told else "not told apart",
    )


def _view(
    measure: str,
    values: Mapping[str, Sequence[float]],
    reference: str,
    *,
    equal: Cost | None = None,
    at: float | None = None,
) -> View:
    means = {name: float(np.mean(one)) for name, one in values.items()}
    ranked = sorted(means, key=lambda name: means[name] if is_lower_better(measure) else -means[name])
    near = [name for name in ranked if abs(means[name] - means[ranked[0]]) < 0.02]
    best = Best(setting=ranked[0], candidates=near, is_certain=len(near) == 1)
    several = len(next(iter(values.values()))) > 1
    return View(
        measure=measure,
        equal=equal,
        at=at,
        settings={name: _estimate(one) for name, one in values.items()},
        differences=[
            _difference(name, measure, one, values[reference]) for name, one in values.items() if name != reference
        ],
        best=best if several and len(means) > 1 else None,
        residual_spread=0.0083 if several else None,
        notes=["Intervals cover the spread over seeds; not that over corpora, sizes or budgets."],
    )


def _factorial(
    axes: Mapping[str, Sequence[str]], settings: Mapping[str, Levels], losses: Mapping[str, Sequence[float]]
) -> dict[str, object]:
    first, second = axes

    def pooled(axis: str, label: str) -> Estimate:
        return _estimate(list(np.mean([losses[name] for name, one in settings.items() if one[axis] == label], axis=0)))

    means = {a: {b: float(np.mean(losses[_name({first: a, second: b})])) for b in axes[second]} for a in axes[first]}
    return {
        "effects": [
            Effect(axis=axis, levels={one: pooled(axis, one) for one in axes[axis]}, p=0.0004) for axis in axes
        ],
        "interaction": Interaction(axes=[first, second], means=means, p=0.013),
    }


def _band(name: str, losses: Sequence[float], cost: Cost) -> Band:
    shares = np.arange(1, POINTS + 1) / POINTS
    end = float(np.mean(losses))
    y = end + 4.2 * (np.exp(-7 * shares) - math.exp(-7)) + 0.5 * (1 - shares)
    estimate = _estimate(losses)
    half = None if estimate.high is None else (estimate.high - estimate.value) * (1 + 2 * (1 - shares))
    low, high = (None, None) if half is None else (list(y - half), list(y + half))
    return Band(
        setting=name, measure=LOSS, cost=cost, x=list(shares * _costs(name)[cost]), y=list(y), low=low, high=high
    )


def _tradeoff(losses: Mapping[str, Sequence[float]], cost: Cost) -> Tradeoff:
    points = {
        name: (_costs(name)[cost] * (1 + 0.05 * at), float(np.mean(one)))
        for at, (name, one) in enumerate(losses.items())
    }
    front: list[str] = []
    for name in sorted(points, key=lambda one: points[one]):
        if not front or points[name][1] < points[front[-1]][1]:
            front.append(name)
    return Tradeoff(cost=cost, measure=LOSS, points=points, front=front)
