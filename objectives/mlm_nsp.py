"""Masked language modelling and next-sentence prediction (Devlin et al. 2019, section 3.1): BERT's own objective.

The same loss as transformers' BertForPreTraining, which adds the two means 1:1.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from encoders.encoder import Encoder, Heads
from objectives.mlm_pairs import MlmPairs
from objectives.objective import ObjectiveSettings


class MlmNspSettings(ObjectiveSettings, frozen=True, extra="forbid", strict=True):
    """Masked language modelling with next-sentence prediction."""

    heads: ClassVar[Mapping[str, Heads]] = {"model": "sentence_pairs"}
    terms: ClassVar[tuple[str, ...]] = ("mlm", "nsp")

    name: Literal["mlm_nsp"] = "mlm_nsp"
    nsp_weight: float = Field(1.0, gt=0.0)
    """Weight of the mean next-sentence loss beside the mean masked loss (BERT: 1)."""

    def build(self, encoder: Encoder) -> MlmPairs:
        return MlmPairs(encoder, term="nsp", label="next_sentence_label", weight=self.nsp_weight)
