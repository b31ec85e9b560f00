"""Minimal pairs: scores equal a brute-force loop, a tie counts one half, intervals hold what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from probes.command import conduct
from probes.masked_lm import MaskedLM
from probes.minimal_pairs import PROBE
from probes.minimal_pairs.accuracy import difference, mean_over_paradigms, outcomes_of, share
from probes.minimal_pairs.pairs import read_pairs
from probes.minimal_pairs.probe import _notes
from probes.minimal_pairs.scoring import masked_positions, score_sentences
from probes.networks import Network
from probes.probe_error import ProbeError
from probes.results import Results
from tests.masked_models import KINDS, save_masked_lm

SENTENCES = ["the bat is here", "so so the bank number n12 is here.", "bat", "the bat is here two"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_masked_lm(tmp_path_factory.mktemp("models") / "bert")


def brute_force(folder: Path, sentence: str, scoring: str) -> float:
    """One masked copy at a time, all logits, nothing of ours."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()
    encoded = tokenizer(sentence, return_tensors="pt")
    ids, words = encoded["input_ids"][0], encoded.word_ids(0)
    total = 0.0
    for at, word in enumerate(words):
        if word is None:
            continue
        copy = ids.clone()
        copy[at] = tokenizer.mask_token_id
        for later in range(at + 1, len(words)):
            if scoring == "word_l2r" and words[later] == word:
                copy[later] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(**{**encoded, "input_ids": copy[None]}).logits
        total += float(logits[0, at].log_softmax(-1)[ids[at]])
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scoring", ["word_l2r", "original"])
def test_scores_equal_a_brute_force_loop(tmp_path: Path, kind: str, scoring: str) -> None:
    folder = save_masked_lm(tmp_path / kind, kind)
    found = score_sentences(MaskedLM.from_folder(folder), SENTENCES, scoring=scoring, batch_size=7)
    expected = [brute_force(folder, sentence, scoring) for sentence in SENTENCES]
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=1e-5)
    assert found.num_tokens[2] == 3


