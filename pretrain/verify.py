"""python -m pretrain.verify RUN|CHECKPOINT|STORE ...: every file against the manifest that it was written with.

Of a run, all checkpoints and the token store that its newest one was trained on, if it is still in the cache.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pretrain.checkpoint import CheckpointError, Checkpoints, read_progress, verify
from pretrain.commands import guarded
from pretrain.recipe import read_recipe
from tokenization.store import StoreError, TokenStore


@dataclass(frozen=True, slots=True)
class Verified:
    """A checkpoint or a store, and what is to be done to verify it."""

    path: Path
    check: Callable[[], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify folders; gives the exit status: 0 if all is as it was written, 2 otherwise."""
    parser = argparse.ArgumentParser(prog="pretrain.verify", description="Every file against its manifest.")
    parser.add_argument("paths", type=Path, nargs="+", metavar="path", help="runs, checkpoints or token stores")
    options = parser.parse_args(arguments)
    return guarded(lambda _: _verify(options.paths))


def _verify(paths: Sequence[Path]) -> None:
    """Verify everything before the first damage is raised, so that all of it is told.

    Raises:
        CheckpointError: something is damaged, or there is nothing to verify.
    """
    damaged = []
    for path in paths:
        try:
            subjects = list(_subjects(path))
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for subject in subjects:
            try:
                subject.check()
            except (CheckpointError, StoreError) as error:
                damaged.append(str(error))
            else:
                print(f"{subject.path}: as it was written")
    if damaged:
        raise CheckpointError("\n".join(damaged))


def _subjects(path: Path) -> Iterator[Verified]:
    """What a folder is or holds that has a manifest."""
    if (path / "progress.json").exists():
        yield Verified(path, lambda: verify(path))
    elif _is_store(path):
        yield Verified(path, lambda: _verify_store(path))
    else:
        checkpoints = Checkpoints(path).all()
        if not checkpoints:
            raise CheckpointError(
                f"{path} is no run with checkpoints, no checkpoint and no token store, expected one of them. "
                "Name a folder such as runs/demo, runs/demo/checkpoints/step-00001000 or cache/0123456789abcdef."
            )
        for checkpoint in checkpoints:
            yield Verified(checkpoint, lambda checkpoint=checkpoint: verify(checkpoint))  # type: ignore[misc]
        if (store := _store_of(checkpoints[-1])) is not None:
            yield Verified(store, lambda: _verify_store(store))


def _is_store(path: Path) -> bool:
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (path / "shards").is_dir()
    return isinstance(manifest, dict) and "fingerprint" in manifest


def _store_of(checkpoint: Path) -> Path | None:
    """The store that a checkpoint was trained on, if it is in the cache; a damaged checkpoint names none."""
    try:
        fingerprint = read_progress(checkpoint)["store"]
        store = Path(read_recipe(checkpoint / "recipe.yaml").cache_dir) / fingerprint[:16]
    except (ValueError, OSError, KeyError):
        return None
    return store if store.exists() else None


def _verify_store(path: Path) -> None:
    for _ in TokenStore.open(path).verify():
        pass


if __name__ == "__main__":
    sys.exit(main())
