"""Learning word vectors: hand-computed counts, the same vectors for the same seed, and files that are read again."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from probes.probe_error import ProbeError
from probes.reading.labelled_texts import read_labelled_texts
from probes.static.cooccurrences import count_cooccurrences, learn_svd, ppmi
from probes.static.corpus_text import read_corpus
from probes.static.labels import LabelledWords, learn_from_labels, words_of
from probes.static.training import Training, learn
from probes.vectors.word_vectors import WordVectors


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two topics whose words never meet."""
    rng = np.random.default_rng(0)
    topics = [["banker", "banks", "banking", "money", "loans"], ["river", "rivers", "water", "boat", "fishing"]]
    lines = [" ".join(rng.choice(topics[i % 2], size=8)) for i in range(300)]
    return _write(tmp_path_factory.mktemp("corpus") / "t.txt", "\n".join(lines))


def _training(corpus: str | None, methods: tuple[str, ...] | None, **other: object) -> Training:
    settings = {"labelled": None, "text_field": "text", "label_field": "label", "dimension": 6, "window": 3}
    settings |= {"min_count": 1, "epochs": 4, **other}
    return Training(corpus=[corpus] if corpus else None, methods=methods, **settings)  # type: ignore[arg-type]


def test_words_are_folded_sorted_by_frequency_and_rare_ones_left_out(tmp_path: Path) -> None:
    text = read_corpus([_write(tmp_path / "t.txt", "The cat, the dog.\nDon\u2019t! The dog\n\nx y dog")], min_count=2)
    assert text.words == ["dog", "the"] and text.counts.tolist() == [3, 3]
    assert list(text) == [["the", "the", "dog"], ["the", "dog"], ["dog"]]
    assert read_corpus([str(tmp_path / "t.txt")], min_count=1).words[2:] == ["cat", "don't", "x", "y"]


def test_rows_of_json_are_read_by_their_field(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.jsonl", '{"body": "a b a"}\n{"body": "b"}\n')
    assert list(read_corpus([path], text_field="body", min_count=1)) == [["a", "b", "a"], ["b"]]


def test_cooccurrences_equal_a_loop_over_all_pairs(corpus: str) -> None:
    text = read_corpus([corpus], min_count=1)
    expected = np.zeros((len(text.words), len(text.words)))
    row = {word: i for i, word in enumerate(text.words)}
    for line in text:
        for i, word in enumerate(line):
            for j, other in enumerate(line):
                if 0 < abs(i - j) <= 3:
                    expected[row[word], row[other]] += (3 - abs(i - j) + 1) / 3
    np.testing.assert_allclose(count_cooccurrences(text, window=3).toarray(), expected)


def test_ppmi_of_a_corpus_counted_by_hand(tmp_path: Path) -> None:
    """a b | a b | a c, a window of 1: a meets b twice and c once."""
    text = read_corpus([_write(tmp_path / "t.txt", "a b\na b\na c")], min_count=1)
    counts = count_cooccurrences(text, window=1)
    np.testing.assert_array_equal(counts.toarray(), [[0, 2, 1], [2, 0, 0], [1, 0, 0]])
    powers = 3**0.75, 2**0.75, 1.0
    share = [power / sum(powers) for power in powers]
    found = ppmi(counts).toarray()
    assert found[0, 1] == pytest.approx(math.log((2 / 6) / ((3 / 6) * share[1])))
    assert found[1, 0] == pytest.approx(math.log((2 / 6) / ((2 / 6) * share[0])))
    assert found[2, 0] == pytest.approx(math.log((1 / 6) / ((1 / 6) * share[0])))
    assert found[0, 0] == 0 and found[1, 2] == 0 and (found >= 0).all()


def test_svd_halves_the_singular_values(corpus: str) -> None:
    text = read_corpus([corpus], min_count=1)
    left, sizes, _ = np.linalg.svd(ppmi(count_cooccurrences(text, window=2)).toarray())
    vectors = learn_svd(text, window=2, dimension=4, seed=0)
    np.testing.assert_allclose(np.abs(vectors), np.abs(left[:, :4]) * sizes[:4] ** 0.5, atol=1e-5)


METHODS = ("svd", "cbow", "skipgram", "fasttext")


@pytest.fixture(scope="module")
def learnt(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[WordVectors, Path]]:
    training = _training(corpus, METHODS, epochs=20)
    out = tmp_path_factory.mktemp("out")
    return {trained.method: (vectors, trained.path) for vectors, trained in learn(training, out, seed=3)}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_vectors(method: str, corpus: str, learnt: dict, tmp_path: Path) -> None:
    ((again, _),) = learn(_training(corpus, (method,), epochs=20), tmp_path, seed=3)
    np.testing.assert_array_equal(again.table, learnt[method][0].table)
    assert again.words == learnt[method][0].words
    if method != "svd":
        ((other, _),) = learn(_training(corpus, (method,), epochs=20), tmp_path, seed=4)
        assert not np.array_equal(other.table, again.table)


@pytest.mark.parametrize("method", METHODS)
def test_a_file_of_learnt_vectors_is_read_again_as_it_was(method: str, learnt: dict) -> None:
    vectors, path = learnt[method]
    read = WordVectors.read(path)
    assert read.words == vectors.words
    np.testing.assert_allclose(read.table, vectors.table, rtol=0, atol=1e-6)


def _cosine(vectors: WordVectors, one: str, other: str) -> float:
    a, b = vectors.find(one), vectors.find(other)
    assert a is not None and b is not None
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("method", METHODS)
def test_words_that_stand_together_come_out_alike(method: str, learnt: dict) -> None:
    vectors = learnt[method][0]
    assert _cosine(vectors, "money", "loans") > _cosine(vectors, "money", "water")


def test_fasttext_sets_an_unknown_word_beside_its_kin(learnt: dict) -> None:
    vectors = WordVectors.read(learnt["fasttext"][1])
    assert vectors.row("Bankk") is None
    assert _cosine(vectors, "Bankk", "banks") > _cosine(vectors, "Bankk", "river")
    assert WordVectors.read(learnt["skipgram"][1]).find("Bankk") is None


def _labelled(path: Path, *, text: str = "text", label: str = "label") -> LabelledWords:
    return words_of(read_labelled_texts(path, label_field=label, text_fields=[text]), min_count=5)


def test_labels_draw_the_words_of_a_label_together(tmp_path: Path) -> None:
    rows = [{"t": f"{a} the", "l": "pets"} for a in ("cat", "dog")] + [
        {"t": f"the {b}", "l": 7} for b in ("tax", "debt")
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows * 20))
    texts = _labelled(path, text="t", label="l")
    assert texts.words == ["the", "cat", "debt", "dog", "tax"] and texts.labels == ["7", "pets"]
    found = learn_from_labels(texts, dimension=4, epochs=20, seed=0)
    np.testing.assert_array_equal(found.table, learn_from_labels(texts, dimension=4, epochs=20, seed=0).table)
    vectors = WordVectors(texts.words, found.table, name="t")
    assert found.accuracy == 1
    assert _cosine(vectors, "cat", "dog") > 0.9 and _cosine(vectors, "cat", "debt") < -0.9


