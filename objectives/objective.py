"""The contract between an objective and the loop.

An objective is asked for sums and counts, never for means: the loop adds the counts of all micro-batches and ranks
first and divides once, so that the gradient does not depend on how a batch was cut up. A Batch is a dict of tensors
with transformers' own keys: input_ids, attention_mask, token_type_ids, position_ids (rows of several pieces), labels
(-100 where not a target), next_sentence_label, sentence_order_label; some masking policies add label_weights and
mlm_probability (objectives.masking.Masked), which transformers does not know.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from encoders.encoder import Encoder

Batch = dict[str, Tensor]


class Loss(NamedTuple):
    """A term of the loss over a batch, before any division."""

    total: Tensor
    """Sum of the cross-entropies, float32 scalar, in nats."""
    count: Tensor  # type: ignore[assignment]  # a loss is not asked how often a value stands in it
    """Number of targets, or what else the sum is to be divided by, int64 scalar."""
    correct: Tensor
    """Number of targets predicted right, int64 scalar; where targets are weighted, their weights, float32."""


class Objective(nn.Module):
    """What the encoder is asked. `forward(batch)` gives {term: Loss}; `count(batch)` the counts alone, beforehand."""

    weights: Mapping[str, float]
    """Weight of each term in the loss that is minimised: sum over terms of weight * total / count."""
    encoder: Encoder

    def forward(self, batch: Batch) -> dict[str, Loss]:
        raise AssertionError("a subclass says what is asked")

    def count(self, batch: Batch) -> dict[str, int]:
        """Number of targets of each term: what forward's counts will be, known from the batch alone."""
        raise AssertionError("a subclass says what is counted")
