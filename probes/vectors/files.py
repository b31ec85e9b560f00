"""Files of word vectors, by the form that their name and first bytes tell. No pickle is ever opened.

    .txt .vec [.gz]   GloVe's text (a word and its numbers a line) or word2vec's (below a line 'words dimensions')
    .bin [.gz]        word2vec's binary form, or FastText's with the vectors of its character n-grams
    .npy              a table, its words in the only .txt (a word a line), .json (a list, or an object of word: row) or
                      .parquet (first column of text) beside it; the folder of the two may be named as well

Text is UTF-8. Of a word that stands twice the first counts. Reading takes the memory of the table and its words.
"""

# V words, D dimensions

import gzip
import json
import re
import zlib
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from probes.probe_error import ProbeError
from probes.source import Vectors
from probes.vectors.binaries import Damage, read_binary
from probes.vectors.subwords import Subwords

PICKLES = (".model", ".kv", ".pkl", ".pickle", ".wordvectors")
REFUSED = (*PICKLES, ".ftz", ".zip")
"""Endings of word vectors that are not read, so that the message says why."""
SUFFIXES = (".txt", ".vec", ".bin", ".npy")
"""Endings that are read; all but .npy may stand before .gz."""
VOCABULARIES = (".txt", ".json", ".parquet")
"""Of the words beside a table."""

_HEADER = re.compile(rb"(\d+)[ \t]+(\d+)\s*")


class VectorFile(NamedTuple):
    """What a file of word vectors holds."""

    words: list[str]
    """V different words, in the order of the file."""
    table: Vectors
    """(V, D) float32, all finite."""
    subwords: Subwords | None = None


def is_word_vectors(path: Path) -> bool:
    """Whether a path names word vectors and not an encoder: a file with one of the endings, or a folder of one .npy."""
    if path.is_dir():
        return not (path / "config.json").exists() and len(list(path.glob("*.npy"))) == 1
    return path.is_file() and (_suffix(path) in SUFFIXES or path.suffix in REFUSED)


def read_vector_file(path: Path) -> VectorFile:
    """Read word vectors.

    Raises:
        ProbeError: there is no such file, it is of another form, or a place in it (told by its line, word or row) is
            damaged.
    """
    if path.is_dir():
        tables = sorted(path.glob("*.npy"))
        if len(tables) != 1:
            raise ProbeError(
                f"{path} is a folder with {len(tables)} .npy in it, expected word vectors: a file, or a folder with one"
                " .npy and its words. Name the file."
            )
        path = tables[0]
    _refuse(path)
    readers: dict[str, Callable[[Path], VectorFile]] = {".npy": _read_npy, ".bin": _read_binary}
    try:
        found = readers.get(_suffix(path), _read_text)(path)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ProbeError(f"{path}: {reason}. Expected a whole file of word vectors. Check it.") from error
    if not found.words:
        raise ProbeError(f"{path} holds no word. Expected word vectors, a word and its numbers a line. Check the file.")
    return found


def write_word2vec(path: Path, words: list[str], table: Vectors) -> None:
    """Write word2vec's binary form, in which gensim and most other tools read vectors.

    Raises:
        ValueError: a word with white space in it, which the form cannot hold.
    """
    if broken := [word for word in words if not word or re.search(r"\s", word)]:
        raise ValueError(f"{broken[0]!r} cannot stand in word2vec's form")
    with path.open("wb") as file:
        file.write(f"{len(words)} {table.shape[1]}\n".encode())
        for word, vector in zip(words, np.asarray(table, dtype="<f4"), strict=True):
            file.write(word.encode() + b" " + vector.tobytes() + b"\n")


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _refuse(path: Path) -> None:
    """Raise where a file is of a form that is not read, by its name or its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror}. Expected a file of word vectors. Check the path.") from error
    is_pickle = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if path.suffix in PICKLES or is_pickle:
        raise ProbeError(
            f"{path} is a Python pickle (gensim's own form), which can run any code when it is opened. Expected a plain"
            " form. Where you trust it, load it in gensim and save it with wv.save_word2vec_format(..., binary=True),"
            " or for FastText with gensim.models.fasttext.save_facebook_model."
        )
    if path.suffix in REFUSED:
        raise ProbeError(
            f"{path}: {path.suffix} is not read. Expected one of {', '.join(SUFFIXES)}, or .gz. Name the unpacked file;"
            " of FastText the .bin and not the quantised .ftz."
        )


def _open(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked where it ends in .gz."""
    file: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - the caller closes it
    return file  # type: ignore[no-any-return]


def _read_binary(path: Path) -> VectorFile:
    size = None if path.suffix == ".gz" else path.stat().st_size
    try:
        with _open(path) as file:
            return VectorFile(*read_binary(file, size))
    except Damage as damage:
        raise ProbeError(f"{path}: {damage}. Expected word vectors as word2vec or FastText write them. Get the file"
                         " anew.") from damage  # fmt: skip


