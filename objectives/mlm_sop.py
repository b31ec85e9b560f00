"""Masked language modelling and sentence-order prediction (ALBERT, Lan et al. 2020, section 3.1).

Differs from ALBERT in what answers: BERT's head, `seq_relationship`, learns the order, where transformers'
AlbertForPreTraining has a `sop_classifier` with dropout. The two means are added 1:1 as there.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from encoders.encoder import Encoder, Heads
from objectives.mlm_pairs import MlmPairs
from objectives.objective import ObjectiveSettings


class MlmSopSettings(ObjectiveSettings, frozen=True, extra="forbid", strict=True):
    """Masked language modelling with sentence-order prediction."""

    heads: ClassVar[Mapping[str, Heads]] = {"model": "sentence_pairs"}
    terms: ClassVar[tuple[str, ...]] = ("mlm", "sop")

    name: Literal["mlm_sop"] = "mlm_sop"
    sop_weight: float = Field(1.0, gt=0.0)
    """Weight of the mean sentence-order loss beside the mean masked loss (ALBERT: 1)."""

    def build(self, encoder: Encoder) -> MlmPairs:
        return MlmPairs(encoder, term="sop", label="sentence_order_label", weight=self.sop_weight)
