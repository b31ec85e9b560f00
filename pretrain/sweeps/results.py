"""The results of a sweep as results.json has them. Everything that the report and the pictures show stands here."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pretrain.sweeps.outcome import Cost


class Estimate(BaseModel, frozen=True, extra="forbid"):
    """A figure with its 95 % interval; the bounds are null where one seed says nothing of the spread."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    """Seeds."""


class Difference(BaseModel, frozen=True, extra="forbid"):
    """A setting minus the reference in one measure, over the seeds that both have."""

    setting: str
    value: float
    low: float | None = None
    high: float | None = None
    """Simultaneous 95 %: all intervals of the table cover at once."""
    alone_low: float | None = None
    alone_high: float | None = None
    """95 % for this comparison by itself."""
    p: float | None = None
    """Adjusted for the number of comparisons."""
    n: int
    verdict: str
    """better | worse | not told apart | nothing can be concluded"""


class Best(BaseModel, frozen=True, extra="forbid"):
    """Which setting is the best, and which others may be it as well."""

    setting: str
    """With the best mean."""
    candidates: list[str]
    """Settings that cannot be ruled out as the best with 95 % confidence, the best mean first."""
    is_certain: bool
    """Whether it is the only candidate."""


class Effect(BaseModel, frozen=True, extra="forbid"):
    """A main effect: the mean over all other axes at each level of one."""

    axis: str
    levels: dict[str, Estimate]
    p: float | None = None
    """Of no effect at all, by the F test."""


class Interaction(BaseModel, frozen=True, extra="forbid"):
    """Whether the effect of one axis depends on the level of the other."""

    axes: list[str]
    """Two."""
    means: dict[str, dict[str, float]]
    """level of the first -> level of the second -> mean."""
    p: float | None = None


class View(BaseModel, frozen=True, extra="forbid"):
    """All settings compared in one measure at one point of equality."""

    measure: str
    equal: Cost | None = None
    """What is equal, read from the curves; null: the finished models, at what `match` holds equal."""
    at: float | None = None
    """How much of it was spent."""
    is_steady: bool = True
    """Whether it was spent before any learning rate began to fall, so that it does not matter how long each run was."""
    settings: dict[str, Estimate]
    differences: list[Difference]
    best: Best | None = None
    """Null with one seed, or one setting."""
    effects: list[Effect] = []
    interaction: Interaction | None = None
    residual_spread: float | None = None
    """Standard deviation of a run around what its setting and its seed explain."""
    notes: list[str] = []
    """What the figures rest on, and what keeps them from being believed."""


class Band(BaseModel, frozen=True, extra="forbid"):
    """The learning curve of a setting in one measure, against one cost: means over seeds with 95 % intervals."""

    setting: str
    measure: str
    cost: Cost
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


class Tradeoff(BaseModel, frozen=True, extra="forbid"):
    """Loss against cost: what each setting reached for what it spent."""

    cost: Cost
    measure: str
    points: dict[str, tuple[float, float]]
    """setting -> (mean cost, mean figure)"""
    front: list[str]
    """Settings that no other one beats at the same or a lower cost, cheapest first."""


class CellRow(BaseModel, frozen=True, extra="forbid"):
    """A cell as results.csv has it."""

    cell: str
    setting: str
    levels: dict[str, str]
    seed: int
    state: str
    """done | failed | not run"""
    error: str = ""
    """The last lines of one that failed."""
    figures: dict[str, float] = {}
    costs: dict[Cost, float] = {}
    tokens_per_second: float | None = None


class Results(BaseModel, frozen=True, extra="forbid"):
    """A whole sweep."""

    name: str
    answer: list[str]
    """Sentences, the first of which is the answer: which setting, by how much, how sure, at what cost."""
    match: str
    """steps | tokens | targets | flops | wall_clock"""
    amount: float
    """How much of it each cell got: steps, tokens, targets, FLOPs or hours."""
    measure: str
    """The measure that decides."""
    reference: str
    """The setting that the others are compared with."""
    axes: dict[str, list[str]]
    """Labels of the values of each axis."""
    seeds: list[int]
    cells: list[CellRow]
    views: list[View]
    """The first decides; the others are the same at equal costs from the curves, and the other measures."""
    curves: list[Band]
    tradeoffs: list[Tradeoff]
    cautions: list[str] = []
    """What is not equal or not there."""
    run_best: str = ""
    """The command that trains the best setting."""
    provenance: dict[str, Any] = {}
    """Command, machine, versions; nothing here is compared."""


def read_results(path: Path) -> Results:
    """results.json as `write_results` wrote it."""
    return Results.model_validate(json.loads(path.read_text(encoding="utf-8")))
