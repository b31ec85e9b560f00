"""The classify probe: heads, mixing, baselines, figures, and the command as a whole."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, f1_score

from probes.classify import PROBE, mixing
from probes.classify.baselines import fit_majority, fit_words
from probes.classify.mixing import fit_head
from probes.classify.names import CLS, LAST, MIXES, TRAINABLE, WORD_MEAN
from probes.classify.outcomes import Judge, layer_weight_figures, macro_f1
from probes.classify.representations import Fits, Layers, fit_all, read_layers, standardise
from probes.classify.splits import Task, splits_of
from probes.command import conduct
from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts
from probes.results import Results, Score
from probes.source import Vectors
from tests.probe_models import save_model

NUM_LAYERS, SIZE, TELLING = 3, 6, 1


def _task(labels: np.ndarray, num_test: int, *, seeds: int = 2, hidden: int | None = None) -> Task:
    """Texts that say nothing, the last of them to test on."""
    names = [f"class {label}" for label in labels]
    texts = [f"text {i}" for i in range(len(labels))]
    train = LabelledTexts(texts[:-num_test], names[:-num_test])
    test = LabelledTexts(texts[-num_test:], names[-num_test:])
    return Task(train, test, splits_of(train, [np.arange(len(train))] * seeds, seed=0), hidden)


def _layers(labels: np.ndarray, num_test: int, *, told: float = 4.0, seed: int = 0) -> Layers:
    """Noise in every layer; in layer TELLING each class lies in a direction of its own."""
    vectors = np.random.default_rng(seed).standard_normal((NUM_LAYERS, len(labels), SIZE)).astype(np.float32)
    vectors[TELLING] = 0.3 * vectors[TELLING]
    vectors[TELLING, np.arange(len(labels)), labels] += told
    train, test = vectors[:, :-num_test].copy(), vectors[:, -num_test:].copy()
    standardise(train, test)
    return Layers(train, test, (0, 0))


def _labels(num: int, num_classes: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num_classes, num)


# ----------------------------------------------------------------------------------------------------------- the heads


@pytest.mark.parametrize(("way", "hidden"), [("trainable", None), ("trainable", 8), ("function", None)])
def test_a_class_that_one_layer_tells_is_found_by_what_can_choose_it(way: str, hidden: int | None) -> None:
    labels = _labels(160)
    task = _task(labels, 60, seeds=1, hidden=hidden)
    fits = fit_all(_layers(labels, 60, told=9.0), task, way)  # type: ignore[arg-type]
    assert (fits.predictions == task.test_classes).all()


def test_the_trainable_mix_listens_to_the_layer_that_tells() -> None:
    labels = _labels(160)
    weights = fit_all(_layers(labels, 60), _task(labels, 60), "trainable").layer_weights
    assert weights is not None and weights.shape == (2, NUM_LAYERS)
    assert np.allclose(weights.sum(axis=1), 1) and (weights[:, TELLING] > 0.9).all()


def test_layers_that_are_all_the_same_are_weighted_alike() -> None:
    labels = _labels(160)
    one = _layers(labels, 60).only(TELLING)
    same = Layers(np.repeat(one.train_KND, 3, axis=0), np.repeat(one.test_KMD, 3, axis=0), (0, 0))
    weights = fit_all(same, _task(labels, 60), "trainable").layer_weights
    assert weights is not None and np.allclose(weights, 1 / 3, atol=1e-3)


def test_the_mix_is_not_drawn_to_single_layers_by_the_penalty() -> None:
    """Two layers that show a class through noise of their own: both together tell more than either."""
    labels = _labels(400, 2)
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((2, 400, SIZE)).astype(np.float32)
    vectors[:, np.arange(400), labels] += 1.5
    standardise(vectors, vectors.copy())
    for strength in (1e-2, 1e-1):
        head = fit_head(
            torch.from_numpy(vectors), torch.from_numpy(labels), way="trainable", num_classes=2, strength=strength
        )
        assert np.allclose(head.layer_weights().numpy(), 0.5, atol=0.15)


def test_labels_at_random_are_guessed_at_chance() -> None:
    labels = _labels(400, 2)
    task = _task(labels, 200, seeds=1)
    layers = _layers(labels, 200, told=0.0)
    judge = Judge(task.test_classes, task.classes, rng=np.random.default_rng(0))
    for way in MIXES.values():
        found = judge.accuracy(fit_all(layers, task, way))
        assert found.low <= 0.5 <= found.high and found.n == 200


def test_a_mix_of_one_layer_is_that_layer() -> None:
    labels = _labels(160)
    task, last = _task(labels, 60), _layers(labels, 60, told=1.0).only(-1)
    mixed, alone = fit_all(last, task, "trainable"), fit_all(last, task, "frozen")
    assert (mixed.predictions == alone.predictions).all() and mixed.strengths == alone.strengths


@pytest.mark.parametrize("strength", [1e-1, 1e-2, 1e-3])
def test_a_linear_head_on_one_layer_is_logistic_regression(strength: float) -> None:
    labels = _labels(120)
    vectors = _layers(labels, 1, told=0.5).train_KND[[TELLING]]
    vectors /= np.sqrt(np.square(vectors).sum(axis=2).mean())  # exactly 1 long in the mean, as the head makes it
    classes = labels[:-1]
    head = fit_head(
        torch.from_numpy(vectors), torch.from_numpy(classes), way="frozen", num_classes=3, strength=strength
    )
    reference = LogisticRegression(C=1 / (strength * len(classes)), tol=1e-8, max_iter=1000).fit(vectors[0], classes)
    probabilities = head(torch.from_numpy(vectors)).softmax(1).detach().numpy()
    assert np.allclose(probabilities, reference.predict_proba(vectors[0]), atol=5e-3)


def test_predictions_do_not_depend_on_the_order_of_the_test_texts() -> None:
    labels = _labels(160)
    layers, task = _layers(labels, 60, told=0.7), _task(labels, 60, seeds=1)
    order = np.random.default_rng(0).permutation(60)
    turned = Layers(layers.train_KND, np.ascontiguousarray(layers.test_KMD[:, order]), (0, 0))
    for way in ("trainable", "function"):
        assert (fit_all(turned, task, way).predictions == fit_all(layers, task, way).predictions[:, order]).all()


def test_the_same_seed_gives_the_same_head_and_another_one_another() -> None:
    labels = _labels(80)
    layers = torch.from_numpy(_layers(labels, 1, told=0.5).train_KND)
    before = torch.get_rng_state()
    said = [
        fit_head(layers, torch.from_numpy(labels[:-1]), way="function", num_classes=3, strength=1e-3, seed=seed)(layers)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(said[0], said[1]) and not torch.equal(said[0], said[2])
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------------------------------------------ standardising


def test_vectors_are_standardised_by_training_texts_only() -> None:
    rng = np.random.default_rng(0)
    train, test = (rng.normal(5, 3, (2, num, 4)).astype(np.float32) for num in (50, 9))
    train[0, :, 1], test[0, :, 1] = 7.3, 9.0  # tells nothing in training, so it must not blow up in the test
    alone, other = train.copy(), train.copy()
    standardise(alone, test.copy())
    standardise(other, 1000 * test)
    assert np.array_equal(alone, other)
    changing = np.delete(alone[0], 1, axis=1)
    assert np.allclose(changing.mean(axis=0), 0, atol=1e-5) and np.allclose(changing.std(axis=0), 0.5, atol=1e-5)
    assert np.allclose(np.square(alone[1]).sum(axis=1).mean(), 1, atol=1e-5)
    expected = (test[1] - train[1].mean(axis=0)) / train[1].std(axis=0) / 2
    standardise(train, test)
    assert np.allclose(test[1], expected, atol=1e-5) and (test[0, :, 1] == 0).all() and (train[0, :, 1] == 0).all()


class _Huge:
    """A source that must not be asked for vectors."""

    name, num_layers, hidden_size = "huge", 12, 768

    def embed_texts(self, texts: list[str], **_: object) -> tuple[Vectors, int]:
        raise AssertionError


def test_more_vectors_than_memory_is_meant_for_are_refused() -> None:
    many = LabelledTexts(["text"] * 30_000, ["a"] * 30_000)
    with pytest.raises(
        ProbeError, match=r"13 layers of 768 for 60,000 texts are 2\.2 GiB, expected at most 1 GiB.*--most"
    ):
        read_layers(_Huge(), many, many, pooling="mean", layers=None)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------- baselines


def _words_task(num: int = 60, *, seeds: int = 2) -> Task:
    words = {"sea": "ship wave salt", "land": "hill road tree", "air": "bird cloud wind"}
    rng = random.Random(0)
    labels = [rng.choice(list(words)) for _ in range(num)]
    texts = [" ".join(rng.choices(words[label].split(), k=2)) + " and number" for label in labels]
    cut = num * 2 // 3
    train, test = LabelledTexts(texts[:cut], labels[:cut]), LabelledTexts(texts[cut:], labels[cut:])
    return Task(train, test, splits_of(train, [np.arange(cut)] * seeds, seed=0))


@pytest.mark.parametrize("counting", ["bag of words", "TF-IDF"])
def test_words_that_tell_the_class_are_learnt(counting: str) -> None:
    task = _words_task()
    assert (fit_words(task, counting).predictions == task.test_classes).all()  # type: ignore[arg-type]


def test_texts_without_a_word_are_refused() -> None:
    texts = LabelledTexts(["?!"] * 20, ["a", "b"] * 10, "file.csv")
    task = Task(texts, texts, splits_of(texts, [np.arange(20)], seed=0))
    with pytest.raises(ProbeError, match=r"file\.csv: no text of it has a word .*--text-field"):
        fit_words(task, "TF-IDF")


def test_the_majority_is_that_of_the_training_texts() -> None:
    train = LabelledTexts(["t"] * 9, list("aabbbbccc"))
    task = Task(train, LabelledTexts(["t"] * 4, list("aaab")), splits_of(train, [np.arange(9)], seed=0))
    judge = Judge(task.test_classes, task.classes, rng=np.random.default_rng(0))
    found = judge.accuracy(fit_majority(task))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_what_is_chosen_on_is_never_fitted_on_and_seeds_divide_anew() -> None:
    task = _words_task()
    for split in task.splits:
        assert not set(split.fitting) & set(split.choosing)
        assert len(split.fitting) + len(split.choosing) == len(task.train) == task.num_train
    assert task.splits[0].choosing.tolist() != task.splits[1].choosing.tolist()
    smaller = task.of_size(20, seed=0)
    assert smaller.num_train == 20 and len(smaller.train) == len(task.train)


# ------------------------------------------------------------------------------------------------------------- figures


def _judged(num: int = 90, seeds: int = 3, num_classes: int = 4, right: float = 0.6) -> tuple[Judge, Fits]:
    rng = np.random.default_rng(5)
    true = rng.integers(0, num_classes, num)
    guesses = rng.integers(0, num_classes, (seeds, num))
    predictions = np.where(rng.random((seeds, num)) < right, true, guesses)
    judge = Judge(true, [f"class {i}" for i in range(num_classes)], rng=np.random.default_rng(0))
    return judge, Fits(predictions, (0.1,) * seeds)


def test_confusions_are_scikit_learns_and_their_rows_add_up_to_the_classes() -> None:
    judge, fits = _judged()
    counts = judge.confusion(fits)
    expected = np.mean([confusion_matrix(judge.classes, one) for one in fits.predictions], axis=0)
    assert np.allclose(counts, expected)
    assert np.allclose(counts.sum(axis=1), np.bincount(judge.classes))
    assert np.isclose(np.trace(counts) / counts.sum(), judge.accuracy(fits).value)


@pytest.mark.parametrize("seed", range(4))
def test_macro_f1_is_scikit_learns_also_where_texts_count_several_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, 4, 50), rng.integers(0, 5, 50)  # of 6 classes one is predicted and never true
    counts = rng.integers(0, 4, (5, 50))
    found = macro_f1(true, predicted, 6, counts)
    for value, times in zip(found, counts, strict=True):
        expected = f1_score(np.repeat(true, times), np.repeat(predicted, times), average="macro", zero_division=0)
        assert np.isclose(value, expected)


def test_figures_are_means_over_seeds_within_their_intervals() -> None:
    judge, fits = _judged()
    each = [Fits(one[None], (0.1,)) for one in fits.predictions]
    for measure in (judge.accuracy, judge.macro_f1):
        found = measure(fits)
        assert np.isclose(found.value, np.mean([measure(one).value for one in each]))
        assert found.low < found.value < found.high
    assert np.isclose(judge.accuracy(fits, 2).value, (fits.predictions == judge.classes)[:, judge.classes == 2].mean())


def test_where_all_is_right_the_interval_does_not_claim_certainty() -> None:
    judge, _ = _judged()
    fits = Fits(judge.classes[None], (0.1,))
    exact = 0.025 ** (1 / 90)
    assert np.isclose(judge.accuracy(fits).low, exact) and np.isclose(judge.macro_f1(fits).low, exact)
    none = judge.accuracy_difference(fits, fits)
    assert none.value == 0 and np.isclose(none.high, 1 - exact) and np.isclose(none.low, exact - 1)


def test_differences_are_paired_and_antisymmetric() -> None:
    judge, fits = _judged(num=400)
    worse = fits.predictions.copy()
    worse[:, :12] = (judge.classes[:12] + 1) % 4  # the same but for twelve texts
    other = Fits(worse, fits.strengths)
    for difference, figure in (
        (judge.accuracy_difference, judge.accuracy),
        (judge.macro_f1_difference, judge.macro_f1),
    ):
        found, back = difference(fits, other), difference(other, fits)
        assert np.isclose(found.value, figure(fits).value - figure(other).value)
        assert np.allclose([found.value, found.low, found.high], [-back.value, -back.high, -back.low])
        assert found.low > 0 and figure(fits).low < figure(other).high  # told apart only because it is paired


def test_figures_of_different_numbers_of_seeds_can_be_compared() -> None:
    judge, fits = _judged()
    found = judge.macro_f1_difference(fits, Fits(fits.predictions[:1], (0.1,)))
    assert found.low < found.value < found.high


def test_accuracy_intervals_hold_the_truth_at_their_rate() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(120):
        true = np.repeat([0, 1], 60)
        predictions = np.where(rng.random(120) < np.where(true == 0, 0.9, 0.7), true, 1 - true)
        found = Judge(true, ["a", "b"], rng=rng).accuracy(Fits(predictions[None], (0.1,)))
        held += found.low <= 0.8 <= found.high
    assert 106 <= held <= 120  # 95 % of 120 is 114; less than 106 has a probability of 1 in 1,000


def test_layer_weight_intervals_hold_the_truth_of_a_mean() -> None:
    """For a mean of the rows the truth is known: seeds that leave out a fifth of 200 rows, 150 times anew."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(150):
        rows = rng.uniform(0.2, 0.6, 200)
        means = [rows[rng.permutation(200)[:160]].mean() for _ in range(5)]
        figure = layer_weight_figures(np.array(means)[:, None], 0.2)[0]
        held += figure.low <= 0.4 <= figure.high
    assert held >= 0.85 * 150


