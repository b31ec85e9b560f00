"""Laws of trained vocabularies, over every family: the same in every run, of the size asked for, and usable."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from tests.families import ROOT, SPECIALS, TRAINED, real_text, tokenizer_of, wild_text
from tokenization.training import TOKENIZERS, ByteLevelBpe, Unigram, WordPiece, train_tokenizer
from tokenization.vocabulary import SPECIAL_TOKENS, VocabularyError, load_tokenizer


def _many_ties(num_words: int, *, seed: int = 0) -> list[str]:
    """Random words in which most pairs of letters are about equally common, so that training meets many ties."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyzéßж", k=draw.randint(1, 9))) for _ in range(num_words)]
    return [" ".join(words[i : i + 50]) + ".\n" for i in range(0, num_words, 50)]


def _train(name: str, texts: list[str], **settings: Any) -> PreTrainedTokenizerFast:
    return train_tokenizer(TOKENIZERS[name](**settings), lambda: texts)


over_families = pytest.mark.parametrize("name", TOKENIZERS)


# The same every time -------------------------------------------------------------------------------------------------

TRAIN_IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
from tokenization.training import TOKENIZERS, train_tokenizer
texts = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
for name, make in TOKENIZERS.items():
    train_tokenizer(make(vocab_size=1000), lambda: texts).save_pretrained(Path(sys.argv[2]) / name)
