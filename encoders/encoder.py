"""The networks: transformers' own classes, asked for hidden states and logits apart.

A transformers model computes the logits of all positions; pretraining needs those of the targets only. An Encoder
holds the whole transformers model (so saving is save_pretrained) and gives access to its parts. What no transformers
class has (a pooler and a next-sentence head on ModernBERT) is ours and saved beside the model as
`extra_heads.safetensors`.
"""

# B rows, L tokens per row, M vectors, D hidden size, V vocabulary

import logging
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from encoders.attention import attention_inputs
from encoders.config import EncoderError
from encoders.last_layer import computed_at, places_of

EXTRA_HEADS = "extra_heads.safetensors"
Batch = dict[str, Tensor]

logger = logging.getLogger(__name__)


class Encoder(nn.Module):
    """A transformers model for pretraining, by parts. Subclasses say where a family keeps them."""

    takes_token_type_ids: bool
    model: PreTrainedModel
    skips_places: bool = True
    """Whether the last layer is computed only where it is looked at. Not under torch.compile and gradient
    checkpointing, which run the layers by themselves later."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def hidden_states(self, batch: Batch) -> Tensor:
        """Last hidden states (B, L, D) of a batch with input_ids, attention_mask and what else the family takes.

        Transformers' own forward pass. Training asks for `vectors_at`, which gives the same at the places in question.
        """
        inputs: dict[str, Any] = {"input_ids": batch["input_ids"]}
        dtype = torch.get_autocast_dtype(self._device_type) if self._autocasts else self.model.dtype
        inputs |= attention_inputs(self.model.config, batch["attention_mask"], batch.get("position_ids"), dtype=dtype)
        if self.takes_token_type_ids:
            inputs["token_type_ids"] = batch["token_type_ids"]
        return cast(Tensor, self._body(**inputs)[0])

    def vectors_at(self, batch: Batch, wanted: Tensor) -> Tensor:
        """Last hidden states at some places: (M, D), row by row, of the M that `wanted` (B, L) bool marks."""
        if not self.skips_places:
            return self.hidden_states(batch)[wanted]
        places, is_wanted = places_of(wanted)
        with computed_at(self.layers[-1], places):
            return self.hidden_states(batch)[is_wanted]

    @property
    def layers(self) -> nn.ModuleList:
        """The layers, first to last."""
        raise AssertionError("a subclass says where its family keeps them")

    def token_logits(self, vectors: Tensor) -> Tensor:
        """(M, V) logits over the vocabulary at (M, D) hidden states."""
        raise AssertionError("a subclass gives the head of its family")

    def sentence_logits(self, vectors: Tensor) -> Tensor:
        """(B, 2) logits of next (0) and random (1) from the hidden states (B, D) of [CLS]."""
        raise AssertionError("a subclass gives the head of its family")

    def extra_heads(self) -> nn.Module | None:
        """Heads that no transformers class has, or None."""
        return None

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weight matrices of the layers' linear maps: neither embeddings nor heads."""
        return [
            cast(nn.Parameter, module.weight)
            for name, module in self._body.named_modules()
            if isinstance(module, nn.Linear) and not name.startswith("pooler")
        ]

    def save(self, folder: Path) -> None:
        """Write a plain from_pretrained folder, and the extra heads beside where there are any."""
        self.model.save_pretrained(folder)
        if (heads := self.extra_heads()) is not None:
            save_file({name: value.contiguous() for name, value in heads.state_dict().items()}, folder / EXTRA_HEADS)

    @property
    def _body(self) -> nn.Module:
        return cast(nn.Module, self.model.base_model)

    @property
    def _device_type(self) -> str:
        return str(self.model.device.type)

    @property
    def _autocasts(self) -> bool:
        return torch.is_autocast_enabled(self._device_type)


class BertEncoder(Encoder):
    """BertForMaskedLM, or BertForPreTraining where sentence pairs are judged."""

    takes_token_type_ids = True

    @property
    def layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.model.bert.encoder.layer)

    def token_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.cls.predictions(vectors))

    def sentence_logits(self, vectors: Tensor) -> Tensor:
        pooled = self.model.bert.pooler(vectors[:, None])  # it takes rows and looks at the first position
        return cast(Tensor, self.model.cls.seq_relationship(pooled))


class SentenceHead(nn.Module):
    """BERT's pooler and next-sentence head for a body that has none: dense, tanh, dense to 2, on [CLS]."""

    def __init__(self, hidden_size: int, initializer_range: float) -> None:
        super().__init__()
        self.pooler = nn.Linear(hidden_size, hidden_size)
        self.seq_relationship = nn.Linear(hidden_size, 2)
        for layer in (self.pooler, self.seq_relationship):
            nn.init.normal_(layer.weight, std=initializer_range)
            nn.init.zeros_(layer.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.seq_relationship(torch.tanh(self.pooler(vectors))))


class ModernBertEncoder(Encoder):
    """ModernBertForMaskedLM; it has no segments, so a pair is told by [SEP] alone."""

    takes_token_type_ids = False

    def __init__(self, model: PreTrainedModel, sentence_head: SentenceHead | None) -> None:
        super().__init__(model)
        self.sentence_head = sentence_head

    @property
    def layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.model.model.layers)

    def token_logits(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.model.decoder(self.model.head(vectors)))

    def sentence_logits(self, vectors: Tensor) -> Tensor:
        assert self.sentence_head is not None, "built without a sentence head"
        return cast(Tensor, self.sentence_head(vectors))

    def extra_heads(self) -> nn.Module | None:
        return self.sentence_head


