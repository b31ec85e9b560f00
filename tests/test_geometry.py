"""Geometry of words: figures by hand, laws of known clouds of vectors, the same words for every model."""

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from probes import PROBES, ProbeError
from probes.command import conduct
from probes.coverage import read_by
from probes.geometry import examining
from probes.geometry.material import Material
from probes.geometry.measures import contributions, measure, zscored
from probes.geometry.sentences import read_sentences
from probes.reading.spans import words_of
from probes.results import Results
from probes.unit_vectors import unit
from probes.usages import BUILT_IN
from probes.vectors.word_vectors import WordVectors
from tests.probe_models import save_model


def material(sentences: list[str], min_uses: int = 2) -> Material:
    return Material.of(sentences, [words_of(sentence) for sentence in sentences], min_uses=min_uses, seed=0)


def cloud(num_sentences: int, num_words: int = 8, num_types: int = 10) -> Material:
    """Sentences of that many words, each word one of `num_types` in turn."""
    words = [f"w{i % num_types}" for i in range(num_sentences * num_words)]
    return material([" ".join(words[i : i + num_words]) for i in range(0, len(words), num_words)])


def test_the_figures_of_four_vectors_are_those_computed_by_hand() -> None:
    """'a b' and 'A c' with a = (1, 0), b = (0, 1), A = (1, 1), c = (-1, 0)."""
    vectors = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], dtype=np.float32)
    found = measure(vectors, material(["a b", "A c"]))
    half = 1 / np.sqrt(2)
    expected = {
        # Pairs of different sentences: a A, a c, b A, b c.
        "anisotropy": (half - 1 + half + 0) / 4,
        "self_similarity": half,
        "self_similarity_adjusted": half - (2 * half - 1) / 4,
        # To (1/2, 1/2): both at 45 degrees. To (0, 1/2): 45 and 90 degrees.
        "intra_sentence": (half + half / 2) / 2,
        "intra_sentence_adjusted": (half + half / 2) / 2 - (2 * half - 1) / 4,
        # Squares of the singular values of (1, 0), (1, 1): (3 + 5 ** 0.5) / 2 and (3 - 5 ** 0.5) / 2.
        "explained_variance": (3 + np.sqrt(5)) / 6,
        # Of the second dimension, b A alone has something in it.
        "contribution_of_1": half / 4,
        "contribution_of_3": (2 * half - 1) / 4,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found.figures[name].value, value, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.by_word, [half - (2 * half - 1) / 4], atol=1e-9)


def test_identical_vectors_are_wholly_alike_and_nothing_is_left_after_adjusting() -> None:
    found = measure(np.tile(np.float32([3, -1, 2]), (40, 1)), cloud(5)).figures
    for name in ("anisotropy", "self_similarity", "intra_sentence", "explained_variance"):
        np.testing.assert_allclose(found[name].value, 1, atol=1e-9)
        if name != "anisotropy":
            np.testing.assert_allclose(found[f"{name}_adjusted"].value, 0, atol=1e-9)


def test_static_vectors_have_self_similarity_one_and_keep_it_after_adjusting() -> None:
    """Directions of their own for each word: adjusted is 1 minus the anisotropy."""
    of = cloud(50)
    table = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    texts = [sentence[a:b] for sentence, spans in zip(of.sentences, of.spans, strict=True) for a, b in spans]
    found = measure(table[[int(text[1:]) for text in texts]], of).figures
    np.testing.assert_allclose(found["self_similarity"].value, 1, atol=1e-6)
    np.testing.assert_allclose(found["self_similarity_adjusted"].value, 1 - found["anisotropy"].value, atol=1e-6)
    np.testing.assert_allclose(found["explained_variance"].value, 1, atol=1e-6)
    assert found["explained_variance_adjusted"].interval()[0] > 0.5


def test_isotropic_vectors_have_no_anisotropy_and_no_adjusted_self_similarity() -> None:
    of = cloud(120)
    found = measure(np.random.default_rng(1).normal(size=(960, 32)).astype(np.float32), of).figures
    for name in ("anisotropy", "self_similarity_adjusted", "intra_sentence_beyond_shuffled"):
        low, high = found[name].interval()
        assert low <= 0 <= high and high - low < 0.05, name
    assert abs(found["explained_variance_adjusted"].value) < 0.01
    assert not any(name.startswith("share") for name in found)
    # The mean of a sentence holds the word itself: against random pairs even these look alike.
    assert found["intra_sentence_adjusted"].interval()[0] > 0.2


