"""Laws of vocabularies: training is reproducible, sizes are met, and ids mean what is said of them."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from tokenization.training import WordPiece, train_tokenizer
from tokenization.vocabulary import (
    SPECIAL_TOKENS,
    Vocabulary,
    VocabularyError,
    fingerprint_tokenizer,
    load_tokenizer,
)

ROOT = Path(__file__).resolve().parents[1]
SPECIALS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def _many_ties(num_words: int, *, seed: int = 0) -> list[str]:
    """Random words in which most pairs of letters are about equally common, so that training meets many ties."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyzéßж", k=draw.randint(1, 9))) for _ in range(num_words)]
    return [" ".join(words[i : i + 50]) + ".\n" for i in range(0, num_words, 50)]


def _train(texts: list[str], **settings: Any) -> PreTrainedTokenizerFast:
    return train_tokenizer(WordPiece(**settings), lambda: texts)


# Training ------------------------------------------------------------------------------------------------------------

TRAIN_IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
from tokenization.training import WordPiece, train_tokenizer
texts = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
train_tokenizer(WordPiece(vocab_size=1000, min_frequency=1), lambda: texts).save_pretrained(sys.argv[2])
"""


def test_fresh_processes_train_byte_identical_tokenizers(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(_many_ties(50_000)), encoding="utf-8")
    assert text.stat().st_size > 300_000
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        command = [sys.executable, "-c", TRAIN_IN_A_FRESH_PROCESS, str(text), str(folder)]
        subprocess.run(command, cwd=ROOT, check=True)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0].keys() >= {"tokenizer.json", "tokenizer_config.json"}
    assert contents[0] == contents[1] == contents[2]


def test_the_order_of_the_texts_does_not_matter() -> None:
    texts = _many_ties(5000)
    assert _train(texts, vocab_size=300).get_vocab() == _train(texts[::-1], vocab_size=300).get_vocab()


@pytest.mark.parametrize("vocab_size", [100, 500, 1000])
def test_the_size_is_met_exactly_and_ids_have_no_gap(vocab_size: int) -> None:
    ids = _train(_many_ties(5000), vocab_size=vocab_size).get_vocab()
    assert sorted(ids.values()) == list(range(vocab_size))


def test_the_special_tokens_are_the_first_five_ids() -> None:
    tokenizer = _train(_many_ties(2000), vocab_size=200)
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS) == list(SPECIALS.values())
    assert sorted(tokenizer.all_special_ids) == list(range(5))
    assert {name: getattr(tokenizer, name) for name in SPECIALS} == SPECIALS


def test_a_size_out_of_reach_is_refused_and_the_size_it_names_can_be_reached() -> None:
    texts = ["the cat sat on the mat, the cat sat"] * 3
    with pytest.raises(VocabularyError, match=r"got 30000, expected at most \d+.*\n.*Set it to \d+ or less") as caught:
        _train(texts, vocab_size=30_000)
    reachable = int(re.findall(r"at most (\d+)", str(caught.value))[0])
    assert len(_train(texts, vocab_size=reachable)) == reachable
    with pytest.raises(VocabularyError):
        _train(texts, vocab_size=reachable + 1)


def test_a_size_below_the_alphabet_is_refused_and_the_size_it_names_is_enough() -> None:
    texts = _many_ties(2000)
    with pytest.raises(VocabularyError, match=r"got 40, expected at least \d+.*\n.*Set it to \d+ or more") as caught:
        _train(texts, vocab_size=40)
    smallest = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    assert len(_train(texts, vocab_size=smallest)) == smallest
    with pytest.raises(VocabularyError):
        _train(texts, vocab_size=smallest - 1)


def test_every_word_of_seen_characters_is_known() -> None:
    tokenizer = _train(_many_ties(2000), vocab_size=200)
    unseen = "".join(_many_ties(2000, seed=1))
    assert tokenizer.unk_token_id not in tokenizer(unseen).input_ids


def test_characters_beyond_the_limit_are_unknown_and_the_commonest_are_kept() -> None:
    tokenizer = _train(["aaa bbb ccc ddd " * 50, "x y z"], vocab_size=15, limit_alphabet=4)
    assert tokenizer.tokenize("abcd") != [tokenizer.unk_token]
    assert [tokenizer.tokenize(rare) for rare in "xyz"] == [[tokenizer.unk_token]] * 3


@pytest.mark.parametrize("lowercase", [True, False])
def test_lowercasing_is_done_and_recorded(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = _train(["Éa éA ea EA Ea " * 20], vocab_size=9 if lowercase else 17, lowercase=lowercase)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["do_lower_case"] is lowercase
    assert (load_tokenizer(tmp_path)("Éa").input_ids == load_tokenizer(tmp_path)("ea").input_ids) is lowercase


def test_punctuation_and_chinese_characters_get_no_continuation() -> None:
    ids = _train(["good, 中文 good. " * 10], vocab_size=16).get_vocab()
    assert {",", ".", "中", "文", "##o"} <= ids.keys()
    assert not {"##,", "##.", "##中", "##文"} & ids.keys()


@pytest.mark.parametrize("with_model", [False, True], ids=["alone", "beside a BERT config"])
def test_a_saved_tokenizer_loads_in_transformers_and_puts_special_tokens(tmp_path: Path, with_model: bool) -> None:
    tokenizer = _train(_many_ties(2000), vocab_size=200)
    tokenizer.save_pretrained(tmp_path)
    if with_model:
        BertConfig(vocab_size=200).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    encoded = loaded("abc", "de")
    first, second = (tokenizer(text, add_special_tokens=False).input_ids for text in ("abc", "de"))
    assert encoded.input_ids == [2, *first, 3, *second, 3]
    assert encoded.token_type_ids == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert loaded("abc").input_ids == [2, *first, 3]
    assert loaded.decode(first) == "abc"


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocab_size": 5},
        {"vocab_size": "8192"},
        {"vocab_size": 8192.0},
        {"vocab_size": 8192, "lowercase": "yes"},
        {"vocab_size": 8192, "min_frequency": 0},
        {"vocab_size": 8192, "name": "gpt"},
        {"vocab_size": 8192, "vocabsize": 8192},
        {},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    WordPiece.model_validate({"name": "wordpiece", "vocab_size": 8192})
    with pytest.raises(ValidationError):
        WordPiece.model_validate(wrong)


# What ids mean -------------------------------------------------------------------------------------------------------


def _wrap(tokenizer: Tokenizer, **tokens: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **(tokens or SPECIALS))


def _wordpiece() -> Tokenizer:
    pieces = [*SPECIALS.values(), "[unused0]", "[unused1]", "play", "##ing", "#", "the"]
    return Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))


def _byte_level() -> Tokenizer:
    pieces = [*SPECIALS.values(), "<unused_0>", "<unused1>", "Ġplay", "ing", "#", "Ġthe"]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _unigram() -> Tokenizer:
    pieces = [*SPECIALS.values(), "[unused0]", "[unused1]", "▁play", "ing", "#", "▁the"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _sentencepiece_bpe() -> Tokenizer:
    pieces = [*SPECIALS.values(), "[unused0]", "[unused1]", "▁play", "ing", "#", "▁the"]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


KINDS = {
    "WordPiece": (_wordpiece, [True, False, True, True]),
    "byte-level BPE": (_byte_level, [True, False, True, True]),
    "Unigram": (_unigram, [True, False, True, True]),
    "SentencePiece BPE": (_sentencepiece_bpe, [True, False, True, True]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_tokenizer_shows_where_words_begin(tmp_path: Path, kind: str) -> None:
    make, word_starts = KINDS[kind]
    _wrap(make()).save_pretrained(tmp_path)
    vocabulary = Vocabulary.from_folder(tmp_path)
    assert vocabulary.size == 11
    assert vocabulary.is_word_start[7:].tolist() == word_starts
    assert vocabulary.is_word_start[:5].all()


@pytest.mark.parametrize("kind", KINDS)
def test_special_and_unused_tokens_are_not_ordinary(tmp_path: Path, kind: str) -> None:
    _wrap(KINDS[kind][0]()).save_pretrained(tmp_path)
    vocabulary = Vocabulary.from_folder(tmp_path)
    ids = vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id
    assert ids == (0, 1, 2, 3, 4)
    assert vocabulary.special_ids.tolist() == [0, 1, 2, 3, 4]
    assert vocabulary.ordinary_ids.tolist() == [7, 8, 9, 10]
    assert vocabulary.is_special.tolist() == [True] * 5 + [False] * 6
    assert vocabulary.ordinary_ids.dtype == vocabulary.special_ids.dtype == np.int64


def test_added_tokens_count_and_special_ones_are_special(tmp_path: Path) -> None:
    bare = _wordpiece()
    bare.add_tokens(["wordhoard"])
    bare.add_special_tokens([AddedToken("[DOC]", special=True)])
    _wrap(bare).save_pretrained(tmp_path)
    vocabulary = Vocabulary.from_folder(tmp_path)
    assert vocabulary.size == 13
    assert vocabulary.ordinary_ids.tolist() == [7, 8, 9, 10, 11]
    assert vocabulary.special_ids.tolist() == [0, 1, 2, 3, 4, 12]
    assert vocabulary.is_word_start[[11, 12]].all()


def test_an_id_without_a_token_is_neither_ordinary_nor_special(tmp_path: Path) -> None:
    vocab = {**{token: i for i, token in enumerate(SPECIALS.values())}, "the": 5, "end": 9}
    _wrap(Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))).save_pretrained(tmp_path)
    vocabulary = Vocabulary.from_folder(tmp_path)
    assert vocabulary.size == 10
    assert vocabulary.ordinary_ids.tolist() == [5, 9]
    assert not vocabulary.is_special[6:9].any()


def test_what_a_vocabulary_says_cannot_be_changed(tmp_path: Path) -> None:
    _wrap(_wordpiece()).save_pretrained(tmp_path)
    vocabulary = Vocabulary.from_folder(tmp_path)
    for array in (vocabulary.special_ids, vocabulary.ordinary_ids, vocabulary.is_special, vocabulary.is_word_start):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(AttributeError):
        vocabulary.size = 3  # type: ignore[misc]


def test_the_fingerprint_is_of_the_ids_and_not_of_the_way_they_were_saved(tmp_path: Path) -> None:
    first, again = _wrap(_wordpiece()), _wrap(_wordpiece())
    again.backend_tokenizer.enable_truncation(8)
    again.backend_tokenizer.enable_padding(length=8)
    first.save_pretrained(tmp_path / "first")
    again.save_pretrained(tmp_path / "again")
    fingerprint = Vocabulary.from_folder(tmp_path / "first").fingerprint
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    assert Vocabulary.from_folder(tmp_path / "again").fingerprint == fingerprint
    assert fingerprint_tokenizer(_wrap(_byte_level())) != fingerprint


def test_loading_and_saving_again_changes_no_byte(tmp_path: Path) -> None:
    _train(_many_ties(2000), vocab_size=200).save_pretrained(tmp_path / "first")
    load_tokenizer(tmp_path / "first").save_pretrained(tmp_path / "again")
    first, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "again")
    )
    assert first == again


# Existing folders ----------------------------------------------------------------------------------------------------


def test_truncation_and_padding_left_in_a_folder_are_undone(tmp_path: Path) -> None:
    tokenizer = _wrap(_wordpiece())
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=20)
    tokenizer.save_pretrained(tmp_path)
    encoding = load_tokenizer(tmp_path).backend_tokenizer.encode("the " * 10, add_special_tokens=False)
    assert encoding.ids == [10] * 10


def test_a_folder_of_2019_with_a_vocab_txt_alone_is_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIALS.values(), "play", "##ing"]) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer("Playing").input_ids == [2, 5, 6, 3]


@pytest.mark.parametrize("missing", SPECIALS)
def test_a_tokenizer_that_lacks_a_needed_token_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    tokens = {name: token for name, token in SPECIALS.items() if name != missing}
    _wrap(_wordpiece(), **tokens).save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match=rf"without {missing}, expected pad_token.*\n.*Add the missing tokens"):
        load_tokenizer(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"which is no folder, expected one saved.*\n.*Correct the path"):
        load_tokenizer(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [None, "{", '{"model": {}}'], ids=["none", "no JSON", "no tokenizer"])
def test_a_folder_without_a_readable_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(VocabularyError, match=r"no tokenizer can be loaded(.|\n)*Expected tokenizer.json.*Save"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_does_not_show_its_words_is_refused(tmp_path: Path) -> None:
    pieces = [*SPECIALS.values(), "play"]
    bare = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="[UNK]"))
    _wrap(bare).save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match=r"do not show where words begin.*\n.*Expected WordPiece.*Choose another"):
        Vocabulary.from_folder(tmp_path)


def test_a_vocabulary_without_a_real_token_is_refused(tmp_path: Path) -> None:
    pieces = [*SPECIALS.values(), "[unused0]"]
    _wrap(Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))).save_pretrained(
        tmp_path
    )
    with pytest.raises(VocabularyError, match=r"got a vocabulary of 6 special or unused.*expected a real.*\n.*Choose"):
        Vocabulary.from_folder(tmp_path)
