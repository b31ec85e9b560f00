"""The intervals and p-values of the senses probe: they hold at their rate on simulated vectors."""

from dataclasses import replace

import numpy as np
import pytest

from probes.senses.baselines import CHANCE, MAJORITY, guesses
from probes.senses.design import Design
from probes.senses.measures import ACCURACY, PAIR_AUC, Figure, Figures, measure, rows_of, shots_measure
from probes.senses.neighbours import nearest
from probes.senses.permutations import Shuffled, drawn_interval, holm, shuffle_test, shuffled_labels
from probes.senses.scoring import THESE_WORDS, differences, p_scores, scores_of
from probes.senses.shots import unit
from probes.usages import Usage
from tests.test_senses_measures import design_of, encode, figures_of, labels_of, usages_of


def accuracy_of(vectors: np.ndarray, design: Design) -> Figures:
    """The nearest-neighbour accuracy alone, as measure gives it."""
    values, moved = [], []
    for word in design.words:
        wide = unit(vectors[word.rows])
        found = nearest(wide @ wide.T, word.labels, word.comparable)
        values.append(found.outcome.mean())
        moved.append(word.moved(found.influence))
    n, sources = (np.array([of(word) for word in design.words]) for of in (lambda w: w.n, lambda w: w.num_sources()))
    return {(ACCURACY, ""): Figure(np.array([values]), np.array([moved]), n, True, True, sources)}


def rate(lows: list[float], highs: list[float], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in zip(lows, highs, strict=True)]))


@pytest.mark.parametrize(("distance", "width"), [(0.0, 16), (1.5, 16), (3.0, 16), (4.0, 200)])
def test_intervals_of_nearest_neighbours_hold_the_truth_at_their_rate(distance: float, width: int) -> None:
    """Plain outcomes, as if independent, hold it 83 to 88 times in 100."""
    rng, design, num = np.random.default_rng(0), design_of((24, 24)), 250
    labels = labels_of(design)
    scores = []
    for _ in range(num):
        vectors = rng.normal(size=(48, width))
        vectors[np.arange(48), labels] += distance
        scores.append(scores_of(accuracy_of(vectors, design), design, model="m", layers=[0])[1])
    truth = float(np.mean([s.value for s in scores]))
    held = rate([s.low for s in scores], [s.high for s in scores], truth)
    # 4 standard deviations of a binomial below 0.95; above, 2.5 points for intervals that are somewhat wide.
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / num) < held
    spread = np.std([s.value for s in scores])
    assert np.mean([s.high - s.low for s in scores]) < 1.5 * 2 * 1.96 * spread


def test_a_paired_difference_holds_the_truth_at_its_rate() -> None:
    rng, design, num = np.random.default_rng(1), design_of((24, 24)), 250
    labels = labels_of(design)
    scores = []
    for _ in range(num):
        common = rng.normal(size=(48, 16))
        common[np.arange(48), labels] += 2.0
        other = common + rng.normal(size=(48, 16))
        found = differences(accuracy_of(common, design), accuracy_of(other, design))
        scores.append(scores_of(found, design, model="a - b", layers=[None], role="difference")[1])
    truth = float(np.mean([s.value for s in scores]))
    assert rate([s.low for s in scores], [s.high for s in scores], truth) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / num)


def test_intervals_over_words_hold_the_mean_of_all_words_at_their_rate_and_those_of_these_words_do_not() -> None:
    num = 120
    rng, design = np.random.default_rng(2), design_of((12, 12), [f"w{i}" for i in range(6)])
    labels = labels_of(design)
    over, these = [], []
    for _ in range(num):
        vectors = rng.normal(size=(len(labels), 16))
        for word in design.words:
            # Words differ in how far their senses are apart.
            vectors[word.rows, word.labels] += rng.choice([0.5, 4.0])
        scores = scores_of(accuracy_of(vectors, design), design, model="m", layers=[0], by_word=False)
        by_variant = {s.variant: s for s in scores}
        over.append(by_variant[""])
        these.append(by_variant[THESE_WORDS])
    truth = float(np.mean([s.value for s in over]))
    assert rate([s.low for s in over], [s.high for s in over], truth) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / num)
    assert rate([s.low for s in these], [s.high for s in these], truth) < 0.9


