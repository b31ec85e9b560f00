"""What every probe has in common: its entry in the table, its error, where its results go, how they are written.

A probe asks a trained encoder one question and answers with figures. It takes any transformers folder and knows nothing
of how the encoder was trained.
"""

import json
import os
import platform
import re
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


class ProbeError(ValueError):
    """A mistake of the user's: the message says what was got, what was expected and what to do."""


@dataclass(frozen=True)
class Probe:
    """One entry of PROBES."""

    summary: str
    """What it finds out, in one line."""
    add_arguments: Callable[[ArgumentParser], None]
    """Declares the probe's own options; MODEL and --out are declared for it."""
    run: Callable[..., Path]
    """run(models, *, out, **options) -> the JSON file that it wrote. out=None: the default_out of the models."""


@dataclass(frozen=True)
class Measure:
    """How the figures of one measure are called and shown."""

    title: str
    unit: str
    """'share' (0..1, shown in percent) or 'cosine'."""


@dataclass(frozen=True)
class Score:
    """One measured number with its interval. Probes write lists of these, so any of them can be read as a table."""

    measure: str
    vectors: str
    """Whose vectors: 'model', 'random weights', a baseline, or 'model - random weights' for a paired difference."""
    word: str | None
    """None: the mean over all words."""
    layer: int | None
    """0 is the output of the embedding layer; None where the figure has no layer."""
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    n: int
    """Sentences that the figure is taken over."""


def model_folder(path: str | Path) -> Path:
    """The transformers folder that a user means: the folder itself, or model/ inside a run or a checkpoint.

    A name that is no folder is returned as it is; loading says what is wrong with it.
    """
    path = Path(path)
    if not (path / "config.json").is_file() and (path / "model" / "config.json").is_file():
        return path / "model"
    return path


def default_out(models: list[Path]) -> Path:
    """Where results go unless told: RUN/probes for the model of a run, RUN/probes/step-N for a checkpoint's,
    probes-out in the working directory for anything else and for several models.
    """
    if len(models) == 1 and models[0].name == "model":
        home = models[0].parent
        if home.parent.name == "checkpoints":
            # Not inside the checkpoint: its manifest lists every file that belongs to it.
            return home.parent.parent / "probes" / home.name
        if (home / "recipe.yaml").is_file() or (home / "metrics.jsonl").is_file():
            return home / "probes"
    return Path("probes-out")


def model_name(folder: Path) -> str:
    """A short name for tables and file names: the run's for its model folder, else the folder's own."""
    full = folder.absolute()
    return full.parent.name if full.name == "model" and full.parent.name else full.name


def make_folder(out: Path) -> Path:
    """The folder for results, made if need be, before any time is spent on them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProbeError(
            f"--out {out}: cannot make that folder ({error.strerror}). Expected one that can be written. Name another."
        ) from error
    return out


def file_stem(*parts: str) -> str:
    """Parts joined to a file name that is safe on every system: letters, digits, '.', '_' and '-'."""
    return "_".join(re.sub(r"[^\w.-]+", "-", part).strip(".-") or "x" for part in parts)


def versions() -> dict[str, str]:
    """The versions of everything that the figures depend on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "matplotlib"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, and make its folder. What was there before stays until the new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write results as JSON that any reader takes: NaN is refused (ValueError)."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
