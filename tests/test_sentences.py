"""Laws of sentence splitting."""

import pytest

from tokenization.sentences import split_sentences

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
