"""python -m pretrain.verify RUN|CHECKPOINT|STORE ... [--replay N]: every file against what was written.

Of a run, whatever has a manifest, the finished model against the checkpoint that it was taken from, and the token store
that the newest checkpoint was trained on. With --replay the last N steps before the newest checkpoint are run again as
well, and have to give it bit for bit; for a run of several processes torchrun starts as many. Nothing is changed.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pretrain.card import steps_on_card
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints, read_progress, verify
from pretrain.commands import guarded
from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Signals
from pretrain.recipe import read_recipe
from pretrain.replay import Differing, ReplayError, Stretch, find_stretch, recorded_precision, replay
from tokenization.preparing.shards import file_digest
from tokenization.store import StoreError, TokenStore

_MANIFEST = "manifest.json"
_LEFTOVERS = (".writing-*", ".replaced-*", ".pruned-*", ".*.partial")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify folders; gives the exit status: 0 if all is as it was written, 2 otherwise."""
    parser = argparse.ArgumentParser(prog="pretrain.verify", description="Every file against what was written.")
    parser.add_argument("paths", type=Path, nargs="+", metavar="path", help="runs, checkpoints or token stores")
    parser.add_argument(
        "--replay",
        type=_num_steps,
        metavar="N",
        help="run the last N steps of a run again and compare them bit for bit",
    )
    options = parser.parse_args(arguments)
    if options.replay is not None and len(options.paths) > 1:
        parser.error("--replay goes with one run")
    if options.replay is not None:
        return guarded(lambda signals: _verify_and_replay(options.paths[0], options.replay, signals))
    return guarded(lambda _: _examined(options.paths).raise_damages())


class Findings:
    """What was held against what was written, told as it is found; damages are told at the end, all of them."""

    def __init__(self) -> None:
        self.is_whole: dict[Path, bool] = {}
        self.damages: list[str] = []

    def hold(self, path: Path, check: Callable[[], None], what: str = "as it was written") -> None:
        """Do a check that raises where something is damaged."""
        try:
            check()
        except (CheckpointError, StoreError) as error:
            if path.exists():  # a run that goes on meanwhile prunes its checkpoints
                self.is_whole[path] = False
                self.damages.append(str(error))
        else:
            self.is_whole[path] = True
            print(f"{path}: {what}")

    def raise_damages(self) -> None:
        """
        Raises:
            CheckpointError: something is damaged, or there is nothing to verify.
        """
        if self.damages:
            raise CheckpointError("\n".join(self.damages))


def _verify_and_replay(run: Path, num_steps: int, signals: Signals) -> None:
    """Verify a run, and run its last steps again if all is whole that this takes."""
    with signals.enforced():
        processes = Processes.start(recorded_precision(run))
        with processes.together():
            findings = processes.on_main(lambda: _examined([run]))
            stretch = processes.broadcast(
                processes.on_main(lambda: None if findings is None else _stretch(run, num_steps, findings))
            )
            assert stretch is not None, "the main process raises otherwise"
            try:
                equal = replay(stretch, processes)
            except Differing as error:
                assert findings is not None, "only the main process compares"
                findings.damages.append(str(error))
            else:
                if findings is not None:
                    print(f"{run}: {equal}")
    if findings is not None:
        findings.raise_damages()


def _stretch(run: Path, num_steps: int, findings: Findings) -> Stretch:
    checkpoints = [path for path in findings.is_whole if path.parent == run / "checkpoints"]
    if not checkpoints:
        findings.raise_damages()
        raise ReplayError(f"{run} is no run with checkpoints, expected one to replay. Name a folder such as runs/demo.")
    store = _store_of(checkpoints[-1])
    if not findings.is_whole[checkpoints[-1]] or store is None or not findings.is_whole.get(store, True):
        findings.raise_damages()
    if store is None or not store.exists():
        raise ReplayError(
            f"the token store {store} that {run} was trained on is not there, expected it to replay. Make it again: "
            f"python -m pretrain.prepare {run / 'recipe.yaml'}"
        )
    return find_stretch(run, num_steps, [path for path in checkpoints if findings.is_whole[path]], store)


# ------------------------------------------------------------------------------------------------ what has a manifest


