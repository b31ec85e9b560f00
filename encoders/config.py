"""Sizes of an encoder: the recipe's `encoder` section, made into transformers' own configurations.

Sources: BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3) and ModernBERT (Warner et al. 2024,
https://arxiv.org/abs/2412.13663, section 2). A width that no field names is transformers' default.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field
from transformers import BertConfig, ModernBertConfig, PreTrainedConfig


class EncoderError(ValueError):
    """An encoder that cannot be built as the recipe asks."""


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Vocabulary size and the ids that a network's configuration records."""

    vocab_size: int
    pad_id: int
    cls_id: int
    sep_id: int


class Bert(BaseModel, frozen=True, extra="forbid", strict=True):
    """A post-norm encoder with learnt positions and segments, as published."""

    name: Literal["bert"] = "bert"
    num_hidden_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    """Must divide hidden_size."""
    intermediate_size: int = Field(ge=1)
    """Width of the feed-forward layer (BERT: 4 x hidden_size)."""
    max_position_embeddings: int = Field(512, ge=1)
    """Most tokens that a row may ever have."""
    hidden_dropout_prob: float = Field(0.1, ge=0.0, lt=1.0)
    attention_probs_dropout_prob: float = Field(0.1, ge=0.0, lt=1.0)

    def config(self, ids: SpecialIds) -> BertConfig:
        """The transformers configuration for a vocabulary."""
        return BertConfig(
            **self.model_dump(exclude={"name"}), vocab_size=ids.vocab_size, pad_token_id=ids.pad_id, use_cache=False
        )


class ModernBert(BaseModel, frozen=True, extra="forbid", strict=True):
    """A pre-norm encoder with rotary positions, gated feed-forward layers, no biases, no segments and no dropout."""

    name: Literal["modernbert"] = "modernbert"
    num_hidden_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    """Must divide hidden_size."""
    intermediate_size: int = Field(ge=1)
    """Width of the gated feed-forward layer; 2/3 of an ungated one has as many weights."""
    max_position_embeddings: int = Field(8192, ge=1)
    """Most tokens that a row may ever have."""
    global_attn_every_n_layers: int = Field(3, ge=1)
    """Each n-th layer attends globally, the others within `local_attention` (paper: 3); 1 = all globally."""
    local_attention: int = Field(128, ge=2, multiple_of=2)
    """Tokens in the window of a local layer."""

    def config(self, ids: SpecialIds) -> ModernBertConfig:
        """The transformers configuration for a vocabulary."""
        return ModernBertConfig(
            **self.model_dump(exclude={"name"}),
            vocab_size=ids.vocab_size,
            pad_token_id=ids.pad_id,
            cls_token_id=ids.cls_id,
            sep_token_id=ids.sep_id,
            bos_token_id=ids.cls_id,
            eos_token_id=ids.sep_id,
        )


class EncoderFolder(BaseModel, frozen=True, extra="forbid", strict=True):
    """Go on from the weights of a transformers folder (BERT or ModernBERT)."""

    from_: str = Field(alias="from", min_length=1)
    """The folder, e.g. runs/NAME/model."""
    extend_positions: bool = False
    """Give a BERT with too few positions more of them, by repeating the table that it has."""


ENCODERS: dict[str, type[BaseModel]] = {
    "bert": Bert,
    "modernbert": ModernBert,
}


def flops_per_token(config: PreTrainedConfig, *, max_seq_length: int, target_ratio: float) -> float:
    """Floating-point operations of training on one token, forward and backward, with the head at targets only.

    Two a weight and token forward, twice that backward (Kaplan et al. 2020, section 2.1), and the two products of
    attention, which grow with the row. Embedding look-ups, norms and activations are left out.
    """
    width, inner = config.hidden_size, config.intermediate_size
    feed_forward = (3 if isinstance(config, ModernBertConfig) else 2) * width * inner
    layer = 4 * width * width + feed_forward
    attention = 2 * max_seq_length * width
    head = target_ratio * (width * width + width * config.vocab_size)
    return float(6 * (config.num_hidden_layers * (layer + attention) + head))
