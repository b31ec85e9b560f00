"""Pairs of segments for next-sentence prediction.

Source: Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), section 3.1 and appendix A.2. `pairing: reference` is the
algorithm of their create_pretraining_data.py, see reference_pairs.py. `pairing: balanced`, the default, differs: half
of the pairs are random on any corpus (there 42 to 100 %), a random B never stems from A's document, B starts with a
sentence (with a word where a chunk holds no start of a sentence, never inside a word), tokens are emitted once an epoch
(but for documents of a single word and at most 0.4 % where a corpus is small), and neither the lengths of A, B and row
nor where they were cut tell the label unless one document holds half of the text, see balanced_pairs.py. As there, a
chunk may end inside a sentence; here the next chunk goes on from that word instead of losing the rest.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from objectives.cutting.balanced_pairs import balanced_pairs
from objectives.cutting.pair_plan import PairPlan
from objectives.cutting.reference_pairs import reference_pairs
from objectives.rows import ExamplesError
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

NEXT, RANDOM = 0, 1


class SentencePairs(BaseModel, frozen=True, extra="forbid", strict=True):
    """[CLS] A [SEP] B [SEP], where B follows A in its document or is another document's."""

    name: Literal["sentence_pairs"] = "sentence_pairs"
    max_seq_length: int = Field(128, ge=32)
    """Tokens in a row at most, with [CLS] and both [SEP]."""
    short_seq_prob: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the chunks cut to a random shorter length (BERT: 0.1, drawn there once a document)."""
    pairing: Literal["balanced", "reference"] = "balanced"
    """How B is found: free of the original's faults, or as the original does it, with them."""
    single_sentence_documents: Literal["split", "error"] = "split"
    """What to do with documents of one sentence, of which no two sentences can be paired: pair parts of the sentence,
    cut between words (with `pairing: reference`, as there, it is an A whose B is always random), or refuse them."""

    def plan(self, split: TokenSplit, vocabulary: Vocabulary, *, seed: int, epoch: int) -> PairPlan:
        """The pairs of an epoch: a pure function of (seed, epoch).

        Raises:
            ExamplesError: documents of one sentence that are not wanted, or no honest pairs, see `balanced_pairs`.
        """
        if self.single_sentence_documents == "error":
            refuse_single_sentences(split)
        pairs = balanced_pairs if self.pairing == "balanced" else reference_pairs
        return pairs(
            split,
            vocabulary,
            max_seq_length=self.max_seq_length,
            short_seq_prob=self.short_seq_prob,
            seed=seed,
            epoch=epoch,
        )


def refuse_single_sentences(split: TokenSplit) -> None:
    """Hold a split to documents of several sentences.

    Raises:
        ExamplesError: some have one.
    """
    num_single = int((np.diff(split.document_offsets) == 1).sum())
    if num_single:
        raise ExamplesError(
            f"got {num_single:,} of {split.num_documents:,} documents with one sentence alone, expected at least two "
            "in each: two segments of a document are to be paired. Set examples.single_sentence_documents: split to "
            "cut such a sentence between words, join lines to documents, or use examples.name: packed."
        )
