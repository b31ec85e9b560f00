"""What a recipe will cost, told before anything is spent: parameters, tokens, steps, operations and memory."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from encoders.building import build_encoder
from encoders.config import EncoderFolder, SpecialIds, flops_per_token
from encoders.conversion import electra_config_of_bert
from encoders.families import FAMILIES
from encoders.folder import read_config
from objectives.objective import Objective
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
    objective = _without_weights(recipe)
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
    micro_batch_size = train.most_at_once
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


def _without_weights(recipe: Recipe) -> Objective:
    """The objective with the sizes of all its networks and not one number in them."""
    configs = {"model": _config(recipe)}
    length = configs["model"].max_position_embeddings
    configs |= {name: _of_folder(recipe, folder, length) for name, folder in recipe.objective.folders.items()}
    with torch.device("meta"):
        networks = {
            name: build_encoder(config, heads=recipe.objective.heads[name], attention="eager")
            for name, config in configs.items()
        }
        if networks.keys() == recipe.objective.heads.keys():
            return recipe.objective.restore(networks)
        return recipe.objective.build(networks["model"])


def _config(recipe: Recipe) -> PreTrainedConfig:
    """The configuration of the encoder."""
    if isinstance(recipe.encoder, EncoderFolder):
        length = recipe.examples.max_seq_length if recipe.encoder.extend_positions else 0
        return _of_folder(recipe, recipe.encoder.from_, length)
    if isinstance(recipe.tokenizer, TokenizerFolder):
        size = Vocabulary.from_folder(recipe.tokenizer.path).size
    else:
        size = recipe.tokenizer.vocab_size
    return recipe.encoder.config(SpecialIds(vocab_size=size, pad_id=0, cls_id=2, sep_id=3))


def _of_folder(recipe: Recipe, folder: str, num_positions: int) -> PreTrainedConfig:
    """The configuration that the network of a folder will have, with so many learnt positions at least."""
    config = read_config(Path(folder))
    if config.model_type == "bert" and recipe.objective.heads["model"] == "replaced_tokens":
        config = electra_config_of_bert(config)
    family = FAMILIES.get(config.model_type)
    if family is not None and family.has_learnt_positions:
        config.max_position_embeddings = max(num_positions, config.max_position_embeddings)
    return config


def _activation_bytes(config: PreTrainedConfig, length: int, target_ratio: float, recipe: Recipe) -> float:
    """Activations of one row that the backward pass needs (Korthikanti et al. 2022, section 4.1), and the logits."""
    width, heads = config.hidden_size, config.num_attention_heads
    sixteen_bit = length * width * (34 + 5 * heads * length / width)
    layers = 1 if recipe.train.gradient_checkpointing else config.num_hidden_layers
    scale = 2 if recipe.train.mixed_precision == "no" else 1
    logits = target_ratio * length * config.vocab_size * 2 * _FLOAT32_BYTES
    return float(layers * scale * sixteen_bit + logits)
