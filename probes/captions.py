"""Texts cut and wrapped to the room that a picture or a message has for them."""

import textwrap

LABEL_CHARACTERS = 46
"""Of a row's label."""
TITLE_CHARACTERS_PER_INCH = 11


def wrap(text: str, inches: float) -> str:
    """A title in lines that fit a plot of that width."""
    return "\n".join(textwrap.wrap(text, max(int(inches * TITLE_CHARACTERS_PER_INCH), 8)))


def shorten(text: str, most: int) -> str:
    """The text, or its beginning and '…' where it is longer than that many characters (at least 2)."""
    return text if len(text) <= max(most, 2) else text[: max(most, 2) - 1] + "…"


def shorten_around(text: str, span: tuple[int, int], most: int = LABEL_CHARACTERS) -> str:
    """The words of a text around one of them, at most that many characters, '…' where cut; the one is whole."""
    if len(text) <= most:
        return text
    room = max(most - (span[1] - span[0]) - 2, 0)
    begin = max(0, min(span[0] - room // 2, len(text) - most + 1))
    end = min(len(text), begin + most - (begin > 0) - (begin + most - (begin > 0) < len(text)))
    begin, end = min(begin, span[0]), max(end, span[1])
    if begin > 0 and " " in text[begin : span[0]]:
        begin = text.index(" ", begin) + 1
    if end < len(text) and " " in text[span[1] : end]:
        end = text.rindex(" ", span[1], end)
    return ("…" if begin > 0 else "") + text[begin:end] + ("…" if end < len(text) else "")
