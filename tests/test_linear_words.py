"""Reading words with labels: columns, CoNLL-U and tables, and what is wrong with a file."""

import gzip
from pathlib import Path

import pytest

from probes import ProbeError
from probes.linear.labelled_words import read_labelled_words


def read(tmp_path: Path, text: str, column: str | None = None, name: str = "words.tsv") -> list[tuple[str, list]]:
    """Each sentence with its (word, label)s, the words cut out by their spans."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return [
        (one.text, [(one.text[a:b], label) for (a, b), label in zip(one.spans, one.labels, strict=True)])
        for one in read_labelled_words(path, column=column)
    ]


TWO = [("The bank", [("The", "DET"), ("bank", "NOUN")]), ("Go !", [("Go", "VERB"), ("!", "PUNCT")])]


@pytest.mark.parametrize("name", ["words.tsv", "words.gz"])
def test_a_word_and_its_label_a_line(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, "The\tDET\nbank\tNOUN\n\n\nGo\tVERB\n!\tPUNCT", name=name) == TWO
    assert read(tmp_path, "-DOCSTART- O\n\nThe DET\nbank NOUN\n\nGo VERB\r\n! PUNCT\n", name=name) == TWO


def test_the_column_of_the_label_goes_by_number_or_by_name(tmp_path: Path) -> None:
    text = "The\tx\tDET\nbank\ty\tNOUN\n\nGo\tz\tVERB\n!\tw\tPUNCT\n"
    assert read(tmp_path, text, "3") == TWO
    named = "n\tform\tx\tclass\n" + "".join(f"1\t{line}\n" if line else "\n" for line in text.split("\n"))
    assert read(tmp_path, named, "class") == TWO


def test_conllu_is_known_by_its_ten_columns(tmp_path: Path) -> None:
    def row(number: str, word: str, label: str) -> str:
        return "\t".join([number, word, "lemma", label, "XX", *["_"] * 5])

    text = "\n".join(
        ["# text = The bank", row("1-2", "Thebank", "_"), row("1", "The", "DET"), row("2", "bank", "NOUN"),
         row("2.1", "empty", "X"), "", "# sent_id = 2", row("1", "Go", "VERB"), row("2", "!", "PUNCT"), ""]
    )  # fmt: skip
    assert read(tmp_path, text) == TWO
    assert {label for _, words in read(tmp_path, text, "5") for _, label in words} == {"XX"}


def test_a_table_names_words_by_place_or_as_they_stand(tmp_path: Path) -> None:
    rows = [("The bank", 0, 3, "DET"), ("Go !", 0, 2, "VERB"), ("The bank", 4, 8, "NOUN"), ("Go !", 3, 4, "PUNCT")]
    lines = ["sentence\tstart\tend\tlabel", *("\t".join(map(str, row)) for row in rows)]
    assert read(tmp_path, "\n".join(lines)) == TWO
    by_word = ["label\tword\tsentence", *(f"{label}\t{text[a:b]}\t{text}" for text, a, b, label in rows[:3])]
    assert read(tmp_path, "\n".join(by_word)) == [TWO[0], ("Go !", [("Go", "VERB")])]
    second = "sentence\tword\tstart\tlabel\nso bank bank\tbank\t4\tX\n"
    path = tmp_path / "second.tsv"
    path.write_text(second, encoding="utf-8")
    assert read_labelled_words(path)[0].spans == ((8, 12),)


def test_a_word_without_a_label_stands_in_the_sentence_and_is_not_asked_about(tmp_path: Path) -> None:
    assert read(tmp_path, "The\t_\nbank\tNOUN\n\nso\t_\n") == [("The bank", [("bank", "NOUN")])]


def test_a_number_sign_with_a_label_is_a_word(tmp_path: Path) -> None:
    assert read(tmp_path, "# a comment\n#\tSYM\n1\tNUM\n") == [("# 1", [("#", "SYM"), ("1", "NUM")])]


def test_a_text_may_begin_with_the_word_sentence(tmp_path: Path) -> None:
    assert read(tmp_path, "sentence\tNOUN\n1\tNUM\n") == [("sentence 1", [("sentence", "NOUN"), ("1", "NUM")])]


def test_sentences_know_their_number_and_line(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("\na\tX\nb\tY\n\nc\t_\n\n\nd\tX\n", encoding="utf-8")
    assert [(one.number, one.line) for one in read_labelled_words(path)] == [(1, 2), (3, 8)]


MISTAKES = {
    "an empty file": ("", None, "is empty. Expected a word and its label a line"),
    "blank lines": ("\n \n", None, "is empty"),
    "one column": ("The\nbank\n", None, "has no column 2: its first line has 1"),
    "a column too many": ("The\tDET\n", "7", "has no column 7"),
    "an unknown name": ("The\tDET\n", "pos", "has no column pos.*no header of that name"),
    "a short line": ("The\tDET\nbank\n", None, r":2: got 1 column\(s\), expected a label in column 2"),
    "no label": ("The\t_\n\nbank\t_\n", None, "got no label in 2 sentences. Check --column"),
    "a table without label": ("sentence\tstart\tend\nx\t0\t1\n", None, "the column 'label' is missing"),
    "a table without place": ("sentence\tlabel\nx\tX\n", None, "the column 'start' is missing"),
    "a row of another length": ("sentence\tword\tlabel\nx\tx\n", None, ":2: got 2 columns, expected 3"),
    "a place that is not there": ("sentence\tstart\tend\tlabel\nx\t0\t9\tX\n", None, ":2: characters 0 to 9 is not in"),
    "a word that is not there": ("sentence\tword\tlabel\nbank\tban\tX\n", None, ":2: 'ban' is not in 'bank'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(tmp_path: Path, mistake: str) -> None:
    text, column, message = MISTAKES[mistake]
    with pytest.raises(ProbeError, match=message):
        read(tmp_path, text, column)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"there is no such file\. Expected a file of labelled words"):
        read_labelled_words(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"caf\xe9\tNOUN\n")
    with pytest.raises(ProbeError, match="byte 3 is not UTF-8"):
        read_labelled_words(tmp_path / "latin")
    (tmp_path / "broken.gz").write_bytes(b"The\tDET\n")
    with pytest.raises(ProbeError, match=r"broken\.gz: Not a gzipped file.*Expected a file of labelled words"):
        read_labelled_words(tmp_path / "broken.gz")
    (tmp_path / "binary").write_bytes(b"The\tDET\nbank\0\tNOUN\n")
    with pytest.raises(ProbeError, match=r"binary:2: holds a NUL, so it is no text"):
        read_labelled_words(tmp_path / "binary")
