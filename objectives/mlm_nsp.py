"""Masked language modelling and next-sentence prediction (Devlin et al. 2019, section 3.1): BERT's own objective.

The same loss as transformers' BertForPreTraining, which adds the two means 1:1.
"""

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, Field

from encoders.encoder import Encoder
from objectives.masking import NOT_A_TARGET
from objectives.mlm import cross_entropy, label_weights, num_targets
from objectives.objective import Batch, Loss, Objective


class MlmNspSettings(BaseModel, frozen=True, extra="forbid", strict=True):
    """Masked language modelling with next-sentence prediction."""

    needs_sentence_pairs: ClassVar[bool] = True
    terms: ClassVar[tuple[str, ...]] = ("mlm", "nsp")

    name: Literal["mlm_nsp"] = "mlm_nsp"
    nsp_weight: float = Field(1.0, gt=0.0)
    """Weight of the mean next-sentence loss beside the mean masked loss (BERT: 1)."""

    def build(self, encoder: Encoder) -> "MlmNsp":
        return MlmNsp(encoder, nsp_weight=self.nsp_weight)


class MlmNsp(Objective):
    """{mlm: Loss, nsp: Loss}; without `next_sentence_label` in the batch, mlm alone."""

    def __init__(self, encoder: Encoder, *, nsp_weight: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.weights = {"mlm": 1.0, "nsp": nsp_weight}

    def forward(self, batch: Batch) -> dict[str, Loss]:
        is_target = batch["labels"] != NOT_A_TARGET
        is_first = torch.zeros_like(is_target)
        is_first[:, 0] = "next_sentence_label" in batch  # [CLS], which is never a target
        wanted = is_target | is_first
        vectors = self.encoder.vectors_at(batch, wanted)
        token_logits = self.encoder.token_logits(vectors[is_target[wanted]])
        losses = {"mlm": cross_entropy(token_logits, batch["labels"][is_target], label_weights(batch, is_target))}
        if "next_sentence_label" in batch:
            sentence_logits = self.encoder.sentence_logits(vectors[is_first[wanted]])
            losses["nsp"] = cross_entropy(sentence_logits, batch["next_sentence_label"])
        return losses

    def count(self, batch: Batch) -> dict[str, int]:
        counts = {"mlm": num_targets(batch)}
        if "next_sentence_label" in batch:
            counts["nsp"] = len(batch["next_sentence_label"])
        return counts