def build_encoder(config: PreTrainedConfig, *, sentence_pairs: bool, attention: str) -> Encoder:
    """An encoder with fresh weights, drawn from torch's default generator.

    Args:
        sentence_pairs: whether it needs a next-sentence head.
        attention: transformers' attention implementation, see encoders.attention.attention_kernel.

    Raises:
        EncoderError: a configuration of another family.
    """
    if isinstance(config, BertConfig):
        bert_class = BertForPreTraining if sentence_pairs else BertForMaskedLM
        return BertEncoder(bert_class._from_config(config, attn_implementation=attention))
    if isinstance(config, ModernBertConfig):
        model = ModernBertForMaskedLM._from_config(config, attn_implementation=attention)
        return ModernBertEncoder(model, _sentence_head(config) if sentence_pairs else None)
    raise _unknown_family(config, "the recipe")


def read_config(folder: Path) -> PreTrainedConfig:
    """The configuration of a transformers folder; no code of the folder is run.

    Raises:
        EncoderError: no model folder.
    """
    reason = "it has no config.json"
    try:
        if (folder / "config.json").is_file():
            return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
    raise EncoderError(
        f"{folder} is not a transformers model folder ({reason}); expected config.json and model.safetensors. "
        "Name a folder that save_pretrained or this kit wrote."
    )


def load_encoder(
    folder: Path, *, sentence_pairs: bool, attention: str, num_positions: int | None = None
) -> tuple[Encoder, list[str]]:
    """An encoder with the weights of a transformers folder, and the names of those that the folder lacks.

    Weights that the folder lacks (a next-sentence head on a masked language model) are fresh. Only safetensors are read
    and no code of the folder is run.

    Args:
        num_positions: extend a BERT's learnt positions to so many by repeating its table; None leaves them.

    Raises:
        EncoderError: no model folder, a family that the kit does not train, or weights that do not fit.
    """
    config = read_config(folder)
    model, missing = _load_model(folder, config, sentence_pairs=sentence_pairs, attention=attention)
    if isinstance(config, BertConfig):
        if num_positions is not None and num_positions > config.max_position_embeddings:
            _extend_positions(model, num_positions)
        return BertEncoder(model), missing
    if not sentence_pairs:
        return ModernBertEncoder(model, None), missing
    head = _sentence_head(config)
    if not (folder / EXTRA_HEADS).exists():
        return ModernBertEncoder(model, head), missing + sorted(head.state_dict())
    try:
        head.load_state_dict(load_file(folder / EXTRA_HEADS))
    except (RuntimeError, OSError, SafetensorError) as error:
        raise _unfit(folder, f"{EXTRA_HEADS}: {error}") from error
    return ModernBertEncoder(model, head), missing


def _load_model(
    folder: Path, config: PreTrainedConfig, *, sentence_pairs: bool, attention: str
) -> tuple[PreTrainedModel, list[str]]:
    """The transformers model of a folder in float32, and the names of the heads' weights that the folder lacks."""
    families = {"bert": BertForPreTraining if sentence_pairs else BertForMaskedLM, "modernbert": ModernBertForMaskedLM}
    if config.model_type not in families:
        raise _unknown_family(config, str(folder))
    if not any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise EncoderError(
            f"{folder} has no model.safetensors; expected weights as safetensors (pickled weights can run code and are "
            "not read). Save the model again with save_pretrained."
        )
    try:
        model, info = families[config.model_type].from_pretrained(
            folder, attn_implementation=attention, dtype=torch.float32, use_safetensors=True, local_files_only=True,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    except (OSError, SafetensorError) as error:
        raise _unfit(folder, str(error)) from error
    if info["mismatched_keys"]:
        name, found, expected = min(info["mismatched_keys"])
        raise _unfit(folder, f"{name} is {tuple(found)}, not {tuple(expected)}")
    missing = sorted(info["missing_keys"])
    body = [name for name in missing if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name]
    if body:  # transformers would draw them at random, and the run would start from noise without a word
        raise _unfit(folder, f"{len(body)} of the encoder's are not there, such as {body[0]}")
    return model, missing


def _sentence_head(config: PreTrainedConfig) -> SentenceHead:
    return SentenceHead(config.hidden_size, config.initializer_range)


def _extend_positions(model: PreTrainedModel, num_positions: int) -> None:
    embeddings = model.base_model.embeddings
    table = embeddings.position_embeddings.weight.data
    repeats = -(-num_positions // len(table))
    longer = nn.Embedding(num_positions, table.shape[1])
    longer.weight.data.copy_(table.repeat(repeats, 1)[:num_positions])
    embeddings.position_embeddings = longer
    embeddings.position_ids = torch.arange(num_positions).expand((1, -1))
    embeddings.token_type_ids = torch.zeros((1, num_positions), dtype=torch.long)
    model.config.max_position_embeddings = num_positions


def _unfit(folder: Path, reason: str) -> EncoderError:
    return EncoderError(
        f"{folder} has weights that do not fit ({' '.join(reason.split())}); expected all weights of the model that "
        "its config.json describes. Save the model again with save_pretrained, or name another folder."
    )


def _unknown_family(config: PreTrainedConfig, where: str) -> EncoderError:
    return EncoderError(
        f"{where} holds a {config.model_type} model; expected bert or modernbert. "
        "Use a folder of one of these families."
    )
