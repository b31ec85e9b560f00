"""A corpus as word ids: what all ways of learning word vectors are trained on.

Text is read as pretraining reads it (tokenization.corpus). Words are those of WordVectors.token_spans in lower case.
Words that stand fewer than `min_count` times are taken out before windows are laid, as word2vec does, so a window may
reach further than it does on the page. A window never leaves its line (a paragraph, in running text).
"""

# T words of the corpus that are kept, L lines, V words of the vocabulary

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes.probe_error import ProbeError
from probes.vectors.word_vectors import WORD, fold
from tokenization.corpus import Corpus, CorpusError, Problems, Source, read_documents, resolve_sources

LONGEST_LINE = 1000
"""Words; a longer line is cut, since gensim drops what is beyond 10,000."""


@dataclass(frozen=True)
class CorpusText:
    """The words of a corpus, line by line; iterating gives lists of words, as gensim takes them."""

    words: list[str]
    """V words, the most frequent first, equally frequent ones in the order of the alphabet."""
    counts: NDArray[np.int64]
    """(V,) how often each stands in the corpus."""
    ids: NDArray[np.int32]
    """(T,) all lines one after another."""
    starts: NDArray[np.int64]
    """(L + 1,) where each line begins in ids, and the end."""
    files: list[dict[str, str | int]]
    """Name, sha256 or other digest, and size of every file."""

    def __iter__(self) -> Iterator[list[str]]:
        for begin, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield [self.words[one] for one in self.ids[begin:end].tolist()]


def read_corpus(files: Sequence[str], *, text_field: str = "text", min_count: int = 5) -> CorpusText:
    """Read files, folders or globs (.txt, .jsonl, .csv, .parquet ..., also .gz and .zst) and count their words.

    Args:
        files: as corpus.files of a recipe.
        text_field: key or column of the text in rows.
        min_count: words that stand fewer times are taken out.

    Raises:
        ProbeError: a file that is missing, damaged or of another form; no word that stands min_count times.
    """
    corpus = Corpus(files=tuple(files), text_field=text_field, held_out=0.0)
    try:
        sources = resolve_sources(corpus).train
        found, ids, starts = _encode(sources, corpus)
    except CorpusError as error:
        raise ProbeError(str(error).replace("corpus.files", "--corpus")) from error
    counts = np.bincount(ids, minlength=len(found))
    order = sorted(np.flatnonzero(counts >= min_count).tolist(), key=lambda one: (-counts[one], found[one]))
    if len(order) < 2:
        raise ProbeError(
            f"--corpus: got {len(ids)} words of which {len(order)} different ones stand {min_count} times or more"
            " (--min-count), expected at least 2 of those. Name more text or lower --min-count."
        )
    new_ids = np.full(len(found), -1, dtype=np.int32)
    new_ids[order] = np.arange(len(order), dtype=np.int32)
    moved = new_ids[ids]
    kept = np.concatenate([[0], np.cumsum(moved >= 0)])
    return CorpusText(
        [found[one] for one in order],
        counts[order],
        moved[moved >= 0],
        np.unique(kept[starts]),
        [{"file": Path(one.origin).name, "digest": one.digest} for one in sources],
    )


def _encode(sources: Sequence[Source], corpus: Corpus) -> tuple[list[str], NDArray[np.int32], NDArray[np.int64]]:
    """All words in the order of their first mention, the id of every word of the text, and where lines begin."""
    known: dict[str, int] = {}
    ids, starts = array("i"), array("q", [0])
    for document in read_documents(sources, corpus, _Refusing("stop")):
        for line in document.text.split("\n"):
            words = WORD.findall(fold(line))
            for first in range(0, len(words), LONGEST_LINE):
                ids.extend([known.setdefault(word, len(known)) for word in words[first : first + LONGEST_LINE]])
                starts.append(len(ids))
    return list(known), np.frombuffer(ids, dtype=np.int32), np.frombuffer(starts, dtype=np.int64)


class _Refusing(Problems):
    """The first bad place ends the command; a probe has no setting to pass over it."""

    def add(self, reason: str, message: str, remedy: str) -> None:
        raise ProbeError(f"--corpus: {message} {remedy}.")


def word_frequencies(corpus: CorpusText) -> Counter[str]:
    """How often each word stands in the corpus."""
    return Counter(dict(zip(corpus.words, corpus.counts.tolist(), strict=True)))
