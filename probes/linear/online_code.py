"""Online code of labels, given vectors (Voita & Titov 2020): how many bits tell them all.

The labels are sent block by block; each block is coded with a classifier trained on all blocks before it, the first by
the uniform code. Differs from the paper: a block ends with a sentence, and the classifier's penalty is the one that has
coded the blocks before it best (at first the greatest), so that nobody has to know it beforehand.
"""

# W words, B blocks, D hidden size, C labels

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from probes.intervals import Array
from probes.linear.classifier import STRENGTHS, Integers, fit, log_probabilities
from probes.source import Vectors

SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Of the words, at which the blocks end, as in the paper."""


@dataclass(frozen=True)
class Code:
    """What a code costs."""

    bits_W: Array
    """Of each word."""
    strength: float
    """The penalty that codes the last block best, which is half of the words: the one to train on all words with."""


def block_ends(owners_W: Integers) -> list[int]:
    """Where the blocks end, each after the last word of a sentence; the first holds a sentence at least.

    Args:
        owners_W: the sentence of each word, those of one sentence next to each other.
    """
    ends_of_sentences = np.append(np.flatnonzero(np.diff(owners_W)) + 1, len(owners_W))
    wanted = np.array([share * len(owners_W) for share in SHARES])
    # Shares are of floating point: 0.001 x 1000 must not ask for the word after.
    places = np.searchsorted(ends_of_sentences, wanted - 1e-9)
    return sorted({int(ends_of_sentences[place]) for place in places})


def code_online(vectors_WD: Vectors, labels_W: Integers, ends: Sequence[int], *, num_labels: int) -> Code:
    """Code the labels in the order given.

    Args:
        vectors_WD: standardised; sender and receiver both have them.
        ends: of the blocks, from block_ends.
    """
    bits_W = np.full(len(labels_W), np.log2(num_labels))
    spent_S = np.zeros(len(STRENGTHS))
    last_S = np.zeros(len(STRENGTHS))
    best = 0
    for begin, end in pairwise(ends):
        coded_SW = np.empty((len(STRENGTHS), end - begin))
        weights = None
        for s, strength in enumerate(STRENGTHS):
            weights = fit(vectors_WD[:begin], labels_W[:begin], num_labels=num_labels, strength=strength, start=weights)
            logs = log_probabilities(vectors_WD[begin:end], weights)
            coded_SW[s] = -logs[np.arange(end - begin), labels_W[begin:end]] / np.log(2)
        bits_W[begin:end] = coded_SW[best]
        last_S = coded_SW.sum(axis=1)
        spent_S += last_S
        best = int(np.argmin(spent_S))
    return Code(bits_W, STRENGTHS[int(np.argmin(last_S))])
