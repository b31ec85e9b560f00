"""Masked language modelling and next-sentence prediction (Devlin et al. 2019, section 3.1): BERT's own objective.

The same loss as transformers' BertForPreTraining, which adds the two means 1:1.
"""

from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from encoders.encoder import Encoder
from objectives.masking import NOT_A_TARGET
from objectives.mlm import cross_entropy, masked_loss
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
        hidden_states = self.encoder.hidden_states(batch)
        losses = {"mlm": masked_loss(self.encoder, hidden_states, batch["labels"])}
        if "next_sentence_label" in batch:
            losses["nsp"] = cross_entropy(self.encoder.sentence_logits(hidden_states), batch["next_sentence_label"])
        return losses

    def count(self, batch: Batch) -> dict[str, int]:
        counts = {"mlm": int((batch["labels"] != NOT_A_TARGET).sum())}
        if "next_sentence_label" in batch:
            counts["nsp"] = len(batch["next_sentence_label"])
        return counts
