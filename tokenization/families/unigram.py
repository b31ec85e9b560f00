"""Unigram (Kudo 2018, https://arxiv.org/abs/1804.10959), trained by sentencepiece and run by the tokenizers library.

The tokenizers library's own trainer gives another vocabulary in every run. sentencepiece's is reproducible where the
order of its input and the number of its threads are; here both are fixed.

Differs from sentencepiece used alone: it gets each distinct chunk of text between white space once, with its number of
occurrences, so that memory does not grow with the text and the order of the texts does not matter; the text is brought
to Unicode's form NFKC by the tokenizers library, so that both libraries see the same; and "[" ends a piece, so that
"[MASK]" in a text is letters in brackets. Like XLM-R's tokenizer in transformers, white space of any kind and length
is the mark of the next word.

The ids are those of sentencepiece, but where two ways to cut a chunk are equally likely: then the libraries, which add
in single and in double precision, may choose differently. It was so in none of the 41,297 lines of the sample; it is
for letters that repeat, such as "lll", under a small vocabulary.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

import sentencepiece
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tokenization.encoding import cut_long
from tokenization.families.pieces import WORD_MARK
from tokenization.families.trainable import ReadTexts, TrainableTokenizer, assemble, too_large, too_small
from tokenization.vocabulary import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK, VocabularyError

# The trainer's memory grows with the distinct chunks and with the sum of the weights: 64 MB of novels, whole, take it
# 1.3 GB, and within these bounds 0.4 GB, while the pieces per word of held-out English change by less than 1 %.
_MOST_CHARACTERS = 2_000_000
_MOST_OCCURRENCES = 2_000_000
# The scores are sums over threads, so their number is part of the result; more of them than cores cost nothing.
_NUM_THREADS = 4
# sentencepiece drops every line with one of these without a word.
_RESERVED = str.maketrans(dict.fromkeys(("\0", "\N{LOWER FIVE EIGHTHS BLOCK}"), " "))


class Unigram(TrainableTokenizer):
    """A Unigram vocabulary trained on the training documents of the corpus."""

    name: Literal["unigram"] = "unigram"

    limit_alphabet: int = Field(default=1000, ge=1)
    """Most distinct characters kept, the commonest first; any other is unknown. (sentencepiece's character_coverage
    is a share of the text instead, and of English leaves out letters with accents at its usual 0.9995.)"""

    def train(self, read_texts: ReadTexts) -> PreTrainedTokenizerFast:
        """Ids: the special tokens; then the pieces, the likeliest first. Calls `read_texts` once."""
        model = self.train_sentencepiece(read_texts())
        pieces = [(model.id_to_piece(id), model.get_score(id)) for id in range(model.get_piece_size())]
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL_TOKENS.index(UNK), byte_fallback=False))
        tokenizer.normalizer = self._normalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Metaspace(replacement=WORD_MARK, prepend_scheme="always"),
                pre_tokenizers.Split("[", "merged_with_previous"),
            ]
        )
        tokenizer.decoder = decoders.Metaspace(replacement=WORD_MARK, prepend_scheme="always")
        return assemble(tokenizer, lowercase=self.lowercase)

    def train_sentencepiece(self, texts: Iterable[str]) -> sentencepiece.SentencePieceProcessor:
        """Sentencepiece's own model of texts, which are to be normalized before it reads them."""
        weights = _weights(self._count_chunks(texts))
        if not weights:
            raise VocabularyError(
                "tokenizer: got training text without a visible character, expected some to train a vocabulary on.\n"
                "Add text to corpus.files."
            )
        alphabet = {character for chunk in weights for character in chunk} | {WORD_MARK}
        smallest = len(SPECIAL_TOKENS) + len(alphabet)
        if self.vocab_size < smallest:
            why = f" for this corpus: {len(SPECIAL_TOKENS)} special tokens and {len(alphabet)} characters"
            advice = f", or lower tokenizer.limit_alphabet (now {self.limit_alphabet})"
            raise too_small(self.vocab_size, smallest, why, advice)
        written = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(f"{chunk}\t{weight}" for chunk, weight in weights.items()),
                input_format="tsv",
                model_writer=written,
                model_type="unigram",
                vocab_size=self.vocab_size,
                num_threads=_NUM_THREADS,
                character_coverage=1.0,
                normalization_rule_name="identity",
                max_sentence_length=4 * _MOST_CHARACTERS,
                minloglevel=3,
                pad_id=0,
                unk_id=1,
                bos_id=2,
                eos_id=3,
                pad_piece=PAD,
                unk_piece=UNK,
                bos_piece=CLS,
                eos_piece=SEP,
                control_symbols=[MASK],
            )
        except RuntimeError as error:
            if (limit := re.search(r"value <= (\d+)", str(error))) is None:
                raise
            raise too_large(self.vocab_size, int(limit[1]), "", "") from error
        return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())

    def _count_chunks(self, texts: Iterable[str]) -> Counter[str]:
        """How often each chunk between white space occurs, normalized and without the characters that are not kept."""
        found: Counter[str] = Counter()
        for text in texts:
            for part in cut_long(text):
                found.update(part.split())
        normalizer = self._normalizer()
        counts: Counter[str] = Counter()
        for chunk, count in found.items():
            # Normalizing can give a space: the accent alone, U+00B4, is a space with an accent in NFKC.
            for piece in normalizer.normalize_str(chunk).translate(_RESERVED).replace("[", "[ ").split():
                counts[piece] += count
        occurrences: Counter[str] = Counter()
        for chunk, count in counts.items():
            for character in chunk:
                occurrences[character] += count
        if len(occurrences) <= self.limit_alphabet:
            return counts
        by_frequency = sorted(occurrences, key=lambda character: (-occurrences[character], character))
        dropped = str.maketrans(dict.fromkeys(by_frequency[self.limit_alphabet :], " "))
        kept: Counter[str] = Counter()
        for chunk, count in counts.items():
            for piece in chunk.translate(dropped).split():
                kept[piece] += count
        return kept

    def _normalizer(self) -> normalizers.Sequence:
        # Sentencepiece takes its mark for white space wherever it stands.
        return normalizers.Sequence([*self.unicode_steps(compatible=True), normalizers.Replace(WORD_MARK, " ")])


def _weights(counts: Counter[str]) -> dict[str, int]:
    """The chunks that are trained on with their weights: the commonest; of equally common ones a draw by content."""
    scale = max(1.0, counts.total() / _MOST_OCCURRENCES)
    weights: dict[str, int] = {}
    num_characters = 0
    for chunk in sorted(counts, key=lambda chunk: (-counts[chunk], hashlib.blake2b(chunk.encode()).digest())):
        num_characters += len(chunk) + 1
        if weights and num_characters > _MOST_CHARACTERS:
            break
        weights[chunk] = -int(-counts[chunk] // scale)
    return weights
