"""Checkpoints: written whole or not at all, verified before they are trusted, pruned only once a newer one stands.

A checkpoint is written to a folder with a dot before its name, synced, and renamed once. What is set aside or deleted
gets such a name first as well, so that wherever a process is killed no half one stands under a checkpoint's name.

checkpoints/step-00001000/
  model/          a from_pretrained folder with the tokenizer
  generator/      another, where the objective trains a generator beside the model
  state/          what else resuming needs: optimizers, open sums, a residual; safetensors and JSON, no pickle
  progress.json   where the run stands
  recipe.yaml     as resolved
  manifest.json   size and sha256 of every file and of this list itself, written last

Nothing in a checkpoint is trusted to be what was written: it is safetensors, JSON, YAML and text, none of which runs.
"""

import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tokenization.preparing.arrays import sync_path

_MANIFEST = "manifest.json"
_PROGRESS = "progress.json"
_WRITING, _REPLACED, _PRUNED = ".writing-", ".replaced-", ".pruned-"
_NAME = re.compile(r"step-(\d{8,})")
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EIO, errno.ESTALE, errno.ENAMETOOLONG),
)
"""Errors that say that the disk is full, not to be written on, or failing."""

logger = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, or one that is damaged or not there."""


class Checkpoints:
    """The checkpoints of a run directory. Whoever writes, prunes or clears holds the run's lock (`RunLock`)."""

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / "checkpoints"
        self._written: set[Path] = set()
        """Those that were written here, and verified behind it."""

    def all(self) -> list[Path]:
        """Every checkpoint, oldest first."""
        return sorted((path for path in self.folder.glob("step-*") if _is_checkpoint(path)), key=_step)

    def newest_valid(self) -> Path | None:
        """The newest checkpoint that passes verification; damaged ones are named in a warning and passed over."""
        return _first_valid(reversed(self.all()))

    def best(self, metric: str | None) -> Path | None:
        """The checkpoint with the best value of an evaluation metric (losses the lowest, others the highest).

        It is not verified: whether another may stand in for a damaged one is for the user to say.
        """
        return next(iter(_ranked(self.all(), metric)), None)

    def write(self, step: int, fill: Callable[[Path], None]) -> Path:
        """Write the checkpoint of a step; one of the same step is gone only once the new one is verified.

        Args:
            fill: writes all files but the manifest into the folder that it is given.

        Raises:
            CheckpointError: the disk is full or refuses; the earlier checkpoints stand as they were.
        """
        place = self.folder / _name(step)
        writing = self.folder / f"{_WRITING}{place.name}"
        self._written.discard(place)
        try:
            self.clear_leftovers()
            writing.mkdir(parents=True)
            sync_path(self.folder.parent)
            fill(writing)
            _write_manifest(writing)
            put_in_place(writing, place, check=verify)
        except BaseException as error:
            with suppress(OSError):
                self.clear_leftovers()
            if not _is_refusal(error):
                raise
            raise CheckpointError(
                f"the checkpoint of step {step} could not be written to {self.folder} ({error}), expected room for it. "
                "Earlier checkpoints are as they were: make room and launch the same command to go on from the newest."
            ) from error
        self._written.add(place)
        return place

    def prune(self, step: int, *, keep: int, keep_every: int | None = None, best: str | None) -> None:
        """Delete all but the newest `keep`, the best and those of every `keep_every` steps, behind a save at a step.

        Those of later steps go in any case: they are damaged and were passed over, or `--resume` went back behind them.
        Left there, they would push out whole ones, and the next launch would go on from a run that this one has left.
        The only whole one never goes.
        """
        checkpoints = self.all()
        reached = [path for path in checkpoints if _step(path) <= step]
        kept = {*reached[-keep:], *_ranked(reached, best)[:1]}
        if keep_every is not None:
            kept |= {path for path in reached if _step(path) % keep_every == 0}
        doomed = [path for path in checkpoints if path not in kept]
        if doomed and not self._written & kept and not any(map(_is_whole, kept)):
            newest_first = sorted(doomed, key=lambda path: (path in reached, _step(path)), reverse=True)
            spared = next(filter(_is_whole, newest_first), None)
            doomed = [path for path in doomed if path != spared]
        _delete(doomed)

    def leave_behind(self, step: int) -> None:
        """Delete the checkpoints of later steps than the one that a run goes on from."""
        later = [path for path in self.all() if _step(path) > step]
        if later:
            logger.info("left behind by this run, and deleted: %s", ", ".join(path.name for path in later))
            _delete(later)

    def clear_leftovers(self) -> None:
        """Delete what a killed process left half written or half deleted.

        A checkpoint that it had set aside for a new one of the same step comes back, unless the new one is whole.
        """
        for old in self.folder.glob(f"{_REPLACED}*"):
            place = self.folder / old.name.removeprefix(_REPLACED)
            if place.exists() and (_is_whole(place) or not _is_whole(old)):
                continue
            if place.exists():
                _delete([place])
            old.rename(place)
        for prefix in (_WRITING, _REPLACED, _PRUNED):
            for path in self.folder.glob(f"{prefix}*"):
                shutil.rmtree(path, ignore_errors=True)


def verify(path: Path) -> None:
    """Hold every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: naming every file that is missing, of another size, of other content, of another kind (a link),
            or not in the manifest.
    """
    listed = _read_manifest(path)
    try:
        found = _entries(path)
    except OSError as error:
        raise _damaged(path, [f"{error.filename} cannot be read ({error.strerror})"]) from error
    found.pop(_MANIFEST, None)
    what = [f"{name} is not listed" for name in found if name not in listed]
    if _PROGRESS not in listed and _PROGRESS not in found:
        what.append(f"{_PROGRESS} is not listed")
    for name, expected in listed.items():  # no path is made of what a manifest lists: it may lead out of the folder
        if name not in found:
            what.append(f"{name!r} is no name of a file" if _leads_out(name) else f"{name} cannot be read (not there)")
        elif (problem := _difference(found[name], expected)) is not None:
            what.append(f"{name} {problem}")
    if what:
        raise _damaged(path, what)


