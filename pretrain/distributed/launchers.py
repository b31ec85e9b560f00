"""What a launcher asks for: mixed precision, threads, and ways of distributing that are refused in a sentence."""

import ctypes
import os
import signal
import sys

import psutil
import torch

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # opened early: behind a fork nothing should be
_UNSUPPORTED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_TP": "tensor parallelism",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}


class LaunchError(ValueError):
    """A launcher or an accelerate configuration that asks for what the kit does not do."""


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


def follow_launcher() -> None:
    """Have a launcher that ends, however it ends, end this process as SIGTERM does: with its step saved.

    accelerate launch hands no signal on to the one process that it starts, and a killed launcher cannot.
    """
    if _is_launched():
        end_with_parent()


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when the thread that started it ends, even by SIGKILL (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _is_launched() -> bool:
    return "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ


def use_all_cores() -> None:
    """Undo the one thread that launchers give a process unless told otherwise: training takes its share of the cores.

    accelerate launch sets OMP_NUM_THREADS=1 for a process that has no GPU, which halves the speed on two cores, and
    torchrun does for several. One thread that a user asked a launcher for cannot be told from that; without a launcher
    OMP_NUM_THREADS is left alone.
    """
    if _is_launched() and os.environ.get("OMP_NUM_THREADS") == "1":
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        cores = min(allowed, psutil.cpu_count(logical=False) or allowed)
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def check_launcher() -> None:
    """Refuse what a launcher asks for and the kit does not train.

    Raises:
        LaunchError: naming it.
    """
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
