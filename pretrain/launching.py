"""How a run is asked for, and where a launch starts from: anew, or at a checkpoint of the same training."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints, read_progress, verify
from pretrain.recipe import Recipe, RecipeError, differing_keys, read_recipe
from tokenization.store import TokenStore


@dataclass(frozen=True, slots=True)
class Launch:
    """How a run was asked for."""

    resume: Path | None = None
    """A checkpoint to go on from; None: the newest valid one, if there is any."""
    fresh: bool = False
    """Start again although there are checkpoints."""

    @classmethod
    def asked(cls, *, resume: Path | None, fresh: bool) -> "Launch":
        """What a command asks for; when torchrun starts its processes again, it asks to go on from where they were."""
        is_restart = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        return cls() if is_restart else cls(resume=resume, fresh=fresh)


def starting_point(recipe: Recipe, launch: Launch, store: TokenStore, mixed_precision: str) -> Path | None:
    """The checkpoint to go on from, or None to start anew.

    Raises:
        RecipeError: the checkpoint was trained by another recipe.
        CheckpointError: the named checkpoint is damaged.
    """
    checkpoints = Checkpoints(recipe.run_dir)
    if launch.fresh:
        return None
    if launch.resume is not None:
        if not any((launch.resume / name).exists() for name in ("progress.json", "manifest.json")):
            raise CheckpointError(
                f"{launch.resume} is no checkpoint, expected a folder such as {checkpoints.folder / 'step-00001000'}. "
                "Name one, or leave --resume out to go on from the newest."
            )
        verify(launch.resume)
        checkpoint: Path | None = launch.resume
    else:
        checkpoint = checkpoints.newest_valid()
        if checkpoint is None and checkpoints.all():
            raise CheckpointError(
                f"none of the checkpoints in {checkpoints.folder} is whole, expected one to go on from. "
                "Launch with --fresh to start again, which deletes them."
            )
    if checkpoint is None:
        return None
    differences = differing_keys(read_recipe(checkpoint / "recipe.yaml"), recipe)
    if read_progress(checkpoint).get("store") != store.fingerprint and not any(
        d.startswith(("corpus", "tokenizer")) for d in differences
    ):
        differences.append("corpus: its files, or the versions of sentencex or tokenizers, are other ones now")
    if (old := read_progress(checkpoint).get("mixed_precision")) != mixed_precision:
        differences.append(f"train.mixed_precision, as resolved: {old} -> {mixed_precision}")
    if differences:
        listed = "\n".join(f"  {difference}" for difference in differences)
        raise RecipeError(
            f"{checkpoint} was trained by another recipe, expected the same in all that changes the training. It "
            f"differs in\n{listed}\n"
            "Take the changes back, give the run another name, or launch with --fresh to start again."
        )
    return checkpoint


def clear(run_dir: Path) -> None:
    """Delete what an earlier run left; only now that the new one is known to start."""
    for folder in ("checkpoints", "model", "generator", "probes", "trouble"):
        shutil.rmtree(run_dir / folder, ignore_errors=True)
    for file in ("metrics.jsonl", "report.html"):
        (run_dir / file).unlink(missing_ok=True)