def test_fewer_words_than_tell_of_others_have_no_interval_over_words() -> None:
    design = design_of((6, 6), ["u", "v"])
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    scores = scores_of(accuracy_of(vectors, design), design, model="m", layers=[0], by_word=False)
    assert [s.variant for s in scores] == [THESE_WORDS]


def test_a_difference_is_the_difference_of_the_scores() -> None:
    design, rng = design_of((8, 9), [f"w{i}" for i in range(5)]), np.random.default_rng(3)
    one, other = (figures_of(encode(labels_of(design), rng, noise), design) for noise in (0.3, 1.0))
    values = [
        {(s.measure, s.variant, s.group): s.value for s in scores_of(found, design, model="m", layers=[0])}
        for found in (one, other, differences(one, other))
    ]
    assert values[2].keys() == values[0].keys()
    for key, value in values[2].items():
        assert value == pytest.approx(values[0][key] - values[1][key], abs=1e-9), key
    for s in scores_of(differences(one, one), design, model="m", layers=[0]):
        assert s.low <= 0 == s.value <= s.high
        # Two that agree on every sentence may differ on another.
        assert s.low < s.high or s.measure != ACCURACY


@pytest.mark.parametrize("words", [["u"], ["u", "v", "w", "x", "y", "z"]])
def test_a_difference_from_all_right_is_never_certain_and_stays_within_a_hundred_points(words: list[str]) -> None:
    design = design_of((4, 4), words)
    perfect = figures_of(encode(labels_of(design), np.random.default_rng(0), 0), design)
    guessed = guesses(design)[MAJORITY]
    found = scores_of(differences(perfect, guessed), design, model="a - b", layers=[None], role="difference")
    found += scores_of(differences(perfect, perfect), design, model="a - a", layers=[None], role="difference")
    wrong = {key: replace(figure, value=1 - figure.value) for key, figure in perfect.items() if figure.is_share}
    found += scores_of(differences(wrong, perfect), design, model="b - a", layers=[None], role="difference")
    shares = [s for s in found if s.measure in (ACCURACY, PAIR_AUC, shots_measure(1))]
    assert {s.value for s in shares} == {0.5, 0.0, -1.0}
    for s in shares:
        assert -1 <= s.low <= s.value <= s.high <= 1 and s.high - s.low > 0.03, s
    # All of 8 right is [0.676, 1] by Wilson, and the half is fixed.
    of_word = next(s for s in shares if (s.value, s.measure, s.group) == (0.5, ACCURACY, "u"))
    assert (of_word.low, of_word.high) == (pytest.approx(0.676 - 0.5, abs=1e-3), 0.5)


def test_differences_over_words_stay_within_a_hundred_points() -> None:
    design = design_of((4, 4), [f"w{i}" for i in range(5)])
    flat = np.zeros((1, 5, 2000), dtype=np.float32)
    one, other = (Figure(np.array([v]), flat, np.full(5, 8), is_share=True) for v in ([0, 0, 0, 0, 1], [1, 1, 1, 1, 0]))
    found = scores_of({(ACCURACY, ""): one.minus(other)}, design, model="a - b", layers=[None], role="difference")
    assert next(s for s in found if s.group is None and s.variant == "").low == -1


def test_every_score_lies_in_its_interval_and_shares_stay_in_their_range() -> None:
    design, rng = design_of((8, 9), [f"w{i}" for i in range(5)]), np.random.default_rng(4)
    for noise in (0.01, 3.0):
        for s in scores_of(figures_of(encode(labels_of(design), rng, noise), design), design, model="m", layers=[0]):
            assert s.low <= s.value <= s.high
            if s.measure in (ACCURACY, PAIR_AUC, shots_measure(1)):
                assert s.low >= 0 and s.high <= 1


