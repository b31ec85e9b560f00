"""Vocabularies: an existing transformers tokenizer folder or BERT's vocab.txt, and what the ids of a tokenizer mean."""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from transformers import PreTrainedTokenizerFast

from tokenization.families.pieces import piece_reader

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
"""In the order of their ids in every vocabulary that is trained here: 0 to 4."""

_LOG = logging.getLogger(__name__)
_NEEDED_TOKENS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]")
# The model types and tokenizer classes of transformers whose vocab.txt is BERT's.
_BERT_TYPES = ("bert", "distilbert", "electra")
_BERT_CLASSES = tuple(f"{name}Tokenizer{kind}" for name in ("Bert", "DistilBert", "Electra") for kind in ("", "Fast"))
_BERT_MAX_LENGTH = 512
_LEFT_OVER = ("tokenizer_file", "special_tokens_map_file")  # of older transformers, which nothing reads any more
_MOST_IDS = 1 << 24  # sixty times the largest vocabulary in use; arrays are made of this size


class VocabularyError(ValueError):
    """A vocabulary that cannot be made or used. The message says what was got, what was expected, what to do."""


class TokenizerFolder(BaseModel, frozen=True, extra="forbid", strict=True):
    """A tokenizer that exists already, taken as it is."""

    path: str = Field(min_length=1)
    """A folder saved by transformers' save_pretrained, with pad, unk, cls, sep and mask tokens; or BERT's vocab.txt, or
    a folder that has it."""

    lowercase: bool | None = None
    """Of a vocab.txt, which does not say it itself: whether text is lower-cased and its accents are stripped; null: as
    the tokenizer_config.json beside it says, or else only if no entry has an upper-case letter. A tokenizer.json says
    it itself, so with one it must be null."""


# Loading -------------------------------------------------------------------------------------------------------------


def load_tokenizer(
    path: str | Path, *, lowercase: bool | None = None, log: logging.Logger = _LOG
) -> PreTrainedTokenizerFast:
    """Load an existing tokenizer, without truncation and padding of its own.

    Args:
        path: a folder with a tokenizer.json, or whatever else transformers reads; or a vocab.txt, or a folder with one.
        lowercase: as in `TokenizerFolder`.
        log: gets one line if the case of a vocab.txt is guessed.

    Raises:
        VocabularyError: there is no tokenizer, it has no pad, unk, cls, sep or mask token, or it says itself what
            `lowercase` says.
    """
    path = Path(path)
    if not path.is_dir() and not (path.is_file() and path.suffix == ".txt"):
        raise VocabularyError(
            f"tokenizer.path: got {str(path)!r}, which is no folder, expected one saved by save_pretrained, or a "
            "vocab.txt.\nCorrect the path; a name on the hub has to be downloaded first."
        )
    if (file := _bert_vocabulary(path)) is not None:
        tokenizer = _read_vocab_txt(file, lowercase, log)
    elif lowercase is not None:
        raise VocabularyError(
            f"tokenizer.lowercase: got {str(lowercase).lower()}, expected null, because the tokenizer in {path} says "
            "itself whether it lower-cases.\nRemove tokenizer.lowercase, or train a vocabulary."
        )
    else:
        tokenizer = _read_folder(path)
    if missing := _missing_tokens(tokenizer):
        raise VocabularyError(
            f"{path}: got a tokenizer without {', '.join(missing)}, expected {', '.join(_NEEDED_TOKENS)}.\n"
            "Add the missing tokens with add_special_tokens and save it again, or train a vocabulary."
        )
    # Left over from whoever saved it; the tokens of a long sentence would be cut off without a word.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.chat_template = None  # a program, which no encoder needs
    # How it was loaded; transformers would save these as settings of the tokenizer.
    for argument in ("is_local", "local_files_only", "trust_remote_code"):
        tokenizer.init_kwargs.pop(argument, None)
    return tokenizer


def _bert_vocabulary(path: Path) -> Path | None:
    """The vocab.txt that a path is or has, if it is all that there is of a tokenizer and BERT's classes read it."""
    if path.is_file():
        return path
    if (path / "tokenizer.json").is_file() or not (path / "vocab.txt").is_file():
        return None
    model_type = _read_json(path / "config.json").get("model_type", "bert")
    tokenizer_class = _read_json(path / "tokenizer_config.json").get("tokenizer_class") or "BertTokenizer"
    is_bert = model_type in _BERT_TYPES and tokenizer_class in _BERT_CLASSES
    return path / "vocab.txt" if is_bert else None


