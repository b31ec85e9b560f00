"""Preparing a store on all cores of this machine, by joblib's worker processes.

Workers import no network library, and each holds the text of one shard, so that memory depends on the number of cores
and not on the corpus.
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

from tokenization.merging import merge
from tokenization.preparation import Preparation
from tokenization.sections import Section
from tokenization.shards import Shard, Text, Writing, write_shard

_SECTIONS_PER_WORKER = 4  # with as many, a worker that reads its own sections is never long without work
_WATCH_SECONDS = 0.5


def prepare_here(preparation: Preparation) -> None:
    """Go through all stages; what an earlier try finished is not done again.

    Raises:
        CorpusError, VocabularyError: what the stages raise.
        WorkerError: a worker process was killed.
    """
    sections = preparation.sections
    _for_each(_survey, ((preparation, section) for section in sections), len(sections), "reading")
    preparation.decide()
    shards = [shard for section in sections for shard in preparation.missing(section)]
    if len(sections) >= _SECTIONS_PER_WORKER * cpu_count():
        tasks = ((preparation, section) for section in sections)
        _for_each(_write_section, tasks, len(sections), "tokenising")
    else:
        _for_each(write_shard, _shard_tasks(preparation), len(shards), "tokenising")
    merge(preparation)


class WorkerError(ValueError):
    """A worker process was killed, most often because memory ran out."""


def _shard_tasks(preparation: Preparation) -> Iterable[tuple[Writing, Shard, list[Text]]]:
    for section in preparation.sections:
        for shard, texts in preparation.shard_texts(section):
            yield preparation.writing, shard, texts


def _survey(preparation: Preparation, section: Section) -> None:
    preparation.survey(section)


def _write_section(preparation: Preparation, section: Section) -> None:
    preparation.write(section)


def _for_each(work: Callable[..., None], tasks: Iterable[tuple[Any, ...]], count: int, description: str) -> None:
    """Do the work for each task, in worker processes if there is more than one task and more than one core."""
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
