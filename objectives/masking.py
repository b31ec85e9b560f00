"""Which positions of a row are targets of masked language modelling, and what stands in their place.

Sources: BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), section 3.1 and appendix C.2, and the whole words
that its code got later; SpanBERT (Joshi et al. 2020, https://arxiv.org/abs/1907.10529), section 3.1; n-grams as in
ALBERT (Lan et al. 2020, https://arxiv.org/abs/1909.11942), section 4.1; ELECTRA (Clark et al. 2020,
https://arxiv.org/abs/2003.10555), appendix A, and pretrain_helpers.py of its code. Differs from their code: the count
of targets is unbiased (the mean over rows is exactly `mlm_probability` of the maskable tokens, which leave out [CLS],
[SEP], [UNK] and padding) where the originals round the share of the whole row, which `count: reference_bert` and
`reference_electra` do here; no token is drawn twice, but under `electra_reference`; even as published special tokens
are never targets and never replacements, where the originals also mask [UNK] and draw special tokens as replacements;
masks are drawn anew in every epoch.

Policies of words take words in a random order, passing over those that would overshoot, until a row has its count: it
never has more targets, and fewer by less than the shortest word that is left. Only where every word is longer than the
whole count, and BERT's code masks nothing, a part of a word is taken, since every row with a maskable token has a
target.
"""

# B rows, L tokens per row

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, field_validator, model_validator

from objectives.masks import counts
from objectives.masks.rates import MaskingRate, Uniform, mean_rate, peak_rate, rates
from objectives.masks.replacement import corrupt
from objectives.masks.row_draws import Floats, RowDraws
from objectives.masks.segmenters import SEGMENTERS, segmented_word_starts
from objectives.masks.selection import choose_tokens, choose_words, cut_a_word, draw_tokens
from objectives.masks.units import Bools, Words, piece_openings, word_starts
from tokenization.vocabulary import Vocabulary

NOT_A_TARGET = -100  # what torch's and transformers' cross-entropy ignore

Ids = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]
Policy = TypeVar("Policy", bound="_Policy")


@dataclass(frozen=True, slots=True)
class Masked:
    """Rows corrupted for masked language modelling."""

    input_ids: Ids
    """(B, L) int64, targets replaced as the policy says."""
    labels: Ids
    """(B, L) int64, the original id at targets and -100 elsewhere."""
    label_weights: Weights | None = None
    """(B, L) float32, how often each target was drawn, 0 elsewhere; only where draws may repeat."""
    mlm_probability: Weights | None = None
    """(B,) float32, the share of each row's maskable tokens that are targets, 0 where a row has none; only where the
    rate is drawn for each row."""


