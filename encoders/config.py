"""Sizes of an encoder: the recipe's `encoder` section, made into transformers' own configurations.

Sources: BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3), ELECTRA (Clark et al. 2020,
https://arxiv.org/abs/2003.10555, section 3) and ModernBERT (Warner et al. 2024, https://arxiv.org/abs/2412.13663,
section 2). A width that no field names is transformers' default.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field
from transformers import BertConfig, ElectraConfig, ModernBertConfig, PreTrainedConfig


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


class Electra(Bert, frozen=True, extra="forbid", strict=True):
    """BERT's body with word, position and segment tables of their own width, and a map from it to the hidden size.

    With embedding_size = hidden_size it is BERT's body, weight for weight.
    """

    name: Literal["electra"] = "electra"  # type: ignore[assignment]
    embedding_size: int | None = Field(None, ge=1)
    """Width of the embeddings (ELECTRA-small: 128); null: hidden_size."""

    def config(self, ids: SpecialIds) -> ElectraConfig:  # type: ignore[override]
        """The transformers configuration for a vocabulary."""
        return ElectraConfig(
            **self.model_dump(exclude={"name", "embedding_size"}),
            embedding_size=self.embedding_size or self.hidden_size,
            vocab_size=ids.vocab_size,
            pad_token_id=ids.pad_id,
            use_cache=False,
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
    """Go on from the weights of a transformers folder (BERT, ELECTRA or ModernBERT)."""

    from_: str = Field(alias="from", min_length=1)
    """The folder, e.g. runs/NAME/model."""
    extend_positions: bool = False
    """Give a BERT or ELECTRA with too few positions more of them, by repeating the table that it has."""


ENCODERS: dict[str, type[BaseModel]] = {
    "bert": Bert,
    "electra": Electra,
    "modernbert": ModernBert,
}


def narrower(config: PreTrainedConfig, *, fraction: float, num_hidden_layers: int | None) -> PreTrainedConfig:
    """The configuration of a smaller encoder of the same family: ELECTRA's generator beside its discriminator.

    Heads are as wide as before and so many fewer, the feed-forward layer is in the same proportion, and an ELECTRA's
    embeddings keep their width (Clark et al. 2020, section 3.2).

    Args:
        fraction: of the hidden size, in (0, 1]; rounded to whole heads.
        num_hidden_layers: None: as many as before. Kinds of layers are those of the first ones, over again if need be.
    """
    num_layers = num_hidden_layers or config.num_hidden_layers
    num_heads = max(1, round(fraction * config.num_attention_heads))
    hidden_size = config.hidden_size // config.num_attention_heads * num_heads
    sizes: dict[str, Any] = {
        "num_attention_heads": num_heads,
        "hidden_size": hidden_size,
        "intermediate_size": round(config.intermediate_size * hidden_size / config.hidden_size),
        "num_hidden_layers": num_layers,
    }
    if layer_types := getattr(config, "layer_types", None):
        sizes["layer_types"] = [layer_types[layer % len(layer_types)] for layer in range(num_layers)]
    kept = {name: value for name, value in config.to_dict().items() if name not in _OF_EACH_MODEL}
    return type(config)(**{**kept, **sizes})


_OF_EACH_MODEL = ("architectures", "id2label", "label2id", "transformers_version")


def flops_per_token(
    config: PreTrainedConfig, *, max_seq_length: int, target_ratio: float, looks_everywhere: bool = False
) -> float:
    """Floating-point operations of training an encoder on one token, forward and backward, as the kit computes them.

    Two a weight and token forward, twice that backward (Kaplan et al. 2020, section 2.1), and the two products of
    attention, which grow with the row. The head is at the targets only, and so is the last layer but for its keys and
    values. Embedding look-ups, norms, activations and sampling are left out.

    Args:
        target_ratio: share of the tokens that are targets.
        looks_everywhere: a discriminator, which has a small head and no layer that is left out.
    """
    width, inner = config.hidden_size, config.intermediate_size
    embedding = getattr(config, "embedding_size", width)
    projection = width * embedding if embedding != width else 0
    keys_and_values = 2 * width * width
    feed_forward = (3 if isinstance(config, ModernBertConfig) else 2) * width * inner
    at_queries = 2 * width * width + feed_forward + 2 * max_seq_length * width
    if looks_everywhere:
        looked_at, head = 1.0, float(width * width + width)
    else:
        looked_at, head = target_ratio, target_ratio * (width * embedding + embedding * config.vocab_size)
    layers = config.num_hidden_layers * keys_and_values + (config.num_hidden_layers - 1 + looked_at) * at_queries
    return float(6 * (projection + layers + head))
