"""CoarseWSD-20 folders, WordNet's examples and compressed tables: what is read, and what is refused with its place."""

import gzip
import json
from pathlib import Path

import pytest

from probes.probe_error import ProbeError
from probes.reading.spans import find_word
from probes.usages import read, read_usages
from tests.probe_models import table, write_table

Lines = list[tuple[int, str, str]]
"""Number of the token, sentence, class."""
CLASSES = {"0": "bank_money", "1": "bank_river"}
TRAIN: Lines = [
    (1, "the bank lends", "0"),
    (2, "a steep bank of mud", "1"),
    (0, "bank notes , many", "0"),
    (1, "muddy bank", "1"),
]
TEST: Lines = [(3, "7\u00a01/2 tall bank", "1"), (1, "her bank", "0")]


def write_word(folder: Path, *, train: Lines = TRAIN, test: Lines = TEST, classes: object = CLASSES) -> Path:
    folder.mkdir(parents=True)
    (folder / "classes_map.txt").write_text(json.dumps(classes))
    for name, lines in (("train", train), ("test", test)):
        data = "".join(f"{index}\t{sentence}\n" for index, sentence, _ in lines)
        (folder / f"{name}.data.txt").write_text(data, encoding="utf-8")
        # Some of the published files end their lines as Windows does.
        (folder / f"{name}.gold.txt").write_bytes("".join(f"{key}\r\n" for _, _, key in lines).encode())
    return folder


def test_a_folder_of_coarsewsd_gives_parts_senses_and_places(tmp_path: Path) -> None:
    usages = read_usages(write_word(tmp_path / "bank"))
    assert [(u.sense, u.split, u.line) for u in usages] == [
        *(("bank_money", "train", 1), ("bank_money", "train", 3), ("bank_money", "test", 2)),
        *(("bank_river", "train", 2), ("bank_river", "train", 4), ("bank_river", "test", 1)),
    ]
    assert {u.sentence[slice(*u.span)] for u in usages} == {"bank"} and {u.word for u in usages} == {"bank"}


def test_tokens_are_counted_as_white_space_parts_them_no_break_spaces_included(tmp_path: Path) -> None:
    usage = next(u for u in read_usages(write_word(tmp_path / "bank")) if u.sentence.startswith("7"))
    assert usage.span == (11, 15)


def test_the_folder_above_holds_a_word_a_folder(tmp_path: Path) -> None:
    write_word(tmp_path / "all" / "bank")
    bows = [(i, sentence.replace("bank", "bow"), key) for i, sentence, key in TRAIN]
    write_word(tmp_path / "all" / "bow", train=bows, test=[(0, "bow", "0")], classes={"0": "x", "1": "y"})
    (tmp_path / "all" / "notes").mkdir()
    assert list(dict.fromkeys(u.word for u in read_usages(tmp_path / "all"))) == ["bank", "bow"]


def test_lines_with_the_same_number_in_two_parts_are_two_usages(tmp_path: Path) -> None:
    usages = read_usages(write_word(tmp_path / "bank"))
    by_place = {(u.split, u.line): u for u in usages}
    assert by_place["train", 1].comparable(by_place["test", 1])
    assert not any(u.comparable(u) for u in usages)


