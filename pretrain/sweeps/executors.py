"""Where the cells of a sweep are run: by workers here, or by an engine on other machines.

A sweep is no scheduler: here cells wait for one of a few workers, and beyond one machine submitit hands them to Slurm
and Ray to a Ray cluster, which queue and place them. Every machine sees the same disk.
"""

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import torch

from pretrain.recipe import RecipeError
from pretrain.sweeps.children import CellFailed, CellStopped, Share
from pretrain.sweeps.running import Job, conduct

_LOOKING_SECONDS = 0.2
INSTALL = "pip install 'clozekit[{extra}]'"

Ended = tuple[Job, str]
"""A job that is over, and what went wrong; empty: nothing."""


class Executor(Protocol):
    """Runs jobs; gives each as it ends."""

    def run(self, jobs: Sequence[Job], stopping: Callable[[], bool]) -> Iterator[Ended]:
        """Run the jobs in this order as far as there is room.

        Once `stopping` says so, no job is started any more, those under way are asked to end, and the iterator ends
        when they have.
        """
        ...


class Workers:
    """Workers on this machine, each with its share of the cores (and of the GPUs, if there are any)."""

    def __init__(self, num_workers: int) -> None:
        """
        Raises:
            RecipeError: more workers than cores.
        """
        self._shares = shares_of(num_workers)

    def run(self, jobs: Sequence[Job], stopping: Callable[[], bool]) -> Iterator[Ended]:
        free: SimpleQueue[Share] = SimpleQueue()
        for share in self._shares:
            free.put(share)
        stopped = threading.Event()

        def work(job: Job) -> str:
            share = free.get()
            try:
                if stopped.is_set():
                    raise CellStopped
                conduct(job, share=share, stopping=stopped.is_set)
            except CellFailed as failure:
                return str(failure)
            finally:
                free.put(share)
            return ""

        with ThreadPoolExecutor(len(self._shares), thread_name_prefix="cell") as pool:
            try:
                pending = {pool.submit(work, job): job for job in jobs}
                while pending:
                    done, _ = wait(pending, timeout=_LOOKING_SECONDS, return_when=FIRST_COMPLETED)
                    if stopping():
                        stopped.set()
                    for future in done:
                        job = pending.pop(future)
                        if not isinstance(future.exception(), CellStopped):
                            yield job, future.result()
            finally:
                stopped.set()


def shares_of(num_workers: int) -> list[Share]:
    """The cores and GPUs of each worker. No one's cores overlap; of fewer GPUs than workers some are shared.

    Raises:
        RecipeError: more workers than cores.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = sorted(allowed)
    if not 1 <= num_workers <= len(cores):
        raise RecipeError(f"--jobs got {num_workers}, expected 1 to {len(cores)}, the cores of this machine.")
    size, num_devices = len(cores) // num_workers, torch.cuda.device_count()
    return [
        Share(tuple(cores[at * size : (at + 1) * size]), _devices(at, num_workers, num_devices))
        for at in range(num_workers)
    ]


def _devices(worker: int, num_workers: int, num_devices: int) -> str | None:
    """The GPUs of a worker; None where there is nothing to share out."""
    if num_devices == 0 or num_workers == 1:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(num_devices)))).split(",")
    own = visible[worker::num_workers] or [visible[worker % len(visible)]]
    return ",".join(own)


def on_another_machine(job: Job, folder: str) -> str:
    """What an engine runs: a cell to its end; gives what went wrong, empty if nothing did.

    Args:
        folder: the sweep's working directory, which paths are relative to.
    """
    os.chdir(folder)
    try:
        conduct(job)
    except CellFailed as failure:
        return str(failure)
    return ""


class Slurm:
    """Jobs of Slurm by submitit (https://github.com/facebookincubator/submitit); cluster=local: processes here."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        """
        Args:
            folder: for what submitit keeps of its jobs.
            options: of submitit, such as slurm_partition=gpu, timeout_min=60, slurm_array_parallelism=8.

        Raises:
            RecipeError: submitit is not installed, or does not know an option.
        """
        submitit, options = _library("submitit", extra="slurm"), dict(options)
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=options.pop("cluster", "slurm"))
            self._executor.update_parameters(**options)
        except (AssertionError, NameError, TypeError, ValueError, RuntimeError) as error:
            raise RecipeError(f"--option: submitit refuses it ({error}), expected its own parameters.") from error

    def run(self, jobs: Sequence[Job], stopping: Callable[[], bool]) -> Iterator[Ended]:
        with self._executor.batch():  # one array of jobs
            submitted = [(self._executor.submit(on_another_machine, job, os.getcwd()), job) for job in jobs]
        pending = dict(enumerate(submitted))
        pause = threading.Event()
        while pending:
            for number, (task, job) in list(pending.items()):
                if task.done():
                    del pending[number]
                    failure = task.exception()
                    yield job, str(failure) if failure is not None else task.result()
            if stopping():
                for task, _ in pending.values():
                    task.cancel()
                return
            pause.wait(_LOOKING_SECONDS)


class Ray:
    """Tasks of a Ray cluster (https://docs.ray.io)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """
        Args:
            options: address of the cluster (left out: a cluster of this machine alone), and of `ray.remote`, such as
                num_cpus=4, num_gpus=1.

        Raises:
            RecipeError: Ray is not installed, or does not know an option.
        """
        ray, options = _library("ray", extra="ray"), dict(options)
        try:
            ray.init(address=options.pop("address", None), include_dashboard=False, ignore_reinit_error=True)
            # Where a worker is lost, the cell is run again and goes on from its checkpoint.
            self._task = ray.remote(on_another_machine).options(**{"num_cpus": 1, "max_retries": 3, **options})
        except (ConnectionError, TypeError, ValueError) as error:
            raise RecipeError(f"--option: Ray refuses it ({error}), expected its own parameters.") from error

    def run(self, jobs: Sequence[Job], stopping: Callable[[], bool]) -> Iterator[Ended]:
        import ray

        pending = {self._task.remote(job, os.getcwd()): job for job in jobs}
        try:
            while pending:
                done, _ = ray.wait(list(pending), timeout=_LOOKING_SECONDS)
                for reference in done:
                    job = pending.pop(reference)
                    try:
                        yield job, ray.get(reference)
                    except ray.exceptions.RayError as error:
                        yield job, f"Ray lost it: {error}"
                if stopping():
                    return
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _library(name: str, *, extra: str) -> Any:
    """An engine's library, which is only imported where it is asked for."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RecipeError(
            f"--executor {extra} needs {name}, which is not installed here; expected it to be. "
            f"Install it ({INSTALL.format(extra=extra)}), or leave --executor out."
        ) from None
