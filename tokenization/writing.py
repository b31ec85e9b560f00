"""Documents to token ids on disk: one .npy file an array, written piece by piece, so that memory does not grow.

Differs from numpy.save: the length need not be known. numpy pads the header of a .npy file so that a longer length
still fits, and the header is written again at the end.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import accumulate, chain, islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.lib import format as npy

from tokenization.corpus import Corpus, Document, Problems
from tokenization.sentences import SPLITTERS
from tokenization.vocabulary import Vocabulary, load_tokenizer

SPLITS = ("train", "held_out")

# Enough sentences for both cores, few enough that their encodings are small beside the rest.
_SENTENCES_PER_BATCH = 8192


class ArrayWriter:
    """Writes one array; use it in a `with`. It is on the disk, synced, when the block ends without an error."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self._dtype = dtype
        self._length = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Add values, of any integer type, at the end."""
        self._length += len(values)
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # The file is about to be removed; what a full disk no longer takes must not hide the first error.
            with suppress(OSError):
                self._file.close()
            return
        with self._file:
            self._file.seek(0)
            self._write_header()
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        npy.write_array_header_1_0(self._file, header)


class SplitWriter:
    """Writes the ids and offsets of one split into a folder that it makes; use it in a `with`."""

    def __init__(self, folder: Path, *, dtype: np.dtype, unk_id: int, special_ids: np.ndarray) -> None:
        folder.mkdir()
        self._special_ids = special_ids
        self._unk_id = unk_id
        self._num_documents = self._num_sentences = self._num_tokens = self._num_unknown = 0
        with ExitStack() as files:
            self._ids = files.enter_context(ArrayWriter(folder / "ids.npy", dtype))
            offsets = np.dtype(np.int64)
            self._sentence_offsets = files.enter_context(ArrayWriter(folder / "sentence_offsets.npy", offsets))
            self._document_offsets = files.enter_context(ArrayWriter(folder / "document_offsets.npy", offsets))
            self._sentence_offsets.append(np.zeros(1))
            self._document_offsets.append(np.zeros(1))
            self._files = files.pop_all()

    def append(self, documents: Sequence[Sequence[Sequence[int]]]) -> None:
        """Add documents, each a list of sentences, each a list of ids; none of them is empty."""
        sentences = list(chain.from_iterable(documents))
        sentence_ends = list(accumulate(map(len, sentences), initial=self._num_tokens))[1:]
        document_ends = list(accumulate(map(len, documents), initial=self._num_sentences))[1:]
        num_tokens = sum(map(len, sentences))
        ids = np.fromiter(chain.from_iterable(sentences), dtype=np.int64, count=num_tokens)
        # Some tokenizers give a special token for its name in a text even if told not to; a text has none.
        ids[np.isin(ids, self._special_ids)] = self._unk_id
        self._ids.append(ids)
        self._sentence_offsets.append(np.array(sentence_ends, dtype=np.int64))
        self._document_offsets.append(np.array(document_ends, dtype=np.int64))
        self._num_documents += len(documents)
        self._num_sentences += len(sentences)
        self._num_tokens += num_tokens
        self._num_unknown += int(np.count_nonzero(ids == self._unk_id))

    def counts(self) -> dict[str, int]:
        """What was added so far: documents, sentences, tokens, and how many of the tokens are unknown."""
        return {
            "documents": self._num_documents,
            "sentences": self._num_sentences,
            "tokens": self._num_tokens,
            "unknown": self._num_unknown,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)


def write_splits(
    folder: Path,
    documents: Iterable[tuple[bool, Document]],
    corpus: Corpus,
    problems: Problems,
    vocabulary: Vocabulary,
) -> dict[str, dict[str, int]]:
    """Tokenize documents into one folder a split, batch by batch: memory holds one batch.

    Args:
        folder: holds the tokenizer in `tokenizer`; gets `train` and `held_out`.
        documents: each with whether it is held out.
        corpus: says how a document is cut into sentences.
        problems: gets the documents in which there is no token.
        vocabulary: of that tokenizer; its size decides whether ids are stored in two bytes or four.

    Returns:
        documents, sentences, tokens and unknown (how many of the tokens are) by split.

    Raises:
        CorpusError: a document has no token, if `problems` is to stop at one.
    """
    tokenizer = load_tokenizer(folder / "tokenizer").backend_tokenizer
    # "[MASK]" in a text is five letters in brackets and not the special token.
    tokenizer.encode_special_tokens = True
    never_in_text = vocabulary.special_ids[vocabulary.special_ids != vocabulary.unk_id]
    dtype = np.dtype(np.uint16 if vocabulary.size <= 2**16 else np.uint32)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                SplitWriter(folder / split, dtype=dtype, unk_id=vocabulary.unk_id, special_ids=never_in_text)
            )
            for split in SPLITS
        }
        for batch in _batches(documents, corpus):
            tokenized: dict[str, list[list[list[int]]]] = {split: [] for split in SPLITS}
            encodings = iter(
                tokenizer.encode_batch_fast([s for entry in batch for s in entry.sentences], add_special_tokens=False)
            )
            for entry in batch:
                ids = [encoding.ids for encoding in islice(encodings, len(entry.sentences))]
                if sentences := [sentence for sentence in ids if sentence]:
                    tokenized["held_out" if entry.held_out else "train"].append(sentences)
                else:
                    got = f"{entry.origin}: got a document in which the tokenizer finds no token, expected a sentence."
                    problems.add("document without a sentence", got, "Remove it")
            for split, writer in writers.items():
                writer.append(tokenized[split])
    return {split: writer.counts() for split, writer in writers.items()}


class _Entry(NamedTuple):
    held_out: bool
    origin: str
    sentences: list[str]


def _batches(documents: Iterable[tuple[bool, Document]], corpus: Corpus) -> Iterator[list[_Entry]]:
    """Cut documents into sentences and give them in batches of at least _SENTENCES_PER_BATCH but for the last."""
    batch: list[_Entry] = []
    num_sentences = 0
    for held_out, document in documents:
        sentences = SPLITTERS[corpus.sentences](document.text, corpus.language)
        batch.append(_Entry(held_out, document.origin, sentences))
        num_sentences += len(sentences)
        if num_sentences >= _SENTENCES_PER_BATCH:
            yield batch
            batch, num_sentences = [], 0
    if batch:
        yield batch


def sync_path(path: Path) -> None:
    """Have the disk keep what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
