"""Replaced-token detection (ELECTRA, Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2).

A small generator is trained on masked language modelling; tokens drawn from its predictions replace the masked ones,
and the discriminator, which the run is for, tells for every token whether it was replaced. A guess that is right counts
as original. The generator gets no gradient from the discriminator but through embeddings that both share.

Differs from the reference code: positions are drawn without replacement unless masking.name is electra_reference, even
then a position gets one guess (the reference code draws one each time that it is masked, and writes the mean of their
ids, an unrelated word), and each term is divided by the counts of the whole batch instead of each micro-batch. The
losses are those of transformers' ElectraForMaskedLM and ElectraForPreTraining; on ModernBERT bodies, those of
ModernBertForMaskedLM and a ModernBertForTokenClassification with one label.
"""

# B rows, L tokens per row, M targets in the batch, N positions that are not padding, V vocabulary

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from encoders.building import build_encoder
from encoders.config import EncoderError, narrower
from encoders.embeddings import DisentangledEmbedding
from encoders.encoder import Encoder, Heads
from encoders.folder import load_encoder
from encoders.sharing import Sharing, share_embeddings, share_fresh
from objectives import detections
from objectives.detections import GUESSED, HISTOGRAM_SIZE, ORIGINAL, REPLACED
from objectives.masking import NOT_A_TARGET
from objectives.mlm import cross_entropy, label_classes, label_weights, num_targets
from objectives.objective import Batch, Loss, Objective, ObjectiveSettings
from objectives.sampling import sample_tokens
from objectives.vital_signs import complaints


class ReplacedTokenDetectionSettings(ObjectiveSettings, frozen=True, extra="forbid", strict=True):
    """A generator that replaces tokens, and a discriminator that detects them."""

    heads: ClassVar[Mapping[str, Heads]] = {"model": "replaced_tokens", "generator": "tokens"}
    terms: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    figures: ClassVar[tuple[str, ...]] = detections.FIGURES
    draws_tokens: ClassVar[bool] = True

    name: Literal["replaced_token_detection"] = "replaced_token_detection"
    generator_fraction: float = Field(0.25, gt=0.0, le=1.0)
    """Hidden size, heads and feed-forward width of the generator as a share of the discriminator's, rounded to whole
    heads (ELECTRA: 1/4 for small and large, 1/3 for base). Not looked at where generator_from names a folder."""
    generator_num_hidden_layers: int | None = Field(default=None, ge=1)
    """Layers of the generator; null: as many as the discriminator has (ELECTRA; DeBERTaV3: half as many). Not
    looked at where generator_from names a folder."""
    generator_from: str | None = Field(default=None, min_length=1)
    """Folder of a masked language model that the generator starts from, with its sizes but as many learnt positions as
    the discriminator has, repeated where it has fewer; null: fresh weights. What both share has the encoder's
    values."""
    sharing: Sharing = "all"
    """What both share: all embeddings (ELECTRA), the word table, the word table with disentangled gradients
    (DeBERTaV3), or none."""
    temperature: float = Field(1.0, gt=0.0)
    """Of the softmax that replacements are drawn from (ELECTRA: 1)."""
    generator_weight: float = Field(1.0, gt=0.0)
    """Weight of the generator's mean loss (ELECTRA: 1)."""
    discriminator_weight: float = Field(50.0, gt=0.0)
    """Weight of the discriminator's mean loss (ELECTRA: 50)."""

    @property
    def folders(self) -> dict[str, str]:
        return {"generator": self.generator_from} if self.generator_from else {}

    def build(self, encoder: Encoder) -> "ReplacedTokenDetection":
        """Around a discriminator, with a generator that starts with the words that both share.

        Raises:
            EncoderError: the embeddings of the two cannot be shared, or generator_from is no folder of such a model.
        """
        attention = encoder.model.config._attn_implementation
        if self.generator_from is not None:
            generator, missing = load_encoder(
                Path(self.generator_from),
                heads="tokens",
                attention=attention,
                num_positions=encoder.model.config.max_position_embeddings,
                bert_as_electra=True,
            )
            if missing:
                raise EncoderError(
                    f"objective.generator_from {self.generator_from} lacks {', '.join(missing[:4])}, expected a masked "
                    "language model with its head. Name such a folder, as a run's generator is."
                )
        else:
            config = narrower(
                encoder.model.config,
                fraction=self.generator_fraction,
                num_hidden_layers=self.generator_num_hidden_layers,
            )
            generator = build_encoder(config, heads="tokens", attention=attention)
            share_fresh(generator, encoder, self.sharing)
        return self.restore({"model": encoder, "generator": generator})

    def restore(self, networks: Mapping[str, Encoder]) -> "ReplacedTokenDetection":
        return ReplacedTokenDetection(networks["generator"], networks["model"], self)


