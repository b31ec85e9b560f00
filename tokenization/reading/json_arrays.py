"""A JSON array of any length, value by value, with the scanner of Python's json over a window of text.

Of the streaming parsers, ijson 3.6 was tried: it turns half of a surrogate pair into a question mark without a word,
and its memory grows with the square of the depth, so that a file of 100,000 brackets ended the process.
"""

import codecs
import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from tokenization.reading.documents import Unreadable
from tokenization.reading.sources import FileSource
from tokenization.reading.streams import not_utf8, pieces

_CHUNK_BYTES = 1 << 20  # of the window
_SPACE = re.compile(r"[ \t\r\n]*")
# A literal or a number that the end of the window cuts is an error up to this many characters before the end.
_LONGEST_LITERAL = 16
_NUMBER_GOES_ON = 2  # characters of a number, such as "e+", that are none of it while no digit follows


def array_rows(window: "Window") -> Iterator[Any]:
    """Give the values of a JSON array one after another.

    Raises:
        Unreadable: behind the last whole value, where the array breaks off or is no JSON.
    """
    assert window.take() == "["
    if window.take(only="]"):
        return
    number = 1
    while True:
        yield window.value(number)
        if window.take(only=","):
            number += 1
        elif window.take(only="]"):
            break
        else:
            raise window.fault(number, f"Expecting ',' or ']' behind it, got {window.take()!r}")
    if (more := window.take()) is not None:
        raise window.fault(number, f"the array ends behind it, but {more!r} follows")


class Window:
    """The part of a .json file that is looked at: from the value that is read next to as far as it was needed."""

    def __init__(self, file: FileSource) -> None:
        self._path = file.path
        self._chunks = _decoded(file)
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0

    def take(self, *, only: str | None = None) -> str | None:
        """Step over white space and give the character behind it; None at the end, or if it is not `only` that."""
        while (at := _SPACE.match(self._text, self._at).end()) == len(self._text):  # type: ignore[union-attr]
            if not self._extend():
                return None
        if only is not None and self._text[at] != only:
            return None
        self._at = at + 1
        return self._text[at]

    def value(self, number: int) -> Any:
        """Step over one JSON value and give it.

        Raises:
            Unreadable: there is none.
        """
        while True:
            start = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            try:
                value, end = self._decode(self._text, start)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos + _LONGEST_LITERAL > len(self._text)
                if not (cut and self._extend()):
                    raise self.fault(number, error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self.fault(number, str(error)) from error
            else:
                before = self._at
                # A number may go on behind the window: its digits, its fraction, or its exponent with a sign.
                if end + _NUMBER_GOES_ON >= len(self._text):
                    if self._extend():
                        continue
                    end -= before
                self._at = end
                return value

    def fault(self, number: int, error: str) -> Unreadable:
        """What to raise where the array is no JSON."""
        got = f"{self._path}:row {number}: got a row that is not JSON ({error}), expected an array of objects."
        return Unreadable("not JSON", got, "Mend the array there")

    def _extend(self) -> bool:
        """Forget what is behind, and have at least twice as much as is left; whether there was any more."""
        left = self._text[self._at :]
        more = []
        num_more = 0
        while num_more <= len(left) and (chunk := next(self._chunks, "")):
            more.append(chunk)
            num_more += len(chunk)
        self._text, self._at = left + "".join(more), 0
        return num_more > 0


def _decoded(file: FileSource) -> Iterator[str]:
    """Give the text of a file in chunks, none of them empty, without a byte order mark.

    Raises:
        Unreadable: a byte is not UTF-8; raised behind the last chunk without one.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    offset = 0
    for chunk in pieces(file, lambda stream: iter(partial(stream.read, _CHUNK_BYTES), b""), "MiB"):
        num_kept = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            at = offset - num_kept + error.start
            raise Unreadable(*not_utf8(file, str(file.path), error.object[error.start], at)) from error
        offset += len(chunk)
        if text:
            yield text
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        at = offset - len(error.object) + error.start
        raise Unreadable(*not_utf8(file, str(file.path), error.object[error.start], at)) from error
