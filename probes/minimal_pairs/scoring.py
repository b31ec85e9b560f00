"""Pseudo-log-likelihood: the sum over the tokens of a sentence of the log probability of each where it is masked.

`original` masks one token at a time (Salazar et al. 2020, https://arxiv.org/abs/1910.14659). Pieces of a word then give
each other away, so rare words of several pieces score too well; `word_l2r` also masks the later pieces of the token's
own word (Kauf & Ivanova 2023, https://arxiv.org/abs/2305.10588, "PLL-word-l2r").

A word is what the tokenizer splits a text into before it cuts pieces: for WordPiece a run of letters and digits or one
punctuation mark ("don't" is three), for byte-level BPE a run of letters, digits or signs with the space before it
("don't" is "don" and "'t"), for sentencepiece whatever stands between spaces ("dog." is one). No word reaches across
a space, whatever a tokenizer says. Special tokens are read and neither masked nor scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.masked_lm import MaskedLM, Question
from probes.networks import Encoded

Scoring = Literal["word_l2r", "original"]


@dataclass(frozen=True)
class Scored:
    """N sentences as a model scores them."""

    scores: NDArray[np.float64]
    """(N,) pseudo-log-likelihoods in nats."""
    num_tokens: NDArray[np.int64]
    """(N,) that were scored."""
    num_unknown: NDArray[np.int64]
    """(N,) of these that the vocabulary lacks."""


def score_sentences(
    lm: MaskedLM,
    sentences: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    scoring: Scoring = "word_l2r",
    batch_size: int | None = None,
) -> Scored:
    """Pseudo-log-likelihoods of sentences. Those with the same tokens score exactly the same.

    Args:
        names: how messages call each sentence; None: by its number.
        batch_size: masked copies of one pass, None: as many as make networks.PASS_TOKENS; it changes the speed only.

    Raises:
        ProbeError: a sentence that is longer than what the model reads.
    """
    questions: list[Question] = []
    answers: list[int] = []
    owners: list[int] = []
    encoded = lm.encode(sentences, names=names)
    for number, (sentence, one) in enumerate(zip(sentences, encoded, strict=True)):
        for position, masked in masked_positions(sentence, one, scoring):
            ids = list(one.inputs["input_ids"])
            answers.append(ids[position])
            for at in masked:
                ids[at] = lm.mask_id
            questions.append(Question({**one.inputs, "input_ids": ids}, position))
            owners.append(number)
    found = lm.log_probabilities(questions, answers, batch_size=batch_size)
    unknown = np.asarray(answers) == lm.network.tokenizer.unk_token_id
    return Scored(
        np.bincount(owners, weights=found, minlength=len(sentences)).astype(np.float64),
        np.bincount(owners, minlength=len(sentences)),
        np.bincount(owners, weights=unknown, minlength=len(sentences)).astype(np.int64),
    )


def masked_positions(sentence: str, one: Encoded, scoring: Scoring) -> list[tuple[int, list[int]]]:
    """For each token that is scored its position, and the positions that are masked then, itself the first."""
    words = _words(sentence, one)
    scored = [at for at, word in enumerate(words) if word is not None]
    if scoring == "original":
        return [(at, [at]) for at in scored]
    return [(at, [at, *(later for later in scored if later > at and words[later] == words[at])]) for at in scored]


def _words(sentence: str, one: Encoded) -> list[tuple[int, int] | None]:
    """Which word each token belongs to: the tokenizer's number, and the number of the part between spaces; so that a
    tokenizer that splits nothing beforehand has words too. None at special tokens."""
    words: list[tuple[int, int] | None] = []
    for word, (begin, end) in zip(one.words, one.offsets, strict=True):
        # Byte-level BPE may count the space before a word to its first piece.
        begin += len(sentence[begin:end]) - len(sentence[begin:end].lstrip())
        words.append(None if word is None else (word, len(sentence[: begin + 1].split())))
    return words
