"""Where a word stands in a sentence: by its form, by its first character, or by the number of its token."""

import re

from probes.probe_error import ProbeError
from probes.source import Span
from probes.vectors.word_vectors import WORD

_TOKEN = re.compile(r"\S+")


def words_of(sentence: str) -> list[Span]:
    """Where the words of running text stand: letters, digits and _, with apostrophes and hyphens inside."""
    return [found.span() for found in WORD.finditer(sentence)]


def find_word(word: str, sentence: str, start: str | int | None = None) -> Span:
    """First character of a word in its sentence, and the one after its last.

    Args:
        start: the first character, counted from 0; None or empty: that of the first whole-word match, in either case.

    Raises:
        ProbeError: the word does not stand there; without the line, which the caller knows.
    """
    if start is not None and start != "":
        if not str(start).isdecimal():
            raise ProbeError(f"start is {start!r}, expected a whole number of characters from 0.")
        begin, end = int(start), int(start) + len(word)
        if sentence[begin:end].casefold() != word.casefold():
            raise ProbeError(
                f"at start {start} stands {sentence[begin:end]!r}, expected the word {word!r}."
                " Count characters from 0, or leave start empty to take the first match."
            )
        return begin, end
    found = _whole_word(word, sentence)
    if found is None:
        raise ProbeError(
            f"{word!r} does not stand in {sentence!r} as a whole word. Change the sentence so that it has the word in"
            " this very form."
        )
    return found


def find_token(index: str, sentence: str) -> Span:
    """Where a token of a tokenised sentence stands, by its number from 0. Any white space parts tokens, as it does in
    the datasets that count so (a no-break space included).

    Raises:
        ProbeError: no number, or the sentence has fewer tokens.
    """
    spans = [found.span() for found in _TOKEN.finditer(sentence)]
    if not index.isdecimal():
        raise ProbeError(f"the place of the word is {index!r}, expected the number of its token, from 0.")
    if int(index) >= len(spans):
        raise ProbeError(
            f"the word is said to be token {index}, but the sentence has {len(spans)} tokens (0 to {len(spans) - 1})."
            " Correct the number."
        )
    return spans[int(index)]


def marked(sentence: str, span: Span) -> str:
    """The sentence with the word in square brackets."""
    begin, end = span
    return f"{sentence[:begin]}[{sentence[begin:end]}]{sentence[end:]}"


def _whole_word(word: str, sentence: str) -> Span | None:
    """The first place where the word stands between characters that belong to no word, in either case."""
    low, sought = sentence.lower(), word.lower()
    if len(low) != len(sentence) or len(sought) != len(word):
        # A few capitals are two characters in lower case, which would shift all that follows.
        match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", sentence, re.IGNORECASE)
        return match.span() if match else None
    # No regular expression: compiling one for each word took 13 of the 15 s that WordNet's examples needed.
    begin = low.find(sought)
    while begin >= 0:
        end = begin + len(word)
        if not (_in_word(sentence[begin - 1 : begin]) or _in_word(sentence[end : end + 1])):
            return begin, end
        begin = low.find(sought, begin + 1)
    return None


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
