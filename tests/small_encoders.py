"""Small encoders of every family, and what they answer, for laws that hold for all of them."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from encoders.building import build_encoder
from encoders.config import ENCODERS, SpecialIds
from encoders.encoder import Batch, Encoder, Heads
from tokenization.vocabulary import Vocabulary

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SIZES: dict[str, dict[str, Any]] = {"bert": NO_DROPOUT, "electra": NO_DROPOUT}
"""Fields that a family asks for besides those that all have."""
NARROW = {"embedding_size": 16}


class Family(NamedTuple):
    """An encoder of the table ENCODERS with these heads and fields."""

    name: str
    heads: Heads = "tokens"
    fields: dict[str, Any] = {}  # noqa: RUF012


FAMILIES: dict[str, Family] = {
    **{name: Family(name) for name in ENCODERS},
    "electra, narrow embeddings": Family("electra", fields=NARROW),
    "electra, discriminator": Family("electra", "replaced_tokens", NARROW),
    "modernbert, all layers global": Family("modernbert", fields={"global_attn_every_n_layers": 1}),
    "modernbert, narrow windows": Family("modernbert", fields={"local_attention": 8}),
    "modernbert, discriminator": Family("modernbert", "replaced_tokens", {"local_attention": 8}),
}

DETECTION_HEADS = {
    "electra": [
        f"discriminator_predictions.{layer}.{part}"
        for layer in ("dense", "dense_prediction")
        for part in ("bias", "weight")
    ],
    "modernbert": ["classifier.bias", "classifier.weight"],
}
TOKEN_HEADS = {
    "electra": [
        "generator_lm_head.bias",
        *(f"generator_predictions.{layer}.{part}" for layer in ("LayerNorm", "dense") for part in ("bias", "weight")),
    ],
    "modernbert": ["decoder.bias"],
}
"""Names of the weights of the heads, without the table over the vocabulary, which is the word table."""


def small_config(name: str, vocabulary: Vocabulary, **fields: Any) -> Any:
    """4 layers of 32, two heads, 64 positions, no dropout."""
    sizes = {
        "num_hidden_layers": 4,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    }
    ids = SpecialIds(vocabulary.size, pad_id=vocabulary.pad_id, cls_id=vocabulary.cls_id, sep_id=vocabulary.sep_id)
    return ENCODERS[name].model_validate({**sizes, **SIZES.get(name, {}), **fields}).config(ids)


def small_encoder(
    name: str,
    vocabulary: Vocabulary,
    *,
    heads: Heads = "tokens",
    attention: str = "eager",
    seed: int = 0,
    **fields: Any,
) -> Encoder:
    """An encoder whose weights are large enough that each of them shows in the logits."""
    torch.manual_seed(seed)
    encoder = build_encoder(small_config(name, vocabulary, **fields), heads=heads, attention=attention).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return encoder


def drawn_batch(vocabulary: Vocabulary, *, num_rows: int = 4, length: int = 24) -> Batch:
    """Rows of drawn ids in two segments; the first is full, the others end in more and more padding."""
    draw = torch.Generator().manual_seed(3)
    used = length - 4 * torch.arange(num_rows)[:, None]
    place = torch.arange(length)[None, :]
    is_token = place < used
    ids = torch.randint(vocabulary.size, (num_rows, length), generator=draw)
    return {
        "input_ids": torch.where(is_token, ids, vocabulary.pad_id),
        "attention_mask": is_token.long(),
        "token_type_ids": (is_token & (place >= used // 2)).long(),
    }


def logits_of(encoder: Encoder, heads: Heads, hidden_states: Tensor) -> Tensor:
    """What the heads say of every token."""
    return encoder.replaced_logits(hidden_states) if heads == "replaced_tokens" else encoder.token_logits(hidden_states)


@torch.no_grad()
def all_logits(encoder: Encoder, batch: Batch, heads: Heads = "tokens") -> Tensor:
    """What the heads say of every token of a batch."""
    return logits_of(encoder, heads, encoder.hidden_states(batch))


def inputs_of(encoder: Encoder, batch: Batch) -> Batch:
    """The batch as the family's transformers classes take it."""
    return {key: value for key, value in batch.items() if encoder.takes_token_type_ids or key != "token_type_ids"}


def weights_of(folder: Path) -> dict[str, Tensor]:
    """All that the folder's model.safetensors holds."""
    return load_file(folder / "model.safetensors")