# --------------------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    folder = tmp_path_factory.mktemp("classify")
    model = save_model(folder / "model_a")
    vectors = folder / "vectors.txt"
    rows = [f"{word} {i} {i * i % 7} 1\n" for i, word in enumerate(["the", "bank", "so", "one"])]
    vectors.write_text("".join(["4 3\n", *rows]))
    train, test = _file(folder / "train.csv", 60), _file(folder / "test.csv", 24, seed=1)
    arguments = [model, vectors, "--train", train, "--test", test, "--out", folder / "out", "--seeds", 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing, "MOST_STEPS", 8)  # what is found is not looked at
        done = conduct("classify", PROBE, [str(one) for one in [*arguments, "--sizes", "24,all", "--by-layer"]])
    return done.results, folder / "out"


def _file(path: Path, num: int, seed: int = 0, repeat: str = "") -> Path:
    rng = random.Random(seed)
    words = {"sea": "the bank so one", "land": "here so two number"}
    rows = [(label, " ".join(rng.choices(words[label].split(), k=5))) for label in rng.choices(list(words), k=num)]
    rows[0] = ("sea", "the bank " * 20)  # longer than the model reads
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *rows])
    return path


def _rows(found: Results, role: str) -> set[tuple[str, str]]:
    return {(score.model, score.variant) for score in found.headlines if score.role == role}


