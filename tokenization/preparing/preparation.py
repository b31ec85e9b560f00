"""Preparing a store in four stages, each of which can be done again and finds what is done.

    survey    every section is read once: hashes, lengths, problems            one section after another, in any process
    decide    which documents and lines are duplicates; the vocabulary is trained on a sample          one process
    write     documents become ids, shard by shard                             one section after another, in any process
    merge     the offsets of the whole, and the manifest                       one process

All that passes between them stands in one folder, so the stages may run in processes of their own, here or elsewhere.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tokenization.corpus import Corpus, CorpusError, Problems
from tokenization.preparing.arrays import write_synced
from tokenization.preparing.duplicates import DocumentEntries, Entries, LineEntries, find_repeats
from tokenization.preparing.sections import Section, read_section
from tokenization.preparing.shards import SHARD_BYTES, Shard, Text, Writing, cut_shards, is_written, write_shard
from tokenization.preparing.survey import Survey, hash_document, survey_section, without_lines
from tokenization.training import TrainableTokenizer, train_tokenizer
from tokenization.vocabulary import TokenizerFolder, Vocabulary, load_tokenizer

_DECIDED = "decided.json"
_PART_CHARACTERS = 1 << 16  # of a text that is sampled: long beside a word, short beside the sample

log = logging.getLogger("tokenization.store")


@dataclass(frozen=True)
class Preparation:
    """A store that is being prepared: what it is made of, and the folder that it is made in."""

    folder: Path
    corpus: Corpus
    tokenizer: TrainableTokenizer | TokenizerFolder
    sections: tuple[Section, ...]
    fingerprint: str
    shard_bytes: int = SHARD_BYTES
    """UTF-8 bytes of text after which a shard is closed."""

    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        # Found by loading the tokenizer, which every task would do anew.
        return state | {"writing": self.writing} if (self.folder / "tokenizer").exists() else state

    @property
    def place(self) -> Path:
        """Where the store will stand."""
        return self.folder.parent / self.fingerprint[:16]

    # ------------------------------------------------------------------------------------------------------- survey

    def survey(self, section: Section) -> None:
        """Read a section for the first time.

        Raises:
            CorpusError: at the first bad line, if corpus.on_error is stop.
        """
        problems = Problems(self.corpus.on_error)
        survey_section(read_section(section, self.corpus, problems), problems, self._survey_folder(section))

    @property
    def surveys(self) -> list[Survey]:
        """Of all sections, once they are there."""
        return [Survey(self._survey_folder(section)) for section in self.sections]

    def _survey_folder(self, section: Section) -> Path:
        return self.folder / "survey" / section.name

    # ------------------------------------------------------------------------------------------------------- decide

    def decide(self) -> None:
        """Find the duplicates of the whole corpus, and train or take the vocabulary.

        Raises:
            CorpusError: there is nothing to train on.
            VocabularyError: the vocabulary cannot be trained.
        """
        if (self.folder / _DECIDED).exists():
            return
        if not any((~survey.is_held_out).any() for survey in self.surveys):
            raise self.nothing_to_train_on()
        documents, lines = ([kind(survey) for survey in self.surveys] for kind in (DocumentEntries, LineEntries))
        found = self._find_duplicates("documents", documents, drop=self._drops_documents)
        found |= self._find_duplicates("lines", lines, drop=self._drops_lines)
        self._make_tokenizer()
        write_synced(self.folder / _DECIDED, json.dumps(found))

    @property
    def duplicates(self) -> dict[str, int]:
        """How many documents and lines there are, are duplicates, are shared by both splits, and are dropped."""
        found: dict[str, int] = json.loads((self.folder / _DECIDED).read_text(encoding="utf-8"))
        return found

    def _find_duplicates(self, kind: str, parts: Sequence[Entries], *, drop: bool) -> dict[str, int]:
        marks = [np.zeros(len(part.hashes), dtype=bool) for part in parts] if drop else None
        repeats = find_repeats(parts, marks)
        for section, flags in zip(self.sections, marks or (), strict=False):
            path = self._duplicates_path(section, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, flags)
        return {
            kind: repeats.entries,
            f"duplicate_{kind}": repeats.repeated,
            f"shared_{kind}": repeats.shared,
            f"dropped_{kind}": repeats.repeated if drop else 0,
        }

    @property
    def _drops_documents(self) -> bool:
        return self.corpus.duplicate_documents == "drop"

    @property
    def _drops_lines(self) -> bool:
        return self.corpus.duplicate_lines == "drop"

    def _duplicates_path(self, section: Section, kind: str) -> Path:
        return self.folder / "duplicates" / f"{section.name}-{kind}.npy"

    def _make_tokenizer(self) -> None:
        folder, partial = self.folder / "tokenizer", self.folder / ".tokenizer"
        if folder.exists():
            return
        if isinstance(self.tokenizer, TokenizerFolder):
            tokenizer = load_tokenizer(self.tokenizer.path, lowercase=self.tokenizer.lowercase)
        else:
            sample = self.folder / "sample.jsonl"
            self._draw_sample(sample, self.tokenizer.sample_megabytes)
            log.info("store: training a vocabulary of %d entries", self.tokenizer.vocab_size)
            tokenizer = train_tokenizer(self.tokenizer, lambda: _read_sample(sample))
            sample.unlink()
        shutil.rmtree(partial, ignore_errors=True)
        tokenizer.save_pretrained(partial)
        partial.rename(folder)

    def _draw_sample(self, path: Path, megabytes: float) -> None:
        """Write the texts that a vocabulary is trained on, one a line: all, or parts that are drawn by their content.

        Raises:
            CorpusError: nothing is left to train on.
        """
        size = sum(int(survey.document_bytes[~survey.is_held_out].sum()) for survey in self.surveys)
        share = min(1.0, megabytes * 1e6 / max(1, size))
        least = (1.0, "")
        with path.open("w", encoding="utf-8") as file:
            for part in self._training_parts(_PART_CHARACTERS if share < 1.0 else None):
                draw = hash_document(part.encode()) / 2.0**64
                least = min(least, (draw, part))
                if draw < share:
                    file.write(json.dumps(part) + "\n")
            if not file.tell():
                if not least[1]:
                    raise self.nothing_to_train_on()
                file.write(json.dumps(least[1]) + "\n")
        log.info("store: %.0f MB of text to train on, %.0f %% of it for the vocabulary", size / 1e6, 100 * share)

    def _training_parts(self, num_characters: int | None) -> Iterator[str]:
        """The texts to train on, whole or in parts of so many characters."""
        for section in self.sections:
            for text in self._texts(section):
                if text is not None and not text.held_out:
                    length = num_characters or len(text.text)
                    yield from (text.text[i : i + length] for i in range(0, len(text.text), length))

    def nothing_to_train_on(self) -> CorpusError:
        """The error where all of the corpus is held out or empty."""
        return CorpusError(
            f"{self.corpus.named}: got no document to train on that has a sentence, expected at least one to train "
            "on.\nAdd text or lower corpus.held_out."
        )

    # -------------------------------------------------------------------------------------------------------- write

    def shards(self, section: Section) -> list[Shard]:
        """The shards that a section is written to."""
        return cut_shards(section.number, Survey(self._survey_folder(section)), self.shard_bytes)

    def missing(self, section: Section) -> list[Shard]:
        """The shards of a section that are not there or not whole."""
        return [shard for shard in self.shards(section) if not is_written(self.writing, shard)]

    def write(self, section: Section) -> None:
        """Write the shards of a section that are missing."""
        for shard, texts in self.shard_texts(section):
            write_shard(self.writing, shard, texts)

    def shard_texts(self, section: Section) -> Iterator[tuple[Shard, list[Text]]]:
        """The missing shards of a section with their documents; memory holds one shard's text.

        Raises:
            CorpusError: the corpus is not what it was when it was surveyed.
        """
        missing = self.missing(section)
        if not missing:
            return
        texts, position = self._texts(section), 0
        for shard in missing:
            for _ in islice(texts, shard.first - position):
                pass
            here = list(islice(texts, shard.last - shard.first))
            if len(here) < shard.last - shard.first:
                raise self._changed(section)
            position = shard.last
            yield shard, [text for text in here if text is not None]

    def _texts(self, section: Section) -> Iterator[Text | None]:
        """The documents of a section, None in the place of one that is dropped."""
        survey = Survey(self._survey_folder(section))
        hashes, lines = survey.document_hashes, survey.document_lines
        drops = [self._drops_documents, self._drops_lines]
        flags = [
            np.load(self._duplicates_path(section, kind)) if drop else None
            for kind, drop in zip(("documents", "lines"), drops, strict=True)
        ]
        repeated, repeated_lines = flags
        line = 0
        # What is wrong with the corpus was told by the survey.
        for number, (held_out, document) in enumerate(
            read_section(section, self.corpus, Problems(self.corpus.on_error))
        ):
            text = document.text
            if number >= len(hashes) or hash_document(text.encode()) != hashes[number]:
                raise self._changed(section)
            if repeated_lines is not None:
                first, line = line, line + int(lines[number])
                text = without_lines(text, repeated_lines[first:line])
            is_dropped = (repeated is not None and repeated[number]) or not text.strip()
            yield None if is_dropped else Text(text, document.origin, held_out)

    def _changed(self, section: Section) -> CorpusError:
        names = ", ".join(source.origin for source in section.sources[:3])
        return CorpusError(
            f"{names}: got other documents than when they were read before, expected the corpus to stay as it is while "
            "it is prepared.\nLaunch the same command again."
        )

    @cached_property
    def writing(self) -> Writing:
        """How documents become ids, once the vocabulary is there."""
        tokenizer = load_tokenizer(self.folder / "tokenizer")
        vocabulary = Vocabulary.from_tokenizer(tokenizer, origin=str(self.folder))
        names = {*tokenizer.all_special_tokens, *tokenizer.convert_ids_to_tokens(vocabulary.special_ids.tolist())}
        return Writing(
            folder=self.folder / "shards",
            tokenizer=self.folder / "tokenizer" / "tokenizer.json",
            dtype="uint16" if vocabulary.size <= 2**16 else "uint32",
            unk_id=vocabulary.unk_id,
            special_ids=tuple(id for id in vocabulary.special_ids.tolist() if id != vocabulary.unk_id),
            special_tokens=tuple(sorted(names)),
            language=self.corpus.language,
            sentences=self.corpus.sentences,
            on_error=self.corpus.on_error,
        )


def _read_sample(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