BAD_LABELLED = {
    "t.csv": ("text,label\nhello,\n", r"t\.csv:2: the class is empty"),
    "v.csv": ("text,label\na,x\nb,x\n", "all its 2 texts have the label 'x'.*--label-field"),
    "x.csv": ("text,label\na,x\nb,y\n", "0 words stand 5 times"),
}


@pytest.mark.parametrize("name", BAD_LABELLED)
def test_labelled_texts_that_cannot_be_used_are_refused(name: str, tmp_path: Path) -> None:
    content, message = BAD_LABELLED[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(ProbeError, match=message):
        _labelled(tmp_path / name)


def test_text_that_cannot_be_learnt_from_is_refused(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(ProbeError, match=r"--corpus: got 'no/such\.txt'"):
        read_corpus(["no/such.txt"])
    with pytest.raises(ProbeError, match="different ones stand 5 times or more"):
        read_corpus([_write(tmp_path / "t.txt", "a b c")])
    with pytest.raises(ProbeError, match=r"--corpus: .*line|--corpus: .*jsonl"):
        read_corpus([_write(tmp_path / "t.jsonl", '{"text": "a"\n')])
    with pytest.raises(ProbeError, match="expected more words than dimensions"):
        list(learn(_training(corpus, ("svd",), dimension=10), tmp_path, seed=0))


def test_methods_and_text_must_fit_each_other(corpus: str) -> None:
    assert _training(corpus, None).chosen() == METHODS
    assert _training(corpus, None, labelled=Path("x.csv")).chosen() == (*METHODS, "labels")
    with pytest.raises(ProbeError, match="got labels, expected --labelled FILE"):
        _training(corpus, ("labels",)).chosen()
    with pytest.raises(ProbeError, match=r"--methods: got 'word2vec', expected some of svd,cbow"):
        _training(corpus, ("word2vec",)).chosen()
    with pytest.raises(ProbeError, match="--labelled: got text that none of --methods svd"):
        _training(corpus, ("svd",), labelled=Path("x.csv")).chosen()
