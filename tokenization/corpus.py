"""The corpus: texts as a stream of documents, in an order and a held-out split that only content decides.

Reads .txt, .jsonl, .json, .csv (each plain, .gz or .zst), .parquet, .arrow, folders of them, folders that `datasets`
saved, and data sets that `datasets` streams. Differs from datasets.load_dataset: files with differing columns are read,
an error names file and line, and moving or renaming files changes nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from tokenization.reading.digests import Digests
from tokenization.reading.documents import CorpusError, Document, Problems, Reading, Unreadable
from tokenization.reading.files import find_files
from tokenization.reading.hub import HubDataset, find_shards
from tokenization.reading.readers import READERS
from tokenization.reading.sources import FileSource, ShardSource, Source, Sources

__all__ = [
    "Corpus",
    "CorpusError",
    "Document",
    "FileSource",
    "HeldOutFiles",
    "HubDataset",
    "Problems",
    "ShardSource",
    "Source",
    "Sources",
    "held_out_share",
    "is_held_out",
    "read_documents",
    "read_splits",
    "resolve_sources",
]


class HeldOutFiles(BaseModel, frozen=True, extra="forbid"):
    """Whole files kept for evaluation."""

    files: tuple[str, ...] = Field(min_length=1)
    """Files, folders or globs, as in corpus.files. Files that corpus.files names as well are not trained on."""


Share = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Corpus(BaseModel, frozen=True, extra="forbid"):
    """Which text is read, and which part of it is kept for evaluation; either files or a dataset."""

    files: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Files, folders (all that can be read below them), globs (`**` goes into folders) or folders that `datasets`
    saved, relative to the working directory. .txt, .jsonl, .json and .csv may end in .gz or .zst; .parquet and .arrow
    are read as well."""

    dataset: HubDataset | None = Field(default=None, validate_default=True)
    """A data set on the Hub that is streamed, instead of files: {path: owner/name, split: train}."""

    text_field: str = Field(default="text", min_length=1)
    """The key or column of a row that holds the document; the others are passed over. A .txt has no rows."""

    txt_document: Literal["blank_line", "file"] = "blank_line"
    """What ends a document of a .txt: a blank line, or the end of the file."""

    sentences: Literal["detected", "lines"] = "detected"
    """How a document is cut into sentences: by the rules of its language, or one a line (blank lines are none)."""

    duplicate_documents: Literal["keep", "drop"] = "keep"
    """What is done with a document of exactly the same text as an earlier one; drop: the first one stays."""

    duplicate_lines: Literal["keep", "drop"] = "keep"
    """What is done with a line of exactly the same text as an earlier one of any document; drop: the first one stays,
    and a document that has no line left is left out."""

    held_out: Share | HeldOutFiles = 0.01
    """Share of documents kept for evaluation, in [0, 1), or {files: [...]}. A share is drawn by each document's own
    text, so adding files moves no document from one side to the other and equal documents are on the same side."""

    on_error: Literal["stop", "skip"] = "stop"
    """What a bad place does: stop with an error, or be left out, counted and reported. A source that cannot be read on
    is left out from there; one that is missing, empty or not to be reached stops in any case."""

    language: str = Field(default="en", min_length=2)
    """ISO 639 code of the language whose rules find the sentences."""

    license: str | None = None
    """Licence of the texts, such as cc0-1.0, for the model card; it changes nothing else."""

    @field_validator("dataset")
    @classmethod
    def _files_or_dataset(cls, dataset: HubDataset | None, info: ValidationInfo) -> HubDataset | None:
        if "files" in info.data and (info.data["files"] is None) == (dataset is None):
            both = dataset is not None
            raise PydanticCustomError(
                "exactly_one",
                "got {given}, expected exactly one of files, dataset; {hint}",
                {
                    "given": "files and dataset" if both else "none of them",
                    "hint": "to change over by an override, add corpus.files=null"
                    if both
                    else "name the texts, such as files: ['texts/*.jsonl.gz']",
                },
            )
        return dataset

    @property
    def named(self) -> str:
        """The setting that names the texts and what it says, for messages."""
        if self.dataset is not None:
            return f"corpus.dataset: {self.dataset.path}, split {self.dataset.split}"
        return f"corpus.files: {', '.join(self.files or ())}"


def resolve_sources(corpus: Corpus, *, digests: Path | None = None) -> Sources:
    """Find the sources of a corpus and read each file once for its digest.

    Args:
        digests: a small JSON file that remembers digests from launch to launch (`Digests` says what that trusts), so
            that a big corpus need not be read only to know it; None: nothing is remembered.

    Returns:
        Training and held-out sources, each content once, ordered by digest: neither names nor folders matter. A shard
        of a data set has a digest of its place in a commit, and not of its bytes.

    Raises:
        CorpusError: a pattern that matches nothing, a missing, empty or unreadable file, an ending that is not known,
            a data set that is not to be had, or no source left to train on.
    """
    known = Digests(digests)
    held_out_patterns = corpus.held_out.files if isinstance(corpus.held_out, HeldOutFiles) else ()
    held_out: dict[str, Source] = {**find_files(held_out_patterns, known, setting="corpus.held_out.files")}
    if corpus.dataset is not None:
        train: dict[str, Source] = {shard.digest: shard for shard in find_shards(corpus.dataset, known)}
    else:
        train = {**find_files(corpus.files or (), known, setting="corpus.files")}
    known.save()
    for digest in held_out:
        train.pop(digest, None)
    if not train:
        raise CorpusError(
            f"corpus.files: got only files that are held out as well ({', '.join(corpus.files or ())}), "
            "expected at least one to train on.\nAdd training files, or name fewer in corpus.held_out.files."
        )
    return Sources(train=tuple(train[digest] for digest in sorted(train)), held_out=tuple(held_out.values()))


def read_documents(sources: Iterable[Source], corpus: Corpus, problems: Problems) -> Iterator[Document]:
    """Give the documents of sources one after another; memory holds one document, or one batch of rows of a table.

    NUL and other control characters are text like any other.

    Raises:
        CorpusError: at the first bad place, if `problems` is to stop at one; in any case where the system or the
            network fails.
    """
    reading = Reading(text_field=corpus.text_field, txt_document=corpus.txt_document)
    for source in sources:
        num_documents = 0
        try:
            for document in READERS[source.kind](source, reading, problems):
                if document.text and not document.text.isspace():
                    num_documents += 1
                    yield document
                else:
                    got = f"{document.origin}: got a document without any text, expected some."
                    problems.add("document without text", got, "Remove it")
        except Unreadable as fault:
            problems.add(fault.reason, fault.message, fault.remedy)
            continue
        if num_documents == 0:
            got = f"{source.origin}: got no document at all, expected at least one."
            problems.add("source without a document", got, "Remove it from the corpus")


def read_splits(sources: Sources, corpus: Corpus, problems: Problems) -> Iterator[tuple[bool, Document]]:
    """Give every document of a corpus with whether it is held out, in the order of the sources.

    Raises:
        CorpusError: as for `read_documents`.
    """
    share = held_out_share(corpus)
    for document in read_documents(sources.train, corpus, problems):
        yield is_held_out(document.text, share=share), document
    for document in read_documents(sources.held_out, corpus, problems):
        yield True, document


def held_out_share(corpus: Corpus) -> float:
    """The share of the documents of the training sources that is held out; 0 where whole files are."""
    return 0.0 if isinstance(corpus.held_out, HeldOutFiles) else corpus.held_out


def is_held_out(text: str, *, share: float) -> bool:
    """Whether a document belongs to the held-out share: decided by blake2b of its text and by nothing else."""
    draw = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return draw < share * 2.0**64
