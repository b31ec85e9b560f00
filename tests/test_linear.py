"""The linear probe: laws of classifier, control task, online code and mixture, and the whole of a call."""

import json
from pathlib import Path

import numpy as np
import pytest

from probes import PROBES, ProbeError
from probes.command import conduct
from probes.linear.classifier import STRENGTHS, fit, log_probabilities, standardised
from probes.linear.design import Design, drawn, split
from probes.linear.labelled_words import LabelledSentence
from probes.linear.measures import measure, measure_gravity
from probes.linear.mixing import fit_mixture
from probes.linear.online_code import SHARES, block_ends, code_online
from probes.results import Results
from tests.probe_models import MOST_TOKENS, save_model


def sentence(words: list[str], labels: list[str], number: int = 1) -> LabelledSentence:
    ends = np.cumsum([len(word) + 1 for word in words])
    spans = tuple((int(end) - len(word) - 1, int(end) - 1) for word, end in zip(words, ends, strict=True))
    return LabelledSentence(" ".join(words), spans, tuple(labels), number, number)


def design(num_train: int, num_test: int, *, num_types: int = 12, labels: str = "XYZ", seed: int = 0) -> Design:
    """Sentences of four words and a serial number; a type always has the same label."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(num_train + num_test):
        types = rng.integers(num_types, size=4)
        words = [*(f"w{one}" for one in types), str(number)]
        one = sentence(words, [*(labels[t % len(labels)] for t in types), "_"], number)
        made.append(LabelledSentence(one.text, one.spans[:4], one.labels[:4], number, number))
    return Design.of(made[:num_train], made[num_train:], seed=seed)


def one_hot(numbers: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size, dtype=np.float32)[numbers]


def types(words: list[str]) -> np.ndarray:
    return np.array([int(word[1:]) for word in words])


def test_the_classifier_finds_the_optimum_that_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(200, 5)).astype(np.float32), rng.integers(3, size=200)
    labels[vectors[:, 0] > 0.5] = 1
    found = fit(vectors, labels, num_labels=3, strength=1.0)
    # Our bias has a penalty of 1 as well: to scikit-learn it is one more dimension, of ones.
    with_ones = np.hstack([vectors, np.ones((200, 1), dtype=np.float32)])
    theirs = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-8).fit(with_ones, labels)
    ours = np.exp(log_probabilities(vectors, found))
    np.testing.assert_allclose(ours, theirs.predict_proba(with_ones), atol=3e-3)
    np.testing.assert_allclose(ours.sum(axis=1), 1)


def test_a_label_that_was_not_seen_has_a_probability() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    weights = fit(vectors, np.zeros(30, dtype=np.int64), num_labels=3, strength=10.0)
    logs = log_probabilities(vectors, weights)
    assert np.isfinite(logs).all() and (logs[:, 1:] > -10).all()


def test_standardising_goes_by_the_first_part_alone() -> None:
    train, test = np.float32([[1, 5], [3, 5]]), np.float32([[5, 7]])
    ours, theirs = standardised(train, test)
    np.testing.assert_allclose(ours, [[-1, 0], [1, 0]])
    np.testing.assert_allclose(theirs, [[3, 0]])


# Online code ----------------------------------------------------------------------------------------------------------


def test_blocks_end_with_sentences_at_the_shares_of_the_paper() -> None:
    assert block_ends(np.arange(1000)) == [round(share * 1000) if share != 0.0625 else 63 for share in SHARES]
    assert block_ends(np.repeat(np.arange(4), 5)) == [5, 10, 20]
    assert block_ends(np.zeros(7, dtype=np.int64)) == [7]


def test_a_single_block_costs_the_uniform_code() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    code = code_online(vectors, np.array([0, 1, 2, 3, 0, 1]), [6], num_labels=4)
    np.testing.assert_array_equal(code.bits_W, np.full(6, 2.0))


def test_the_code_of_two_blocks_is_that_computed_by_hand() -> None:
    """Vectors of zeros leave the bias b alone: after one word of label 0, with penalty b² / 2 for every label, the
    optimum has b0 = 1 - p0 and b1 = -p1, so p0 = 1 / (1 + exp(-2 (1 - p0))) = 0.6748."""
    p = 0.5
    for _ in range(200):
        p = 1 / (1 + np.exp(-2 * (1 - p)))
    code = code_online(np.zeros((3, 2), dtype=np.float32), np.array([0, 0, 1]), [1, 3], num_labels=2)
    np.testing.assert_allclose(code.bits_W, [1, -np.log2(p), -np.log2(1 - p)], atol=1e-4)


def test_random_labels_cost_at_least_the_uniform_code() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        vectors, labels = rng.normal(size=(600, 20)).astype(np.float32), rng.permutation(np.arange(600) % 4)
        code = code_online(vectors, labels, block_ends(np.arange(600)), num_labels=4)
        assert code.bits_W.sum() >= 600 * 2
        assert code.strength == max(STRENGTHS)


def test_labels_that_vectors_hold_perfectly_cost_far_less() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=600)
    vectors = (one_hot(labels, 20) * 4 + rng.normal(size=(600, 20)) * 0.3).astype(np.float32)
    code = code_online(vectors, labels, block_ends(np.arange(600)), num_labels=4)
    assert code.bits_W.sum() < 0.15 * 600 * 2


# Control task ---------------------------------------------------------------------------------------------------------


def test_a_probe_that_memorises_has_no_selectivity() -> None:
    """Vectors that are the word types: where every type has one label and all of them are seen, the control task is as
    easy as the labels are."""
    of = design(120, 40)
    assert of.seen() == 1
    found = measure(one_hot(types(of.train.words_W), 12), one_hot(types(of.test.words_W), 12), of).figures
    assert found["accuracy"].value == found["control_accuracy"].value == 1
    # Both are right for all 40 sentences: neither is certain, so the difference is not.
    reach = 1 - 0.025 ** (1 / 40)
    assert found["selectivity"].value == 0
    np.testing.assert_allclose(found["selectivity"].interval(), (-reach, reach))


def test_a_probe_that_reads_the_label_and_no_word_is_selective() -> None:
    of = design(120, 40, num_types=60)
    found = measure(one_hot(of.train.labels_W, 3), one_hot(of.test.labels_W, 3), of).figures
    assert found["accuracy"].value == 1 and found["selectivity"].interval()[0] > 0.3
    assert found["bits_per_word"].value < 0.3 < 1 < found["control_bits_per_word"].value
    np.testing.assert_allclose(found["compression"].value, np.log2(3) / found["bits_per_word"].value)
    np.testing.assert_allclose(found["code_length"].value, found["bits_per_word"].value * len(of.train.words_W))


def test_every_type_has_one_control_label_on_both_sides_drawn_as_the_labels_are() -> None:
    of = design(300, 100, num_types=2000, labels="XXXXXXXXXY")
    control: dict[str, int] = {}
    for side in (of.train, of.test):
        for word, label in zip(side.words_W, side.control_W.tolist(), strict=True):
            assert control.setdefault(word, label) == label
    share = float(np.mean(list(control.values())))
    assert abs(share - 0.1) < 5 * np.sqrt(0.1 * 0.9 / len(control)) + 0.02


# Mixture --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 2, 3])
def test_the_centre_of_gravity_is_the_only_layer_that_has_the_label(place: int) -> None:
    of, rng = design(100, 40), np.random.default_rng(place)
    train, test = (rng.normal(size=(4, len(side.words_W), 6)).astype(np.float32) for side in (of.train, of.test))
    train[place, :, :3] += 4 * one_hot(of.train.labels_W, 3)
    test[place, :, :3] += 4 * one_hot(of.test.labels_W, 3)
    found = measure_gravity(train, test, of, layers=[0, 2, 4, 6], strength=1.0, seed=0)
    centre = found.figures["centre_of_gravity"]
    assert abs(centre.value - 2 * place) < 0.2 and found.shares_K[place] > 0.9
    assert centre.interval()[0] <= centre.value <= centre.interval()[1] < centre.value + 0.3
    if place == 0:
        assert "expected_layer_of_gains" not in found.figures
    else:
        assert abs(found.figures["expected_layer_of_gains"].value - 2 * place) < 0.3


def test_a_mixture_of_one_layer_is_the_classifier_of_that_layer() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(150, 4)).astype(np.float32), rng.integers(3, size=150)
    mixture = fit_mixture(vectors[None], labels, num_labels=3, strength=10.0)
    alone = fit(vectors, labels, num_labels=3, strength=10.0)
    np.testing.assert_allclose(mixture.parameters[1:].reshape(5, 3), alone, atol=2e-3)
    np.testing.assert_array_equal(mixture.predict(vectors[None]), log_probabilities(vectors, alone).argmax(axis=1))


def test_a_word_that_counts_twice_is_as_two_words() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(2, 80, 4)).astype(np.float32), rng.integers(3, size=80)
    times = rng.integers(3, size=80)
    weighed = fit_mixture(vectors, labels, num_labels=3, strength=10.0, times_W=times)
    repeated = fit_mixture(np.repeat(vectors, times, axis=1), np.repeat(labels, times), num_labels=3, strength=10.0)
    np.testing.assert_allclose(weighed.shares_K, repeated.shares_K, atol=5e-3)


# Parts ----------------------------------------------------------------------------------------------------------------


def test_words_of_one_sentence_are_never_on_both_sides() -> None:
    """Nor are those of two sentences with the same text."""
    made = [sentence([f"w{i % 30}", "so"], ["X", "Y"], i) for i in range(60)]
    train, test = split(made, share=0.25, seed=1)
    assert len(train) + len(test) == 60 and len(test) == 2 * round(0.25 * 30)
    assert not {one.text for one in train} & {one.text for one in test}
    of = Design.of(made, test, seed=0)
    assert of.num_dropped == len(test)
    assert not {one.text for one in of.train.sentences} & {one.text for one in of.test.sentences}


def test_of_many_sentences_as_many_are_drawn_as_have_the_words() -> None:
    made = [sentence(["a"] * 3, ["X"] * 3, i) for i in range(20)]
    assert len(drawn(made, most=10, seed=0)) == 3 and drawn(made, most=60, seed=0) == made
    assert [one.number for one in drawn(made, most=30, seed=0)] == sorted(
        one.number for one in drawn(made, most=30, seed=0)
    )


def test_baselines_without_vectors_are_those_counted_by_hand() -> None:
    train = [sentence(["a", "b", "a"], ["X", "Y", "X"]), sentence(["a", "c"], ["Y", "X"])]
    test = [sentence(["a", "b", "c", "new"], ["X", "Y", "Z", "X"]), sentence(["B"], ["X"])]
    of = Design.of(train, test, seed=0)
    np.testing.assert_array_equal(of.majority(), [1, 0, 0, 1, 1])
    # a: X two times of three; b: Y; c: X; new: the commonest of all, X; B is b.
    np.testing.assert_array_equal(of.by_type(), [1, 1, 0, 1, 0])
    assert of.seen() == 4 / 5


def test_a_label_that_no_training_word_has_is_counted_as_wrong() -> None:
    of = Design.of(
        [sentence(["a", "b"], ["X", "Y"], 1), sentence(["b", "a"], ["Y", "X"], 2)], [sentence(["c"], ["Z"])], seed=0
    )
    assert of.labels == ["X", "Y"]
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert measure(vectors[:4], vectors[4:], of).figures["accuracy"].value == 0


def test_intervals_resample_sentences_and_not_words() -> None:
    """Sentences of ten words that are all right or all wrong: as uncertain as so many single words."""
    rng = np.random.default_rng(0)
    long = Design.of([sentence(["a", "b"], ["X", "Y"], 1), sentence(["b", "a"], ["Y", "X"], 2)],
                     [sentence(["a"] * 10 + [str(i)], ["X"] * 11, i) for i in range(100)], seed=0).test  # fmt: skip
    right = np.repeat(rng.permutation(np.arange(100) % 2), 11).astype(float)
    low, high = long.mean(right).interval()
    expected = 2 * 1.96 * np.sqrt(0.25 / 100)
    assert 0.85 * expected < high - low < 1.15 * expected
    certain = long.mean(np.ones(1100), is_share=True)
    np.testing.assert_allclose(certain.interval(), (0.025 ** (1 / 100), 1))


# The whole ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


def write(path: Path, num: int = 40, tail: str = "") -> Path:
    lines = [f"the\tDET\nbank\tNOUN\nn{i}\tNUM\nis\t_\nhere\tADV\n" for i in range(num)]
    path.write_text("\n".join(lines) + tail, encoding="utf-8")
    return path


def probe(*arguments: object) -> Results:
    return conduct("linear", PROBES["linear"], [str(one) for one in arguments]).results


def test_the_probe_gives_every_figure_for_every_layer_beside_its_baselines(tmp_path: Path, model: Path) -> None:
    found = probe(model, model, "--train", write(tmp_path / "words"), "--out", tmp_path)
    assert json.loads((tmp_path / "linear.json").read_text(encoding="utf-8"))["data"]["test"]["words"] == 40
    for name in ("tiny", "random weights of tiny", "tiny-2"):
        for key in ("accuracy", "selectivity", "bits_per_word", "control_bits_per_word", "compression"):
            chosen = [s for s in found.scores if (s.model, s.measure, s.group, s.variant) == (name, key, None, "")]
            assert [s.layer for s in chosen] == [0, 1, 2]
            assert all(s.low <= s.value <= s.high and s.n > 0 for s in chosen)
        assert any(s.model == name and s.measure == "centre_of_gravity" for s in found.scores)
    rows = {(s.model, s.layer) for s in found.headlines if s.measure == "accuracy"}
    assert rows == {
        ("tiny", 2), ("tiny-2", 2), ("random weights of tiny", 2), ("random weights of tiny-2", 2),
        ("static vector of tiny", None), ("static vector of tiny-2", None),
        ("majority label", None), ("commonest label of the word", None),
    }  # fmt: skip
    majority = next(s for s in found.scores if s.model == "majority label")
    # All four labels are as frequent in training, so one of them is right for a quarter of the test words.
    assert (majority.value, majority.n) == (0.25, 40)
    same = [s for s in found.scores if s.model == "tiny - tiny-2"]
    assert same and all(s.value == 0 for s in same)
    for key, reach in (("accuracy", 1 - 0.025 ** (1 / 10)), ("bits_per_word", 0)):
        # 10 test sentences: a bound on the share of others that would tell the two apart. Bits have none.
        wide = [(s.low, s.high) for s in same if s.measure == key]
        np.testing.assert_allclose(wide, np.tile([-reach, reach], (len(wide), 1)), atol=1e-12)
    assert all((tmp_path / picture.file).is_file() for picture in found.pictures) and len(found.pictures) == 4
    assert set(found.measures) >= {score.measure for score in found.scores}


def test_the_test_file_is_what_is_tested_on(tmp_path: Path, model: Path) -> None:
    train, test = write(tmp_path / "train"), tmp_path / "test"
    test.write_text("so\tADV\nbank\tNOUN\n", encoding="utf-8")
    found = probe(model, "--train", train, "--test", test, "--layers", "1", "--out", tmp_path, "--no-pictures")
    assert {s.n for s in found.scores if s.measure == "accuracy" and s.group is None} == {2}
    assert found.data["train"]["words"] == 160 and not list(tmp_path.glob("*.png"))


def test_a_word_that_word_vectors_lack_is_zeros_and_counted(tmp_path: Path) -> None:
    vectors = tmp_path / "glove.txt"
    vectors.write_text("3 2\nthe 1 0\nbank 0 1\nhere -1 0\n", encoding="utf-8")
    found = probe(vectors, "--train", write(tmp_path / "words"), "--out", tmp_path, "--no-pictures")
    assert found.data["share_of_words_with_a_vector"] == {"glove.txt": 0.75}
    accuracy = next(s for s in found.scores if s.measure == "accuracy" and s.model == "glove.txt")
    assert accuracy.value == 1 and accuracy.low < 1


def test_the_order_of_sentences_makes_no_difference(tmp_path: Path) -> None:
    files = [tmp_path / "train", tmp_path / "turned"]
    words = ["the", "bank", "so", "here"]
    rng = np.random.default_rng(0)
    made = [f"{words[a]}\t{'XYZX'[a]}\n{words[b]}\t{'XYZX'[b]}\nn{i}\t_\n" for i, (a, b) in
            enumerate(rng.integers(4, size=(40, 2)))]  # fmt: skip
    files[0].write_text("\n".join(made), encoding="utf-8")
    files[1].write_text("\n".join(made[i] for i in rng.permutation(40)), encoding="utf-8")
    vectors = tmp_path / "v.txt"
    vectors.write_text("3 2\nthe 1 0\nbank 0 1\nhere -1 0\n", encoding="utf-8")
    options = ["--most", "50", "--out", tmp_path, "--no-pictures"]
    for given in ([[file] for file in files], [[file, "--test", other] for file, other in (files, files[::-1])]):
        one, other = (probe(vectors, "--train", *one, *options) for one in given)
        assert one.scores == other.scores and one.tables == other.tables


def test_tables_of_models_with_like_names_are_apart(tmp_path: Path) -> None:
    models = [tmp_path / "a.b.txt", tmp_path / "a-b.txt"]
    for path in models:
        path.write_text("3 2\nthe 1 0\nbank 0 1\nhere -1 0\n", encoding="utf-8")
    found = probe(*models, "--train", write(tmp_path / "words", 12), "--out", tmp_path, "--no-pictures")
    names = [table.name for table in found.tables]
    assert len(set(names)) == 2 and all((tmp_path / f"linear.{name}.csv").is_file() for name in names)


MISTAKES = {
    "no file": ("none", [], "none: there is no such file"),
    "an empty file": ("", [], "is empty"),
    "one label": ("a\tX\n\nb\tX\n\nso\tX\n", [], "all training words have one label, 'X'.*at least 2"),
    "one sentence": ("a\tX\nb\tY\n", [], "got 0 sentence.*to train on.*and 1 to test on"),
    "a missing column": ("a\tX\n", ["--column", "5"], "has no column 5"),
    "no words wanted": ("a\tX\n", ["--most", "0"], "--most: got 0"),
    "a layer too deep": ("a\tX\n\nb\tY\n\nso\tX\n\nis\tY\n", ["--layers", "7"], "got layers 7"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(tmp_path: Path, model: Path, mistake: str) -> None:
    content, options, message = MISTAKES[mistake]
    if content != "none":
        (tmp_path / "none").write_text(content, encoding="utf-8")
    with pytest.raises(ProbeError, match=message):
        probe(model, "--train", tmp_path / "none", *options, "--out", tmp_path)


def test_a_sentence_beyond_the_models_length_is_refused_by_its_number(tmp_path: Path, model: Path) -> None:
    tail = "\n" + "so\t_\n" * MOST_TOKENS + "bank\tNOUN\n"
    path = write(tmp_path / "words", num=5, tail=tail)
    with pytest.raises(ProbeError, match=r"words: sentence 6 \(line 31\): 'bank' at character 72 lies beyond"):
        probe(model, "--train", path, "--out", tmp_path)
