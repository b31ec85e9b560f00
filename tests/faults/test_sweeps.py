"""SIGKILL to a sweep at any moment: started again, its results are those of the sweep that nothing happened to."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain.recipe_text import write
from tests.faults.conftest import Tried
from tests.faults.wholes import small_recipe

KILLS = 10
BY_THE_CLOCK = ("hours", "tokens_per_second")

pytestmark = pytest.mark.long


def _sweep_file(folder: Path, tiny_text: Callable[[Path], str]) -> Path:
    path = folder / "sweep.yaml"
    axes = {"masking.mlm_probability": [0.15, 0.3], "masking.mask_replace_prob": [0.8]}
    recipe = str(small_recipe(folder, tiny_text, "mlm"))
    sweep = {"name": "killed", "base": recipe, "axes": axes, "seeds": [0, 1], "match": "steps", "rates": [0.3, "own"]}
    path.write_text(write(sweep), encoding="utf-8")
    return path


def _started(sweep: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "pretrain.sweep", str(sweep), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))


def _timeless(value: Any) -> Any:
    """Results without what a clock measured."""
    match value:
        case dict():
            left_out = (*BY_THE_CLOCK, "provenance", "run_best", "cautions", "answer", "notes")
            return {key: _timeless(inner) for key, inner in value.items() if key not in left_out}
        case list():
            return [_timeless(inner) for inner in value if not _is_by_the_clock(inner)]
        case _:
            return value


def _is_by_the_clock(part: Any) -> bool:
    """Whether it is a curve, a trade-off or a comparison in hours."""
    return isinstance(part, dict) and "hours" in (part.get("cost"), part.get("equal"))


def _results(folder: Path) -> tuple[Any, list[dict[str, str]], dict[str, bytes]]:
    found = _timeless(json.loads((folder / "results.json").read_text(encoding="utf-8")))
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [{key: cell for key, cell in row.items() if key not in BY_THE_CLOCK} for row in csv.DictReader(file)]
    models = {path.parents[1].name: path.read_bytes() for path in folder.glob("runs/*/model/model.safetensors")}
    return found, rows, models


def test_a_sweep_that_was_killed_ten_times_has_the_results_of_one_that_was_not(
    tmp_path: Path, tiny_text: Callable[[Path], str], tried: Tried
) -> None:
    sweep, draw = _sweep_file(tmp_path, tiny_text), random.Random("sweeps")
    began = time.monotonic()
    assert _started(sweep, tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - began
    what = tried("SIGKILL to a sweep", phase="at a random moment")
    what["kills"] = 0
    while what["kills"] < KILLS:
        started = _started(sweep, tmp_path / "killed")
        try:
            started.wait(draw.uniform(0.0, seconds / 3))
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGKILL)
            started.wait()
            what["kills"] += 1
    assert _started(sweep, tmp_path / "killed").wait() == 0
    whole, killed = _results(tmp_path / "whole"), _results(tmp_path / "killed")
    assert len(whole[2]) == 4 and whole[1] and whole[0]["views"]
    assert killed == whole
