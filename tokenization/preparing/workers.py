"""Worker processes of this machine, by joblib: the same work for many tasks, on all cores.

This module is what a worker imports beside the work itself, so it imports nothing of ours.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

_WATCH_SECONDS = 0.5


class WorkerError(ValueError):
    """A worker process was killed, most often because memory ran out."""


def for_each(work: Callable[..., None], tasks: Iterable[tuple[Any, ...]], count: int, description: str) -> None:
    """Do the work for each task, in worker processes if there is more than one task and more than one core.

    Args:
        tasks: the arguments of each; they are asked for one by one, as workers become free.
        count: how many they are.

    Raises:
        WorkerError: a worker process was killed. What the work raises is raised here.
    """
    bar = tqdm(total=count, desc=description, disable=None, leave=False)
    workers = min(cpu_count(), count)
    try:
        if workers < 2:
            for task in tasks:
                work(*task)
                bar.update()
            return
        # Texts are sent through a pipe: joblib would have arrays mapped from files of its own.
        pool = Parallel(
            n_jobs=workers, return_as="generator_unordered", pre_dispatch="1.5*n_jobs", batch_size=1, max_nbytes=None
        )
        for _ in pool(delayed(_in_worker)(work, task) for task in tasks):
            bar.update()
    except TerminatedWorkerError as error:
        raise WorkerError(
            "a worker process was killed, most often because memory ran out; expected it to finish its part of the "
            "corpus.\nFree some memory and launch the same command again: what is finished is kept."
        ) from error
    finally:
        bar.close()


def _in_worker(work: Callable[..., None], task: tuple[Any, ...]) -> None:
    # There is a worker for each core, so that none needs threads.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _leave_with_the_parent()
    work(*task)


@cache
def _leave_with_the_parent() -> None:
    """Have this process end when the one that started it does, which joblib's workers would outlive by minutes."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