class Masking(Protocol):
    """A masking policy: the settings of a recipe's `masking` section and the rule that they steer."""

    @property
    def mlm_probability(self) -> MaskingRate: ...

    @property
    def mask_replace_prob(self) -> float: ...

    @property
    def random_replace_prob(self) -> float: ...

    @property
    def mean_probability(self) -> float:
        """Mean of `mlm_probability` over the run."""
        ...

    @property
    def peak_probability(self) -> float:
        """Highest of `mlm_probability` over the run and its rows."""
        ...

    def mask(
        self, input_ids: Ids, *, indices: Ids, vocabulary: Vocabulary, seed: int, epoch: int, share: float = 0.0
    ) -> Masked: ...


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The targets of a batch before anything is put in their place; arrays (B, L)."""

    is_target: Bools
    opening: Ids | None = None
    """Where the unit begins that a target was chosen with, in the flattened batch; None: targets stand alone."""
    num_draws: Ids | None = None
    """How often each position was drawn; None: targets once."""


class _Policy(BaseModel, frozen=True, extra="forbid", strict=True):
    """What all policies share: the rate, and what is put in the place of targets."""

    name: str
    mlm_probability: MaskingRate = 0.15
    """Mean share of the maskable tokens that become targets (BERT: 0.15): a number, or a schedule that gives one."""
    mask_replace_prob: float = Field(0.8, ge=0.0, le=1.0)
    """Share of the targets that [MASK] replaces (BERT: 0.8)."""
    random_replace_prob: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the targets that a random ordinary token replaces (BERT: 0.1); the rest keep their token."""

    @model_validator(mode="after")
    def _shares_fit(self: Policy) -> Policy:
        total = self.mask_replace_prob + self.random_replace_prob
        if total > 1.0 + 1e-9:
            raise ValueError(
                f"mask_replace_prob + random_replace_prob = {total:g}, expected at most 1; "
                "what is left over is kept unchanged"
            )
        return self

    @property
    def mean_probability(self) -> float:
        """Mean of `mlm_probability` over the run."""
        return mean_rate(self.mlm_probability)

    @property
    def peak_probability(self) -> float:
        """Highest of `mlm_probability` over the run and its rows."""
        return peak_rate(self.mlm_probability)

    def mask(
        self, input_ids: Ids, *, indices: Ids, vocabulary: Vocabulary, seed: int, epoch: int, share: float = 0.0
    ) -> Masked:
        """Corrupt rows for masked language modelling.

        Args:
            input_ids: (B, L) int64 vocabulary ids; special tokens and padding are never targets.
            indices: (B,) int64 number of each row in its epoch; with seed and epoch the only source of randomness.
            share: share of the run that is spent, in 0..1, which a schedule of `mlm_probability` follows.

        Returns:
            Masked. Every row has a target, but for those without a maskable token, which text that the vocabulary
            cannot spell gives.
        """
        draws = RowDraws(seed, epoch, indices)
        maskable = ~vocabulary.is_special[input_ids]
        probability = rates(self.mlm_probability, share=share, draws=draws)
        chosen = self._choose(input_ids, maskable, probability, draws, vocabulary)
        return Masked(
            input_ids=corrupt(
                input_ids,
                chosen.is_target,
                draws,
                vocabulary,
                mask_replace_prob=self.mask_replace_prob,
                random_replace_prob=self.random_replace_prob,
                opening=chosen.opening,
                num_draws=chosen.num_draws,
            ),
            labels=np.where(chosen.is_target, input_ids, NOT_A_TARGET),
            label_weights=None if chosen.num_draws is None else chosen.num_draws.astype(np.float32),
            mlm_probability=(
                _realised(chosen.is_target, maskable) if isinstance(self.mlm_probability, Uniform) else None
            ),
        )

    def _choose(
        self, input_ids: Ids, maskable: Bools, probability: Floats, draws: RowDraws, vocabulary: Vocabulary
    ) -> _Chosen:
        raise AssertionError("a subclass says which positions")


class _CountedPolicy(_Policy, frozen=True, extra="forbid", strict=True):
    """What policies share that take no token twice: the number of targets is a setting."""

    count: Literal["exact", "bernoulli", "reference_bert", "reference_electra"] = "exact"
    """How many targets a row of L places has, where n of its m tokens are maskable and p is its rate.

    exact: max(1, floor(p n + u)), u uniform and keyed like the mask;
    bernoulli: every unit by itself with probability p, at least one;
    reference_bert: max(1, round(p m)), halves to the even number;
    reference_electra: max(1, min(floor((p + 0.005) L), round(p m)));
    and never more than n and `max_predictions`.
    """
    max_predictions: int | None = Field(default=None, ge=1)
    """Most targets of a row (BERT: 20 at 128 tokens); null: no limit."""

    def _limit(
        self, input_ids: Ids, maskable: Bools, probability: Floats, draws: RowDraws, vocabulary: Vocabulary
    ) -> Ids:
        """(B,) most targets of each row, 0 where nothing is maskable; under bernoulli the units decide below it."""
        limit = num_maskable = maskable.sum(axis=1)
        if self.count == "exact":
            limit = counts.exact(probability, num_maskable, draws.of_rows("masking.count"))
        elif self.count == "reference_bert":
            limit = counts.reference_bert(probability, _num_tokens(input_ids, vocabulary))
        elif self.count == "reference_electra":
            limit = counts.reference_electra(probability, _num_tokens(input_ids, vocabulary), input_ids.shape[1])
        most = num_maskable if self.max_predictions is None else np.minimum(num_maskable, self.max_predictions)
        limited: Ids = np.minimum(limit, most)
        return limited


