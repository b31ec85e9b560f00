"""Laws of sentence splitting."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenization.reading.sentences import SPLITTERS, WINDOW, split_lines, split_sentences

TEXTS = [
    "One sentence. Another one! A third?",
    "A heading\n\nText below it. More of it.",
    'He said "Go. Now!" and left... Dr. Smith stayed until 3.5 p.m. on Monday.',
    "No full stop at all",
    "Zeile eins.\r\nZeile zwei.\r\n\r\nNeuer Absatz.",
    "日本語の文。もう一つの文。\n\n終わり。",
    "  \n\n \t trailing spaces. \u00a0 \n\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_but_white_space_is_lost(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize("text", TEXTS)
def test_no_sentence_is_empty_or_has_white_space_around_it(text: str) -> None:
    sentences = split_sentences(text)
    assert sentences
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\n \t\n", "\r\r", "\n\n\n\n"])
def test_a_blank_line_ends_a_sentence(blank: str) -> None:
    assert split_sentences(f"Chapter One{blank}it began") == ["Chapter One", "it began"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_single_line_end_does_not_end_a_sentence(line_end: str) -> None:
    assert split_sentences(f"The line is{line_end}wrapped here. Then more.") == [
        "The line is\nwrapped here.",
        "Then more.",
    ]


def test_an_abbreviation_does_not_end_a_sentence() -> None:
    assert split_sentences("Dr. Smith went home. He slept.") == ["Dr. Smith went home.", "He slept."]


def test_the_language_decides_what_an_abbreviation_is() -> None:
    text = "Wir treffen uns bzgl. Angebot und ggf. Vertrag am Montag."
    assert split_sentences(text, "de") == [text]


@pytest.mark.parametrize("text", ["", " ", "\n\n\r\n"])
def test_a_text_without_text_has_no_sentence(text: str) -> None:
    assert split_sentences(text) == []


# Wild texts -----------------------------------------------------------------------------------------------------------

WILD = st.text(
    st.one_of(
        st.sampled_from(" \n\t\r\0\x0b\x1c\x85\u00a0\u2028\u3000.!?。\"“”'()«»aAb1é日م😀\u200d\ufeff\u0301"),
        st.characters(codec="utf-8"),
    )
)


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(text=WILD, language=st.sampled_from(["en", "de", "ja", "ar", "th", "xx"]))
@settings(max_examples=100, deadline=None)
def test_any_text_is_split_and_loses_nothing_but_white_space(splitter: str, text: str, language: str) -> None:
    sentences = SPLITTERS[splitter](text, language)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@given(unit=WILD.filter(bool), language=st.sampled_from(["en", "ja"]))
@settings(max_examples=40, deadline=None)
def test_a_paragraph_longer_than_the_window_loses_nothing_either(unit: str, language: str) -> None:
    text = (unit + "a") * (WINDOW // 2)
    sentences = split_sentences(text[: 5 * WINDOW], language)
    assert "".join("".join(sentences).split()) == "".join(text[: 5 * WINDOW].split())
    assert max(map(len, sentences)) <= WINDOW


def test_a_long_paragraph_is_cut_between_its_sentences() -> None:
    sentences = [f"This is sentence {i} of a paragraph, and it is rather long." for i in range(2000)]
    assert split_sentences(" ".join(sentences)) == sentences


def test_a_sentence_longer_than_the_window_is_cut_at_white_space() -> None:
    words = [f"word{i}" for i in range(10_000)]
    sentences = split_sentences(" ".join(words))
    assert len(sentences) < 15
    assert " ".join(sentences).split() == words


def test_a_word_longer_than_the_window_is_cut_at_its_end() -> None:
    assert list(map(len, split_sentences("a" * (2 * WINDOW + 5)))) == [WINDOW, WINDOW, 5]


@pytest.mark.parametrize(
    "unit", ["日本語の文。もう一つの「文。」", "“Go. Now. ", '"', "\0", "a", "Wow! ", "Dr. "], ids=ascii
)
def test_a_paragraph_without_a_break_is_split_in_time(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    start = time.process_time()
    split_sentences(text)
    # sentencex alone takes 13 s and more for the first two.
    assert time.process_time() - start < 10


# Lines ----------------------------------------------------------------------------------------------------------------


def test_every_line_with_text_is_a_sentence() -> None:
    text = "One. Still one.\n\n  two \r\nthree\rfour\u2028still four\n \t\n"
    assert split_lines(text) == ["One. Still one.", "two", "three", "four\u2028still four"]
