"""What the tests share: a small vocabulary and corpora of a given shape, both made in memory."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

Documents = Sequence[Sequence[Sequence[int]]]
"""Pieces per word, by sentence, by document."""

settings.register_profile(
    "same every time", max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
settings.load_profile("same every time")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece of 40 words and 20 continuing pieces; special tokens are scattered, so that no law leans on their ids."""
    names = [f"w{i}" for i in range(40)] + [f"##p{i}" for i in range(20)] + ["[unused0]"]
    for place, token in ((0, "[unused1]"), (7, "[PAD]"), (13, "[MASK]"), (30, "[CLS]"), (31, "[UNK]"), (62, "[SEP]")):
        names.insert(place, token)
    model = models.WordPiece(vocab={name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model),
        pad_token="[PAD]",
        mask_token="[MASK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


@pytest.fixture(scope="session")
def vocabulary(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    return Vocabulary.from_tokenizer(tokenizer, origin="the tests")


@pytest.fixture(scope="session")
def make_split(vocabulary: Vocabulary) -> Callable[[Documents], TokenSplit]:
    """A split of documents given as pieces per word; which words they are is drawn."""

    def make(documents: Documents, *, seed: int = 0) -> TokenSplit:
        sentences = [sentence for document in documents for sentence in document]
        return _fill(
            vocabulary,
            pieces=np.array([num for sentence in sentences for num in sentence], dtype=np.int64),
            words=np.array([len(sentence) for sentence in sentences], dtype=np.int64),
            sentences=np.array([len(document) for document in documents], dtype=np.int64),
            seed=seed,
        )

    return make


@pytest.fixture(scope="session")
def make_corpus(vocabulary: Vocabulary) -> Callable[..., TokenSplit]:
    """A split of drawn documents; ranges are inclusive."""

    def make(
        num_documents: int, *, sentences: tuple[int, int] = (5, 60), words: tuple[int, int] = (3, 30), seed: int = 0
    ) -> TokenSplit:
        draw = np.random.default_rng(seed)
        num_sentences = draw.integers(*sentences, size=num_documents, endpoint=True)
        num_words = draw.integers(*words, size=num_sentences.sum(), endpoint=True)
        pieces = draw.choice([1, 2, 3, 4], p=[0.75, 0.15, 0.07, 0.03], size=num_words.sum())
        return _fill(vocabulary, pieces=pieces, words=num_words, sentences=num_sentences, seed=seed)

    return make


@pytest.fixture(scope="session")
def wild_documents() -> st.SearchStrategy[list[list[list[int]]]]:
    """Documents of one word, of one giant sentence, of words of many pieces."""
    pieces = st.one_of(st.just(1), st.just(1), st.integers(2, 4), st.integers(5, 150))
    giant = st.integers(100, 700).map(lambda num_words: [1] * num_words)
    sentence = st.one_of(st.lists(pieces, min_size=1, max_size=15), st.just([1]), giant)
    document = st.one_of(st.just([[1]]), st.lists(sentence, min_size=1, max_size=12))
    return st.lists(document, min_size=1, max_size=14)


@pytest.fixture(scope="session")
def with_own_ids() -> Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]:
    """The same split with token t of it as id t, and a vocabulary to match: an id then tells which token it is."""

    def rename(split: TokenSplit, vocabulary: Vocabulary) -> tuple[TokenSplit, Vocabulary]:
        count = split.num_tokens
        is_special = np.arange(count + 5) >= count
        return dataclasses.replace(split, ids=np.arange(count)), dataclasses.replace(
            vocabulary,
            size=count + 5,
            pad_id=count,
            unk_id=count + 1,
            cls_id=count + 2,
            sep_id=count + 3,
            mask_id=count + 4,
            special_ids=np.nonzero(is_special)[0],
            ordinary_ids=np.arange(count),
            is_special=is_special,
            is_word_start=np.append(vocabulary.is_word_start[split.ids], np.ones(5, dtype=bool)),
        )

    return rename


def _fill(
    vocabulary: Vocabulary, *, pieces: np.ndarray, words: np.ndarray, sentences: np.ndarray, seed: int
) -> TokenSplit:
    draw = np.random.default_rng(seed + 1)
    starts_word = vocabulary.is_word_start[vocabulary.ordinary_ids]
    ids = draw.choice(vocabulary.ordinary_ids[~starts_word], size=pieces.sum())
    word_offsets = _offsets(pieces)
    ids[word_offsets[:-1]] = draw.choice(vocabulary.ordinary_ids[starts_word], size=len(pieces))
    return TokenSplit(
        ids=ids.astype(np.uint16),
        sentence_offsets=word_offsets[_offsets(words)],
        document_offsets=_offsets(sentences),
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