class TokenMasking(_CountedPolicy, frozen=True, extra="forbid", strict=True):
    """Single tokens, drawn uniformly without replacement from those that may be masked."""

    name: Literal["token"] = "token"

    def _choose(
        self, input_ids: Ids, maskable: Bools, probability: Floats, draws: RowDraws, vocabulary: Vocabulary
    ) -> _Chosen:
        order = draws.of_each("masking.position", input_ids.shape[1])
        num_targets = self._limit(input_ids, maskable, probability, draws, vocabulary)
        if self.count == "bernoulli":
            num_targets = np.minimum(num_targets, _num_heads(maskable, order, probability))
        return _Chosen(choose_tokens(maskable, order, num_targets))


class ElectraReferenceMasking(_Policy, frozen=True, extra="forbid", strict=True):
    """Single tokens as ELECTRA's code draws them: with replacement, from all that may be masked each time anew.

    A row of L places and m tokens has max(1, min(floor((p + 0.005) L), round(p m))) draws at rate p: 19 where it is
    full, L is 128 and p 0.15, which meet 17.7 positions in the mean. `label_weights` tells how often each was drawn,
    and its loss counts so often. Every draw decides for itself whether it puts [MASK], and one that does is enough.
    The same number of targets without replacement, as its author proposed later, is `token` with
    `count: reference_electra`, `mask_replace_prob: 0.85` and `random_replace_prob: 0.0`.
    """

    name: Literal["electra_reference"] = "electra_reference"
    mask_replace_prob: float = Field(0.85, ge=0.0, le=1.0)
    """Share of the draws that put [MASK] (ELECTRA: 0.85)."""
    random_replace_prob: float = Field(0.0, ge=0.0, le=1.0)
    """Share of the draws that put a random ordinary token (ELECTRA: 0); the rest keep the token."""

    def _choose(
        self, input_ids: Ids, maskable: Bools, probability: Floats, draws: RowDraws, vocabulary: Vocabulary
    ) -> _Chosen:
        num = counts.reference_electra(probability, _num_tokens(input_ids, vocabulary), input_ids.shape[1])
        num_draws = draw_tokens(maskable, num, draws)
        return _Chosen(num_draws > 0, num_draws=num_draws)


class _WordPolicy(_CountedPolicy, frozen=True, extra="forbid", strict=True):
    """What policies of whole words share."""

    replace_unit: Literal["token", "unit"] = "token"
    """What is masked, replaced at random or kept together: each token by itself, or all tokens of a unit alike."""
    segmenter: str | None = None
    """Finds the words of scripts without spaces: jieba (Chinese; slow); null: words begin where the tokenizer's do."""

    @field_validator("segmenter")
    @classmethod
    def _segmenter_is_there(cls, segmenter: str | None) -> str | None:
        if segmenter is not None:
            if segmenter not in SEGMENTERS:
                raise ValueError(f"got {segmenter!r} (text), expected null or one of {', '.join(SEGMENTERS)}")
            SEGMENTERS[segmenter]("")  # tells whether its package is installed
        return segmenter

    def _choose(
        self, input_ids: Ids, maskable: Bools, probability: Floats, draws: RowDraws, vocabulary: Vocabulary
    ) -> _Chosen:
        word_begins = word_starts(input_ids, maskable, vocabulary)
        if self.segmenter is not None:
            segment = SEGMENTERS[self.segmenter]
            word_begins = segmented_word_starts(input_ids, maskable, vocabulary, word_begins, segment)
        words = Words.cut(word_begins, maskable)
        opening = self._unit_openings(words, maskable, draws)
        order = draws.of_each("masking.position", input_ids.shape[1]).ravel()[opening]
        limit = self._limit(input_ids, maskable, probability, draws, vocabulary)
        num_words = _num_heads(words.starts, order, probability) if self.count == "bernoulli" else None
        is_target = choose_words(words, order, limit, num_words)
        is_target = cut_a_word(words, is_target, limit, draws)
        return _Chosen(is_target, opening if self.replace_unit == "unit" else None)

    def _unit_openings(self, words: Words, maskable: Bools, draws: RowDraws) -> Ids:
        """(B, L) where the unit begins that holds a position, in the flattened batch: here its word."""
        return words.opening


