"""The optimizers' state in a checkpoint, each tensor by its optimizer's number and its parameter's name."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pretrain.checkpoints.checkpoint import read_tensors, unfit

OPTIMIZER = "optimizer.safetensors"
"""Where state/ of a checkpoint has the optimizers' tensors."""


def optimizer_state(optimizers: Sequence[Optimizer], module: nn.Module) -> dict[str, Tensor]:
    """A copy of the optimizers' state on the host, each tensor by its optimizer's number and its parameter's name."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        f"{number}/{names[id(parameter)]}/{key}": torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
        for number, optimizer in enumerate(optimizers)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizers(optimizers: Sequence[Optimizer], module: nn.Module, folder: Path) -> None:
    """Give the optimizers the state that `optimizer_state` gave and a checkpoint has.

    Raises:
        CheckpointError: it is no safetensors, or not of these optimizers and parameters.
    """
    parameters = dict(module.named_parameters())
    for full_name, tensor in read_tensors(folder / OPTIMIZER).items():
        number, _, name = full_name.partition("/")
        name, _, key = name.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or tensor.shape not in (parameter.shape, ()):
            raise unfit(folder / OPTIMIZER, f"has {full_name!r} of {tuple(tensor.shape)}, which no parameter has")
        if number not in map(str, range(len(optimizers))):
            raise unfit(folder / OPTIMIZER, f"has {full_name!r}, but there are {len(optimizers)} optimizers")
        # Step counts as well: the fused optimizers keep them on the device of their parameter.
        optimizers[int(number)].state.setdefault(parameter, {})[key] = tensor.to(parameter.device)
