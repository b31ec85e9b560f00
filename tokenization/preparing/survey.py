"""The survey: one reading of a section before anything is tokenised, of which hashes and lengths are kept.

From it follow the duplicates, the sample that a vocabulary is trained on, and where shards begin and end. A document
takes 21 bytes on disk and a line 8.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from tokenization.corpus import Document, Problems
from tokenization.preparing.arrays import ArrayWriter, new_partial, publish, read_array, sync_path

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


@dataclass(frozen=True, slots=True)
class Survey:
    """What one section is made of. Arrays are mapped when they are asked for, so that thousands of surveys hold no file
    open; (n,) with n documents but for `line_hashes`."""

    folder: Path

    @property
    def document_hashes(self) -> npt.NDArray[np.uint64]:
        """Of the whole text."""
        return self._array("document_hashes")

    @property
    def document_bytes(self) -> npt.NDArray[np.int64]:
        """UTF-8 bytes of the text."""
        return self._array("document_bytes")

    @property
    def document_lines(self) -> npt.NDArray[np.uint32]:
        """Lines with text in each document."""
        return self._array("document_lines")

    @property
    def is_held_out(self) -> npt.NDArray[np.bool_]:
        return self._array("is_held_out")

    @property
    def line_hashes(self) -> npt.NDArray[np.uint64]:
        """(num_lines,) of each line with text, without the white space around it, in order."""
        return self._array("line_hashes")

    @property
    def problems(self) -> Problems:
        """What was wrong with the section."""
        return Problems.from_state(json.loads((self.folder / _NOTES).read_text(encoding="utf-8")))

    @property
    def num_documents(self) -> int:
        return len(self.document_hashes)

    @property
    def num_lines(self) -> int:
        return len(self.line_hashes)

    def _array(self, name: str) -> np.ndarray:
        return read_array(self.folder / f"{name}.npy")


def survey_section(documents: Iterable[tuple[bool, Document]], problems: Problems, folder: Path) -> None:
    """Read a section and write its survey to a folder, which is there whole or not at all.

    Args:
        documents: each with whether it is held out; `problems` gets what is wrong with them on the way.

    Raises:
        CorpusError: at the first bad line, if `problems` is to stop at one.
    """
    if folder.exists():
        return
    partial = new_partial(folder)
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
    publish(partial, folder)


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
