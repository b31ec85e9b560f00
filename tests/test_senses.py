"""The senses probe as a whole: what a call writes, its baselines, its options, and what it says."""

from pathlib import Path

import numpy as np
import pytest

from probes.command import Done, conduct
from probes.probe_error import ProbeError
from probes.results import Score
from probes.senses import PROBE
from probes.senses.design import Design, choose, cut_around
from probes.senses.findings import verdict
from probes.senses.pictures import MOST_IN_A_PICTURE, choose_evenly
from probes.usages import Usage, read_usages
from tests.probe_models import save_model, table, write_table


def call(*arguments: object) -> Done:
    return conduct("senses", PROBE, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What a call on two models and a baseline found."""
    home = tmp_path_factory.mktemp("senses")
    models = [save_model(home / "small"), save_model(home / "other" / "small", "modernbert")]
    rows = table(4)
    rows[0] = ("bank", "a $ bank of <b>$5</b> and 漢", "bank-one")
    sentences = write_table(home / "t.tsv", rows)
    baseline = save_model(home / "tiny", seed=9)
    options = ["--sentences", sentences, "--baseline", baseline, "--random-draws", 2, "--no-pictures", "--seed", 1]
    return call(*models, *options, "--precision", "float32", "--out", home / "out")


def test_every_baseline_stands_beside_every_model(done: Done) -> None:
    found = {(s.model, s.role) for s in done.results.scores}
    assert {name for name, role in found if role == "model"} == {"small", "small-2"}
    own = {f"{kind} of {m}" for m in ("small", "small-2") for kind in ("random weights", "static vector")}
    own |= {f"context, static vectors of {m}" for m in ("small", "small-2")}
    shared = {"tiny", "context, TF-IDF", "majority sense", "chance"}
    assert {name for name, role in found if role == "baseline"} == own | shared
    differences = {name for name, role in found if role == "difference"}
    assert {"small - small-2", "small - tiny", "small-2 - static vector of small-2"} <= differences
    assert "small - static vector of small-2" not in differences


def test_the_static_vector_scores_exactly_the_expected_share(done: Done) -> None:
    expected = {"accuracy": 3 / 7, "pair_auc": 0.5, "centroid_1": 0.5, "ari": 0, "same_minus_different": 0}
    static = [s for s in done.results.scores if s.model.startswith("static vector") and s.measure in expected]
    assert {s.measure for s in static} == set(expected)
    for s in static:
        assert s.value == pytest.approx(expected[s.measure], abs=1e-9), s


def test_every_figure_has_its_n_its_layer_and_an_interval_around_it(done: Done) -> None:
    scores = done.results.scores
    assert all(s.low <= s.value <= s.high for s in scores)
    assert {s.n for s in scores if s.measure == "accuracy"} == {8, 16}
    assert {s.group for s in scores} == {None, "bank", "bat"}
    for card in done.results.models:
        layers = {s.layer for s in scores if (s.model, s.measure, s.variant) == (card.name, "ari", "z-scored")}
        assert layers == set(range(card.num_layers + 1))


def test_headlines_are_last_layers_chosen_by_the_table_alone(done: Done) -> None:
    by_model = {s.model: s for s in done.results.headlines}
    assert by_model["small"].layer == 2 and by_model["small-2"].layer == 3
    assert {s.measure for s in done.results.headlines} == {"accuracy", "centroid_3", "pair_auc", "ari", "p_value"}
    keys = [(s.model, s.measure, s.variant) for s in done.results.headlines]
    assert len(set(keys)) == len(keys)


def test_differences_are_those_of_the_figures(done: Done) -> None:
    def value(model: str, layer: int | None) -> float:
        return next(
            s.value
            for s in done.results.scores
            if (s.model, s.measure, s.layer, s.group) == (model, "accuracy", layer, "bat")
        )

    assert value("small - small-2", None) == pytest.approx(value("small", 2) - value("small-2", 3))


def test_results_say_what_they_are_of_and_how_they_were_made(done: Done) -> None:
    results = done.results
    assert results.data["words"]["bank"] == {"bank-one": 4, "bank-two": 4} and len(results.data["sha256"]) == 64
    assert results.settings["seed"] == 1 and results.settings["random_draws"] == 2
    assert any("10 sentences a sense: too few for bank, bat" in note for note in results.notes)
    assert any("Fewer than 5 words" in note for note in results.notes)
    assert any("the judged one counted too" in note for note in results.notes)
    draws = next(one for one in results.tables if one.name == "random_draws_1")
    assert all(row[4] <= row[3] <= row[5] for row in draws.rows)
    assert "small, last layer (2)" in results.answer[0] and "minus each baseline" in results.answer[2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_static_vector_is_one_whatever_the_form_of_the_word(tmp_path: Path) -> None:
    """With the vector of each form, those of 'bat' would find each other and those of 'Bat' each other: 1, not 3/7."""
    rows = [("bat", f"the {form} n{i}", sense) for form, sense in (("bat", "a"), ("Bat", "b")) for i in range(4)]
    vectors = tmp_path / "tiny.txt"
    words = ["the", "bat", "Bat", "n0", "n1", "n2", "n3"]
    vectors.write_text("".join(f"{word} {i} {i * i % 7} 1\n" for i, word in enumerate(words)), encoding="utf-8")
    options = ["--sentences", write_table(tmp_path / "t.tsv", rows), "--no-pictures", "--out", tmp_path / "out"]
    scores = call(vectors, *options).results.scores
    found = {(s.model, s.measure): s.value for s in scores if s.group == "bat" and not s.variant}
    assert found["tiny.txt", "accuracy"] == 1 and found["static vector", "accuracy"] == pytest.approx(3 / 7)
    assert found["static vector", "pair_auc"] == 0.5 and found["static vector", "ari"] == 0


def test_a_model_that_is_called_like_a_baseline_stands_beside_it(tmp_path: Path) -> None:
    names = ["majority sense", "chance", "context, TF-IDF"]
    models = [save_model(tmp_path / name) for name in names]
    sentences = write_table(tmp_path / "t.tsv", table(3))
    options = ["--sentences", sentences, "--layers", "2", "--no-pictures", "--out", tmp_path / "out"]
    results = call(*models[:2], "--baseline", models[2], *options).results
    cells = {(s.model, s.role, s.layer) for s in results.scores if s.measure == "accuracy" and s.group == "bat"}
    for name, role in zip(names, ("model", "model", "baseline"), strict=True):
        assert {(f"{name}-2", role, 2), (name, "baseline", None)} <= cells
    assert ("majority sense-2 - chance", "difference", None) in cells


def test_what_cannot_be_used_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sentences = save_model(tmp_path / "m"), write_table(tmp_path / "t.tsv", table(3))
    (tmp_path / "two").mkdir()
    for name in "ab":
        np.save(tmp_path / "two" / f"{name}.npy", np.zeros((1, 2)))
    monkeypatch.setattr("probes.senses.examination.Examination._examine", lambda *_: pytest.fail("measured"))
    for option, value, message in (
        ("--vectors", model, "is a folder with 0 .npy in it, expected word vectors"),
        ("--vectors", tmp_path / "two", "is a folder with 2 .npy in it, expected word vectors"),
        ("--baseline", tmp_path / "none", "is not a folder"),
        ("--words", "", r"--words: got no word, expected words of the table: bank, bat\. Name some"),
        ("--words", " , ", "--words: got no word"),
    ):
        with pytest.raises(ProbeError, match=message):
            call(model, "--sentences", sentences, option, value, "--no-pictures", "--out", tmp_path / "out")


def test_the_same_call_gives_the_same_figures_in_any_order_of_the_lines_and_size_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = save_model(tmp_path / "m"), table(4)
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    found = []
    for name, lines, size in (("a", rows, 32), ("b", shuffled, 3)):
        monkeypatch.setattr("probes.embedders.Embedder.embed.__kwdefaults__", {"layers": None, "batch_size": size})
        sentences = write_table(tmp_path / f"{name}.tsv", lines)
        options = ["--sentences", sentences, "--layers", "2", "--no-pictures", "--precision", "float32"]
        found.append(call(model, *options, "--out", tmp_path / name).results.scores)
    assert [s.model_copy(update={"value": 0, "low": 0, "high": 0}) for s in found[0]] == [
        s.model_copy(update={"value": 0, "low": 0, "high": 0}) for s in found[1]
    ]
    for one, other in zip(*found, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=2e-3)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # gensim leaves the file to the collector
def test_word_vectors_are_models_and_static_baselines(tmp_path: Path) -> None:
    words = ["the", "so", "bank", "bat", "number", "is", "here", "one", "two", *(f"n{i}" for i in range(4))]
    rng = np.random.default_rng(0)
    lines = [f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=4))}" for word in words]
    vectors = tmp_path / "tiny.txt"
    vectors.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sentences = write_table(tmp_path / "t.tsv", table(4))
    options = ["--sentences", sentences, "--vectors", vectors, "--no-pictures"]
    results = call(vectors, save_model(tmp_path / "m"), *options, "--out", tmp_path / "out").results
    accuracy = {s.model: s.value for s in results.scores if s.measure == "accuracy" and s.group == "bank"}
    assert accuracy["tiny.txt"] == accuracy["static vector of tiny.txt"] == pytest.approx(3 / 7)
    # The sentence of the other sense with the same number differs by one word and is the nearest.
    assert accuracy["context, static vectors of tiny.txt"] == 0
    assert not any(name.startswith("static vector of m") for name in accuracy)


def test_pictures_do_not_grow_with_the_table(tmp_path: Path) -> None:
    sentences = write_table(tmp_path / "t.tsv", table(4))
    results = call(save_model(tmp_path / "m"), "--sentences", sentences, "--out", tmp_path / "out").results
    assert [p.kind for p in results.pictures] == ["curve"] * 5 + ["heatmap", "projection"] * 2
    # As the report calls what it draws itself, so that it leaves these out.
    assert [p.file for p in results.pictures[:5]] == [
        f"senses.{measure}.png" for measure in ("accuracy", "centroid_3", "pair_auc", "ari", "same_minus_different")
    ]
    assert all((tmp_path / "out" / p.file).read_bytes().startswith(b"\x89PNG") for p in results.pictures)
    assert [m.group for m in results.maps] == ["bank", "bat"] and len(results.maps[0].points) == 8
    usages = [Usage("w", f"w {s} {i}", s, None, (0, 1), 0) for s, n in (("a", 400), ("b", 20)) for i in range(n)]
    word = Design.of(usages, 0, num_resamples=10).words[0]
    few = choose_evenly(word, MOST_IN_A_PICTURE)
    assert len(few) <= MOST_IN_A_PICTURE and set(word.labels[few]) == {0, 1}
    assert np.isin(few, choose_evenly(word, 200)).all()


@pytest.mark.parametrize(
    ("text", "word", "window", "expected"),
    [
        ("one two three bank four five", "bank", 1, "three bank four"),
        ("one two three bank four five", "bank", 9, "one two three bank four five"),
        ("bank four five", "bank", 1, "bank four"),
        ("the (bank), so it is", "bank", 1, "the (bank), so"),
        ("one  two\tbank", "bank", 2, "one two bank"),
    ],
)
def test_a_window_keeps_words_either_side(text: str, word: str, window: int, expected: str) -> None:
    begin = text.index(word)
    found = cut_around(Usage(word, text, "s", None, (begin, begin + len(word)), 1), window)
    assert found.sentence == expected and found.sentence[slice(*found.span)] == word


def test_a_sample_has_most_of_each_sense_and_does_not_depend_on_the_order() -> None:
    usages = [Usage("w", f"w {s} {i}", s, None, (0, 1), i) for s in "ab" for i in range(20)]
    found = choose(usages, words=None, most=5, seed=0)
    assert sorted(u.sense for u in found) == ["a"] * 5 + ["b"] * 5
    assert set(choose(usages[::-1], words=None, most=5, seed=0)) == set(found)
    assert set(choose(usages, words=None, most=5, seed=1)) != set(found)


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    sentences = write_table(tmp_path / "t.tsv", table(3))
    usages = read_usages(sentences)
    with pytest.raises(ProbeError, match=r"--words: got cat, expected words of the table: bank, bat\. Correct"):
        choose(usages, words=("cat",), most=None, seed=0)
    with pytest.raises(ProbeError, match="--most 1: expected at least 2 sentences of each sense"):
        choose(usages, words=None, most=1, seed=0)
    model = save_model(tmp_path / "m")
    with pytest.raises(ProbeError, match="got layers 9, expected numbers from 0"):
        call(model, "--sentences", sentences, "--layers", "9", "--no-pictures", "--out", tmp_path / "out")
    with pytest.raises(ProbeError, match="is not a folder"):
        call(model, "--baseline", tmp_path / "none", "--sentences", sentences, "--no-pictures", "--out", tmp_path / "o")


def test_a_verdict_claims_a_difference_only_where_the_interval_excludes_zero() -> None:
    def difference(low: float, high: float) -> Score:
        return Score(measure="accuracy", model="a - b", value=(low + high) / 2, low=low, high=high, n=9)

    assert verdict(difference(-0.04, 0.08)) == "not distinguishable"
    assert verdict(difference(0.02, 0.08)) == "more" and verdict(difference(-0.08, -0.02)) == "less"


def test_what_was_left_out_of_a_wordnet_table_is_among_the_notes(tmp_path: Path) -> None:
    header = "lemma\tpos\tsense\tn_senses\tsynset_offset\tdefinition\texample\tsurface"
    rows = [
        *(
            ("bank", "n", sense, "2", "0", "a gloss", f"the bank {sense}{end}", "bank")
            for sense in "12"
            for end in "ab"
        ),
        ("bat", "n", "1", "2", "0", "g", "a bat", "bat"),
    ]
    path = tmp_path / "w.tsv"
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n")
    found = call(save_model(tmp_path / "small"), "--sentences", path, "--no-pictures", "--out", tmp_path / "out")
    assert found.results.notes[0].startswith("Kept are 1 of 2 lemmas, 2 of 3 senses and 4 of 5 example sentences")


def test_of_many_words_the_answer_names_a_few(tmp_path: Path) -> None:
    words = [f"w{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    sentences = write_table(tmp_path / "t.tsv", table(2, words))
    options = ["--sentences", sentences, "--layers", "2", "--no-pictures", "--out", tmp_path / "out"]
    answer = " ".join(call(save_model(tmp_path / "m"), *options).results.answer)
    assert "wt " in answer and "wu " not in answer and "and 6 others, which the table has" in answer
