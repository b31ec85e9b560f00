"""The senses probe: its measures against cases with a known answer, its baselines, words and pictures."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from probes import sense_words, senses
from probes.figures import project_pca, project_tsne, shorten_around
from probes.probe import ProbeError, Score
from probes.senses import Design, score, score_word
from probes.usages import Usage, read_usages
from tests.probe_models import save_model, table, write_table


def usages_of(labels: Sequence[str], sources: Sequence[str] | None = None) -> list[Usage]:
    return [
        Usage("w", f"w {i}", sense, sources[i] if sources else None, (0, 1), i + 2) for i, sense in enumerate(labels)
    ]


def by_sense(labels: Sequence[str], rng: np.random.Generator, noise: float = 0.1) -> np.ndarray:
    centres = dict(zip(sorted(set(labels)), np.eye(8), strict=False))
    return (np.array([[centres[x] for x in labels]]) + noise * rng.normal(size=(1, len(labels), 8))).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_vectors_that_encode_the_sense_score_one_and_chance_when_shuffled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = ["a"] * 15 + ["b"] * 25 + ["c"] * 20
    vectors = by_sense(labels, rng)
    perfect = score_word(vectors, usages_of(labels))
    assert (perfect["accuracy"] == 1).all()
    assert perfect["same_minus_different"].mean() > 0.8
    # Over 200 shuffles the mean lies at the expected share of the same sense among the others.
    shuffled = np.array(
        [score_word(vectors, usages_of(rng.permutation(labels)))["accuracy"].mean() for _ in range(200)]
    )
    expected = sum(n * (n - 1) for n in (15, 25, 20)) / (60 * 59)
    assert abs(shuffled.mean() - expected) < 5 * shuffled.std() / np.sqrt(200)


def test_a_perfect_model_scores_one_and_a_shuffled_one_covers_chance_in_the_table() -> None:
    rng = np.random.default_rng(7)
    labels = ["a"] * 30 + ["b"] * 30
    held = []
    for trial in range(20):
        usages = usages_of(labels if trial == 0 else list(rng.permutation(labels)))
        design = Design.of(usages, seed=0)
        found = {"accuracy": score_word(by_sense(labels, rng), usages)["accuracy"]}
        first = senses.tabulate({senses.MODEL: found}, [4], design)[0]
        if trial == 0:
            assert (first.value, first.high, first.n, first.layer) == (1, 1, 60, 4) and 0.9 < first.low < 1
        else:
            held.append(first.low <= 29 / 59 <= first.high)
    # Neighbours are shared, so that coverage is 0.8 to 0.9; fewer than 11 of 19 at 0.8 has probability 0.02.
    assert sum(held) >= 11


@pytest.mark.parametrize("sizes", [(5, 5), (9, 2), (4, 7, 3)])
def test_equal_vectors_score_exactly_the_expected_share(sizes: tuple[int, ...]) -> None:
    labels = [name for name, size in zip("abc", sizes, strict=False) for _ in range(size)]
    vectors = np.tile(np.random.default_rng(0).normal(size=16).astype(np.float32), (1, len(labels), 1))
    found = score_word(vectors, usages_of(labels))
    expected = [(labels.count(sense) - 1) / (len(labels) - 1) for sense in labels]
    np.testing.assert_array_equal(found["accuracy"][0], expected)
    np.testing.assert_allclose(found["same_minus_different"], 0, atol=1e-12)


def test_measures_equal_a_case_by_hand() -> None:
    # Angles 0, 60 and 90 degrees: the first two have sense a, the third b; and one more b at 60.
    angles = np.radians([0, 60, 90, 60])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)[None].astype(np.float32) * [[[3], [1], [2], [5]]]
    found = score_word(vectors.astype(np.float32), usages_of(["a", "a", "b", "b"]))
    # 1: both at 60 are equally near; 2: the other at 60 (b); 3: both at 60; 4: the other at 60 (a).
    np.testing.assert_allclose(found["accuracy"][0], [0.5, 0, 0.5, 0])
    c = np.cos(np.radians(30))
    by_hand = [0.5 - 0.25, 0.5 - (c + 1) / 2, c - c / 2, c - (0.5 + 1) / 2]
    np.testing.assert_allclose(found["same_minus_different"][0], by_hand, atol=1e-6)


def test_neighbours_of_the_same_source_are_excluded() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]][None]
    labels = ["a", "b", "a", "b"]
    assert score_word(vectors, usages_of(labels))["accuracy"].sum() == 0
    # Without its twin, each sentence is equally near to both others.
    assert score_word(vectors, usages_of(labels, ["x", "x", "y", "y"]))["accuracy"].tolist() == [[0.5] * 4]


def test_every_word_counts_the_same_in_the_mean_over_words(tmp_path: Path) -> None:
    rows = table(2, ["bank"]) + table(6, ["bat"])
    design = Design.of(read_usages(write_table(tmp_path / "t.tsv", rows)), seed=0)
    outcomes = np.array([[1.0] * 4 + [0.0] * 12])
    pooled, bank, bat = senses.tabulate({"static vector": {"accuracy": outcomes}}, [0], design)
    assert (pooled.value, bank.value, bat.value) == pytest.approx((0.5, 1, 0))
    assert (pooled.n, bank.n, bat.n) == (16, 4, 12)


def test_a_word_is_scored_as_if_it_were_alone(tmp_path: Path) -> None:
    usages = read_usages(write_table(tmp_path / "t.tsv", table(5)))
    vectors = np.random.default_rng(0).normal(size=(2, 20, 8)).astype(np.float32)
    together = score(vectors, Design.of(usages, seed=0))
    for measure, alone in score_word(vectors[:, 10:], usages[10:]).items():
        np.testing.assert_array_equal(together[measure][:, 10:], alone)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """What a call on two models wrote."""
    home = tmp_path_factory.mktemp("senses")
    models = [save_model(home / "small"), save_model(home / "other" / "small", "modernbert")]
    rows = table(3)
    rows[0] = ("bank", "a $ bank of <b>$5</b> and 漢", "bank-one")
    path = senses.run(models, out=home / "out", sentences=write_table(home / "t.tsv", rows), seed=1)
    return json.loads(path.read_text(encoding="utf-8")), path


def scores_of(model: dict) -> list[Score]:
    return [Score(**one) for one in model["scores"]]


def test_the_static_vector_scores_exactly_the_expected_share_in_the_results(results: tuple[dict, Path]) -> None:
    for model in results[0]["models"]:
        static = [s for s in scores_of(model) if s.vectors == "static vector"]
        assert {s.measure for s in static} == {"accuracy", "same_minus_different"}
        for one in static:
            expected = 2 / 5 if one.measure == "accuracy" else 0
            assert (one.value, one.low, one.high) == pytest.approx((expected,) * 3, abs=1e-9)


def test_every_figure_has_n_and_an_interval_around_it(results: tuple[dict, Path]) -> None:
    for model in results[0]["models"]:
        found = scores_of(model)
        assert {s.vectors for s in found} == {
            *("model", "random weights", "model - random weights", "model - random weights, each at its best layer"),
            *("static vector", "majority sense", "chance"),
        }
        assert {s.word for s in found} == {None, "bank", "bat"}
        assert {s.layer for s in found if s.vectors == "model"} == set(range(model["num_layers"] + 1))
        assert all(s.low <= s.value <= s.high and s.n == (12 if s.word is None else 6) for s in found)


def test_results_say_how_they_were_made(results: tuple[dict, Path]) -> None:
    content, path = results
    assert content["command"].startswith("python -m probes senses ") and f"--out {path.parent}" in content["command"]
    assert content["settings"]["seed"] == 1 and {"torch", "transformers", "python"} <= set(content["versions"])
    assert content["sentences"]["words"]["bank"] == {"bank-one": 3, "bank-two": 3}


def test_every_picture_is_a_png_and_no_model_overwrites_another(results: tuple[dict, Path]) -> None:
    content, path = results
    assert [model["name"] for model in content["models"]] == ["small", "small-2"]
    files = [picture["file"] for model in content["models"] for picture in model["pictures"]]
    assert len(set(files)) == len(files) == 2 * (2 + 2 * 2)
    assert all((path.parent / file).read_bytes().startswith(b"\x89PNG") for file in files)


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    model, sentences = save_model(tmp_path / "m"), write_table(tmp_path / "t.tsv", table(3, ["bank"]))
    first, again = (
        json.loads(senses.run([model], out=tmp_path / out, sentences=sentences, layers=[2]).read_text())["models"]
        for out in ("a", "b")
    )
    assert first == again and first[0]["layers"] == [2]


def finding(difference: tuple[float, float, float]) -> str:
    def one(vectors: str, layer: int | None, value: float, low: float, high: float, measure: str = "accuracy") -> Score:
        return Score(measure, vectors, None, layer, value, low, high, 284)

    found = [
        one("model", 3, 0.71, 0.64, 0.78),
        one("random weights", 2, 0.69, 0.6, 0.75),
        one("random weights", 3, 0.6, 0.5, 0.7),
        one("model - random weights", 3, *difference),
        one("model - random weights, each at its best layer", None, *difference),
        one("majority sense", None, 0.52, 0.52, 0.52),
        one("static vector", None, 0.51, 0.51, 0.51),
        one("model", 3, 0.02, 0.01, 0.03, "same_minus_different"),
        one("random weights", 3, 0, -0.01, 0.01, "same_minus_different"),
    ]
    return " ".join(
        sense_words.findings(found, words=["bank"], best_layer=3, best_layer_of_random_weights=2, last_layer=3)
    )


def test_the_words_claim_a_difference_only_where_the_interval_excludes_zero() -> None:
    unsure = finding((0.02, -0.04, 0.08))
    assert "Layer 3 is best: 71 % [64, 78] of the 284 sentences" in unsure
    assert "2 points [-4, 8]: not distinguishable" in unsure and "than random weights" not in unsure
    assert "majority sense 52 %" in unsure and "is optimistic" in unsure
    assert "8 points [2, 14]: more than random weights" in finding((0.08, 0.02, 0.14))
    assert "-8 points [-14, -2]: less than random weights" in finding((-0.08, -0.14, -0.02))


@pytest.mark.parametrize("num_points", [2, 4, 7, 40])
def test_projections_take_few_points(num_points: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(num_points, 5))
    for points in (project_tsne(vectors, seed=0), project_pca(vectors)):
        assert points.shape == (num_points, 2) and np.isfinite(points).all()


def test_projections_of_equal_vectors_are_one_point() -> None:
    for points in (project_tsne(np.ones((6, 5)), seed=0), project_pca(np.ones((6, 5)))):
        assert (points == 0).all()


def test_pca_keeps_distances_of_a_plane() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(12, 2))
    wide = plane @ np.linalg.qr(rng.normal(size=(7, 2)))[0].T + 3
    points = project_pca(wide)
    between = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.testing.assert_allclose(between, np.linalg.norm(plane[:, None] - plane[None], axis=2), atol=1e-9)


@pytest.mark.parametrize("most", [12, 20, 30, 60])
def test_shortened_sentences_keep_the_word(most: int) -> None:
    text = "From the opposite bank someone shouted that the bridge was closed"
    for word in ("From", "bank", "closed"):
        begin = text.index(word)
        shown = shorten_around(text, (begin, begin + len(word)), most)
        assert word in shown and len(shown) <= most and shown.strip("…") in text
    assert shorten_around("short", (0, 5), 12) == "short"


def test_a_layer_that_one_model_lacks_is_refused(tmp_path: Path) -> None:
    sentences = write_table(tmp_path / "t.tsv", table(2))
    with pytest.raises(ProbeError, match="got layers 9, expected numbers from 0"):
        senses.run([save_model(tmp_path / "m")], out=tmp_path / "out", sentences=sentences, layers=[9])
