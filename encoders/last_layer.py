"""The last layer at few places: what no head looks at need not be computed.

Pretraining reads the last hidden states at the targets and at [CLS] alone, about one position in seven. Up to the last
layer every position matters, as others attend to it; in the last one keys and values are needed everywhere, but
queries, output projection and feed-forward at those places only. The result is transformers' own, to float precision.
"""

# B rows, L tokens per row, T places looked at in a row, H heads, D hidden size

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.electra.modeling_electra import ElectraLayer
from transformers.models.modernbert.modeling_modernbert import ModernBertEncoderLayer, rotate_half


def places_of(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The wanted positions of each row, in order, filled up to the longest row with others.

    Args:
        wanted: (B, L) bool.

    Returns:
        places (B, T) int64, and is_wanted (B, T) bool, False where a row was filled up. T is at least 1.
    """
    counts = wanted.sum(dim=1)
    most = max(1, int(counts.max()))
    places = wanted.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    return places, torch.arange(most, device=wanted.device)[None, :] < counts[:, None]


@contextmanager
def computed_at(layer: nn.Module, places: Tensor) -> Iterator[None]:
    """Inside, the layer gives hidden states (B, T, D) at the places (B, T) instead of (B, L, D) everywhere."""
    layer.forward = partial(_FORWARDS[type(layer)], layer, places)  # shadows the class's own for the time being
    try:
        yield
    finally:
        del layer.forward


def _bert_layer(
    layer: Any, places: Tensor, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    attention = layer.attention.self
    here = _at(hidden_states, places)
    query, key, value = (
        _by_heads(projection(states), attention.num_attention_heads)
        for projection, states in (
            (attention.query, here),
            (attention.key, hidden_states),
            (attention.value, hidden_states),
        )
    )
    dropout = attention.dropout.p if layer.training else 0.0
    context = _attend(query, key, value, _mask_at(attention_mask, places), dropout)
    attended = layer.attention.output(context, here)
    result: Tensor = layer.output(layer.intermediate(attended), attended)
    return result


def _modernbert_layer(
    layer: Any,
    places: Tensor,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **_: Any,
) -> Tensor:
    attention = layer.attn
    normed = layer.attn_norm(hidden_states)
    width = normed.shape[-1]
    heads = width // attention.head_dim
    weight, bias = attention.Wqkv.weight, attention.Wqkv.bias
    query = functional.linear(_at(normed, places), weight[:width], None if bias is None else bias[:width])
    key, value = functional.linear(normed, weight[width:], None if bias is None else bias[width:]).chunk(2, dim=-1)
    assert position_embeddings is not None, "ModernBertModel hands over the rotation of every position"
    cos, sin = (rotation.expand(len(places), -1, -1) for rotation in position_embeddings)
    query = _rotated(_by_heads(query, heads), _at(cos, places), _at(sin, places))
    key = _rotated(_by_heads(key, heads), cos, sin)
    dropout = attention.attention_dropout if layer.training else 0.0
    context = _attend(query, key, _by_heads(value, heads), _mask_at(attention_mask, places), dropout)
    here: Tensor = _at(hidden_states, places) + attention.out_drop(attention.Wo(context))
    result: Tensor = here + layer.mlp(layer.mlp_norm(here))
    return result


_FORWARDS: dict[type[nn.Module], Callable[..., Tensor]] = {
    BertLayer: _bert_layer,
    ElectraLayer: _bert_layer,
    ModernBertEncoderLayer: _modernbert_layer,
}


def _at(states: Tensor, places: Tensor) -> Tensor:
    """(B, T, D) of (B, L, D)."""
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[-1]))


def _mask_at(mask: Tensor | None, places: Tensor) -> Tensor | None:
    """The rows (B, 1, T, L) of an attention mask (B, 1, L, L), bool or additive, that belong to the places."""
    if mask is None or mask.shape[2] == 1:
        return mask
    return mask.gather(2, places[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3]))


def _by_heads(states: Tensor, num_heads: int) -> Tensor:
    """(B, H, L, D / H) of (B, L, D)."""
    return states.view(*states.shape[:2], num_heads, -1).transpose(1, 2)


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021), computed in float32 as transformers does."""
    exact = states.float()
    rotated: Tensor = exact * cos[:, None] + rotate_half(exact) * sin[:, None]
    return rotated.to(states.dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention by plain products: (B, T, D)."""
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min) if mask.dtype == torch.bool else scores + mask
    shares = functional.dropout(scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype), dropout)
    context: Tensor = (shares @ value).transpose(1, 2).flatten(2)
    return context
