"""What a recipe will cost, told before anything is spent: parameters, tokens, steps, operations and memory."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from encoders.building import build_encoder
from encoders.config import EncoderFolder, SpecialIds, flops_per_token
from encoders.folder import read_config
from pretrain.optimizer import Muon
from pretrain.recipe import Recipe
from tokenization.vocabulary import TokenizerFolder, Vocabulary

_FLOAT32_BYTES = 4
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a run; None where only the prepared corpus can tell."""

    parameters: int
    """Weights, those of the heads included and tied ones counted once."""
    tokens_per_step: int
    """Places in a full batch; padding, where a cutting has any, included."""
    steps: int | None
    tokens: int | None
    flops: float | None
    memory_gib: float
    """Weights, gradients, optimizer state and activations of one micro-batch in one process."""

    def lines(self) -> list[str]:
        """For people."""
        unknown = "known once the corpus is prepared"
        return [
            f"parameters       {self.parameters:,}",
            f"tokens a step    {self.tokens_per_step:,}",
            f"steps            {unknown if self.steps is None else f'{self.steps:,}'}",
            f"tokens           {unknown if self.tokens is None else f'{self.tokens:,}'}",
            f"operations       {unknown if self.flops is None else f'{self.flops:.2e} FLOPs'}",
            f"memory           about {self.memory_gib:.1f} GiB in each process",
        ]


def estimate(recipe: Recipe) -> Estimate:
    """Estimate a recipe without preparing its corpus or making its weights."""
    config = _config(recipe)
    with torch.device("meta"):
        encoder = build_encoder(config, heads=recipe.objective.heads["model"], attention="eager")
        objective = recipe.objective.build(encoder)
    parameters = sum(parameter.numel() for parameter in objective.parameters())
    matrices = sum(matrix.numel() for matrix in objective.hidden_matrices())
    length, train = recipe.examples.max_seq_length, recipe.train
    tokens_per_step = train.batch_size * length
    steps = train.steps if train.tokens is None else -(-train.tokens // tokens_per_step)
    tokens = None if steps is None else steps * tokens_per_step
    per_token = sum(
        flops_per_token(
            objective.networks[name].model.config,
            max_seq_length=length,
            target_ratio=recipe.masking.mean_probability,
            looks_everywhere=heads == "replaced_tokens",
        )
        for name, heads in recipe.objective.heads.items()
    )
    state = 2 * parameters - (matrices if isinstance(recipe.optimizer, Muon) else 0)  # Muon keeps one moment, Adam two
    micro_batch_size = train.micro_batch_size or train.batch_size
    activations = micro_batch_size * sum(
        _activation_bytes(
            objective.networks[name].model.config,
            length,
            0.0 if heads == "replaced_tokens" else recipe.masking.peak_probability,
            recipe,
        )
        for name, heads in recipe.objective.heads.items()
    )
    return Estimate(
        parameters=parameters,
        tokens_per_step=tokens_per_step,
        steps=steps,
        tokens=tokens,
        flops=None if tokens is None else tokens * per_token,
        memory_gib=(_FLOAT32_BYTES * (2 * parameters + state) + activations) / _GIB,
    )


def _config(recipe: Recipe) -> PreTrainedConfig:
    if isinstance(recipe.encoder, EncoderFolder):
        return read_config(Path(recipe.encoder.from_))
    if isinstance(recipe.tokenizer, TokenizerFolder):
        size = Vocabulary.from_folder(recipe.tokenizer.path).size
    else:
        size = recipe.tokenizer.vocab_size
    return recipe.encoder.config(SpecialIds(vocab_size=size, pad_id=0, cls_id=2, sep_id=3))


def _activation_bytes(config: PreTrainedConfig, length: int, target_ratio: float, recipe: Recipe) -> float:
    """Activations of one row that the backward pass needs (Korthikanti et al. 2022, section 4.1), and the logits."""
    width, heads = config.hidden_size, config.num_attention_heads
    sixteen_bit = length * width * (34 + 5 * heads * length / width)
    layers = 1 if recipe.train.gradient_checkpointing else config.num_hidden_layers
    scale = 2 if recipe.train.mixed_precision == "no" else 1
    logits = target_ratio * length * config.vocab_size * 2 * _FLOAT32_BYTES
    return float(layers * scale * sixteen_bit + logits)
