"""Neighbours equal a brute force over everything, each cosine has random pairs beside it, and nothing counts itself."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from probes import PROBES
from probes.command import conduct
from probes.embedders import Embedder
from probes.neighbors import corpus, search
from probes.neighbors.corpus import read_corpus, readable_words, words_of
from probes.neighbors.ranking import NUM_RANDOM_PAIRS, RandomPairs, cosines_to, farthest, nearest
from probes.probe_error import ProbeError
from probes.random_pairs import random_pairs
from probes.results import Results, Table, read_results
from probes.vocabulary import ROWS_AT_ONCE
from tests.probe_models import MOST_TOKENS, save_model

LINES = [
    "the bank is here",
    "so so two bank",
    "a bat is here",
    "one number two",
    "the bank is here",
    "",
    "so here is one",
]
ASKED = "the bank is so"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with a row of zeros for 'so', and rows behind the vocabulary that no token has."""
    folder = save_model(tmp_path_factory.mktemp("models") / "m")
    network = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        network.get_input_embeddings().weight[AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("so")] = 0
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_text("\n".join([*LINES, ASKED]) + "\n", encoding="utf-8")
    return path


def run(*arguments: object) -> Results:
    # In float32 whatever the processor has, so that single sentences give the same numbers as batches.
    words = [str(argument) for argument in (*arguments, "--precision", "float32")]
    done = conduct("neighbors", PROBES["neighbors"], words)
    assert read_results(done.path) == done.results
    for table in done.results.tables:
        with (done.path.parent / f"neighbors.{table.name}.csv").open(encoding="utf-8", newline="") as file:
            assert len(list(csv.reader(file))) == len(table.rows) + 1
    return done.results


def table_of(results: Results, *parts: str) -> Table:
    return next(table for table in results.tables if all(part in table.title for part in parts))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_cosines_of_many_rows_equal_a_loop_and_ties_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS_AT_ONCE + 5, 4)).astype(np.float32)
    rows[[3, ROWS_AT_ONCE + 2]], rows[7] = [2, 0, 0, 0], 0
    query = np.array([0.5, 0, 0, 0], dtype=np.float32)
    cosines = cosines_to(query, rows)
    for index in (0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 4):
        assert cosines[index] == pytest.approx(cosine(query.astype(float), rows[index].astype(float)), abs=1e-12)
    assert cosines[7] == 0 and nearest(cosines, 2) == [3, ROWS_AT_ONCE + 2]
    assert farthest(-cosines, 2) == [3, ROWS_AT_ONCE + 2]
    assert nearest(cosines, 10**6)[::-1] == sorted(range(len(rows)), key=lambda index: (cosines[index], -index))


def test_random_pairs_are_two_and_their_z_scores_by_hand() -> None:
    pairs = random_pairs(3, NUM_RANDOM_PAIRS, np.random.default_rng(0))
    assert (pairs[:, 0] != pairs[:, 1]).all() and set(pairs.ravel()) == {0, 1, 2}
    found = RandomPairs.of(np.array([0.1, 0.3]))
    assert found.mean == pytest.approx(0.2) and found.z(0.2 + 2 * found.sd) == pytest.approx(2)
    assert RandomPairs.of(np.full(5, 0.7)).z(0.9) is None


def test_nearest_and_farthest_tokens_equal_a_brute_force(model: Path, tmp_path: Path) -> None:
    found = run(model, "--word", "bank", "--top", "5", "--out", tmp_path)
    tokenizer, weights = AutoTokenizer.from_pretrained(model), Embedder.from_folder(model).input_embeddings()
    bank = tokenizer.convert_tokens_to_ids("bank")
    others = [
        (name, cosine(weights[bank], weights[row]))
        for name, row in tokenizer.get_vocab().items()
        if name not in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "so", "bank")
    ]
    for table, sign in zip(found.tables, (-1, 1), strict=True):
        expected = sorted(others, key=lambda one: sign * one[1])[:5]
        assert [row[:2] for row in table.rows] == [[rank, name] for rank, (name, _) in enumerate(expected, 1)]
        np.testing.assert_allclose([row[2] for row in table.rows], [value for _, value in expected], atol=1e-6)
    assert f"{len(others):,} of 120 rows" in " ".join(found.notes) and "'bank' itself (bank)" in " ".join(found.notes)


