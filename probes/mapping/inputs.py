"""Sentences that the map probe is asked about, and a word in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.probe_error import ProbeError
from probes.reading.lines import read_text
from probes.source import Span
from tokenization.reading.sentences import split_lines, split_sentences

EXCERPT = 60


@dataclass(frozen=True)
class Sentence:
    """One sentence that was asked about."""

    text: str
    is_given: bool
    """By itself, and not as a part of a paragraph: it must then have the word that is asked about."""


@dataclass(frozen=True)
class Occurrence:
    """The word in one of the sentences."""

    sentence: int
    """Number of the sentence, from 0."""
    span: Span


def read_sentences(given: Sequence[str], paragraphs: Sequence[str], file: Path | None) -> list[Sentence]:
    """The sentences given, those of the paragraphs, and those of the file: a sentence a line, or a paragraph if it has
    a single line.

    Raises:
        ProbeError: a file that cannot be read, or nothing but white space.
    """
    found = [Sentence(text.strip(), is_given=True) for text in given]
    found += [Sentence(text, is_given=False) for one in paragraphs for text in split_sentences(one)]
    if file is not None:
        lines = split_lines(read_text(file, expected="UTF-8 text: a sentence a line, or a paragraph"))
        if not lines:
            raise ProbeError(f"{file} is empty, expected a sentence a line, or a paragraph. Add sentences to it.")
        if len(lines) == 1:
            found += [Sentence(text, is_given=False) for text in split_sentences(lines[0])]
        else:
            found += [Sentence(text, is_given=True) for text in lines]
    empty = [number for number, sentence in enumerate(found, 1) if not sentence.text]
    if empty or not found:
        got = f"sentence {empty[0]} is empty" if empty else "got a paragraph without any sentence"
        raise ProbeError(f"map: {got}, expected text. Leave it out or fill it in.")
    return found


def find_word(sentences: Sequence[Sentence], word: str) -> list[Occurrence]:
    """Every place of the word, as a whole word, upper or lower case, in the order of the text.

    Raises:
        ProbeError: a sentence given by itself lacks it, or fewer than two sentences have it.
    """
    if not word.strip():
        raise ProbeError("--word: got an empty word, expected one that stands in the sentences. Name it.")
    pattern = re.compile(rf"(?<!\w){re.escape(word.strip())}(?!\w)", re.IGNORECASE)
    found = [
        Occurrence(number, match.span())
        for number, sentence in enumerate(sentences)
        for match in pattern.finditer(sentence.text)
    ]
    having = {one.sentence for one in found}
    lacking = [number for number, one in enumerate(sentences) if one.is_given and number not in having]
    if lacking:
        shown = "; ".join(f"sentence {number + 1} ({_excerpt(sentences[number].text)!r})" for number in lacking[:5])
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise ProbeError(
            f"--word {word}: it does not stand in {shown}{more}. Expected it as a whole word in this very form in every"
            " sentence. Change these sentences or leave them out."
        )
    if len(having) < 2:
        got = "one sentence" if having else "no sentence"
        raise ProbeError(f"--word {word}: {got} has it, expected at least 2 to be compared. Add sentences with it.")
    return found


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"
