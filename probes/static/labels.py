"""Word vectors learnt from a label: the mean of a text's word vectors, a linear layer, the label; trained end to end.

The classifier of Joulin et al. 2017, "Bag of tricks for efficient text classification", without n-grams and with Adam.
What comes out is the vectors; the classifier is thrown away. They know of a word only which labels it goes with.
"""

# M texts, T words of all texts, V words of the vocabulary, D dimensions, C labels, B texts of a batch

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts
from probes.source import Vectors
from probes.vectors.word_vectors import WORD, fold

BATCH_SIZE = 64
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class LabelledWords:
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


def words_of(labelled: LabelledTexts, *, min_count: int) -> LabelledWords:
    """The words of labelled texts; those that stand fewer than min_count times are left out.

    Raises:
        ProbeError: all texts have one label, or too few words are left.
    """
    names = labelled.classes
    if len(names) < 2:
        raise ProbeError(
            f"{labelled.file}: all its {len(labelled)} texts have the label {names[0]!r}, expected 2 labels or more."
            " Name another field by --label-field."
        )
    texts = [WORD.findall(fold(text)) for text in labelled.texts]
    counts = Counter(word for text in texts for word in text)
    words = sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))
    if len(words) < 2:
        raise ProbeError(
            f"{labelled.file}: {len(words)} words stand {min_count} times or more, expected 2 at least."
            " Lower --min-count."
        )
    known = {word: row for row, word in enumerate(words)}
    kept = [[known[word] for word in text if word in known] for text in texts]
    return LabelledWords(
        words,
        np.array([one for text in kept for one in text], dtype=np.int64),
        np.cumsum([0, *map(len, kept)]),
        names,
        np.array([names.index(label) for label in labelled.labels]),
    )


def learn_from_labels(texts: LabelledWords, *, dimension: int, epochs: int, seed: int) -> LabelVectors:
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
