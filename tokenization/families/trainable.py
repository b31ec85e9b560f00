"""What the vocabularies that can be trained share: their settings, and how ids become a transformers tokenizer."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator

from pydantic import BaseModel, Field
from tokenizers import Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerFast

from tokenization.encoding import cut_long
from tokenization.vocabulary import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK, VocabularyError

ReadTexts = Callable[[], Iterable[str]]
"""Gives the training texts from the start, each time that it is called."""

MODEL_MAX_LENGTH = 512
"""Of a tokenizer that belongs to no model yet, in tokens (BERT); saving a model sets the model's own."""


class TrainableTokenizer(BaseModel, frozen=True, extra="forbid", strict=True):
    """A vocabulary that is trained on training documents of the corpus."""

    name: str

    vocab_size: int = Field(gt=len(SPECIAL_TOKENS))
    """Number of entries, the five special tokens included (BERT: 30,522). It must be reached exactly."""

    lowercase: bool = False
    """Lower-case the text."""

    strip_accents: bool | None = None
    """Take the accents off the letters, which in some scripts (Devanagari, Thai) are vowels; null: as `lowercase` says,
    as in BERT."""

    sample_megabytes: float = Field(default=32.0, gt=0)
    """About how much text the vocabulary is trained on, in millions of bytes of UTF-8. Of a larger corpus parts of
    65,536 characters are drawn by their content."""

    @abstractmethod
    def train(self, read_texts: ReadTexts) -> PreTrainedTokenizerFast:
        """A tokenizer that depends on the settings and the texts alone: `train_tokenizer` says more."""

    def unicode_steps(self, *, compatible: bool = False) -> list[normalizers.Normalizer]:
        """Steps to Unicode's form NFC, or NFKC where `compatible`, that case and accents ask for; each works within
        white space."""
        form = "NFKC" if compatible else "NFC"
        steps: list[normalizers.Normalizer] = []
        if self.lowercase if self.strip_accents is None else self.strip_accents:
            steps = [getattr(normalizers, form.replace("C", "D"))(), normalizers.StripAccents()]
        steps.append(getattr(normalizers, form)())
        return [*steps, normalizers.Lowercase()] if self.lowercase else steps


def portions(texts: Iterable[str]) -> Iterator[str]:
    """Cut texts into lines, as trainers hold a few hundred items at once, and long lines into parts (`cut_long`)."""
    for text in texts:
        for line in text.splitlines():
            yield from cut_long(line)


def too_small(got: int, smallest: int, why: str, advice: str) -> VocabularyError:
    """The error for a size below what the alphabet needs; `why` and `advice` go on where their sentences end."""
    return VocabularyError(
        f"tokenizer.vocab_size: got {got}, expected at least {smallest}{why}.\nSet it to {smallest} or more{advice}."
    )


def too_large(got: int, reached: int, why: str, advice: str) -> VocabularyError:
    """The error for a size that the texts do not give."""
    return VocabularyError(
        f"tokenizer.vocab_size: got {got}, expected at most {reached}, which is all that this corpus gives{why}.\n"
        f"Set it to {reached} or less, {advice}or add text."
    )


def assemble(tokenizer: Tokenizer, *, lowercase: bool) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer whose vocabulary has the special tokens: [CLS] A [SEP], [CLS] A [SEP] B [SEP], types 0 and 1."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEP}:0",
        pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
        do_lower_case=lowercase,
        model_max_length=MODEL_MAX_LENGTH,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
