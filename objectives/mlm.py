"""Masked language modelling (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1, task 1).

The same loss as transformers' BertForMaskedLM and ModernBertForMaskedLM, with the vocabulary head and most
of the last layer computed at the targets only: at 15 % of the positions that costs 15 % of the time and memory.

A target that was drawn k times (`label_weights` in the batch, ELECTRA's draws with replacement) counts k times.
"""

# B rows, L tokens per row, M targets in the batch, C classes of words, D hidden size, V vocabulary

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from encoders.encoder import Encoder
from objectives.masking import NOT_A_TARGET
from objectives.objective import Batch, Loss, Objective, ObjectiveSettings


class MlmSettings(ObjectiveSettings, frozen=True, extra="forbid", strict=True):
    """Masked language modelling alone."""

    terms: ClassVar[tuple[str, ...]] = ("mlm",)

    name: Literal["mlm"] = "mlm"
    target_weighting: Literal["none", "inverse_probability"] = "none"
    """How targets weigh. none: all alike. inverse_probability: each by one over the share of its row's maskable tokens
    that are targets, and the sum is divided by the number of all tokens, which makes the loss of masked diffusion
    (LLaDA, Nie et al. 2025, https://arxiv.org/abs/2502.09992, section 2.2); needs masking.mlm_probability:
    {schedule: uniform}. Differs: special tokens are never targets, but are among those that the sum is divided by."""

    def build(self, encoder: Encoder) -> "Mlm":
        return Mlm(encoder, inverse_probability=self.target_weighting == "inverse_probability")


class Mlm(Objective):
    """{mlm: Loss} over the targets that `labels` marks.

    With `inverse_probability` the targets of a batch that has `mlm_probability` weigh one over it, and the count is
    that of all tokens. Held-out batches have none, so they are scored as ever.
    """

    def __init__(self, encoder: Encoder, *, inverse_probability: bool = False) -> None:
        super().__init__(encoder, {"mlm": 1.0})
        self.inverse_probability = inverse_probability

    def forward(self, batch: Batch) -> dict[str, Loss]:
        is_target = batch["labels"] != NOT_A_TARGET
        vectors = self.encoder.vectors_at(batch, is_target)
        logits, targets = self.encoder.token_logits(vectors), batch["labels"][is_target]
        weights = label_weights(batch, is_target)
        if not self._weighs_by_rate(batch):
            return {"mlm": cross_entropy(logits, targets, weights, label_classes(batch, is_target))}
        by_rate = (1.0 / batch["mlm_probability"])[is_target.nonzero()[:, 0]]
        loss = cross_entropy(logits, targets, by_rate if weights is None else by_rate * weights)
        return {"mlm": loss._replace(count=batch["attention_mask"].sum())}

    def count(self, batch: Batch) -> dict[str, int]:
        return {"mlm": int(batch["attention_mask"].sum()) if self._weighs_by_rate(batch) else num_targets(batch)}

    def _weighs_by_rate(self, batch: Batch) -> bool:
        return self.inverse_probability and "mlm_probability" in batch


def num_targets(batch: Batch) -> int:
    """Targets of a batch, each as often as it was drawn."""
    if "label_weights" in batch:
        return int(batch["label_weights"].sum(dtype=torch.float64))
    return int((batch["labels"] != NOT_A_TARGET).sum())


def label_weights(batch: Batch, is_target: Tensor) -> Tensor | None:
    """(M,) float32, how often each target was drawn; None where each was once."""
    return batch["label_weights"][is_target] if "label_weights" in batch else None


def label_classes(batch: Batch, is_target: Tensor) -> Tensor | None:
    """(M, C) bool, of which classes each target is; None where nobody asks."""
    return batch["label_classes"][is_target] if "label_classes" in batch else None


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, classes: Tensor | None = None
) -> Loss:
    """Loss of logits (M, V) against targets (M,), summed in float32; all zero where M is 0.

    Args:
        weights: (M,) float32 by which each target's loss is multiplied; they add up to the count. None: all 1.
        classes: (M, C) bool, of which classes each target is, for the sums of each class; None: none are made.
    """
    exact = logits.float()  # for the largest as well, which is found several times faster than in bfloat16
    right = exact.detach().argmax(dim=-1) == targets
    if weights is None:
        total = functional.cross_entropy(exact, targets, reduction="sum")
        loss = Loss(total=total, count=targets.new_tensor(targets.numel()), correct=right.sum())
    else:
        losses = functional.cross_entropy(exact, targets, reduction="none")
        loss = Loss(
            total=(losses * weights).sum(),
            count=weights.sum(dtype=torch.float64).long(),
            correct=(right * weights).sum(),
        )
    if classes is None:
        return loss
    # Once more and for each target, so that the sums over all are the same with classes and without.
    losses_M = functional.cross_entropy(exact.detach(), targets, reduction="none")
    counted_M3 = torch.stack([losses_M, torch.ones_like(losses_M), right], dim=-1).double()
    if weights is not None:
        counted_M3 = counted_M3 * weights[:, None]
    return loss._replace(by_class=(classes[..., None] * counted_M3[:, None]).sum(dim=0))
