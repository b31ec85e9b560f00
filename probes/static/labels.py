"""Word vectors learnt from a label: the mean of a text's word vectors, a linear layer, the label; trained end to end.

The classifier of Joulin et al. 2017, "Bag of tricks for efficient text classification", without n-grams and with Adam.
What comes out is the vectors; the classifier is thrown away. They know of a word only which labels it goes with.
"""

# M texts, T words of all texts, V words of the vocabulary, D dimensions, C labels, B texts of a batch

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.probe_error import ProbeError
from probes.source import Vectors
from probes.word_vectors import WORD, fold

BATCH_SIZE = 64
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class LabelledTexts:
    """Texts as word ids, each with the number of its label."""

    words: list[str]
    """V words, the most frequent first, equally frequent ones in the order of the alphabet."""
    ids: NDArray[np.int64]
    """(T,) all texts one after another."""
    starts: NDArray[np.int64]
    """(M + 1,)"""
    labels: list[str]
    """C names in the order of the alphabet."""
    numbers: NDArray[np.int64]
    """(M,) of each text's label."""


@dataclass(frozen=True)
class LabelVectors:
    """What training gave."""

    table: Vectors
    """(V, D) float32"""
    accuracy: float
    """Share of the texts that the last round through them labelled right, each before it was learnt from."""


def read_labelled(path: Path, *, text_field: str, label_field: str, min_count: int) -> LabelledTexts:
    """Read a .csv with a header or a .jsonl, also .gz; words that stand fewer than min_count times are left out.

    Raises:
        ProbeError: it cannot be read, a row lacks a field, all have one label, or too few words are left.
    """
    texts, labels = [], []
    for place, row in _rows(path):
        for field in (text_field, label_field):
            if not isinstance(row.get(field), str | int) or row[field] == "":
                raise ProbeError(
                    f"{path}:{place}: got no {field!r} (fields: {', '.join(map(str, row))}), expected text in it. Name"
                    " the fields by --text-field and --label-field, or take that row out."
                )
        texts.append(WORD.findall(fold(str(row[text_field]))))
        labels.append(str(row[label_field]))
    names = sorted(set(labels))
    if len(names) < 2:
        raise ProbeError(f"{path}: got {len(names)} labels in {label_field!r}, expected 2 or more. Name another field.")
    counts = Counter(word for text in texts for word in text)
    words = sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))
    if len(words) < 2:
        raise ProbeError(
            f"{path}: {len(words)} words stand {min_count} times or more, expected 2 at least. Lower --min-count."
        )
    known = {word: row for row, word in enumerate(words)}
    kept = [[known[word] for word in text if word in known] for text in texts]
    return LabelledTexts(
        words,
        np.array([one for text in kept for one in text], dtype=np.int64),
        np.cumsum([0, *map(len, kept)]),
        names,
        np.array([names.index(label) for label in labels]),
    )


def learn_from_labels(texts: LabelledTexts, *, dimension: int, epochs: int, seed: int) -> LabelVectors:
    """Train the vectors; the same seed gives the same ones. Starts near zero, so that what is there was learnt."""
    import torch
    from torch import nn

    rng = torch.Generator().manual_seed(seed)
    start_VD = torch.empty(len(texts.words), dimension).uniform_(-0.5 / dimension, 0.5 / dimension, generator=rng)
    bag = nn.EmbeddingBag.from_pretrained(start_VD, freeze=False, mode="mean")
    head = nn.Linear(dimension, len(texts.labels), device="meta").to_empty(device="cpu")
    with torch.no_grad():
        head.weight.uniform_(-(dimension**-0.5), dimension**-0.5, generator=rng)
        head.bias.zero_()
    optimizer = torch.optim.Adam([*bag.parameters(), *head.parameters()], lr=LEARNING_RATE)
    ids, numbers = torch.from_numpy(texts.ids), torch.from_numpy(texts.numbers)
    num_right = 0
    for _ in range(epochs):
        num_right = 0
        for batch in torch.split(torch.randperm(len(numbers), generator=rng), BATCH_SIZE):
            parts = [ids[texts.starts[one] : texts.starts[one + 1]] for one in batch.tolist()]
            offsets_B = torch.tensor([0, *map(len, parts[:-1])]).cumsum(0)
            logits_BC = head(bag(torch.cat(parts), offsets_B))
            loss = nn.functional.cross_entropy(logits_BC, numbers[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            num_right += int((logits_BC.argmax(dim=1) == numbers[batch]).sum())
    table: Vectors = bag.weight.detach().numpy()
    return LabelVectors(table, num_right / len(numbers))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and fields of every row."""
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".jsonl"):
        raise ProbeError(f"--labelled {path}: got {kind or 'no ending'}, expected .csv or .jsonl (or .gz). Convert it.")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = io.StringIO(data.decode("utf-8-sig"), newline="")
        if kind == ".csv":
            reader = csv.DictReader(lines)
            yield from ((reader.line_num, row) for row in reader)
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _json_object(path, number, line)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProbeError(f"--labelled {path}: {reason}. Expected labelled texts as UTF-8. Check the file.") from error


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise ProbeError(f"{path}:{number}: got {line.strip()[:60]!r}, expected a JSON object. Correct that line.")
    return row
