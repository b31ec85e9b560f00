"""Drawing a token from a distribution over the vocabulary with a uniform number that is given."""

# M positions, V vocabulary

import torch
from torch import Tensor

_POSITIONS_AT_ONCE = 256  # bounds what is held in float64: (256, V)
_LOWEST_TEMPERATURE = torch.finfo(torch.float32).tiny  # below it 0 / temperature is no number


@torch.no_grad()
def sample_tokens(logits: Tensor, noise: Tensor, *, temperature: float) -> Tensor:
    """(M,) int64 ids drawn from softmax(logits / temperature), no gradient: the inverse of the cumulative distribution.

    The same distribution as that of adding Gumbel noise and taking the argmax (ELECTRA's code), from one uniform number
    a position instead of one a position and word. A change of the logits by rounding changes a draw only where its
    number lies on the border of two words. Never gives a word whose probability is 0 in float32; on GPUs the cumulative
    sum is not bitwise reproducible (torch.cumsum). Logits that are no numbers give some word, and the loss tells.

    Args:
        logits: (M, V) of any floating dtype.
        noise: (M,) float64 uniform in [0, 1).
        temperature: > 0; towards 0 the draw becomes the argmax.
    """
    if not len(logits):
        return logits.new_empty(0, dtype=torch.long)
    parts = zip(torch.split(logits, _POSITIONS_AT_ONCE), torch.split(noise, _POSITIONS_AT_ONCE), strict=True)
    return torch.cat([_sample(part.float(), numbers, temperature) for part, numbers in parts])


def _sample(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    # The largest is 0 at every temperature.
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / max(temperature, _LOWEST_TEMPERATURE)
    cumulative = scaled.exp().cumsum(dim=-1, dtype=torch.float64)
    # Strictly below the whole sum, so that the word found has a probability.
    numbers = torch.minimum(noise * cumulative[:, -1], torch.nextafter(cumulative[:, -1], cumulative.new_zeros(())))
    found = torch.searchsorted(cumulative, numbers[:, None], right=True)[:, 0]
    return found.clamp(max=logits.shape[-1] - 1)  # one too far where the logits are no numbers
