"""Words in context: pairs as they are read, a threshold that no test pair touches, and figures equal to references."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from probes import PROBES
from probes.command import conduct
from probes.probe_error import ProbeError
from probes.reading.pairs import MOST_OF_A_LABEL, Pair, pair_up, read_pairs
from probes.results import Results, Score, read_results
from probes.usages import BUILT_IN, read_usages
from probes.wic.design import FEW_WORDS, Design, split_by_word
from probes.wic.judging import fit_threshold, judge, pair_cosines, static_cosines, weighted_auc, z_scored
from tests.probe_models import save_model, table, write_table

HEADER = "word\tsentence1\tsentence2\tlabel"


def pairs_of(num_words: int, num_each: int = 4, *, shared: bool = False) -> list[Pair]:
    """As many same as different pairs of each word; `shared`: one sentence stands in all pairs of its word."""
    found = []
    for number in range(num_words):
        for i in range(2 * num_each):
            first = f"w{number} begins" if shared else f"w{number} begins {i}"
            spans = ((0, len(f"w{number}")),) * 2
            found.append(Pair(f"w{number}", (first, f"w{number} ends {i}"), spans, i % 2 == 0))
    return found


def halved(pairs: list[Pair]) -> list[Pair]:
    """The pairs of the first half of the words train, the others test."""
    words = list(dict.fromkeys(pair.word for pair in pairs))
    train = words[: len(words) // 2]
    return [replace(pair, split="train" if pair.word in train else "test") for pair in pairs]


def design_of(pairs: list[Pair], *, num_resamples: int = 200) -> Design:
    return Design.of(halved(pairs), np.random.default_rng(0), num_resamples=num_resamples)


def test_a_threshold_by_hand() -> None:
    same = np.array([False, False, True, False, True, True])
    assert fit_threshold(np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9]), same) == (0.25, 5 / 6)
    assert fit_threshold(np.array([0.1, 0.2, 0.8, 0.4, 0.7, 0.9]), same) == (pytest.approx(0.55), 1)
    assert fit_threshold(np.array([0.9, 0.8, 0.2, 0.7, 0.1, 0.3]), same) == (-1.0, 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_right_more_often_than_the_fitted_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cosines, same = np.round(rng.random(25), 1), rng.random(25) < 0.6
    threshold, accuracy = fit_threshold(cosines, same)
    every = [((cosines >= cut) == same).mean() for cut in np.arange(-0.05, 1.2, 0.1)]
    assert accuracy == pytest.approx(max(every)) == ((cosines >= threshold) == same).mean()


@pytest.mark.parametrize("seed", range(5))
def test_the_area_under_the_curve_is_that_of_scikit_learn_also_for_resamples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cosines, same = np.round(rng.random(40), 1), rng.random(40) < 0.4
    counts = rng.integers(0, 3, size=(7, 40))
    expected = [roc_auc_score(same, cosines, sample_weight=row) for row in counts]
    np.testing.assert_allclose(weighted_auc(cosines, same, counts), expected, rtol=1e-12)
    assert np.isnan(weighted_auc(cosines, same, np.where(same, 1, 0)[None]))[0]


def test_cosines_by_hand_and_zeros_have_none() -> None:
    pairs = [
        Pair("a", (f"a{i}", f"b{i}"), ((0, 1), (0, 1)), i % 2 == 0, "train" if i < 2 else "test") for i in range(4)
    ]
    design = Design.of(pairs, np.random.default_rng(0), num_resamples=2)
    vectors = np.array([[[3, 4], [6, 8], [1, 0], [0, 2], [1, 1], [-1, -1], [0, 0], [1, 1]]], dtype=np.float32)
    np.testing.assert_array_equal(pair_cosines(vectors, design), [[1, 0, -1, 0]])


def test_a_word_has_one_static_vector_whatever_its_forms() -> None:
    pairs = [
        Pair(word, (f"{word} {i}", f"{word}s {i}"), ((0, 1), (0, 2)), i % 2 == 0, split)
        for word, split in (("a", "train"), ("b", "test"))
        for i in range(2)
    ]
    design = Design.of(pairs, np.random.default_rng(0), num_resamples=2)
    forms = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    assert (pair_cosines(forms[None], design) < 0.9).any()
    np.testing.assert_array_equal(static_cosines(forms, design), np.ones(4))
    forms[design.rows_P2[design.train].ravel()] = 0
    np.testing.assert_array_equal(static_cosines(forms, design), [0, 0, 1, 1])


def test_z_scores_are_of_the_training_usages_only() -> None:
    vectors = np.array([[[0, 5], [2, 5], [4, 5], [100, 7]]], dtype=np.float32)
    sd = np.sqrt(8 / 3)
    np.testing.assert_allclose(
        z_scored(vectors, np.array([0, 1, 2]))[0], [[-2 / sd, 0], [0, 0], [2 / sd, 0], [98 / sd, 2]], rtol=1e-6
    )


def test_labels_of_test_pairs_have_no_part_in_the_threshold() -> None:
    rng = np.random.default_rng(1)
    pairs = halved(pairs_of(8))
    cosines = rng.random(len(pairs))
    turned = [replace(pair, is_same=pair.is_same == (pair.split == "train")) for pair in pairs]
    one, other = (judge(cosines, Design.of(some, np.random.default_rng(0))) for some in (pairs, turned))
    assert (one.threshold, one.train_accuracy) == (other.threshold, other.train_accuracy)
    assert one.accuracy.value == pytest.approx(1 - other.accuracy.value)
    assert one.auc.value == pytest.approx(1 - other.auc.value)


def test_equal_cosines_score_the_majority_and_one_half() -> None:
    pairs = halved(pairs_of(6))
    pairs += [replace(pair, sentences=("w0 x", f"w0 y {i}")) for i, pair in enumerate(pairs[:1])]
    judged = judge(np.ones(len(pairs)), Design.of(pairs, np.random.default_rng(0)))
    assert judged.accuracy.value == 0.5 and judged.auc.value == 0.5
    assert judged.auc.interval() == (0.5, 0.5)
    assert judged.train_accuracy == pytest.approx(13 / 25)


def test_pairs_told_apart_score_1_without_being_called_certain() -> None:
    design = design_of(pairs_of(10))
    judged = judge(np.where(design.is_same_P, 0.9, 0.1), design)
    assert judged.accuracy.value == judged.auc.value == 1
    np.testing.assert_allclose(judged.accuracy.interval(), [0.025 ** (1 / 40), 1])
    np.testing.assert_allclose(judged.auc.interval(), [0.025 ** (1 / 20), 1])


def test_a_difference_from_pairs_told_apart_keeps_the_bound() -> None:
    """Two words of four pairs each are tested: all are right, against one half whatever is drawn."""
    design = design_of(pairs_of(4, 2))
    perfect, blind = (judge(one, design) for one in (np.where(design.is_same_P, 0.9, 0.1), np.ones(16)))
    apart = perfect.accuracy - blind.accuracy
    np.testing.assert_allclose([apart.value, *apart.interval()], [0.5, 0.025 ** (1 / 8) - 0.5, 0.5])
    apart = perfect.auc - blind.auc
    np.testing.assert_allclose([apart.value, *apart.interval()], [0.5, 0.025 ** (1 / 4) - 0.5, 0.5])


def test_what_is_resampled_follows_from_the_sentences_that_pairs_share() -> None:
    assert design_of(pairs_of(4)).unit == "pairs"
    few, many = design_of(pairs_of(4, shared=True)), design_of(pairs_of(2 * FEW_WORDS, shared=True))
    assert (few.unit, few.num_units) == ("sentences", 18) and (many.unit, many.num_units) == ("words", FEW_WORDS)
    words = np.array([many.pairs[index].word for index in many.test])
    for word in np.unique(words):
        assert (np.ptp(many.counts_RT[:, words == word], axis=1) == 0).all()
    # A pair whose first sentence is drawn a times and whose second is drawn b times counts a * b times.
    rows = few.rows_P2[few.test]
    of_one = few.counts_RT[:, rows[:, 0] == rows[0, 0]]
    assert (of_one > 1).any() and (np.gcd.reduce(of_one, axis=1) > 1).any()


def test_intervals_of_pairs_that_share_sentences_hold_the_truth_at_their_rate() -> None:
    """Two senses of each word, one dimension: a pair is the nearer the less its numbers differ."""
    rng, num_draws, held = np.random.default_rng(3), 100, 0
    places = [(f"w{w} {s} {i}", s) for w in range(2) for s in range(2) for i in range(10)]
    pairs = [
        Pair(one[0][:2], (one[0], other[0]), ((0, 2), (0, 2)), one[1] == other[1], "test")
        for i, one in enumerate(places)
        for other in places[i + 1 :]
        if one[0][:2] == other[0][:2]
    ]
    train = [replace(pair, split="train") for pair in pairs[:40]]
    design = Design.of(train + pairs, rng, num_resamples=300)
    rows = {sentence: row for row, sentence in enumerate(design.sentences)}
    senses = np.empty(len(rows))
    for sentence, sense in places:
        senses[rows[sentence]] = sense
    far = rng.normal(size=(4, 400_000))
    same, different = -abs(far[0] - far[1]), -abs(far[2] - far[3] - 1)
    truth = roc_auc_score(np.repeat([1, 0], 400_000), np.concatenate([same, different]))
    for _ in range(num_draws):
        x = senses + rng.normal(size=len(rows))
        cosines = -abs(x[design.rows_P2[:, 0]] - x[design.rows_P2[:, 1]])
        low, high = judge(cosines, design).auc.interval()
        held += low <= truth <= high
    assert design.unit == "sentences"
    assert abs(held / num_draws - 0.95) < 4 * np.sqrt(0.95 * 0.05 / num_draws), held / num_draws


def test_built_in_pairs_are_balanced_within_words_and_follow_the_seed() -> None:
    usages = read_usages(BUILT_IN)
    pairs = pair_up(usages, np.random.default_rng(0))
    for word in {usage.word for usage in usages}:
        labels = [pair.is_same for pair in pairs if pair.word == word]
        assert labels.count(True) == labels.count(False) == MOST_OF_A_LABEL
    senses = {(usage.word, usage.sentence): usage.sense for usage in usages}
    for pair in pairs:
        one, other = (senses[pair.word, sentence] for sentence in pair.sentences)
        assert pair.is_same == (one == other) and pair.sentences[0] != pair.sentences[1]
    assert len(set(pairs)) == len(pairs)
    assert pairs == pair_up(usages, np.random.default_rng(0)) != pair_up(usages, np.random.default_rng(1))


def test_no_word_is_in_both_parts_of_pairs_that_are_split_here() -> None:
    pairs = split_by_word(pairs_of(7), np.random.default_rng(0))
    parts = [{pair.word for pair in pairs if pair.split == part} for part in ("train", "test")]
    assert not parts[0] & parts[1] and [len(part) for part in parts] == [3, 4]
    with pytest.raises(ProbeError, match=r"pairs of 1 word, expected at least 2.*Add another word"):
        split_by_word(pairs_of(1), np.random.default_rng(0))


def test_a_table_of_pairs_is_read(tmp_path: Path) -> None:
    rows = [
        ("bank", "Bank and bank", "a bank", "T", "9", "", "train"),
        ("bat", "a bat", "bats, bat", "0", "", "", "test"),
    ]
    path = write_table(tmp_path / "p.tsv", rows, f"{HEADER}\tstart1\tstart2\tsplit")
    assert read_pairs(path) == [
        Pair("bank", ("Bank and bank", "a bank"), ((9, 13), (2, 6)), True, "train"),
        Pair("bat", ("a bat", "bats, bat"), ((2, 5), (6, 9)), False, "test"),
    ]


def write_wic(folder: Path, name: str, lines: list[tuple[str, ...]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.data.txt").write_text("".join("\t".join(line[:-1]) + "\n" for line in lines))
    (folder / f"{name}.gold.txt").write_text("".join(f"{line[-1]}\n" for line in lines))
    return folder


WIC = [
    ("carry", "V", "2-1", "You must carry your camping gear .", "Sound carries well .", "F"),
    ("go", "V", "1-2", "It goes .", "She will go .", "T"),
]


def test_words_in_context_is_read_as_it_is_published(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        write_wic(tmp_path / name, name, WIC)
    pairs = read_pairs(tmp_path)
    assert [pair.split for pair in pairs] == ["train", "train", "test", "test"]
    assert [tuple(s[slice(*span)] for s, span in zip(p.sentences, p.spans, strict=True)) for p in pairs[:2]] == [
        ("carry", "carries"),
        ("goes", "go"),
    ]
    assert [(pair.word, pair.is_same) for pair in pairs[:2]] == [("carry", False), ("go", True)]
    assert [pair.split for pair in read_pairs(tmp_path / "dev" / "dev.data.txt")] == [None, None]
    (tmp_path / "test" / "test.gold.txt").unlink()
    write_wic(tmp_path / "dev", "dev", WIC[:1])
    assert [pair.split for pair in read_pairs(tmp_path)] == ["train", "train", "test"]


FAULTY = {
    "a label": (("bank", "a bank", "b bank", "yes"), r"line 2: the label is 'yes', expected T or F.*Write one"),
    "no such word": (("bank", "a bank", "a bat", "T"), r"line 2, sentence2: 'bank' does not stand in 'a bat'"),
    "one sentence": (("bank", "a bank", "a bank", "T"), r"line 2: both sentences are the same.*Take the line out"),
    "empty": (("bank", "", "a bank", "T"), r"line 2: the sentence1 is empty\. Fill it in"),
}


@pytest.mark.parametrize("mistake", FAULTY)
def test_a_faulty_table_of_pairs_is_refused_with_its_line(tmp_path: Path, mistake: str) -> None:
    row, expected = FAULTY[mistake]
    with pytest.raises(ProbeError, match=r"p\.tsv has 1 problem\n  " + expected):
        read_pairs(write_table(tmp_path / "p.tsv", [row], HEADER))


def test_faulty_files_of_words_in_context_are_refused(tmp_path: Path) -> None:
    write_wic(tmp_path, "train", [*WIC, ("go", "V", "0-9", "go", "go on", "T"), ("go", "V", "1", "go", "go on", "T")])
    with pytest.raises(ProbeError, match=r"(?s)line 3, sentence 2: the word is said to be token 9.*line 4: got .*i-j"):
        read_pairs(tmp_path)
    (tmp_path / "train.gold.txt").write_text("T\n")
    with pytest.raises(ProbeError, match=r"4 lines, and 1 in train\.gold\.txt\. Expected as many.*same place"):
        read_pairs(tmp_path)
    (tmp_path / "train.gold.txt").unlink()
    with pytest.raises(ProbeError, match=r"holds no train\.data\.txt, .*Expected Words in Context.*Check the path"):
        read_pairs(tmp_path)


def run(*arguments: object) -> Results:
    done = conduct("wic", PROBES["wic"], [str(argument) for argument in arguments])
    assert read_results(done.path) == done.results
    return done.results


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for word in ("bank", "bat", "one", "two"):
        usages = [(w, s, sense) for w, s, sense in table(4, [word])]
        rows += [
            (word, a[1], b[1], "T" if a[2] == b[2] else "F") for i, a in enumerate(usages) for b in usages[i + 1 :]
        ]
    return write_table(tmp_path_factory.mktemp("pairs") / "p.tsv", rows, HEADER)


def by_key(results: Results, **wanted: object) -> list[Score]:
    return [s for s in results.scores if all(getattr(s, name) == value for name, value in wanted.items())]


def test_a_model_beside_its_double_differs_by_nothing(tmp_path: Path, pairs_file: Path) -> None:
    model = save_model(tmp_path / "m")
    found = run(model, model, "--pairs", pairs_file, "--out", tmp_path / "out")
    apart = [score for score in by_key(found, role="difference") if score.model == "m - m-2"]
    assert {score.variant for score in apart} >= {"last layer of each", "layer best in training"}
    assert {score.value for score in apart} == {0}
    # No pair tells them apart; that no other pair would is not certain. 28 sentences are 14 pairs without a common one,
    # and 7 couples of pairs.
    for measure, trials in (("accuracy", 8), ("auc", 4)):
        reach = 1 - 0.025 ** (1 / trials)
        for score in (score for score in apart if score.measure == measure):
            np.testing.assert_allclose([score.low, score.high], [-reach, reach])
    assert [p.file for p in found.pictures] == ["wic.accuracy.png", "wic.auc.png"]
    assert all((tmp_path / "out" / p.file).stat().st_size > 5000 for p in found.pictures)


def test_every_baseline_stands_beside_the_model(tmp_path: Path, pairs_file: Path) -> None:
    found = run(save_model(tmp_path / "m"), "--pairs", pairs_file, "--out", tmp_path / "out", "--no-pictures")
    names = {score.model for score in found.headlines}
    baselines = {"random weights", "static vector", "context, static vectors", "context, TF-IDF", "majority"}
    assert names == {"m", *baselines}
    for name in ("static vector", "majority"):
        auc, accuracy = (by_key(found, model=name, measure=measure)[0] for measure in ("auc", "accuracy"))
        assert (auc.value, auc.low, auc.high) == (0.5, 0.5, 0.5)
        assert accuracy.value == pytest.approx(max(12, 16) / 28)
    assert {score.model for score in by_key(found, role="difference")} == {f"m - {name}" for name in baselines}
    layers = {s.layer for s in by_key(found, model="m", variant="z-scored")}
    assert layers == {0, 1, 2} and not found.pictures
    assert found.data["train"]["num_words"] == found.data["test"]["num_words"] == 2
    last = by_key(found, model="m", measure="accuracy", layer=2, variant="")[0]
    random = by_key(found, model="random weights", measure="accuracy", layer=2, variant="")[0]
    difference = by_key(found, model="m - random weights", measure="accuracy", layer=2, variant="")[0]
    assert difference.value == pytest.approx(last.value - random.value)


def test_the_order_of_lines_makes_no_difference(tmp_path: Path, pairs_file: Path) -> None:
    model = save_model(tmp_path / "m")
    header, *lines = pairs_file.read_text().splitlines()
    turned, half = tmp_path / "turned.tsv", len(lines) // 2
    for name, order in (("parts", range(len(lines))), ("turned parts", np.random.default_rng(0).permutation(112))):
        split = [f"{lines[i]}\t{'train' if i < half else 'test'}" for i in order]
        (tmp_path / name).write_text("\n".join([f"{header}\tsplit", *split]) + "\n")
    turned.write_text("\n".join([header, *(lines[i] for i in np.random.default_rng(1).permutation(len(lines)))]) + "\n")
    for files in ((pairs_file, turned), (tmp_path / "parts", tmp_path / "turned parts")):
        one, other = (run(model, "--pairs", file, "--out", tmp_path / "out", "--no-pictures") for file in files)
        assert one.scores == other.scores and one.tables == other.tables


def write_vectors(path: Path, words: list[str], rng: np.random.Generator) -> Path:
    rows = [f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=5))}\n" for word in words]
    path.write_text("".join([f"{len(words)} 5\n", *rows]))
    return path


def test_word_vectors_are_asked_without_weights_to_draw(tmp_path: Path, pairs_file: Path) -> None:
    words = ["bank", "bat", "one", "two", "number", "the", "so"]
    rng = np.random.default_rng(0)
    path = write_vectors(tmp_path / "v.txt", words, rng)
    found = run(path, "--pairs", pairs_file, "--out", tmp_path / "out")
    assert {s.model for s in found.headlines} == {
        "v.txt", "context, static vectors", "context, TF-IDF", "majority",
    }  # fmt: skip
    assert {s.value for s in by_key(found, model="v.txt", measure="auc")} == {0.5}


def test_the_built_in_pairs_are_asked_without_a_file(tmp_path: Path) -> None:
    words = ["bank", "bat", "fly", "spring", "crane", "match"]
    vectors = write_vectors(tmp_path / "v.txt", words, np.random.default_rng(0))
    found = run(vectors, "--out", tmp_path / "out")
    assert found.data["file"] == "built in" and found.data["n"] == 6 * 2 * MOST_OF_A_LABEL
    assert found.settings["resampled"] == "sentences" and any("No word is in both" in note for note in found.notes)
    assert any("The training part has 3 words and the test part others" in note for note in found.notes)


def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, pairs_file: Path) -> None:
    model, out = save_model(tmp_path / "m"), tmp_path / "out"
    parts = [("bank", "a bank", f"bank {i}", "FT"[i % 2], "test") for i in range(4)]
    tested = write_table(tmp_path / "t.tsv", parts, f"{HEADER}\tsplit")
    with pytest.raises(ProbeError, match=r"--train .* without --pairs, expected pairs to test on.*Name them"):
        run(model, "--train", pairs_file, "--out", out)
    with pytest.raises(ProbeError, match=r"t\.tsv: has a test part only, expected train and test\. Add.*--train"):
        run(model, "--pairs", tested, "--out", out)
    with pytest.raises(ProbeError, match=r"t\.tsv has a test part of its own, expected pairs for train only"):
        run(model, "--pairs", pairs_file, "--train", tested, "--out", out)
    alone = write_table(tmp_path / "s.tsv", [(*row[:3], "T", row[4]) for row in parts], f"{HEADER}\tsplit")
    with pytest.raises(ProbeError, match=r"the test part has 4 pairs, all of them with the same label\. Expected"):
        run(model, "--pairs", alone, "--train", pairs_file, "--out", out)
    found = run(model, "--pairs", tested, "--train", pairs_file, "--out", out, "--no-pictures")
    assert found.data["test"]["n"] == 4 and any("words stand in both parts" in note for note in found.notes)
