"""Preparing a store on many machines, by datatrove (https://github.com/huggingface/datatrove), an optional extra.

The stages of a preparation as steps of datatrove pipelines, which its executors run on this machine, on Slurm or on
Ray. Task r of n surveys and writes every n-th section from r on, in a cache folder that all machines must see. A task
that was killed is started again by the same command and writes only what is missing: unlike datatrove's own marks,
which speak of tasks, the shards themselves say what is done. Of its local executor with several workers one thing has
to be known: it waits for ever for a worker that the system killed; end it with Ctrl-C and start the same command again.
"""

import importlib
import shutil
from collections.abc import Mapping
from typing import Any

from datatrove.pipeline.base import PipelineStep
from loguru import logger as datatrove_log

from tokenization.cache import TASKS, Engine
from tokenization.corpus import CorpusError
from tokenization.preparing.merging import merge
from tokenization.preparing.preparation import Preparation
from tokenization.store import StoreError
from tokenization.vocabulary import VocabularyError

# Here, because the processes that run the tasks import this module; datatrove tells every task at length.
datatrove_log.disable("datatrove")

EXECUTORS = {
    "local": ("datatrove.executor.local", "LocalPipelineExecutor"),
    "slurm": ("datatrove.executor.slurm", "SlurmPipelineExecutor"),
    "ray": ("datatrove.executor.ray", "RayPipelineExecutor"),
}
"""Where the class of each executor is; only the one that is used is imported."""


class ExecutorError(StoreError):
    """An executor that is not there or does not take what it was given."""


class Stage(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """One stage of a preparation; each of its tasks does the sections that are its own."""

    type = "clozekit"

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        self.preparation = preparation

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Do the share of a task; called by datatrove."""
        with self.track_time("task"):
            self.do(rank, world_size)

    def do(self, rank: int, world_size: int) -> None:
        raise AssertionError("a stage says what it does")


class Survey(Stage):
    """Reads the task's sections for the first time."""

    name = "survey"

    def do(self, rank: int, world_size: int) -> None:
        for section in self.preparation.sections[rank::world_size]:
            self.preparation.survey(section)


class Decide(Stage):
    """Finds the duplicates of the whole corpus and trains the vocabulary; a single task."""

    name = "decide"

    def do(self, rank: int, world_size: int) -> None:
        self.preparation.decide()


class Write(Stage):
    """Writes the shards of the task's sections that are missing."""

    name = "write"

    def do(self, rank: int, world_size: int) -> None:
        for section in self.preparation.sections[rank::world_size]:
            self.preparation.write(section)


class Merge(Stage):
    """Makes one store of all shards and puts it in its place; a single task."""

    name = "merge"

    def do(self, rank: int, world_size: int) -> None:
        merge(self.preparation)


STAGES: tuple[tuple[type[Stage], bool], ...] = ((Survey, True), (Decide, False), (Write, True), (Merge, False))
"""In order, each with whether many tasks share its work."""


def datatrove_engine(executor: str, *, tasks: int, options: Mapping[str, Any] | None = None) -> Engine:
    """What runs a preparation by datatrove, for `prepare_store`.

    Args:
        executor: local, slurm or ray. Slurm's jobs are only queued: the store is there when the last of them is done.
        tasks: parts that the reading and the writing are cut into.
        options: further arguments of the executor's class, such as workers (local) or partition and time (slurm).

    Raises:
        ExecutorError: the executor is not known or not installed, or does not take these options.
    """
    if executor not in EXECUTORS:
        raise ExecutorError(f"executor: got {executor!r}, expected one of {', '.join(EXECUTORS)}.")
    if tasks < 1:
        raise ExecutorError(f"tasks: got {tasks}, expected 1 or more.")
    module, name = EXECUTORS[executor]
    make = getattr(importlib.import_module(module), name)
    arguments = dict(options or {})
    if executor == "local":
        workers = arguments.setdefault("workers", tasks)
        if not isinstance(workers, int) or workers < 1:
            raise ExecutorError(f"executor local: got workers {workers!r}, expected a whole number of at least 1.")

    def run(preparation: Preparation) -> None:
        logs = preparation.folder.parent.absolute() / f"{TASKS}{preparation.place.name}"
        last = None
        try:
            for stage, is_shared in STAGES:
                number = tasks if is_shared else 1
                fewer = {"workers": min(arguments["workers"], number)} if executor == "local" else {}
                last = make(
                    pipeline=[stage(preparation)],
                    tasks=number,
                    depends=last,
                    logging_dir=str(logs / f"{stage.name}-{number}"),
                    skip_completed=False,
                    **{**arguments, **fewer},
                )
            assert last is not None
            last.run()
        except (StoreError, CorpusError, VocabularyError):
            raise
        except (ImportError, TypeError, ValueError, FileNotFoundError) as error:
            raise ExecutorError(f"executor {executor}: {error}. See datatrove's {name} for what it needs.") from error
        finally:
            if preparation.place.exists() or executor == "local":
                shutil.rmtree(logs, ignore_errors=True)

    return run
