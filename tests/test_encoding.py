"""Laws of encoding: a cache changes no id, whatever the tokenizer and the text; memory is bounded."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.families import FAMILIES, real_text, tokenizer_of, wild_text
from tokenization import encoding
from tokenization.encoding import LONGEST_RUN, SentenceEncoder, cut_long

CACHED = [family for family in FAMILIES if family not in ("SentencePiece BPE", "words")]


def _plain(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[str], *, prefix: str = "") -> list[list[int]]:
    """What the tokenizers library gives."""
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.encode_special_tokens = True
    texts = [f"{prefix}{text}" if text and not text[0].isspace() else text for text in sentences]
    return [encoded.ids for encoded in copy.encode_batch_fast(texts, add_special_tokens=False)]


def _prefix(family: str) -> str:
    return " " if family in ("byte-level as RoBERTa", "byte-level as ModernBERT") else ""


def _lists(encoded: encoding.Encoded) -> list[list[int]]:
    assert encoded.ids.dtype == np.uint32 and encoded.lengths.dtype == np.int64
    assert encoded.lengths.sum() == len(encoded.ids)
    return [part.tolist() for part in np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1])]


class _Counting:
    """A tokenizer that remembers which texts it was asked for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.texts: list[str] = []

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.texts += texts
        return self.tokenizer.encode_batch_fast(texts, **options)


# The same ids --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_real_sentences_get_the_ids_of_the_library_the_first_time_and_again(family: str) -> None:
    encoder, lines = SentenceEncoder(tokenizer_of(family).backend_tokenizer), real_text()
    expected = _plain(tokenizer_of(family), lines, prefix=_prefix(family))
    assert _lists(encoder.encode(lines)) == expected
    assert _lists(encoder.encode(lines)) == expected


ENCODERS = {family: SentenceEncoder(tokenizer_of(family).backend_tokenizer) for family in FAMILIES}


@given(st.lists(wild_text(), min_size=1, max_size=4))
def test_wild_sentences_get_the_ids_of_the_library(sentences: list[str]) -> None:
    for family, encoder in ENCODERS.items():
        expected = _plain_cached(family, sentences)
        assert _lists(encoder.encode(sentences)) == expected, family


PLAIN = {family: Tokenizer.from_str(tokenizer_of(family).backend_tokenizer.to_str()) for family in FAMILIES}


