"""The one extractor: sentences and word spans -> contextual vectors of the words, by layer.

Words are found by character span, so any fast tokenizer serves; a word's vector is the mean over its pieces (or its
first piece). Layer 0 is the output of the embedding layer. All layers come from one pass, in batches of sentences of
like length. Computing may be in bfloat16, where the processor has it; adding up over pieces and results are float32.
"""

# N sentences, B sentences of a batch, T tokens of the longest of them, W words of a sentence, K layers, D hidden size

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from probes.loading import load_model, quiet_transformers, random_model
from probes.probe_error import ProbeError
from probes.source import Pooling, Span, Vectors

if TYPE_CHECKING:
    import torch

Pieces = Literal["mean", "first"]
"""Which pieces of a word make its vector."""
Precision = Literal["auto", "float32", "bfloat16"]
"""What layers are computed in; auto: bfloat16 where the processor has instructions for it, else float32."""

BATCH_SIZE = 32
EXCERPT = 60


class _Encoded(NamedTuple):
    """One sentence as the model reads it."""

    inputs: dict[str, list[int]]
    offsets: list[Span]
    """Characters of each token; equal ends at special tokens."""
    is_cut: bool
    """Whether tokens were left out at its end."""


class Embedder:
    """A transformers encoder with its tokenizer, asked for the vectors of words in sentences."""

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, pieces: Pieces = "mean", precision: Precision = "float32"
    ) -> None:
        """
        Args:
            model: any transformers encoder that gives hidden states, set to evaluation.
            tokenizer: its fast tokenizer.
            name: how messages call it.
            pieces: of a word that make its vector.
            precision: of the layers' arithmetic; what comes back is float32.
        """
        import torch

        self.name = name
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.tokenizer = tokenizer
        self.pieces = pieces
        self.num_layers: int = model.config.num_hidden_layers
        self.max_length = _max_length(model, tokenizer)
        self.is_bfloat16 = _has_bfloat16(self.device) if precision == "auto" else precision == "bfloat16"
        taken = inspect.signature(model.forward).parameters
        # ModernBERT's forward swallows unknown keys, so only what it declares is handed over.
        self._inputs = [key for key in tokenizer.model_input_names if key in taken and key != "attention_mask"]

    @classmethod
    def from_folder(cls, path: str | Path, *, pieces: Pieces = "mean", precision: Precision = "float32") -> "Embedder":
        """The trained encoder of a transformers folder (or hub id).

        Raises:
            ProbeError: as load_model.
        """
        model, tokenizer = load_model(path)
        return cls(model, tokenizer, name=str(path), pieces=pieces, precision=precision)

    @classmethod
    def random(
        cls, path: str | Path, seed: int, *, pieces: Pieces = "mean", precision: Precision = "float32"
    ) -> "Embedder":
        """The same architecture and tokenizer with newly drawn weights; torch's own generator is left as it was."""
        model, tokenizer = random_model(path, seed)
        return cls(model, tokenizer, name=f"{path} with random weights", pieces=pieces, precision=precision)

    @property
    def model_type(self) -> str:
        return str(self.model.config.model_type)

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def num_parameters(self) -> int:
        """Weights of the encoder, the embeddings included."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def embed(
        self,
        sentences: Sequence[str],
        spans: Sequence[Span],
        *,
        layers: Sequence[int] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Vectors:
        """The contextual vector of one word in each sentence: see Source.embed.

        Args:
            batch_size: sentences of one pass; it changes the speed and not the vectors.
        """
        found = self.embed_words(sentences, [[span] for span in spans], layers=layers, batch_size=batch_size)
        if not found:
            return np.empty((len(self.checked_layers(layers)), 0, self.hidden_size), dtype=np.float32)
        return np.concatenate(found, axis=1)

    def embed_words(
        self,
        sentences: Sequence[str],
        spans: Sequence[Sequence[Span]],
        *,
        layers: Sequence[int] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[Vectors]:
        """The contextual vectors of several words of each sentence: see Source.embed_words."""
        assert len(sentences) == len(spans)
        chosen = self.checked_layers(layers)
        encoded = self._encode(sentences)
        pieces = [
            [self._pieces(number, sentence, one, span) for span in words]
            for number, (sentence, one, words) in enumerate(zip(sentences, encoded, spans, strict=True), 1)
        ]
        found: list[Vectors] = [np.empty((len(chosen), 0, 0), dtype=np.float32)] * len(sentences)
        for batch, hidden_KBTD in self._passes(encoded, chosen, batch_size):
            weights_BWT = _piece_weights([pieces[index] for index in batch], hidden_KBTD[0].shape[1])
            weights_BWT = weights_BWT.to(self.device)
            means_KBWD = [(weights_BWT @ hidden_BTD.float()).cpu().numpy() for hidden_BTD in hidden_KBTD]
            for row, index in enumerate(batch):
                found[index] = np.stack([mean_BWD[row, : len(pieces[index])] for mean_BWD in means_KBWD])
        return found

    def embed_texts(
        self,
        texts: Sequence[str],
        *,
        pooling: Pooling = "mean",
        layers: Sequence[int] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> tuple[Vectors, int]:
        """One vector for each text, and how many were cut to what the model reads: see Source.embed_texts."""
        chosen = self.checked_layers(layers)
        encoded = self._encode(texts)
        pooled_KND = np.empty((len(chosen), len(texts), self.hidden_size), dtype=np.float32)
        for batch, hidden_KBTD in self._passes(encoded, chosen, batch_size):
            every = [[list(range(len(encoded[i].offsets))) if pooling == "mean" else [0]] for i in batch]
            weights_B1T = _piece_weights(every, hidden_KBTD[0].shape[1]).to(self.device)
            for k, hidden_BTD in enumerate(hidden_KBTD):
                pooled_KND[k, batch] = (weights_B1T @ hidden_BTD.float())[:, 0].cpu().numpy()
        return pooled_KND, sum(one.is_cut for one in encoded)

    def static(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The word's vector in the table of input embeddings, the mean over its pieces: see Source.static."""
        table = self.input_embeddings()
        encoded = self._encode(sentences)
        rows = [
            np.asarray(one.inputs["input_ids"])[self._pieces(number, sentence, one, span)]
            for number, (sentence, one, span) in enumerate(zip(sentences, encoded, spans, strict=True), 1)
        ]
        return np.stack([table[ids].mean(axis=0) for ids in rows])

    def static_context(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The mean over the rows of the table of input embeddings of all other tokens: see Source.static_context."""
        table = self.input_embeddings()
        means = np.zeros((len(sentences), table.shape[1]), dtype=np.float32)
        for row, (one, span) in enumerate(zip(self._encode(sentences), spans, strict=True)):
            word = set(_overlapping(one.offsets, span))
            others = [at for at, (begin, end) in enumerate(one.offsets) if begin < end and at not in word]
            if others:
                means[row] = table[np.asarray(one.inputs["input_ids"])[others]].mean(axis=0)
        return means

    def token_spans(self, sentences: Sequence[str]) -> list[list[Span]]:
        """Where each token stands, special ones apart: see Source.token_spans."""
        return [[span for span in one.offsets if span[0] < span[1]] for one in self._encode(sentences)]

    def input_embeddings(self) -> Vectors:
        """The table of input embeddings, (vocabulary, embedding size) float32."""
        table: Vectors = self.model.get_input_embeddings().weight.detach().float().cpu().numpy()
        return table

    def checked_layers(self, layers: Sequence[int] | None) -> list[int]:
        """The layers asked for, or all of them.

        Raises:
            ProbeError: one that the model lacks.
        """
        chosen = list(range(self.num_layers + 1)) if layers is None else list(layers)
        wrong = [layer for layer in chosen if not 0 <= layer <= self.num_layers]
        if wrong or not chosen:
            raise ProbeError(
                f"{self.name}: got layers {', '.join(map(str, wrong)) or '(none)'}, expected numbers from 0 (the"
                f" embedding layer) to {self.num_layers}. Name layers that the model has, or all."
            )
        return chosen

    def _encode(self, sentences: Sequence[str]) -> list[_Encoded]:
        """The model's inputs for each sentence, cut at its end to what the model reads."""
        if not sentences:
            return []
        cut = {"truncation": True, "max_length": self.max_length} if self.max_length is not None else {}
        with quiet_transformers():
            batch = self.tokenizer(list(sentences), return_offsets_mapping=True, **cut)
        encoded = [
            _Encoded(
                {key: batch[key][row] for key in self._inputs},
                batch["offset_mapping"][row],
                is_cut=bool(batch.encodings[row].overflowing),
            )
            for row in range(len(sentences))
        ]
        self._check_ids(encoded)
        return encoded

    def _pieces(self, number: int, sentence: str, one: _Encoded, span: Span) -> list[int]:
        """Positions of the pieces of a word among the tokens of its sentence."""
        if not 0 <= span[0] < span[1] <= len(sentence):
            raise self._no_word(number, sentence, f"has {len(sentence)} characters and no {span[0]} to {span[1]}")
        found = _overlapping(one.offsets, span)
        if one.is_cut and span[1] > max(end for _, end in one.offsets):
            where = f"{sentence[slice(*span)]!r} lies beyond the {self.max_length} that the model reads"
            raise self._no_word(number, sentence, f"has more than {self.max_length} tokens, and {where}")
        if not found:
            where = f"characters {span[0]} to {span[1]}, {sentence[slice(*span)]!r}"
            raise self._no_word(number, sentence, f"has no token there ({where})")
        return found[:1] if self.pieces == "first" else found

    def _no_word(self, number: int, sentence: str, what: str) -> ProbeError:
        excerpt = sentence if len(sentence) <= EXCERPT else sentence[: EXCERPT - 1] + "…"
        return ProbeError(
            f"{self.name}: sentence {number} ({excerpt!r}) {what}. Expected the word inside the part that the model"
            " reads. Shorten the sentence or correct the place of the word."
        )

    def _check_ids(self, encoded: list[_Encoded]) -> None:
        largest = max((max(one.inputs["input_ids"]) for one in encoded), default=0)
        num_rows = self.model.get_input_embeddings().weight.shape[0]
        if largest >= num_rows:
            raise ProbeError(
                f"{self.name}: its tokenizer gives the id {largest}, but the model has {num_rows} embeddings (0 to"
                f" {num_rows - 1}). Expected the tokenizer that the model was trained with. Put that one in its folder."
            )

    def _passes(
        self, encoded: list[_Encoded], layers: list[int], batch_size: int
    ) -> Iterator[tuple[list[int], list["torch.Tensor"]]]:
        """Numbers of the sentences of each batch, and for each layer their hidden states, (B, T, D)."""
        import torch

        by_length = sorted(range(len(encoded)), key=lambda index: len(encoded[index].offsets))
        for first in range(0, len(by_length), batch_size):
            batch = by_length[first : first + batch_size]
            inputs = self._padded([encoded[index].inputs for index in batch])
            with (
                torch.inference_mode(),
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16),
            ):
                hidden = self.model(**inputs, output_hidden_states=True).hidden_states
            with torch.inference_mode():
                yield batch, [hidden[layer] for layer in layers]

    def _padded(self, batch: list[dict[str, list[int]]]) -> dict[str, "torch.Tensor"]:
        """The inputs of several sentences as (B, T) int64, padded at the right, with their attention mask."""
        import torch

        longest = max(len(one["input_ids"]) for one in batch)
        # RoBERTa counts positions from the padding id, so padding must be the tokenizer's own.
        fill = {"input_ids": self.tokenizer.pad_token_id or 0}
        padded = {
            key: torch.tensor([one[key] + [fill.get(key, 0)] * (longest - len(one[key])) for one in batch])
            for key in self._inputs
        }
        lengths = torch.tensor([len(one["input_ids"]) for one in batch])
        mask = (torch.arange(longest)[None] < lengths[:, None]).long()
        return {key: tensor.to(self.device) for key, tensor in {**padded, "attention_mask": mask}.items()}


def _overlapping(offsets: Sequence[Span], span: Span) -> list[int]:
    """Positions of the tokens that share a character with the span; special tokens have empty offsets."""
    begin, end = span
    return [at for at, (a, b) in enumerate(offsets) if a < b and a < end and b > begin]


def _piece_weights(pieces: list[list[list[int]]], num_tokens: int) -> "torch.Tensor":
    """(B, W, T) float32 that takes the mean over each word's pieces: 1 / number of pieces there, 0 elsewhere."""
    import torch

    weights = torch.zeros(len(pieces), max(map(len, pieces)), num_tokens)
    for row, words in enumerate(pieces):
        for column, found in enumerate(words):
            weights[row, column, found] = 1 / len(found)
    return weights


def _max_length(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that the model can read at once; None where neither model nor tokenizer has a bound."""
    bounds = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
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
