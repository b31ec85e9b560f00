"""The networks: transformers' own classes, asked for hidden states and logits apart.

A transformers model computes the logits of all positions; pretraining needs those of the targets only. An Encoder
holds the whole transformers model (so saving is save_pretrained) and gives access to its parts. What no transformers
class has (a pooler and a next-sentence head on ELECTRA and ModernBERT) is ours and saved beside the model as
`extra_heads.safetensors`.
"""

# B rows, L tokens per row, M vectors, D hidden size, V vocabulary

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from encoders.attention import attention_inputs
from encoders.embeddings import folded_state
from encoders.last_layer import computed_at, places_of

EXTRA_HEADS = "extra_heads.safetensors"
Batch = dict[str, Tensor]
Heads = Literal["tokens", "sentence_pairs", "replaced_tokens"]
"""What an encoder can be asked: tokens; tokens and a question about sentence pairs; whether tokens were replaced."""

_NO_HIDDEN_MATRICES = ("pooler", "embeddings_project")


class SentenceHead(nn.Module):
    """BERT's pooler and next-sentence head for a body that has none: dense, tanh, dense to 2, on [CLS]."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)
        for layer in (self.pooler, self.seq_relationship):
            nn.init.normal_(layer.weight, std=config.initializer_range)
            nn.init.zeros_(layer.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        return cast(Tensor, self.seq_relationship(torch.tanh(self.pooler(vectors))))


class Encoder(nn.Module):
    """A transformers model for pretraining, by parts. Subclasses say where a family keeps them."""

    model_classes: ClassVar[Mapping[Heads, type[PreTrainedModel]]]
    """The transformers class that has the heads asked for; a family has no others."""
    lacks_sentence_head: ClassVar[bool] = True
    """Whether no transformers class of the family has one, so that it is ours."""
    has_learnt_positions: ClassVar[bool] = True
    takes_token_type_ids: ClassVar[bool] = True

    model: PreTrainedModel
    skips_places: bool = True
    """Whether the last layer is computed only where it is looked at. Not under torch.compile and gradient
    checkpointing, which run the layers by themselves later."""

    def __init__(self, model: PreTrainedModel, sentence_head: SentenceHead | None = None) -> None:
        super().__init__()
        self.model = model
        self.sentence_head = sentence_head

    def hidden_states(self, batch: Batch) -> Tensor:
        """Last hidden states (B, L, D) of a batch with input_ids, attention_mask and what else the family takes.

        Transformers' own forward pass. Where few places are looked at, `vectors_at` gives the same there for less.
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
        assert self.sentence_head is not None, "built without a sentence head"
        return cast(Tensor, self.sentence_head(vectors))

    def replaced_logits(self, vectors: Tensor) -> Tensor:
        """(...) logits of a token having been replaced, from hidden states (..., D)."""
        raise AssertionError("a subclass gives the head of its family")

    @property
    def embeddings(self) -> nn.Module:
        """Words, positions, segments, as far as the family has them, and their norm; (B, L) ids to (B, L, E)."""
        return cast(nn.Module, self._body.embeddings)

    @property
    def word_embeddings(self) -> nn.Module:
        """The word table: (B, L) ids to (B, L, E)."""
        return cast(nn.Module, self.model.get_input_embeddings())

    def use_embeddings(self, embeddings: nn.Module) -> None:
        """Take other embeddings, with their word table in a head that is tied to it."""
        self._body.embeddings = embeddings
        self.model.tie_weights()

    def use_word_embeddings(self, embeddings: nn.Module) -> None:
        """Take another word table, in a head that is tied to it as well."""
        self.model.set_input_embeddings(embeddings)
        self.model.tie_weights()

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weight matrices of the layers' linear maps: neither embeddings and their projection nor heads."""
        return [
            cast(nn.Parameter, module.weight)
            for name, module in self._body.named_modules()
            if isinstance(module, nn.Linear) and not name.startswith(_NO_HIDDEN_MATRICES)
        ]

    def save(self, folder: Path) -> None:
        """Write a plain from_pretrained folder, and a head of ours beside it where there is one."""
        self.model.save_pretrained(folder, state_dict=folded_state(self.model))
        if self.sentence_head is not None:
            heads = {name: value.contiguous() for name, value in self.sentence_head.state_dict().items()}
            save_file(heads, folder / EXTRA_HEADS)

    @property
    def _body(self) -> nn.Module:
        return cast(nn.Module, self.model.base_model)

    @property
    def _device_type(self) -> str:
        return str(self.model.device.type)

    @property
    def _autocasts(self) -> bool:
        return torch.is_autocast_enabled(self._device_type)