def test_z_is_the_distance_from_random_pairs(model: Path, tmp_path: Path) -> None:
    found = run(model, "--word", "bank", "--out", tmp_path)
    means = {score.measure: score for score in found.headlines}
    assert means["random_cosine"].low < means["random_cosine"].value < means["random_cosine"].high
    for table in found.tables:
        (c1, z1), (c2, z2) = (row[2:] for row in (table.rows[0], table.rows[-1]))
        sd = (c1 - c2) / (z1 - z2)
        assert c1 - z1 * sd == pytest.approx(means["random_cosine"].value)
    z = [row[3] for row in found.tables[0].rows]
    assert means["nearest_z"].value == pytest.approx(np.mean(z)) and z == sorted(z, reverse=True)


def test_a_word_of_several_pieces_is_their_mean(model: Path, tmp_path: Path) -> None:
    found = run(model, "--word", "bat", "--out", tmp_path, "--top", "3")
    weights, tokenizer = Embedder.from_folder(model).input_embeddings(), AutoTokenizer.from_pretrained(model)
    mean = weights[tokenizer.convert_tokens_to_ids(["b", "##a", "##t"])].mean(axis=0)
    name, value = found.tables[0].rows[0][1:3]
    assert value == pytest.approx(cosine(mean, weights[tokenizer.convert_tokens_to_ids(name)]), abs=1e-6)
    assert any("'bat' is in 3 pieces (b, ##a, ##t)" in note for note in found.notes)
    assert not {"b", "##a", "##t"} & {row[1] for row in found.tables[0].rows}


