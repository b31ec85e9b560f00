"""A document's text cut into sentences, by sentencex (rules for 240 languages, no model to download) or by lines.

Differs from calling sentencex alone: a blank line always ends a sentence, so headings do not run into the text below
them, pieces without any text are dropped, and a paragraph of more than WINDOW characters is given to it in windows,
because its time grows with the square of the length on some texts (measured: 100 kB of Japanese in one paragraph takes
8 s, 1 MB over a minute).
"""

import re
from collections.abc import Callable, Iterator

import sentencex

WINDOW = 10_000
"""Most characters that sentencex is given at once. A longer paragraph is cut between two sentences that it finds, so
most sentences stay as they would be; one of over half a window that the window cuts is parted at the last white space
within it, or at its end where there is none."""

_LINE_END = re.compile(r"\r\n?")
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Give the sentences of a text in their order, without white space around them and without empty ones.

    Args:
        text: paragraphs are parted by blank lines; a single line break inside a paragraph ends no sentence.
        language: ISO 639 code; sentencex falls back to a related language's rules for one that it does not know.

    Returns:
        The sentences, line breaks inside them as \\n; nothing but white space is lost. Empty where there is no text.
    """
    sentences = []
    for paragraph in _PARAGRAPH_BREAK.split(_LINE_END.sub("\n", text)):
        for sentence in _segment(paragraph, language):
            trimmed = sentence.strip()
            if trimmed:
                sentences.append(trimmed)
    return sentences


def split_lines(text: str, language: str = "en") -> list[str]:
    """Give the lines of a text as its sentences, without white space around them and without empty ones.

    Args:
        text: \\n, \\r\\n and \\r end a line, and nothing else does.
        language: not looked at.
    """
    return [trimmed for line in _LINE_END.sub("\n", text).split("\n") if (trimmed := line.strip())]


SPLITTERS: dict[str, Callable[[str, str], list[str]]] = {"detected": split_sentences, "lines": split_lines}
"""By the setting corpus.sentences."""


def _segment(paragraph: str, language: str) -> Iterator[str]:
    start = 0
    while len(paragraph) - start > WINDOW:
        *whole, last = sentencex.segment(language, paragraph[start : start + WINDOW])
        yield from whole
        start += WINDOW - len(last)
        # What the window cut begins the next one, unless little of the window would be behind us then.
        if len(last) > WINDOW // 2:
            end = _last_space(last)
            yield last[:end]
            start += end
    yield from sentencex.segment(language, paragraph[start:])


def _last_space(text: str) -> int:
    """The offset behind the last white space in a text; its length where it has none."""
    words = text.rsplit(maxsplit=1)
    return len(text) - len(words[1]) if len(words) == 2 and not text[-1].isspace() else len(text)
