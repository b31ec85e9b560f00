"""Words of scripts that are written without spaces, where a tokenizer's marks do not show them.

A segmenter reads the text that a row's tokens spell, so it costs what it costs: jieba cuts some hundred thousand
characters a second, far below the speed of the other maskings.
"""

# B rows, L tokens per row

import logging
import re
import warnings
from collections.abc import Callable
from itertools import accumulate

import numpy as np

from objectives.masks.row_draws import Ints
from objectives.masks.units import Bools, run_starts
from tokenization.vocabulary import Vocabulary

_WITHOUT_SPACES = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3000-\u30ff"  # CJK punctuation, Japanese kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"  # Chinese characters, full width
    "]"
)


def _jieba(text: str) -> list[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of 2020, it looks for a part of setuptools that is deprecated
            import jieba
    except ImportError as error:
        raise ValueError(
            "got jieba, a package that is not installed here, expected one that is; pip install "
            "jieba, or set masking.segmenter to null"
        ) from error
    jieba.setLogLevel(logging.WARNING)
    words: list[str] = jieba.lcut(text)
    return words


SEGMENTERS: dict[str, Callable[[str], list[str]]] = {
    "jieba": _jieba,
}
"""Text -> its words, which joined together are the text again, spaces and punctuation included."""


def segmented_word_starts(
    input_ids: Ints, maskable: Bools, vocabulary: Vocabulary, words: Bools, segment: Callable[[str], list[str]]
) -> Bools:
    """(B, L) where a word begins, as a segmenter finds it in the text of each run of maskable tokens.

    A word that begins inside a token begins for us with the next one.

    Args:
        words: (B, L) where a word begins as the tokenizer shows it; there spaces are set, except within scripts that
            have none.
    """
    starts = np.zeros_like(maskable)
    openings = np.flatnonzero(run_starts(maskable))
    ends = np.flatnonzero(run_starts(maskable[:, ::-1])[:, ::-1]) + 1
    ids, begins, flat = input_ids.ravel(), words.ravel(), starts.ravel()
    for opening, end in zip(openings.tolist(), ends.tolist(), strict=True):
        tokens = [vocabulary.tokens[id] for id in ids[opening:end].tolist()]
        flat[opening:end] = _token_starts(tokens, begins[opening:end].tolist(), segment)
        flat[opening] = True
    return starts


def _token_starts(tokens: list[str], begins: list[bool], segment: Callable[[str], list[str]]) -> list[bool]:
    """Whether each token of a run begins a word."""
    pieces, before = [], ""
    for token, begins_word in zip(tokens, begins, strict=True):
        pieces.append(" " if begins_word and before and token and _is_spaced(before[-1], token[0]) else "")
        pieces.append(token)
        before = token or before
    text = "".join(pieces)
    found = segment(text)
    assert "".join(found) == text, "a segmenter gives all of the text"
    word_starts = {0, *accumulate(map(len, found))}
    offsets = list(accumulate(map(len, pieces), initial=0))[1:-1:2]
    return [offset in word_starts for offset in offsets]


def _is_spaced(left: str, right: str) -> bool:
    return not (_WITHOUT_SPACES.match(left) and _WITHOUT_SPACES.match(right))
