"""What a checkpoint holds of a run: a loop's snapshot, and a loop that goes on from there, side by side.

Order, masks and dropout are functions of the seed and of where a run stands, so there is no generator's state to keep.
"""

import json
import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from objectives.objective import Objective
from pretrain.assembly import (
    build_objective,
    load_objective,
    load_own_state,
    save_objective,
    saved_networks,
    training_examples,
)
from pretrain.checkpoints.checkpoint import (
    read_progress,
    read_tensors,
    unfit,
)
from pretrain.checkpoints.optimizers import OPTIMIZER, load_optimizers, optimizer_state
from pretrain.checkpoints.progress import Layout, Progress
from pretrain.distributed.processes import Processes
from pretrain.loop import Loop
from pretrain.recipe import Recipe
from tokenization.store import TokenStore

_TALLY = "state/tally.safetensors"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a checkpoint holds of a loop at one moment, copied to the host, so that the loop can go on meanwhile."""

    objective: Objective
    optimizers: dict[str, Tensor]
    """The optimizers' state, each tensor by its optimizer's number and its parameter's name."""
    optimizer_names: list[str]
    sums: dict[str, Tensor]
    """What the next line of metrics has added up so far."""
    record: dict[str, Any]
    recipe: str
    tokenizer_path: Path

    @classmethod
    def of(cls, loop: Loop, store: TokenStore) -> "Snapshot":
        """The loop as it stands between two steps."""
        scaler = loop.processes.accelerator.scaler
        return cls(
            objective=_copy(loop.objective),
            optimizers=optimizer_state(loop.optimizers, loop.objective),
            optimizer_names=[type(optimizer).__name__ for optimizer in loop.optimizers],
            sums=loop.tally.state(),
            record={
                **asdict(Layout.here(loop.recipe, loop.processes)),
                **asdict(loop.progress),
                "gradient_scaler": scaler.state_dict() if scaler is not None else None,
                "store": store.fingerprint,
            },
            recipe=loop.recipe.to_yaml(),
            tokenizer_path=store.tokenizer_path,
        )

    def write(self, folder: Path) -> None:
        """Write all files of a checkpoint but its manifest into an empty folder."""
        state = folder / "state"
        state.mkdir()
        save_objective(self.objective, self.tokenizer_path, folder)
        save_file(self.optimizers, state / OPTIMIZER)
        save_file(self.sums, folder / _TALLY)
        (state / "optimizer.json").write_text(_json({"optimizers": self.optimizer_names}), encoding="utf-8")
        (folder / "progress.json").write_text(_json(self.record), encoding="utf-8")
        (folder / "recipe.yaml").write_text(self.recipe, encoding="utf-8")


def _copy(objective: Objective) -> Objective:
    """The objective with its weights copied to the host; what is shared stays shared."""
    copies: dict[int, Any] = {id(value): value.detach().to("cpu", copy=True) for value in objective.buffers()}
    for parameter in objective.parameters():
        copies[id(parameter)] = nn.Parameter(parameter.detach().to("cpu", copy=True), parameter.requires_grad)
    return deepcopy(objective, copies)


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2) + "\n"


def make_loop(recipe: Recipe, processes: Processes, store: TokenStore, checkpoint: Path | None) -> Loop:
    """The loop at a checkpoint, which is verified already, or at the start of the run.

    Raises:
        EncoderError: a folder to start from does not fit the recipe.
        CheckpointError: what the checkpoint holds does not fit.
    """
    if checkpoint is None:
        objective, progress = build_objective(recipe, store, device=processes.device), Progress()
    else:
        objective, _ = load_objective(recipe, saved_networks(recipe, checkpoint), device=processes.device)
        load_own_state(objective, checkpoint)
        progress = _progress(checkpoint)
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
        _take_state(loop, checkpoint)
    return loop


def _progress(checkpoint: Path) -> Progress:
    try:
        return Progress.of_record(read_progress(checkpoint))
    except (TypeError, ValueError, AttributeError) as error:
        raise unfit(checkpoint / "progress.json", f"does not fit ({error})") from error


def _take_state(loop: Loop, checkpoint: Path) -> None:
    """What a loop carries from step to step beside weights and optimizers."""
    try:
        if loop.processes.accelerator.scaler is not None:
            loop.processes.accelerator.scaler.load_state_dict(read_progress(checkpoint)["gradient_scaler"])
        if (checkpoint / _TALLY).exists():
            loop.tally.load_state(read_tensors(checkpoint / _TALLY))
        else:
            logger.warning("%s is of an earlier version: the next line of metrics counts from here on", checkpoint)
    except (KeyError, TypeError, RuntimeError) as error:
        raise unfit(checkpoint, f"does not fit ({error})") from error