def test_p_values_of_senses_that_mean_nothing_are_uniform() -> None:
    rng, design, num = np.random.default_rng(5), design_of((10, 10), ["u"]), 200
    found = []
    for _ in range(num):
        vectors = unit(rng.normal(size=(20, 6)))
        found.append(shuffle_test([[vectors @ vectors.T]], design, num_shuffles=99).pooled)
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(found) <= level)
        # Accuracies are few different numbers, so that p may lie above its level; it must not lie below.
        assert share < level + 4 * np.sqrt(level * (1 - level) / num)
    assert 0.4 < np.mean(found) < 0.65


def of_documents(num: int, size: int, num_mixed: int = 0) -> Design:
    """Two senses, each of so many documents of so many sentences, and documents of both senses."""
    lines = [(sense, f"{sense}{d}") for sense in "ab" for d in range(num) for _ in range(size)]
    lines += [("ab"[i % 2], f"mixed{d}") for d in range(num_mixed) for i in range(size)]
    return Design.of(usages_of([s for s, _ in lines], "u", [d for _, d in lines]), 0, num_resamples=500)


@pytest.mark.parametrize("num_mixed", [0, 2])
def test_sentences_of_one_document_are_not_taken_as_independent(num_mixed: int) -> None:
    """Vectors know the document and nothing of the sense. Sentence by sentence, 9 to 12 in 100 tests at 0.05
    reject, and intervals hold the truth 72 to 86 times in 100."""
    rng, design, num = np.random.default_rng(8), of_documents(4, 5, num_mixed), 200
    word = design.words[0]
    p_values, scores = [], []
    for _ in range(num):
        of_document = rng.normal(size=(word.num_sources(), 8))
        vectors = of_document[word.sources] + 0.5 * rng.normal(size=(word.n, 8))
        p_values.append(shuffle_test([[unit(vectors) @ unit(vectors).T]], design, num_shuffles=99).pooled)
        scores.append(scores_of(accuracy_of(vectors, design), design, model="m", layers=[0])[0])
    truth = float(np.mean([s.value for s in scores]))
    limit = 4 * np.sqrt(0.05 * 0.95 / num)
    assert np.mean(np.array(p_values) <= 0.05) < 0.05 + limit
    assert rate([s.low for s in scores], [s.high for s in scores], truth) > 0.95 - limit


def test_whole_documents_are_shuffled_and_resampled() -> None:
    word = of_documents(3, 4, num_mixed=1).words[0]
    labels = shuffled_labels(word, 50, np.random.default_rng(0))
    for source in range(word.num_sources()):
        members = word.sources == source
        assert (word.counts[:, members] == word.counts[:, members][:, :1]).all()
        assert (word.halves[:, members] == word.halves[:, members][:, :1]).all()
        if len(set(word.labels[members])) == 1:
            assert (labels[:, members] == labels[:, members][:, :1]).all()
        else:
            assert (labels[:, members].sum(axis=1) == 2).all()
    assert (labels.sum(axis=1) == 14).all() and len(np.unique(labels, axis=0)) > 30


def test_documents_of_one_sentence_change_nothing() -> None:
    labels = ["a"] * 12 + ["b"] * 12
    alone, named = (Design.of(usages_of(labels, "u", s), 0) for s in (None, [f"d{i}" for i in range(24)]))
    vectors = encode(labels_of(alone), np.random.default_rng(9), 0.5)
    scores = [scores_of(figures_of(vectors, one), one, model="m", layers=[0]) for one in (alone, named)]
    assert scores[0] == scores[1]


