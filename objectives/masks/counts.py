"""How many targets a row has.

Sources: BERT's create_pretraining_data.py (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) and ELECTRA's
pretrain_helpers.py (Clark et al. 2020, https://arxiv.org/abs/2003.10555), whose counts go by all tokens of a row and
are kept for comparison; `exact` goes by the tokens that may be masked, and its mean over rows is what was asked for.
"""

# B rows

import numpy as np

from objectives.masks.row_draws import Floats, Ints

ELECTRA_SLACK = 0.005
"""What ELECTRA adds to the rate where it sets aside places for targets: 19 of 128 at a rate of 0.15."""


def exact(rates: Floats, num_maskable: Ints, rounding: Floats) -> Ints:
    """max(1, floor(p n + u)) of the n maskable tokens, u uniform: (B,)."""
    return np.maximum(1, np.floor(rates * num_maskable + rounding).astype(np.int64))


def reference_bert(rates: Floats, num_tokens: Ints) -> Ints:
    """BERT's max(1, round(p n)) of the n tokens, special ones included, halves to the even number: (B,)."""
    return np.maximum(1, np.rint(rates * num_tokens).astype(np.int64))


def reference_electra(rates: Floats, num_tokens: Ints, max_seq_length: int) -> Ints:
    """ELECTRA's max(1, min(N, round(p n))), N = floor((p + 0.005) L), the rounding in float32 as there: (B,)."""
    most = np.floor((rates + ELECTRA_SLACK) * max_seq_length).astype(np.int64)
    wanted = np.rint(num_tokens.astype(np.float32) * rates.astype(np.float32)).astype(np.int64)
    return np.maximum(1, np.minimum(most, wanted))