def _read_vocab_txt(file: Path, lowercase: bool | None, log: logging.Logger) -> PreTrainedTokenizerFast:
    from transformers import BertTokenizer

    try:
        tokens = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(
            f"{file}: got a file that cannot be read ({error}), expected UTF-8 with a token a line. Correct the path."
        ) from error
    if missing := [token for token in SPECIAL_TOKENS if token not in tokens]:
        raise VocabularyError(
            f"{file}: got {len(tokens)} lines without {', '.join(missing)}, expected BERT's vocab.txt.\n"
            "Correct the path, or train a vocabulary."
        )
    config = _read_json(file.parent / "tokenizer_config.json")
    if lowercase is None:
        lowercase = config.get("do_lower_case")
    if lowercase is None:
        first = next((token for token in tokens if token not in SPECIAL_TOKENS and token != token.lower()), None)
        lowercase = first is None
        why = "no entry has an upper-case letter" if lowercase else f"{first!r} is among its entries"
        log.info(
            "tokenizer: %s does not say whether it is lower-case; %s, so text is %slower-cased. "
            "Set tokenizer.lowercase to say otherwise.", file, why, "" if lowercase else "not ",
        )  # fmt: skip
    try:
        return BertTokenizer(
            vocab={token: id for id, token in enumerate(tokens)},
            do_lower_case=lowercase,
            tokenize_chinese_chars=config.get("tokenize_chinese_chars", True),
            strip_accents=config.get("strip_accents"),
            model_max_length=config.get("model_max_length", _BERT_MAX_LENGTH),
        )
    except (TypeError, ValueError) as error:
        raise VocabularyError(
            f"{file.parent}: got a tokenizer_config.json that no vocab.txt can be read by ({error}), expected that of "
            "a BERT. Correct it, or delete it."
        ) from error


