"""Laws of vocabularies: ids mean what is said of them, and existing tokenizers are read or refused."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.families import FAMILIES, SPECIALS, real_text, tokenizer_of
from tokenization.families.pieces import stands_apart
from tokenization.vocabulary import Vocabulary, VocabularyError, fingerprint_tokenizer, load_tokenizer

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


def _independent_starts(text: str) -> set[int]:
    """Where words begin by white space, signs and CJK characters alone: it knows no tokenizer."""
    return {match.start() for match in re.finditer(r"[^\W_\u4e00-\u9fff]+|\S", text)}


@pytest.mark.parametrize("family", FAMILIES)
def test_word_starts_by_ids_are_those_of_the_text_wherever_a_token_begins(family: str) -> None:
    tokenizer = tokenizer_of(family)
    vocabulary = Vocabulary.from_tokenizer(tokenizer, origin=family)
    bare, num_starts = tokenizer.backend_tokenizer, 0
    for line in real_text():
        text = bare.normalizer.normalize_str(line) if bare.normalizer else line
        encoding = bare.encode(text, add_special_tokens=False)
        ids = np.array(encoding.ids)
        begins = vocabulary.begins_word(np.append(vocabulary.cls_id, ids[:-1]), ids)
        # A mark alone, or white space that is a token, stands for the beginning of what follows it.
        places = [start + len(text[start:]) - len(text[start:].lstrip()) for start, _ in encoding.offsets]
        # A part of a character and [UNK] do not show what they are, nor whether what follows begins a word.
        unseen = np.array([id == vocabulary.unk_id or "\ufffd" in vocabulary.tokens[id] for id in encoding.ids])
        unseen |= np.append(False, unseen[:-1])
        seen = set(places) - {place for place, skip in zip(places, unseen, strict=True) if skip}
        by_ids = {place for place, begin in zip(places, begins, strict=True) if begin}
        assert by_ids & seen == _independent_starts(text) & seen, text
        num_starts += len(by_ids)
    assert num_starts > 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_of_a_text_put_together_are_the_text_without_its_spaces(family: str) -> None:
    tokenizer = tokenizer_of(family)
    vocabulary = Vocabulary.from_tokenizer(tokenizer, origin=family)
    bare, num_lines = tokenizer.backend_tokenizer, 0
    for line in real_text():
        text = bare.normalizer.normalize_str(line) if bare.normalizer else line
        ids = bare.encode(text, add_special_tokens=False).ids
        together = "".join(vocabulary.tokens[id] for id in ids)
        if vocabulary.unk_id not in ids and "\ufffd" not in together:
            num_lines += 1
            assert "".join(together.split()) == "".join(text.split())
    assert num_lines > len(real_text()) / 2


READ = {
    "WordPiece": {"play": "play++", "##ing": "ing..", "#": "#++", "##€": "€++"},
    "byte-level BPE": {
        "Ġplay": "play+.", "ing": "ing..", "Ġ(": "(++", "'s": "'s+.", '."': '."++', "x.": "x..+", "Ġ": "+.",
        "Ċ": "\n++", "Ã©": "é..", "ãģ®": "の..", "ãģ": "\ufffd..", "Ġãģ": "\ufffd+.", ".ãģ": ".\ufffd+.", "âĤ¬": "€++",
    },
    "Unigram": {"▁play": "play+.", "ing": "ing..", "▁(": "(++", '."': '."++', "▁": "+.", "中": "中++", "3": "3.."},
    "SentencePiece BPE": {"▁play": "play+.", "ing": "ing..", "▁": "+.", "...": "...++"},
    "BPE with an end of word": {"play</w>": "play.+", "ing": "ing..", ".</w>": ".++", "(": "(++"},
    "byte fallback": {"<0x0A>": "\n++", "<0xE4>": "\ufffd..", "<0x2E>": ".++", "▁play": "play+.", "ing": "ing.."},
}  # fmt: skip
"""Tokens with what they are: the text, + or . for whether it begins a word, + or . for whether it ends one."""


@pytest.mark.parametrize("family", READ)
def test_what_a_token_is_of_a_word(family: str) -> None:
    ids = {token: i for i, token in enumerate([*SPECIALS.values(), *READ[family]])}
    match family:
        case "WordPiece":
            bare = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
        case "Unigram":
            bare = Tokenizer(models.Unigram([(token, -1.0) for token in ids], unk_id=1))
        case "BPE with an end of word":
            bare = Tokenizer(models.BPE(ids, [], unk_token="[UNK]", end_of_word_suffix="</w>"))
        case _:
            bare = Tokenizer(models.BPE(ids, [], unk_token="[UNK]", byte_fallback=family == "byte fallback"))
    byte_level = family == "byte-level BPE"
    bare.pre_tokenizer = pre_tokenizers.ByteLevel() if byte_level else pre_tokenizers.Metaspace()
    vocabulary = Vocabulary.from_tokenizer(_wrap(bare), origin=family)
    for token, expected in READ[family].items():
        id = ids[token]
        marks = "".join("+" if flag[id] else "." for flag in (vocabulary.is_word_start, vocabulary.is_word_end))
        if family == "WordPiece" and token == "play":
            marks = marks[0] + "+"  # that it ends a word only the next token can tell
        assert vocabulary.tokens[id] + marks == expected, token


def test_digits_and_letters_go_on_and_signs_and_cjk_characters_stand_apart() -> None:
    assert all(map(stands_apart, ".,-_'$+<=>^`|~€°©«»“”—…。、中㐀\U00020000豈😀▁\ufffd"))
    assert not any(map(stands_apart, "aZ09éßжא한かカ²½ٱ\u0301\u200d"))


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
    tokenizer_of("wordpiece").save_pretrained(tmp_path / "first")
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


def _write_vocab_txt(folder: Path, *tokens: str, config: str | None = None) -> Path:
    (folder / "vocab.txt").write_text("\n".join([*SPECIALS.values(), *tokens]) + "\n", encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(config)
    return folder / "vocab.txt"


@pytest.mark.parametrize("given", ["folder", "file"])
@pytest.mark.parametrize(
    ("tokens", "config", "setting", "lowercases"),
    [
        (("play", "##ing"), None, None, True),
        (("play", "##ing", "Play"), None, None, False),
        (("play", "##ing", "Play"), None, True, True),
        (("play", "##ing"), None, False, False),
        (("play", "##ing"), '{"do_lower_case": false}', None, False),
        (("play", "##ing", "Play"), '{"do_lower_case": true}', None, True),
        (("play", "##ing"), '{"do_lower_case": false}', True, True),
        (("play", "##ing"), "not JSON", None, True),
    ],
)
def test_a_vocab_txt_alone_is_read_and_its_case_is_what_the_setting_the_file_beside_it_or_its_entries_say(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    given: str,
    tokens: tuple[str, ...],
    config: str | None,
    setting: bool | None,
    lowercases: bool,
) -> None:
    file = _write_vocab_txt(tmp_path, *tokens, config=config)
    with caplog.at_level(logging.INFO):
        tokenizer = load_tokenizer(file if given == "file" else tmp_path, lowercase=setting)
    says_itself = setting is not None or (config or "").startswith("{")
    assert ("does not say whether it is lower-case" in caplog.text) is not says_itself
    (id,) = tokenizer("Play", add_special_tokens=False).input_ids
    assert id == (5 if lowercases else 7 if "Play" in tokens else 1)
    assert tokenizer("playing play", "play").input_ids == [2, 5, 6, 5, 3, 5, 3]
    assert tokenizer.model_max_length == 512
    tokenizer.save_pretrained(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved")("Play").input_ids == [2, id, 3]


def test_a_vocab_txt_that_is_not_of_bert_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("<s>\nplay\n")
    with pytest.raises(VocabularyError, match=r"got 2 lines without \[PAD\].*expected BERT's vocab.txt\.\n.*Correct"):
        load_tokenizer(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(VocabularyError, match=r"cannot be read \(.*\), expected UTF-8"):
        load_tokenizer(tmp_path)


def test_a_case_is_refused_where_the_tokenizer_says_it_itself(tmp_path: Path) -> None:
    _wrap(_wordpiece()).save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match=r"lowercase: got true, expected null.*\n.*Remove tokenizer.lowercase"):
        load_tokenizer(tmp_path, lowercase=True)


def test_the_folder_of_a_model_like_roberta_is_read_with_its_own_names(tmp_path: Path) -> None:
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [*names, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bare = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    mapped = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token", "mask_token"), names, strict=True))
    _wrap(bare, bos_token="<s>", eos_token="</s>", **mapped).save_pretrained(tmp_path)
    vocabulary = Vocabulary.from_folder(tmp_path)
    ids = vocabulary.cls_id, vocabulary.pad_id, vocabulary.sep_id, vocabulary.unk_id, vocabulary.mask_id
    assert ids == (0, 1, 2, 3, 4) == tuple(vocabulary.special_ids)
    assert len(vocabulary.ordinary_ids) == 256


@pytest.mark.parametrize("missing", SPECIALS)
def test_a_tokenizer_that_lacks_a_needed_token_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    tokens = {name: token for name, token in SPECIALS.items() if name != missing}
    _wrap(_wordpiece(), **tokens).save_pretrained(tmp_path)
    with pytest.raises(VocabularyError, match=rf"without {missing}, expected pad_token.*\n.*Add the missing tokens"):
        load_tokenizer(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"which is no folder, expected one saved.*or a vocab.txt\.\nCorrect"):
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
