"""The cache of token stores: a store stands at CACHE_DIR/<first 16 digits of its fingerprint>.

The fingerprint covers the content of the corpus, the settings that change the ids, and the versions of the libraries
that make them; no path, name or date. Differs from datasets' cache, whose key changes with a file's place and date.
"""

import errno
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from transformers import PreTrainedTokenizerFast

from tokenization.corpus import Corpus, CorpusError, HeldOutFiles, Sources, resolve_sources
from tokenization.preparing.cores import prepare_here
from tokenization.preparing.manifest import FORMAT_VERSION
from tokenization.preparing.merging import REPLACED, library_versions
from tokenization.preparing.preparation import Preparation
from tokenization.preparing.sections import cut_sections
from tokenization.preparing.shards import SPLITS
from tokenization.preparing.workers import WorkerError
from tokenization.reading.documents import SourceLost
from tokenization.store import StoreError, TokenStore
from tokenization.training import TrainableTokenizer
from tokenization.vocabulary import TokenizerFolder, VocabularyError, fingerprint_tokenizer, load_tokenizer

TASKS = ".tasks-"
"""What the folders are called in which an engine on many machines keeps its notes."""

_BUILDING = ".building-"
_DIGESTS = "digests.json"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORGOTTEN_SECONDS = 7 * 24 * 3600  # an unfinished store of another corpus is kept so long

_QUEUED = "queued"
_QUEUED_ALREADY = (
    "the store is being prepared by jobs that were queued. Launch again once they are done; if one of them failed, the "
    "command that queued them queues what is missing. To prepare it here instead, end the jobs and delete this folder."
)
_LOG = logging.getLogger("tokenization.store")


class StillPreparing(StoreError):
    """A store that jobs on other machines are preparing."""


Engine = Callable[[Preparation], None]
"""Goes through the stages of a preparation until the store is in its place."""


def prepare_store(
    corpus: Corpus,
    tokenizer: TrainableTokenizer | TokenizerFolder,
    *,
    cache_dir: Path,
    engine: Engine = prepare_here,
) -> TokenStore:
    """Give the store of a corpus under a tokenizer: the one in the cache, or else a new one.

    Of several processes that ask at once, one builds and the others wait for it. After a kill, an interruption or a
    fault of the machine the next call goes on with what is finished; where the corpus or the room is at fault, the
    cache is left as it was.

    Args:
        corpus: files, held-out share and what to do with bad lines.
        tokenizer: a vocabulary to train on the training documents, or a folder that has one.
        cache_dir: made if it is not there.
        engine: what runs the stages; all cores of this machine unless told otherwise.

    Raises:
        CorpusError: a file or a line cannot be used, or there is nothing to train on.
        VocabularyError: the vocabulary cannot be trained or the folder's tokenizer cannot be used.
        StoreError: the store cannot be written, for example because the disk is full.
        StillPreparing: the engine has only queued the work, or an earlier call did and this one is to do it here.
    """
    sources = resolve_sources(corpus, digests=cache_dir / _DIGESTS)
    existing = None
    if isinstance(tokenizer, TokenizerFolder):
        existing = load_tokenizer(tokenizer.path, lowercase=tokenizer.lowercase)
    fingerprint = _fingerprint(corpus, sources, tokenizer, existing)
    place = cache_dir / fingerprint[:16]
    if (found := _open_if_whole(place)) is not None:
        return found
    building = cache_dir / f"{_BUILDING}{place.name}-{_code_digest()[:8]}"
    with _only_builder(cache_dir):
        if (found := _open_if_whole(place)) is not None:
            return found
        _remove_leftovers(cache_dir, besides=building)
        if (building / _QUEUED).exists() and engine is prepare_here:
            raise StillPreparing(f"{building}: {_QUEUED_ALREADY}")
        began = time.monotonic()
        try:
            building.mkdir(exist_ok=True)
            engine(Preparation(building, corpus, tokenizer, cut_sections(sources), fingerprint))
        except WorkerError as error:
            raise StoreError(str(error)) from error
        except Exception as error:
            failure = _write_failure(error, building, sources)
            if failure is not None or _is_of_content(error):
                # Room is needed, or the corpus has to change and then has another key.
                shutil.rmtree(building, ignore_errors=True)
            if failure is not None:
                raise failure from error
            raise
        if not place.exists():
            (building / _QUEUED).touch()
            raise StillPreparing(f"{building}: {_QUEUED_ALREADY}")
        _LOG.info("store: %s in %.1f s", place, time.monotonic() - began)
    return TokenStore.open(place)


