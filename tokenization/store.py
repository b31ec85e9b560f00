"""The token store: a corpus as token ids on disk, memory-mapped, with the sentences and documents that they make up.

A store stands at CACHE_DIR/<first 16 digits of its fingerprint>; the fingerprint covers the bytes of the corpus files,
the settings that change the ids, and the versions of the libraries that make them. It is written beside its place and
renamed into it once, so it is there whole or not at all.

Differs from datasets' cache: the key is content and never a path or a date, and a store that is cut short
or lacks a file is found on opening (a flipped bit within an array is not).
"""

import errno
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from transformers import PreTrainedTokenizerFast

from tokenization.corpus import (
    Corpus,
    CorpusError,
    CorpusFiles,
    HeldOutFiles,
    Problems,
    read_splits,
    resolve_files,
)
from tokenization.trainable import TrainableTokenizer
from tokenization.training import train_tokenizer
from tokenization.vocabulary import TokenizerFolder, Vocabulary, fingerprint_tokenizer, load_tokenizer
from tokenization.writing import SPLITS, sync_path, write_splits

FORMAT_VERSION = 1
"""Of the files of a store; a store of another format is never read."""


_LOG = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_BUILDING = ".building-"
_REPLACED = ".replaced-"
_LIBRARIES = ("sentencex", "tokenizers", "sentencepiece")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreError(ValueError):
    """A token store that cannot be opened or written. The message says what was got, what was expected, what to do."""


