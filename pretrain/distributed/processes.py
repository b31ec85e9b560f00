"""The processes of a run: which device each has, how they add up, and what the launcher asked for.

Accelerate places the model and casts to mixed precision; the order of the data, the schedule and the division of the
loss stay with us. Distributed setups that the kit does not train are refused in a sentence instead of half working.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    InitProcessGroupKwargs,
    parse_flag_from_env,
)
from torch import Tensor

from pretrain.distributed.launchers import (
    LaunchError,
    check_launcher,
    follow_launcher,
    resolve_precision,
    use_all_cores,
)
from pretrain.distributed.meeting import meeting_address
from pretrain.distributed.notices import Notices
from pretrain.distributed.signals import STATUS, end_at_once, flags_of, status_of

HANG_MINUTES = 30.0
"""Minutes after which a process that the others wait for within a step is taken for hung, unless told otherwise."""

_Result = TypeVar("_Result")
_FOREVER = timedelta(days=365)  # of sums on the control group, whose patience is our own
_PAUSES = (20e-6, 20e-3)  # seconds between two looks whether the others have come: the shortest and the longest
_MISTAKE = 2.0
_COME_SECONDS = 2.0  # after which a process that waits says so
_TRAINABLE = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)

logger = logging.getLogger(__name__)


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
        hang = timedelta(minutes=hang_minutes)
        self._control = dist.new_group(backend="gloo", timeout=hang) if self.world_size > 1 else None
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
        check_launcher()
        follow_launcher()
        on_cpu = not torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU")
        resolved = resolve_precision(mixed_precision, os.environ.get("ACCELERATE_MIXED_PRECISION"), on_cpu=on_cpu)
        try:
            accelerator = Accelerator(
                cpu=on_cpu,
                mixed_precision=resolved,
                log_with=list(trackers) or None,
                project_dir=folder,
                kwargs_handlers=[
                    InitProcessGroupKwargs(init_method=meeting_address(), timeout=timedelta(minutes=hang_minutes)),
                    # It keeps the gradients' buckets as they are at first: torch cuts them anew after the first step,
                    # which would add up in another order for three processes or more, and a resumed run begins again.
                    DistributedDataParallelKwargs(find_unused_parameters=_num_launched() > 2),
                ],
            )
            others = cls(accelerator, hang_minutes)
        except RuntimeError as error:
            if not _is_of_others(error):
                raise
            raise ProcessesError(
                f"the other processes were not met within {hang_minutes:g} minutes ({_reason(error)}), "
                f"expected WORLD_SIZE = {os.environ.get('WORLD_SIZE')} that start together. Start them all again."
            ) from error
        if accelerator.distributed_type not in _TRAINABLE:
            raise LaunchError(
                f"accelerate is set up for {accelerator.distributed_type.value}, expected one process, several CPU "
                "processes or several GPUs. Set distributed_type to NO or MULTI_GPU in the accelerate configuration."
            )
        if on_cpu:
            use_all_cores()
        return others

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
            (status,) = self.sum([_status_of(error)], is_patient=not self.is_main)
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
        self.wait()  # in naps, which torch's own way to send objects does not take
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def gather(self, value: _Result) -> list[_Result]:
        """The values of all processes by rank, on the main one; the others get an empty list."""
        if self._control is None:
            return [value]
        self.sum([0.0])  # as above
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
        self._wait_for(self._control.allreduce([vector], timeout=_FOREVER), is_patient=is_patient)
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
            if not has_come and waited > min(_COME_SECONDS, self._hang_seconds / 4):
                self._notices.come(self._waits)
                has_come = True
            if waited > patience:
                if not is_patient:
                    raise self._hung(waited)
                logger.info("process %d waits for %s, %.3g minutes so far", self.rank, self._missing(), waited / 60)
                patience += self._hang_seconds
        work.wait()  # raises what went wrong
        self._is_waiting = False

    def _hung(self, waited: float) -> ProcessesError:
        return ProcessesError(
            f"{self._missing()} of the {self.world_size} has not answered for {waited / 60:.3g} minutes, "
            "expected all at the same step within train.hang_minutes. See what it hangs on, end it, and launch the "
            "same command to go on from the newest checkpoint."
        )

    def _missing(self) -> str:
        assert self._notices is not None
        return " and ".join(f"process {rank}" for rank in self._notices.missing(self._waits)) or "another process"

    @contextmanager
    def together(self) -> Iterator[None]:
        """Training with the others; whatever way one of them goes, this process ends as well.

        Raises:
            ProcessesError: another process is gone, or does not answer.
        """
        try:
            yield
        except RuntimeError as error:
            if self.world_size == 1 or not _is_of_others(error):
                raise
            if self._notices is not None and self._notices.heard:  # it has left as it was asked to
                end_at_once(self._notices.heard)
            raise ProcessesError(
                f"another of the {self.world_size} processes is gone or does not answer ({_reason(error)}), expected "
                "all to the end. Its own output says why; launch the same command to go on from the newest checkpoint."
            ) from error
        except SystemExit as ending:
            if isinstance(ending.code, int) and ending.code in STATUS.values():
                self.tell(ending.code)
                if self._is_waiting:
                    end_at_once(ending.code)
            raise
        finally:
            self.leave()

    def tell(self, status: int) -> None:
        """Tell the others that this process leaves with the status that a signal asked for."""
        if self._notices is not None:
            self._notices.leave(status)

    def leave(self) -> None:
        """Take leave of the others."""
        if self._notices is not None:
            self._notices.end()
        if self.world_size > 1:
            dist.destroy_process_group()


def _num_launched() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _status_of(error: BaseException | None) -> float:
    """Exit status that a failure on the main process means for all of them."""
    if error is None:
        return 0.0
    return float(error.code) if isinstance(error, SystemExit) and isinstance(error.code, int) else _MISTAKE


def _is_of_others(error: RuntimeError) -> bool:
    """Whether torch.distributed complains of another process."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def _reason(error: Exception) -> str:
    """What torch.distributed says of a failure, without the place in its source and its advice."""
    return re.sub(r"^\[\S+\] ", "", str(error).splitlines()[0]).split(". ")[0]
