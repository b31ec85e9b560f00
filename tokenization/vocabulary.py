"""Vocabularies: WordPiece trained reproducibly, or an existing transformers tokenizer folder, and what ids mean.

WordPiece as in Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), trained by the tokenizers library.
Differs from tokenizers' WordPieceTrainer used alone: the alphabet is counted and ordered here before training, because
the trainer numbers continuation pieces in the order of a hash table and breaks ties by those numbers, so that
two runs over the same text give different vocabularies.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
"""In the order of their ids in every vocabulary that is trained here: 0 to 4."""

CONTINUATION = "##"

_NEEDED_TOKENS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]")
_NUM_CODE_POINTS = 0x110000


class VocabularyError(ValueError):
    """A vocabulary that cannot be made or used. The message says what was got, what was expected, what to do."""


class WordPiece(BaseModel, frozen=True, extra="forbid"):
    """A WordPiece vocabulary trained on the training documents of the corpus."""

    name: Literal["wordpiece"] = "wordpiece"

    vocab_size: int = Field(strict=True, gt=len(SPECIAL_TOKENS))
    """Number of entries, the five special tokens included (BERT: 30,522). It must be reached exactly."""

    lowercase: bool = Field(default=True, strict=True)
    """Lower-case the text and strip its accents, as BERT's uncased models do."""

    sample_megabytes: float = 64
    min_frequency: int = Field(default=2, strict=True, ge=1)
    """Fewest occurrences of a pair of pieces that is joined."""

    limit_alphabet: int = Field(default=1000, strict=True, ge=1)
    """Most distinct characters kept, the commonest first; words with any other are unknown (BERT: 1000)."""


class TokenizerFolder(BaseModel, frozen=True, extra="forbid"):
    """A tokenizer that exists already, taken as it is."""

    path: str = Field(min_length=1)
    """A folder saved by transformers' save_pretrained, with pad, unk, cls, sep and mask tokens."""


TOKENIZERS = {"wordpiece": WordPiece}
"""The vocabularies that can be trained, by the name a recipe gives them."""


# Training ------------------------------------------------------------------------------------------------------------


def train_wordpiece(settings: WordPiece, read_texts: Callable[[], Iterable[str]]) -> PreTrainedTokenizerFast:
    """Train a WordPiece tokenizer that depends on the settings and the texts alone.

    Ids: [PAD] [UNK] [CLS] [SEP] [MASK] are 0 to 4; then the continuation characters and the plain characters, each by
    code point; then the joined pieces, the commonest first.

    Args:
        settings: vocabulary size, case and alphabet.
        read_texts: gives the training texts from the start; it is called twice.

    Returns:
        A tokenizer that puts [CLS] and [SEP] around and between texts and gives token types.

    Raises:
        VocabularyError: the size is too small for the alphabet, or larger than the texts allow.
    """
    plain, continuing = _find_alphabet(_count_code_points(read_texts()), settings)
    smallest = len(SPECIAL_TOKENS) + len(plain) + len(continuing)
    if settings.vocab_size < smallest:
        raise VocabularyError(
            f"tokenizer.vocab_size: got {settings.vocab_size}, expected at least {smallest} for this corpus: "
            f"{len(SPECIAL_TOKENS)} special tokens, {len(plain)} characters, {len(continuing)} inside words too.\n"
            f"Set it to {smallest} or more, or lower tokenizer.limit_alphabet (now {settings.limit_alphabet})."
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        # Given as special tokens, the continuation characters get their ids before training, in this order.
        special_tokens=[*SPECIAL_TOKENS, *continuing],
        # These are never removed, so this limit removes exactly the characters that are not among them.
        initial_alphabet=plain,
        limit_alphabet=len(plain),
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    draft = Tokenizer(models.WordPiece(unk_token=UNK))
    draft.normalizer = _normalizer(settings)
    draft.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    draft.train_from_iterator(_lines(read_texts()), trainer)
    reached = draft.get_vocab()
    if len(reached) != settings.vocab_size:
        raise VocabularyError(
            f"tokenizer.vocab_size: got {settings.vocab_size}, expected at most {len(reached)}, which is all that this "
            f"corpus gives with tokenizer.min_frequency {settings.min_frequency}.\n"
            f"Set it to {len(reached)} or less, lower tokenizer.min_frequency, or add text."
        )
    return _assemble(reached, settings)


def _count_code_points(texts: Iterable[str]) -> np.ndarray:
    """How often each code point occurs in texts: (0x110000,) int64."""
    counts = np.zeros(_NUM_CODE_POINTS, dtype=np.int64)
    for text in texts:
        here = np.bincount(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32))
        counts[: here.size] += here
    return counts


def _find_alphabet(counts: np.ndarray, settings: WordPiece) -> tuple[list[str], list[str]]:
    """The characters that are kept, sorted, and the "##" pieces of those that can stand inside a word, sorted."""
    normalizer, splitter = _normalizer(settings), pre_tokenizers.BertPreTokenizer()
    occurrences: Counter[str] = Counter()
    for code_point in np.flatnonzero(counts):
        # The normalizer works character by character, so counting first and normalizing then is exact.
        for character in normalizer.normalize_str(chr(code_point)):
            occurrences[character] += int(counts[code_point])
    visible = [character for character in occurrences if splitter.pre_tokenize_str(character)]
    visible.sort(key=lambda character: (-occurrences[character], character))
    plain = sorted(visible[: settings.limit_alphabet])
    # Punctuation and Chinese characters are words of their own, so they are never inside one.
    inside = [c for c in plain if len(splitter.pre_tokenize_str(normalizer.normalize_str("a" + c))) == 1]
    continuing = [CONTINUATION + character for character in inside]
    return plain, continuing


