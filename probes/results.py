"""What a probe found, in one form for all of them: figures with intervals, tables, pictures, maps, and how to repeat.

Every probe fills in Results. That is what is written as JSON and CSV, shown by the report and read back for curves over
a run's checkpoints, so a new probe needs no code in any of these.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from probes.probe_error import ProbeError

Unit = Literal["share", "cosine", "index", "probability", "bits", "nats", "seconds", "per_second", "ratio", "count"]
Role = Literal["model", "baseline", "difference"]
Cell = str | int | float | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measure(_Part):
    """How the figures of one measure are called and shown."""

    title: str
    unit: Unit
    """share: 0..1, shown in percent. index: at most 1, 0 at chance (ARI, silhouette, selectivity, correlation).
    ratio: a quotient. The others are what they say."""
    is_better: Literal["higher", "lower", ""] = "higher"
    """Empty: neither."""


class Score(_Part):
    """One measured number with its 95 % interval."""

    measure: str
    """A key of Results.measures."""
    model: str
    """Whose: the name of a model or of a baseline ('random weights', 'static vector' ...), or 'A - B' for a paired
    difference."""
    value: float
    low: float
    """Lower end of the interval. A figure that nothing was drawn for has an interval of no width."""
    high: float
    n: int
    """Sentences, pairs, words ... that the figure is taken over."""
    layer: int | None = None
    """0 is the output of the embedding layer; None where the figure has no layer."""
    group: str | None = None
    """A word, paradigm, class, category; None: all of them."""
    variant: str = ""
    """How it was taken where there is more than one way: '3 shots', 'z-scored', 'mixed by trainable weights'."""
    role: Role = "model"


class Table(_Part):
    """Anything else that is read as rows: neighbours, a confusion matrix, cosines of every two sentences."""

    name: str
    """For its CSV file: letters, digits, '-' and '_'."""
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    caption: str = ""
    model: str = ""


class Picture(_Part):
    """A PNG beside the results."""

    file: str
    caption: str
    kind: Literal["curve", "heatmap", "projection", "bars"]
    model: str = ""
    group: str = ""


class Point(_Part):
    """One thing on a map."""

    text: str
    """Its sentence or text, or the word where there is no sentence."""
    span: tuple[int, int] | None = None
    """Characters of the text to be marked: the word."""
    group: str = ""
    """What it is coloured by: a sense, a class."""
    label: str = ""
    """A short name beside the point: the word itself. Empty: none."""


class Projection(_Part):
    """Where the points of a map lie in one layer, in their order."""

    pca: list[tuple[float, float, float]]
    """The first three principal coordinates."""
    tsne: list[tuple[float, float]] | None = None
    variance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Share of the variance that each principal coordinate holds."""


class Map(_Part):
    """Points that the report shows in two or three dimensions, layer by layer."""

    title: str
    model: str
    points: list[Point]
    layers: dict[int, Projection]
    group: str = ""
    """The word that it is about; empty: no single one."""


class ModelCard(_Part):
    """What was probed."""

    name: str
    path: str
    model_type: str
    """As in config.json, or 'word vectors'."""
    num_layers: int
    hidden_size: int
    num_parameters: int
    step: int | None = None
    """Training step, of a run's checkpoint."""


class Results(_Part):
    """All that one call of a probe found."""

    probe: str
    question: str
    """What it asks, in a sentence."""
    answer: list[str]
    """What can be said of it, a sentence or two each, the most important first."""
    models: list[ModelCard]
    measures: dict[str, Measure]
    headlines: list[Score]
    """The few figures that sum it up: a row for each model and baseline, a column for each measure. A run's metrics
    take them as curves, so how they are chosen never depends on what was found in them."""
    scores: list[Score] = []
    """Every figure."""
    tables: list[Table] = []
    pictures: list[Picture] = []
    maps: list[Map] = []
    notes: list[str] = []
    """How to read it: what each baseline and interval means, and what it does not."""
    data: dict[str, Any] = {}
    """What it was asked about: file, sha256, n, numbers by group."""
    settings: dict[str, Any] = {}
    command: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = {}


def write_results(results: Results, out: Path) -> Path:
    """Write OUT/<probe>.json, OUT/<probe>.csv with its scores and OUT/<probe>.<table>.csv; returns the JSON file."""
    path = out / f"{results.probe}.json"
    fields = list(Score.model_fields)
    write_csv(out / f"{results.probe}.csv", fields, [[getattr(one, name) for name in fields] for one in results.scores])
    for table in results.tables:
        write_csv(out / f"{results.probe}.{table.name}.csv", table.columns, table.rows)
    write_text(path, results.model_dump_json(indent=1) + "\n")
    return path


def read_results(path: Path) -> Results:
    """What write_results wrote.

    Raises:
        ProbeError: it cannot be read, or is something else.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else _first_problem(error)
        raise ProbeError(
            f"{path}: {reason}. Expected the results of a probe, as this version writes them. Run the probe again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, and make its folder. What was there before stays until the new one is there."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same of any content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    write_text(path, text.getvalue())


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
