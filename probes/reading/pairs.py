"""Pairs of sentences with the same word, labelled with whether it means the same in both: reading them.

The kit's own form is a table with the columns word, sentence1, sentence2, label (T or F, 1 or 0, true or false), and
optionally start1, start2 (first character of the word; without them its first whole-word match) and split (train or
test). Words in Context (Pilehvar & Camacho-Collados 2019, https://arxiv.org/abs/1808.09121) is read as it is published:
NAME.data.txt with word, part of speech, 'i-j' (numbers of the two tokens, from 0) and the two tokenised sentences, and
NAME.gold.txt with T or F in the same line.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from probes.probe_error import ProbeError
from probes.reading.lines import Columns, check_filled, read_rows, read_text, refuse, split_lines
from probes.reading.spans import find_token, find_word
from probes.reading.usage import Split, Usage
from probes.reading.usage_table import split_of
from probes.source import Span

COLUMNS = Columns(
    ("word", "sentence1", "sentence2", "label"), ("start1", "start2", "split"), verbatim=("sentence1", "sentence2")
)
LABELS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
DATA, GOLD = ".data.txt", ".gold.txt"
PARTS: dict[str, Split] = {"train": "train", "test": "test", "dev": "test"}
"""What the files of a folder are for. dev is read where there is no test with labels: those of WiC's own test were
held back at first."""

MOST_OF_A_LABEL = 200
"""Pairs of each label that are made for a word: more would share the same sentences yet again and add little."""


@dataclass(frozen=True)
class Pair:
    """A word in two sentences."""

    word: str
    sentences: tuple[str, str]
    spans: tuple[Span, Span]
    is_same: bool
    """Whether it has the same sense in both."""
    split: Split | None = None
    """The part that it is meant for; None: the data has no parts."""


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a table, of a NAME.data.txt with its NAME.gold.txt, or of a folder with such files in it or in the
    folders inside it (train/train.data.txt), in the order of the lines.

    Raises:
        ProbeError: with every problem found and its line: what is missing, empty or no text, a missing or unknown
            column, a label that is none, a word that does not stand in its sentence, a pair of a sentence with itself.
    """
    if path.is_dir():
        return _read_folder(path)
    return _read_wic(path, None) if path.name.endswith(DATA) else _read_table(path)


def pair_up(usages: Sequence[Usage], rng: np.random.Generator, *, most: int = MOST_OF_A_LABEL) -> list[Pair]:
    """Pairs of sentences of the same word, as many with the same sense as with two senses for each word.

    Args:
        most: pairs of each label for each word; they are drawn where there are more.
    """
    by_word: dict[str, list[Usage]] = defaultdict(list)
    for usage in usages:
        by_word[usage.word].append(usage)
    pairs: list[Pair] = []
    for of_the_word in by_word.values():
        every = [_pair_of(one, other) for one, other in combinations(of_the_word, 2) if one.comparable(other)]
        labels = [[pair for pair in every if pair.is_same == is_same] for is_same in (True, False)]
        number = min(most, *map(len, labels))
        for of_a_label in labels:
            pairs += [of_a_label[index] for index in sorted(rng.permutation(len(of_a_label))[:number])]
    return pairs


def _pair_of(one: Usage, other: Usage) -> Pair:
    return Pair(one.word, (one.sentence, other.sentence), (one.span, other.span), one.sense == other.sense)


def _read_table(path: Path) -> list[Pair]:
    problems: list[str] = []
    pairs: list[Pair] = []
    for line, row in read_rows(path, COLUMNS):
        try:
            check_filled(row, COLUMNS.required, line)
            pairs.append(_pair(row, line))
        except ProbeError as problem:
            problems.append(str(problem))
    refuse(path, problems)
    return pairs


def _pair(row: dict[str, str], line: int) -> Pair:
    spans = []
    for number in "12":
        try:
            spans.append(find_word(row["word"], row[f"sentence{number}"], row.get(f"start{number}")))
        except ProbeError as problem:
            raise ProbeError(f"line {line}, sentence{number}: {problem}") from None
    pair = Pair(
        row["word"],
        (row["sentence1"], row["sentence2"]),
        (spans[0], spans[1]),
        _label(row["label"], line),
        split_of(row, line),
    )
    _check_two(pair, line)
    return pair


def _label(text: str, line: int) -> bool:
    if text.lower() not in LABELS:
        raise ProbeError(f"line {line}: the label is {text!r}, expected T or F (1 or 0, true or false). Write one.")
    return LABELS[text.lower()]


def _check_two(pair: Pair, line: int) -> None:
    if pair.sentences[0] == pair.sentences[1] and pair.spans[0] == pair.spans[1]:
        raise ProbeError(f"line {line}: both sentences are the same, so nothing is asked. Take the line out.")


def _read_folder(folder: Path) -> list[Pair]:
    """The pairs of WiC's files: train, and test, or dev where test has no labels."""
    files = {name: file for name in PARTS if (file := _find(folder, name)) is not None}
    if "test" in files:
        files.pop("dev", None)
    if not files:
        raise ProbeError(
            f"{folder} holds no {', '.join(f'{name}{DATA}' for name in PARTS)} with its {GOLD} beside it. Expected"
            " Words in Context as it is published, or a table of pairs. Check the path."
        )
    return [pair for name, file in files.items() for pair in _read_wic(file, PARTS[name])]


def _find(folder: Path, name: str) -> Path | None:
    for file in (folder / f"{name}{DATA}", folder / name / f"{name}{DATA}"):
        if file.is_file() and _gold(file).is_file():
            return file
    return None


def _gold(data: Path) -> Path:
    return data.with_name(data.name.removesuffix(DATA) + GOLD)


def _read_wic(data: Path, split: Split | None) -> list[Pair]:
    texts, labels = (split_lines(read_text(file, expected="lines of Words in Context")) for file in (data, _gold(data)))
    if len(texts) != len(labels) or not texts:
        raise ProbeError(
            f"{data}: {len(texts)} lines, and {len(labels)} in {_gold(data).name}. Expected as many of each, and at"
            " least one. Take both files from the same place."
        )
    problems: list[str] = []
    pairs: list[Pair] = []
    for line, (text, label) in enumerate(zip(texts, labels, strict=True), 1):
        try:
            pair = replace(_wic_pair(text, line), is_same=_label(label.strip(), line), split=split)
            _check_two(pair, line)
            pairs.append(pair)
        except ProbeError as problem:
            problems.append(str(problem))
    refuse(data, problems)
    return pairs


def _wic_pair(text: str, line: int) -> Pair:
    """The pair of one line, without its label."""
    cells = text.split("\t")
    if len(cells) != 5 or cells[2].count("-") != 1:
        raise ProbeError(
            f"line {line}: got {text[:60]!r}, expected word, part of speech, i-j and two sentences, parted by tabs."
            " Correct the line."
        )
    word, _, places, first, second = cells
    spans = []
    for number, (place, sentence) in enumerate(zip(places.split("-"), (first, second), strict=True), 1):
        try:
            spans.append(find_token(place.strip(), sentence))
        except ProbeError as problem:
            raise ProbeError(f"line {line}, sentence {number}: {problem}") from None
    return Pair(word, (first, second), (spans[0], spans[1]), is_same=False)
