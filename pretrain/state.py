"""What a checkpoint holds of a run: a loop written to a folder, and a loop that goes on from there, side by side.

Order, masks and dropout are functions of the seed and of where a run stands, so there is no generator's state to keep.
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from pretrain.assembly import (
    build_objective,
    load_objective,
    load_own_state,
    save_objective,
    saved_networks,
    training_examples,
)
from pretrain.checkpoint import load_optimizers, read_progress, save_optimizers
from pretrain.loop import Loop
from pretrain.processes import Processes
from pretrain.progress import Layout, Progress
from pretrain.recipe import Recipe
from tokenization.store import TokenStore

_TALLY = "state/tally.safetensors"

logger = logging.getLogger(__name__)


def save_loop(loop: Loop, store: TokenStore, folder: Path) -> None:
    """Write all files of a checkpoint but its manifest into an empty folder."""
    save_objective(loop.objective, store.tokenizer_path, folder)
    save_optimizers(loop.optimizers, loop.objective, folder / "state")
    save_file(loop.tally.state(), folder / _TALLY)
    scaler = loop.processes.accelerator.scaler
    record = {
        **asdict(Layout.here(loop.recipe, loop.processes)),
        **asdict(loop.progress),
        "gradient_scaler": scaler.state_dict() if scaler is not None else None,
        "store": store.fingerprint,
    }
    (folder / "progress.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text(loop.recipe.to_yaml(), encoding="utf-8")


def make_loop(recipe: Recipe, processes: Processes, store: TokenStore, checkpoint: Path | None) -> Loop:
    """The loop at a checkpoint, which is verified already, or at the start of the run.

    Raises:
        EncoderError: a folder to start from does not fit the recipe.
    """
    if checkpoint is None:
        objective, progress = build_objective(recipe, store, device=processes.device), Progress()
    else:
        objective, _ = load_objective(recipe, saved_networks(recipe, checkpoint), device=processes.device)
        load_own_state(objective, checkpoint)
        progress = Progress.of_record(read_progress(checkpoint))
    for network in objective.networks.values():
        network.skips_places = not (recipe.train.gradient_checkpointing or recipe.train.compile)
        if recipe.train.gradient_checkpointing:
            network.model.activation_checkpointing_enable()
        if recipe.train.compile:
            network.model.base_model.compile()
    objective.to(processes.device).train()
    optimizers = recipe.optimizer.build(objective)
    if checkpoint is not None:
        load_optimizers(optimizers, objective, checkpoint / "state")
    examples = training_examples(recipe, store)
    examples.plan(progress.epoch)
    loop = Loop(recipe, processes, objective, examples, optimizers, progress)
    if checkpoint is not None:
        _take_sums(loop, checkpoint)
    return loop


def _take_sums(loop: Loop, checkpoint: Path) -> None:
    """What a loop carries from step to step beside weights and optimizers."""
    if loop.processes.accelerator.scaler is not None:
        loop.processes.accelerator.scaler.load_state_dict(read_progress(checkpoint)["gradient_scaler"])
    if (checkpoint / _TALLY).exists():
        loop.tally.load_state(load_file(checkpoint / _TALLY))
    else:
        logger.warning("%s is of an earlier version: the next line of metrics counts from here on", checkpoint)
