"""The processes of a run: which device each has, how they add up, and what the launcher asked for.

Accelerate places the model and casts to mixed precision; the order of the data, the schedule and the division of the
loss stay with us. Distributed setups that the kit does not train are refused in a sentence instead of half working.
"""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import psutil
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import Tensor

_Result = TypeVar("_Result")
_PREPARE_TIMEOUT = timedelta(hours=24)  # one rank prepares the corpus, however long that takes, while the others wait
_UNSUPPORTED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_TP": "tensor parallelism",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}
_TRAINABLE = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


class LaunchError(ValueError):
    """A launcher or an accelerate configuration that asks for what the kit does not do."""


class Processes:
    """All processes of a run, seen from one of them."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.world_size: int = accelerator.num_processes
        self.device: torch.device = accelerator.device
        self._control = dist.new_group(backend="gloo", timeout=_PREPARE_TIMEOUT) if self.world_size > 1 else None

    @classmethod
    def start(cls, mixed_precision: str, *, trackers: Sequence[str] = (), folder: Path | None = None) -> "Processes":
        """Join the other processes.

        Args:
            mixed_precision: auto | bf16 | fp16 | no, as the recipe says.
            trackers: that will be told of the run.
            folder: where trackers that write files do so.

        Raises:
            LaunchError: the launcher asked for something else than the recipe, for processes that were not started, or
                for a way of distributing that the kit does not train.
        """
        _check_launcher()
        on_cpu = not torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU")
        resolved = resolve_precision(mixed_precision, os.environ.get("ACCELERATE_MIXED_PRECISION"), on_cpu=on_cpu)
        accelerator = Accelerator(
            cpu=on_cpu, mixed_precision=resolved, log_with=list(trackers) or None, project_dir=folder
        )
        if accelerator.distributed_type not in _TRAINABLE:
            raise LaunchError(
                f"accelerate is set up for {accelerator.distributed_type.value}, expected one process, several CPU "
                "processes or several GPUs. Set distributed_type to NO or MULTI_GPU in the accelerate configuration."
            )
        if on_cpu:
            _use_all_cores()
        return cls(accelerator)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def mixed_precision(self) -> str:
        """bf16, fp16 or no: what was resolved."""
        return str(self.accelerator.mixed_precision)

    def on_main(self, work: Callable[[], _Result]) -> _Result | None:
        """Do something on the main process while the others wait; they get None, and fail quietly if it fails."""
        result, error = None, None
        if self.is_main:
            try:
                result = work()
            except BaseException as raised:
                error = raised
        failed = self.any(error is not None)
        if error is not None:
            raise error
        if failed:
            raise SystemExit(2)  # the main process says what was wrong
        return result

    def broadcast(self, value: _Result | None) -> _Result | None:
        """The main process's value, on all of them."""
        if self._control is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def sum(self, numbers: list[float]) -> list[float]:
        """Add up over the processes, in float64, on the host."""
        if self._control is None:
            return numbers
        vector = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(vector, group=self._control)
        return [float(number) for number in vector]

    def sum_in_place(self, tensor: Tensor) -> None:
        """Add up a tensor over the processes, on its device."""
        if self.world_size > 1:
            dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up anywhere."""
        return self.sum([float(flag)])[0] > 0

    def wait(self) -> None:
        """Return when all have come here."""
        self.sum([0.0])

    def leave(self) -> None:
        """Take leave of the others in good order."""
        if self.world_size > 1:
            dist.destroy_process_group()


def resolve_precision(recipe: str, launcher: str | None, *, on_cpu: bool) -> str:
    """bf16, fp16 or no, from what recipe and launcher say and what the hardware has.

    Args:
        recipe: auto | bf16 | fp16 | no.
        launcher: what `accelerate launch` hands over; its `no` is its default and says nothing.

    Raises:
        LaunchError: recipe and launcher disagree, or fp16 without a GPU.
    """
    asked = launcher if launcher not in (None, "", "no") else None
    if asked not in (None, "bf16", "fp16"):
        raise LaunchError(
            f"the launcher asks for mixed precision {asked}, expected bf16, fp16 or no. Change its setting."
        )
    if recipe != "auto" and asked is not None and asked != recipe:
        raise LaunchError(
            f"train.mixed_precision is {recipe} but the launcher asks for {asked}, expected the same. "
            "Change one of them, or set train.mixed_precision to auto."
        )
    resolved = asked if recipe == "auto" else recipe
    if resolved is None:
        resolved = "bf16" if _has_bf16(on_cpu=on_cpu) else "no"
    if resolved == "fp16" and on_cpu:
        raise LaunchError("fp16 needs a GPU for its gradient scaling and there is none here. Use bf16, no or auto.")
    return resolved


def _has_bf16(*, on_cpu: bool) -> bool:
    """Whether bfloat16 products run on instructions of their own, without which they are slower than float32."""
    if not on_cpu:
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def _use_all_cores() -> None:
    """Undo the one thread that launchers give a process unless told otherwise: training takes its share of the cores.

    accelerate launch sets OMP_NUM_THREADS=1 for a process that has no GPU, which halves the speed on two cores, and
    torchrun does for several. One thread that a user asked a launcher for cannot be told from that; without a launcher
    OMP_NUM_THREADS is left alone.
    """
    is_launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if is_launched and os.environ.get("OMP_NUM_THREADS") == "1":
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        cores = min(allowed, psutil.cpu_count(logical=False) or allowed)
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _check_launcher() -> None:
    for variable, what in _UNSUPPORTED.items():
        if os.environ.get(variable, "false").lower() in ("1", "true", "yes"):
            raise LaunchError(
                f"the accelerate configuration asks for {what}, which this release does not train; expected plain data "
                "parallelism. Set distributed_type to NO or MULTI_GPU in the accelerate configuration."
            )
    # accelerate sets an address for the processes to meet at and then, without GPUs, starts a single one in silence.
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ:
        raise LaunchError(
            "the accelerate configuration asks for several processes but only one was started, which is what "
            "accelerate launch does without GPUs. For two CPU processes use\n"
            "  ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m pretrain RECIPE\n"
            "or set num_processes to 1."
        )