class WholeWordMasking(_WordPolicy, frozen=True, extra="forbid", strict=True):
    """Whole words in a random order, as BERT's do_whole_word_mask; one that would overshoot is passed over."""

    name: Literal["whole_word"] = "whole_word"


class SpanMasking(_WordPolicy, frozen=True, extra="forbid", strict=True):
    """Spans of words of geometric length (SpanBERT, section 3.1).

    The words of a row are cut into spans, one behind another, and taken span by span in a random order; the last span
    is cut off where the count is reached, as in SpanBERT, but between two words. SpanBERT's code draws a length and a
    beginning again and again, and spans may run into each other. Both measured over 20,000 rows of 126 words with 15 %
    targets: the lengths of spans differ by 0.6 % in total variation (mean 3.37 words here, 3.35 there), those of
    unbroken stretches of targets by 4 % (3.87 and 3.56, as spans that overlap are shorter). There the first word of a
    row is a target in 5 % and the second in 8 %, because only spans that begin with or before them reach them; here in
    16.5 %. With 1.3 tokens a word there are 7 % more words among the targets here, as a beginning is drawn among words
    and not among tokens, which favours long ones.
    """

    name: Literal["span"] = "span"
    replace_unit: Literal["token", "unit"] = "unit"
    """What is masked, replaced at random or kept together: each token by itself, or a span as a whole (SpanBERT)."""
    geometric_p: float = Field(0.2, gt=0.0, le=1.0)
    """Probability that a span ends behind each of its words (SpanBERT: 0.2)."""
    max_span_length: int = Field(10, ge=1)
    """Most words of a span, above which the geometric distribution is cut off (SpanBERT: 10)."""

    def _unit_openings(self, words: Words, maskable: Bools, draws: RowDraws) -> Ids:
        weights = self.geometric_p * (1.0 - self.geometric_p) ** np.arange(self.max_span_length)
        return piece_openings(words, maskable, tuple((weights / weights.sum()).tolist()), draws)


class NgramMasking(_WordPolicy, frozen=True, extra="forbid", strict=True):
    """Runs of 1 to max_ngram words, every length equally often.

    Differs from ALBERT (section 4.1), which draws a length n with a probability proportional to 1 / n.
    """

    name: Literal["ngram"] = "ngram"
    max_ngram: int = Field(3, ge=1)
    """Most words of an n-gram (ALBERT: 3)."""

    def _unit_openings(self, words: Words, maskable: Bools, draws: RowDraws) -> Ids:
        return piece_openings(words, maskable, (1.0 / self.max_ngram,) * self.max_ngram, draws)


def _num_heads(starts: Bools, order: Floats, probability: Floats) -> Ids:
    """(B,) tokens or words whose draw is below the rate; where there is none, those that share the smallest draw."""
    least = np.where(starts, order, 1.0).min(axis=1)
    heads: Ids = (starts & ((order < probability[:, None]) | (order <= least[:, None]))).sum(axis=1)
    return heads


def _num_tokens(input_ids: Ids, vocabulary: Vocabulary) -> Ids:
    """(B,) tokens of each row, special ones included."""
    num_tokens: Ids = (input_ids != vocabulary.pad_id).sum(axis=1)
    return num_tokens


def _realised(is_target: Bools, maskable: Bools) -> Weights:
    share: Weights = (is_target.sum(axis=1) / np.maximum(1, maskable.sum(axis=1))).astype(np.float32)
    return share


MASKINGS: dict[str, type[BaseModel]] = {
    "token": TokenMasking,
    "whole_word": WholeWordMasking,
    "span": SpanMasking,
    "ngram": NgramMasking,
    "electra_reference": ElectraReferenceMasking,
}