def test_all_right_in_few_documents_is_as_certain_as_in_so_many_sentences() -> None:
    design = of_documents(4, 5)
    found = scores_of(accuracy_of(np.eye(2)[labels_of(design)], design), design, model="m", layers=[0])[0]
    # Wilson's bound of 8 of 8; of 40 of 40 it were 0.912.
    assert (found.value, found.n) == (1, 40) and found.low == pytest.approx(0.676, abs=1e-3)


def test_p_values_are_least_for_perfect_vectors_and_one_for_equal_ones() -> None:
    design = design_of((10, 10), ["u", "v"])
    perfect = [np.equal.outer(word.labels, word.labels).astype(float) for word in design.words]
    found = shuffle_test([perfect], design, num_shuffles=99)
    assert found.pooled == 0.01 and found.by_word.tolist() == [0.01] * 2
    np.testing.assert_allclose(found.corrected, 0.02)
    assert shuffle_test([[np.ones((20, 20))] * 2], design, num_shuffles=99).pooled == 1


def test_the_test_over_draws_is_of_their_mean() -> None:
    rng, design = np.random.default_rng(6), design_of((5, 6), ["u"])
    cosines = [unit(v) @ unit(v).T for v in rng.normal(size=(2, 11, 3))]
    word = design.words[0]
    both = np.mean([nearest(one, word.labels, word.comparable).outcome.mean() for one in cosines])
    rng = np.random.default_rng([word.seed, 3])
    hits = 0
    for labels in rng.permuted(np.tile(word.labels, (99, 1)), axis=1):
        hits += np.mean([nearest(one, labels, word.comparable).outcome.mean() for one in cosines]) >= both - 1e-9
    assert shuffle_test([[one] for one in cosines], design, num_shuffles=99).pooled == (1 + hits) / 100


def test_holm_equals_a_case_by_hand() -> None:
    # In order: 3 x 0.01, 2 x 0.02 = 0.04, 0.03 raised to 0.04.
    np.testing.assert_allclose(holm(np.array([0.03, 0.01, 0.02])), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1, 1])


def test_p_scores_have_the_interval_of_their_shufflings() -> None:
    low, high = drawn_interval(0.05)
    assert 0.03 < low < 0.05 < high < 0.07 and drawn_interval(1.0)[1] == 1.0
    design = design_of((4, 4), ["u", "v"])
    found = p_scores(Shuffled(0.01, np.array([0.01, 0.2]), np.array([0.02, 0.2])), design, model="m", layer=3)
    assert [(s.group, s.variant, s.value) for s in found] == [
        (None, "", 0.01),
        ("u", "", 0.01),
        ("u", "corrected over words", 0.02),
        ("v", "", 0.2),
        ("v", "corrected over words", 0.2),
    ]


def test_guesses_know_the_numbers_of_sentences_only() -> None:
    found = guesses(design_of((9, 3), ["u"]))
    assert found[MAJORITY][ACCURACY, ""].value == 0.75 and found[CHANCE][ACCURACY, ""].value == 0.5
    assert (found[MAJORITY][ACCURACY, ""].deviation == 0).all()
    tied = guesses(design_of((6, 6), ["u"]))[MAJORITY][ACCURACY, ""]
    assert tied.value == 0.5


def test_nothing_depends_on_the_order_of_the_table() -> None:
    rng = np.random.default_rng(7)
    usages = [Usage(w, f"{w} {s} {i}", s, None, (0, 1), i) for w in "uv" for s in "ab" for i in range(6)]
    by_text = {usage.sentence: rng.normal(size=3) for usage in usages}
    found = []
    for order in (np.arange(24), rng.permutation(24)):
        design = Design.of([usages[i] for i in order], 0, num_resamples=100)
        vectors = np.array([[by_text[text] for text in design.sentences]], dtype=np.float32)
        found.append(scores_of(measure(rows_of(vectors), 1, design), design, model="m", layers=[0]))
    assert found[0] == found[1]
