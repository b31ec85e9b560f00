"""Checkpoints: written whole or not at all, verified before they are trusted, pruned only once a newer one stands.

checkpoints/step-00001000/
  model/          a from_pretrained folder with the tokenizer
  generator/      another, where the objective trains a generator beside the model
  state/          what else resuming needs: optimizers, open sums, a residual; safetensors and JSON, no pickle
  progress.json   where the run stands
  recipe.yaml     as resolved
  manifest.json   size and sha256 of every file, written last
"""

import errno
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

_MANIFEST = "manifest.json"
_WRITING = ".writing-"
_OPTIMIZER = "optimizer.safetensors"
_SETTINGS = "optimizer.json"
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)

logger = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, or one that is damaged or not there."""


class Checkpoints:
    """The checkpoints of a run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / "checkpoints"

    def all(self) -> list[Path]:
        """Every checkpoint, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def newest_valid(self) -> Path | None:
        """The newest checkpoint that passes verification; damaged ones are named in a warning and passed over."""
        for path in reversed(self.all()):
            try:
                verify(path)
            except CheckpointError as error:
                logger.warning("%s It is passed over.", error)
                continue
            return path
        return None

    def write(self, step: int, fill: Callable[[Path], None]) -> Path:
        """Write the checkpoint of a step.

        Args:
            fill: writes all files but the manifest into the folder that it is given.

        Raises:
            CheckpointError: the disk is full or refuses; the earlier checkpoints stand as they were.
        """
        place = self.folder / _name(step)
        writing = self.folder / f"{_WRITING}{place.name}"
        try:
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(parents=True)
            fill(writing)
            _write_manifest(writing)
            put_in_place(writing, place)
            _sync(self.folder)
        except Exception as error:
            shutil.rmtree(writing, ignore_errors=True)
            if not _is_refusal(error):
                raise
            raise CheckpointError(
                f"the checkpoint of step {step} could not be written to {self.folder} ({error}), expected room for it. "
                "Earlier checkpoints are as they were: make room and launch the same command to go on from the newest."
            ) from error
        except BaseException:
            shutil.rmtree(writing, ignore_errors=True)
            raise
        verify(place)
        return place

    def prune(self, step: int, *, keep: int, best: str | None) -> None:
        """Delete all but the newest `keep` and the best one of a run that was just saved at a step.

        Those of later steps go too: they are damaged and were passed over, or `--resume` went back behind them. Left
        there, they would push out whole ones, and the next launch would go on from a run that this one has left.
        """
        checkpoints = self.all()
        reached = [path for path in checkpoints if path.name <= _name(step)]
        kept = {*reached[-keep:], _best(reached, best)}
        for path in checkpoints:
            if path not in kept:
                shutil.rmtree(path)

    def best(self, metric: str | None) -> Path | None:
        """The checkpoint with the best value of an evaluation metric (losses the lowest, others the highest)."""
        return _best(self.all(), metric)


def verify(path: Path) -> None:
    """Hold every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: naming the first file that is missing, of another size or of other content.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, Any] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{_MANIFEST} cannot be read ({error})") from error
    for name, expected in files.items():
        try:
            found = {"bytes": (path / name).stat().st_size, "sha256": _digest(path / name)}
        except OSError as error:
            raise _damaged(path, f"{name} cannot be read ({error.strerror})") from error
        if found != expected:
            raise _damaged(path, f"{name} has other content than was written")


def put_in_place(made: Path, place: Path) -> None:
    """Rename a finished folder to its place; what stood there is gone only once the new one stands."""
    old = place.with_name(f".replaced-{place.name}")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    made.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def read_progress(path: Path) -> dict[str, Any]:
    """progress.json of a checkpoint."""
    progress: dict[str, Any] = json.loads((path / "progress.json").read_text(encoding="utf-8"))
    return progress


def save_optimizers(optimizers: Sequence[Optimizer], module: nn.Module, folder: Path) -> None:
    """Write the optimizers' state, each tensor by its parameter's name."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    tensors: dict[str, Tensor] = {}
    for number, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                tensors[f"{number}/{names[id(parameter)]}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / _OPTIMIZER)
    classes = [type(optimizer).__name__ for optimizer in optimizers]
    (folder / _SETTINGS).write_text(json.dumps({"optimizers": classes}, indent=2) + "\n", encoding="utf-8")


def load_optimizers(optimizers: Sequence[Optimizer], module: nn.Module, folder: Path) -> None:
    """Give the optimizers the state that `save_optimizers` wrote."""
    parameters = dict(module.named_parameters())
    for full_name, tensor in load_file(folder / _OPTIMIZER).items():
        number, name, key = full_name.split("/")
        parameter = parameters[name]
        # Step counts as well: the fused optimizers keep them on the device of their parameter.
        optimizers[int(number)].state.setdefault(parameter, {})[key] = tensor.to(parameter.device)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _best(checkpoints: Iterable[Path], metric: str | None) -> Path | None:
    if metric is None:
        return None
    scored = [(_evaluation(path).get(metric), path) for path in checkpoints]
    known = [(value, path) for value, path in scored if value is not None and math.isfinite(value)]
    if not known:
        return None
    pick = min if metric.endswith("_nats") else max
    return pick(known, key=lambda pair: pair[0])[1]


def _evaluation(path: Path) -> dict[str, float]:
    try:
        evaluation: dict[str, float] = read_progress(path)["evaluation"]
    except (OSError, ValueError, KeyError):  # damaged
        return {}
    return evaluation


def _is_refusal(error: Exception) -> bool:
    """Whether the disk is full or not to be written on, and nothing of ours is at fault."""
    if isinstance(error, OSError):
        return error.errno in _REFUSALS
    # The tokenizers library raises a bare Exception with the system's text.
    return isinstance(error, SafetensorError) or f"(os error {errno.ENOSPC})" in str(error)


def _write_manifest(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in files}
    for path in files:
        _sync(path)
    (folder / _MANIFEST).write_text(json.dumps({"files": entries}, indent=2) + "\n", encoding="utf-8")
    _sync(folder / _MANIFEST)
    for path in _folders(folder):
        _sync(path)


def _folders(folder: Path) -> Iterable[Path]:
    return [path for path in folder.rglob("*") if path.is_dir()] + [folder]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {what}, expected what its manifest lists. Delete it or name another one."
    )
