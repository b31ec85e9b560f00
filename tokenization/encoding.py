"""Sentences to ids: what the tokenizers library gives, several times as fast, because text repeats itself.

Where a tokenizer treats the chunks of a text between white space each on its own, a chunk is encoded once and then
looked up. Which tokenizers do is a list of known parts; every other one encodes whole sentences.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer

LONGEST_RUN = 10_000
"""Characters without white space that are encoded as one; the library takes up to some hundred bytes for each."""

_LONGEST_PART = 100_000
_LAST_SPACE = re.compile(r"\s\S*\Z")
_RUN = re.compile(r"\S+")
# Of sentences that are encoded at once, and of chunks that are remembered.
_CHARACTERS_AT_ONCE = 4_000_000
_MOST_CHARACTERS = 2**23
_MOST_CHUNKS = 2**17

# Steps that change a character, or one and the accents after it, whatever stands beyond the next space.
_LOCAL_NORMALIZERS = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents")


def cut_long(text: str) -> Iterator[str]:
    """Give a text in parts of about 100,000 characters, cut at white space; what is shorter is given as it is.

    A space at a cut is left out. A run of more than 10,000 characters without white space is cut, as if it had some.
    """
    if len(text) <= LONGEST_RUN:
        yield text
        return
    start = 0
    while start < len(text):
        end = start + _LONGEST_PART
        if end < len(text) and (space := _LAST_SPACE.search(text, start, end)) is not None:
            end = space.start() + 1
        part = text[start:end]
        yield _cut_runs(part.removesuffix(" ") if end < len(text) else part)
        start = end


def _cut_runs(part: str) -> str:
    if max(map(len, part.split()), default=0) <= LONGEST_RUN:
        return part

    def cut(match: re.Match[str]) -> str:
        run = match[0]
        return " ".join(run[i : i + LONGEST_RUN] for i in range(0, len(run), LONGEST_RUN))

    return _RUN.sub(cut, part)


class Encoded(NamedTuple):
    """The ids of sentences, one after another."""

    ids: np.ndarray
    """(num_ids,) uint32."""
    lengths: np.ndarray
    """(num_sentences,) int64: how many of the ids each sentence has; 0 where the tokenizer finds nothing."""
    num_words: int
    """Words between white space in all of the sentences, for pieces per word."""


class SentenceEncoder:
    """Gives the ids of sentences, without special tokens; "[MASK]" in a text is letters and brackets.

    They are those of `tokenizer.encode_batch_fast(sentences, add_special_tokens=False)` under
    `encode_special_tokens`, but for two differences. A byte-level tokenizer without `add_prefix_space` (RoBERTa,
    ModernBERT) sees a space before every sentence, the first of a document too, so that the first word has the mark
    that it has inside a sentence. And very long sentences are cut (`cut_long`), where the library would take memory of
    a hundred times their size; only what stands without white space for 10,000 characters can get other ids by it.

    It remembers at most 131,072 chunks or 8 million characters of them (32 MB where words have eight letters), and then
    starts anew.
    """

    # The chunks that are remembered by number: chunk n has _ids[_starts[n] : _starts[n] + _lengths[n]] and _words[n].
    _numbers: dict[str, int]
    _num_characters: int
    _starts: np.ndarray
    _lengths: np.ndarray
    _words: np.ndarray
    _ids: np.ndarray

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take a copy of a tokenizer, which is left as it is."""
        described = tokenizer.to_str()
        content = json.loads(described)
        self._tokenizer = Tokenizer.from_str(described)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._way = _way(content)
        self._prefix = " " if _lacks_prefix(content) else ""
        self._forget()

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Encode sentences; any number, of any length."""
        if not any(len(sentence) > LONGEST_RUN for sentence in sentences):
            groups = _groups(sentences)
            return _join([self._encode(group) for group in groups])
        parts = [list(cut_long(sentence)) for sentence in sentences]
        encoded = _join([self._encode(group) for group in _groups(list(chain.from_iterable(parts)))])
        starts = np.cumsum([0, *map(len, parts[:-1])])
        return encoded._replace(lengths=np.add.reduceat(encoded.lengths, starts))

    def _encode(self, sentences: Sequence[str]) -> Encoded:
        if self._way == "whole":
            ids = self._ids_of(sentences)
            num_words = sum(len(sentence.split()) for sentence in sentences)
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            return Encoded(np.fromiter(chain.from_iterable(ids), np.uint32, lengths.sum()), lengths, num_words)
        chunks_of = list(map(_at_white_space if self._way == "white space" else _at_single_spaces, sentences))
        num_chunks = np.fromiter(map(len, chunks_of), np.int64, len(chunks_of))
        numbers = self._look_up(list(chain.from_iterable(chunks_of)))
        lengths = self._lengths[numbers]
        ends = np.cumsum(lengths)
        places = np.repeat(self._starts[numbers] - ends + lengths, lengths) + np.arange(lengths.sum())
        first_chunks = np.cumsum(num_chunks) - num_chunks
        return Encoded(
            self._ids[places], np.add.reduceat(lengths, first_chunks), num_words=int(self._words[numbers].sum())
        )

    def _look_up(self, chunks: list[str]) -> np.ndarray:
        """The number of each chunk, after learning those that are new."""
        if len(self._numbers) > _MOST_CHUNKS or self._num_characters > _MOST_CHARACTERS:
            self._forget()
        numbers = np.fromiter(map(self._numbers.get, chunks, repeat(-1)), np.int64, len(chunks))
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            self._learn(list(dict.fromkeys(chunks[i] for i in unknown)))
            numbers[unknown] = [self._numbers[chunks[i]] for i in unknown]
        return numbers

    def _learn(self, chunks: list[str]) -> None:
        ids = self._ids_of(chunks)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        starts = len(self._ids) + np.cumsum(lengths) - lengths
        self._numbers.update(zip(chunks, range(len(self._starts), len(self._starts) + len(chunks)), strict=True))
        self._num_characters += sum(map(len, chunks))
        self._lengths = np.concatenate([self._lengths, lengths])
        # One but where a chunk has rarer white space inside.
        words = np.fromiter((len(chunk.split()) for chunk in chunks), np.int64, len(chunks))
        self._words = np.concatenate([self._words, words])
        self._starts = np.concatenate([self._starts, starts])
        self._ids = np.concatenate([self._ids, np.fromiter(chain.from_iterable(ids), np.uint32, lengths.sum())])

    def _ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        if self._prefix:
            texts = [text if not text or text[0].isspace() else self._prefix + text for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _forget(self) -> None:
        # What stands between two spaces in a row is nothing: chunk 0, which has no ids.
        self._numbers = {"": 0}
        self._num_characters = 0
        self._starts = self._lengths = self._words = np.zeros(1, dtype=np.int64)
        self._ids = np.zeros(0, dtype=np.uint32)


def _at_white_space(sentence: str) -> list[str]:
    """Chunks of a sentence; white space that is rarer than these stays inside, for the tokenizer to see."""
    return sentence.replace("\n", " ").split(" ")


def _at_single_spaces(sentence: str) -> list[str]:
    """Chunks of a sentence in which single spaces are all the white space; of any other, the whole as one chunk."""
    chunks = sentence.split()
    return chunks if chunks and " ".join(chunks) == sentence else [sentence]


def _groups(sentences: Sequence[str]) -> Iterator[Sequence[str]]:
    """Sentences in groups of about 4 million characters."""
    ends = np.cumsum(np.fromiter(map(len, sentences), np.int64, len(sentences)))
    start = 0
    while start < len(sentences):
        done = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, done + _CHARACTERS_AT_ONCE)))
        yield sentences[start:end]
        start = end


def _join(encoded: list[Encoded]) -> Encoded:
    if len(encoded) == 1:
        return encoded[0]
    return Encoded(
        ids=np.concatenate([np.zeros(0, np.uint32), *(each.ids for each in encoded)]),
        lengths=np.concatenate([np.zeros(0, np.int64), *(each.lengths for each in encoded)]),
        num_words=sum(each.num_words for each in encoded),
    )


# Which tokenizers treat chunks each on its own ------------------------------------------------------------------------


def _way(content: dict[str, Any]) -> Literal["white space", "single spaces", "whole"]:
    """Where a serialized tokenizer lets a text be cut without a change of ids: at any white space, at the spaces of a
    text that has no other white space and no two in a row, or nowhere."""
    added = [token for token in content["added_tokens"] if not token["special"]]
    if content["model"].get("dropout") or added:
        return "whole"
    normalizers = _steps(content["normalizer"])
    if not all(step["type"] in _LOCAL_NORMALIZERS or _replaces_character(step) for step in normalizers):
        return "whole"
    first, *rest = _steps(content["pre_tokenizer"]) or [{"type": None}]
    if first["type"] == "BertPreTokenizer" and not rest:
        return "white space"
    if first["type"] == "WhitespaceSplit" and rest and all(_is_local(step) for step in rest):
        return "white space"
    # NFKC can make spaces, and two in a row are not one to these.
    is_bare = first["type"] == "ByteLevel" and first["use_regex"] and not rest
    return "single spaces" if is_bare and all(step["type"] in ("NFC", "Lowercase") for step in normalizers) else "whole"


def _replaces_character(step: dict[str, Any]) -> bool:
    character = step["pattern"].get("String", " ") if step["type"] == "Replace" else " "
    return len(character) == 1 and character != " "


def _is_local(step: dict[str, Any]) -> bool:
    match step["type"]:
        case "Metaspace":
            return bool(step["prepend_scheme"] == "always")
        case "ByteLevel":
            return bool(step["add_prefix_space"])
        case kind:
            return kind in ("Split", "Punctuation", "Digits")


def _lacks_prefix(content: dict[str, Any]) -> bool:
    """Whether the first word of a text gets no mark from a byte-level tokenizer, unlike the words after it."""
    steps = _steps(content["pre_tokenizer"])
    return any(step["type"] == "ByteLevel" and not step["add_prefix_space"] for step in steps)


def _steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, which may be a sequence of them or none."""
    if step is None:
        return []
    if step["type"] != "Sequence":
        return [step]
    inner = step.get("normalizers") or step.get("pretokenizers") or []
    return [leaf for each in inner for leaf in _steps(each)]
