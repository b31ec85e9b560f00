"""The processes of a run: which device each has, how they add up, and what the launcher asked for.

Accelerate places the model and casts to mixed precision; the order of the data, the schedule and the division of the
loss stay with us. Distributed setups that the kit does not train are refused in a sentence instead of half working.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import psutil
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs, parse_flag_from_env
from torch import Tensor

from pretrain.notices import Notices
from pretrain.signals import STATUS, end_at_once, flags_of, status_of

HANG_MINUTES = 30.0
"""Minutes after which a process that the others wait for within a step is taken for hung, unless told otherwise."""

_Result = TypeVar("_Result")
_FOREVER = timedelta(days=365)  # of the control group, whose patience is our own
_PAUSES = (20e-6, 20e-3)  # seconds between two looks whether the others have come: the shortest and the longest
_MISTAKE = 2.0
_COME_SECONDS = 2.0  # after which a process that waits says so
_UNSUPPORTED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_TP": "tensor parallelism",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}
_TRAINABLE = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)

logger = logging.getLogger(__name__)


class LaunchError(ValueError):
    """A launcher or an accelerate configuration that asks for what the kit does not do."""


class ProcessesError(ValueError):
    """Another process of the run that is gone, or does not answer."""


class Processes:
    """All processes of a run, seen from one of them."""

    def __init__(self, accelerator: Accelerator, hang_minutes: float = HANG_MINUTES) -> None:
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.world_size: int = accelerator.num_processes
        self.device: torch.device = accelerator.device
        self._hang_seconds = 60 * hang_minutes
        self._control = dist.new_group(backend="gloo", timeout=_FOREVER) if self.world_size > 1 else None
        self._notices = Notices(self.rank, self.world_size) if self.world_size > 1 else None
        self._waits, self._is_waiting = 0, False
        if self._notices is not None:
            self._notices.listen()

    @classmethod
    def start(
        cls,
        mixed_precision: str,
        *,
        hang_minutes: float = HANG_MINUTES,
        trackers: Sequence[str] = (),
        folder: Path | None = None,
    ) -> "Processes":
        """Join the other processes.

        Args:
            mixed_precision: auto | bf16 | fp16 | no, as the recipe says.
            hang_minutes: after which another process that is waited for within a step is taken for hung.
            trackers: that will be told of the run.
            folder: where trackers that write files do so.

        Raises:
            LaunchError: the launcher asked for something else than the recipe, for processes that were not started, or
                for a way of distributing that the kit does not train.
            ProcessesError: the others do not come.
        """
        _check_launcher()
        on_cpu = not torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU")
        resolved = resolve_precision(mixed_precision, os.environ.get("ACCELERATE_MIXED_PRECISION"), on_cpu=on_cpu)
        try:
            accelerator = Accelerator(
                cpu=on_cpu,
                mixed_precision=resolved,
                log_with=list(trackers) or None,
                project_dir=folder,
                kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(minutes=hang_minutes))],
            )
        except dist.DistError as error:
            raise ProcessesError(
                f"the other processes were not met within {hang_minutes:g} minutes ({str(error).splitlines()[0]}), "
                f"expected WORLD_SIZE = {os.environ.get('WORLD_SIZE')} that start together. Start them all again."
            ) from error
        if accelerator.distributed_type not in _TRAINABLE:
            raise LaunchError(
                f"accelerate is set up for {accelerator.distributed_type.value}, expected one process, several CPU "
                "processes or several GPUs. Set distributed_type to NO or MULTI_GPU in the accelerate configuration."
            )
        if on_cpu:
            _use_all_cores()
        return cls(accelerator, hang_minutes)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def mixed_precision(self) -> str:
        """bf16, fp16 or no: what was resolved."""
        return str(self.accelerator.mixed_precision)

    def on_main(self, work: Callable[[], _Result]) -> _Result | None:
        """Do something on the main process while the others wait, however long it takes.

        They get None, and end quietly with the main process's status if it fails: it says what was wrong.
        """
        result, error = None, None
        if self.is_main:
            try:
                result = work()
            except BaseException as raised:
                error = raised
        try:
            (status,) = self.sum([_status_of(error)], is_patient=True)
        finally:
            if error is not None:
                raise error
        if status:
            raise SystemExit(int(status))
        return result

    def broadcast(self, value: _Result | None) -> _Result | None:
        """The main process's value, on all of them."""
        if self._control is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def gather(self, value: _Result) -> list[_Result]:
        """The values of all processes by rank, on the main one; the others get an empty list."""
        if self._control is None:
            return [value]
        values: list[_Result] | None = [value] * self.world_size if self.is_main else None
        dist.gather_object(value, values, dst=0, group=self._control)
        return values or []

    def sum(self, numbers: list[float], *, is_patient: bool = False) -> list[float]:
        """Add up over the processes, in float64, on the host.

        Args:
            is_patient: wait for the others however long they take.

        Raises:
            ProcessesError: a process has not come in time.
        """
        if self._control is None:
            return numbers
        vector = torch.tensor(numbers, dtype=torch.float64)
        self._wait_for(dist.all_reduce(vector, group=self._control, async_op=True), is_patient=is_patient)
        return [float(number) for number in vector]

    def sum_in_place(self, tensor: Tensor) -> None:
        """Add up a tensor over the processes, on its device."""
        if self.world_size > 1:
            dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up anywhere."""
        return self.sum([float(flag)])[0] > 0

    def asked(self, status: int) -> int:
        """The exit status that a signal to any process asks for; 0: go on."""
        return status_of(self.sum(flags_of(status)))

    def wait(self) -> None:
        """Return when all have come here, however long they take."""
        self.sum([0.0], is_patient=True)

    def _wait_for(self, work: dist.Work, *, is_patient: bool) -> None:
        """Wait for a collective in short naps, between which Python hears signals."""
        assert self._notices is not None
        self._waits += 1
        self._is_waiting = True
        began, has_come, patience = time.monotonic(), False, self._hang_seconds
        pause, longest = _PAUSES
        while not work.is_completed():
            time.sleep(pause)
            pause = min(1.5 * pause, longest)
            waited = time.monotonic() - began
            if not has_come and waited > min(_COME_SECONDS, self._hang_seconds / 2):
                self._notices.come(self._waits)
                has_come = True
            if waited > patience:
                if not is_patient:
                    raise self._hung(waited)
                logger.info(
                    "process %d has waited for process %s for %d minutes", self.rank, self._missing(), waited / 60
                )
                patience += self._hang_seconds
        work.wait()  # raises what went wrong
        self._is_waiting = False

    def _hung(self, waited: float) -> ProcessesError:
        return ProcessesError(
            f"process {self._missing()} of the {self.world_size} has not answered for {waited / 60:.3g} minutes, "
            "expected all at the same step within train.hang_minutes. See what it hangs on, end it, and launch the "
            "same command to go on from the newest checkpoint."
        )

    def _missing(self) -> str:
        assert self._notices is not None
        return " and ".join(map(str, self._notices.missing(self._waits)))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Training with the others; whatever way one of them goes, this process ends as well.

        Raises:
            ProcessesError: another process is gone, or does not answer.
        """
        try:
            yield
        except RuntimeError as error:  # of torch.distributed
            if self.world_size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise ProcessesError(
                f"another of the {self.world_size} processes is gone or does not answer "
                f"({str(error).splitlines()[0]}), expected all to the end. Its own output says why; launch the same "
                "command to go on from the newest checkpoint."
            ) from error
        except SystemExit as ending:
            if self._notices is not None and isinstance(ending.code, int) and ending.code in STATUS.values():
                self._notices.leave(ending.code)
                if self._is_waiting:
                    end_at_once(ending.code)
            raise
        finally:
            self.leave()

    def leave(self) -> None:
        """Take leave of the others."""
        if self._notices is not None:
            self._notices.end()
        if self.world_size > 1:
            dist.destroy_process_group()


def _status_of(error: BaseException | None) -> float:
    """Exit status that a failure on the main process means for all of them."""
    if error is None:
        return 0.0
    return float(error.code) if isinstance(error, SystemExit) and isinstance(error.code, int) else _MISTAKE


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
