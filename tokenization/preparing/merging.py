"""The last stage of preparing a store: many shards become one store, by offsets over the whole and a manifest.

The folder that it was made in is renamed into the store's place once, so a store is there whole or not at all.
"""

import shutil
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tokenization.corpus import Problems
from tokenization.preparing.arrays import ArrayWriter, read_array, sync_path
from tokenization.preparing.manifest import write_manifest
from tokenization.preparing.preparation import Preparation, log
from tokenization.preparing.shards import COUNTS, SPLITS, WITHOUT_TOKEN, Shard, describe_file, read_notes
from tokenization.vocabulary import fingerprint_tokenizer, load_tokenizer

REPLACED = ".replaced-"
"""What a damaged store's folder is called until it is deleted."""

_LIBRARIES = ("sentencex", "tokenizers", "sentencepiece")
_ONLY_ON_THE_WAY = ("survey", "duplicates", "decided.json")


def merge(preparation: Preparation) -> None:
    """Write the offsets of the whole and the manifest, and put the store in its place.

    Raises:
        CorpusError: there is nothing to train on.
    """
    folder = preparation.folder
    shards = [shard for section in preparation.sections for shard in preparation.shards(section)]
    notes = [read_notes(preparation.writing.folder / shard.name) for shard in shards]
    counts = {split: {name: sum(note["counts"][split][name] for note in notes) for name in COUNTS} for split in SPLITS}
    if not counts["train"]["documents"]:
        raise preparation.nothing_to_train_on()
    for split in SPLITS:
        _write_offsets(folder / split, [preparation.writing.folder / shard.name for shard in shards], split)
    problems = _problems(preparation, notes)
    manifest = {
        "fingerprint": preparation.fingerprint,
        "vocabulary_fingerprint": fingerprint_tokenizer(load_tokenizer(folder / "tokenizer")),
        "versions": library_versions(),
        "settings": {
            "corpus": preparation.corpus.model_dump(mode="json"),
            "tokenizer": preparation.tokenizer.model_dump(mode="json"),
        },
        "sources": _sources(preparation),
        "dtype": preparation.writing.dtype,
        "counts": counts,
        "survey": _survey_figures(preparation, counts, problems),
        "skipped": dict(problems.counts),
        "shards": {
            split: [
                [f"shards/{shard.name}/{split}_ids.npy", note["counts"][split]["tokens"]]
                for shard, note in zip(shards, notes, strict=True)
            ]
            for split in SPLITS
        },
        "files": _files(folder, shards, notes),
    }
    write_manifest(folder, manifest)
    _tidy(folder, shards)
    _put_in_place(folder, preparation.place)
    problems.report(log)
    log.info("store: %s", "; ".join(_described(split, counts[split]) for split in SPLITS))


def library_versions() -> dict[str, str]:
    """Versions of the libraries that change what a store holds when they change."""
    return {library: version(library) for library in _LIBRARIES}


def _write_offsets(folder: Path, shards: Iterable[Path], split: str) -> None:
    """Turn the lengths of all shards into two arrays of offsets; memory holds one shard's."""
    folder.mkdir(exist_ok=True)
    shards = list(shards)
    for kind in ("sentence", "document"):
        with ArrayWriter(folder / f"{kind}_offsets.npy", np.dtype(np.int64)) as writer:
            writer.append(np.zeros(1))
            end = 0
            for shard in shards:
                offsets = end + np.cumsum(read_array(shard / f"{split}_{kind}_lengths.npy"), dtype=np.int64)
                writer.append(offsets)
                end = int(offsets[-1]) if len(offsets) else end


def _problems(preparation: Preparation, notes: Sequence[dict[str, Any]]) -> Problems:
    problems = Problems(preparation.corpus.on_error)
    for survey in preparation.surveys:
        problems.merge(survey.problems)
    for note in notes:
        problems.merge(Problems.from_state(note["problems"]))
    return problems


def _sources(preparation: Preparation) -> dict[str, list[dict[str, Any]]]:
    return {
        split: [
            {"origin": source.origin, "digest": source.digest, "bytes": source.num_bytes}
            for section in preparation.sections
            if section.is_held_out == (split == "held_out")
            for source in section.sources
        ]
        for split in SPLITS
    }


def _survey_figures(preparation: Preparation, counts: dict[str, dict[str, int]], problems: Problems) -> dict[str, int]:
    """What was found of the corpus as a whole, before anything was dropped."""
    duplicates = preparation.duplicates
    stored = sum(counts[split]["documents"] for split in SPLITS)
    return {
        **duplicates,
        "bytes": sum(int(survey.document_bytes.sum()) for survey in preparation.surveys),
        # Documents of which dropping lines left nothing.
        "emptied_documents": duplicates["documents"]
        - duplicates["dropped_documents"]
        - problems.counts[WITHOUT_TOKEN]
        - stored,
        "special_token_documents": sum(counts[split]["special_token_documents"] for split in SPLITS),
    }


def _files(folder: Path, shards: Sequence[Shard], notes: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file of the store by its name there, after syncing what is not yet."""
    listed = {
        f"shards/{shard.name}/{name}": entry
        for shard, note in zip(shards, notes, strict=True)
        for name, entry in note["files"].items()
        if name.endswith("_ids.npy")
    }
    for part in ("tokenizer", *SPLITS):
        for path in sorted((folder / part).rglob("*")):
            sync_path(path)
            if path.is_file():
                listed[path.relative_to(folder).as_posix()] = describe_file(path)
    return listed


def _tidy(folder: Path, shards: Sequence[Shard]) -> None:
    """Delete what the whole store does without."""
    for name in _ONLY_ON_THE_WAY:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).unlink(missing_ok=True)
    for unfinished in (folder / "shards").glob(".*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for shard in shards:
        for path in (folder / "shards" / shard.name).iterdir():
            if not path.name.endswith("_ids.npy"):
                path.unlink()


def _put_in_place(folder: Path, place: Path) -> None:
    """Rename a finished store; what stands at its place, a store that did not open, is removed."""
    replaced = None
    if place.exists():
        log.warning("store: %s is damaged and is replaced", place)
        replaced = place.with_name(f"{REPLACED}{place.name}")
        place.rename(replaced)
    folder.rename(place)
    sync_path(place.parent)
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _described(split: str, counts: dict[str, int]) -> str:
    words = max(1, counts["words"])
    return (
        f"{split} {counts['documents']:,} documents, {counts['sentences']:,} sentences, {counts['tokens']:,} tokens, "
        f"{counts['tokens'] / words:.2f} a word, {counts['bytes'] / max(1, counts['tokens']):.2f} bytes a token, "
        f"{counts['unknown'] / max(1, counts['tokens']):.3%} unknown"
    )
