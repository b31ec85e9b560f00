"""Where vectors come from: one interface to encoders and to static word vectors."""

# N sentences, W words of a sentence, K layers, D hidden size

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
"""First character of a word in its sentence, and the one after its last."""
Vectors = NDArray[np.float32]
Pooling = Literal["mean", "first"]
"""Of a text: the mean over its tokens, [CLS] and [SEP] included as sentence-transformers does; or the first, [CLS]."""


class Source(Protocol):
    """An encoder (probes.embedders) or a table of word vectors (probes.vectors), which is a single layer, 0."""

    name: str
    """How messages call it."""
    num_layers: int
    """Layers above layer 0, which is the output of the embedding layer."""

    @property
    def model_type(self) -> str: ...

    @property
    def hidden_size(self) -> int: ...

    @property
    def num_parameters(self) -> int: ...

    def embed(self, sentences: Sequence[str], spans: Sequence[Span], *, layers: Sequence[int] | None = None) -> Vectors:
        """The vector of one word in each sentence.

        Args:
            sentences: N texts.
            spans: where the word stands in each.
            layers: which, from 0 to num_layers; None: all.

        Returns:
            (K, N, D) float32, sentences in the order given.

        Raises:
            ProbeError: a layer that there is not; a word that is not in its sentence, has no vector, or lies beyond
                what the model reads; by number of the sentence.
        """
        ...

    def embed_words(
        self, sentences: Sequence[str], spans: Sequence[Sequence[Span]], *, layers: Sequence[int] | None = None
    ) -> list[Vectors]:
        """The vectors of any number of words of each sentence: N arrays, (K, W, D) float32. Errors as in embed."""
        ...

    def embed_texts(
        self, texts: Sequence[str], *, pooling: Pooling = "mean", layers: Sequence[int] | None = None
    ) -> tuple[Vectors, int]:
        """One vector for each text, (K, N, D) float32, and how many texts were cut to what the model reads."""
        ...

    def static(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The word's vector before any context, (N, embedding size) float32: the same in every sentence."""
        ...

    def static_context(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The mean of the static vectors of all that stands in the sentence beside the word, (N, embedding size)
        float32; zeros where nothing does."""
        ...

    def token_spans(self, sentences: Sequence[str]) -> list[list[Span]]:
        """Where each token of each sentence stands: those that the source has a vector for and that it reads."""
        ...