def put_in_place(made: Path, place: Path, *, check: Callable[[Path], None] = lambda _: None) -> None:
    """Rename a finished folder to its place; what stood there is gone only once the new one stands and is checked.

    Args:
        made: beside the place, with all that is in it synced (`sync_folder`).
        check: raises if what stands in the place now is not as it should be; what stood there then stays set aside.
    """
    old = place.with_name(f"{_REPLACED}{place.name}")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    made.rename(place)
    sync_path(place.parent)  # before the old one goes: a power cut must not keep its deletion and lose the renaming
    check(place)
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Have all files and folders below a folder, and itself, on the disk."""
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync_path(Path(root, name))
        sync_path(Path(root))


def read_progress(path: Path) -> dict[str, Any]:
    """progress.json of a checkpoint.

    Raises:
        CheckpointError: it is not there or no JSON object.
    """
    try:
        progress = json.loads((path / _PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, [f"{_PROGRESS} cannot be read ({error})"]) from error
    if not isinstance(progress, dict):
        raise _damaged(path, [f"{_PROGRESS} is no JSON object"])
    return progress


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file of a checkpoint.

    Raises:
        CheckpointError: it is not there or no safetensors.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise unfit(file, f"cannot be read as safetensors ({error})") from error


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _is_checkpoint(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None and path.is_dir()


def _first_valid(paths: Iterable[Path]) -> Path | None:
    """The first that is whole; damaged ones before it are named in a warning."""
    for path in paths:
        try:
            verify(path)
        except CheckpointError as error:
            logger.warning("%s It is passed over.", error)
            continue
        return path
    return None


def _is_whole(path: Path) -> bool:
    try:
        verify(path)
    except CheckpointError:
        return False
    return True


def _delete(checkpoints: Sequence[Path]) -> None:
    """Delete checkpoints so that a process that is killed meanwhile leaves none of them half."""
    hidden = [path.with_name(f"{_PRUNED}{path.name}") for path in checkpoints]
    for path, name in zip(checkpoints, hidden, strict=True):
        shutil.rmtree(name, ignore_errors=True)
        path.rename(name)
    for folder in {path.parent for path in checkpoints}:
        sync_path(folder)
    for name in hidden:
        shutil.rmtree(name, ignore_errors=True)  # somebody may read in it; `clear_leftovers` tries again


def _ranked(checkpoints: Iterable[Path], metric: str | None) -> list[Path]:
    """Those that were evaluated, the best first; none without a metric."""
    if metric is None:
        return []
    scored = [(_evaluation(path).get(metric), path) for path in checkpoints]
    known = [(value, path) for value, path in scored if isinstance(value, int | float) and math.isfinite(value)]
    return [path for _, path in sorted(known, key=lambda pair: pair[0], reverse=not metric.endswith("_nats"))]


def _evaluation(path: Path) -> dict[str, Any]:
    try:
        evaluation = read_progress(path)["evaluation"]
    except (CheckpointError, KeyError):  # damaged
        return {}
    return evaluation if isinstance(evaluation, dict) else {}


def _is_refusal(error: BaseException) -> bool:
    """Whether the disk is full or not to be written on, and nothing of ours is at fault."""
    if isinstance(error, OSError):
        return error.errno in REFUSALS
    # The tokenizers library raises a bare Exception with the system's text.
    return isinstance(error, SafetensorError) or f"(os error {errno.ENOSPC})" in str(error)


def _write_manifest(folder: Path) -> None:
    """Have all files on the disk, then the manifest of them."""
    sync_folder(folder)
    entries = {name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for name, path in _entries(folder).items()}
    manifest = {"files": entries, "sha256": _digest_of(entries)}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    sync_path(folder / _MANIFEST)
    sync_path(folder)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Size and sha256 of every file of a checkpoint, by its relative path."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        listed: dict[str, Any] = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, [f"{_MANIFEST} cannot be read ({error})"]) from error
    # Its own digest tells a damage of its own from one of a file. Earlier versions wrote none.
    if manifest.keys() != {"files"} and manifest != {"files": listed, "sha256": _digest_of(listed)}:
        raise _damaged(path, [f"{_MANIFEST} has other content than was written"])
    return listed


def _entries(folder: Path) -> dict[str, Path]:
    """Every file below a folder, and whatever else is there that is no folder, by its relative path in order."""

    def refuse(error: OSError) -> None:
        raise error

    paths = []
    for root, folders, files in os.walk(folder, onerror=refuse):
        links = [name for name in folders if Path(root, name).is_symlink()]
        paths += [Path(root, name) for name in (*files, *links)]
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths)}


def _difference(path: Path, expected: object) -> str | None:
    """What is wrong with a file of a checkpoint, or None."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return "is a link or no file"
        found = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == expected else "has other content than was written"


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or not name.isprintable()


def _digest_of(entries: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, what: Sequence[str]) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {'; '.join(what)}, expected what its manifest lists. Delete it or name another one."
    )


def unfit(file: Path, what: str) -> CheckpointError:
    """The error that a file of a checkpoint does not hold what this recipe's run would have saved."""
    return CheckpointError(
        f"{file} {' '.join(what.split())}, expected the state of this recipe's run as it was saved. Delete its "
        "checkpoint or name another one."
    )
