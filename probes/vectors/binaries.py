"""The binary forms of word2vec and of FastText, read from a stream of bytes.

FastText's form is that of its own program (fasttext.cc, dictionary.cc, matrix.cc), version 12 and those like it. A
reader of our own, since gensim's goes on for ever at the end of a truncated file and holds its table three times over.
"""

# V words, B buckets of n-grams, D dimensions

import re
import struct
from typing import Any, BinaryIO

import numpy as np

from probes.source import Vectors
from probes.vectors.subwords import CharacterNgrams, Subwords

LONGEST_WORD = 1 << 16
"""Bytes; what is longer is no word, but something else read as one."""
FASTTEXT = 793712314
"""First four bytes of FastText's form."""
END_OF_SENTENCE = "</s>"
"""FastText's only word without n-grams."""


class Damage(Exception):
    """What is wrong with the bytes."""


def read_binary(file: BinaryIO, size: int | None) -> tuple[list[str], Vectors, Subwords | None]:
    """Words, their (V, D) float32 vectors and, for FastText with n-grams, the vectors of those.

    Args:
        file: at its first byte.
        size: of the file in bytes where it is known, so that a damaged size is seen before memory is taken for it.

    Raises:
        Damage: the bytes are of another form or end too soon.
    """
    start = _peek(file)[:4]
    if start == struct.pack("<i", FASTTEXT):
        return _read_fasttext(file, size)
    return (*_read_word2vec(file, size), None)


def _read_word2vec(file: BinaryIO, size: int | None) -> tuple[list[str], Vectors]:
    first = _until(file, b"\n", 100, "the first line")
    header = re.fullmatch(rb"(\d+) (\d+)\s*", first)
    if header is None or int(header[1]) == 0 or int(header[2]) == 0:
        raise Damage(f"its first line is {first[:40]!r}, expected the numbers of words and of dimensions")
    num_words, dimension = int(header[1]), int(header[2])
    if size is not None and num_words * (4 * dimension + 2) > size:
        raise Damage(
            f"{num_words} words of {dimension} dimensions do not fit into its {size} bytes, so it is cut short"
        )
    words: dict[str, int] = {}
    table_VD = np.empty((num_words, dimension), dtype=np.float32)
    for number in range(1, num_words + 1):
        name = _until(file, b" ", LONGEST_WORD, f"word {number} of {num_words}").lstrip(b"\n")
        vector_D = np.frombuffer(_exactly(file, 4 * dimension, f"word {number} of {num_words}"), dtype="<f4")
        try:
            word = name.decode()
        except UnicodeDecodeError:
            raise Damage(f"word {number}, {name[:40]!r}, is not UTF-8") from None
        if not np.isfinite(vector_D).all():
            raise Damage(f"the vector of word {number}, {word!r}, has a number that is not finite")
        if words.setdefault(word, len(words)) == len(words) - 1:
            table_VD[len(words) - 1] = vector_D
    return list(words), table_VD[: len(words)]


def _read_fasttext(file: BinaryIO, size: int | None) -> tuple[list[str], Vectors, Subwords | None]:
    _, _, dimension, *_, num_buckets, shortest, longest, _, _ = _unpack(file, "<14id", "the header")
    words = _fasttext_words(file)
    (is_quantised,) = _unpack(file, "<?", "the table")
    if is_quantised:
        raise Damage("it is quantised, which is not read; take the .bin of full size")
    rows, columns = _unpack(file, "<2q", "the table")
    if columns != dimension or dimension < 1 or rows not in (len(words), len(words) + num_buckets):
        raise Damage(f"it has {rows} rows of {columns} numbers for {len(words)} words and {num_buckets} buckets")
    if size is not None and 4 * rows * columns > size:
        raise Damage(f"{rows} rows of {columns} numbers do not fit into its {size} bytes, so it is cut short")
    table = np.empty((rows, columns), dtype="<f4")
    _fill(file, table.data.cast("B"))
    if not np.isfinite(table.sum()) and not (finite := np.isfinite(table).all(axis=1)).all():
        raise Damage(f"row {int(np.flatnonzero(~finite)[0])} of its table has a number that is not finite")
    ngrams = CharacterNgrams(table[len(words) :], shortest, longest)
    for row, word in enumerate(words):
        if word != END_OF_SENTENCE and (parts := ngrams.rows(word)):
            # The vector of a word is the mean of its own and of those of its n-grams (dictionary.cc, getSubwords).
            table[row] = (table[row] + ngrams.table[parts].sum(axis=0)) / (len(parts) + 1)
    return words, table[: len(words)], ngrams if len(ngrams.table) and longest > 0 else None


def _fasttext_words(file: BinaryIO) -> list[str]:
    num_entries, num_words, num_labels, _, num_pruned = _unpack(file, "<3i2q", "the vocabulary")
    if num_labels:
        raise Damage(f"it is a classifier with {num_labels} labels, which is not read")
    words: dict[str, None] = {}
    for number in range(1, num_entries + 1):
        where = f"word {number} of {num_entries}"
        # FastText's own tables have words cut inside a character.
        words[_until(file, b"\0", LONGEST_WORD, where).decode(errors="backslashreplace")] = None
        _exactly(file, struct.calcsize("<qb"), where)
    if num_pruned > 0:
        raise Damage("its n-grams are pruned, which is not read; take the .bin of full size")
    if len(words) != num_words:
        raise Damage(f"it says {num_words} words and holds {len(words)} different ones")
    return list(words)


def _unpack(file: BinaryIO, form: str, where: str) -> tuple[Any, ...]:
    return struct.unpack(form, _exactly(file, struct.calcsize(form), where))


def _exactly(file: BinaryIO, num_bytes: int, where: str) -> bytes:
    found = file.read(num_bytes)
    if len(found) != num_bytes:
        raise Damage(f"it ends within {where}")
    return found


def _until(file: BinaryIO, end: bytes, most: int, where: str) -> bytes:
    """The bytes before the next `end`, which is read as well."""
    found = b""
    while (at := (ahead := _peek(file)).find(end)) < 0:
        found += file.read(len(ahead))
        if not ahead:
            raise Damage(f"it ends within {where}")
        if len(found) > most:
            break
    else:
        found += file.read(at + 1)[:-1]
    if len(found) > most:
        raise Damage(f"{where} does not end within {most} bytes")
    return found


def _peek(file: Any) -> bytes:
    """The bytes that stand ready in the buffer; none at the end."""
    ahead: bytes = file.peek(1)
    return ahead


def _fill(file: Any, room: memoryview) -> None:
    done = 0
    while done < len(room):
        if not (more := file.readinto(room[done : done + (1 << 24)])):
            raise Damage("it ends within the table")
        done += more
