"""Room on the disk: how large a checkpoint will be, and whether a run and its next checkpoint find room.

What is checked is what is free now: another process may take it, so a full disk while writing is dealt with as well
(`pretrain.checkpoints.checkpoint.Checkpoints.write`).
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from encoders.encoder import Encoder
from objectives.objective import Objective
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints
from pretrain.recipe import Recipe

_GB = 10**9
_ENTRY_BYTES = 100
"""Of a vocabulary's entry in a tokenizer's files, rather many: small ones have 23 (WordPiece) to 68 (Unigram)."""
_REST_BYTES = 1 << 20
"""Of a network: what its folder holds beside, the headers of the tensors, and the blocks that files round up to."""


def checkpoint_bytes(objective: Objective, optimizers: Iterable[Optimizer]) -> int:
    """Size of a checkpoint in bytes, rather a little too large: weights, own state, the optimizers' state, the rest.

    Optimizers that have not done a step yet are counted with the state that they will hold: one number a weight for
    Muon, two for all others.
    """
    state = sum(_held_bytes(optimizer) for optimizer in optimizers)
    return model_bytes(objective) + _bytes(objective.own_state().values()) + state


def model_bytes(objective: Objective) -> int:
    """Size of the model folders of all networks in bytes, rather a little too large."""
    return sum(_folder_bytes(network) for network in objective.networks.values())


def check_run(recipe: Recipe, objective: Objective, optimizers: Sequence[Optimizer]) -> None:
    """Hold the room that a run's checkpoints and finished model will take against what is free.

    What the checkpoints in its directory take already is counted as free: new ones replace them.

    Raises:
        CheckpointError: there is not enough.
    """
    one = checkpoint_bytes(objective, optimizers)
    count = _most_checkpoints(recipe)
    there = _bytes_below(Checkpoints(recipe.run_dir).folder)
    needed = count * one + model_bytes(objective) - there
    free = _free(recipe.run_dir)
    if needed > free:
        beside = f", beside the {_gb(there)} that stand there" if there else ""
        raise CheckpointError(
            f"{recipe.run_dir} has {_gb(free)} of disk free, expected {_gb(needed)}{beside}: {count} checkpoints of "
            f"{_gb(one)} (checkpoint.keep = {recipe.checkpoint.keep}, the best and the permanent ones, and the one "
            "that is being written) and the finished model. Make room, lower checkpoint.keep, raise "
            "checkpoint.keep_every, or set output_dir to another disk."
        )


def check_save(step: int, run_dir: Path, num_bytes: int) -> None:
    """Hold the size of the next checkpoint against what is free.

    Args:
        num_bytes: as `checkpoint_bytes` gives it.

    Raises:
        CheckpointError: there is not enough; nothing was written.
    """
    free = _free(run_dir)
    if num_bytes > free:
        raise CheckpointError(
            f"the checkpoint of step {step} needs {_gb(num_bytes)} in {run_dir}, where {_gb(free)} of disk are free, "
            "expected room for it. Earlier checkpoints are as they were: make room, or lower checkpoint.keep and "
            "delete older ones, and launch the same command to go on from the newest."
        )


def _most_checkpoints(recipe: Recipe) -> int:
    """Checkpoints that stand at once at most, one that is being written included."""
    settings, steps = recipe.checkpoint, recipe.train.steps
    permanent = steps // settings.keep_every if steps is not None and settings.keep_every is not None else 0
    most = settings.keep + permanent + (settings.best is not None) + 1
    if settings.every_steps is None:
        return 1  # at the end
    return most if steps is None else min(most, -(-steps // settings.every_steps))


def _folder_bytes(network: Encoder) -> int:
    buffers = network.model.state_dict().keys() - dict(network.model.named_parameters(remove_duplicate=False)).keys()
    persistent = [network.model.get_buffer(name) for name in buffers]
    # Tied weights are saved once, and parameters() gives them once. A residual is saved folded into its table.
    rest = _REST_BYTES + _ENTRY_BYTES * int(network.model.config.vocab_size)
    return _bytes([*network.parameters(), *persistent]) + rest


def _held_bytes(optimizer: Optimizer) -> int:
    """What an optimizer's state will take; its step counts are among the rest."""
    moments = 1 if isinstance(optimizer, torch.optim.Muon) else 2
    return moments * _bytes(parameter for group in optimizer.param_groups for parameter in group["params"])


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _bytes_below(folder: Path) -> int:
    return sum(os.lstat(os.path.join(root, name)).st_size for root, _, files in os.walk(folder) for name in files)


def _free(folder: Path) -> int:
    """Bytes that are free where a folder stands or would be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / _GB:.2f} GB" if num_bytes >= _GB / 10 else f"{num_bytes / _GB:.4f} GB"