def _normalizer(settings: WordPiece) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(lowercase=settings.lowercase)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    # The trainer holds a few hundred items at once, so it is fed lines and not documents of any length.
    for text in texts:
        yield from text.splitlines()


def _assemble(vocab: dict[str, int], settings: WordPiece) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token=UNK, continuing_subword_prefix=CONTINUATION))
    tokenizer.normalizer = _normalizer(settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEP}:0",
        pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
        special_tokens=[(CLS, vocab[CLS]), (SEP, vocab[SEP])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
        do_lower_case=settings.lowercase,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


# Loading and meaning -------------------------------------------------------------------------------------------------


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """Load a transformers tokenizer folder as its tokenizer.json says, without truncation and padding of its own.

    Raises:
        VocabularyError: there is no tokenizer in the folder, or it has no pad, unk, cls, sep or mask token.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VocabularyError(
            f"tokenizer.path: got {str(folder)!r}, which is no folder, expected one saved by save_pretrained.\n"
            "Correct the path; a name on the hub has to be downloaded first."
        )
    tokenizer = _load(folder, PreTrainedTokenizerFast) if (folder / "tokenizer.json").is_file() else None
    if tokenizer is None or (_missing_tokens(tokenizer) and (folder / "config.json").is_file()):
        from transformers import AutoTokenizer  # imports torch, which the other way does without

        # Folders of 2019 have a vocab.txt alone, or leave their special tokens to the defaults of a class.
        tokenizer = _load(folder, AutoTokenizer)
    if missing := _missing_tokens(tokenizer):
        raise VocabularyError(
            f"{folder}: got a tokenizer without {', '.join(missing)}, expected {', '.join(_NEEDED_TOKENS)}.\n"
            "Add the missing tokens with add_special_tokens and save it again, or train a vocabulary."
        )
    # Left over from whoever saved it; the tokens of a long sentence would be cut off without a word.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    # How it was loaded; transformers would save these as settings of the tokenizer.
    for argument in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(argument, None)
    return tokenizer


def _load(folder: Path, loader: Any) -> PreTrainedTokenizerFast:
    try:
        tokenizer = loader.from_pretrained(folder)
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


def _missing_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [name for name in _NEEDED_TOKENS if getattr(tokenizer, f"{name}_id") is None]


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerFast) -> str:
    """The sha256 (hex) of everything that decides a tokenizer's ids; truncation and padding are not among it."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["truncation"] = content["padding"] = None
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
    """(size,) bool: whether a token begins a word whatever stands before it. True at special and added tokens."""
    is_word_end: np.ndarray
    """(size,) bool: whether a token ends a word whatever follows it, as punctuation does. True at special tokens."""
    tokens: tuple[str, ...]
    """(size,) each token as it stands in a text, without marks such as "##"; empty at ids without a token."""
    fingerprint: str
    """sha256 (hex) of everything that decides the ids."""

    def begins_word(self, previous: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Whether each of `ids` begins a word where the one of `previous` stands before it: bool of their shape."""
        begins: np.ndarray = self.is_word_start[ids] | self.is_word_end[previous]
        return begins

    @classmethod
    def from_folder(cls, path: str | Path) -> "Vocabulary":
        """Describe the tokenizer in a folder.

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
        added = tokenizer.added_tokens_decoder
        special = {*tokenizer.all_special_ids, *(id for id, token in added.items() if token.special)}
        begins_word = _word_start_rule(json.loads(tokenizer.backend_tokenizer.to_str()), origin)
        is_special = np.zeros(size, dtype=bool)
        is_special[list(special)] = True
        is_word_start = np.ones(size, dtype=bool)
        tokens = [""] * size
        for token, id in ids.items():
            is_word_start[id] = id in special or id in added or begins_word(token)
            tokens[id] = token.removeprefix(CONTINUATION)
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
            is_word_end=_frozen(is_special.copy()),
            tokens=tuple(tokens),
            fingerprint=fingerprint_tokenizer(tokenizer),
        )


def _word_start_rule(content: dict[str, Any], origin: str) -> Callable[[str], bool]:
    """How the tokens of a serialized tokenizer show that a word begins with them."""
    model = content["model"]
    steps = [content.get(step) for step in ("normalizer", "pre_tokenizer", "decoder")]
    described = json.dumps(steps, ensure_ascii=False)
    prefix = model.get("continuing_subword_prefix")
    if model["type"] == "WordLevel":
        return lambda token: True
    if model["type"] in ("WordPiece", "BPE") and prefix:
        return lambda token: not token.startswith(prefix)
    if '"ByteLevel"' in described:
        return lambda token: token.startswith("Ġ")
    if "▁" in described:
        return lambda token: token.startswith("▁")
    raise VocabularyError(
        f"{origin}: got a {model['type']} tokenizer whose tokens do not show where words begin.\n"
        'Expected WordPiece ("##"), byte-level BPE ("Ġ") or SentencePiece ("▁"). Choose another, or train one.'
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
