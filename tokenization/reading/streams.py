"""The bytes of a file, decompressed: whole lines, or chunks; a damaged file is told where it breaks off."""

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import BinaryIO, cast

from tokenization.reading.documents import Problems, SourceLost, Unreadable
from tokenization.reading.sources import FileSource

BUFFER_BYTES = 1 << 17

_UTF8_BOM = b"\xef\xbb\xbf"


def _open_gz(raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw))


def _open_zst(raw: BinaryIO) -> BinaryIO:
    # pyarrow and not zstandard, whose stream ends without an error where a file is cut off.
    import pyarrow as pa

    return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(raw, "zstd"), BUFFER_BYTES))


DECOMPRESSORS: dict[str, Callable[[BinaryIO], BinaryIO]] = {".gz": _open_gz, ".zst": _open_zst}


@contextmanager
def opened(file: FileSource) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed.

    Raises:
        CorpusError: the file cannot be opened, or the system fails to read it.
    """
    try:
        with ExitStack() as stack:
            raw: BinaryIO = stack.enter_context(file.path.open("rb", buffering=BUFFER_BYTES))
            if file.is_compressed:
                yield stack.enter_context(DECOMPRESSORS[file.path.suffix.lower()](raw))
            else:
                yield raw
    except OSError as error:
        if error.errno is None:
            raise
        raise system_fault(file, error) from error


def system_fault(file: FileSource, error: OSError) -> SourceLost:
    """What to raise where the system fails to read a file."""
    # pyarrow puts more than the system's words into strerror.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SourceLost(
        f"{file.path}: cannot be read ({reason}).\nExpected the file that was there at the start. "
        "Check the file and its disk, and launch the same command again."
    )


def pieces(file: FileSource, by: Callable[[BinaryIO], Iterable[bytes]], unit: str) -> Iterator[bytes]:
    """Give a file in pieces, lines or chunks.

    Raises:
        Unreadable: the file is damaged or breaks off; raised behind the last whole piece.
    """
    num_pieces = 0
    with opened(file) as stream:
        try:
            for piece in by(stream):
                num_pieces += 1
                yield piece
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            ending = file.path.suffix.lower()
            if "requires too much memory" in str(error):
                raise Unreadable(
                    f"{ending} with a large window",
                    f"{file.path}: got a {ending} file written with a window of over 128 MB (zstd --long), "
                    "expected a smaller one.",
                    "Decompress it with zstd -d --long=31 and compress it again without --long",
                ) from error
            fault = "truncated" if isinstance(error, EOFError) or "Truncated" in str(error) else "damaged"
            raise Unreadable(
                f"{fault} {ending}",
                f"{file.path}: got a {fault} {ending} file that breaks off after {unit} {num_pieces} ({error}), "
                "expected a complete one.",
                "Copy or download it again",
            ) from error


def raw_lines(file: FileSource) -> Iterator[bytes]:
    """Give each line with its line end and without a byte order mark; only \\n ends a line."""
    lines = pieces(file, iter, "line")
    for first in islice(lines, 1):
        yield first.removeprefix(_UTF8_BOM)
    yield from lines


def numbered_lines(file: FileSource, problems: Problems) -> Iterator[tuple[int, str]]:
    """Give each line with its number from 1, decoded and without its line end."""
    offset = 0
    for number, line in enumerate(pieces(file, iter, "line"), start=1):
        mark = len(_UTF8_BOM) if number == 1 and line.startswith(_UTF8_BOM) else 0
        try:
            yield number, line[mark:].rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            at = mark + error.start
            problems.add(*not_utf8(file, f"{file.path}:{number}", line[at], offset + at))
        offset += len(line)


def not_utf8(file: FileSource, origin: str, byte: int, offset: int) -> tuple[str, str, str]:
    """Reason, message and remedy for a byte that is not UTF-8, at an offset of the decompressed file."""
    place = f"byte offset {offset}{' after decompression' if file.is_compressed else ''}"
    got = f"{origin}: got byte 0x{byte:02x} at {place}, expected UTF-8."
    return "not UTF-8", got, "Convert the file to UTF-8, for example with iconv"
