"""WordPiece (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), trained by the tokenizers library.

Differs from tokenizers' WordPieceTrainer used alone: the alphabet is counted and ordered here before training, because
the trainer numbers continuation pieces in the order of a hash table and breaks ties by those numbers, so that
two runs over the same text give different vocabularies.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tokenization.families.pieces import CONTINUATION
from tokenization.families.trainable import ReadTexts, TrainableTokenizer, assemble, portions, too_large, too_small
from tokenization.vocabulary import SPECIAL_TOKENS, UNK

_NUM_CODE_POINTS = 0x110000
_CHARACTERS_AT_ONCE = 1_000_000


class WordPiece(TrainableTokenizer):
    """A WordPiece vocabulary trained on the training documents of the corpus."""

    name: Literal["wordpiece"] = "wordpiece"

    lowercase: bool = True
    """Lower-case the text, and strip its accents unless `strip_accents` is false, as BERT's uncased models do."""

    min_frequency: int = Field(default=2, ge=1)
    """Fewest occurrences of a pair of pieces that is joined."""

    limit_alphabet: int = Field(default=1000, ge=1)
    """Most distinct characters kept, the commonest first; words with any other are unknown (BERT: 1000)."""

    def train(self, read_texts: ReadTexts) -> PreTrainedTokenizerFast:
        """Ids: the special tokens; then the continuation characters and the plain characters, each by code point; then
        the joined pieces, the commonest first. Calls `read_texts` twice.
        """
        plain, continuing = self._find_alphabet(_count_code_points(read_texts()))
        smallest = len(SPECIAL_TOKENS) + len(plain) + len(continuing)
        if self.vocab_size < smallest:
            why = f"{len(SPECIAL_TOKENS)} special tokens, {len(plain)} characters, {len(continuing)} inside words too"
            advice = f", or lower tokenizer.limit_alphabet (now {self.limit_alphabet})"
            raise too_small(self.vocab_size, smallest, f" for this corpus: {why}", advice)
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            # Given as special tokens, the continuation characters get their ids before training, in this order.
            special_tokens=[*SPECIAL_TOKENS, *continuing],
            # These are never removed, so this limit removes exactly the characters that are not among them.
            initial_alphabet=plain,
            limit_alphabet=len(plain),
            continuing_subword_prefix=CONTINUATION,
            show_progress=False,
        )
        draft = Tokenizer(models.WordPiece(unk_token=UNK))
        draft.normalizer = self._normalizer()
        draft.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        draft.train_from_iterator(portions(read_texts()), trainer)
        reached = draft.get_vocab()
        if len(reached) != self.vocab_size:
            why = f" with tokenizer.min_frequency {self.min_frequency}"
            raise too_large(self.vocab_size, len(reached), why, "lower tokenizer.min_frequency, ")
        tokenizer = Tokenizer(models.WordPiece(vocab=reached, unk_token=UNK, continuing_subword_prefix=CONTINUATION))
        tokenizer.normalizer = self._normalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
        return assemble(tokenizer, lowercase=self.lowercase)

    def _find_alphabet(self, counts: np.ndarray) -> tuple[list[str], list[str]]:
        """The characters that are kept, sorted, and the "##" pieces of those that can stand inside a word, sorted."""
        normalizer, splitter = self._normalizer(), pre_tokenizers.BertPreTokenizer()
        occurrences: Counter[str] = Counter()
        for code_point in np.flatnonzero(counts):
            # The normalizer works character by character, so counting first and normalizing then is exact.
            for character in normalizer.normalize_str(chr(code_point)):
                occurrences[character] += int(counts[code_point])
        visible = [character for character in occurrences if splitter.pre_tokenize_str(character)]
        visible.sort(key=lambda character: (-occurrences[character], character))
        plain = sorted(visible[: self.limit_alphabet])
        # Punctuation and Chinese characters are words of their own, so they are never inside one.
        inside = [c for c in plain if len(splitter.pre_tokenize_str(normalizer.normalize_str("a" + c))) == 1]
        continuing = [CONTINUATION + character for character in inside]
        return plain, continuing

    def _normalizer(self) -> normalizers.BertNormalizer:
        return normalizers.BertNormalizer(lowercase=self.lowercase, strip_accents=self.strip_accents)


def _count_code_points(texts: Iterable[str]) -> np.ndarray:
    """How often each code point occurs in texts: (0x110000,) int64."""
    counts = np.zeros(_NUM_CODE_POINTS, dtype=np.int64)
    for text in texts:
        for start in range(0, len(text), _CHARACTERS_AT_ONCE):
            part = text[start : start + _CHARACTERS_AT_ONCE].encode("utf-32-le")
            here = np.bincount(np.frombuffer(part, dtype=np.uint32))
            counts[: here.size] += here
    return counts
