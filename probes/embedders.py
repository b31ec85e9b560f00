"""The one extractor: sentences and word spans -> contextual vectors of the words, by layer.

Words are found by character span, so any fast tokenizer serves; a word's vector is the mean over its pieces (or its
first piece). Layer 0 is the output of the embedding layer. All layers come from one pass, in batches of sentences of
like length. Computing may be in bfloat16, where the processor has it; adding up over pieces and results are float32.
"""

# N sentences, B sentences of a batch, T tokens of the longest of them, W words of a sentence, K layers, D hidden size

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from probes.loading import load_model, random_model
from probes.networks import Encoded, Network, Precision, excerpt
from probes.probe_error import ProbeError
from probes.source import Pooling, Span, Vectors

if TYPE_CHECKING:
    import torch

Pieces = Literal["mean", "first"]
"""Which pieces of a word make its vector."""


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
        self.name = name
        self.pieces = pieces
        self.network = Network(model, tokenizer, name=name, precision=precision)
        self.model, self.tokenizer, self.device = self.network.model, tokenizer, self.network.device
        self.max_length, self.is_bfloat16 = self.network.max_length, self.network.is_bfloat16
        self.num_layers: int = model.config.num_hidden_layers

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
        batch_size: int | None = None,
    ) -> Vectors:
        """The contextual vector of one word in each sentence: see Source.embed.

        Args:
            batch_size: sentences of one pass, None: as many as make networks.PASS_TOKENS; it changes the speed only.
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
        batch_size: int | None = None,
    ) -> list[Vectors]:
        """The contextual vectors of several words of each sentence: see Source.embed_words."""
        assert len(sentences) == len(spans)
        chosen = self.checked_layers(layers)
        encoded = self.network.encode(sentences)
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
                self._check_finite(found[index], chosen)
        return found

    def embed_texts(
        self,
        texts: Sequence[str],
        *,
        pooling: Pooling = "mean",
        layers: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> tuple[Vectors, int]:
        """One vector for each text, and how many were cut to what the model reads: see Source.embed_texts."""
        chosen = self.checked_layers(layers)
        encoded = self.network.encode(texts)
        pooled_KND = np.empty((len(chosen), len(texts), self.hidden_size), dtype=np.float32)
        for batch, hidden_KBTD in self._passes(encoded, chosen, batch_size):
            every = [[list(range(len(encoded[i].offsets))) if pooling == "mean" else [0]] for i in batch]
            weights_B1T = _piece_weights(every, hidden_KBTD[0].shape[1]).to(self.device)
            for k, hidden_BTD in enumerate(hidden_KBTD):
                pooled_KND[k, batch] = (weights_B1T @ hidden_BTD.float())[:, 0].cpu().numpy()
        self._check_finite(pooled_KND, chosen)
        return pooled_KND, sum(one.is_cut for one in encoded)

    def static(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The word's vector in the table of input embeddings, the mean over its pieces: see Source.static."""
        table = self.input_embeddings()
        encoded = self.network.encode(sentences)
        rows = [
            np.asarray(one.inputs["input_ids"])[self._pieces(number, sentence, one, span)]
            for number, (sentence, one, span) in enumerate(zip(sentences, encoded, spans, strict=True), 1)
        ]
        return np.stack([table[ids].mean(axis=0) for ids in rows])

    def static_context(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The mean over the rows of the table of input embeddings of all other tokens: see Source.static_context."""
        table = self.input_embeddings()
        means = np.zeros((len(sentences), table.shape[1]), dtype=np.float32)
        for row, (one, span) in enumerate(zip(self.network.encode(sentences), spans, strict=True)):
            word = set(_overlapping(one.offsets, span))
            others = [at for at, (begin, end) in enumerate(one.offsets) if begin < end and at not in word]
            if others:
                means[row] = table[np.asarray(one.inputs["input_ids"])[others]].mean(axis=0)
        return means

    def token_spans(self, sentences: Sequence[str]) -> list[list[Span]]:
        """Where each token stands, special ones apart: see Source.token_spans."""
        return [[span for span in one.offsets if span[0] < span[1]] for one in self.network.encode(sentences)]

    def input_embeddings(self) -> Vectors:
        """The table of input embeddings, (vocabulary, embedding size) float32."""
        table: Vectors = self.model.get_input_embeddings().weight.detach().float().cpu().numpy()
        self._check_finite(table[None], [0])
        return table

    def _check_finite(self, vectors_K: Vectors, layers: Sequence[int]) -> None:
        """Raise if some layer of (K, ...) vectors holds what is no number."""
        for layer, vectors in zip(layers, vectors_K, strict=True):
            if not np.isfinite(vectors).all():
                raise ProbeError(
                    f"{self.name}: layer {layer} holds numbers that are not finite, expected none. Its weights are"
                    " damaged or overflow: name a checkpoint from before, or try --precision float32."
                )

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

    def _pieces(self, number: int, sentence: str, one: Encoded, span: Span) -> list[int]:
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
        return ProbeError(
            f"{self.name}: sentence {number} ({excerpt(sentence)}) {what}. Expected the word inside the part that the"
            " model reads. Shorten the sentence or correct the place of the word."
        )

    def _passes(
        self, encoded: list[Encoded], layers: list[int], batch_size: int | None
    ) -> Iterator[tuple[list[int], list["torch.Tensor"]]]:
        """Numbers of the sentences of each batch, and for each layer their hidden states, (B, T, D)."""
        import torch

        for batch in self.network.batches([len(one.offsets) for one in encoded], batch_size):
            inputs = self.network.padded([encoded[index].inputs for index in batch])
            with torch.inference_mode(), self.network.arithmetic():
                hidden = self.model(**inputs, output_hidden_states=True).hidden_states
            with torch.inference_mode():
                yield batch, [hidden[layer] for layer in layers]


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
