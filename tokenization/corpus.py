"""The corpus: text files as a stream of documents, in an order and a held-out split that only content decides.

Reads .jsonl (one object a line; rows may have differing columns) and .txt (a blank line ends a document), plain or .gz.
Differs from datasets.load_dataset("json"): files with differing columns are read, an error names file and line, and
moving or renaming files changes nothing.
"""

import glob
import gzip
import hashlib
import json
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

_UTF8_BOM = b"\xef\xbb\xbf"


class CorpusError(ValueError):
    """A mistake in the corpus that its owner can mend. The message says what was got, what was expected, what to do."""


class HeldOutFiles(BaseModel, frozen=True, extra="forbid"):
    """Whole files kept for evaluation."""

    files: tuple[str, ...] = Field(min_length=1)
    """Paths or globs, relative to the working directory. Files that corpus.files names as well are not trained on."""


Share = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Corpus(BaseModel, frozen=True, extra="forbid"):
    """Which text is read, and which part of it is kept for evaluation."""

    files: tuple[str, ...] = Field(min_length=1)
    """Paths or globs (`**` goes into folders), relative to the working directory: .jsonl, .jsonl.gz, .txt, .txt.gz."""

    text_field: str = Field(default="text", min_length=1)
    """The key of a JSONL row that holds the document; the other keys are passed over."""

    held_out: Share | HeldOutFiles = 0.01
    """Share of documents kept for evaluation, in [0, 1), or {files: [...]}. A share is drawn by each document's own
    text, so adding files moves no document from one side to the other and equal documents are on the same side."""

    on_error: Literal["stop", "skip"] = "stop"
    """What a bad line does: stop with an error, or be left out, counted and reported."""

    sentences: Literal["detected", "lines"] = "detected"
    duplicate_documents: Literal["keep", "drop"] = "keep"
    duplicate_lines: Literal["keep", "drop"] = "keep"
    language: str = Field(default="en", min_length=2)
    """ISO 639 code of the language whose rules find the sentences."""

    license: str | None = None
    """Licence of the texts, such as cc0-1.0, for the model card; it changes nothing else."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document and where it stands, as in `novels.jsonl.gz:17`."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file with the sha256 of its bytes and its size in bytes."""

    path: Path
    digest: str
    num_bytes: int

    @property
    def origin(self) -> str:
        return str(self.path)

    @property
    def is_compressed(self) -> bool:
        return self.path.suffix == ".gz"

    @property
    def kind(self) -> str:
        """The ending that says how the file is read, without .gz; not yet checked to be a known one."""
        return (self.path.with_suffix("") if self.is_compressed else self.path).suffix


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a corpus, each content once, in the order of their digests."""

    train: tuple[Source, ...]
    held_out: tuple[Source, ...]


class Problems:
    """What is wrong with a corpus: raised at the first, or counted by reason where `on_error` is skip."""

    def __init__(self, on_error: Literal["stop", "skip"]) -> None:
        self.on_error = on_error
        self.counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, message: str, remedy: str) -> None:
        """Count one problem, or raise it.

        Raises:
            CorpusError: `on_error` is stop.
        """
        if self.on_error == "stop":
            raise CorpusError(f"{message}\n{remedy}, or set corpus.on_error: skip to leave such places out.")
        self.counts[reason] += 1
        self._first.setdefault(reason, message)

    def state(self):
        return {"on_error": self.on_error, "counts": dict(self.counts), "first": self._first}

    @classmethod
    def from_state(cls, state):
        p = cls(state["on_error"])
        p.counts.update(state["counts"])
        p._first.update(state["first"])
        return p

    def merge(self, other: "Problems") -> None:
        """Add the counts of another."""
        self.counts += other.counts
        for reason, first in other._first.items():
            self._first.setdefault(reason, first)

    def report(self, log: logging.Logger) -> None:
        """Log one warning with the counts by reason and the first place of each; nothing if there was no problem."""
        if self.counts:
            reasons = "; ".join(f"{n} x {reason} (first: {self._first[reason]})" for reason, n in self.counts.items())
            log.warning("corpus: left out %d places: %s", self.counts.total(), reasons)


def resolve_sources(corpus: Corpus, *, digests: Path | None = None) -> Sources:
    """Find the files of a corpus and read each once for its digest.

    Returns:
        Training and held-out files, each content once, ordered by digest: neither names nor folders matter.

    Raises:
        CorpusError: a pattern that matches nothing, a missing, empty or unreadable file, an ending that is not known,
            or no file left to train on.
    """
    held_out_patterns = corpus.held_out.files if isinstance(corpus.held_out, HeldOutFiles) else ()
    held_out = _distinct(held_out_patterns, setting="corpus.held_out.files")
    train = _distinct(corpus.files, setting="corpus.files")
    for digest in held_out:
        train.pop(digest, None)
    if not train:
        raise CorpusError(
            f"corpus.files: got only files that are held out as well ({', '.join(corpus.files)}), "
            "expected at least one to train on.\nAdd training files, or name fewer in corpus.held_out.files."
        )
    return Sources(train=tuple(train.values()), held_out=tuple(held_out.values()))


def read_documents(files: Iterable[Source], corpus: Corpus, problems: Problems) -> Iterator[Document]:
    """Give the documents of files one after another; memory holds one line of JSONL or one document of text.

    Raises:
        CorpusError: at the first bad line, if `problems` is to stop at one.
    """
    for file in files:
        num_documents = 0
        for document in READERS[file.kind](file, corpus.text_field, problems):
            if document.text.strip():
                num_documents += 1
                yield document
            else:
                problems.add(
                    "document without text",
                    f"{document.origin}: got a document without any text, expected some.",
                    "Remove it",
                )
        if num_documents == 0:
            problems.add(
                "file without a document",
                f"{file.path}: got a file without a single document, expected at least one.",
                "Remove it from corpus.files",
            )


def read_splits(files: Sources, corpus: Corpus, problems: Problems) -> Iterator[tuple[bool, Document]]:
    """Give every document of a corpus with whether it is held out, in the order of the files.

    Raises:
        CorpusError: at the first bad line, if `problems` is to stop at one.
    """
    share = 0.0 if isinstance(corpus.held_out, HeldOutFiles) else corpus.held_out
    for document in read_documents(files.train, corpus, problems):
        yield is_held_out(document.text, share=share), document
    for document in read_documents(files.held_out, corpus, problems):
        yield True, document


def is_held_out(text: str, *, share: float) -> bool:
    """Whether a document belongs to the held-out share: decided by blake2b of its text and by nothing else."""
    draw = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return draw < share * 2.0**64


def _distinct(patterns: Iterable[str], *, setting: str) -> dict[str, Source]:
    """The files that patterns name, by digest and in the order of the digests."""
    paths = sorted({path for pattern in patterns for path in _match(pattern, setting=setting)})
    found: dict[str, Source] = {}
    for path in paths:
        file = _identify(path)
        found.setdefault(file.digest, file)
    return dict(sorted(found.items()))


def _match(pattern: str, *, setting: str) -> list[Path]:
    # A file may have * or [ in its name, so a path that exists is taken as it is written.
    matches = [Path(pattern)] if Path(pattern).is_file() else [Path(p) for p in glob.glob(pattern, recursive=True)]
    paths = [path for path in matches if path.is_file()]
    if not paths:
        got = "a folder" if Path(pattern).is_dir() else "nothing at that place"
        raise CorpusError(
            f"{setting}: got {pattern!r}, which is {got} (working directory: {Path.cwd()}).\n"
            f"Expected a file or a glob that matches files, such as 'texts/*.jsonl.gz'. Correct the path."
        )
    return paths


def _identify(path: Path) -> Source:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            num_bytes = stream.tell()
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be read ({error.strerror}).\nExpected a readable file. Check its permissions."
        ) from error
    file = Source(path=path, digest=digest, num_bytes=num_bytes)
    if file.kind not in READERS:
        known = ", ".join(f"{kind}, {kind}.gz" for kind in READERS)
        raise CorpusError(
            f"{path}: got the ending {path.suffix!r}, expected one of {known}.\nConvert or rename the file."
        )
    if num_bytes == 0:
        raise CorpusError(f"{path}: got an empty file (0 bytes), expected text.\nRemove it or write it again.")
    return file


def _read_jsonl(file: Source, text_field: str, problems: Problems) -> Iterator[Document]:
    for number, line in _read_lines(file, problems):
        if not line.strip():
            continue
        origin = f"{file.path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add("not JSON", f"{origin}: got a line that is not JSON ({error}), expected an object.", "Mend it")
            continue
        if not isinstance(row, dict):
            got = f"{origin}: got {_json_name(row)}, expected an object with the key {text_field!r}."
            problems.add("not a JSON object", got, "Write one object a line")
        elif text_field not in row:
            keys = ", ".join(map(repr, row)) or "none"
            got = f"{origin}: got an object without the key {text_field!r}, expected it (its keys: {keys})."
            problems.add("no text field", got, "Set corpus.text_field to the key that holds the text")
        elif not isinstance(text := row[text_field], str):
            got = f"{origin}: got {_json_name(text)} under {text_field!r}, expected text."
            problems.add("text field is not text", got, "Mend the line or set corpus.text_field")
        elif not _is_unicode(text):
            got = f"{origin}: got half of a surrogate pair (an escape like \\ud800) in the text, expected Unicode."
            problems.add("broken Unicode escape", got, "Mend the line")
        else:
            yield Document(text=text, origin=origin)


def _read_txt(file: Source, text_field: str, problems: Problems) -> Iterator[Document]:
    lines: list[str] = []
    start = 1
    for number, line in _read_lines(file, problems):
        if line.strip():
            if not lines:
                start = number
            lines.append(line)
        elif lines:
            yield Document(text="\n".join(lines), origin=f"{file.path}:{start}")
            lines = []
    if lines:
        yield Document(text="\n".join(lines), origin=f"{file.path}:{start}")


READERS: dict[str, Callable[[Source, str, Problems], Iterator[Document]]] = {
    ".jsonl": _read_jsonl,
    ".txt": _read_txt,
}


def _read_lines(file: Source, problems: Problems) -> Iterator[tuple[int, str]]:
    """Give each line with its number from 1, decoded, without its line end and without a byte order mark."""
    offset = 0
    for number, line in enumerate(_read_raw_lines(file, problems), start=1):
        mark = len(_UTF8_BOM) if number == 1 and line.startswith(_UTF8_BOM) else 0
        try:
            yield number, line[mark:].rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            place = f"byte offset {offset + mark + error.start}{' after decompression' if file.is_compressed else ''}"
            problems.add(
                "not UTF-8",
                f"{file.path}:{number}: got byte 0x{line[mark + error.start]:02x} at {place}, expected UTF-8.",
                "Convert the file to UTF-8, for example with iconv",
            )
        offset += len(line)


def _read_raw_lines(file: Source, problems: Problems) -> Iterator[bytes]:
    num_lines = 0
    with ExitStack() as stack:
        raw = stack.enter_context(file.path.open("rb"))
        stream: Iterable[bytes] = stack.enter_context(gzip.GzipFile(fileobj=raw)) if file.is_compressed else raw
        try:
            for line in stream:
                num_lines += 1
                yield line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            fault = "truncated" if isinstance(error, EOFError) else "damaged"
            problems.add(
                f"{fault} .gz",
                f"{file.path}: got a {fault} .gz file that breaks off after line {num_lines} ({error}), "
                "expected a complete one.",
                "Copy or download it again",
            )


def _json_name(value: Any) -> str:
    names = {list: "a list", dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