def _read_text(path: Path) -> VectorFile:
    with _open(path) as file:
        first = file.readline()
        header = _HEADER.fullmatch(first)
        lines, begin = (file, 2) if header else (chain([first], file), 1)
        dimension = int(header[2]) if header else len(first.split()) - 1
        if not header and dimension < 1:
            got = "is empty" if not first else f"begins with {_excerpt(first)}"
            raise ProbeError(f"{path} {got}. Expected a word and its numbers on the first line. Check the file.")
        words: dict[str, int] = {}
        table = np.empty((1024 if header is None else max(1, min(int(header[1]), 1024)), dimension), dtype=np.float32)
        num_read = 0
        for number, line in enumerate(lines, begin):
            if line.isspace():
                continue
            num_read += 1
            try:
                word, vector = _entry(line, dimension)
            except ValueError as error:
                raise ProbeError(f"{path}:{number}: {error}. Correct that line or take it out.") from error
            if words.setdefault(word, len(words)) == len(words) - 1:
                if len(words) > len(table):
                    # The system moves the pages of a large array and copies nothing.
                    table.resize((len(table) * 5 // 4 + 1, dimension), refcheck=False)
                table[len(words) - 1] = vector
    if header and int(header[1]) != num_read:
        raise ProbeError(
            f"{path}: its first line says {int(header[1])} words, but it holds {num_read}. Expected a whole file. Get"
            " it anew, or correct that line."
        )
    table.resize((len(words), dimension), refcheck=False)
    return VectorFile(list(words), table)


def _entry(line: bytes, dimension: int) -> tuple[str, Vectors]:
    """The word and the numbers of a line.

    Raises:
        ValueError: what is wrong with it, without the place.
    """
    head, _, numbers = line.rstrip().partition(b" ")
    try:
        vector = np.fromstring(numbers, dtype=np.float32, sep=" ")
    except (ValueError, DeprecationWarning):
        vector = np.empty(0, dtype=np.float32)
    if len(vector) != dimension:
        # GloVe's largest files have words with blanks in them.
        head, *parts = line.rstrip().rsplit(maxsplit=dimension)
        try:
            vector = np.array([float(part) for part in parts], dtype=np.float32)
        except ValueError:
            raise ValueError(f"got {_excerpt(line)}, expected a word and {dimension} numbers") from None
        if len(vector) != dimension:
            raise ValueError(f"got {len(vector)} numbers behind {_excerpt(head)}, expected {dimension} as above it")
    if not np.isfinite(vector).all():
        raise ValueError(
            f"the vector of {_excerpt(head)} has a number that is not finite, expected {dimension} that are"
        )
    try:
        word = head.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the word {head!r} is not UTF-8, expected UTF-8; convert the file, as with iconv") from None
    if not word:
        raise ValueError(f"got numbers without a word before them ({_excerpt(line)}), expected one")
    return word, vector


def _excerpt(text: bytes) -> str:
    shown = text.rstrip().decode(errors="backslashreplace")
    return repr(shown if len(shown) <= 40 else shown[:39] + "…")


def _read_npy(path: Path) -> VectorFile:
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ProbeError(f"{path}: {error}. Expected a table of numbers as numpy.save writes it. Check it.") from error
    if stored.ndim != 2 or stored.dtype.kind != "f":
        raise ProbeError(
            f"{path}: got {stored.ndim} dimensions of {stored.dtype}, expected a table (words, dimensions) of floating"
            " point numbers. Save it as such."
        )
    words = _read_vocabulary(path)
    if len(words) != len(stored):
        raise ProbeError(
            f"{path} has {len(stored)} rows, but {len(words)} words stand beside it. Expected a word for every row."
            " Put the vocabulary of this table beside it."
        )
    rows = {word: row for row, word in reversed(list(enumerate(words)))}
    kept = sorted(rows.values())
    table = np.asarray(stored if len(kept) == len(words) else stored[kept], dtype=np.float32)
    if not (finite := np.isfinite(table).all(axis=1)).all():
        row = kept[int(np.flatnonzero(~finite)[0])]
        raise ProbeError(
            f"{path}: row {row} ({words[row]!r}) has a number that is not finite, expected finite ones. Correct it."
        )
    return VectorFile([words[row] for row in kept], np.array(table))


def _read_vocabulary(path: Path) -> list[str]:
    """The words of the rows of a table, from the only vocabulary beside it."""
    beside = sorted(one for one in path.parent.iterdir() if one.suffix in VOCABULARIES)
    if len(beside) != 1:
        got = ", ".join(one.name for one in beside) or "none"
        raise ProbeError(
            f"{path}: its words cannot be told (beside it: {got}). Expected exactly one file that ends in"
            f" {', '.join(VOCABULARIES)}. Leave the vocabulary of this table beside it and nothing else."
        )
    (vocabulary,) = beside
    try:
        words = _words(vocabulary)
    except ValueError as error:
        raise ProbeError(f"{vocabulary}: {error}. Expected the words of {path.name}. Check it.") from error
    if wrong := [row for row, word in enumerate(words) if not isinstance(word, str)]:
        raise ProbeError(f"{vocabulary}: row {wrong[0]} is {words[wrong[0]]!r}, expected a word. Correct it.")
    return words


def _words(vocabulary: Path) -> list[Any]:
    if vocabulary.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pq.read_schema(vocabulary)
        texts = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
        if not texts:
            raise ValueError(f"it has no column of text, but {', '.join(schema.names) or 'none'}")
        listed: list[Any] = pq.read_table(vocabulary, columns=texts[:1]).column(0).to_pylist()
        return listed
    text = vocabulary.read_text(encoding="utf-8")
    if vocabulary.suffix == ".txt":
        return text.removesuffix("\n").split("\n")
    read = json.loads(text)
    if isinstance(read, dict) and sorted(map(repr, read.values())) == sorted(map(repr, range(len(read)))):
        return sorted(read, key=lambda word: int(read[word]))
    if not isinstance(read, list):
        raise ValueError("it is neither a list of words nor an object of word: row with the rows 0, 1, 2 ...")
    return read
