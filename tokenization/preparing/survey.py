"""The survey: one reading of a section before anything is tokenised, of which hashes and lengths are kept.

From it follow the duplicates, the sample that a vocabulary is trained on, and where shards begin and end. A document
takes 21 bytes on disk and a line 8.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from tokenization.corpus import Document, Problems
from tokenization.preparing.arrays import ArrayWriter, read_array, sync_path

_DTYPES = {
    "document_hashes": np.uint64,
    "document_bytes": np.int64,
    "document_lines": np.uint32,
    "is_held_out": np.bool_,
    "line_hashes": np.uint64,
}
_NOTES = "survey.json"
_DOCUMENTS_AT_ONCE = 4096
_LINES_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Survey:
    """What one section is made of; arrays are memory-mapped, (n,) with n documents but for `line_hashes`."""

    document_hashes: npt.NDArray[np.uint64]
    """Of the whole text."""
    document_bytes: npt.NDArray[np.int64]
    """UTF-8 bytes of the text."""
    document_lines: npt.NDArray[np.uint32]
    """Lines with text in each document."""
    is_held_out: npt.NDArray[np.bool_]
    line_hashes: npt.NDArray[np.uint64]
    """(num_lines,) of each line with text, without the white space around it, in order."""
    problems: Problems

    @property
    def num_documents(self) -> int:
        return len(self.document_hashes)

    @property
    def num_lines(self) -> int:
        return len(self.line_hashes)

    @classmethod
    def open(cls, folder: Path) -> "Survey":
        """Read the survey of a section that `survey_section` wrote."""
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        return cls(
            **{name: read_array(folder / f"{name}.npy") for name in _DTYPES}, problems=Problems.from_state(notes)
        )


def survey_section(documents: Iterable[tuple[bool, Document]], problems: Problems, folder: Path) -> None:
    """Read a section and write its survey to a folder, which is there whole or not at all.

    Args:
        documents: each with whether it is held out; `problems` gets what is wrong with them on the way.

    Raises:
        CorpusError: at the first bad line, if `problems` is to stop at one.
    """
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ArrayWriter(partial / f"{name}.npy", np.dtype(dtype)))
            for name, dtype in _DTYPES.items()
        }
        for columns in _batches(documents):
            for name, values in columns.items():
                writers[name].append(np.array(values, dtype=_DTYPES[name]))
    (partial / _NOTES).write_text(json.dumps(problems.state()), encoding="utf-8")
    sync_path(partial / _NOTES)
    partial.rename(folder)


def text_lines(text: str) -> list[str]:
    """The lines of a text that have any, without the white space around them."""
    return [line for part in text.split("\n") if (line := part.strip())]


def without_lines(text: str, is_dropped: npt.NDArray[np.bool_]) -> str:
    """A text without some of its lines; `is_dropped` speaks of the lines that `text_lines` gives."""
    if not is_dropped.any():
        return text
    dropped = iter(is_dropped.tolist())
    return "\n".join(line for line in text.split("\n") if not line.strip() or not next(dropped))


def _batches(documents: Iterable[tuple[bool, Document]]) -> Iterator[dict[str, list[int]]]:
    batch: dict[str, list[int]] = {name: [] for name in _DTYPES}
    for held_out, document in documents:
        encoded = document.text.encode()
        lines = [xxhash.xxh3_64_intdigest(line.encode()) for line in text_lines(document.text)]
        batch["document_hashes"].append(hash_document(encoded))
        batch["document_bytes"].append(len(encoded))
        batch["document_lines"].append(len(lines))
        batch["is_held_out"].append(held_out)
        batch["line_hashes"] += lines
        if len(batch["document_hashes"]) >= _DOCUMENTS_AT_ONCE or len(batch["line_hashes"]) >= _LINES_AT_ONCE:
            yield batch
            batch = {name: [] for name in _DTYPES}
    yield batch


def hash_document(encoded: bytes) -> int:
    """64 bits of blake2b: documents of one content are one document."""
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8, person=b"document").digest(), "big")
