"""The families of encoders that the kit trains: where each keeps its layers and heads."""

from typing import cast

from torch import Tensor, nn
from transformers import (
    BertForMaskedLM,
    BertForPreTraining,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ModernBertForMaskedLM,
    ModernBertForTokenClassification,
)

from encoders.encoder import Encoder


class BertEncoder(Encoder):
    """BertForMaskedLM, or BertForPreTraining where sentence pairs are judged."""

    model_classes = {"tokens": BertForMaskedLM, "sentence_pairs": BertForPreTraining}  # noqa: RUF012
    lacks_sentence_head = False

    @property
    def layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.model.bert.encoder.layer)

    def token_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.cls.predictions(vectors))

    def sentence_logits(self, vectors: Tensor) -> Tensor:
        pooled = self.model.bert.pooler(vectors[:, None])  # it takes rows and looks at the first position
        return cast(Tensor, self.model.cls.seq_relationship(pooled))


class ElectraEncoder(Encoder):
    """ElectraForMaskedLM, which generators are, or ElectraForPreTraining, the discriminator.

    A BERT body is an ELECTRA whose embedding_size is its hidden_size.
    """

    model_classes = {  # noqa: RUF012
        "tokens": ElectraForMaskedLM,
        "sentence_pairs": ElectraForMaskedLM,
        "replaced_tokens": ElectraForPreTraining,
    }

    @property
    def layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.model.electra.encoder.layer)

    def token_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.generator_lm_head(self.model.generator_predictions(vectors)))

    def replaced_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.discriminator_predictions(vectors))


class ModernBertEncoder(Encoder):
    """ModernBertForMaskedLM, or ModernBertForTokenClassification with one label where replaced tokens are detected.

    It has no segments, so a pair is told by [SEP] alone.
    """

    model_classes = {  # noqa: RUF012
        "tokens": ModernBertForMaskedLM,
        "sentence_pairs": ModernBertForMaskedLM,
        "replaced_tokens": ModernBertForTokenClassification,
    }
    has_learnt_positions = False
    takes_token_type_ids = False

    @property
    def layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.model.model.layers)

    def token_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.decoder(self.model.head(vectors)))

    def replaced_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.classifier(self.model.drop(self.model.head(vectors)))).squeeze(-1)


FAMILIES: dict[str, type[Encoder]] = {
    "bert": BertEncoder,
    "electra": ElectraEncoder,
    "modernbert": ModernBertEncoder,
}
"""By transformers' model_type."""
