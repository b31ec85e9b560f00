"""One offline HTML page of a run: the answer in words, training curves, what the probes found, and how to repeat it.

Everything is inside the page (pictures as base64, styles inline): it asks the network for nothing and opens from disk.
Names and texts are escaped. A part that is missing is said to be missing.
"""

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.figures import Curve, draw_curves
from probes.probe import ProbeError, Score, write_text
from probes.sense_words import BEST_DIFFERENCE, DIFFERENCE, MODEL, percent, points, signed

TEMPLATE = "report_template.html"
MOST_MARKED_POINTS = 40
"""A curve with more points than this is drawn without markers."""

CURVES = (
    ("Loss", "nats", ("loss/", "eval/"), "_nats"),
    ("Accuracy", "share of the targets", ("accuracy/", "eval/accuracy/"), ""),
    ("Learning rate", "learning rate", ("learning_rate",), ""),
)
"""Title, axis, beginnings and end of the keys of each plot of training curves."""


@dataclass(frozen=True)
class Metrics:
    """A run's metrics.jsonl."""

    lines: list[dict[str, Any]]
    unreadable: list[int] = field(default_factory=list)
    """Numbers of the lines that are no JSON object (a run that was cut off leaves one)."""

    @classmethod
    def read(cls, path: Path) -> "Metrics":
        lines, unreadable = [], []
        for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                line = None
            if isinstance(line, dict):
                lines.append(line)
            else:
                unreadable.append(number)
        return cls(lines, unreadable)

    def last(self, key: str) -> float | None:
        """The newest number under the key, None where there is none."""
        return next((line[key] for line in reversed(self.lines) if _is_number(line.get(key))), None)

    def keys(self, prefix: str, suffix: str = "") -> list[str]:
        """Keys with numbers, that begin and end so, in the order of their first appearance."""
        found = dict.fromkeys(key for line in self.lines for key, value in line.items() if _is_number(value))
        return [key for key in found if key.startswith(prefix) and key.endswith(suffix)]

    def curve(self, key: str) -> Curve:
        """The key's numbers against the step; a step that was trained twice (after resuming) counts the later time."""
        points = {line["step"]: line[key] for line in self.lines if _is_number(line.get(key)) and "step" in line}
        steps = sorted(points)
        return Curve(key, steps, [points[s] for s in steps], markers=len(steps) <= MOST_MARKED_POINTS)


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html from RUN/metrics.jsonl, RUN/recipe.yaml and RUN/probes; returns the page's path.

    Raises:
        ProbeError: the folder is missing, or holds neither metrics nor results of a probe.
    """
    return write_page([run_dir])


def write_page(folders: Sequence[Path], *, out: Path | None = None) -> Path:
    """One page of several runs or folders of results; returns its path.

    Args:
        folders: runs (metrics.jsonl, probes/*.json) or folders of results (*.json of probes).
        out: the page; None: report.html in the folder if it is one, else in the working directory.
    """
    sections = [_section(Path(folder)) for folder in folders]
    path = out or (Path(folders[0]) / "report.html" if len(folders) == 1 else Path("report.html"))
    try:
        write_text(path, _render(sections))
    except OSError as error:
        raise ProbeError(f"{path}: cannot be written ({error.strerror}). Name another file with --out.") from error
    return path


def _render(sections: list[dict[str, Any]]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    title = sections[0]["name"] if len(sections) == 1 else f"{len(sections)} runs side by side"
    return environment.get_template(TEMPLATE).render(title=title, sections=sections)


def _section(folder: Path) -> dict[str, Any]:
    """What the template needs of one folder."""
    if not folder.is_dir():
        raise ProbeError(f"{folder} is not a folder. Expected a run, or a folder of a probe's results. Check the path.")
    probes = _probe_results(folder)
    metrics = Metrics.read(folder / "metrics.jsonl") if (folder / "metrics.jsonl").is_file() else None
    if metrics is None and not probes:
        raise ProbeError(
            f"{folder} holds neither metrics.jsonl nor a probe's JSON (in it or in probes/). Expected a run, or a"
            f" folder of results. Make some with: python -m probes senses MODEL --out {folder}"
        )
    missing = []
    if metrics is None:
        missing.append("There is no metrics.jsonl here, so the page has no training curves.")
    elif metrics.unreadable:
        numbers = ", ".join(map(str, metrics.unreadable[:5]))
        missing.append(f"metrics.jsonl: {len(metrics.unreadable)} line(s) are no JSON object and left out: {numbers}.")
    if not probes:
        missing.append("No probe has been run on it: python -m probes senses MODEL makes the figures.")
    recipe = folder / "recipe.yaml"
    name = folder.absolute().name
    return {
        # The results of a run's model say little when called "probes".
        "name": folder.absolute().parent.name if name == "probes" else name,
        "answer": _answer(metrics, probes),
        "missing": missing,
        "key_figures": _key_figures(metrics) if metrics else [],
        "curves": _training_curves(metrics) if metrics else [],
        "probes": probes,
        "recipe": recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None,
        "progress": _progress(folder),
    }


def _answer(metrics: Metrics | None, probes: list[dict[str, Any]]) -> str:
    """The page's first paragraph: how far the training came and what the first probe says."""
    said = []
    if metrics and (step := metrics.last("step")) is not None:
        tokens, seconds = metrics.last("tokens"), metrics.last("elapsed_seconds")
        spent = [f"{_short(tokens)} tokens"] if tokens is not None else []
        spent += [_time(seconds)] if seconds is not None else []
        losses = [(_term(key), metrics.last(key)) for key in metrics.keys("eval/", "_nats")]
        held_out = " and ".join(f"{term} loss {value:.3g} nats" for term, value in losses if value is not None)
        after = f"After {step:,.0f} steps" + (f" ({', '.join(spent)})" if spent else "")
        said.append(f"{after}: " + (f"held-out {held_out}." if held_out else "there is no held-out loss yet."))
    for results in probes:
        for model in results["models"]:
            said.append((f"{model['name']}: " if len(results["models"]) > 1 else "") + model["findings"][0])
    return " ".join(said) or "There is nothing to say yet."


def _key_figures(metrics: Metrics) -> list[tuple[str, str]]:
    """(name, value) of the newest figures."""
    rows: list[tuple[str, str]] = []
    for key in metrics.keys("loss/", "_nats"):
        rows.append((f"training loss, {_term(key)}", f"{metrics.last(key):.4g} nats"))
    for key in metrics.keys("eval/", "_nats"):
        rows.append((f"held-out loss, {_term(key)}", f"{metrics.last(key):.4g} nats"))
    for key in metrics.keys("eval/accuracy/"):
        rows.append((f"held-out accuracy, {_term(key)}", f"{100 * (metrics.last(key) or 0):.1f} %"))
    shown = (("step", "steps"), ("tokens", "tokens, padding apart"), ("tokens_per_second", "tokens a second"))
    rows += [(name, f"{value:,.0f}") for key, name in shown if (value := metrics.last(key)) is not None]
    if (seconds := metrics.last("elapsed_seconds")) is not None:
        rows.append(("time", _time(seconds)))
    return rows


def _training_curves(metrics: Metrics) -> list[dict[str, str]]:
    """The plots of CURVES that have something to show."""
    shown = []
    for title, axis, prefixes, suffix in CURVES:
        keys = dict.fromkeys(key for prefix in prefixes for key in metrics.keys(prefix, suffix))
        curves = [curve for curve in map(metrics.curve, keys) if curve.x]
        if curves:
            picture = io.BytesIO()
            draw_curves(picture, curves, title=title, x_label="step", y_label=axis)
            alt = f"{title} by step: {', '.join(curve.label for curve in curves)}"
            shown.append({"source": _inline(picture.getvalue()), "caption": f"{alt}.", "kind": "curve"})
    return shown


def _probe_results(folder: Path) -> list[dict[str, Any]]:
    """Every probe's results in the folder or in its probes/, made ready for the template."""
    found = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("probes/*.json")]):
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ProbeError(
                f"{path} is not JSON ({error}). Expected a probe's results. Run the probe again."
            ) from error
        if isinstance(results, dict) and "probe" in results and "models" in results:
            found.append({**results, "models": [_model(model, results, path.parent) for model in results["models"]]})
    return found


def _model(model: dict[str, Any], results: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A model's part of the results with its tables built and its pictures read."""
    scores = [Score(**score) for score in model["scores"]]
    tables = [
        _table(scores, measure, about, model["layers"])
        for measure, about in results["measures"].items()
        if any(score.measure == measure for score in scores)
    ]
    pictures = []
    for picture in model["pictures"]:
        file = folder / Path(picture["file"]).name  # beside the results, wherever they say that it is
        source = _inline(file.read_bytes()) if file.is_file() else None
        pictures.append({**picture, "source": source})
    return {**model, "tables": tables, "pictures": pictures}


def _table(scores: list[Score], measure: str, about: dict[str, str], layers: list[int]) -> dict[str, Any]:
    """One measure over all words: a row a layer, a column for each kind of vectors; and the model by word."""

    def cell(score: Score) -> str:
        if about["unit"] != "share":
            return signed(score)
        return points(score) if score.vectors.startswith(DIFFERENCE) else percent(score)

    mine = [score for score in scores if score.measure == measure]
    of_all = [score for score in mine if score.word is None]
    columns = list(dict.fromkeys(score.vectors for score in of_all if score.vectors != BEST_DIFFERENCE))
    values = {(score.vectors, score.layer): cell(score) for score in of_all}
    words = list(dict.fromkeys(score.word for score in mine if score.word is not None))
    model_by_word = {(s.word, s.layer): cell(s) for s in mine if s.word is not None and s.vectors == MODEL}
    sizes = {score.word: score.n for score in mine}
    return {
        "title": about["title"],
        "n": sizes[None],
        "columns": ["layer", *columns],
        # A baseline without layers is the same in every row.
        "rows": [[str(layer), *(values.get((c, layer)) or values[c, None] for c in columns)] for layer in layers],
        "word_columns": ["layer", *(f"{word} (n = {sizes[word]})" for word in words)],
        "word_rows": [[str(layer), *(model_by_word.get((word, layer), "") for word in words)] for layer in layers],
    }


def _progress(folder: Path) -> dict[str, Any] | None:
    """progress.json of the newest checkpoint, which knows the versions that trained it."""
    found = sorted(folder.glob("checkpoints/step-*/progress.json"))
    if not found:
        return None
    try:
        progress = json.loads(found[-1].read_text(encoding="utf-8"))
    except ValueError:
        return None
    return progress if isinstance(progress, dict) else None


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _term(key: str) -> str:
    """'eval/mlm_nats' -> 'mlm'."""
    return key.rsplit("/", 1)[-1].removesuffix("_nats")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(count: float) -> str:
    for size, letter in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.0f}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.1f} minutes"
    return f"{seconds / 3600:.1f} hours"
