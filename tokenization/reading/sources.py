"""A corpus as sources: files, or shards of a data set, each known by its content and read on its own.

A source can be pickled, so that several processes can each read theirs.
"""

from dataclasses import dataclass
from pathlib import Path

DECOMPRESSED = (".gz", ".zst")
"""Endings of compressed text files; what stands before them says how the text is read."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file with the sha256 (hex) of its bytes and its size in bytes."""

    path: Path
    digest: str
    num_bytes: int

    @property
    def origin(self) -> str:
        return str(self.path)

    @property
    def is_compressed(self) -> bool:
        return self.path.suffix.lower() in DECOMPRESSED

    @property
    def kind(self) -> str:
        """The ending that says how the file is read, such as .jsonl, without .gz or .zst."""
        return kind_of(self.path)


@dataclass(frozen=True, slots=True)
class ShardSource:
    """One shard of a data set that `datasets` streams."""

    path: str
    """owner/name on the Hub, or a local folder."""
    name: str | None
    """Configuration; None: the only one."""
    split: str
    identity: str
    """The commit on the Hub, or of a local folder the sha256 (hex) of its files and their names."""
    shard: int
    """Which of the num_shards, from 0."""
    num_shards: int
    digest: str
    """sha256 (hex) of path, identity, configuration, split and shard; a local path is left out."""

    kind = "dataset"
    num_bytes = 0
    is_compressed = False

    @property
    def origin(self) -> str:
        name = f"/{self.name}" if self.name else ""
        return f"{self.path}@{self.identity[:8]}{name}/{self.split}[{self.shard + 1} of {self.num_shards}]"


Source = FileSource | ShardSource
"""Has `digest` (hex), `kind` (the key of its reader), `num_bytes` (0: unknown) and `origin` (its name in messages)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of a corpus, each content once, in the order of their digests."""

    train: tuple[Source, ...]
    held_out: tuple[Source, ...]


def kind_of(path: Path) -> str:
    """The ending of a file, in small letters and without .gz or .zst."""
    return (path.with_suffix("") if path.suffix.lower() in DECOMPRESSED else path).suffix.lower()