def test_a_dominating_dimension_is_found_and_gone_after_zscoring() -> None:
    of, vectors = cloud(120), np.random.default_rng(2).normal(size=(960, 32)).astype(np.float32)
    vectors[:, 7] += 60
    raw, scaled = measure(vectors, of).figures, measure(zscored(vectors), of).figures
    assert raw["anisotropy"].value > 0.95 and raw["share_of_1"].value > 0.99
    assert scaled["contribution_of_1"].value < 0.01 and "share_of_1" not in scaled


def test_a_dimension_that_does_not_vary_is_nothing_after_zscoring() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    vectors[:, 1] = 0.1
    scaled = zscored(vectors)
    np.testing.assert_array_equal(scaled[:, 1], 0)
    np.testing.assert_allclose(scaled[:, [0, 2]].std(axis=0), 1, atol=1e-5)


def test_contributions_of_a_resample_are_those_of_a_loop_over_pairs() -> None:
    """Every two words of different sentences, as often as both sentences are drawn."""
    sizes, counts = np.array([2, 3, 1, 2]), np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    vectors = unit(np.random.default_rng(3).normal(size=(8, 5)).astype(np.float32))
    owners = np.repeat(range(4), sizes)
    for found, times in zip(contributions(vectors, sizes, counts), counts, strict=True):
        total, pairs = np.zeros(5), 0
        for i in range(8):
            for j in range(8):
                if owners[i] != owners[j]:
                    weight = times[owners[i]] * times[owners[j]]
                    total += weight * vectors[i] * vectors[j]
                    pairs += weight
        np.testing.assert_allclose(found, total / pairs, atol=1e-12)


def test_intervals_of_the_anisotropy_hold_the_truth_at_their_rate() -> None:
    """Words share the direction of their sentence; the mean cosine of two sentences is known from 4000 of them."""
    rng, num_draws, of = np.random.default_rng(4), 150, cloud(40, 5)

    def drawn(num_sentences: int) -> np.ndarray:
        sentences = 0.8 + rng.normal(size=(num_sentences, 1, 4))
        return (sentences + rng.normal(size=(num_sentences, 5, 4))).reshape(-1, 4).astype(np.float32)

    many = np.full(4000, 5)
    truth = contributions(unit(drawn(4000)), many, np.ones((1, 4000), dtype=np.int64)).sum()
    hits = 0
    for _ in range(num_draws):
        cosines = contributions(unit(drawn(40)), of.sizes, of.sentence_counts).sum(axis=1)
        low, high = np.quantile(cosines, [0.025, 0.975])
        hits += bool(low <= truth <= high)
    # 4 standard deviations of a binomial around 0.95, and 2 points for the percentile method at this n.
    assert abs(hits / num_draws - 0.95) < 4 * np.sqrt(0.95 * 0.05 / num_draws) + 0.02


def test_words_are_whole_and_alike_in_either_case() -> None:
    of = material(["The cat's low-key bank.", "bank the, BANK!"])
    assert [of.sentences[0][a:b] for a, b in of.spans[0]] == ["The", "cat's", "low-key", "bank"]
    assert of.words == ["bank", "the"] and [len(rows) for rows in of.uses] == [3, 2]
    assert of.num_words == 7


def test_a_word_is_compared_with_itself_in_other_sentences_only() -> None:
    of = material(["bank bank the", "the bank so", "so is so"])
    assert of.words == ["bank", "so", "the"]
    vectors = np.random.default_rng(5).normal(size=(9, 4)).astype(np.float32)
    cosines = unit(vectors) @ unit(vectors).T
    expected = [(cosines[0, 4] + cosines[1, 4]) / 2, (cosines[5, 6] + cosines[5, 8]) / 2, cosines[2, 3]]
    found = measure(vectors, of)
    np.testing.assert_allclose(found.by_word + found.figures["anisotropy"].value, expected, atol=1e-9)
    with pytest.raises(ProbeError, match="no word stands in 2 sentences; 'bank' stands in 1 of 2"):
        material(["bank bank bank bank bank", "the so"])


def test_of_many_uses_those_of_other_sentences_come_first() -> None:
    of = material(["bank " * 300, "the bank", "a bank"])
    assert len(of.uses[0]) == 100 and set(of.owners[of.uses[0]]) == {0, 1, 2}