def test_every_representation_stands_in_one_table(found: tuple[Results, Path]) -> None:
    results, _ = found
    table = next(table for table in results.tables if table.name == "classifiers")
    variants = [*MIXES, LAST, CLS]
    expected = [("model_a", one) for one in variants] + [("random weights of model_a", one) for one in variants]
    expected += [("vectors.txt", WORD_MEAN), ("TF-IDF", ""), ("bag of words", ""), ("majority class", "")]
    assert {(row[0], row[1]) for row in table.rows} == set(expected) and len(table.rows) == len(expected)
    assert _rows(results, "model") == {("model_a", TRAINABLE), ("model_a", LAST), ("vectors.txt", WORD_MEAN)}
    assert {name for name, _ in _rows(results, "baseline")} == {
        "random weights of model_a", "TF-IDF", "bag of words", "majority class",
    }  # fmt: skip


def _scores(results: Results, measure: str, **wanted: object) -> list[Score]:
    return [
        score
        for score in results.scores
        if score.measure == measure and all(getattr(score, key) == value for key, value in wanted.items())
    ]


def test_layers_sizes_classes_and_differences_are_among_the_scores(found: tuple[Results, Path]) -> None:
    results, _ = found
    weights = _scores(results, "layer_weight", model="model_a")
    assert [one.layer for one in weights] == [0, 1, 2] and np.isclose(sum(one.value for one in weights), 1)
    assert [one.layer for one in _scores(results, "accuracy", model="model_a", variant="one layer, mean")] == [0, 1, 2]
    assert len(_scores(results, "accuracy", variant=f"{TRAINABLE}, 24 training texts")) == 1
    assert len(_scores(results, "accuracy", model="TF-IDF", variant="24 training texts")) == 1
    assert {one.group for one in _scores(results, "accuracy", model="TF-IDF", variant="")} == {None, "sea", "land"}
    named = {score.model for score in _scores(results, "macro_f1", role="difference")}
    assert any("vectors.txt" in name and "model_a" in name for name in named)
    assert any(name.startswith("model_a") and name.endswith("TF-IDF") for name in named)
    assert "model_a - random weights of model_a" in named
    for score in results.scores:
        assert score.low <= score.value <= score.high