class Corrupted(NamedTuple):
    """A batch with the generator's guesses written in."""

    input_ids: Tensor
    """(B, L) int64."""
    kinds: Tensor
    """(B, L) int64: ORIGINAL, GUESSED right, or REPLACED."""


class ReplacedTokenDetection(Objective):
    """{generator: Loss, discriminator: Loss}; the discriminator's has the histogram that detections.figures reads."""

    def __init__(self, generator: Encoder, discriminator: Encoder, settings: ReplacedTokenDetectionSettings) -> None:
        super().__init__(
            discriminator,
            {"generator": settings.generator_weight, "discriminator": settings.discriminator_weight},
            {"discriminator": HISTOGRAM_SIZE},
        )
        self.generator, self.temperature = generator, settings.temperature
        _check_vocabularies(generator, discriminator)
        share_embeddings(generator, discriminator, settings.sharing)

    def forward(self, batch: Batch) -> dict[str, Loss]:
        is_target = batch["labels"] != NOT_A_TARGET
        logits = self.generator.token_logits(self.generator.vectors_at(batch, is_target))
        corrupted = self.corrupt(batch, logits)
        weights, classes = label_weights(batch, is_target), label_classes(batch, is_target)
        return {
            "generator": cross_entropy(logits, batch["labels"][is_target], weights, classes),
            "discriminator": self.detect(batch, corrupted),
        }

    def corrupt(self, batch: Batch, logits: Tensor) -> Corrupted:
        """Write a token drawn from the generator's logits (M, V) in the place of every target; no gradient."""
        is_target = batch["labels"] != NOT_A_TARGET
        drawn = sample_tokens(logits, batch["replacement_noise"][is_target], temperature=self.temperature)
        input_ids, kinds = batch["input_ids"].clone(), torch.full_like(batch["input_ids"], ORIGINAL)
        input_ids[is_target] = drawn
        kinds[is_target] = torch.where(drawn == batch["labels"][is_target], GUESSED, REPLACED)
        return Corrupted(input_ids, kinds)

    def detect(self, batch: Batch, corrupted: Corrupted) -> Loss:
        """The discriminator's loss over all positions that are not padding."""
        is_token = batch["attention_mask"].bool()
        hidden = self.encoder.hidden_states(batch | {"input_ids": corrupted.input_ids})
        logits, kinds = self.encoder.replaced_logits(hidden)[is_token].float(), corrupted.kinds[is_token]
        is_replaced = kinds == REPLACED
        return Loss(
            total=functional.binary_cross_entropy_with_logits(logits, is_replaced.float(), reduction="sum"),
            count=is_token.sum(),
            correct=((logits.detach() >= 0) == is_replaced).sum(),
            histogram=detections.histogram(logits.detach(), kinds),
        )

    def count(self, batch: Batch) -> dict[str, int]:
        return {"generator": num_targets(batch), "discriminator": int(batch["attention_mask"].sum())}

    def figures(self, term: str, histogram: Tensor) -> dict[str, float]:
        return detections.figures(histogram)

    def complaints(self, figures: Mapping[str, float | int | None], *, unigram_nats: float) -> dict[str, str]:
        return complaints(figures, unigram_nats=unigram_nats)

    @property
    def networks(self) -> dict[str, Encoder]:
        return {"model": self.encoder, "generator": self.generator}

    def own_state(self) -> dict[str, Tensor]:
        """The residual of a disentangled word table, which the discriminator's folder holds folded."""
        table = self.encoder.word_embeddings
        return {"residual": table.residual.detach()} if isinstance(table, DisentangledEmbedding) else {}

    @torch.no_grad()
    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        if state:
            cast(nn.Parameter, self.encoder.word_embeddings.residual).copy_(state["residual"])


def _check_vocabularies(generator: Encoder, discriminator: Encoder) -> None:
    sizes = [encoder.model.config.vocab_size for encoder in (generator, discriminator)]
    if sizes[0] > sizes[1]:
        raise EncoderError(
            f"the generator has {sizes[0]} words and the discriminator {sizes[1]}, expected no more than that, as its "
            "draws are what the discriminator reads. Name another folder as objective.generator_from."
        )
