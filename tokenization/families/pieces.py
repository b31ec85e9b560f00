"""How the tokens of each family of tokenizers show where words begin and end, and what a reader sees of them."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

CONTINUATION = "##"
WORD_MARK = "▁"

# As in BERT's tokenizer; Korean and Japanese syllables are not among them.
_CJK = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Piece(NamedTuple):
    """What a token is of a word."""

    text: str
    """As it stands in a text, without marks; U+FFFD in the place of a part of a character."""
    begins: bool
    """It begins a word whatever stands before it."""
    ends: bool
    """It ends a word whatever follows it."""


def stands_apart(character: str) -> bool:
    """Whether a character is a word of its own: punctuation, a symbol or a CJK character, but no letter or digit."""
    return unicodedata.category(character)[0] in "PS" or any(a <= ord(character) <= b for a, b in _CJK)


def piece_reader(content: dict[str, Any]) -> Callable[[str], Piece] | None:
    """How to read the tokens of a tokenizer (its tokenizer.json, parsed); None if they do not show their words.

    Words are parted by white space, and punctuation, symbols and CJK characters are words of their own, whatever the
    family: a token that begins with one begins a word, one that ends with one ends it. A token of several of them,
    such as "...", is one word. A token of bytes that are no whole characters shows only the mark that it has.
    """
    model = content["model"]
    steps = repr([content.get(step) for step in ("normalizer", "pre_tokenizer", "decoder")])
    if model["type"] == "WordLevel":
        return lambda token: Piece(token, begins=True, ends=True)
    decode = _decode_bytes if "'ByteLevel'" in steps else str
    if prefix := model.get("continuing_subword_prefix"):
        return lambda token: _piece(decode(token.removeprefix(prefix)), begins=not token.startswith(prefix))
    if suffix := model.get("end_of_word_suffix"):
        return lambda token: _piece(decode(token.removesuffix(suffix)), ends=token.endswith(suffix))
    if "'ByteLevel'" in steps:
        return lambda token: _marked(_decode_bytes(token), " ")
    if WORD_MARK in steps:
        return lambda token: _marked(_decode_fallback(token), WORD_MARK)
    return None


def _marked(text: str, mark: str) -> Piece:
    """The piece of a token whose first character may be the mark of a word; a mark alone belongs to what follows."""
    return _piece(text.removeprefix(mark), begins=text.startswith(mark))


def _piece(text: str, *, begins: bool = False, ends: bool = False) -> Piece:
    return Piece(
        # Bytes that are no whole character stand in the text as surrogates, which are in no category of the above.
        text=text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        begins=begins or any(c.isspace() or stands_apart(c) for c in text[:1]),
        ends=ends or any(c.isspace() or stands_apart(c) for c in text[-1:]),
    )


def _byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level token stands for (GPT-2): itself if it can be seen, or else the next
    free character from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_of_character()


def _decode_bytes(token: str) -> str:
    """The text of a byte-level token, each byte that is no whole character as a surrogate; others as they are."""
    if not all(character in _BYTES for character in token):
        return token
    return bytes(_BYTES[character] for character in token).decode("utf-8", "surrogateescape")


def _decode_fallback(token: str) -> str:
    """The text of a token that may be a byte, such as <0x0A>."""
    byte = _BYTE.fullmatch(token)
    return token if byte is None else bytes([int(byte[1], 16)]).decode("utf-8", "surrogateescape")