def test_confusions_and_pictures_are_written(found: tuple[Results, Path]) -> None:
    results, out = found
    for table in results.tables:
        assert (out / f"classify.{table.name}.csv").is_file()
        if table.name.startswith("confusion"):
            sizes = [sum(float(cell or 0) for cell in row[1:]) for row in table.rows]
            assert sizes == [results.data["test"]["by class"][row[0]] for row in table.rows]
    for picture in results.pictures:
        assert (out / picture.file).stat().st_size > 1000
    assert len(results.pictures) == 6


def test_texts_that_are_cut_or_known_from_training_are_said(found: tuple[Results, Path]) -> None:
    results, _ = found
    assert any(
        "model_a read 1 of 60 training texts and 1 of 24 test texts not to their end" in n for n in results.notes
    )
    assert any("of 24 test texts stand in the training texts as well" in note for note in results.notes)
    assert results.data["train"]["n"] == 60 and len(results.data["train"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "3"], r"--sizes 3 is too few: .*1 training text, expected 2"),
        (["--label-field", "topic"], r"train\.csv: there is no column 'topic'; found 'label', 'text'"),
        (["--layers", "7"], r"got layers 7, expected numbers from 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, options: list[str], message: str) -> None:
    train = _file(tmp_path / "train.csv", 30)
    model = save_model(tmp_path / "model_b")
    with pytest.raises(ProbeError, match=message):
        conduct("classify", PROBE, [str(model), "--train", str(train), "--out", str(tmp_path / "out"), *options])


def test_one_file_is_divided_by_the_seed(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("2 2\nthe 1 2\nhere 2 1\n")
    results = _of_words(tmp_path, vectors, "--most", "30", "--test-share", "0.4")
    assert (results.data["train"]["n"], results.data["test"]["n"]) == (30, 20)
    assert not results.pictures


def test_word_vectors_that_know_no_word_guess_and_it_is_said(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("2 2\nnobody 1 2\nsays 2 1\n")
    results = _of_words(tmp_path, vectors)
    assert "vectors.txt knows no word of 40 of 40 training texts and of 10 of 10 test texts: their vectors are 0." in (
        results.notes
    )
    found = _scores(results, "accuracy", model="vectors.txt", group=None)[0]
    assert found.value == _scores(results, "accuracy", model="majority class", group=None)[0].value


def test_the_order_of_rows_makes_no_difference(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("3 2\nthe 1 2\nhere 2 1\nso 0 1\n")
    _file(tmp_path / "train.csv", 50)
    header, *rows = (tmp_path / "train.csv").read_text().splitlines()
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([header, *random.Random(1).sample(rows, len(rows))]) + "\n")
    options = ["--most", "30", "--sizes", "20", "--seeds", "2", "--no-pictures", "--out", str(tmp_path / "out")]
    files = [str(tmp_path / "train.csv"), str(turned)]
    for given in ([[file] for file in files], [[file, "--test", file] for file in files]):
        one, other = (conduct("classify", PROBE, [str(vectors), "--train", *one, *options]).results for one in given)
        assert one.scores == other.scores and one.tables == other.tables


def test_more_hidden_units_than_memory_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"--hidden: got 999999999, expected at most 4,096"):
        conduct("classify", PROBE, ["model", "--train", "train.csv", "--hidden", "999999999"])


def _of_words(tmp_path: Path, vectors: Path, *options: str) -> Results:
    train = _file(tmp_path / "train.csv", 50)
    arguments = [str(vectors), "--train", str(train), "--out", str(tmp_path / "out"), "--seeds", "1", "--no-pictures"]
    return conduct("classify", PROBE, [*arguments, *options]).results
