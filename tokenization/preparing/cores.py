"""Preparing a store on all cores of this machine.

Workers import no network library, and each holds the text of one shard, so that memory depends on the number of cores
and not on the corpus.
"""

from collections.abc import Iterable

from joblib import cpu_count

from tokenization.preparing.merging import merge
from tokenization.preparing.preparation import Preparation
from tokenization.preparing.sections import Section
from tokenization.preparing.shards import Shard, Text, Writing, write_shard
from tokenization.preparing.workers import for_each

_SECTIONS_PER_WORKER = 4  # with as many, a worker that reads its own sections is never long without work


def prepare_here(preparation: Preparation) -> None:
    """Go through all stages; what an earlier try finished is not done again.

    Raises:
        CorpusError, VocabularyError: what the stages raise.
        WorkerError: a worker process was killed.
    """
    sections = preparation.sections
    for_each(_survey, ((preparation, section) for section in sections), len(sections), "reading")
    preparation.decide()
    shards = [shard for section in sections for shard in preparation.missing(section)]
    if len(sections) >= _SECTIONS_PER_WORKER * cpu_count():
        tasks = ((preparation, section) for section in sections)
        for_each(_write_section, tasks, len(sections), "tokenising")
    else:
        for_each(write_shard, _shard_tasks(preparation), len(shards), "tokenising")
    merge(preparation)


def _shard_tasks(preparation: Preparation) -> Iterable[tuple[Writing, Shard, list[Text]]]:
    for section in preparation.sections:
        for shard, texts in preparation.shard_texts(section):
            yield preparation.writing, shard, texts


def _survey(preparation: Preparation, section: Section) -> None:
    preparation.survey(section)


def _write_section(preparation: Preparation, section: Section) -> None:
    preparation.write(section)
