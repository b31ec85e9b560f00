"""A small tokenizer of every family, for laws that hold for all of them."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tokenization.training import ByteLevelBpe, TrainableTokenizer, Unigram, WordPiece, train_tokenizer
from tokenization.vocabulary import SPECIAL_TOKENS

ROOT = Path(__file__).resolve().parents[1]
SPECIALS = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))


@cache
def real_text() -> tuple[str, ...]:
    """The lines of some documents of the sample, and some with other scripts and signs."""
    with gzip.open(ROOT / "data" / "sample-valid.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [line for _, row in zip(range(6), file, strict=False) for line in json.loads(row)["text"].splitlines()]
    others = (
        "Der Prüfer zahlte 3,50 € für «Grüße» \u2013 und ging. Où est-il? C'est déjà vu, n'est-ce pas?",
        "我们 went to 北京 (Beijing) in 2008; これは本です。한국어 문장입니다.",
        "Москва — столица; שלום עולם! Wow... 100% of x_y + [a] = {b}? 5\u20ac \N{GRINNING FACE} \u201cyes\u201d",
    )
    return (*(line for line in lines if line.strip()), *others)


def _trained(settings: TrainableTokenizer) -> PreTrainedTokenizerFast:
    return train_tokenizer(settings, lambda: [*real_text(), *real_text()])


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIALS)


def _byte_level_as_roberta(normalizer: normalizers.Normalizer | None = None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _fit(tokenizer, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))


def _end_of_word() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _fit(tokenizer, trainers.BpeTrainer(vocab_size=600, end_of_word_suffix="</w>", show_progress=False))


def _sentencepiece_bpe() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    return _fit(tokenizer, trainers.BpeTrainer(vocab_size=900, limit_alphabet=60, show_progress=False), names)


def _word_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _fit(tokenizer, trainers.WordLevelTrainer(vocab_size=100_000, show_progress=False))


def _fit(tokenizer: Tokenizer, trainer: trainers.Trainer, names: list[str] | None = None) -> PreTrainedTokenizerFast:
    trainer.special_tokens = [*SPECIAL_TOKENS, *(names or [])]
    tokenizer.train_from_iterator(real_text(), trainer)
    return _wrapped(Tokenizer.from_str(_without_added(tokenizer)))


def _without_added(tokenizer: Tokenizer) -> str:
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in SPECIAL_TOKENS]
    return json.dumps(content)


TRAINED: dict[str, Callable[[], TrainableTokenizer]] = {
    "wordpiece": lambda: WordPiece(vocab_size=700),
    "wordpiece, cased": lambda: WordPiece(vocab_size=700, lowercase=False),
    "bpe": lambda: ByteLevelBpe(vocab_size=600),
    "bpe, lower-case": lambda: ByteLevelBpe(vocab_size=600, lowercase=True),
    "unigram": lambda: Unigram(vocab_size=600),
    "unigram, lower-case": lambda: Unigram(vocab_size=600, lowercase=True),
}

_EXISTING: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level as RoBERTa": _byte_level_as_roberta,
    "byte-level as ModernBERT": lambda: _byte_level_as_roberta(normalizers.NFC()),
    "BPE with an end of word": _end_of_word,
    "SentencePiece BPE": _sentencepiece_bpe,
    "words": _word_level,
}

FAMILIES = (*TRAINED, *_EXISTING)


@cache
def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a family; made once, so it must not be changed."""
    return _trained(TRAINED[family]()) if family in TRAINED else _EXISTING[family]()


_AWKWARD = (
    *(" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "\u0085", "\x1c", "\0", "\ufeff", "\ufffd"),
    *(
        "a",
        "the",
        " The",
        "'s",
        "n't",
        "[MASK]",
        "[",
        "##s",
        "▁",
        "Ġ",
        "<s>",
        "<0x0A>",
        "</w>",
        ".",
        "...",
        "\u00b4",
        "ﹰ",
    ),
    *("中", "é", "e\u0301", "\u0301", "ﬁ", "½", "İ", "ß", "ก็", "א", "\u202e", "👍🏽", "❤️", "\U0010ffff"),
)


def wild_text() -> st.SearchStrategy[str]:
    """Texts in which white space, marks, accents and special names stand where they do not belong."""
    piece = st.one_of(st.sampled_from(_AWKWARD), st.characters(exclude_categories=["Cs"]))
    return st.lists(piece, max_size=12).map("".join)