REFUSED = {
    "beyond the sentence": (
        {"test": [*TEST, (9, "a bank", "0")]},
        r"bank/test\.data\.txt line 3: the word is said to be token 9, but the sentence has 2 tokens.*Correct",
    ),
    "not the word": (
        {"train": [*TRAIN, (0, "a bank", "0")]},
        r"bank/train\.data\.txt line 5: token 0 is 'a', expected the word 'bank', as its folder is called",
    ),
    "no such class": (
        {"train": [*TRAIN, (1, "a bank", "7")]},
        r"bank/train\.data\.txt line 5: its class is '7', expected one of 0, 1, as in classes_map\.txt",
    ),
    "a sense with one sentence": (
        {"classes": {**CLASSES, "2": "bank_lake"}, "test": [*TEST, (1, "a bank", "2")]},
        r"bank/test\.data\.txt line 3: the sense 'bank_lake' of 'bank' has 1 sentence, expected at least 2",
    ),
    "an empty part": ({"test": []}, r"bank/test: 0 lines of data and 0 of gold, expected as many of each"),
    "one name for two": ({"classes": {"0": "x", "1": "x"}}, r"bank/classes_map\.txt: two classes have the same name"),
    "no object": ({"classes": ["x"]}, r"bank/classes_map\.txt: expected a JSON object such as"),
    "a sentence in both parts": (
        {"test": [*TEST, TRAIN[0]]},
        r"bank/test\.data\.txt line 3: repeats the sentence of bank/train\.data\.txt line 1",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_faulty_folder_is_refused_with_file_and_line(tmp_path: Path, mistake: str) -> None:
    parts, expected = REFUSED[mistake]
    with pytest.raises(ProbeError, match=expected) as refusal:
        read_usages(write_word(tmp_path / "bank", **parts))
    assert str(tmp_path / "bank") in str(refusal.value) and "has 1 problem" in str(refusal.value)


def test_missing_and_unequal_files_are_refused(tmp_path: Path) -> None:
    folder = write_word(tmp_path / "bank")
    (folder / "test.gold.txt").write_text("0\n")
    with pytest.raises(ProbeError, match=r"bank/test: 2 lines of data and 1 of gold.*Take the files from the same"):
        read_usages(folder)
    (folder / "test.gold.txt").unlink()
    with pytest.raises(ProbeError, match=r"bank: test\.gold\.txt missing\. Expected classes_map\.txt, .*Add what is"):
        read_usages(folder)
    (folder / "train.data.txt").write_text("no tab here\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProbeError, match=r"empty is a folder without CoarseWSD-20's files\. Expected.*Check the path"):
        read_usages(tmp_path / "empty")


EXAMPLES = "lemma\tpos\tsense\tn_senses\tsynset_offset\tdefinition\texample\tsurface"
WORDNET = [
    ("bow", "v", "1", "She bowed to the King", "bowed"),
    ("bow", "v", "1", "they bow , and bow again", "bow"),
    ("bow", "v", "2", "the branch bows", "bows"),
    ("bow", "v", "2", "a bowed head", "bowed"),
    ("bow", "v", "3", "one example is not enough for bows", "bows"),
    ("bow", "v", "2", "He bowed before it", "bowed"),
    ("bow", "v", "1", "He bowed before it", "bowed"),
    ("bow", "n", "1", "a bow of wood", "bow"),
    ("bow", "n", "2", "a bow tie", "bow"),
]


def write_wordnet(path: Path, rows: list[tuple[str, ...]]) -> Path:
    lines = [EXAMPLES, *("\t".join((*row[:3], "5", "0", "a gloss", *row[3:])) for row in rows)]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def test_wordnet_keeps_what_can_be_asked_and_says_what_it_left_out(tmp_path: Path) -> None:
    found = read(write_wordnet(tmp_path / "w.tsv.gz", WORDNET))
    assert [(u.word, u.sense, u.sentence[slice(*u.span)], u.line) for u in found.usages] == [
        *(("bow.v", "bow.v.1", "bowed", 2), ("bow.v", "bow.v.1", "bow", 3)),
        *(("bow.v", "bow.v.2", "bows", 4), ("bow.v", "bow.v.2", "bowed", 5)),
    ]
    assert found.usages[1].span == (5, 8)
    assert found.notes[0].startswith("Kept are 1 of 2 lemmas, 2 of 5 senses and 4 of 9 example sentences")
    assert "2 examples that stand with several senses" in found.notes[0]


def test_a_faulty_wordnet_table_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [*WORDNET, ("bow", "v", "1", "no such form", "bowed"), ("bow", "v", "", "bow", "bow")]
    with pytest.raises(
        ProbeError, match=r"(?s)2 problems\n  line 11: 'bowed' does not stand in.*line 12: the sense is"
    ):
        read_usages(write_wordnet(tmp_path / "w.tsv.gz", rows))
    with pytest.raises(ProbeError, match=r"no lemma has 2 senses with 2 examples each.*Add examples"):
        read_usages(write_wordnet(tmp_path / "v.tsv.gz", WORDNET[-2:]))


def test_a_compressed_table_reads_as_the_plain_one(tmp_path: Path) -> None:
    plain = write_table(tmp_path / "t.tsv", table())
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert read_usages(tmp_path / "t.tsv.gz") == read_usages(plain)
    (tmp_path / "bad.tsv.gz").write_bytes(gzip.compress(plain.read_bytes())[:40])
    with pytest.raises(ProbeError, match=r"bad\.tsv\.gz: .*Expected a table with the columns word.*Check the file"):
        read_usages(tmp_path / "bad.tsv.gz")


def test_a_column_gives_the_part(tmp_path: Path) -> None:
    header = "word\tsentence\tsense\tsplit"
    rows = [(*row, "train" if i % 2 else "test") for i, row in enumerate(table())]
    usages = read_usages(write_table(tmp_path / "t.tsv", rows, header))
    assert {(u.line % 2, u.split) for u in usages} == {(0, "test"), (1, "train")}
    with pytest.raises(ProbeError, match=r"line 2: the split is 'dev', expected train or test\. Write one"):
        read_usages(write_table(tmp_path / "u.tsv", [(*rows[0][:3], "dev"), *rows[1:]], header))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"word\tsentence\tsense\nbank\x00\x01\tbank\ta\n")
    with pytest.raises(ProbeError, match=r"t\.tsv:2: holds a NUL, so it is no text\. Expected a table.*Check the path"):
        read_usages(tmp_path / "t.tsv")


@pytest.mark.parametrize(
    ("word", "sentence", "span"),
    [
        ("bat", "acrobats saw a BAT", (15, 18)),
        ("bat", "bat_1 bats bat", (11, 14)),
        ("bat", "\u0130 saw a bat", (8, 11)),
        ("3.5", "13.5 or 3.5", (8, 11)),
        ("caf\u00e9", "a CAF\u00c9.", (2, 6)),
    ],
)
def test_the_first_whole_word_is_found_in_either_case(word: str, sentence: str, span: tuple[int, int]) -> None:
    assert find_word(word, sentence) == span
