"""A word in a sentence with its sense, and what must hold of many of them together."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from probes.source import Span

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Usage:
    """A word in a sentence, with the sense that it has there."""

    word: str
    sentence: str
    sense: str
    source: str | None
    """The document of the sentence, if it is known."""
    span: Span
    """First character of the word in the sentence, and the one after its last."""
    line: int
    """Line of its file, counted from 1."""
    split: Split | None = None
    """The part that it is meant for; None: the data has no parts. Data in two files has one for each part, so word,
    line and split together are this usage and no other."""

    def comparable(self, other: "Usage") -> bool:
        """Whether the other may be a neighbour of this one: not itself, and not from the same source."""
        is_itself = (self.line, self.split, self.word) == (other.line, other.split, other.word)
        return not is_itself and (self.source is None or self.source != other.source)


def in_order(usages: Sequence[Usage]) -> list[Usage]:
    """Grouped by word, in the order of first appearance, and by sense inside a word."""
    words: dict[str, int] = {}
    senses: dict[tuple[str, str], int] = {}
    for position, usage in enumerate(usages):
        words.setdefault(usage.word, position)
        senses.setdefault((usage.word, usage.sense), position)
    return sorted(usages, key=lambda usage: (words[usage.word], senses[usage.word, usage.sense]))


def problems_of_all(usages: Sequence[Usage], place: Callable[[Usage], str]) -> list[str]:
    """What is wrong with usages that no single line shows: a sentence given twice, a word with one sense, a sense with
    one sentence or one source.

    Args:
        place: the file and line of a usage, for messages: 'line 7'.
    """
    problems = []
    by_word: dict[str, dict[str, list[Usage]]] = defaultdict(lambda: defaultdict(list))
    first_of: dict[tuple[str, str], Usage] = {}
    for usage in usages:
        by_word[usage.word][usage.sense].append(usage)
        first = first_of.setdefault((usage.word, usage.sentence), usage)
        if first is not usage:
            problems.append(
                f"{place(usage)}: repeats the sentence of {place(first)} for {usage.word!r}, so each would be the"
                " other's nearest neighbour. Take one out."
            )
    for word, senses in by_word.items():
        of_the_word = [usage for members in senses.values() for usage in members]
        if len(senses) < 2:
            problems.append(
                f"{place(of_the_word[0])}: the word {word!r} has one sense ({next(iter(senses))!r}), expected at least"
                " 2. Add sentences of another sense or take the word out."
            )
            continue
        for members in senses.values():
            problems += _problems_of_a_sense(members, of_the_word, place)
    return problems


def _problems_of_a_sense(
    members: Sequence[Usage], of_the_word: Sequence[Usage], place: Callable[[Usage], str]
) -> list[str]:
    word, sense = members[0].word, members[0].sense
    where = f"{place(members[0])}: the sense {sense!r} of {word!r}"
    if len(members) < 2:
        return [f"{where} has 1 sentence, expected at least 2. Add one or take the sense out."]
    others = [usage for usage in of_the_word if usage.sense != sense]
    for usage in members:
        for candidates, kind in ((members, "of that sense"), (others, "of another sense")):
            if not any(usage.comparable(other) for other in candidates):
                return [
                    f"{where}: {place(usage)} has no sentence {kind} from another source than {usage.source!r} to be"
                    " compared with. Add sentences from other sources or correct the source column."
                ]
    return []
