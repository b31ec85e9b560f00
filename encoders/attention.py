"""Attention of packed rows, and which attention kernel runs where.

Rows that hold several pieces (documents) must not attend across them, which transformers' BERT does not see from
restarting positions. An additive (B, 1, L, L) bias is right under both the eager and the sdpa kernel, where a boolean
one is silently ignored under eager; ModernBERT wants one for each kind of layer, or it loses its sliding window.
"""

# B rows, L tokens per row

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

_EAGER_UP_TO = 256  # tokens: on a CPU the fused kernel's backward pass is the slower one for short rows (make bench)


def attention_kernel(device: torch.device, max_seq_length: int) -> str:
    """Transformers' attention implementation to train with: plain products for short rows on a CPU, else sdpa."""
    return "eager" if device.type == "cpu" and max_seq_length <= _EAGER_UP_TO else "sdpa"


def attention_inputs(
    config: PreTrainedConfig, attention_mask: Tensor, position_ids: Tensor | None, *, dtype: torch.dtype
) -> dict[str, Any]:
    """The arguments `attention_mask` and `position_ids` of a transformers model for a batch.

    Args:
        attention_mask: (B, L) 1 at tokens, 0 at padding.
        position_ids: (B, L) positions that restart at 0 with each piece of a packed row, or None where a row is one
            piece.
        dtype: of the hidden states, which the bias is added to.
    """
    if position_ids is None:
        return {"attention_mask": None if bool(attention_mask.all()) else attention_mask}
    piece = (position_ids == 0).cumsum(dim=1)  # padding has position 0, so each padded place is a piece of its own
    same_piece = (piece[:, :, None] == piece[:, None, :])[:, None]
    full = _bias(same_piece, dtype)
    if "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        mask: Any = full if config.model_type != "modernbert" else {"full_attention": full, "sliding_attention": full}
        return {"attention_mask": mask, "position_ids": position_ids}
    place = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    is_near = (place[:, None] - place[None, :]).abs() <= config.sliding_window
    return {
        "attention_mask": {"full_attention": full, "sliding_attention": _bias(same_piece & is_near, dtype)},
        "position_ids": position_ids,
    }


def _bias(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where attention is allowed, the most negative number of the dtype where it is not."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, torch.finfo(dtype).min)
