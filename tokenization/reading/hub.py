"""Data sets that `datasets` streams, from the Hub or a local folder: each of their shards is a source.

Differs from datasets.load_dataset(streaming=True): what is read is pinned to one commit, so the same recipe and commit
give the same store, and a shard that cannot be read is told by its name. datasets casts all files of a data set to the
columns of the first; files with differing columns are better named in corpus.files.

datasets is imported where it is needed: that takes a second or two.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub import errors as hub_errors
from pydantic import BaseModel, Field

from tokenization.reading.digests import Digests
from tokenization.reading.documents import (
    CorpusError,
    Document,
    Problems,
    Reading,
    SourceLost,
    Unreadable,
    check_columns,
    column_documents,
)
from tokenization.reading.sources import ShardSource

_ROWS_PER_BATCH = 256
_PARQUET_BUFFER_BYTES = 8 << 20  # what is fetched at once

_HUB_REMEDIES: tuple[tuple[type[Exception], str, str], ...] = (
    (hub_errors.GatedRepoError, "is gated", "Ask for access on its page, and log in with `hf auth login`"),
    (
        hub_errors.RepositoryNotFoundError,
        "is not known to the Hub, or private",
        "Correct corpus.dataset.path, or log in with `hf auth login` if it is private",
    ),
    (hub_errors.RevisionNotFoundError, "has no such revision", "Correct corpus.dataset.revision"),
    (hub_errors.HFValidationError, "is no id of a data set and no folder", "Correct corpus.dataset.path: owner/name"),
    (hub_errors.OfflineModeIsEnabled, "cannot be asked for offline", "Unset HF_HUB_OFFLINE"),
)
"""What HfApi raises, what that means, and what to do; the first that fits."""

_LOAD_REMEDIES = (
    ("Bad split", "Correct corpus.dataset.split"),
    ("BuilderConfig", "Correct corpus.dataset.name"),
    ("Config name is missing", "Set corpus.dataset.name"),
    ("save_to_disk", "Name the folder in corpus.files instead"),
    ("scripts are no longer supported", "Choose a data set of files, or convert it and name its files in corpus.files"),
)
"""A part of what datasets says, and what to do."""


class HubDataset(BaseModel, frozen=True, extra="forbid", strict=True):
    """A data set on the Hub, or a folder of data files, which `datasets` streams."""

    path: str = Field(min_length=1)
    """owner/name on the Hub, or a local folder of data files."""
    name: str | None = Field(default=None, min_length=1)
    """Configuration of the data set; null: the only one."""
    split: str = Field(default="train", min_length=1)
    """Split whose documents are read, without a slice: corpus.held_out parts them."""
    revision: str | None = Field(default=None, min_length=1)
    """Commit, branch or tag on the Hub; null: the newest. It is resolved to a commit, which the store is
    known by."""


def find_shards(dataset: HubDataset, digests: Digests) -> list[ShardSource]:
    """Resolve a data set to one commit and give its shards; nothing is read of its documents.

    Args:
        digests: of files, for a local folder.

    Raises:
        CorpusError: the data set, its revision, configuration or split is not there or not to be reached.
    """
    folder = Path(dataset.path)
    if folder.is_dir():
        if dataset.revision is not None:
            raise CorpusError(
                f"corpus.dataset.revision: got {dataset.revision!r} for the local folder {folder}, which has no "
                "revisions, expected null.\nLeave it out."
            )
        identity = _folder_identity(folder, digests)
    else:
        identity = _commit(dataset)
    num_shards = _stream(dataset.path, dataset.name, dataset.split, identity).num_shards
    what = [None if folder.is_dir() else dataset.path, identity, dataset.name, dataset.split, num_shards]
    return [
        ShardSource(
            path=dataset.path,
            name=dataset.name,
            split=dataset.split,
            identity=identity,
            shard=shard,
            num_shards=num_shards,
            digest=hashlib.sha256(json.dumps([*what, shard]).encode()).hexdigest(),
        )
        for shard in range(num_shards)
    ]


def read_shard(source: ShardSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    """Give the documents of a shard, in batches of rows.

    Raises:
        CorpusError: the Hub is not to be reached; that is no fault of the documents and is never skipped.
        Unreadable: the shard has no text field, or is damaged.
    """
    field = reading.text_field
    try:
        shard = _texts(source, field).shard(source.num_shards, source.shard)
        num_rows = 0
        for batch in shard.with_format("arrow").iter(_ROWS_PER_BATCH):
            check_columns(batch.column_names, source.origin, field)
            for column in batch.column(field).chunks:
                yield from column_documents(column, source.origin, num_rows, field, problems)
                num_rows += len(column)
    except (CorpusError, Unreadable):
        raise
    except Exception as error:  # whatever the many builders of datasets raise for a file that they cannot read
        if not _is_damage(error):
            raise SourceLost(
                f"{source.origin}: the data set broke off ({_short(error)}).\nExpected to read it to its end. "
                "Check the network, and launch the same command again."
            ) from error
        raise Unreadable(
            "damaged shard",
            f"{source.origin}: got a shard that datasets cannot read ({_short(error)}), expected rows of one kind.",
            "Download its files and name them in corpus.files, which says what is wrong and where",
        ) from error


def _is_damage(error: Exception) -> bool:
    """Whether an error is about the bytes of a data set, and not about getting them."""
    from datasets.exceptions import DatasetsError

    if isinstance(error, (ConnectionError, TimeoutError, hub_errors.HfHubHTTPError)):
        return False
    # pyarrow raises an OSError without a number for a damaged file.
    from_arrow = isinstance(error, OSError) and error.errno is None
    return from_arrow or isinstance(error, (ValueError, TypeError, KeyError, EOFError, zlib.error, DatasetsError))


def _folder_identity(folder: Path, digests: Digests) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    names = {path.relative_to(folder).as_posix(): digests.of(path)[0] for path in files}
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()


def _commit(dataset: HubDataset) -> str:
    """The commit that a revision of a data set on the Hub stands for now."""
    try:
        sha = HfApi().dataset_info(dataset.path, revision=dataset.revision).sha
    except Exception as error:  # of huggingface_hub, of its HTTP client, or of the system
        meaning, remedy = "cannot be reached", "Check the network, or download its files and name them in corpus.files"
        for kind, its_meaning, its_remedy in _HUB_REMEDIES:
            if isinstance(error, kind):
                meaning, remedy = its_meaning, its_remedy
                break
        at = f" at revision {dataset.revision!r}" if dataset.revision else ""
        raise CorpusError(
            f"corpus.dataset: got {dataset.path!r}{at}, which {meaning} ({_short(error)}).\n"
            f"Expected owner/name of a data set, or a local folder. {remedy}."
        ) from error
    assert sha is not None, "the Hub tells the commit of every data set"
    return sha


def _texts(source: ShardSource, text_field: str) -> Any:
    """The whole data set of a shard, of its columns only that of the text where they are known.

    Raises:
        Unreadable: there is no such column.
    """
    stream = _stream(source.path, source.name, source.split, source.identity)
    if stream.column_names is None:
        return stream
    check_columns(stream.column_names, source.origin, text_field)
    if stream.builder_name == "parquet":
        return _stream(source.path, source.name, source.split, source.identity, parquet_column=text_field)
    return stream.select_columns([text_field])


@lru_cache(maxsize=8)
def _stream(path: str, name: str | None, split: str, identity: str, *, parquet_column: str | None = None) -> Any:
    """The data set as an IterableDataset, found once a process.

    Args:
        identity: the commit, or of a local folder what its content is known by.
        parquet_column: the only one that is fetched, of a data set known to be of .parquet files.
    """
    from datasets import load_dataset

    revision = None if Path(path).is_dir() else identity
    try:
        options = {} if parquet_column is None else _parquet_options(parquet_column)
        return load_dataset(path, name=name, split=split, revision=revision, streaming=True, **options)
    except Exception as error:  # whatever the many builders of datasets raise
        remedies = [remedy for part, remedy in _LOAD_REMEDIES if part in str(error)]
        remedy = remedies[0] if remedies else "Check corpus.dataset, and the network where it is on the Hub"
        raise CorpusError(
            f"corpus.dataset: got {path!r} (name: {name or 'null'}, split: {split}), which cannot be opened "
            f"({_short(error)}).\nExpected a data set with that configuration and split. {remedy}."
        ) from error


def _parquet_options(column: str) -> dict[str, Any]:
    from pyarrow.dataset import ParquetFragmentScanOptions

    # As datasets comes, each file would be held in memory as a whole by the time that its end is read.
    scan = ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True, buffer_size=_PARQUET_BUFFER_BYTES)
    return {"columns": [column], "fragment_scan_options": scan}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