@pytest.mark.parametrize("sentences_at_once", [2, 512])
def test_words_in_sentences_equal_a_brute_force(
    model: Path, text: Path, tmp_path: Path, sentences_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SENTENCES_AT_ONCE", sentences_at_once)
    found = run(model, "--word", "bank", "--sentence", ASKED, "--among", text, "--layers", "1,2", "--out", tmp_path)
    embedder = Embedder.from_folder(model)
    for k, layer in enumerate((1, 2)):
        query = embedder.embed([ASKED], [(4, 8)], layers=[1, 2])[k, 0]
        every = []
        for sentence in dict.fromkeys(line for line in LINES if line):
            for begin, end in words_of(sentence):
                vector = embedder.embed([sentence], [(begin, end)], layers=[layer])[0, 0]
                every.append((f"{sentence[:begin]}[{sentence[begin:end]}]{sentence[end:]}", cosine(query, vector)))
        every.sort(key=lambda one: -one[1])
        table = table_of(found, "Nearest words", f"layer {layer}")
        assert [row[1] for row in table.rows] == [name for name, _ in every[:10]]
        np.testing.assert_allclose([row[2] for row in table.rows], [value for _, value in every[:10]], atol=1e-5)
        far = table_of(found, "Farthest words", f"layer {layer}")
        assert far.rows[0][1] == every[-1][0] and f"Of {len(every)} candidates" in far.caption
    assert any("stands in the corpus as well and is left out" in note for note in found.notes)


def test_sentences_equal_a_brute_force_and_tokens_meet_layer_0(model: Path, text: Path, tmp_path: Path) -> None:
    found = run(model, "--word", "bank", "--sentence", ASKED, "--among", text, "--out", tmp_path)
    embedder, different = Embedder.from_folder(model), list(dict.fromkeys(line for line in LINES if line))
    pooled, query = embedder.embed_texts(different, layers=[2])[0][0], embedder.embed_texts([ASKED], layers=[2])[0][0]
    expected = sorted(different, key=lambda sentence: -cosine(query[0], pooled[different.index(sentence)]))
    assert [row[1] for row in table_of(found, "Nearest sentences", "layer 2").rows] == expected
    in_place = embedder.embed([ASKED], [(4, 8)], layers=[0])[0, 0]
    name, value = table_of(found, "Nearest tokens", "layer 0, in its sentence").rows[0][1:3]
    row = embedder.tokenizer.convert_tokens_to_ids(name)
    assert value == pytest.approx(cosine(in_place, embedder.input_embeddings()[row]), abs=1e-5)


def test_a_model_beside_its_double_finds_the_same(model: Path, text: Path, tmp_path: Path) -> None:
    found = run(model, model, "--word", "bank", "--sentence", ASKED, "--among", text, "--out", tmp_path)
    half = len(found.tables) // 2
    assert {table.model for table in found.tables[half:]} == {"m-2"}
    assert [table.rows for table in found.tables[:half]] == [table.rows for table in found.tables[half:]]


def test_an_embedding_of_another_size_than_layer_0_is_left_out_and_said(tmp_path: Path) -> None:
    electra = save_model(tmp_path / "e", "electra")
    found = run(electra, "--word", "bank", "--sentence", ASKED, "--of", "tokens", "--out", tmp_path / "out")
    assert [table.title for table in found.tables] == [
        f"{w} tokens: e, input embeddings" for w in ("Nearest", "Farthest")
    ]
    assert any("layer 0 has 16 dimensions and its table of input embeddings 8" in note for note in found.notes)


def test_word_vectors_are_searched_by_word(tmp_path: Path) -> None:
    rows = {"bank": "1 0", "money": "0.9 0.1", "river": "0 1", "nothing": "0 0", "anti": "-1 0"}
    path = tmp_path / "v.txt"
    path.write_text("".join([f"{len(rows)} 2\n", *(f"{word} {row}\n" for word, row in rows.items())]))
    found = run(path, "--word", "Bank", "--out", tmp_path / "out")
    assert [row[1] for row in found.tables[0].rows] == ["money", "river", "anti"]
    assert [row[1] for row in found.tables[1].rows] == ["anti", "river", "money"]


def test_words_beyond_what_a_model_reads_are_no_candidates(model: Path) -> None:
    long = "bank " + "so " * 30 + "here"
    found = readable_words(Embedder.from_folder(model), [long, "bat"])
    assert len(found[0]) == MOST_TOKENS - 2 and found[1] == [(0, 3)]


def test_a_corpus_is_cut_to_the_most_words_and_says_so(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "MOST_WORDS", 9)
    found = read_corpus(text, "not there")
    assert found.sentences == LINES[:2] and "the first 2 are searched" in found.notes[0]
    monkeypatch.undo()
    assert len(read_corpus(None, "not there").sentences) > 200


MISTAKES = {
    "options without a sentence": (
        ["--word", "bank", "--of", "words", "--among", "x"],
        r"got --among, --of words without --sentence, expected the sentence.*Add --sentence",
    ),
    "no such word": (["--word", "bank", "--sentence", "a bat"], r"'bank' does not stand in 'a bat' as a whole word"),
    "a start elsewhere": (["--word", "bank", "--sentence", "a bank", "--start", "0"], r"at start 0 stands 'a ba'"),
    "unknown": (["--word", "\u4e2d"], r"no token and no pieces for '\u4e2d', expected a word that it can write"),
    "no file": (["--word", "bank", "--sentence", "a bank", "--among", "no.txt"], r"no\.txt: there is no such file"),
    "a layer of tokens": (["--word", "bank", "--layers", "9"], r"--layers 9: tokens are searched in the table.*Leave"),
    "a NUL": (["--word", "ba\0nk"], r"--word: got a NUL, expected a word\. Name one"),
    "a layer": (["--word", "bank", "--sentence", "a bank", "--layers", "9"], r"got layers 9, expected numbers from 0"),
    "empty": (["--word", " "], r"--word: got an empty text, expected a word\. Name one"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused(model: Path, tmp_path: Path, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[mistake]
    with pytest.raises(ProbeError, match=expected):
        run(model, *arguments, "--out", tmp_path)


def test_a_corpus_of_one_sentence_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(f"{ASKED}\nthe bank\n")
    with pytest.raises(ProbeError, match=r"got 1 sentences beside the one that is asked about, expected at least 2"):
        run(model, "--word", "bank", "--sentence", ASKED, "--among", tmp_path / "t.txt", "--out", tmp_path)


def test_the_last_layer_is_searched_and_every_layer_when_all_are_asked_for(
    model: Path, text: Path, tmp_path: Path
) -> None:
    arguments = ["--word", "bank", "--sentence", ASKED, "--among", text, "--of", "words", "--out", tmp_path]
    found = [run(model, *arguments, *layers) for layers in ([], ["--layers", "all"])]
    assert [sorted({score.layer for score in one.scores}) for one in found] == [[2], [0, 1, 2]]
