"""What the tests of masking share: vocabularies of every family, rows of words, and slow readings of both."""

# B rows, L tokens per row

from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from objectives.masking import MASKINGS, NOT_A_TARGET, Masked, Masking
from tokenization.vocabulary import SPECIAL_TOKENS, Vocabulary

Ids = np.ndarray
_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


COUNTED = [name for name, settings in MASKINGS.items() if "count" in settings.model_fields]
"""Policies that take no token twice, and whose number of targets is a setting."""
OF_WORDS = [name for name, settings in MASKINGS.items() if "replace_unit" in settings.model_fields]


def _word_pieces() -> Tokenizer:
    pieces = [*SPECIAL_TOKENS, *(f"w{i}" for i in range(30)), *(f"##p{i}" for i in range(20))]
    return Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))


def _byte_pairs() -> Tokenizer:
    pieces = [*SPECIAL_TOKENS, *(f"Ġw{i}" for i in range(30)), *(f"p{i}" for i in range(20))]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _unigram() -> Tokenizer:
    pieces = [*SPECIAL_TOKENS, *(f"▁w{i}" for i in range(30)), *(f"p{i}" for i in range(20))]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _wrapped(tokenizer: Tokenizer) -> Vocabulary:
    names = dict(zip(_NAMES, SPECIAL_TOKENS, strict=True))
    return Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names), origin="the tests")


FAMILIES = {"WordPiece": _wrapped(_word_pieces()), "BPE": _wrapped(_byte_pairs()), "Unigram": _wrapped(_unigram())}
"""A vocabulary of 30 pieces that begin words and 20 that do not, in each family."""


def characters(text: str) -> Vocabulary:
    """A vocabulary like those of BERT for Chinese: each character of a text is a token that begins a word."""
    pieces = [*SPECIAL_TOKENS, *sorted(set(text) - {" "})]
    return _wrapped(Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")))


def policy(name: str, **settings: Any) -> Masking:
    return MASKINGS[name](**settings)  # type: ignore[return-value]


def mask(chosen: Masking, rows: Ids, vocabulary: Vocabulary, **where: Any) -> Masked:
    """Mask rows numbered from 0, in epoch 0 with seed 0 unless said otherwise."""
    return chosen.mask(
        rows, **{"indices": np.arange(len(rows)), "vocabulary": vocabulary, "seed": 0, "epoch": 0, **where}
    )


def targets(masked: Masked) -> np.ndarray:
    return masked.labels != NOT_A_TARGET


def plain_rows(vocabulary: Vocabulary, num_rows: int, num_tokens: int) -> Ids:
    """[CLS] one-piece words [SEP]."""
    ordinary = vocabulary.ordinary_ids
    rows = np.full((num_rows, num_tokens + 2), ordinary[vocabulary.is_word_start[ordinary]][3])
    rows[:, 0], rows[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    return rows


def packed_rows(vocabulary: Vocabulary, num_rows: int, *, length: int = 96, seed: int = 0) -> Ids:
    """Rows of several pieces [CLS] ... [SEP] that begin inside words too, with unknown words and padding behind."""
    draw = np.random.default_rng(seed)
    ordinary = vocabulary.ordinary_ids
    rows = np.where(
        draw.random((num_rows, length)) < 0.4,
        draw.choice(ordinary[~vocabulary.is_word_start[ordinary]], size=(num_rows, length)),
        draw.choice(ordinary[vocabulary.is_word_start[ordinary]], size=(num_rows, length)),
    )
    rows[draw.random(rows.shape) < 0.02] = vocabulary.unk_id
    for _ in range(4):
        column = draw.integers(1, length - 1, size=num_rows)
        rows[np.arange(num_rows), column] = vocabulary.sep_id
        rows[np.arange(num_rows), np.minimum(column + 1, length - 1)] = vocabulary.cls_id
    rows[np.arange(length) >= draw.integers(3, length, size=num_rows, endpoint=True)[:, None]] = vocabulary.pad_id
    rows[:, 0] = vocabulary.cls_id
    return rows


def words_of(row: Ids, vocabulary: Vocabulary) -> list[list[int]]:
    """The positions of each word of a row, read from left to right."""
    words: list[list[int]] = []
    for position, id in enumerate(row.tolist()):
        if vocabulary.is_special[id]:
            continue
        before = row[position - 1] if position else vocabulary.sep_id
        if vocabulary.is_special[before] or vocabulary.begins_word(before, row[position]):
            words.append([])
        words[-1].append(position)
    return words