def _fingerprint(
    corpus: Corpus,
    sources: Sources,
    tokenizer: TrainableTokenizer | TokenizerFolder,
    existing: PreTrainedTokenizerFast | None,
) -> str:
    """sha256 (hex) of all that decides the content of a store; no path, name or date."""
    content = {
        "format_version": FORMAT_VERSION,
        "versions": library_versions(),
        "corpus": corpus.model_dump(exclude={"files", "dataset", "held_out", "license"}),
        "held_out": None if isinstance(corpus.held_out, HeldOutFiles) else float(corpus.held_out),
        "sources": {split: [(source.digest, source.kind) for source in getattr(sources, split)] for split in SPLITS},
        "tokenizer": tokenizer.model_dump() if existing is None else fingerprint_tokenizer(existing),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _open_if_whole(place: Path) -> TokenStore | None:
    try:
        return TokenStore.open(place)
    except StoreError:
        return None


@contextmanager
def _only_builder(cache_dir: Path) -> Iterator[None]:
    """Hold the one right to build in a cache folder, which is made if it is not there."""
    lock = FileLock(cache_dir / ".lock")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.info("store: waiting for another process that builds in %s", cache_dir)
        lock.acquire()
    except OSError as error:
        raise _not_writable(cache_dir, error) from error
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(cache_dir: Path, *, besides: Path) -> None:
    """Delete what dead processes left, but not what this corpus can go on with, nor what is younger than a week."""
    for replaced in cache_dir.glob(f"{REPLACED}*"):
        shutil.rmtree(replaced, ignore_errors=True)
    for unfinished in (*cache_dir.glob(f"{_BUILDING}*"), *cache_dir.glob(f"{TASKS}*")):
        if unfinished != besides and time.time() - _last_change(unfinished) > _FORGOTTEN_SECONDS:
            shutil.rmtree(unfinished, ignore_errors=True)


@cache
def _code_digest() -> str:
    """sha256 (hex) of the code that makes stores: what other code left unfinished is not gone on with."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _last_change(folder: Path) -> float:
    """When something was last added to a folder or to one inside it, in seconds since 1970."""
    changes = [time.time() - _FORGOTTEN_SECONDS - 1]
    for path in (folder, *folder.glob("*")):
        with suppress(FileNotFoundError):  # deleted by whoever is working there
            changes.append(path.stat().st_mtime)
    return max(changes)


def _is_of_content(error: Exception) -> bool:
    return isinstance(error, CorpusError | VocabularyError) and not isinstance(error, SourceLost)


def _write_failure(error: Exception, building: Path, sources: Sources) -> StoreError | None:
    """What to tell the user of an error while a store was written; None if the error is no fault of the disk."""
    # The tokenizers library raises a bare Exception with the system's text.
    full = error.errno in _DISK_FULL if isinstance(error, OSError) else f"(os error {errno.ENOSPC})" in str(error)
    if not full:
        return _not_writable(building.parent, error) if isinstance(error, OSError) else None
    written = sum(path.stat().st_size for path in building.rglob("*") if path.is_file())
    # As measured on English: a text is three times its .gz, and a store is half its text.
    estimate = sum(
        file.num_bytes * (1.5 if file.is_compressed else 0.5) for file in (*sources.train, *sources.held_out)
    )
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