# Reading -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """The training or the held-out documents as memory-mapped arrays, in the order of the corpus."""

    ids: np.ndarray
    """(num_tokens,) uint16, or uint32 if the vocabulary has more than 65,536 entries: no special token among them
    but the unknown one."""
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
        """Open a store that was prepared before; nothing is read but its manifest, tokenizer and offsets' ends.

        Raises:
            StoreError: there is no whole store of this format.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        for name, entry in manifest["files"].items():
            got = (path / name).stat().st_size if (path / name).is_file() else None
            if got != entry["bytes"]:
                found = "no such file" if got is None else f"{got} bytes"
                raise _damaged(path, f"{name}: got {found}, expected {entry['bytes']} bytes")
            if name.startswith("tokenizer/") and _digest(path / name) != entry["sha256"]:
                raise _damaged(path, f"{name}: got other bytes than were written, expected {entry['sha256']}")
        return cls(
            path=path,
            manifest=manifest,
            train=_open_split(path, "train"),
            held_out=_open_split(path, "held_out"),
            vocabulary=Vocabulary.from_folder(path / "tokenizer"),
        )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise _damaged(path, f"got no {_MANIFEST}, expected a token store") from error
    except ValueError as error:
        raise _damaged(path, f"{_MANIFEST}: got {error}, expected JSON") from error
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found != FORMAT_VERSION:
        raise _damaged(path, f"got store format {found!r}, expected {FORMAT_VERSION}")
    return dict(manifest)


def _open_split(path: Path, split: str) -> TokenSplit:
    try:
        ids, sentences, documents = (
            np.load(path / split / f"{name}.npy", mmap_mode="r")
            for name in ("ids", "sentence_offsets", "document_offsets")
        )
        consistent = documents[-1] == len(sentences) - 1 and sentences[-1] == len(ids)
    except (OSError, ValueError, IndexError) as error:
        raise _damaged(path, f"{split}: got arrays that cannot be read ({error}), expected .npy files") from error
    if not consistent:
        raise _damaged(path, f"{split}: got offsets that do not end at the last token, expected them to")
    return TokenSplit(ids=ids, sentence_offsets=sentences, document_offsets=documents)


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(f"{path}: {what}.\nDelete this folder and prepare the corpus again.")


# Preparing -----------------------------------------------------------------------------------------------------------


def prepare_store(
    corpus: Corpus,
    tokenizer: TrainableTokenizer | TokenizerFolder,
    *,
    cache_dir: Path,
    log: logging.Logger = _LOG,
) -> TokenStore:
    """Give the store of a corpus under a tokenizer: the one in the cache, or else a new one.

    Of several processes that ask at once, one builds and the others wait for it. A failure of any kind leaves the cache
    as it was.

    Args:
        corpus: files, held-out share and what to do with bad lines.
        tokenizer: a vocabulary to train on the training documents, or a folder that has one.
        cache_dir: made if it is not there.
        log: gets one line per event.

    Raises:
        CorpusError: a file or a line cannot be used, or there is nothing to train on.
        VocabularyError: the vocabulary cannot be trained or the folder's tokenizer cannot be used.
        StoreError: the store cannot be written, for example because the disk is full.
    """
    files = resolve_files(corpus)
    existing = None
    if isinstance(tokenizer, TokenizerFolder):
        existing = load_tokenizer(tokenizer.path, lowercase=tokenizer.lowercase, log=log)
    fingerprint = _fingerprint(corpus, files, tokenizer, existing)
    place = cache_dir / fingerprint[:16]
    if (found := _open_if_whole(place)) is not None:
        return found
    with _only_builder(cache_dir, log):
        if (found := _open_if_whole(place)) is not None:
            return found
        _remove_leftovers(cache_dir)
        building = cache_dir / f"{_BUILDING}{place.name}"
        try:
            building.mkdir()
            _build(building, corpus, files, tokenizer, existing, fingerprint, log)
            _move_into_place(building, place, log)
        except Exception as error:
            if (failure := _write_failure(error, building, files)) is not None:
                raise failure from error
            raise
        finally:
            # Also after Ctrl-C, which is no Exception; after success there is nothing left to remove.
            shutil.rmtree(building, ignore_errors=True)
    return TokenStore.open(place)


def _fingerprint(
    corpus: Corpus,
    files: CorpusFiles,
    tokenizer: TrainableTokenizer | TokenizerFolder,
    existing: PreTrainedTokenizerFast | None,
) -> str:
    """sha256 (hex) of all that decides the content of a store; no path, name or date."""
    content = {
        "format_version": FORMAT_VERSION,
        "versions": {library: version(library) for library in _LIBRARIES},
        "corpus": corpus.model_dump(exclude={"files", "held_out", "license"}),
        "held_out": None if isinstance(corpus.held_out, HeldOutFiles) else float(corpus.held_out),
        "files": {split: [(f.digest, f.kind) for f in getattr(files, split)] for split in SPLITS},
        "tokenizer": tokenizer.model_dump() if existing is None else fingerprint_tokenizer(existing),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _open_if_whole(place: Path) -> TokenStore | None:
    try:
        return TokenStore.open(place)
    except StoreError:
        return None


@contextmanager
def _only_builder(cache_dir: Path, log: logging.Logger) -> Iterator[None]:
    """Hold the one right to build in a cache folder, which is made if it is not there."""
    lock = FileLock(cache_dir / ".lock")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        log.info("store: waiting for another process that builds in %s", cache_dir)
        lock.acquire()
    except OSError as error:
        raise _not_writable(cache_dir, error) from error
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(cache_dir: Path) -> None:
    # Whoever made these is dead: only the holder of the lock, which is us, makes any.
    for prefix in (_BUILDING, _REPLACED):
        for leftover in cache_dir.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _move_into_place(building: Path, place: Path, log: logging.Logger) -> None:
    """Rename a finished store to its place; what stands there, a store that did not open, is removed."""
    replaced = None
    if place.exists():
        log.warning("store: %s is damaged and is replaced", place)
        replaced = place.with_name(f"{_REPLACED}{place.name}")
        place.rename(replaced)
    building.rename(place)
    sync_path(place.parent)
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _write_failure(error: Exception, building: Path, files: CorpusFiles) -> StoreError | None:
    """What to tell the user of an error while a store was written; None if the error is no fault of the disk."""
    # The tokenizers library raises a bare Exception with the system's text.
    full = error.errno in _DISK_FULL if isinstance(error, OSError) else f"(os error {errno.ENOSPC})" in str(error)
    if not full:
        return _not_writable(building.parent, error) if isinstance(error, OSError) else None
    written = sum(path.stat().st_size for path in building.rglob("*") if path.is_file())
    # As measured on English: a text is three times its .gz, and a store is half its text.
    estimate = sum(file.num_bytes * (1.5 if file.is_compressed else 0.5) for file in (*files.train, *files.held_out))
    free = shutil.disk_usage(building.parent).free
    return StoreError(
        f"{building.parent}: the disk is full: got {written / 1e6:.1f} MB written with {free / 1e6:.1f} MB left, "
        f"expected room for a token store of about {max(estimate, written) / 1e6:.1f} MB.\n"
        "Free some space or set cache_dir to another disk. What was written is removed; nothing else was touched."
    )


def _not_writable(cache_dir: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{cache_dir}: got {error}, expected to write a token store there.\n"
        "Correct what the system names, or set cache_dir to a folder that can be written. Nothing else was touched."
    )


# Building ------------------------------------------------------------------------------------------------------------


def _build(
    folder: Path,
    corpus: Corpus,
    files: CorpusFiles,
    settings: TrainableTokenizer | TokenizerFolder,
    existing: PreTrainedTokenizerFast | None,
    fingerprint: str,
    log: logging.Logger,
) -> None:
    """Write a whole store into an empty folder, its manifest last."""
    start = time.monotonic()
    problems = Problems(corpus.on_error)
    if next(_training_texts(corpus, files), None) is None:
        raise _nothing_to_train_on(corpus)
    tokenizer = existing
    if isinstance(settings, TrainableTokenizer):
        log.info("store: training a vocabulary of %d entries", settings.vocab_size)
        tokenizer = train_tokenizer(settings, lambda: _training_texts(corpus, files))
    assert tokenizer is not None
    tokenizer.save_pretrained(folder / "tokenizer")
    vocabulary = Vocabulary.from_folder(folder / "tokenizer")
    counts = write_splits(folder, read_splits(files, corpus, problems), corpus, problems, vocabulary)
    problems.report(log)
    if not counts["train"]["documents"]:
        raise _nothing_to_train_on(corpus)
    seconds = time.monotonic() - start
    manifest = {
        "format_version": FORMAT_VERSION,
        "fingerprint": fingerprint,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "versions": {library: version(library) for library in _LIBRARIES},
        "settings": {"corpus": corpus.model_dump(mode="json"), "tokenizer": settings.model_dump(mode="json")},
        "sources": {
            split: [{"path": str(f.path), "sha256": f.digest, "bytes": f.num_bytes} for f in getattr(files, split)]
            for split in SPLITS
        },
        "counts": counts,
        "skipped": dict(problems.counts),
        "seconds": round(seconds, 3),
        "files": _list_files(folder),
    }
    _write_synced(folder / _MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    log.info("store: %s in %.1f s", ", ".join(f"{split} {counts[split]}" for split in SPLITS), seconds)


def _nothing_to_train_on(corpus: Corpus) -> CorpusError:
    return CorpusError(
        f"corpus.files: got no document to train on that has a sentence ({', '.join(corpus.files)}), expected "
        "at least one to train on.\nAdd text or lower corpus.held_out."
    )


def _training_texts(corpus: Corpus, files: CorpusFiles) -> Iterator[str]:
    # With problems of its own: those of the pass that writes the store are the ones reported.
    pairs = read_splits(files, corpus, Problems(corpus.on_error))
    return (document.text for held_out, document in pairs if not held_out)


def _list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below a folder by its name there, after syncing each file and folder."""
    listed = {}
    for path in sorted(folder.rglob("*")):
        sync_path(path)
        if path.is_file():
            listed[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    return listed


def _write_synced(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    sync_path(path)
    sync_path(path.parent)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