"""


def test_fresh_processes_train_byte_identical_tokenizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(_many_ties(20_000)), encoding="utf-8")
    for run in ("1", "2", "3"):
        monkeypatch.setenv("PYTHONHASHSEED", run)
        monkeypatch.setenv("RAYON_NUM_THREADS", run)
        command = [sys.executable, "-c", TRAIN_IN_A_FRESH_PROCESS, str(text), str(tmp_path / run)]
        subprocess.run(command, cwd=ROOT, check=True)
    for name in TOKENIZERS:
        first, *others = (
            {path.name: path.read_bytes() for path in (tmp_path / run / name).iterdir()} for run in ("1", "2", "3")
        )
        assert first.keys() >= {"tokenizer.json", "tokenizer_config.json"}
        assert others == [first, first], name


@over_families
def test_the_order_of_the_texts_does_not_matter(name: str) -> None:
    texts = _many_ties(5000)
    forth, back = (_train(name, order, vocab_size=400) for order in (texts, texts[::-1]))
    assert forth.backend_tokenizer.to_str() == back.backend_tokenizer.to_str()


@over_families
def test_training_prints_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    _train(name, _many_ties(2000), vocab_size=400)
    assert capfd.readouterr() == ("", "")


# Sizes ---------------------------------------------------------------------------------------------------------------


@over_families
@pytest.mark.parametrize("vocab_size", [300, 450])
def test_the_size_is_met_exactly_and_ids_have_no_gap(name: str, vocab_size: int) -> None:
    ids = _train(name, _many_ties(5000), vocab_size=vocab_size).get_vocab()
    assert sorted(ids.values()) == list(range(vocab_size))


@over_families
def test_the_special_tokens_are_the_first_five_ids(name: str) -> None:
    tokenizer = _train(name, _many_ties(2000), vocab_size=300)
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert sorted(tokenizer.all_special_ids) == list(range(5))
    assert {name: getattr(tokenizer, name) for name in SPECIALS} == SPECIALS


@over_families
def test_a_size_out_of_reach_is_refused_and_the_size_it_names_can_be_reached(name: str) -> None:
    texts = ["the cat sat on the mat, the cat sat"] * 3
    with pytest.raises(VocabularyError, match=r"got 30000, expected at most \d+.*\n.*Set it to \d+ or less") as caught:
        _train(name, texts, vocab_size=30_000)
    reachable = int(re.findall(r"at most (\d+)", str(caught.value))[0])
    assert len(_train(name, texts, vocab_size=reachable)) == reachable
    with pytest.raises(VocabularyError):
        _train(name, texts, vocab_size=reachable + 1)


@over_families
def test_a_size_below_the_alphabet_is_refused_and_the_size_it_names_is_enough(name: str) -> None:
    texts = _many_ties(2000)
    with pytest.raises(VocabularyError, match=r"got 20, expected at least \d+.*\n.*Set it to \d+ or more") as caught:
        _train(name, texts, vocab_size=20)
    smallest = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    assert len(_train(name, texts, vocab_size=smallest)) == smallest
    with pytest.raises(VocabularyError):
        _train(name, texts, vocab_size=smallest - 1)


# Text and ids --------------------------------------------------------------------------------------------------------


@over_families
def test_every_word_of_seen_characters_is_known(name: str) -> None:
    tokenizer = _train(name, _many_ties(2000), vocab_size=300)
    assert tokenizer.unk_token_id not in tokenizer("".join(_many_ties(2000, seed=1))).input_ids


@over_families
@pytest.mark.parametrize("texts", [[], ["", " \0\n\u3000"]], ids=["no text", "nothing visible"])
def test_text_without_a_word_is_refused(name: str, texts: list[str]) -> None:
    with pytest.raises(VocabularyError, match=r"tokenizer.*: got .*expected"):
        _train(name, texts, vocab_size=300)


def test_to_bytes_nothing_is_unknown() -> None:
    tokenizer = _train("bpe", _many_ties(2000), vocab_size=300)
    assert tokenizer.decode(tokenizer("中 \U0010ffff 😀").input_ids, skip_special_tokens=True) == "中 \U0010ffff 😀"


@pytest.mark.parametrize("name", ["wordpiece", "unigram"])
def test_characters_beyond_the_limit_are_unknown_and_the_commonest_are_kept(name: str) -> None:
    texts = ["aaa bbb ccc ddd " * 50, "x y z"]
    tokenizer = _train(name, texts, vocab_size={"wordpiece": 15, "unigram": 10}[name], limit_alphabet=4)
    assert [tokenizer.unk_token_id in tokenizer(text).input_ids for text in ("abcd", *"xyz")] == [False] + [True] * 3


@over_families
@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "same"),
    [
        (True, None, {"éa", "Éa", "ea", "Ea"}),
        (True, False, {"éa", "Éa"}),
        (False, None, {"éa"}),
        (False, True, {"éa", "ea"}),
    ],
)
def test_case_and_accents_are_what_the_settings_say(
    tmp_path: Path, name: str, lowercase: bool, strip_accents: bool | None, same: set[str]
) -> None:
    texts = ["Éa éA ea EA Ea éa " * 20, *_many_ties(1000)]
    tokenizer = _train(name, texts, vocab_size=300, lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["do_lower_case"] is lowercase
    loaded = load_tokenizer(tmp_path)
    assert {word for word in ("éa", "Éa", "ea", "Ea") if loaded(word).input_ids == loaded("éa").input_ids} == same


def test_punctuation_and_chinese_characters_get_no_continuation() -> None:
    ids = _train("wordpiece", ["good, 中文 good. " * 10], vocab_size=16).get_vocab()
    assert {",", ".", "中", "文", "##o"} <= ids.keys()
    assert not {"##,", "##.", "##中", "##文"} & ids.keys()


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_white_space_of_any_kind_and_the_start_mark_a_word_and_nothing_else(name: str) -> None:
    tokenizer = _train(name, list(real_text()), vocab_size=500)
    once, often = tokenizer("the cat the").input_ids, tokenizer("\n the\u3000\u00a0 cat\t\nthe  ").input_ids
    assert once == often and once[1] == once[-2]


@over_families
@pytest.mark.parametrize("with_model", [False, True], ids=["alone", "beside a BERT config"])
def test_a_saved_tokenizer_loads_in_transformers_and_puts_special_tokens(
    tmp_path: Path, name: str, with_model: bool
) -> None:
    tokenizer = tokenizer_of(name)
    tokenizer.save_pretrained(tmp_path)
    if with_model:
        BertConfig(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.model_max_length == 512
    encoded = loaded("abc", "de")
    first, second = (tokenizer(text, add_special_tokens=False).input_ids for text in ("abc", "de"))
    assert encoded.input_ids == [2, *first, 3, *second, 3]
    assert encoded.token_type_ids == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert loaded("abc").input_ids == [2, *first, 3]
    assert loaded.decode(first) == "abc"
    assert [loaded(line).input_ids for line in real_text()] == [tokenizer(line).input_ids for line in real_text()]


@over_families
def test_a_maximal_length_that_is_set_is_saved(tmp_path: Path, name: str) -> None:
    tokenizer_of(name).save_pretrained(tmp_path / "first")
    tokenizer = load_tokenizer(tmp_path / "first")
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again").model_max_length == 128


# Sentencepiece -------------------------------------------------------------------------------------------------------


def _as_sentencepiece_reads(tokenizer: Tokenizer, text: str) -> str:
    words = pre_tokenizers.WhitespaceSplit().pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    return " ".join(word for word, _ in words)


@pytest.fixture(scope="module", params=["unigram", "unigram, lower-case"])
def both(request: pytest.FixtureRequest) -> Callable[[str], tuple[list[int], list[int], Callable[[list[int]], float]]]:
    """The ids of the converted tokenizer and of sentencepiece for a text, and the log likelihood of ids."""
    settings = TRAINED[request.param]()
    assert isinstance(settings, Unigram)
    model = settings.train_sentencepiece([*real_text(), *real_text()])
    tokenizer = Tokenizer.from_str(tokenizer_of(request.param).backend_tokenizer.to_str())
    tokenizer.encode_special_tokens = True
    return lambda text: (
        tokenizer.encode(text, add_special_tokens=False).ids,
        model.encode(_as_sentencepiece_reads(tokenizer, text)),
        lambda ids: sum(model.get_score(id) for id in ids),
    )


def test_the_converted_tokenizer_gives_the_pieces_of_sentencepiece_on_real_text(both: Any) -> None:
    num_different = 0
    for line in real_text():
        ours, theirs, score = both(line)
        num_different += ours != theirs
        assert ours == theirs or (sorted(ours) == sorted(theirs) and score(ours) == pytest.approx(score(theirs)))
    assert num_different <= len(real_text()) / 100


@given(wild_text())
def test_the_converted_tokenizer_gives_the_pieces_of_sentencepiece_or_as_likely_ones(both: Any, text: str) -> None:
    ours, theirs, score = both(text)
    assert ours == theirs or score(ours) == pytest.approx(score(theirs))


@pytest.mark.parametrize(
    "awkward",
    ["abc\0def", "abc\N{LOWER FIVE EIGHTHS BLOCK}def", "abc\tdef", "abc▁def", "abc" * 5000 + "def", "abcdef " * 20_000],
    ids=["NUL", "reserved", "tab", "mark", "long run", "long line"],
)
def test_no_line_is_dropped_from_training(awkward: str) -> None:
    tokenizer = _train("unigram", ["xyz " * 100, awkward], vocab_size=15)
    assert tokenizer.unk_token_id not in tokenizer("abcdefxyz").input_ids


def test_memory_is_bounded_by_taking_the_commonest_chunks_and_smaller_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenization.families import unigram

    fed: list[str] = []
    train = unigram.sentencepiece.SentencePieceTrainer.train

    def record(sentence_iterator: Any, **settings: Any) -> None:
        fed.extend(sentence_iterator)
        train(sentence_iterator=iter(fed), **settings)

    monkeypatch.setattr(unigram.sentencepiece.SentencePieceTrainer, "train", staticmethod(record))
    monkeypatch.setattr(unigram, "_MOST_CHARACTERS", 3000)
    monkeypatch.setattr(unigram, "_MOST_OCCURRENCES", 2000)
    _train("unigram", ["common words " * 2000, *_many_ties(5000)], vocab_size=100)
    weights = {chunk: int(weight) for chunk, weight in (line.split("\t") for line in fed)}
    assert {"common", "words"} <= weights.keys()
    assert sum(len(chunk) + 1 for chunk in weights) <= 3000
    assert sum(weights.values()) <= 2000 + len(weights) and min(weights.values()) == 1


# Settings ------------------------------------------------------------------------------------------------------------


@over_families
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
        {"vocab_size": 8192, "sample_megabytes": 0},
        {},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(name: str, wrong: dict[str, Any]) -> None:
    assert TOKENIZERS[name].model_validate({"name": name, "vocab_size": 8192}).name == name
    with pytest.raises(ValidationError):
        TOKENIZERS[name].model_validate(wrong)


def test_only_the_family_that_is_uncased_in_its_paper_lower_cases_unless_told() -> None:
    made = [make(vocab_size=8192) for make in (WordPiece, ByteLevelBpe, Unigram)]
    assert [settings.lowercase for settings in made] == [True, False, False]
