"""Reading sentences of any text file, at most so many of them, drawn at random."""

import csv
from collections.abc import Iterable
from hashlib import blake2b
from heapq import nsmallest
from pathlib import Path

import numpy as np

from probes.probe_error import ProbeError

MOST_SENTENCES = 1000


def read_sentences(path: Path, *, most: int, seed: int) -> list[str]:
    """At most `most` different sentences of a file, sorted; which ones, the seed alone decides, and no order of lines.

    A .txt has one sentence a line. Of a .tsv the column `sentence` is read. Rows of .jsonl, .json, .csv and .parquet
    have a `text` that is cut into sentences by rule; of more than `most` such texts so many are drawn first, which
    gives every sentence the same chance as before and bounds time and memory.

    Raises:
        ProbeError: the file is missing, empty, not UTF-8, of an unknown kind, or has no sentence.
    """
    if most < 1:
        raise ProbeError(f"--most: got {most}, expected at least 1. Name how many sentences may be read.")
    rng = np.random.default_rng(seed)
    sentences = _column(path) if path.suffix == ".tsv" else _texts(path, most=most, rng=rng)
    drawn = _drawn((one for sentence in sentences if (one := sentence.strip())), most=most, rng=rng)
    if not drawn:
        raise ProbeError(f"{path}: got no sentence, expected at least one. Add text to it or name another file.")
    return drawn


def _column(path: Path) -> list[str]:
    """The column `sentence` of a tab-separated table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            names = rows.fieldnames or []
            if "sentence" not in names:
                got = f"the columns {', '.join(names)}" if names else "an empty file"
                raise ProbeError(f"{path}: got {got}, expected one that is called sentence. Correct the first line.")
            return [row["sentence"] or "" for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ProbeError(f"{path}: {reason}. Expected a UTF-8 table with a column sentence. Check the file.") from error


def _texts(path: Path, *, most: int, rng: np.random.Generator) -> list[str]:
    """The lines of a text, or the sentences of a random selection of the texts of rows."""
    from tokenization.corpus import Corpus, CorpusError, Problems, read_documents, resolve_sources
    from tokenization.reading.sentences import split_lines, split_sentences

    corpus = Corpus(files=(str(path),), held_out=0.0)
    try:
        documents = read_documents(resolve_sources(corpus).train, corpus, Problems("stop"))
        if ".txt" in path.suffixes:
            return [line for document in documents for line in split_lines(document.text)]
        kept = _drawn((document.text for document in documents), most=most, rng=rng)
    except CorpusError as error:
        # What the corpus says names the settings of a recipe; here an option does.
        said = str(error).replace(", or set corpus.on_error: skip to leave such places out", "")
        raise ProbeError(said.replace("corpus.files", "--sentences")) from error
    return [sentence for text in kept for sentence in split_sentences(text)]


def _drawn(texts: Iterable[str], *, most: int, rng: np.random.Generator) -> list[str]:
    """At most that many different ones of a stream, sorted; each has the same chance, whatever its place.

    Those with the smallest numbers are kept, which a keyed hash gives them (bottom-k sampling, Cohen & Kaplan 2007); at
    most twice as many are held at a time.
    """
    key = rng.bytes(16)
    kept: dict[bytes, str] = {}
    for text in texts:
        kept[blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest()] = text
        if len(kept) > 2 * most:
            kept = dict(nsmallest(most, kept.items()))
    return sorted(text for _, text in nsmallest(most, kept.items()))
