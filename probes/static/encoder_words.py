"""The table of static word vectors of any source: a file's own, or the input embeddings of an encoder.

Of an encoder's vocabulary those tokens are words that its tokenizer gives for a word of running text, whole and alone.
Any other word is made of its pieces (the mean of their embeddings), as FastText makes one of n-grams. Their order is
the vocabulary's, which only roughly is that of frequency.
"""

# V words, D dimensions (of the embeddings, which in ELECTRA are narrower than the layers)

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.embedders import Embedder
from probes.loading import quiet_transformers
from probes.probe_error import ProbeError
from probes.source import Source, Vectors
from probes.vectors.word_vectors import WORD, WordVectors


@dataclass(frozen=True)
class _Pieces:
    """Vectors of words by the pieces that a tokenizer cuts them into."""

    tokenizer: Any
    table: Vectors

    def vector(self, word: str) -> Vectors | None:
        ids = [one for one in _encode(self.tokenizer, [word])[0] if one != self.tokenizer.unk_token_id]
        return np.asarray(self.table[ids].mean(axis=0)) if ids else None


def word_table(source: Source) -> WordVectors:
    """The words that a source has one vector for each.

    Raises:
        ProbeError: an encoder whose vocabulary has no whole word.
    """
    if isinstance(source, WordVectors):
        return source
    assert isinstance(source, Embedder)
    tokenizer, table = source.tokenizer, source.input_embeddings()
    texts = [text.strip() for text in tokenizer.batch_decode([[row] for row in range(min(len(tokenizer), len(table)))])]
    encoded = _encode(tokenizer, texts)
    special = set(tokenizer.all_special_ids)
    rows = [
        row
        for row, (text, ids) in enumerate(zip(texts, encoded, strict=True))
        if ids == [row] and row not in special and WORD.fullmatch(text)
    ]
    if not rows:
        raise ProbeError(
            f"{source.name}: none of its {len(texts)} tokens is a whole word, so it has no vectors of words before its"
            " first layer. Name another model."
        )
    return WordVectors([texts[row] for row in rows], table[rows], name=source.name, subwords=_Pieces(tokenizer, table))


def _encode(tokenizer: Any, words: list[str]) -> list[list[int]]:
    """Token ids of each word as it stands behind a blank, where byte-level vocabularies begin a word."""
    with quiet_transformers():
        found: list[list[int]] = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return found
