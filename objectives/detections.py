"""How well replaced tokens are detected: a histogram of the discriminator's logits, which adds up over processes.

Positions are of three kinds: never masked, masked and guessed right (original too), and replaced. Their counts in 1,000
bins tell precision, recall, the area under the ROC curve and the share of the masked tokens that were really replaced,
whatever the batches were. Bins are of logits and not of probabilities: a detector that calls few tokens replaced has
most probabilities near 0, where logits still tell them apart.
"""

# N positions

import torch
from torch import Tensor

ORIGINAL, GUESSED, REPLACED = 0, 1, 2
"""Kinds of positions."""
NUM_BINS = 1_000
_LARGEST = 10.0  # logit; those beyond fall into the outermost bins
_BIN = 2 * _LARGEST / NUM_BINS
HISTOGRAM_SIZE = 3 * NUM_BINS
FIGURES = ("precision/discriminator", "recall/discriminator", "auc/discriminator")
"""Of these the highest is the best; replaced_ratio is neither good nor bad."""


def histogram(logits: Tensor, kinds: Tensor) -> Tensor:
    """(3,000,) int64 counts by kind and bin of logits.

    Args:
        logits: (N,) of a position having been replaced; from 0 on it is called replaced. What is no number counts as 0,
            and the loss tells.
        kinds: (N,) int64, the kind of each position.
    """
    bins = torch.floor(logits.float() / _BIN).nan_to_num().clamp(-NUM_BINS // 2, NUM_BINS // 2 - 1).long()
    return torch.bincount(kinds * NUM_BINS + NUM_BINS // 2 + bins, minlength=HISTOGRAM_SIZE)


def figures(histogram: Tensor) -> dict[str, float]:
    """Figures of a histogram, as far as there was anything to tell them from.

    Returns:
        replaced_ratio: share of the masked positions that were really replaced.
        precision/discriminator: share of those called replaced that were; missing where none was called so.
        recall/discriminator: share of the replaced that were called so.
        auc/discriminator: probability that a replaced position scores above one that was not, ties counted half.
    """
    counts = histogram.double().view(3, NUM_BINS)
    originals, replaced = counts[ORIGINAL] + counts[GUESSED], counts[REPLACED]
    found: dict[str, float] = {}
    if num_masked := float(counts[GUESSED].sum() + replaced.sum()):
        found["replaced_ratio"] = float(replaced.sum()) / num_masked
    called = slice(NUM_BINS // 2, None)
    if num_called := float(originals[called].sum() + replaced[called].sum()):
        found["precision/discriminator"] = float(replaced[called].sum()) / num_called
    if num_replaced := float(replaced.sum()):
        found["recall/discriminator"] = float(replaced[called].sum()) / num_replaced
        if num_originals := float(originals.sum()):
            below = originals.cumsum(0) - originals / 2
            found["auc/discriminator"] = float(replaced @ below) / (num_replaced * num_originals)
    return found
