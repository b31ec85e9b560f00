"""Shards: the parts of a store that are written by one process each, whole or not at all.

A shard holds the documents of about 8 MB of text. Where shards begin follows from the survey alone, so a store is the
same file by file on any number of cores, and one that was killed on the way goes on with the shards that are missing.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from tokenization.corpus import Problems
from tokenization.encoding import SentenceEncoder
from tokenization.preparing.arrays import ArrayWriter, new_partial, publish, sync_path
from tokenization.preparing.survey import Survey
from tokenization.reading.sentences import SPLITTERS

SHARD_BYTES = 8 << 20
"""UTF-8 bytes of text after which a shard is closed: small beside memory, large beside the cost of a file."""

SPLITS = ("train", "held_out")

COUNTS = ("documents", "sentences", "words", "bytes", "tokens", "unknown", "special_token_documents")
"""What is counted of each split: words are delimited by white space, bytes are UTF-8, unknown counts tokens, and
special_token_documents those whose text has the name of a special token in it."""

WITHOUT_TOKEN = "document without a sentence"
"""The problem of a document in which the tokenizer finds nothing."""

_NOTES = "shard.json"
_CHARACTERS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Shard:
    """Documents `first` to `last` - 1 of a section."""

    section: int
    number: int
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.section:05d}-{self.number:05d}"


class Text(NamedTuple):
    """A document that goes into the store."""

    text: str
    origin: str
    held_out: bool


@dataclass(frozen=True, slots=True)
class Writing:
    """How documents become ids: all that a process needs to write a shard."""

    folder: Path
    """Holds the shards."""
    tokenizer: Path
    """A tokenizer.json."""
    dtype: str
    """uint16 or uint32."""
    unk_id: int
    special_ids: tuple[int, ...]
    """Ids that no text may have, the unknown one not among them."""
    special_tokens: tuple[str, ...]
    """The names of all special tokens."""
    language: str
    sentences: str
    """Of corpus.sentences."""
    on_error: Any
    """Of corpus.on_error."""


def cut_shards(section: int, survey: Survey, shard_bytes: int) -> list[Shard]:
    """Where the shards of a section begin and end."""
    sizes = np.array(survey.document_bytes)
    if not len(sizes):
        return []
    starts = np.nonzero(np.diff((np.cumsum(sizes) - sizes) // shard_bytes, prepend=-1))[0]
    ends = np.append(starts[1:], len(sizes))
    return [
        Shard(section, number, first, last)
        for number, (first, last) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    ]


def is_written(writing: Writing, shard: Shard) -> bool:
    """Whether a shard is there, whole: every file has the sha256 that was noted when it was written."""
    folder = writing.folder / shard.name
    try:
        files = read_notes(folder)["files"]
        return all(file_digest(folder / name) == entry["sha256"] for name, entry in files.items())
    except (OSError, ValueError, KeyError):
        return False


def write_shard(writing: Writing, shard: Shard, texts: Sequence[Text]) -> None:
    """Tokenize documents into a folder of ids and lengths, its notes last; memory holds one batch of sentences.

    Raises:
        CorpusError: a document has no token, if that is to stop the work.
    """
    folder = writing.folder / shard.name
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    partial = new_partial(folder)
    problems = Problems(writing.on_error)
    counts = {split: Counter(dict.fromkeys(COUNTS, 0)) for split in SPLITS}
    encoder = _encoder(writing.tokenizer)
    for split in SPLITS:
        with _SplitWriter(partial, split, np.dtype(writing.dtype)) as writer:
            for batch in _batches(text for text in texts if text.held_out == (split == "held_out")):
                _write_batch(batch, writing, encoder, writer, counts[split], problems)
    files = {path.name: describe_file(path) for path in sorted(partial.iterdir())}
    notes = {"counts": counts, "problems": problems.state(), "files": files}
    (partial / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    sync_path(partial / _NOTES)
    publish(partial, folder)


def read_notes(folder: Path) -> dict[str, Any]:
    """What was noted of a shard: counts by split, problems, and size and sha256 of its files."""
    notes: dict[str, Any] = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
    return notes


def describe_file(path: Path) -> dict[str, Any]:
    """Size in bytes and sha256 (hex) of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _SplitWriter:
    """The ids of one split and the lengths of its sentences (in ids) and documents (in sentences); for a `with`."""

    def __init__(self, folder: Path, split: str, dtype: np.dtype) -> None:
        with ExitStack() as files:
            self.ids = files.enter_context(ArrayWriter(folder / f"{split}_ids.npy", dtype))
            lengths = np.dtype(np.uint32)
            self.sentences = files.enter_context(ArrayWriter(folder / f"{split}_sentence_lengths.npy", lengths))
            self.documents = files.enter_context(ArrayWriter(folder / f"{split}_document_lengths.npy", lengths))
            self._files = files.pop_all()

    def __enter__(self) -> "_SplitWriter":
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)


def _write_batch(
    texts: Sequence[Text],
    writing: Writing,
    encoder: SentenceEncoder,
    writer: _SplitWriter,
    counts: Counter[str],
    problems: Problems,
) -> None:
    sentences = [SPLITTERS[writing.sentences](text.text, writing.language) for text in texts]
    ids, lengths, num_words = encoder.encode(list(chain.from_iterable(sentences)))
    # Some tokenizers give a special token for its name in a text even if told not to; a text has none.
    ids[np.isin(ids, writing.special_ids)] = writing.unk_id
    document = np.repeat(np.arange(len(texts)), [len(inner) for inner in sentences])
    has_ids = lengths > 0
    document_lengths = np.bincount(document[has_ids], minlength=len(texts))
    for number in np.nonzero(document_lengths == 0)[0].tolist():
        got = f"{texts[number].origin}: got a document in which the tokenizer finds no token, expected a sentence."
        problems.add(WITHOUT_TOKEN, got, "Remove it")
    writer.ids.append(ids)
    writer.sentences.append(lengths[has_ids])
    writer.documents.append(document_lengths[document_lengths > 0])
    counts["documents"] += int(np.count_nonzero(document_lengths))
    counts["sentences"] += int(np.count_nonzero(has_ids))
    counts["tokens"] += len(ids)
    counts["unknown"] += int(np.count_nonzero(ids == writing.unk_id))
    counts["words"] += num_words
    for text in (text for text, length in zip(texts, document_lengths.tolist(), strict=True) if length):
        counts["bytes"] += len(text.text.encode())
        counts["special_token_documents"] += any(token in text.text for token in writing.special_tokens)


def _batches(texts: Iterable[Text]) -> Iterator[list[Text]]:
    batch: list[Text] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text.text)
        if characters >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


@lru_cache(maxsize=1)
def _encoder(tokenizer: Path) -> SentenceEncoder:
    # Kept for the next shard, because it remembers the words that it has met.
    return SentenceEncoder(Tokenizer.from_file(str(tokenizer)))
