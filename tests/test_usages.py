"""Tables of words in sentences with their senses: what is read, and what is refused with its line."""

from pathlib import Path

import pytest

from probes.probe_error import ProbeError
from probes.usages import BUILT_IN, read_usages
from tests.probe_models import table, write_table


def test_the_built_in_table_has_twenty_sentences_a_sense() -> None:
    usages = read_usages(BUILT_IN)
    assert {usage.word for usage in usages} == {"bank", "bat", "fly", "spring", "crane", "match"}
    for word, sense in {(usage.word, usage.sense) for usage in usages}:
        assert sum((u.word, u.sense) == (word, sense) for u in usages) >= 20, (word, sense)


def test_the_word_stands_at_its_span() -> None:
    for usage in read_usages(BUILT_IN):
        assert usage.sentence[slice(*usage.span)].lower() == usage.word


def test_usages_are_grouped_by_word_and_sense_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [("b", "b one", "y"), ("a", "a one", "q"), ("b", "b two", "x"), ("a", "a two", "p")]
    rows += [(w, f"{s} again", sense) for w, s, sense in rows]
    usages = read_usages(write_table(tmp_path / "t.tsv", rows))
    assert [(u.word, u.sense, u.line) for u in usages] == [
        *(("b", "y", 2), ("b", "y", 6), ("b", "x", 4), ("b", "x", 8)),
        *(("a", "q", 3), ("a", "q", 7), ("a", "p", 5), ("a", "p", 9)),
    ]


def test_only_whole_words_match_in_either_case(tmp_path: Path) -> None:
    rows = [("bat", "Acrobats saw a bat", "a"), ("bat", "Bat and ball", "a"), ("bat", "a batter's bat", "b")]
    rows += [("bat", "combat, bat!", "b")]
    assert [u.span for u in read_usages(write_table(tmp_path / "t.tsv", rows))] == [(15, 18), (0, 3), (11, 14), (8, 11)]


def test_a_start_picks_the_occurrence(tmp_path: Path) -> None:
    rows = [(*row, "") for row in table()]
    rows[0] = ("bank", "bank by the bank", "bank-one", "12")
    usages = read_usages(write_table(tmp_path / "t.tsv", rows, "word\tsentence\tsense\tstart"))
    assert usages[0].span == (12, 16)


def test_sentences_of_one_source_are_not_comparable(tmp_path: Path) -> None:
    rows = [(*row, source) for row, source in zip(table(3), "abc" * 4, strict=True)]
    usages = read_usages(write_table(tmp_path / "t.tsv", rows, "word\tsentence\tsense\tsource"))
    assert not usages[0].comparable(usages[3]) and not usages[0].comparable(usages[0])
    assert usages[0].comparable(usages[1])


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    plain = write_table(tmp_path / "t.tsv", table())
    (tmp_path / "w.tsv").write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    assert read_usages(tmp_path / "w.tsv") == read_usages(plain)


HEADER = "word\tsentence\tsense"
GOOD = [f"bank\tthe bank {i}\t{'ab'[i % 2]}" for i in range(4)]
REFUSED = {
    "": r"is empty\. Expected a header",
    HEADER: r"has a header and no line below it.*Add sentences",
    "word\tsentence\n" + GOOD[0]: r":1: the column 'sense' is missing\. Expected a header.*Correct the first line",
    f"{HEADER}\tsourse\nbank\tbank\ta\tx": r"the column 'sourse' is unknown; did you mean 'source'\?",
    f"{HEADER}\nbank the bank a": r"1 problem\n  line 2: got 1 columns, expected 3\. Separate columns by one tab",
    "\n".join(
        [HEADER, *GOOD, "bank\tthe banks\ta"]
    ): r"line 6: 'bank' does not stand in 'the banks' as a whole word\. C",
    "\n".join([HEADER, *GOOD, "bank\t\ta"]): r"line 6: the sentence is empty\. Fill it in",
    "\n".join([HEADER, *GOOD, GOOD[1]]): r"line 6: repeats the sentence of line 3 for 'bank'.*Take one out",
    "\n".join(
        [HEADER, *GOOD, "bank\tour bank\tc"]
    ): r"line 6: the sense 'c' of 'bank' has 1 sentence, expected at least",
    "\n".join([HEADER, GOOD[0], GOOD[2]]): r"line 2: the word 'bank' has one sense \('a'\), expected at least 2\. Add",
    f"{HEADER}\tstart\nbank\tthe bank\ta\t3": r"line 2: at start 3 stands ' ban', expected the word 'bank'\. Count",
    f"{HEADER}\tstart\nbank\tthe bank\ta\tx": r"line 2: start is 'x', expected a whole number",
    "\n".join(
        [f"{HEADER}\tsource", *(f"{row}\tbook" for row in GOOD)]
    ): r"line 2 has no sentence of that sense from an",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_a_faulty_table_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ProbeError, match=REFUSED[text]) as refusal:
        read_usages(tmp_path / "t.tsv")
    assert str(tmp_path / "t.tsv") in str(refusal.value)


def test_every_faulty_line_is_reported_at_once(tmp_path: Path) -> None:
    rows = [("bank", f"no such word {i}", "a") for i in range(14)]
    with pytest.raises(ProbeError, match=r"(?s)has 14 problems\n  line 2: [^\n]*\n  line 3: .*\n  \.\.\. and 4 more"):
        read_usages(write_table(tmp_path / "t.tsv", rows))


def test_bytes_that_are_not_utf8_are_refused_with_line_and_offset(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"word\tsentence\tsense\nbank\tcaf\xe9 bank\ta\n")
    with pytest.raises(ProbeError, match=r"t\.tsv:2: byte 28 is not UTF-8.*Save the file as UTF-8"):
        read_usages(tmp_path / "t.tsv")


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"there is no such file\. Expected a table with the columns word"):
        read_usages(tmp_path / "none.tsv")
