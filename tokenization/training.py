"""Training a vocabulary: the families that a recipe chooses from, each the same in every run over the same text."""

from transformers import PreTrainedTokenizerFast

from tokenization.families.bpe import ByteLevelBpe
from tokenization.families.trainable import ReadTexts, TrainableTokenizer
from tokenization.families.unigram import Unigram
from tokenization.families.wordpiece import WordPiece

__all__ = ["TOKENIZERS", "ByteLevelBpe", "TrainableTokenizer", "Unigram", "WordPiece", "train_tokenizer"]

TOKENIZERS = {"wordpiece": WordPiece, "bpe": ByteLevelBpe, "unigram": Unigram}
"""The vocabularies that can be trained, by the name a recipe gives them."""


def train_tokenizer(settings: TrainableTokenizer, read_texts: ReadTexts) -> PreTrainedTokenizerFast:
    """Train a tokenizer that depends on the settings and the texts alone, and not on the order of the texts.

    Args:
        settings: family, vocabulary size, case.
        read_texts: gives the training texts from the start, each time that it is called: once or twice. They are the
            sample that `settings.sample_megabytes` asks for; all of what it gives is read.

    Returns:
        A tokenizer with [PAD] [UNK] [CLS] [SEP] [MASK] as ids 0 to 4, that puts [CLS] and [SEP] around and between
        texts and gives token types. Its model_max_length is 512.

    Raises:
        VocabularyError: the size is too small for the alphabet, or larger than the texts allow.
    """
    return settings.train(read_texts)
