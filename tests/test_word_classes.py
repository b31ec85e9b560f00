"""Laws of the classes of words: those of a count by hand, whatever the tokenizer, the blocks and the pieces."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from pretrain import word_classes as module
from pretrain.recipe import RecipeError
from pretrain.word_classes import CLASSES, FUNCTION_WORDS, _Spelling, frequency_bounds, word_classes
from tests.families import FAMILIES, SPECIALS, real_text, tokenizer_of
from tokenization.store import TokenSplit, TokenStore
from tokenization.vocabulary import Vocabulary

OWN_TEXT = (
    "The cat didn't see the 2nd CAT, and the cat's eyes were green.",
    "\u201cI\u2019ll not,\u201d said Zo\u00eb; the caf\u00e9 of 1984 was the cat's.",
    "A route66 sign and an \u00c9clair: the THE The tHe.",
)


def _split(tokenizer: PreTrainedTokenizerFast, texts: tuple[str, ...]) -> TokenSplit:
    sentences = [ids for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"] if ids]
    ends = np.cumsum([0, *map(len, sentences)])
    return TokenSplit(np.concatenate(sentences).astype(np.uint16), ends, np.arange(len(ends)))


def _store(tokenizer: PreTrainedTokenizerFast, folder: Path) -> TokenStore:
    text = (*real_text()[:60], *OWN_TEXT)
    tokenizer.save_pretrained(folder / "tokenizer")
    vocabulary = Vocabulary.from_tokenizer(tokenizer, origin="the tests")
    return TokenStore(folder, {}, _split(tokenizer, text[::2]), _split(tokenizer, text[1::2]), vocabulary)


def _words_by_hand(split: TokenSplit, vocabulary: Vocabulary) -> list[tuple[str, bool, int]]:
    """Text, whether of letters, and number of pieces of each word, from one token after another."""
    words: list[list[int]] = []
    for start, end in itertools.pairwise(split.sentence_offsets.tolist()):
        for place in range(start, end):
            previous, here = int(split.ids[place - 1]), int(split.ids[place])
            if place == start or vocabulary.is_word_start[here] or vocabulary.is_word_end[previous]:
                words.append([])
            words[-1].append(here)
    found = []
    for word in words:
        texts = [vocabulary.tokens[id] for id in word]
        spelt = "".join(f"<{id}>" if "\ufffd" in text else text for id, text in zip(word, texts, strict=True))
        is_plain = not any(vocabulary.is_special[id] for id in word)
        signs = "".join(texts)
        of_letters = is_plain and any(c.isalpha() for c in signs) and not any(c.isdigit() for c in signs)
        found.append((spelt.casefold().replace("\u2019", "'"), of_letters, len(word)))
    return found


def _classes_by_hand(store: TokenStore, function: set[str]) -> list[set[str]]:
    """The classes of every held-out token."""
    counts = Counter(word for word, of_letters, _ in _words_by_hand(store.train, store.vocabulary) if of_letters)
    total, numbers = counts.total(), {*counts.values()}
    up_to = {n: sum(m for m in counts.values() if m <= n) for n in numbers}
    from_on = {n: sum(m for m in counts.values() if m >= n) for n in numbers}
    rare = max((n for n in numbers if up_to[n] <= total * module.RARE_SHARE), default=0)
    frequent = max(n for n in numbers if from_on[n] >= total * module.FREQUENT_SHARE)
    found: list[set[str]] = []
    for word, of_letters, num_pieces in _words_by_hand(store.held_out, store.vocabulary):
        classes = {"function" if word in function else "content"} if of_letters else set()
        if of_letters and counts[word] <= rare:
            classes.add("rare")
        if of_letters and counts[word] >= frequent:
            classes.add("frequent")
        found += [classes] * num_pieces
    return found


def _function_by_hand(tokenizer: PreTrainedTokenizerFast, vocabulary: Vocabulary) -> set[str]:
    listed = [line for line in FUNCTION_WORDS.read_text().splitlines() if line and not line.startswith("#")]
    return {word for word, of_letters, _ in _words_by_hand(_split(tokenizer, tuple(listed)), vocabulary) if of_letters}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_classes_are_those_of_a_count_by_hand(family: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    store = _store(tokenizer, tmp_path)
    codes = word_classes(store)
    assert codes.shape == (store.held_out.num_tokens,) and codes.dtype == np.uint8
    expected = _classes_by_hand(store, _function_by_hand(tokenizer, store.vocabulary))
    got = [{name for bit, name in enumerate(CLASSES) if code >> bit & 1} for code in codes.tolist()]
    assert got == expected
    assert all(any(name in classes for classes in got) for name in CLASSES), "none is empty"
    assert not any({"rare", "frequent"} <= classes or {"function", "content"} <= classes for classes in got)


def test_how_many_tokens_are_read_at_once_changes_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tokenizer_of("bpe"), tmp_path)
    whole = word_classes(store)
    for at_once in (1, 7, 100):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        assert np.array_equal(word_classes(store), whole)


def test_only_the_first_tokens_of_the_training_split_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(tokenizer_of("wordpiece"), tmp_path)
    offsets = store.train.sentence_offsets
    first = TokenSplit(store.train.ids[: offsets[9]], offsets[:10], np.arange(10))
    fewer = word_classes(TokenStore(store.path, {}, first, store.held_out, store.vocabulary))
    assert not np.array_equal(fewer, word_classes(store))
    monkeypatch.setattr(module, "COUNTED_TOKENS", int(offsets[10]) - 1)  # all but the last token of the next sentence
    assert np.array_equal(fewer, word_classes(store))


def test_a_word_is_known_by_its_letters_however_it_is_cut_and_cased() -> None:
    pieces = ["The", "the", "TH", "t", "th", "##e", "##E", "##he", "he", "eh", "##eh", "2", "##2", "he2"]
    names = {name: id for id, name in enumerate((*SPECIALS.values(), *pieces))}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(vocab=names, unk_token="[UNK]")), **SPECIALS
    )
    spelling = _Spelling.of(Vocabulary.from_tokenizer(tokenizer, origin="the tests"))

    def hash_of(*word: str) -> int:
        found = spelling.words(np.array([names[piece] for piece in word]), np.array([0]))
        assert found.num_pieces.tolist() == [len(word)]
        return int(found.hashes[0])

    same = [("The",), ("the",), ("TH", "##e"), ("th", "##E"), ("t", "##he")]
    assert len({hash_of(*word) for word in same}) == 1
    others = [("he",), ("eh",), ("t", "##eh"), ("th",), ("the", "##e"), ("he", "##he"), ("2",), ("he2",)]
    assert len({hash_of(*word) for word in [same[0], *others]}) == len(others) + 1
    long = [hash_of("t", *["##he"] * n) for n in range(300)]
    assert len(set(long)) == 300
    assert hash_of("he", "##2") == hash_of("he2")
    with_digit = spelling.words(np.array([names["he"], names["##2"], names["he"], names["[UNK]"]]), np.array([0]))
    assert with_digit.of_letters.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], (0, 1)),
        ([5], (0, 5)),  # a tenth is less than the only word
        ([1] * 10 + [45, 45], (1, 45)),  # ten of a hundred are once seen, and both of 45 are frequent
        ([1] * 11 + [45, 44], (0, 44)),  # eleven are more than a tenth, and 45 alone not half
        ([1] * 4 + [2, 2, 2] + [20, 70], (2, 70)),
        ([1, 9, 40, 50], (9, 50)),
        ([1, 9, 41, 49], (9, 41)),  # 49 alone are not half
    ],
)
def test_the_bounds_are_those_of_a_tenth_and_of_half_of_the_running_words(
    counts: list[int], expected: tuple[int, int]
) -> None:
    assert frequency_bounds(np.array(counts, dtype=np.int64)) == expected


def test_the_shipped_list_has_each_word_once_in_small_letters() -> None:
    listed = [line for line in FUNCTION_WORDS.read_text().splitlines() if line and not line.startswith("#")]
    assert len(listed) == len(set(listed)) > 300
    assert all(word == word.strip().casefold() and " " not in word for word in listed)
    assert {"the", "of", "not", "don't", "themselves", "shall"} <= {*listed}
    assert not {"won't", "house", "go", "good"} & {*listed}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            None,
            r"--function-words .*words\.txt cannot be read \(.*No such file.*\), expected UTF-8 text, a word a line",
        ),
        (b"caf\xe9\n", r"words\.txt cannot be read .* Correct the path"),
        (b"# none\n\n", r"words\.txt has no word, expected one a line\. Write some, or leave it out"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_in_words(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    store = _store(tokenizer_of("wordpiece"), tmp_path)
    with pytest.raises(RecipeError, match=text):
        word_classes(store, path)
