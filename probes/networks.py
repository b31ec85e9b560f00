"""A network with its tokenizer on a device: text -> its inputs, batches of like length, padding, precision.

Both ways of asking a model stand on it: for vectors (probes.embedders) and for probabilities (probes.masked_lm).
"""

# N sentences, B sentences of a batch, T tokens of the longest of them

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from probes.captions import shorten
from probes.loading import quiet_transformers
from probes.probe_error import ProbeError
from probes.source import Span

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]
"""What layers are computed in; auto: bfloat16 where the processor has instructions for it, else float32."""
Inputs = dict[str, list[int]]
"""What the model's forward takes of one sentence, without the attention mask."""

PASS_TOKENS = {"cpu": 512, "cuda": 16_384}
"""Tokens of one pass, padding included, by device. On a processor more of them leave its cache: for a BertModel of 6
layers of 384, 200 sentences of 36 tokens took 1.8 s in passes of 256 to 600 tokens and 2.9 s in passes of 5,000."""
EXCERPT = 60


class Encoded(NamedTuple):
    """One sentence as the model reads it."""

    inputs: Inputs
    offsets: list[Span]
    """Characters of each token; equal ends at special tokens."""
    words: list[int | None]
    """The tokenizer's number of the word that each token is a piece of; None at special tokens."""
    is_cut: bool
    """Whether tokens were left out at its end."""


class Network:
    """A transformers model and its fast tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, precision: Precision) -> None:
        """
        Args:
            model: set to evaluation.
            tokenizer: its fast tokenizer.
            name: how messages call it.
            precision: of the layers' arithmetic.
        """
        import torch

        self.name = name
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.tokenizer = tokenizer
        self.max_length = _max_length(model, tokenizer)
        self.is_bfloat16 = _has_bfloat16(self.device) if precision == "auto" else precision == "bfloat16"
        taken = inspect.signature(model.forward).parameters
        # ModernBERT's forward swallows unknown keys, so only what it declares is handed over.
        self.keys = [key for key in tokenizer.model_input_names if key in taken and key != "attention_mask"]

    def encode(self, sentences: Sequence[str]) -> list[Encoded]:
        """The model's inputs for each sentence, cut at its end to what the model reads.

        Raises:
            ProbeError: the tokenizer has ids that the model has no embeddings for.
        """
        if not sentences:
            return []
        cut = {"truncation": True, "max_length": self.max_length} if self.max_length is not None else {}
        with quiet_transformers():
            batch = self.tokenizer(list(sentences), return_offsets_mapping=True, **cut)
        encoded = [
            Encoded(
                {key: batch[key][row] for key in self.keys},
                batch["offset_mapping"][row],
                words=batch.word_ids(row),
                is_cut=bool(batch.encodings[row].overflowing),
            )
            for row in range(len(sentences))
        ]
        self._check_ids(encoded)
        return encoded

    def batches(self, lengths: Sequence[int], batch_size: int | None = None) -> Iterator[list[int]]:
        """Numbers of the rows of each batch, in rising order of length, each row once.

        Args:
            lengths: tokens of each row.
            batch_size: rows of a batch; None: as many as stay within PASS_TOKENS, at least one.
        """
        most = PASS_TOKENS[self.device.type]
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
            is_full = len(batch) == batch_size if batch_size else (len(batch) + 1) * lengths[index] > most
            if batch and is_full:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def padded(self, rows: Sequence[Inputs]) -> dict[str, "torch.Tensor"]:
        """The inputs of several sentences as (B, T) int64, padded at the right, with their attention mask."""
        import torch

        longest = max(len(one["input_ids"]) for one in rows)
        # RoBERTa counts positions from the padding id, so padding must be the tokenizer's own.
        fill = {"input_ids": self.tokenizer.pad_token_id or 0}
        padded = {
            key: torch.tensor([one[key] + [fill.get(key, 0)] * (longest - len(one[key])) for one in rows])
            for key in self.keys
        }
        lengths = torch.tensor([len(one["input_ids"]) for one in rows])
        mask = (torch.arange(longest)[None] < lengths[:, None]).long()
        return {key: tensor.to(self.device) for key, tensor in {**padded, "attention_mask": mask}.items()}

    def arithmetic(self) -> "torch.autocast":
        """A context in which layers are computed in the precision chosen."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16)

    def _check_ids(self, encoded: list[Encoded]) -> None:
        largest = max((max(one.inputs["input_ids"], default=0) for one in encoded), default=0)
        num_rows = self.model.get_input_embeddings().weight.shape[0]
        if largest >= num_rows:
            raise ProbeError(
                f"{self.name}: its tokenizer gives the id {largest}, but the model has {num_rows} embeddings (0 to"
                f" {num_rows - 1}). Expected the tokenizer that the model was trained with. Put that one in its folder."
            )


def excerpt(sentence: str) -> str:
    """The sentence, or its beginning, in quotes, for messages."""
    return repr(shorten(sentence, EXCERPT))


def _max_length(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that the model can read at once; None where neither model nor tokenizer has a bound."""
    bounds = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    positions = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if positions is not None and getattr(positions, "padding_idx", None) is not None:
        # RoBERTa's first position stands behind the padding's.
        bounds.append(positions.num_embeddings - positions.padding_idx - 1)
    # A tokenizer that was told no bound says 1e30.
    real = [int(bound) for bound in bounds if bound is not None and 0 < bound < 1e9]
    return min(real) if real else None


def _has_bfloat16(device: "torch.device") -> bool:
    """Whether bfloat16 products run on instructions of their own, without which they are slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))