def test_words_that_a_source_does_not_read_are_left_out() -> None:
    source = WordVectors(["bank", "the"], np.eye(2, dtype=np.float32), name="two words")
    sentence = "the bank is the"
    assert read_by(source, [sentence], [words_of(sentence)]) == [[(0, 3), (4, 8), (12, 15)]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text("".join(f"the bank so n{i} is here {'so ' * (i % 4)}two\n" for i in range(12)), encoding="utf-8")
    return path


def probe(*arguments: object) -> Results:
    return conduct("geometry", PROBES["geometry"], [str(one) for one in arguments]).results


def test_the_probe_gives_every_figure_for_every_layer_beside_random_weights(
    tmp_path: Path, model: Path, text: Path
) -> None:
    found = probe(model, "--sentences", text, "--out", tmp_path)
    assert json.loads((tmp_path / "geometry.json").read_text(encoding="utf-8"))["probe"] == "geometry"
    for name in ("tiny", "random weights"):
        for key in ("anisotropy", "self_similarity", "self_similarity_adjusted", "explained_variance_adjusted"):
            for variant in ("", "z-scored"):
                chosen = [s for s in found.scores if (s.model, s.measure, s.variant) == (name, key, variant)]
                assert [s.layer for s in chosen] == [0, 1, 2]
                assert all(s.low <= s.value <= s.high and s.n > 0 for s in chosen)
    assert {(s.model, s.layer) for s in found.headlines} == {("tiny", 2), ("random weights", 2)}
    by_key = {(s.model, s.measure, s.layer, s.variant): s.value for s in found.scores}
    difference = by_key["tiny - random weights", "anisotropy", 1, ""]
    expected = by_key["tiny", "anisotropy", 1, ""] - by_key["random weights", "anisotropy", 1, ""]
    np.testing.assert_allclose(difference, expected, atol=1e-12)
    assert all((tmp_path / picture.file).is_file() for picture in found.pictures) and len(found.pictures) == 5
    assert set(found.measures) >= {score.measure for score in found.scores}


def test_a_model_beside_itself_differs_by_nothing(tmp_path: Path, model: Path, text: Path) -> None:
    found = probe(model, model, "--sentences", text, "--out", tmp_path, "--no-pictures")
    differences = [s for s in found.scores if s.model == "tiny - tiny-2"]
    assert differences and all((s.low, s.value, s.high) == (0, 0, 0) for s in differences)
    assert not list(tmp_path.glob("*.png"))


def test_words_that_one_model_does_not_read_are_said_to_be_left_out_for_all(
    tmp_path: Path, model: Path, text: Path
) -> None:
    vectors = tmp_path / "glove.txt"
    vectors.write_text("3 2\nthe 1 0\nbank 0 1\nso 1 1\n", encoding="utf-8")
    alone = probe(model, "--sentences", text, "--out", tmp_path, "--no-pictures")
    beside = probe(model, vectors, "--sentences", text, "--out", tmp_path, "--no-pictures")
    assert not any("does not read" in note for note in alone.notes)
    said = next(note for note in beside.notes if "glove.txt does not read" in note)
    assert "tiny does not" not in said and "may be others when it stands alone" in said
    assert beside.data["words"] < alone.data["words"]


def test_the_order_of_lines_makes_no_difference(tmp_path: Path, model: Path, text: Path) -> None:
    turned, options = tmp_path / "turned.txt", ["--most", "9", "--out", tmp_path, "--no-pictures"]
    turned.write_text("".join(reversed(text.read_text().splitlines(keepends=True))))
    one, other = (probe(model, "--sentences", path, *options) for path in (text, turned))
    assert one.data["sentences"] == 9 and one.scores == other.scores and one.tables == other.tables


def test_tables_of_models_with_like_names_are_apart(tmp_path: Path, text: Path) -> None:
    models = []
    for name in ("a.b.txt", "a-b.txt"):
        models.append(tmp_path / name)
        models[-1].write_text("3 2\nthe 1 0\nbank 0 1\nso 1 1\n", encoding="utf-8")
    found = probe(*models, "--sentences", text, "--out", tmp_path / "out", "--no-pictures")
    names = [table.name for table in found.tables]
    assert len(set(names)) == 2 and all((tmp_path / "out" / f"geometry.{name}.csv").is_file() for name in names)


def test_layers_in_several_passes_are_those_of_one(
    tmp_path: Path, model: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = probe(model, "--sentences", text, "--out", tmp_path, "--no-pictures")
    monkeypatch.setattr(examining, "MOST_NUMBERS", 1)
    monkeypatch.setattr(examining, "SENTENCES_AT_ONCE", 5)
    parts = probe(model, "--sentences", text, "--out", tmp_path, "--no-pictures")
    for one, other in zip(once.scores, parts.scores, strict=True):
        assert (one.measure, one.model, one.layer, one.variant) == (
            other.measure, other.model, other.layer, other.variant,
        )  # fmt: skip
        np.testing.assert_allclose(one.value, other.value, atol=1e-5)


def test_word_vectors_are_taken_as_they_are(tmp_path: Path, text: Path) -> None:
    vectors = tmp_path / "glove.txt"
    vectors.write_text("4 3\nthe 1 0 0.5\nbank 0 1 0.5\nso 1 1 0\ntwo -1 0 2\n", encoding="utf-8")
    found = probe(vectors, "--sentences", text, "--out", tmp_path, "--no-pictures")
    assert {s.model for s in found.scores} == {"glove.txt"}
    assert found.data["words_not_read_by"] == {"glove.txt": 36}
    assert "66 of 102" in next(note for note in found.notes if "glove.txt does not read 36" in note)
    same = next(s for s in found.scores if (s.measure, s.variant) == ("self_similarity", ""))
    assert abs(same.value - 1) < 1e-6 and same.n == 4


def test_sentences_of_every_form_are_read(tmp_path: Path) -> None:
    lines = ["One is here.", "Two is here."]
    plain, rows, packed = tmp_path / "a.txt", tmp_path / "a.jsonl", tmp_path / "a.txt.gz"
    plain.write_text("\n".join([*lines, "", lines[0]]), encoding="utf-8")
    rows.write_text(json.dumps({"text": " ".join(lines)}) + "\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, rows, packed):
        assert read_sentences(path, most=10, seed=0) == lines
    assert len(read_sentences(BUILT_IN, most=1000, seed=0)) > 100


def test_of_many_sentences_some_are_drawn_by_the_seed(tmp_path: Path) -> None:
    plain, rows = tmp_path / "many.txt", tmp_path / "many.jsonl"
    texts = [f"Number {i} is here." for i in range(300)]
    plain.write_text("\n".join(texts), encoding="utf-8")
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    for path in (plain, rows):
        first, again, other = (read_sentences(path, most=20, seed=seed) for seed in (1, 1, 2))
        assert first == again != other and len(set(first)) == 20 and set(first) <= set(texts)


def test_every_sentence_is_drawn_as_often_as_any_other(tmp_path: Path) -> None:
    plain, rows = tmp_path / "many.txt", tmp_path / "many.jsonl"
    texts = [f"Number {i} is here." for i in range(20)]
    plain.write_text("\n".join([*texts, *[texts[0]] * 50]), encoding="utf-8")
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    for path in (plain, rows):
        times = Counter(text for seed in range(400) for text in read_sentences(path, most=5, seed=seed))
        # 100 times on average, with a deviation of 8.7.
        assert len(times) == 20 and min(times.values()) > 65 and max(times.values()) < 135


MISTAKES = {
    "no file": (["--sentences", "none.txt"], r"--sentences.*none\.txt"),
    "an empty file": (["--sentences", "empty.txt"], "empty"),
    "an empty table": (["--sentences", "empty.tsv"], "an empty file, expected one that is called sentence"),
    "no column": (["--sentences", "wrong.tsv"], "the columns word, text, expected one that is called sentence"),
    "words that occur once": (
        ["--sentences", "few.txt"],
        "no word stands in 5 sentences; 'the' stands in 2 of 2.*lower --min-uses",
    ),
    "one sentence": (["--sentences", "one.txt"], "got 1 sentence.*expected at least 2"),
    "no sentence wanted": (["--most", "0"], "--most: got 0, expected at least 1"),
    "words compared with nothing": (["--min-uses", "1"], "--min-uses: got 1, expected at least 2"),
    "no model": (["./no/such/folder"], "no/such/folder is not a folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(mistake: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "empty.txt": "", "empty.tsv": "", "wrong.tsv": "word\ttext\n", "few.txt": "the bank\nthe bat\n",
        "one.txt": "the bank\nbank\n",
    }.items():  # fmt: skip
        Path(name).write_text(content, encoding="utf-8")
    arguments, message = MISTAKES[mistake]
    with pytest.raises(ProbeError, match=f"(?s){message}"):
        probe(model, *arguments, "--out", tmp_path / "out")
