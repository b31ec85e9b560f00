"""Of which classes the words are whose pieces a model guesses: rare or frequent, function or content.

A word is what the tokenizer shows as one (objectives/masks/units.py), whole even where a row ends within it. It is
known by its text whatever its case, so it is the same word however it was cut into pieces. Only words of letters, which
have a letter and no digit, have classes: commas and full stops are the commonest tokens, and would be much of what is
frequent.

- frequent: the commonest words that together are half of the running words of letters of the training split, so that
  the words below are as many; fewer than a hundred words of English.
- rare: the rarest words that together are at most a tenth of them, and words never seen there: few enough to be those
  of which a model has seen little, and enough to be measured on a small held-out split.
- function: words of closed classes, from a list; content: all others.

Words are counted in the first 2**24 tokens of the training split of the corpus that is scored, so classes are the same
for every model of its tokenizer. What lies between rare and frequent is neither; the two pairs cut across each other.
"""

# N tokens, W words, C classes, V vocabulary

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from objectives.cutting.packed import PackedPlan
from objectives.draws import Key
from objectives.masking import Masking
from objectives.rows import Cutting, Ints
from pretrain.batches import Examples
from pretrain.recipe_problems import RecipeError
from tokenization.store import TokenSplit, TokenStore
from tokenization.vocabulary import Vocabulary, load_tokenizer

CLASSES = ("rare", "frequent", "function", "content")
FUNCTION_WORDS = Path(__file__).with_name("function_words.txt")
"""English words of closed classes."""
FREQUENT_SHARE = 0.5
"""Share of the running words that frequent words are, at least."""
RARE_SHARE = 0.1
"""Share of the running words that rare words are, at most."""
COUNTED_TOKENS = 1 << 24

_AT_ONCE = 1 << 20  # tokens whose words are found together, which bounds memory
_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")
_CHARACTERS = 0x110000
_BASE = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

logger = logging.getLogger(__name__)


def word_classes(store: TokenStore, function_words: Path = FUNCTION_WORDS) -> Codes:
    """(N,) uint8 for the tokens of the held-out split: bit k is set where the word of a token is of CLASSES[k].

    Args:
        function_words: UTF-8, a word a line; lines that begin with # are passed over. What a tokenizer cuts a line
            into are function words as well, as far as they are of letters: of "don't" don and t, or 't.

    Raises:
        RecipeError: the file cannot be read or has no such line.
    """
    spelling = _Spelling.of(store.vocabulary)
    function = _function_words(function_words, store.tokenizer_path, spelling)
    seen, counts = _count(store.train, spelling)
    rare, frequent = frequency_bounds(counts)
    logger.info(
        "word classes: of %s words of letters, %s are frequent, seen at least %s times, and %s rare, at most %s times",
        *(f"{n:,}" for n in (len(counts), (counts >= frequent).sum(), frequent, (counts <= rare).sum(), rare)),
    )
    codes = np.zeros(store.held_out.num_tokens, dtype=np.uint8)
    end = 0
    for words in _words(store.held_out, spelling):
        count = _looked_up(words.hashes, seen, counts)
        is_function = np.isin(words.hashes, function)
        members = np.stack([count <= rare, count >= frequent, is_function, ~is_function]) & words.of_letters
        start, end = end, end + int(words.num_pieces.sum())
        codes[start:end] = np.repeat(np.packbits(members, axis=0, bitorder="little")[0], words.num_pieces)
    return codes


def frequency_bounds(counts: Ints) -> tuple[int, int]:
    """Most occurrences of a rare word, and least of a frequent one, which are more.

    Args:
        counts: (W,) how often each word occurs, at least once.
    """
    if not len(counts):
        return 0, 1
    values, num_words = np.unique(counts, return_counts=True)
    up_to = np.cumsum(values * num_words)  # running words that are seen at most so often
    below = up_to - values * num_words
    num_rare = int(np.searchsorted(up_to, RARE_SHARE * up_to[-1], side="right"))
    first_frequent = int(np.searchsorted(below, (1.0 - FREQUENT_SHARE) * up_to[-1], side="right")) - 1
    return int(values[num_rare - 1]) if num_rare else 0, int(values[first_frequent])


class ClassedExamples(Examples):
    """Packed examples whose batches have label_classes, (B, L, C) bool: of which CLASSES the word of a token is."""

    def __init__(
        self,
        split: TokenSplit,
        vocabulary: Vocabulary,
        *,
        cutting: Cutting,
        masking: Masking,
        seed: int,
        with_noise: bool,
        codes: Codes,
    ) -> None:
        """
        Args:
            codes: (N,) of the split, as word_classes gives them.
        """
        super().__init__(split, vocabulary, cutting=cutting, masking=masking, seed=seed, with_noise=with_noise)
        self._codes = codes

    def _part(self, epoch: int, indices: Ints, *, share: float) -> dict[str, np.ndarray]:
        plan = self.plan(epoch)
        assert isinstance(plan, PackedPlan)
        # The same places of the split; what comes at special tokens and padding, which are no targets, means nothing.
        codes = replace(plan, split=replace(self.split, ids=self._codes)).rows(indices).input_ids
        classes = (codes[..., None] >> np.arange(len(CLASSES))) & 1
        return {**super()._part(epoch, indices, share=share), "label_classes": classes.astype(bool)}


# Words ---------------------------------------------------------------------------------------------------------------


