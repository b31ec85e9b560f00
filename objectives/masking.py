"""Which positions of a row are targets of masked language modelling, and what stands in their place.

Source: BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), section 3.1 and appendix C.2. Differs from the
reference code: the count of targets is unbiased (the mean over rows is exactly `mlm_probability` of the maskable
tokens, which leave out [CLS], [SEP] and padding) where the original rounds the share of the whole row; replacements
are drawn from ordinary tokens, where the original also draws special ones; masks are drawn anew in every epoch.
"""

# B rows, L tokens per row

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, model_validator

from objectives.draws import Key, uniforms
from tokenization.vocabulary import Vocabulary

NOT_A_TARGET = -100  # what torch's and transformers' cross-entropy ignore

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Masked:
    """Rows corrupted for masked language modelling."""

    input_ids: Ids
    """(B, L) int64, targets replaced as the policy says."""
    labels: Ids
    """(B, L) int64, the original id at targets and -100 elsewhere."""


class Masking(Protocol):
    """A masking policy: the settings of a recipe's `masking` section and the rule that they steer."""

    @property
    def mlm_probability(self) -> float: ...

    def mask(self, input_ids: Ids, *, indices: Ids, vocabulary: Vocabulary, seed: int, epoch: int) -> Masked: ...


class TokenMasking(BaseModel, frozen=True, extra="forbid"):
    """Single tokens, drawn uniformly without replacement from those that may be masked."""

    name: Literal["token"] = "token"
    mlm_probability: float = Field(0.15, gt=0.0, le=1.0, strict=True)
    """Mean share of the maskable tokens that become targets (BERT: 0.15)."""
    mask_replace_prob: float = Field(0.8, ge=0.0, le=1.0, strict=True)
    """Share of the targets that [MASK] replaces (BERT: 0.8)."""
    random_replace_prob: float = Field(0.1, ge=0.0, le=1.0, strict=True)
    """Share of the targets that a random ordinary token replaces (BERT: 0.1); the rest keep their token."""

    @model_validator(mode="after")
    def _shares_fit(self) -> "TokenMasking":
        total = self.mask_replace_prob + self.random_replace_prob
        if total > 1.0 + 1e-9:
            raise ValueError(
                f"mask_replace_prob + random_replace_prob = {total:g}, expected at most 1; "
                "what is left over is kept unchanged"
            )
        return self

    def mask(self, input_ids: Ids, *, indices: Ids, vocabulary: Vocabulary, seed: int, epoch: int) -> Masked:
        """Corrupt rows for masked language modelling.

        Args:
            input_ids: (B, L) int64 vocabulary ids; special tokens and padding are never targets.
            indices: (B,) int64 number of each row in its epoch; with seed and epoch the only source of randomness.

        Returns:
            Masked, with max(1, floor(p n + u)) targets in a row of n maskable tokens, u uniform and keyed like the
            mask; none in a row without any, which text that the vocabulary cannot spell gives.
        """
        rows, positions = indices[:, None], np.arange(input_ids.shape[1])[None, :]
        maskable = ~vocabulary.is_special[input_ids]
        num_maskable = maskable.sum(axis=1)
        rounding = uniforms(Key(seed, epoch, "masking.count"), indices)
        num_targets = np.maximum(1, np.floor(self.mlm_probability * num_maskable + rounding).astype(np.int64))
        order = np.where(maskable, uniforms(Key(seed, epoch, "masking.position"), rows, positions), 2.0)
        last_chosen = np.sort(order, axis=1)[np.arange(len(order)), np.minimum(num_targets, num_maskable) - 1]
        is_target = maskable & (order <= last_chosen[:, None])
        return Masked(
            input_ids=self._corrupt(input_ids, is_target, indices, vocabulary, seed=seed, epoch=epoch),
            labels=np.where(is_target, input_ids, NOT_A_TARGET),
        )

    def _corrupt(
        self,
        input_ids: Ids,
        is_target: npt.NDArray[np.bool_],
        indices: Ids,
        vocabulary: Vocabulary,
        *,
        seed: int,
        epoch: int,
    ) -> Ids:
        row, position = np.nonzero(is_target)
        choice = uniforms(Key(seed, epoch, "masking.choice"), indices[row], position)
        which = uniforms(Key(seed, epoch, "masking.replacement"), indices[row], position)
        random_ids = vocabulary.ordinary_ids[(which * len(vocabulary.ordinary_ids)).astype(np.int64)]
        kept_ids = input_ids[row, position]
        changed = np.where(choice < self.mask_replace_prob + self.random_replace_prob, random_ids, kept_ids)
        corrupted = input_ids.copy()
        corrupted[row, position] = np.where(choice < self.mask_replace_prob, vocabulary.mask_id, changed)
        return corrupted


MASKINGS: dict[str, type[BaseModel]] = {
    "token": TokenMasking,
}
