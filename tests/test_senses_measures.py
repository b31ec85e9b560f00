"""The measures of the senses probe: cases with a known answer, brute force, and other people's code."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans

from probes.senses import clusters
from probes.senses.baselines import tf_idf
from probes.senses.design import Design
from probes.senses.measures import (
    ACCURACY,
    ARI,
    GAP,
    PAIR_ACCURACY,
    PAIR_AUC,
    SILHOUETTE,
    V_MEASURE,
    Z_SCORED,
    Figures,
    layers_picked_elsewhere,
    measure,
    rows_of,
    shots_measure,
    z_scored,
)
from probes.senses.neighbours import SHARED, nearest
from probes.senses.pairs import Pairs, auc, cosine_gap, threshold_accuracy
from probes.senses.shots import draw_shots, shot_outcomes, unit
from probes.usages import Usage


def usages_of(labels: Sequence[str], word: str = "w", sources: Sequence[str] | None = None) -> list[Usage]:
    return [
        Usage(word, f"{word} {i:03d}", sense, sources[i] if sources else None, (0, len(word)), i + 2)
        for i, sense in enumerate(labels)
    ]


def design_of(sizes: Sequence[int], words: Sequence[str] = ("w",), seed: int = 0) -> Design:
    labels = [name for name, size in zip("abcd", sizes, strict=False) for _ in range(size)]
    return Design.of([u for word in words for u in usages_of(labels, word)], seed, num_resamples=200)


def labels_of(design: Design) -> np.ndarray:
    return np.concatenate([word.labels for word in design.words])


def encode(labels: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """(1, N, 8) vectors around one direction for each sense."""
    return (np.eye(8)[labels] + noise * rng.normal(size=(len(labels), 8))).astype(np.float32)[None]


def figures_of(vectors: np.ndarray, design: Design) -> Figures:
    return measure(rows_of(vectors), len(vectors), design)


def without_itself(n: int) -> np.ndarray:
    return ~np.eye(n, dtype=bool)


SHARES = (ACCURACY, PAIR_AUC, PAIR_ACCURACY, ARI, V_MEASURE)


@pytest.mark.parametrize("sizes", [(12, 12), (15, 6, 9)])
def test_vectors_that_encode_the_sense_score_one_on_every_measure(sizes: tuple[int, ...]) -> None:
    design = design_of(sizes, ["u", "v"])
    found = figures_of(encode(labels_of(design), np.random.default_rng(0), 0), design)
    for space in ("", Z_SCORED):
        for name in (ACCURACY, PAIR_AUC, PAIR_ACCURACY, *map(shots_measure, (1, 3))):
            np.testing.assert_array_equal(found[name, space].value, 1, err_msg=f"{name} {space}")
        assert (found[GAP, space].value > 0.9).all() and (found[SILHOUETTE, space].value > 0.9).all()
    # A run of k-means may end with two starts in one of three senses; of two senses none does.
    for name in (ARI, V_MEASURE):
        assert (found[name, ""].value == 1).all() if len(sizes) == 2 else (found[name, ""].value > 0.85).all()


def test_shuffled_senses_score_chance_on_every_measure() -> None:
    design, rng = design_of((8, 12), ["u", "v"]), np.random.default_rng(1)
    centres = encode(labels_of(design), rng, 0.3)
    draws: dict[tuple[str, str], list[float]] = {}
    for _ in range(16):
        shuffled = np.concatenate([rng.permutation(word.rows) for word in design.words])
        for key, figure in figures_of(centres[:, shuffled], design).items():
            draws.setdefault(key, []).append(float(figure.value.mean()))
    expected = (8 * 7 + 12 * 11) / (20 * 19)
    chances = {ACCURACY: expected, PAIR_AUC: 0.5, PAIR_ACCURACY: 0.5, ARI: 0, GAP: 0, shots_measure(3): 0.5}
    for (name, space), values in draws.items():
        if name in chances:
            error = np.std(values) / np.sqrt(len(values))
            assert abs(np.mean(values) - chances[name]) < 5 * error, (name, space)


@pytest.mark.parametrize("sizes", [(5, 5), (9, 2), (4, 7, 3)])
def test_equal_vectors_score_exactly_the_expected_share(sizes: tuple[int, ...]) -> None:
    design = design_of(sizes, ["u", "v"])
    one = np.random.default_rng(0).normal(size=16).astype(np.float32)
    found = figures_of(np.tile(one, (1, 2 * sum(sizes), 1)), design)
    n = sum(sizes)
    expected = sum(size * (size - 1) for size in sizes) / (n * (n - 1))
    chances = {ACCURACY: expected, PAIR_AUC: 0.5, PAIR_ACCURACY: 0.5, ARI: 0, V_MEASURE: 0, GAP: 0, SILHOUETTE: 0}
    for space in ("", Z_SCORED):
        for name, chance in {**chances, shots_measure(1): 1 / len(sizes)}.items():
            np.testing.assert_allclose(found[name, space].value, chance, atol=1e-12, err_msg=f"{name} {space}")
            np.testing.assert_allclose(found[name, space].deviation, 0, atol=1e-7)


def test_nearest_neighbours_equal_a_case_by_hand() -> None:
    # Angles 0, 60, 90 and 60 degrees; senses a, a, b, b.
    angles = np.radians([0, 60, 90, 60])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = nearest(vectors @ vectors.T, np.array([0, 0, 1, 1]), without_itself(4))
    # 1: both at 60 are equally near; 2: the other at 60 (b); 3: both at 60; 4: the other at 60 (a).
    np.testing.assert_allclose(found.outcome, [0.5, 0, 0.5, 0])
    np.testing.assert_allclose(found.neighbours[0], [0, 0.5, 0, 0.5])


def test_the_influence_on_neighbours_is_what_leaving_a_sentence_out_changes() -> None:
    rng = np.random.default_rng(2)
    vectors, labels = np.round(rng.normal(size=(14, 2)), 1), np.repeat([0, 1], 7)
    vectors[3] = vectors[9] = vectors[5]
    cosines = unit(vectors) @ unit(vectors).T
    found = nearest(cosines, labels, without_itself(14))
    for j in range(14):
        rest = np.arange(14) != j
        left = nearest(cosines[np.ix_(rest, rest)], labels[rest], without_itself(13)).outcome.sum()
        effect = found.outcome.sum() - found.outcome[j] - left
        assert found.influence[j] == pytest.approx(found.outcome[j] + SHARED * effect)


def test_neighbours_of_the_same_source_are_never_used() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]][None]
    labels = ["a", "b", "a", "b"]
    together = Design.of(usages_of(labels), 0)
    ordered = vectors[:, [0, 2, 1, 3]]  # the design sorts by sense: lines 0, 2, 1, 3
    assert figures_of(ordered, together)[ACCURACY, ""].value == 0
    # Without its twin, each sentence is equally near to both others.
    apart = Design.of(usages_of(labels, sources=["x", "x", "y", "y"]), 0)
    assert figures_of(ordered, apart)[ACCURACY, ""].value == 0.5
    assert len(Pairs.of(np.eye(4), apart.words[0].labels, apart.words[0].comparable).same) == 4
    for shots in apart.words[0].shots.values():
        for drawn, tested in zip(shots.drawn, shots.tested, strict=True):
            sources = [apart.usages[row].source for row in drawn.ravel()]
            assert all(apart.usages[row].source not in sources for row in np.flatnonzero(tested))


def some_pairs(seed: int = 3) -> tuple[Pairs, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors, labels = unit(np.round(rng.normal(size=(11, 2)), 1)), np.array([0] * 5 + [1] * 6)
    cosines = vectors @ vectors.T
    return Pairs.of(cosines, labels, without_itself(11)), cosines, labels


def test_auc_and_gap_of_pairs_equal_those_of_scikit_learn_and_numpy() -> None:
    pairs, _, _ = some_pairs()
    assert auc(pairs)[0] == pytest.approx(metrics.roc_auc_score(pairs.same, pairs.cosines))
    gap = pairs.cosines[pairs.same].mean() - pairs.cosines[~pairs.same].mean()
    assert cosine_gap(pairs)[0] == pytest.approx(gap)


def test_the_influence_on_a_mean_over_pairs_is_what_leaving_a_sentence_out_changes() -> None:
    pairs, _, _ = some_pairs()
    value, influence = cosine_gap(pairs)
    for j in range(11):
        rest = (pairs.ends != j).all(axis=0)
        left = pairs.cosines[rest & pairs.same].mean() - pairs.cosines[rest & ~pairs.same].mean()
        assert influence[j] == pytest.approx(11 * (value - left))


def test_the_threshold_comes_from_the_other_words() -> None:
    labels = np.repeat([0, 1], 4)
    same = labels[:, None] == labels[None]

    def word(low: float, high: float) -> Pairs:
        return Pairs.of(np.where(same, high, low), labels, without_itself(8))

    # Each is told apart by thresholds of its own, 0.2 to 0.4 and 0.7 to 0.9; that of the other fails.
    assert [value for value, _ in threshold_accuracy([word(0.2, 0.4), word(0.7, 0.9)])] == [0.5, 0.5]
    assert [value for value, _ in threshold_accuracy([word(0.2, 0.8), word(0.3, 0.9)])] == [1, 1]


def test_k_means_ends_where_that_of_scikit_learn_does() -> None:
    rng = np.random.default_rng(4)
    vectors, present = rng.normal(size=(40, 5)), np.ones((6, 40), dtype=bool)
    present[3:, ::2] = False
    centres = clusters.starts(vectors, 3, present, rng=np.random.default_rng(9))
    found = clusters.k_means(vectors, 3, present, seed=9)
    for run in range(6):
        seen = vectors[present[run]]
        known = KMeans(3, init=centres[run], n_init=1, tol=0, algorithm="lloyd").fit(seen)
        np.testing.assert_array_equal(found[run][present[run]], known.labels_)


def test_indices_of_clusters_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    for num in (1, 2, 3):
        found, labels = rng.integers(num, size=30), rng.integers(3, size=30)
        table = metrics.cluster.contingency_matrix(found, labels).astype(float)
        assert clusters.adjusted_rand(table) == pytest.approx(metrics.adjusted_rand_score(labels, found))
        assert clusters.v_measure(table) == pytest.approx(metrics.v_measure_score(labels, found))


def test_silhouettes_equal_those_of_scikit_learn_and_influence_that_of_leaving_out() -> None:
    rng = np.random.default_rng(6)
    vectors, labels = unit(rng.normal(size=(13, 3))), np.array([0] * 5 + [1] * 5 + [2] * 3)
    cosines = vectors @ vectors.T

    def known(rows: np.ndarray) -> np.ndarray:
        return metrics.silhouette_samples(vectors[rows], labels[rows], metric="cosine")

    value, influence = clusters.silhouette(cosines, labels)
    full = known(np.arange(13))
    assert value == pytest.approx(full.mean(), abs=1e-5)
    for j in range(13):
        rest = np.flatnonzero(np.arange(13) != j)
        assert influence[j] == pytest.approx(full.sum() - known(rest).sum(), abs=1e-4)


def test_halves_part_every_sense() -> None:
    strata = np.repeat([0, 1, 2], [6, 9, 4])
    halves = clusters.draw_halves(strata, np.random.default_rng(0))
    assert len(halves) == 2 * clusters.NUM_SPLITS and (halves[::2] == ~halves[1::2]).all()
    for stratum, size in enumerate((6, 9, 4)):
        assert set(halves[:, strata == stratum].sum(axis=1)) <= {size // 2, -(-size // 2)}


@pytest.mark.parametrize("is_scored", [False, True])
def test_centroids_equal_a_loop(is_scored: bool) -> None:
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1], 8)
    vectors = unit(rng.normal(size=(1, 16, 6)) + labels[None, :, None])
    shots = draw_shots(labels, np.arange(16), np.full(16, ""), 3, rng)
    assert shots is not None
    found = shot_outcomes(vectors, labels, shots, z_scored=is_scored)[0]
    for t, drawn in enumerate(shots.drawn):
        training = vectors[0, drawn.ravel()]
        wide = (vectors[0] - training.mean(axis=0)) / training.std(axis=0) if is_scored else vectors[0]
        for i in range(16):
            if i in drawn:
                assert np.isnan(found[t, i])
                continue
            near = [wide[i] @ c / np.linalg.norm(c) for c in (wide[drawn[0]].mean(axis=0), wide[drawn[1]].mean(axis=0))]
            assert found[t, i] == (np.argmax(near) == labels[i])


def test_every_sentence_is_tested_and_a_sense_with_too_few_has_no_draws() -> None:
    labels = np.repeat([0, 1], [12, 20])
    sources, parts = np.arange(32), np.full(32, "")
    rng = np.random.default_rng(0)
    shots = draw_shots(labels, sources, parts, 10, rng)
    assert shots is not None and shots.tested.any(axis=0).all() and shots.drawn.shape == (10, 2, 10)
    assert all(len(set(sense)) == 10 for one in shots.drawn for sense in one)
    assert draw_shots(labels, sources, parts, 12, rng) is None


def test_with_parts_centroids_are_of_the_train_part_and_tested_on_the_test_part() -> None:
    labels = np.tile([0, 1], 20)
    parts = np.repeat(["train", "test"], [24, 16])
    shots = draw_shots(labels, np.arange(40), parts, 10, np.random.default_rng(0))
    assert shots is not None
    assert (parts[shots.drawn] == "train").all() and (shots.tested == (parts == "test")).all()
    assert draw_shots(labels, np.arange(40), parts, 13, np.random.default_rng(0)) is None


def test_z_scores_do_not_blow_up_what_does_not_vary() -> None:
    vectors = np.ones((2, 9, 3), dtype=np.float32) * np.float32(0.1)
    vectors[0, :, 1] += np.linspace(0, 1, 9, dtype=np.float32)
    vectors[0, ::2, 2] += np.float32(1e-8)
    found = z_scored(vectors)
    assert (found[1] == 0).all() and (found[0][:, [0, 2]] == 0).all()
    np.testing.assert_allclose([found[0, :, 1].mean(), found[0, :, 1].std()], [0, 1], atol=1e-6)


def test_every_word_is_scored_as_if_it_were_alone() -> None:
    rng = np.random.default_rng(8)
    both, alone = design_of((6, 8), ["u", "v"]), design_of((6, 8), ["v"])
    vectors = rng.normal(size=(2, 28, 5)).astype(np.float32)
    together, apart = figures_of(vectors, both), figures_of(vectors[:, 14:], alone)
    for key, figure in apart.items():
        np.testing.assert_allclose(together[key].value[:, [1]], figure.value, err_msg=str(key))
        np.testing.assert_allclose(together[key].deviation[:, [1]], figure.deviation, atol=1e-6)


def test_the_layer_of_a_word_is_picked_on_the_others() -> None:
    design = design_of((4, 4), ["u", "v", "w"])
    figure = figures_of(np.random.default_rng(0).normal(size=(2, 24, 4)).astype(np.float32), design)[ACCURACY, ""]
    # u alone is best in layer 0 and is given the layer of the others.
    figure.value[:] = [[1.0, 0.2, 0.2], [0.3, 0.7, 0.7]]
    assert layers_picked_elsewhere(figure) == [1, 0, 0]
    np.testing.assert_array_equal(figure.picked([1, 0, 0]).value, [[0.3, 0.2, 0.2]])


def test_tf_idf_leaves_the_word_itself_out() -> None:
    texts = ["bank of money", "money bank", "bank", "the river bank"]
    usages = [
        Usage("bank", text, sense, None, (text.index("bank"), text.index("bank") + 4), i)
        for i, (text, sense) in enumerate(zip(texts, "aabb", strict=True))
    ]
    design = Design.of(usages, 0)
    found = tf_idf(design.usages, design.words[0])[0]
    by_text = dict(zip(design.sentences, found, strict=True))
    assert found.shape == (4, 4) and (by_text["bank"] == 0).all()
    assert by_text["bank of money"] @ by_text["money bank"] > 0
    assert by_text["bank of money"] @ by_text["the river bank"] == 0
