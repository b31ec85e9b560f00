"""What is told of a run: metrics.jsonl, a progress bar or plain lines, and trackers."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import is_tensorboard_available, is_trackio_available, is_wandb_available
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pretrain.recipe import Recipe
from pretrain.trackers import Trackers

_INSTALLED = {
    "tensorboard": is_tensorboard_available,
    "wandb": is_wandb_available,
    "trackio": is_trackio_available,
}
_SECONDS_BETWEEN_LINES = 10.0  # without a terminal; every line still goes to metrics.jsonl

logger = logging.getLogger(__name__)
Metrics = Mapping[str, float | int | None]


class MetricsError(ValueError):
    """Metrics that cannot be told as the recipe asks."""


def check_trackers(recipe: Recipe) -> None:
    """Refuse trackers that are not installed, before anything is spent.

    Raises:
        MetricsError: naming them.
    """
    absent = [name for name in recipe.log.trackers if not _INSTALLED[name]()]
    if absent:
        raise MetricsError(
            f"log.trackers names {', '.join(absent)}, which is not installed here; expected installed trackers. "
            f"Install it (pip install {' '.join(absent)}) or take it out of log.trackers."
        )


class MetricsLog:
    """The main process's record of a run; lines that a run which was cut off will write again are taken out."""

    def __init__(self, run_dir: Path, *, step: int, is_evaluated: bool, description: str) -> None:
        """
        Args:
            step: where the run stands; later lines go.
            is_evaluated: whether the evaluation of that step is done; else a line of it goes too.
        """
        self.path = run_dir / "metrics.jsonl"
        _keep_until(self.path, step, is_evaluated=is_evaluated)
        self._file = self.path.open("a", encoding="utf-8")
        self._trackers: Trackers | None = None
        self._last_line = -_SECONDS_BETWEEN_LINES
        # A bar in thousandths of the run follows any budget: steps, epochs, tokens or hours.
        self._bar: tqdm | None = None
        self._around_bar = ExitStack()
        if sys.stderr.isatty():
            self._bar = tqdm(total=1000, desc=description, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}")
            self._around_bar.enter_context(logging_redirect_tqdm())  # lines of the log go above the bar

    def track(self, accelerator: Accelerator, recipe: Recipe) -> None:
        """Send the metrics to the recipe's trackers as well."""
        self._trackers = Trackers(accelerator, recipe)

    def write(self, step: int, metrics: Metrics) -> None:
        """Add one line."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        if self._trackers is not None:
            self._trackers.log(step, dict(metrics))

    def sync(self) -> None:
        """Bring the lines to the disk, so that a checkpoint never outlives those of its steps."""
        os.fsync(self._file.fileno())

    def show(self, step: int, share: float, metrics: Metrics, *, seconds_left: float) -> None:
        """Tell a person how it goes: the bar, or without a terminal a line now and then."""
        losses = "  ".join(
            f"{name.removeprefix('loss/')} {value:.3f}" for name, value in metrics.items() if name.startswith("loss/")
        )
        speed = f"{metrics['tokens_per_second']:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.n = round(1000 * share)
            self._bar.set_postfix_str(f"{losses}  {speed}")
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES or share >= 1.0:
            self._last_line = time.monotonic()
            logger.info("step %d  %.1f %%  %s  %s  %s left", step, 100 * share, losses, speed, _duration(seconds_left))

    def close(self) -> None:
        """Finish the bar, the file and the trackers."""
        self._around_bar.close()
        if self._bar is not None:
            self._bar.close()
        if self._trackers is not None:
            self._trackers.finish()
        self.sync()
        self._file.close()


def _keep_until(path: Path, step: int, *, is_evaluated: bool) -> None:
    """Leave only whole lines up to a step, replacing the file at once."""
    if not path.exists():
        return
    kept = [
        line
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if _is_kept(line, step, is_evaluated)
    ]
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in kept))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _is_kept(line: str, step: int, is_evaluated: bool) -> bool:
    try:
        entry: Any = json.loads(line)
        of_step = int(entry["step"])
    except (ValueError, KeyError, TypeError):
        return False  # a line that was cut off in the middle
    is_evaluation = any(name.startswith("eval/") for name in entry)
    return of_step < step or (of_step == step and (is_evaluated or not is_evaluation))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
