"""Filling masks: what transformers' own pipeline says, for several masks and models, and words that are expected."""

from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

from probes.command import conduct
from probes.fill import PROBE, Blank, fill
from probes.masked_lm import MaskedLM
from probes.probe_error import ProbeError
from probes.results import Results
from tests.masked_models import KINDS, save_masked_lm


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_masked_lm(tmp_path_factory.mktemp("models") / "bert")


def run(tmp_path: Path, models: list[Path], *options: str) -> Results:
    words = [*map(str, models), "--out", str(tmp_path / "out"), "--precision", "float32", *options]
    return conduct("fill", PROBE, words).results


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sentence", ["the [MASK] is here", "so [MASK] the bank [MASK] is n1"])
def test_tokens_and_probabilities_are_those_of_the_pipeline(tmp_path: Path, kind: str, sentence: str) -> None:
    folder = save_masked_lm(tmp_path / kind, kind)
    lm = MaskedLM.from_folder(folder)
    masks = range(1, sentence.count("[MASK]") + 1)
    found = fill(lm, [Blank(sentence, number, ()) for number in masks], name=kind, top=5).top
    theirs = pipeline("fill-mask", model=str(folder), top_k=5)(sentence.replace("[MASK]", lm.mask_token))
    expected = theirs if len(masks) > 1 else [theirs]
    for ours, their in zip(found, expected, strict=True):
        assert [token for token, _ in ours] == [one["token_str"] for one in their]
        np.testing.assert_allclose([p for _, p in ours], [one["score"] for one in their], rtol=0, atol=1e-5)


def test_an_expected_word_has_its_probability_and_rank(tmp_path: Path, bert: Path) -> None:
    found = run(tmp_path, [bert], "--sentence", "the [MASK] is here", "--expect", "BANK", "--top", "67")
    (expected,) = [score for score in found.scores if score.measure == "rank"]
    top = found.tables[0].rows
    rank, token, probability = next(row for row in top if row[1] == "bank")
    assert (expected.value, token) == (rank, "bank")
    (chance,) = [score for score in found.headlines if score.measure == "probability"]
    assert chance.value == pytest.approx(probability, abs=1e-6)
    assert found.tables[-1].rows == [["the [MASK] is here", "BANK", probability, rank]]


def test_a_word_of_several_pieces_is_left_out_and_said(tmp_path: Path, bert: Path) -> None:
    found = run(tmp_path, [bert], "--sentence", "the [MASK] is here", "--expect", "bat", "--expect", "bank")
    assert found.tables[-1].rows[0] == ["the [MASK] is here", "bat", None, None]
    assert any("left out of its means: bat." in note for note in found.notes)
    assert [score.n for score in found.headlines if score.measure == "probability"] == [1]


def test_models_stand_side_by_side_with_a_paired_difference(tmp_path: Path, bert: Path) -> None:
    other = save_masked_lm(tmp_path / "other", "roberta")
    lines = tmp_path / "lines.txt"
    lines.write_text("the [MASK] is here\tbank\nso [MASK] is the number\tone\n\n[MASK] so\n", encoding="utf-8")
    found = run(tmp_path, [bert, other], "--file", str(lines))
    means = {score.model: score for score in found.headlines if score.measure == "probability"}
    gap = means["bert - other"]
    assert gap.role == "difference" and gap.n == 2
    assert gap.value == pytest.approx(means["bert"].value - means["other"].value)
    assert found.tables[0].columns[1::2] == ["bert: token", "other: token"]
    assert found.data["n"] == 3
    assert all(score.low <= score.value <= score.high for score in found.scores)


def test_entropy_is_that_of_the_distribution(tmp_path: Path, bert: Path) -> None:
    found = run(tmp_path, [bert], "--sentence", "the [MASK] is here", "--top", "120")
    shares = np.array([row[2] for row in found.tables[0].rows], float)
    (entropy,) = [score for score in found.headlines if score.measure == "entropy"]
    assert entropy.value == pytest.approx(-(shares * np.log2(np.maximum(shares, 1e-12))).sum(), abs=1e-3)


def test_sentences_that_ask_nothing_are_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(ProbeError, match=r"sentence 2 \('the bank'\) has no \[MASK\], expected one or more\. Write"):
        run(tmp_path, [bert], "--sentence", "[MASK] so", "--sentence", "the bank")
    with pytest.raises(ProbeError, match=r"got no sentence, expected one with"):
        run(tmp_path, [bert])
    with pytest.raises(ProbeError, match=r"nowhere: there is no such file.*Expected a sentence a line"):
        run(tmp_path, [bert], "--file", str(tmp_path / "nowhere"))
    with pytest.raises(ProbeError, match=r"has more than the 24 tokens"):
        run(tmp_path, [bert], "--sentence", "[MASK] " * 40)


def test_one_mask_has_no_interval_and_decides_nothing_between_models(tmp_path: Path, bert: Path) -> None:
    other = save_masked_lm(tmp_path / "other", seed=4)
    asked = ["--sentence", "the [MASK] is here", "--expect", "bank"]
    found = run(tmp_path, [bert, other], *asked)
    assert {score.n for score in found.scores} == {1}
    assert all(score.role != "difference" and score.low == score.value == score.high for score in found.scores)
    assert found.answer[0].startswith("bert gives 'bank' a probability of 0.")
    assert found.answer[0].endswith("one word at one mask has no interval.") and "[0." not in found.answer[0]
    two = run(tmp_path, [bert, other], *asked, "--expect", "one")
    assert [score.n for score in two.scores if score.role == "difference"] == [2]


def test_an_empty_word_and_layers_are_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(ProbeError, match=r"--expect: got an empty word, expected one.*Name it"):
        run(tmp_path, [bert], "--sentence", "[MASK] so", "--expect", " ")
    for layers in ("9", "1", "0,1"):
        with pytest.raises(ProbeError, match=rf"--layers {layers}: fill asks the head.*Leave the option out"):
            run(tmp_path, [bert], "--sentence", "[MASK] so", "--layers", layers)
    assert run(tmp_path, [bert], "--sentence", "[MASK] so", "--layers", "all").headlines
