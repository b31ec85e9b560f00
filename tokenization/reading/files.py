"""The files that a corpus names: by path, glob, folder, or folder of `datasets`."""

import glob
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenization.reading.digests import Digests
from tokenization.reading.documents import CorpusError
from tokenization.reading.readers import FILE_ENDINGS
from tokenization.reading.sources import DECOMPRESSED, FileSource

_LOG = logging.getLogger(__name__)
_SAVED = ("dataset_info.json", "state.json")  # what save_to_disk writes beside the data


def find_files(patterns: Iterable[str], digests: Digests, *, setting: str) -> dict[str, FileSource]:
    """Find the files that patterns name and know each by its content.

    Args:
        setting: the key of the recipe that holds the patterns, for messages.

    Returns:
        The files by digest and in the order of the digests; of files with one content the first by name.

    Raises:
        CorpusError: a pattern that matches nothing to read, a missing, empty or unreadable file, a named file of an
            ending that is not known, or a folder of several splits.
    """
    paths = sorted({path for pattern in patterns for path in _match(pattern, setting=setting)})
    found: dict[str, FileSource] = {}
    for path in paths:
        digest, num_bytes = digests.of(path)
        if num_bytes == 0:
            raise CorpusError(f"{path}: got an empty file (0 bytes), expected text.\nRemove it or write it again.")
        found.setdefault(digest, FileSource(path=path, digest=digest, num_bytes=num_bytes))
    return dict(sorted(found.items()))


def _match(pattern: str, *, setting: str) -> list[Path]:
    # A file may have * or [ in its name, so a path that exists is taken as it is written.
    named = [Path(pattern)] if Path(pattern).exists() else [Path(p) for p in glob.glob(pattern, recursive=True)]
    if paths := [path for path in named if path.is_file()]:
        for path in paths:
            _check_ending(path)
        return paths
    folders = [path for path in named if path.is_dir()]
    if not folders:
        raise CorpusError(
            f"{setting}: got {pattern!r}, which is nothing at that place (working directory: {Path.cwd()}).\n"
            f"Expected a file, a folder, or a glob that matches some, such as 'texts/*.jsonl.gz'. Correct the path."
        )
    return [path for folder in folders for path in _in_folder(folder)]


def _check_ending(path: Path) -> None:
    if not _is_known(path):
        raise CorpusError(
            f"{path}: got the ending {_ending(path)!r}, expected one of {', '.join(FILE_ENDINGS)}.\n"
            "Convert or rename the file."
        )


def _is_known(path: Path) -> bool:
    return _ending(path) in FILE_ENDINGS


def _ending(path: Path) -> str:
    """The ending in small letters, with the one before it where it is one of a compressed file."""
    last = path.suffix.lower()
    return path.with_suffix("").suffix.lower() + last if last in DECOMPRESSED else last


def _in_folder(folder: Path) -> list[Path]:
    """The files of known endings below a folder; what else is there is passed over, and logged by count."""
    passed_over: Counter[str] = Counter()
    found: list[Path] = []
    for path in _walk(folder):
        if _is_known(path):
            found.append(path)
        else:
            passed_over[_ending(path) or "no ending"] += 1
    if passed_over:
        kinds = ", ".join(f"{n} x {ending}" for ending, n in sorted(passed_over.items()))
        _LOG.info(
            "corpus: passed over %d files in %s of endings that are no text: %s", passed_over.total(), folder, kinds
        )
    if not found:
        raise CorpusError(
            f"{folder}: got a folder without a file to read, expected some of {', '.join(FILE_ENDINGS)}.\n"
            "Correct the path, or convert the files."
        )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder that is not hidden, of a folder that `datasets` saved its data files only."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # links may lead back
            folders.clear()
            continue
        seen.add(real)
        if "dataset_dict.json" in names:
            raise _several_splits(Path(place))
        if all(name in names for name in _SAVED):
            folders.clear()
            yield from _saved_dataset(Path(place))
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _saved_dataset(folder: Path) -> list[Path]:
    """The data files of a folder that `datasets` saved, in its order; there may be others from an earlier save."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        paths = [folder / entry["filename"] for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{folder}: got a state.json that cannot be used ({type(error).__name__}: {error}), expected one that "
            "datasets' save_to_disk wrote.\nSave the data set again, or name its .arrow files in corpus.files."
        ) from error
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        raise CorpusError(
            f"{folder}: got a saved data set without {', '.join(missing) or 'any data file'}, expected all the files "
            "that its state.json lists.\nCopy or save it again."
        )
    return paths


def _several_splits(folder: Path) -> CorpusError:
    try:
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        places = ", ".join(str(folder / split) for split in splits)
    except (OSError, ValueError, KeyError, TypeError):
        places = f"folders in {folder}"
    return CorpusError(
        f"{folder}: got a DatasetDict, which has several splits, expected one of them.\n"
        f"Name those to train on: {places}."
    )