class _Words(NamedTuple):
    """The words of a stretch of text, in its order; arrays (W,)."""

    hashes: Hashes
    of_letters: Bools
    num_pieces: Ints


@dataclass(frozen=True, slots=True)
class _Spelling:
    """What the tokens of a vocabulary are of a word; arrays (V,).

    A hash is a polynomial in _BASE modulo 2**64 whose coefficients are random numbers of the characters, so that of a
    word follows from those of its pieces, whatever they are.
    """

    vocabulary: Vocabulary
    hashes: Hashes
    lengths: Ints
    """Characters."""
    has_letter: Bools
    has_other: Bools
    """Whether a word with it is not one of letters: a digit, or a special token."""

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "_Spelling":
        random = np.random.Generator(np.random.Philox(key=int(Key(0, 0, "words.characters").word())))
        texts = [token.casefold().translate(_APOSTROPHES) for token in vocabulary.tokens]
        lengths = np.array([len(text) for text in texts])
        characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        of_character = random.integers(2**64, size=_CHARACTERS, dtype=np.uint64)[characters]
        ends = np.cumsum(lengths)
        within = np.arange(len(characters)) - np.repeat(ends - lengths, lengths)
        sums = np.append(np.uint64(0), np.cumsum(of_character * _powers(within), dtype=np.uint64))
        hashes = sums[ends] - sums[ends - lengths]
        # Part of a character has no text to know it by, so it is a character of its own.
        is_part = np.array(["\ufffd" in text for text in texts])
        return cls(
            vocabulary=vocabulary,
            hashes=np.where(is_part, random.integers(2**64, size=len(texts), dtype=np.uint64), hashes),
            lengths=np.where(is_part, 1, lengths),
            has_letter=np.array([any(map(str.isalpha, text)) for text in texts]),
            has_other=np.array([any(map(str.isdigit, text)) for text in texts]) | vocabulary.is_special,
        )

    def words(self, ids: np.ndarray, sentence_starts: Ints) -> _Words:
        """The words of token ids (N,), of which each sentence begins one."""
        begins = self.vocabulary.begins_word(np.append(ids[:1], ids[:-1]), ids)
        begins[sentence_starts] = True
        openings = np.flatnonzero(begins)
        num_pieces = np.diff(openings, append=len(ids))
        lengths = self.lengths[ids]
        starts = np.cumsum(lengths) - lengths
        within = starts - np.repeat(starts[openings], num_pieces)
        return _Words(
            hashes=np.add.reduceat(self.hashes[ids] * _powers(within), openings),
            of_letters=np.logical_or.reduceat(self.has_letter[ids], openings)
            & ~np.logical_or.reduceat(self.has_other[ids], openings),
            num_pieces=num_pieces,
        )


def _powers(exponents: Ints) -> Hashes:
    """_BASE to these powers, modulo 2**64."""
    powers = np.full(int(exponents.max(initial=0)) + 1, _BASE)
    powers[0] = 1
    found: Hashes = np.multiply.accumulate(powers)[exponents]
    return found


def _words(split: TokenSplit, spelling: _Spelling, most: int | None = None) -> Iterator[_Words]:
    """The words of a split, some sentences at a time.

    Args:
        most: tokens behind which no sentence is read; None: all are.
    """
    sentences = split.sentence_offsets
    last = split.num_sentences if most is None else int(np.searchsorted(sentences, most, side="right")) - 1
    start = 0
    while start < last:
        end = int(np.searchsorted(sentences, sentences[start] + _AT_ONCE, side="right")) - 1
        end = min(last, max(end, start + 1))
        offsets = np.asarray(sentences[start : end + 1])
        yield spelling.words(split.ids[int(offsets[0]) : int(offsets[-1])], offsets[:-1] - offsets[0])
        start = end


def _count(split: TokenSplit, spelling: _Spelling) -> tuple[Hashes, Ints]:
    """The words of letters of a split's first tokens (W,), ascending, and how often each occurs."""
    seen, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    for words in _words(split, spelling, COUNTED_TOKENS):
        found, number = np.unique(words.hashes[words.of_letters], return_counts=True)
        seen, place = np.unique(np.concatenate([seen, found]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, number])).astype(np.int64)
    return seen, counts


def _looked_up(hashes: Hashes, seen: Hashes, counts: Ints) -> Ints:
    """How often each of these words was seen."""
    if not len(seen):
        return np.zeros(len(hashes), dtype=np.int64)
    place = np.minimum(np.searchsorted(seen, hashes), len(seen) - 1)
    return np.where(seen[place] == hashes, counts[place], 0)


def _function_words(path: Path, tokenizer_path: Path, spelling: _Spelling) -> Hashes:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"--function-words {path} cannot be read ({error}), expected UTF-8 text, a word a line. Correct the path."
        ) from error
    listed = [line for line in lines if line and not line.startswith("#")]
    if not listed:
        raise RecipeError(f"--function-words {path} has no word, expected one a line. Write some, or leave it out.")
    tokens = load_tokenizer(tokenizer_path)(listed, add_special_tokens=False)["input_ids"]
    lengths = np.array([len(of_line) for of_line in tokens])
    starts = np.cumsum(lengths) - lengths
    ids = np.array([id for of_line in tokens for id in of_line], dtype=np.int64)
    words = spelling.words(ids, starts[lengths > 0])
    return np.unique(words.hashes[words.of_letters])
