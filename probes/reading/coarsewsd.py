"""Usages from the folders of CoarseWSD-20 (Loureiro et al. 2021, https://arxiv.org/abs/2008.11608).

A folder has the name of its word. In it, classes_map.txt is a JSON object from class to sense; each line of
train.data.txt and test.data.txt is the number of the word's token (from 0), a tab and the tokenised sentence, and the
same line of train.gold.txt and test.gold.txt its class.
"""

import json
from pathlib import Path

from probes.probe_error import ProbeError
from probes.reading.lines import read_text, refuse, split_lines
from probes.reading.spans import find_token
from probes.reading.usage import Split, Usage, problems_of_all

SPLITS: tuple[Split, ...] = ("train", "test")
CLASSES = "classes_map.txt"
FILES = (CLASSES, *(f"{split}.{kind}.txt" for split in SPLITS for kind in ("data", "gold")))


def read_coarsewsd(folder: Path) -> list[Usage]:
    """The usages of one word's folder, or of all such folders inside this one (by name). The sense is the class's name.

    Raises:
        ProbeError: with every problem found, its file and line: no such folder, missing files, files of unequal length,
            a class without a name, a word that is not at its place, and what probes.reading.usage asks of them all.
    """
    folders = (
        [folder] if _is_word(folder) else sorted(one for one in folder.iterdir() if one.is_dir() and _is_word(one))
    )
    if not folders:
        raise ProbeError(
            f"{folder} is a folder without CoarseWSD-20's files. Expected {', '.join(FILES)} in it, or folders with"
            " these in it, one a word. Check the path."
        )
    problems: list[str] = []
    usages: list[Usage] = []
    for one in folders:
        found, wrong = _read_word(one)
        usages += found
        problems += wrong
    refuse(folder, problems or problems_of_all(usages, _place))
    return usages


def _is_word(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES)


def _place(usage: Usage) -> str:
    return f"{usage.word}/{usage.split}.data.txt line {usage.line}"


def _read_word(folder: Path) -> tuple[list[Usage], list[str]]:
    """The usages of a word, and what is wrong with its files."""
    # The folder may be named as '.' or end in '..'.
    word = folder.resolve().name
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        return [], [f"{word}: {', '.join(missing)} missing. Expected {', '.join(FILES)}. Add what is missing."]
    try:
        classes = _read_classes(folder / CLASSES)
    except ProbeError as problem:
        return [], [str(problem)]
    usages: list[Usage] = []
    problems: list[str] = []
    for split in SPLITS:
        data, gold = (
            split_lines(read_text(folder / f"{split}.{kind}.txt", expected="lines of CoarseWSD-20"))
            for kind in ("data", "gold")
        )
        if len(data) != len(gold) or not data:
            problems.append(
                f"{word}/{split}: {len(data)} lines of data and {len(gold)} of gold, expected as many of each, and at"
                " least one. Take the files from the same place."
            )
            continue
        for line, (text, key) in enumerate(zip(data, gold, strict=True), 1):
            try:
                usages.append(_usage(word, text, key.strip(), classes, line, split))
            except ProbeError as problem:
                problems.append(f"{word}/{split}.data.txt line {line}: {problem}")
    return usages, problems


def _usage(word: str, text: str, key: str, classes: dict[str, str], line: int, split: Split) -> Usage:
    index, tab, sentence = text.partition("\t")
    if not tab:
        raise ProbeError(f"got {text[:40]!r}, expected the number of a token, a tab and the sentence. Add the tab.")
    if key not in classes:
        raise ProbeError(f"its class is {key!r}, expected one of {', '.join(classes)}, as in {CLASSES}. Correct one.")
    span = find_token(index.strip(), sentence)
    if sentence[slice(*span)].casefold() != word.casefold():
        raise ProbeError(
            f"token {index.strip()} is {sentence[slice(*span)]!r}, expected the word {word!r}, as its folder is called."
            " Correct the number, or the name of the folder."
        )
    return Usage(word, sentence, classes[key], None, span, line, split)


def _read_classes(path: Path) -> dict[str, str]:
    """Class -> name of the sense."""
    where = f"{path.parent.resolve().name}/{path.name}"
    try:
        found = json.loads(read_text(path, expected="classes of CoarseWSD-20"))
    except json.JSONDecodeError as error:
        raise ProbeError(f"{where} is no JSON ({error}). Expected classes and their names. Correct it.") from None
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise ProbeError(f'{where}: expected a JSON object such as {{"0": "bank_(river)"}}. Correct it.')
    if len(set(found.values())) < len(found):
        raise ProbeError(f"{where}: two classes have the same name. Expected a name for each. Correct it.")
    return found