def _examined(paths: Sequence[Path]) -> Findings:
    """Hold everything against what was written before the first damage is raised, so that all of it is told."""
    findings = Findings()
    for path in paths:
        if _is_store(path):
            findings.hold(path, lambda path=path: _verify_store(path))  # type: ignore[misc]
        elif any((path / name).exists() for name in ("progress.json", _MANIFEST)):
            findings.hold(path, lambda path=path: verify(path))  # type: ignore[misc]
        elif checkpoints := Checkpoints(path).all():
            _examine_run(path, checkpoints, findings)
        else:
            findings.damages.append(
                f"{path} is no run with checkpoints, no checkpoint and no token store, expected one of them. "
                "Name a folder such as runs/demo, runs/demo/checkpoints/step-00001000 or cache/0123456789abcdef."
            )
    return findings


def _examine_run(run: Path, checkpoints: Sequence[Path], findings: Findings) -> None:
    for checkpoint in checkpoints:
        findings.hold(checkpoint, lambda checkpoint=checkpoint: verify(checkpoint))  # type: ignore[misc]
    store = _store_of(checkpoints[-1])
    if store is not None and store.exists():
        findings.hold(store, lambda: _verify_store(store))
    else:
        print(f"{run}: not held against anything: its token store{f', {store}' if store else ''}, which is not there")
    for folder in sorted(path.parent for path in run.rglob(_MANIFEST)):
        if folder.parent != run / "checkpoints":
            findings.hold(folder, lambda folder=folder: verify(folder))  # type: ignore[misc]
    for folder in sorted(path.parent for path in run.glob("*/config.json")):
        _examine_export(run, folder, findings)
    _tell_the_rest(run, findings)


def _examine_export(run: Path, folder: Path, findings: Findings) -> None:
    """Hold a finished model against the manifest of the checkpoint that it was copied from."""
    step = steps_on_card(folder)
    source = next((path for path in findings.is_whole if path.name == f"step-{step or 0:08d}"), None)
    if step is None:
        print(f"{folder}: not held against anything: its README.md does not say from which step it is")
    elif source is None:
        print(f"{folder}: not held against anything: its checkpoint, of step {step:,}, is not there any more")
    elif not findings.is_whole[source]:
        print(f"{folder}: not held against anything: its checkpoint, of step {step:,}, is damaged")
    else:
        findings.hold(folder, lambda: _check_copy(folder, source), f"as {source.name} has it")


def _check_copy(folder: Path, source: Path) -> None:
    """
    Raises:
        CheckpointError: naming the first file of a model folder that is not as its checkpoint has it.
    """
    files = json.loads((source / _MANIFEST).read_text(encoding="utf-8"))["files"]
    for name, entry in files.items():
        network, _, file = name.partition("/")
        if network == folder.name and (not (folder / file).exists() or file_digest(folder / file) != entry["sha256"]):
            found = "has other content" if (folder / file).exists() else "is missing"
            raise CheckpointError(
                f"{folder} is damaged: {file} {found}, expected what {source / name} holds. Launch the run again, "
                "which copies the finished model anew."
            )


def _tell_the_rest(run: Path, findings: Findings) -> None:
    """Name what nothing was written about, and what saves that were cut off have left."""
    held = {run / "checkpoints", *findings.is_whole}
    rest = [path.name for path in sorted(run.iterdir()) if path not in held and not path.name.startswith(".")]
    rest += [f"{folder.name}/README.md" for folder in findings.is_whole if (folder / "README.md").exists()]
    if rest:
        print(f"{run}: not held against anything: {', '.join(rest)}")
    for leftover in sorted(
        path for place in (run, run / "checkpoints") for name in _LEFTOVERS for path in place.glob(name)
    ):
        print(f"{leftover}: of a save that is under way or was cut off")


def _is_store(path: Path) -> bool:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (path / "shards").is_dir()
    return isinstance(manifest, dict) and "fingerprint" in manifest


def _store_of(checkpoint: Path) -> Path | None:
    """The store that a checkpoint was trained on, which need not be there; a damaged checkpoint names none."""
    try:
        fingerprint = read_progress(checkpoint)["store"]
        return Path(read_recipe(checkpoint / "recipe.yaml").cache_dir) / str(fingerprint)[:16]
    except (ValueError, OSError, KeyError):
        return None


def _verify_store(path: Path) -> None:
    for _ in TokenStore.open(path).verify():
        pass


def _num_steps(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