def _read_folder(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = _load(folder, PreTrainedTokenizerFast) if (folder / "tokenizer.json").is_file() else None
    if tokenizer is None or (_missing_tokens(tokenizer) and (folder / "config.json").is_file()):
        from transformers import AutoTokenizer  # imports torch, which the other way does without

        # Older folders have the files of their class alone, or leave their special tokens to its defaults.
        tokenizer = _load(folder, AutoTokenizer)
    return tokenizer


def _load(folder: Path, loader: Any) -> PreTrainedTokenizerFast:
    check_tokenizer_files(folder)
    try:
        tokenizer = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises nothing narrower for a file that it cannot parse
        raise VocabularyError(
            f"{folder}: got a folder from which no tokenizer can be loaded ({error}).\n"
            "Expected tokenizer.json, or the files of an older tokenizer. Save it again with save_pretrained."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise VocabularyError(
            f"{folder}: got {type(tokenizer).__name__}, a tokenizer without a fast form.\n"
            "Expected one that the tokenizers library runs. Convert it, or train a vocabulary."
        )
    return tokenizer


def check_tokenizer_files(folder: Path) -> None:
    """See to it that a tokenizer's settings name no file of this machine outside its folder, which would be read.

    Raises:
        VocabularyError: they do.
    """
    home = folder.resolve()
    for key, value in _read_json(folder / "tokenizer_config.json").items():
        if key in _LEFT_OVER or not (key.endswith(("_file", "_files")) and value):
            continue
        for name in map(str, value if isinstance(value, list) else [value]):
            places = [Path(name), folder / name] if "\0" not in name else []
            if any(place.exists() and not place.resolve().is_relative_to(home) for place in places):
                raise VocabularyError(
                    f"{folder}: got a tokenizer_config.json whose {key} is {name!r}, outside the folder, expected "
                    "files of the folder. Remove that setting if you trust the rest of it."
                )


def _missing_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [name for name in _NEEDED_TOKENS if getattr(tokenizer, f"{name}_id") is None]


def _read_json(file: Path) -> dict[str, Any]:
    """An object in a JSON file; empty where there is no such file, or nothing of the kind in it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


# Meaning -------------------------------------------------------------------------------------------------------------


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerFast) -> str:
    """The sha256 (hex) of everything that decides a tokenizer's ids and which of them are special, and how; truncation
    and padding are not among it."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["truncation"] = content["padding"] = None
    content["roles"] = {name: getattr(tokenizer, f"{name}_id") for name in _NEEDED_TOKENS}
    content["special_ids"] = sorted(tokenizer.all_special_ids)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What cutting and masking need to know about the ids of a tokenizer. Its arrays cannot be written to."""

    size: int
    """The largest id plus one, added tokens included: the rows of an embedding."""
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    special_ids: np.ndarray
    """(n,) int64, sorted."""
    ordinary_ids: np.ndarray
    """(n,) int64, sorted: the ids of real tokens, so neither special ones, nor [unusedN], nor ids without a token."""
    is_special: np.ndarray
    """(size,) bool."""
    is_word_start: np.ndarray
    """(size,) bool: whether a token begins a word whatever stands before it. True at special and added tokens, and
    where a token begins with punctuation, a symbol or a CJK character, which are words of their own."""
    is_word_end: np.ndarray
    """(size,) bool: whether a token ends a word whatever follows it, as punctuation does. True at special tokens."""
    tokens: tuple[str, ...]
    """(size,) each token as it stands in a text, without marks such as "##", and U+FFFD for part of a character; empty
    at ids without a token."""
    fingerprint: str
    """sha256 (hex) of everything that decides the ids."""

    def begins_word(self, previous: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Whether each of `ids` begins a word where the one of `previous` stands before it: bool of their shape."""
        begins: np.ndarray = self.is_word_start[ids] | self.is_word_end[previous]
        return begins

    @classmethod
    def from_folder(cls, path: str | Path) -> "Vocabulary":
        """Describe the tokenizer in a folder, or of a vocab.txt.

        Raises:
            VocabularyError: it cannot be loaded, lacks a special token, has no ordinary one, or marks no words.
        """
        return cls.from_tokenizer(load_tokenizer(path), origin=str(path))

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerFast, *, origin: str) -> "Vocabulary":
        """Describe a tokenizer; `origin` names it in errors.

        Raises:
            VocabularyError: it has no ordinary token, or its tokens do not show where words begin.
        """
        ids = tokenizer.get_vocab()
        size = max(ids.values()) + 1
        if size > _MOST_IDS:
            raise VocabularyError(
                f"{origin}: got a vocabulary with the id {size - 1}, expected ids below {_MOST_IDS}.\n"
                "Choose another tokenizer, or train a vocabulary."
            )
        added = tokenizer.added_tokens_decoder
        special = {*tokenizer.all_special_ids, *(id for id, token in added.items() if token.special)}
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        if (read := piece_reader(content)) is None:
            raise VocabularyError(
                f"{origin}: got a {content['model']['type']} tokenizer whose tokens do not show where words begin.\n"
                'Expected WordPiece ("##"), BPE with an end of word ("</w>"), byte-level BPE ("Ġ") or SentencePiece '
                '("▁"). Choose another, or train one.'
            )
        is_special = np.zeros(size, dtype=bool)
        is_special[list(special)] = True
        is_word_start, is_word_end = np.ones(size, dtype=bool), is_special.copy()
        tokens = [""] * size
        for token, id in ids.items():
            if id in special or id in added:
                tokens[id] = token
            else:
                tokens[id], is_word_start[id], is_word_end[id] = read(token)
        ordinary = sorted(id for token, id in ids.items() if id not in special and not _UNUSED.fullmatch(token))
        if not ordinary:
            raise VocabularyError(
                f"{origin}: got a vocabulary of {len(ids)} special or unused tokens, expected a real one.\n"
                "Choose another tokenizer, or train a vocabulary."
            )
        return cls(
            size=size,
            pad_id=tokenizer.pad_token_id,
            unk_id=tokenizer.unk_token_id,
            cls_id=tokenizer.cls_token_id,
            sep_id=tokenizer.sep_token_id,
            mask_id=tokenizer.mask_token_id,
            special_ids=_frozen(np.array(sorted(special), dtype=np.int64)),
            ordinary_ids=_frozen(np.array(ordinary, dtype=np.int64)),
            is_special=_frozen(is_special),
            is_word_start=_frozen(is_word_start),
            is_word_end=_frozen(is_word_end),
            tokens=tuple(tokens),
            fingerprint=fingerprint_tokenizer(tokenizer),
        )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
