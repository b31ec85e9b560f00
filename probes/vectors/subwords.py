"""Vectors of words that a table does not hold, made of their parts."""

# B buckets, D dimensions

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from probes.source import Vectors


class Subwords(Protocol):
    """Anything that makes a vector of a word's parts."""

    def vector(self, word: str) -> Vectors | None:
        """(D,) float32; None: nothing of the word is known."""
        ...


@dataclass(frozen=True)
class CharacterNgrams:
    """FastText's n-grams of characters (Bojanowski et al. 2017, section 3.2): a word's vector is the mean of theirs."""

    table: Vectors
    """(B, D) float32, a row for each bucket that n-grams are hashed to."""
    shortest: int
    longest: int
    """Characters of an n-gram, '<' before and '>' behind the word counted."""

    def rows(self, word: str) -> list[int]:
        """Of the n-grams of a word; none where they are switched off or the word is too short."""
        from gensim.models.fasttext import ft_ngram_hashes

        if not len(self.table) or not 0 < self.shortest <= self.longest:
            return []
        found: list[int] = ft_ngram_hashes(word, self.shortest, self.longest, len(self.table))
        return found

    def vector(self, word: str) -> Vectors | None:
        rows = self.rows(word)
        return np.asarray(self.table[rows].mean(axis=0, dtype=np.float32)) if rows else None