def _plain_cached(family: str, sentences: list[str]) -> list[list[int]]:
    PLAIN[family].encode_special_tokens = True
    texts = [f"{_prefix(family)}{text}" if text and not text[0].isspace() else text for text in sentences]
    return [encoded.ids for encoded in PLAIN[family].encode_batch_fast(texts, add_special_tokens=False)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_name_of_a_special_token_in_a_text_is_letters(family: str) -> None:
    tokenizer = tokenizer_of(family)
    ids = SentenceEncoder(tokenizer.backend_tokenizer).encode(["a [MASK] b[SEP]c"]).ids
    assert not {tokenizer.mask_token_id, tokenizer.sep_token_id} & set(ids.tolist())


def test_a_byte_level_tokenizer_without_prefix_marks_the_first_word_like_the_others() -> None:
    tokenizer = tokenizer_of("byte-level as RoBERTa")
    (ids,) = _lists(SentenceEncoder(tokenizer.backend_tokenizer).encode(["the the"]))
    assert ids[: len(ids) // 2] == ids[len(ids) // 2 :]
    assert tokenizer.convert_ids_to_tokens(ids)[0].startswith("Ġ")


def test_nothing_gives_nothing() -> None:
    encoder = SentenceEncoder(tokenizer_of("wordpiece").backend_tokenizer)
    nothing = encoder.encode([])
    assert (len(nothing.ids), len(nothing.lengths), nothing.num_words) == (0, 0, 0)
    assert _lists(encoder.encode(["", " \n ", "\0"])) == [[], [], []]


def test_the_tokenizer_that_is_given_is_left_as_it_is() -> None:
    tokenizer = tokenizer_of("wordpiece")
    before = tokenizer("a [MASK]").input_ids
    SentenceEncoder(tokenizer.backend_tokenizer).encode(["a [MASK]"])
    assert tokenizer("a [MASK]").input_ids == before and tokenizer.mask_token_id in before


# The cache -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CACHED)
def test_a_chunk_is_encoded_once(family: str) -> None:
    encoder = SentenceEncoder(tokenizer_of(family).backend_tokenizer)
    encoder._tokenizer = counting = _Counting(encoder._tokenizer)
    encoder.encode(["one two, one", "two, three"])
    encoder.encode(["three one"])
    assert [text.strip() for text in counting.texts] == ["one", "two,", "three"]


def test_a_full_cache_starts_anew_and_changes_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_MOST_CHUNKS", 10)
    encoder, lines = SentenceEncoder(tokenizer_of("bpe").backend_tokenizer), real_text()
    longest = max(len(set(line.split(" "))) for line in lines)
    for line in lines:
        assert _lists(encoder.encode([line])) == _plain_cached("bpe", [line])
        assert len(encoder._numbers) <= 10 + 1 + longest
    monkeypatch.setattr(encoding, "_MOST_CHUNKS", 10**6)
    monkeypatch.setattr(encoding, "_MOST_CHARACTERS", 100)
    for line in lines[:50]:
        encoder.encode([line])
        assert sum(map(len, encoder._numbers)) <= 100 + len(line)


def _with(family: str, **parts: Any) -> PreTrainedTokenizerFast:
    """A family's tokenizer with other parts."""
    tokenizer = Tokenizer.from_str(tokenizer_of(family).backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _with_added(family: str) -> PreTrainedTokenizerFast:
    tokenizer = _with(family)
    tokenizer.add_tokens([AddedToken("two words")])
    return tokenizer


@pytest.mark.parametrize(
    "make",
    [
        lambda: _with_added("wordpiece"),
        lambda: _with("unigram", normalizer=normalizers.Replace(" the", "")),
        lambda: _with("bpe", normalizer=normalizers.NFKC(), pre_tokenizer=pre_tokenizers.ByteLevel()),
        lambda: _with("unigram", pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    ],
    ids=["added token with a space", "normalizer over spaces", "two spaces of one character", "pieces over spaces"],
)
def test_a_tokenizer_whose_chunks_are_not_on_their_own_gets_whole_sentences(
    make: Callable[[], PreTrainedTokenizerFast],
) -> None:
    tokenizer = make()
    encoder = SentenceEncoder(tokenizer.backend_tokenizer)
    encoder._tokenizer = counting = _Counting(encoder._tokenizer)
    sentences = ["is two words of the", "a\u00b4 \u00b4b", "of  the two words", "the the"]
    assert _lists(encoder.encode(sentences)) == _plain(tokenizer, sentences)
    assert counting.texts == sentences


def test_words_are_counted_whatever_the_tokenizer() -> None:
    sentences = ["one two,  three\nfour", " five\u3000six ", "", "seven"]
    for encoder in ENCODERS.values():
        assert [encoder.encode(sentences).num_words for _ in range(2)] == [7, 7]


# Long text -----------------------------------------------------------------------------------------------------------

LONG = {
    "one run": "x" * 35_000,
    "a run of just the length": "x" * LONGEST_RUN + " y",
    "runs and spaces": ("x" * 25_000 + " ") * 9,
    "runs that are nearly too long": ("x" * 9_999 + " ") * 30 + "y" * 10_001,
    "words": "some words here " * 20_000,
    "line breaks alone": "some\n" * 50_000,
    "spaces alone": " " * 250_000,
    "no spaces, CJK": "中文" * 60_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_is_cut_where_nothing_is_lost_and_only_long_runs_are_broken(text: str) -> None:
    parts = list(cut_long(text))
    assert max(map(len, parts)) <= 100_010
    runs = [run for part in parts for run in part.split()]
    assert "".join(runs) == "".join(text.split())
    assert max(map(len, runs), default=0) <= LONGEST_RUN
    if max(map(len, text.split()), default=0) <= LONGEST_RUN:
        assert runs == text.split()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_sentence_of_short_words_gets_the_ids_of_the_library(family: str) -> None:
    sentences = ["short", ("some words here " * 7_000).strip(), "", "the end"]
    expected = _plain_cached(family, sentences)
    assert _lists(ENCODERS[family].encode(sentences)) == expected


def test_a_run_without_white_space_has_the_ids_of_its_parts() -> None:
    encoder = SentenceEncoder(tokenizer_of("bpe").backend_tokenizer)
    whole = encoder.encode(["a" * 25_000, "b"])
    parts = encoder.encode(["a" * 10_000, "a" * 10_000, "a" * 5_000, "b"])
    assert whole.ids.tolist() == parts.ids.tolist()
    assert whole.lengths.tolist() == [parts.lengths[:3].sum(), 1]
