"""Reading labelled texts and dividing them by class."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from probes.classify.dividing import check_classes, divide, draw
from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts, read_labelled_texts


def _read(path: Path, label: str = "label", text: tuple[str, ...] = ("text",)) -> list[tuple[str, str]]:
    found = read_labelled_texts(path, label_field=label, text_fields=text)
    return list(zip(found.labels, found.texts, strict=True))


def _file(tmp_path: Path, content: str, name: str = "set.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode())
    return path


EXPECTED = [("sea", "salt, and waves"), ("land", 'a "road"\nof stones')]
CSV = 'label,text\nsea,"salt, and waves"\n\nland,"a ""road""\nof stones"\n'


def test_every_form_gives_the_same_texts(tmp_path: Path) -> None:
    assert _read(_file(tmp_path, CSV)) == EXPECTED
    assert _read(_file(tmp_path, "\ufeff" + CSV.replace("label,text", "label,text "))) == EXPECTED
    lines = "".join(json.dumps({"id": 7, "label": label, "text": text}) + "\n\n" for label, text in EXPECTED)
    assert _read(_file(tmp_path, lines, "set.jsonl")) == EXPECTED
    for name, content in (("set.csv.gz", CSV), ("set.jsonl.gz", lines)):
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        assert _read(tmp_path / name) == EXPECTED


def test_the_form_that_ag_news_is_distributed_in_has_no_header_and_titles_apart(tmp_path: Path) -> None:
    path = _file(tmp_path, '"3","Seas rise","Waters, it is said, rise."\n"1","Peace","At last."\n')
    assert _read(path) == [("3", "Seas rise Waters, it is said, rise."), ("1", "Peace At last.")]


def test_columns_are_found_by_name_and_several_make_one_text(tmp_path: Path) -> None:
    path = _file(tmp_path, "Class Index,Title,n,Description\n2,Seas,9,rise\n1,Peace,9,\n")
    assert _read(path, "Class Index", ("Title", "Description")) == [("2", "Seas rise"), ("1", "Peace")]


def test_json_classes_may_be_numbers(tmp_path: Path) -> None:
    path = _file(tmp_path, '{"label": 0, "text": "a"}\n{"label": 1, "text": "b"}\n', "set.jsonl")
    assert _read(path) == [("0", "a"), ("1", "b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"a\.csv has no text in it.*Add rows"),
        ("a.csv", b"label,text\n", r"has no text in it"),
        ("a.csv", b"class,body\nx,y\n", r"no column 'label', 'text'; found 'class', 'body'.*--label-field"),
        ("a.csv", b"label,text\nx,y\nx\n", r"a\.csv:3: got 1 cells, expected 2 \(label, text\)"),
        ("a.csv", b"label,text\nx,one, two\n", r"a\.csv:2: got 3 cells, expected 2.*Put quotes"),
        ("a.csv", b'label,text\nx,"one" two\n', r"a\.csv:2: not CSV .*Mend that row"),
        ("a.csv", b'label,text\nx,one\ny,"two\n', r"a\.csv:3: not CSV .*Mend that row"),
        ("a.csv", b"label,text\nx, \n", r"a\.csv:2: the text is empty"),
        ("a.csv", b'label,text\n"a",x\n"",y\n', r"a\.csv:3: the class is empty"),
        ("a.csv", b"label,text\nx,caf\xe9\n", r"a\.csv:2: byte 16 is not UTF-8"),
        ("a.jsonl", b'{"label": "x", "text": "y"}\n{"label"\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b'["x", "y"]\n', r"a\.jsonl:1: got '\[\"x\", \"y\"\]', expected an object"),
        ("a.jsonl", b'{"label": "x", "body": "y"}\n', r"a\.jsonl:1: there is no column 'text'; found 'label', 'body'"),
        ("a.jsonl", b'{"label": null, "text": "y"}\n', r"a\.jsonl:1: the field 'label' is None, expected text"),
        ("a.tsv", b"label\ttext\n", r"a\.tsv: expected the name of a labelled set to end in \.csv or \.jsonl"),
        ("a.csv.gz", b"label,text\n", r"a\.csv\.gz: Not a gzipped file.*Expected a labelled set"),
    ],
)
def test_a_faulty_file_is_refused_by_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProbeError, match=message):
        _read(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"none\.csv: there is no such file.*Check the path"):
        _read(tmp_path / "none.csv")


def _texts(labels: Sequence[str], file: str) -> LabelledTexts:
    return LabelledTexts([f"text {i}" for i in range(len(labels))], list(labels), file)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("aaaa", "aa", r"train: all its 4 texts are of the class 'a', expected two classes"),
        ("aaab", "ab", r"train: the class 'b' has 1 training text, expected 2 or more that differ"),
        ("aabb", "abcd", r"test: the class 'c' \(and 1 more\) is in no training text of train.*'a', 'b'"),
    ],
)
def test_classes_that_cannot_be_learnt_or_found_are_refused(train: str, test: str, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        check_classes(_texts(train, "train"), _texts(test, "test"))


def test_a_test_set_may_lack_a_class() -> None:
    check_classes(_texts("aabb", "train"), _texts("aa", "test"))


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_a_division_takes_its_share_of_every_class_and_each_row_once(share: float) -> None:
    labels = list("a" * 40 + "b" * 10 + "c" * 2)
    order = np.random.default_rng(4).permutation(len(labels))
    labels = [labels[row] for row in order]
    first, second = divide(_texts(labels, ""), share, rng=np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(52))
    for name, number in Counter(labels).items():
        taken = sum(labels[row] == name for row in second)
        assert 1 <= taken < number and abs(taken - share * number) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_equal_texts_are_never_on_two_sides_of_a_division(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(30, size=200)
    # A tenth of the rows contradict the class that their text has elsewhere.
    labels = ["abc"[(number + (rng.random() < 0.1)) % 3] for number in numbers]
    texts = LabelledTexts([f"text {number}" for number in numbers], labels)
    for share in (0.2, 0.5, 0.9):
        first, second = (texts.taken(rows) for rows in divide(texts, share, rng=np.random.default_rng(seed)))
        assert not {*first.texts} & {*second.texts} and len(first) + len(second) == 200
        assert set(first.labels) == set("abc")


def test_every_class_is_in_the_first_part_whatever_classes_its_texts_have_besides() -> None:
    texts = LabelledTexts(["1", "2", "3", "4", "5", "1", "2", *"1212"], list("aaaaabbbbbb"))
    for seed in range(20):
        first, second = divide(texts, 0.6, rng=np.random.default_rng(seed))
        assert set(texts.taken(first).labels) == {"a", "b"} and len(second)


def test_a_class_of_one_text_that_is_repeated_is_refused() -> None:
    texts = LabelledTexts(["1", "2", "3", "3", "3"], list("aabbb"), "train")
    with pytest.raises(ProbeError, match="the class 'b' has 1 training text, expected 2 or more that differ"):
        check_classes(texts, texts)


def test_a_division_follows_from_its_generator_alone() -> None:
    labels = list("ab" * 30)
    divided = [divide(_texts(labels, ""), 0.3, rng=np.random.default_rng(seed))[1].tolist() for seed in (0, 0, 1)]
    assert divided[0] == divided[1] != divided[2]


@pytest.mark.parametrize("number", [1, 7, 30, 51, 52, 99])
def test_a_draw_keeps_the_shares_of_the_classes_to_less_than_a_text(number: int) -> None:
    labels = list("a" * 40 + "b" * 10 + "c" * 2)
    rows = draw(labels, number, rng=np.random.default_rng(0))
    assert len(rows) == min(number, 52) == len(set(rows.tolist()))
    for name, count in Counter(labels).items():
        assert abs(sum(labels[row] == name for row in rows) - len(rows) * count / 52) < 1
