"""Byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; RoBERTa, Liu et al. 2019,
https://arxiv.org/abs/1907.11692), trained by the tokenizers library. Nothing is unknown: every byte has an id.

Differs from GPT-2 and RoBERTa: the first word of a text is marked like any other (add_prefix_space), white space of any
kind and length is the mark of the next word and no token of its own, so that a line break inside a sentence changes no
id, and text is brought to Unicode's form NFC, as in ModernBERT.
"""

from typing import Literal

from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tokenization.families.trainable import ReadTexts, TrainableTokenizer, assemble, portions, too_large, too_small
from tokenization.vocabulary import SPECIAL_TOKENS


class ByteLevelBpe(TrainableTokenizer):
    """A byte-level BPE vocabulary trained on the training documents of the corpus."""

    name: Literal["bpe"] = "bpe"

    min_frequency: int = Field(default=2, ge=1)
    """Fewest occurrences of a pair of pieces that is joined."""

    def train(self, read_texts: ReadTexts) -> PreTrainedTokenizerFast:
        """Ids: the special tokens; the 256 bytes; the joined pieces, the commonest first. Calls `read_texts` once."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        smallest = len(SPECIAL_TOKENS) + len(alphabet)
        if self.vocab_size < smallest:
            why = f": {len(SPECIAL_TOKENS)} special tokens and {len(alphabet)} bytes"
            raise too_small(self.vocab_size, smallest, why, "")
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence(self.unicode_steps())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
        )
        # Without the space that marks the first word.
        tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
        tokenizer.train_from_iterator(portions(read_texts()), trainer)
        if (reached := tokenizer.get_vocab_size()) != self.vocab_size:
            why = f" with tokenizer.min_frequency {self.min_frequency}"
            raise too_large(self.vocab_size, reached, why, "lower tokenizer.min_frequency, ")
        return assemble(tokenizer, lowercase=self.lowercase)
