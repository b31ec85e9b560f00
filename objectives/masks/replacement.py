"""What stands in the place of a target: [MASK], a random token or the token itself (BERT, section 3.1)."""

# B rows, L tokens per row, M targets

import numpy as np

from objectives.masks.row_draws import Ints, RowDraws
from objectives.masks.units import Bools
from tokenization.vocabulary import Vocabulary


def corrupt(
    input_ids: Ints,
    is_target: Bools,
    draws: RowDraws,
    vocabulary: Vocabulary,
    *,
    mask_replace_prob: float,
    random_replace_prob: float,
    opening: Ints | None = None,
    num_draws: Ints | None = None,
) -> Ints:
    """Replace targets.

    Args:
        input_ids: (B, L), left as they are.
        opening: (B, L) where a target's unit begins, in the flattened batch: all of a unit is then masked, replaced
            (each token by one of its own) or kept, as SpanBERT does. None: each target by itself.
        num_draws: (B, L) how often a target was drawn. As in ELECTRA's code every draw decides anew whether [MASK] is
            put there, and one is enough. None: once.

    Returns:
        (B, L) int64 with the replacements, which are ordinary tokens, each equally often.
    """
    row, position = np.nonzero(is_target)
    deciding = position if opening is None else opening[row, position] - row * input_ids.shape[1]
    choice = draws.at("masking.choice", row, deciding)
    if num_draws is not None:
        choice = 1.0 - (1.0 - choice) ** (1.0 / num_draws[row, position])  # the least of as many uniform draws
    which = draws.at("masking.replacement", row, position)
    random_ids = vocabulary.ordinary_ids[(which * len(vocabulary.ordinary_ids)).astype(np.int64)]
    kept_ids = input_ids[row, position]
    changed = np.where(choice < mask_replace_prob + random_replace_prob, random_ids, kept_ids)
    corrupted = input_ids.copy()
    corrupted[row, position] = np.where(choice < mask_replace_prob, vocabulary.mask_id, changed)
    return corrupted
