"""An example as a person reads it: its pieces as running text, with what is asked of the model marked in it.

The marks say all that the colours say, so that a page reads the same in a pipe. Where a tokenizer keeps no white space,
the space around punctuation is guessed.
"""

from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pretrain.example import Bools, Example, TargetCounts
from tokenization.vocabulary import Vocabulary

_HIDDEN, _REPLACED, _KEPT = "black on yellow", "bold white on red", "black on green"
_UNKNOWN, _SPECIAL, _HEADING = "bold magenta", "dim", "bold"
_NO_SPACE_BEFORE = frozenset(".,;:!?%)]}\u2019”»…-\u2013\u2014")
_NO_SPACE_AFTER = frozenset("([{\u2018“«$£€#-\u2013\u2014")
_IN_NUMBERS = frozenset(",.:")
_APOSTROPHES = ("'", "\u2019")
_AFTER_APOSTROPHE = frozenset(("s", "t", "d", "m", "re", "ve", "ll"))


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs around a target."""

    opening: str
    closing: str
    arrow: str


SIGNS = Marks(opening="\u2039", closing="\u203a", arrow="→")
ASCII_SIGNS = Marks(opening="<", closing=">", arrow="->")


class ExamplePage:
    """Turns examples of a vocabulary into what rich prints."""

    def __init__(self, vocabulary: Vocabulary, marks: Marks = SIGNS) -> None:
        self.vocabulary, self.marks = vocabulary, marks

    def legend(self) -> Text:
        """What the marks mean."""
        legend = Text()
        for mark, meaning in (
            (self._hidden("dog"), "the model sees [MASK] and is to say dog"),
            (self._replaced("cat", "dog"), "it sees cat and is to say dog"),
            (self._kept("dog"), "it sees dog and is to say dog"),
        ):
            legend.append_text(mark).append(f"  {meaning}\n")
        return legend.append("#12 is the number of a document among those trained on", "dim")

    def example(self, example: Example) -> RenderableType:
        """One example: a heading, a line a piece, and what there is to count."""
        pieces = Table.grid(padding=(0, 2, 0, 0))
        pieces.add_column(style=_HEADING, no_wrap=True)
        pieces.add_column(style="dim", no_wrap=True)
        pieces.add_column(ratio=1, overflow="fold")
        parts = example.parts()
        for number, part in enumerate(parts):
            documents = " ".join(f"#{document}" for document in example.documents_of(part))
            pieces.add_row(_label(example, parts, number), documents, self.text(example, part))
        heading = Rule(Text(_heading(example), _HEADING), align="left", style="dim")
        return Group(heading, pieces, Text(self._statistics(example), "dim"), Text())

    def text(self, example: Example, part: slice) -> Text:
        """The tokens of a piece as running text, targets marked."""
        text = Text()
        labels, seen = example.labels[part], example.input_ids[part]
        original = example.original_ids[part]
        words = [self._surface(id) for id in original.tolist()]
        for place, (space, target) in enumerate(
            zip(self._spaces(original, words), example.is_target[part].tolist(), strict=True)
        ):
            text.append(" " if space and place else "")
            id = int(original[place])
            if not target:
                text.append(words[place], self._style(id))
            elif seen[place] == self.vocabulary.mask_id:
                text.append_text(self._hidden(self._surface(int(labels[place]))))
            elif seen[place] == labels[place]:
                text.append_text(self._kept(words[place]))
            else:
                text.append_text(self._replaced(self._surface(int(seen[place])), self._surface(int(labels[place]))))
        return text

    def _spaces(self, ids: np.ndarray, words: list[str]) -> list[bool]:
        """Whether a space stands before each token."""
        before = np.concatenate([[self.vocabulary.cls_id], ids[:-1]])
        begins: list[bool] = self.vocabulary.begins_word(before, ids).tolist()
        for place in range(1, len(words)):
            follows = words[place + 1] if place + 1 < len(words) else ""
            word, last = words[place], words[place - 1]
            shortens = word in _APOSTROPHES and follows in _AFTER_APOSTROPHE
            shortened = last in _APOSTROPHES and word in _AFTER_APOSTROPHE
            in_number = last in _IN_NUMBERS and place > 1 and word.isdecimal() and words[place - 2].isdecimal()
            if word in _NO_SPACE_BEFORE or last in _NO_SPACE_AFTER or shortens or shortened or in_number:
                begins[place] = False
        return begins

    def _surface(self, id: int) -> str:
        """A token as it stands in a text, what no terminal should get written as an escape."""
        token = self.vocabulary.tokens[id] or f"(id {id})"
        return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in token)

    def _style(self, id: int) -> str:
        if id == self.vocabulary.unk_id:
            return _UNKNOWN
        return _SPECIAL if self.vocabulary.is_special[id] else ""

    def _hidden(self, word: str) -> Text:
        return self._marked(word, _HIDDEN)

    def _replaced(self, word: str, original: str) -> Text:
        return self._marked(f"{word}{self.marks.arrow}{original}", _REPLACED)

    def _kept(self, word: str) -> Text:
        return self._marked(f"={word}", _KEPT)

    def _marked(self, inside: str, style: str) -> Text:
        return Text(f"{self.marks.opening}{inside}{self.marks.closing}", style, end="")

    def _statistics(self, example: Example) -> str:
        is_special: Bools = self.vocabulary.is_special[example.original_ids]
        num_tokens, num_places = int(example.attention_mask.sum()), len(example.input_ids)
        num_unknown = int((example.original_ids[:num_tokens] == self.vocabulary.unk_id).sum())
        num_maskable = int((~is_special).sum())
        counts = TargetCounts.of(example.input_ids, example.labels, self.vocabulary)
        unknown = f" {num_unknown} unknown," if num_unknown else ""
        return (
            f"{num_places} places: {num_maskable} tokens of text,{unknown} {num_tokens - num_maskable - num_unknown} "
            f"special, {num_places - num_tokens} padding. {counts.total} targets "
            f"({counts.total / max(1, num_maskable):.1%} of the text): {counts.hidden} hidden, {counts.replaced} "
            f"replaced, {counts.kept} kept"
        )


def _heading(example: Example) -> str:
    said = {
        "next_sentence_label": (example.next_sentence_label, ("B follows A", "B is random")),
        "sentence_order_label": (example.sentence_order_label, ("A and B in order", "A and B exchanged")),
    }
    labels = [f"{meanings[label]} ({name} {label})" for name, (label, meanings) in said.items() if label is not None]
    return ", ".join([f"example {example.index}", *labels])


def _label(example: Example, parts: list[slice], number: int) -> str:
    """A and B for segments, numbers for the pieces of a packed row, nothing for a row in one piece."""
    if example.token_type_ids.any():
        return "AB"[int(example.token_type_ids[parts[number].start])]
    return str(number + 1) if len(parts) > 1 else ""
