"""A document's text cut into sentences, by sentencex (rules for 240 languages, no model, nothing to download).

Differs from calling sentencex alone: a blank line always ends a sentence, so headings do not run into the text below
them, and pieces without any text are dropped.
"""

import re

import sentencex

_LINE_END = re.compile(r"\r\n?")
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")


def split_sentences(text: str, language: str = "en", *, by_line: bool = False) -> list[str]:
    """Give the sentences of a text in their order, without white space around them and without empty ones.

    Args:
        text: paragraphs are parted by blank lines; a single line break inside a paragraph ends no sentence.
        language: ISO 639 code; sentencex falls back to a related language's rules for one that it does not know.

    Returns:
        The sentences, line breaks inside them as \\n; nothing but white space is lost. Empty where there is no text.
    """
    sentences = []
    for paragraph in _PARAGRAPH_BREAK.split(_LINE_END.sub("\n", text)):
        for sentence in sentencex.segment(language, paragraph):
            trimmed = sentence.strip()
            if trimmed:
                sentences.append(trimmed)
    return sentences
