"""The token store: a corpus as token ids on disk, memory-mapped, with the sentences and documents that they make up.

    manifest.json                                   settings, sources, versions, counts; size and sha256 of every file
    tokenizer/                                      a transformers tokenizer folder
    shards/<section>-<shard>/<split>_ids.npy        uint16 or uint32
    <split>/{sentence,document}_offsets.npy         int64, over all shards

Differs from datasets' cache: a store that lacks a file, or has one of another size, is refused on opening, and `verify`
finds any byte that changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenization.preparing.arrays import read_array
from tokenization.preparing.manifest import ManifestError, read_manifest
from tokenization.preparing.shards import SPLITS, file_digest
from tokenization.token_ids import TokenIds
from tokenization.vocabulary import Vocabulary

HASHED_BYTES = 1 << 30
"""A store of at most this size is read whole when it is opened."""
_SAMPLED = 1 << 20  # tokens, spread evenly over the split


class StoreError(ValueError):
    """A token store that cannot be opened or written. The message says what was got, what was expected, what to do."""


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """The training or the held-out documents as memory-mapped arrays, in the order of the corpus."""

    ids: TokenIds | np.ndarray
    """(num_tokens,) uint16, or uint32 if the vocabulary has more than 65,536 entries: no special token among them
    but the unknown one. Has len(), slices and arrays of indices."""
    sentence_offsets: np.ndarray
    """(num_sentences + 1,) int64, in tokens: sentence s is ids[sentence_offsets[s]:sentence_offsets[s + 1]]."""
    document_offsets: np.ndarray
    """(num_documents + 1,) int64, in sentences. No document and no sentence is empty."""

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def num_sentences(self) -> int:
        return len(self.sentence_offsets) - 1

    @property
    def num_documents(self) -> int:
        return len(self.document_offsets) - 1

    def unigram_nats(self) -> float:
        """Entropy of the tokens, in nats, from a million of them: the loss of a model that knows no more."""
        sample = self.ids[np.linspace(0, self.num_tokens - 1, min(self.num_tokens, _SAMPLED), dtype=np.int64)]
        counts = np.bincount(sample)
        shares = counts[counts > 0] / max(1, counts.sum())
        return float(-(shares * np.log(shares)).sum())


@dataclass(frozen=True, eq=False)
class TokenStore:
    """A corpus as token ids on disk, with the tokenizer that made them."""

    path: Path
    manifest: dict[str, Any]
    """What the store is made of: settings, sources, versions, counts, and the size and sha256 of each of its files."""
    train: TokenSplit
    held_out: TokenSplit
    vocabulary: Vocabulary

    @property
    def tokenizer_path(self) -> Path:
        """A transformers tokenizer folder inside the store."""
        return self.path / "tokenizer"

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over the content of the corpus, the settings and the libraries."""
        return str(self.manifest["fingerprint"])

    @classmethod
    def open(cls, path: str | Path) -> "TokenStore":
        """Open a store that was prepared before.

        Of a store of up to 1 GiB every file is held against its sha256, which takes a second; of a larger one the
        manifest and the tokenizer, the rest by size: `verify` reads the whole.

        Raises:
            StoreError: there is no whole store of this format.
        """
        path = Path(path)
        try:
            manifest = read_manifest(path)
        except ManifestError as error:
            raise _damaged(path, str(error)) from error
        is_small = sum(entry["bytes"] for entry in manifest["files"].values()) <= HASHED_BYTES
        for name, entry in manifest["files"].items():
            got = (path / name).stat().st_size if (path / name).is_file() else None
            if got != entry["bytes"]:
                found = "no such file" if got is None else f"{got} bytes"
                raise _damaged(path, f"{name}: got {found}, expected {entry['bytes']} bytes")
            if is_small or name.startswith("tokenizer/"):
                _check_digest(path, name, entry)
        return cls(
            path=path,
            manifest=manifest,
            train=_open_split(path, manifest, "train"),
            held_out=_open_split(path, manifest, "held_out"),
            vocabulary=Vocabulary.from_folder(path / "tokenizer"),
        )

    def verify(self) -> Iterator[str]:
        """Read every file whole and hold it against the manifest; gives the name of each that is as it was written.

        Raises:
            StoreError: at the first file that is not.
        """
        for name, entry in self.manifest["files"].items():
            _check_digest(self.path, name, entry)
            yield name


def _check_digest(path: Path, name: str, entry: dict[str, Any]) -> None:
    try:
        digest = file_digest(path / name)
    except OSError as error:
        raise _damaged(path, f"{name}: cannot be read ({error.strerror})") from error
    if digest != entry["sha256"]:
        raise _damaged(path, f"{name}: got other bytes than were written, expected sha256 {entry['sha256']}")


def _open_split(path: Path, manifest: dict[str, Any], split: str) -> TokenSplit:
    assert split in SPLITS
    try:
        sentences, documents = (read_array(path / split / f"{kind}_offsets.npy") for kind in ("sentence", "document"))
        shards = [(path / name, length) for name, length in manifest["shards"][split] if length]
        ids = TokenIds([file for file, _ in shards], [length for _, length in shards], manifest["dtype"])
        consistent = documents[-1] == len(sentences) - 1 and sentences[-1] == len(ids)
    except (OSError, ValueError, IndexError) as error:
        raise _damaged(path, f"{split}: got arrays that cannot be read ({error}), expected .npy files") from error
    if not consistent:
        raise _damaged(path, f"{split}: got offsets that do not end at the last token, expected them to")
    return TokenSplit(ids=ids, sentence_offsets=sentences, document_offsets=documents)


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(f"{path}: {what}.\nDelete this folder and prepare the corpus again.")
