"""Masked language modelling (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1, task 1).

The same loss as transformers' BertForMaskedLM and ModernBertForMaskedLM, with the vocabulary head and most
of the last layer computed at the targets only: at 15 % of the positions that costs 15 % of the time and memory.
"""

# B rows, L tokens per row, M targets in the batch, D hidden size, V vocabulary

from typing import ClassVar, Literal

from pydantic import BaseModel
from torch import Tensor
from torch.nn import functional

from encoders.encoder import Encoder
from objectives.masking import NOT_A_TARGET
from objectives.objective import Batch, Loss, Objective


class MlmSettings(BaseModel, frozen=True, extra="forbid", strict=True):
    """Masked language modelling alone."""

    needs_sentence_pairs: ClassVar[bool] = False
    terms: ClassVar[tuple[str, ...]] = ("mlm",)

    name: Literal["mlm"] = "mlm"

    def build(self, encoder: Encoder) -> "Mlm":
        return Mlm(encoder)


class Mlm(Objective):
    """{mlm: Loss} over the targets that `labels` marks."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.weights = {"mlm": 1.0}

    def forward(self, batch: Batch) -> dict[str, Loss]:
        is_target = batch["labels"] != NOT_A_TARGET
        vectors = self.encoder.vectors_at(batch, is_target)
        return {"mlm": cross_entropy(self.encoder.token_logits(vectors), batch["labels"][is_target])}

    def count(self, batch: Batch) -> dict[str, int]:
        return {"mlm": int((batch["labels"] != NOT_A_TARGET).sum())}


def cross_entropy(logits: Tensor, targets: Tensor) -> Loss:
    """Loss of logits (M, V) against targets (M,), summed in float32; all zero where M is 0."""
    return Loss(
        total=functional.cross_entropy(logits.float(), targets, reduction="sum"),
        count=targets.new_tensor(targets.numel()),
        correct=(logits.detach().argmax(dim=-1) == targets).sum(),
    )