def test_neither_order_nor_batches_change_a_score(bert: Path) -> None:
    lm = MaskedLM.from_folder(bert)
    scores = score_sentences(lm, SENTENCES).scores
    np.testing.assert_allclose(score_sentences(lm, SENTENCES[::-1]).scores[::-1], scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(score_sentences(lm, SENTENCES, batch_size=1).scores, scores, rtol=0, atol=1e-5)


def test_a_token_is_masked_with_exactly_the_later_pieces_of_its_word(bert: Path) -> None:
    lm = MaskedLM.from_folder(bert)
    sentence = "the bat is"
    (one,) = lm.encode([sentence])
    names = lm.network.tokenizer.convert_ids_to_tokens(one.inputs["input_ids"])
    assert names == ["[CLS]", "the", "b", "##a", "##t", "is", "[SEP]"]
    expected = [(1, [1]), (2, [2, 3, 4]), (3, [3, 4]), (4, [4]), (5, [5])]
    assert masked_positions(sentence, one, "word_l2r") == expected
    assert masked_positions(sentence, one, "original") == [(at, [at]) for at in range(1, 6)]


def bytes_without_a_splitter(splits: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE of single characters, with or without splitting into words beforehand."""
    vocab = {one: i for i, one in enumerate(["[PAD]", "[MASK]", "Ġ", *"abcdefghijklmnopqrstuvwxyz.'"])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splits)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", mask_token="[MASK]")


@pytest.mark.parametrize("splits", [True, False])
def test_no_word_reaches_across_a_space(bert: Path, splits: bool) -> None:
    model = MaskedLM.from_folder(bert).network.model
    sentence = "ab cd"
    (one,) = Network(model, bytes_without_a_splitter(splits), name="bytes", precision="float32").encode([sentence])
    assert len(one.offsets) == 5
    masked = dict(masked_positions(sentence, one, "word_l2r"))
    assert masked[0] == [0, 1] and masked[1] == [1]
    assert masked[3] == [3, 4] and masked[4] == [4]


def test_a_tie_counts_one_half() -> None:
    np.testing.assert_array_equal(outcomes_of(np.array([1.0, 2, 2]), np.array([2.0, 2, 1])), [0, 0.5, 1])
    assert share(np.array([0, 0.5, 1, 1])).value == 0.625


def test_the_interval_of_a_paradigm_is_wilsons() -> None:
    found = share(np.array([1.0] * 8 + [0.0] * 2))
    # Newcombe (1998), table I, method 3 for 81 of 263; here 8 of 10 from the same formula.
    assert share(np.array([1.0] * 81 + [0.0] * 182))[1:3] == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert found[:3] == pytest.approx((0.8, 0.4902, 0.9433), abs=5e-5)
    assert share(np.ones(5)).high == 1 and share(np.ones(5)).low < 0.6


@pytest.mark.parametrize("num_paradigms", [5, 10])
def test_the_interval_of_the_mean_holds_the_truth_at_its_rate(num_paradigms: int) -> None:
    """True accuracies of paradigms are drawn around 0.7 with a deviation of 0.15, 200 pairs each."""
    rng, held = np.random.default_rng(num_paradigms), 0
    for _ in range(150):
        truths = np.clip(rng.normal(0.7, 0.15, size=num_paradigms), 0, 1)
        outcomes = [(rng.random(200) < p).astype(float) for p in truths]
        found = mean_over_paradigms(outcomes, seed=1, draws_paradigms=True)
        held += found.low <= 0.7 <= found.high
    assert 0.9 <= held / 150 <= 0.99


def paradigms_of(*right: int) -> list[np.ndarray]:
    return [np.array([1.0] * k + [0.0] * (20 - k)) for k in right]


def test_pairs_alone_give_a_narrower_interval_than_paradigms() -> None:
    outcomes = paradigms_of(4, 10, 12, 16, 19)
    wide, narrow = (mean_over_paradigms(outcomes, seed=0, draws_paradigms=draws) for draws in (True, False))
    assert wide.value == narrow.value == pytest.approx(61 / 100)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_few_paradigms_have_an_interval_for_other_pairs_and_it_is_said() -> None:
    for few in (paradigms_of(4), paradigms_of(4, 10, 16, 19)):
        assert mean_over_paradigms(few, seed=0, draws_paradigms=True) == mean_over_paradigms(
            few, seed=0, draws_paradigms=False
        )
    assert any("Fewer than 5 paradigms" in note and "pairs only" in note for note in _notes("original", 4))
    assert any("for other paradigms of the kind" in note for note in _notes("original", 5))


def test_an_interval_of_paradigms_stays_within_shares_and_claims_no_certainty() -> None:
    wide = mean_over_paradigms(paradigms_of(20, 20, 20, 20, 0), seed=0, draws_paradigms=True)
    assert 0 <= wide.low < wide.high == 1
    alike = mean_over_paradigms(paradigms_of(20, 20, 20, 20, 20), seed=0, draws_paradigms=True)
    assert alike.low < 0.97 and alike.high == 1
    apart = mean_over_paradigms(
        paradigms_of(20, 20, 20, 20, 0), paradigms_of(0, 0, 0, 0, 20), seed=0, draws_paradigms=True
    )
    assert apart.value == pytest.approx(0.6) and -1 <= apart.low < apart.high == 1


def test_a_difference_is_paired() -> None:
    one, other = np.array([1.0] * 60 + [0.0] * 40), np.array([1.0] * 50 + [0.0] * 50)
    paired = difference(one, other)
    shuffled = difference(one, other[::-1])
    assert paired.value == shuffled.value == pytest.approx(0.1)
    assert paired.low > 0 > shuffled.low
    same = difference(one, one)
    assert same.value == 0 and same.low == -same.high < -0.01


def write_pairs(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def some_pairs(path: Path) -> Path:
    good = ["the bank is here", "so the bat is here", "the number is two", "the bank is one"]
    rows = [
        {"sentence_good": one, "sentence_bad": f"{one} here", "UID": f"p{i % 2}", "field": f"f{i % 2}", "pairID": "0"}
        for i, one in enumerate(good)
    ]
    return write_pairs(path, [*rows, {**rows[0], "sentence_bad": rows[0]["sentence_good"]}])


def run(tmp_path: Path, models: list[Path], *options: str) -> Results:
    pairs = some_pairs(tmp_path / "pairs.jsonl")
    words = [*map(str, models), "--pairs", str(pairs), "--out", str(tmp_path / "out"), "--precision", "float32"]
    return conduct("minimal_pairs", PROBE, [*words, *options]).results


def test_models_and_baselines_stand_side_by_side(tmp_path: Path, bert: Path) -> None:
    other = save_masked_lm(tmp_path / "other", "modernbert")
    found = run(tmp_path, [bert, other], "--random-weights")
    whole = {score.model: score for score in found.headlines}
    assert list(whole)[:2] == ["bert", "other"]
    # Every bad sentence is longer but one, which is its good one: 2.5 of 3 and 2 of 2.
    assert whole["fewer words"].value == whole["fewer tokens of bert"].value == pytest.approx((2.5 / 3 + 1) / 2)
    assert {whole[name].role for name in ("random weights of bert", "random weights of other")} == {"baseline"}
    gap = whole["bert - other"]
    assert gap.role == "difference"
    assert gap.value == pytest.approx(whole["bert"].value - whole["other"].value)
    expected = np.mean([_right(bert, p) for p in ([0, 2, 4], [1, 3])])
    assert whole["bert"].value == pytest.approx(expected)
    assert {(s.group, s.variant) for s in found.scores if s.model == "bert"} == {
        (None, ""), ("f0", "field"), ("f1", "field"), ("p0", "paradigm"), ("p1", "paradigm"),
    }  # fmt: skip
    assert all(score.low <= score.value <= score.high for score in found.scores)
    assert (tmp_path / "out" / found.pictures[0].file).is_file()
    assert (tmp_path / "out" / "minimal_pairs.sentences.csv").read_text().count("\n") == 6
    assert whole["chance"].value == 0.5 and found.data["same sentence twice"] == 1


def _right(folder: Path, numbers: list[int]) -> float:
    """Accuracy on these pairs of some_pairs by the brute-force loop; the last is the same sentence twice."""
    good = ["the bank is here", "so the bat is here", "the number is two", "the bank is one"]
    outcomes = []
    for number in numbers:
        if number == 4:
            outcomes.append(0.5)
            continue
        a, b = (brute_force(folder, one, "word_l2r") for one in (good[number], f"{good[number]} here"))
        outcomes.append(float(a > b))
    return float(np.mean(outcomes))


def test_most_takes_the_first_pairs_of_each_paradigm(tmp_path: Path) -> None:
    found = read_pairs(some_pairs(tmp_path / "pairs.jsonl"), most=1)
    assert [(name, [pair.good for pair in pairs]) for name, pairs in found.items()] == [
        ("p0", ["the bank is here"]),
        ("p1", ["so the bat is here"]),
    ]


def test_a_file_without_uid_is_one_paradigm_by_its_name(tmp_path: Path) -> None:
    write_pairs(tmp_path / "island.jsonl", [{"sentence_good": "a b", "sentence_bad": "b a"}])
    assert list(read_pairs(tmp_path)) == ["island"]


def test_files_of_pairs_that_are_none_are_refused_with_every_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"sentence_good": "a", "sentence_bad": ""}\nnonsense\n[1]\n', encoding="utf-8")
    with pytest.raises(ProbeError) as refusal:
        read_pairs(file)
    message = str(refusal.value)
    assert "has 3 problems" in message and "line 1: sentence_bad is ''" in message
    assert "line 2: no JSON" in message and "line 3: got list" in message
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ProbeError, match=r"holds no pairs, expected lines with sentence_good"):
        read_pairs(tmp_path / "empty.jsonl")
    with pytest.raises(ProbeError, match=r"no such file or folder, expected a file of JSON lines"):
        read_pairs(tmp_path / "nowhere")


def test_a_sentence_too_long_is_refused_by_its_line(tmp_path: Path, bert: Path) -> None:
    pairs = write_pairs(tmp_path / "long.jsonl", [{"sentence_good": "so " * 40, "sentence_bad": "the bank"}])
    with pytest.raises(ProbeError, match=r"sentence_good of long\.jsonl, line 1 .*more than the 24 tokens"):
        conduct("minimal_pairs", PROBE, [str(bert), "--pairs", str(pairs), "--out", str(tmp_path)])


def test_layers_are_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(ProbeError, match=r"--layers 9: minimal_pairs asks the head.*Leave the option out"):
        run(tmp_path, [bert], "--layers", "9")
