"""Scoring word vectors: figures worked out by hand, coverage apart from accuracy, intervals that hold the truth."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from probes import PROBES
from probes.command import conduct
from probes.intervals import resample_counts
from probes.models import models_of
from probes.probe_error import ProbeError
from probes.results import Score
from probes.static import rank_correlation
from probes.static.analogies import Candidates, answer, read_analogies
from probes.static.categories import Category, cohesion, heatmap, read_categories
from probes.static.encoder_words import word_table
from probes.static.neighbours import neighbours
from probes.static.pair_intervals import mean_over_pairs
from probes.static.rank_correlation import difference_interval, influences, spearman
from probes.static.similarity import cosines, read_similarities
from probes.vectors.word_vectors import WordVectors
from tests.probe_models import save_model

KINGS = {
    "king": [1, 1, 0], "queen": [1, -1, 0], "man": [0, 1, 1], "woman": [0, -1, 1],
    "boy": [0.2, 1, 0.8], "girl": [0.2, -1, 0.8], "tree": [-1, 0.1, -1],
}  # fmt: skip


def _vectors(table: dict[str, list[float]], name: str = "t") -> WordVectors:
    return WordVectors(list(table), np.array(list(table.values()), dtype=np.float32), name=name)


def _file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


QUESTIONS = """: family
Man King Woman Queen
man woman boy girl
king queen duke duchess
: gram1
man woman King queen
"""


def test_known_analogies_are_right_and_unknown_words_lower_the_coverage_only(tmp_path: Path) -> None:
    questions = read_analogies(_file(tmp_path / "q.txt", QUESTIONS))
    assert [one.section for one in questions] == ["family"] * 3 + ["gram1"]
    found = answer(Candidates(_vectors(KINGS), None), questions)
    assert found.covered.tolist() == [True, True, False, True]
    assert found.correct.tolist() == [True, True, False, True]


def test_answers_equal_a_loop_over_all_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]
    candidates = Candidates(WordVectors(words, rng.normal(size=(40, 3)).astype(np.float32), name="t"), None)
    drawn = rng.integers(40, size=(200, 3))
    unit = candidates.unit_ND.astype(np.float64)
    best, nearest = [], []
    for a, b, c in drawn:
        free = [row for row in range(40) if row not in (a, b, c)]
        best.append(max(free, key=lambda row: unit[row] @ (unit[b] - unit[a] + unit[c])))
        nearest.append(max(free, key=lambda row: unit[row] @ unit[c]))
    for rows, name in ((best, "correct"), (nearest, "nearest")):
        lines = [" ".join(words[row] for row in (*abc, d)) for abc, d in zip(drawn, rows, strict=True)]
        found = answer(candidates, read_analogies(_file(tmp_path / "q.txt", "\n".join(lines))))
        assert getattr(found, name).all() and not getattr(found, "nearest" if name == "correct" else "correct").all()


def test_only_the_most_frequent_words_are_candidates_each_once_whatever_its_case() -> None:
    table = {"King": [1.0, 1.0], "king": [5.0, 0.0], "nil": [0.0, 0.0], "man": [0.0, 1.0], "far": [1.0, 0.0]}
    assert Candidates(_vectors(table), None).words == ["king", "man", "far"]
    assert Candidates(_vectors(table), 4).words == ["king", "man"]
    np.testing.assert_allclose(Candidates(_vectors(table), 1).unit_ND, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)


BAD_FILES = {
    "three": (read_analogies, ": a\nx y z\n", r":2: got 3 words .*expected four"),
    "no question": (read_analogies, ": a\n", "holds no question"),
    "no number": (read_similarities, "# c\nold new 1\na b c\n", r":3: got 'a b c', expected two words and a number"),
    "no judgement": (read_similarities, "a b nan\n", ":1: got the judgement nan"),
    "few pairs": (read_similarities, "a b 1\nc d 2\n", "holds 2 pairs, expected at least 3"),
    "no category": (read_categories, "dog\tanimal\ncat\n", r":2: got 'cat', expected a word, a tab and a category"),
    "twice": (read_categories, "dog\ta\ncat\ta\nDog\tb\n", r":3: 'Dog' stands on line 1 already"),
    "one word": (read_categories, "dog\ta\ncat\ta\nred\tb\n", "the category 'b' has one word"),
    "one category": (read_categories, "word\tcategory\ndog\ta\ncat\ta\n", "got 1 categories"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_of_another_form_are_refused(name: str, tmp_path: Path) -> None:
    read, text, message = BAD_FILES[name]
    with pytest.raises(ProbeError, match=message):
        read(_file(tmp_path / "f.txt", text))
    with pytest.raises(ProbeError, match=r"there is no such file.*Check the path"):
        read(tmp_path / "none.txt")


def test_judgements_are_read_by_tabs_commas_and_blanks(tmp_path: Path) -> None:
    for text in (
        "Word 1,Word 2,Human\na,b,1\nc,d,2.5\ne,f,3\n",
        "# c\na\tb\t1\nc\td\t2.5\ne\tf\t3\n",
        "a b 1\nc d 2.5\ne f 3",
    ):
        found = read_similarities(_file(tmp_path / "My set.csv", text))
        assert found.name == "my_set" and found.pairs == [("a", "b"), ("c", "d"), ("e", "f")]
        assert found.judged.tolist() == [1, 2.5, 3]


def test_spearman_equals_scipys_also_with_ties_and_without_every_pair() -> None:
    rng = np.random.default_rng(1)
    found, judged = np.round(rng.normal(size=(2, 30)), 1), np.round(rng.normal(size=30))
    whole = [spearmanr(one, judged).statistic for one in found]
    assert [spearman(one, judged) for one in found] == whole
    influence_MN = influences(found, judged)
    for left_out in (0, 17, 29):
        for model in range(2):
            without = spearmanr(np.delete(found[model], left_out), np.delete(judged, left_out)).statistic
            assert influence_MN[model, left_out] == pytest.approx(29 * (whole[model] - without))
    assert spearman(np.ones(5), np.arange(5.0)) is None and spearman(np.arange(2.0), np.arange(2.0)) is None


def test_cosines_of_pairs_and_unknown_words() -> None:
    found = cosines(_vectors(KINGS), [("King", "queen"), ("man", "woman"), ("man", "duke")])
    np.testing.assert_allclose(found[:2], [0, 0], atol=1e-6)
    assert np.isnan(found[2])


def _dyads(num_things: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes of all pairs of things, a sum of what each thing brings along, whose true mean is 0."""
    first, second = np.triu_indices(num_things, k=1)
    own = rng.normal(size=num_things)
    return own[first] + own[second] + rng.normal(size=len(first)), first, second


def test_intervals_over_things_hold_the_truth_where_those_over_pairs_do_not() -> None:
    rng = np.random.default_rng(5)
    held, held_by_pairs, num_draws = 0, 0, 150
    for _ in range(num_draws):
        outcomes, first, second = _dyads(20, rng)
        counts = resample_counts(np.zeros(20, dtype=np.int64), rng=rng, num_resamples=300)
        found = mean_over_pairs(outcomes[None], first=first, second=second, counts=counts)
        assert found.value[0] == pytest.approx(outcomes.mean())
        held += found.low[0] <= 0 <= found.high[0]
        half = 1.96 * outcomes.std() / len(outcomes) ** 0.5
        held_by_pairs += abs(outcomes.mean()) <= half
    assert held / num_draws > 0.88
    assert held_by_pairs / num_draws < 0.7


def _ratings(pairs: np.ndarray, shared: float, rng: np.random.Generator) -> np.ndarray:
    """(2, N) two normal ratings of pairs of words, correlated at 0.5; a share of the variance comes with the words."""
    mix = np.array([[1, 0], [0.5, 0.75**0.5]])
    words, own = mix @ rng.normal(size=(2, pairs.max() + 1)), mix @ rng.normal(size=(2, len(pairs)))
    return (shared / 2) ** 0.5 * words[:, pairs].sum(axis=2) + (1 - shared) ** 0.5 * own


@pytest.mark.parametrize(("kind", "shared"), [("shared words", 0.5), ("shared words", 0.8), ("words once", 0)])
def test_the_interval_of_spearman_holds_the_truth_at_its_rate(kind: str, shared: float) -> None:
    """All pairs of 12 words, and 40 pairs of 80."""
    rng = np.random.default_rng(6)
    pairs = np.array(np.triu_indices(12, k=1)).T if kind == "shared words" else np.arange(80).reshape(-1, 2)
    names = [(f"w{one}", f"w{other}") for one, other in pairs]
    truth = 6 / np.pi * np.arcsin(0.5 / 2)
    held, held_by_pairs, num_draws = 0, 0, 150
    for _ in range(num_draws):
        one, other = _ratings(pairs, shared, rng)
        rho, (influence,) = float(spearmanr(one, other).statistic), influences(one[None], other)
        low, high = rank_correlation.interval(rho, influence, names)
        held += low <= truth <= high
        held_by_pairs += abs(rho - truth) <= 1.96 * influence.std() / len(pairs) ** 0.5
    assert 0.85 <= held / num_draws <= 0.995
    if shared == 0.8:
        assert held_by_pairs / num_draws < 0.75


def test_a_difference_of_correlations_is_paired_and_of_the_same_with_itself_none() -> None:
    rng = np.random.default_rng(8)
    judged = rng.normal(size=60)
    found = judged + rng.normal(size=60) + 0.1 * rng.normal(size=(2, 60))
    names = [(f"a{i}", f"b{i}") for i in range(60)]
    one, other = influences(found, judged)
    low, high = difference_interval(0.0, one - other, names)
    alone = rank_correlation.interval(0.0, one, names)
    assert high - low < 0.5 * (alone[1] - alone[0])
    assert difference_interval(0.0, one - one, names) == (0, 0)


def test_cosines_within_and_between_categories_counted_by_hand() -> None:
    vectors = _vectors({"a": [1, 0], "b": [1, 1], "c": [0, 1], "d": [0, 2]})
    categories = [Category("x", ("a", "b", "unknown")), Category("y", ("c", "d"))]
    found = heatmap(Candidates(vectors, None), categories)
    assert found.words == ["a", "b", "c", "d"] and found.categories == ["x", "x", "y", "y"]
    half = 0.5**0.5
    np.testing.assert_allclose(found.cosines[0], [1, half, 0, 0], atol=1e-6)
    figures = cohesion(found, rng=np.random.default_rng(0))
    assert figures is not None
    expected = {"within": ((half + 1) / 2, 2), "between": (half / 2, 4), "x": (half, 1), "y": (1, 1)}
    assert {name: (pytest.approx(one.value[0], abs=1e-6), n) for name, (one, n) in figures.groups.items()} == expected
    assert figures.separation == pytest.approx(0.5, abs=1e-6)
    alone = heatmap(Candidates(vectors, None), [Category("x", ("a", "b")), Category("y", ("e", "f"))])
    assert cohesion(alone, rng=np.random.default_rng(0)) is None


def test_an_encoder_is_asked_by_its_whole_words_and_pieces(tmp_path: Path) -> None:
    (model,) = models_of([str(save_model(tmp_path / "m"))])
    encoder = model.open_encoder()
    found = word_table(encoder)
    assert {"the", "bank", "number"} <= set(found.words) and not any("#" in word or "[" in word for word in found.words)
    np.testing.assert_array_equal(found.find("bank"), encoder.static(["the bank"], [(4, 8)])[0])
    np.testing.assert_allclose(found.find("bat"), encoder.static(["the bat"], [(4, 7)])[0], atol=1e-6)
    assert found.row("bat") is None and found.find("\u0416") is None
    near = neighbours(found, Candidates(found, None), "bat", most=3)
    assert near.how == "made of its parts" and len(near.words) == 3


def _run(tmp_path: Path, *arguments: str) -> dict[tuple[str, str, str | None, str], Score]:
    sets = [
        "--analogies", str(_file(tmp_path / "q.txt", QUESTIONS)),
        "--similarity", str(_file(tmp_path / "s.tsv", "man\tboy\t9\nking\tqueen\t5\nman\ttree\t1\nduke\tking\t8\n")),
        "--categories", str(_file(tmp_path / "c.tsv", "man\tmen\nboy\tmen\nwoman\twomen\ngirl\twomen\n")),
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    found = conduct("static", PROBES["static"], [*arguments, *sets]).results
    assert len({one.model for one in found.headlines}) >= len(found.models)
    return {(one.measure, one.model, one.group, one.variant): one for one in found.scores}


def test_the_probe_puts_models_beside_each_other(tmp_path: Path) -> None:
    _vectors(KINGS).write(tmp_path / "kings.bin")
    flat = {word: numbers for word, numbers in KINGS.items() if word not in ("boy", "tree")}
    _vectors({word: [abs(x) for x in numbers] for word, numbers in flat.items()}).write(tmp_path / "flat.bin")
    found = _run(tmp_path, str(tmp_path / "kings.bin"), str(tmp_path / "flat.bin"), "--word", "man", "--word", "manly")
    assert found["analogies", "kings.bin", None, ""].value == 1
    assert found["analogies", "kings.bin", None, ""].n == 3
    assert found["analogies_covered", "kings.bin", None, ""].value == 3 / 4
    assert found["analogies_covered", "kings.bin", "family", ""].value == 2 / 3
    assert found["analogies_covered", "flat.bin", None, ""].value == 2 / 4
    assert found["analogies", "kings.bin", None, "covered by all"].n == 2
    assert found["covered_s", "kings.bin", None, ""].value == 3 / 4
    assert found["spearman_s", "kings.bin", None, ""].value == pytest.approx(1)
    difference = found["analogies", "kings.bin - flat.bin", None, "covered by all"]
    other = found["analogies", "flat.bin", None, "covered by all"]
    assert difference.role == "difference" and difference.value == 1 - other.value
    assert found["separation", "kings.bin", None, ""].value > 1
    assert found["cosine", "random pairs of words (kings.bin)", None, ""].role == "baseline"
    assert (tmp_path / "out" / "static.categories-kings-bin.png").stat().st_size > 1000
    rows = (tmp_path / "out" / "static.neighbours.csv").read_text().splitlines()
    assert rows[1].startswith("kings.bin,man,in the table,1,boy,") and "kings.bin,manly,unknown,1,," in rows


def test_the_probe_learns_and_asks_a_model_of_this_kit_beside(tmp_path: Path) -> None:
    corpus = _file(tmp_path / "corpus.txt", "man king woman queen\nboy man girl woman\ntree boy man\n" * 30)
    arguments = ["--corpus", str(corpus), "--methods", "svd,cbow", "--dimension", "3", "--no-pictures"]
    found = _run(tmp_path, str(save_model(tmp_path / "mine" / "model")), *arguments)
    assert {model for _, model, _, _ in found} >= {"mine", "svd", "cbow"}
    assert found["analogies_covered", "mine", None, ""].value == 0 and ("analogies", "mine", None, "") not in found
    assert found["analogies_covered", "cbow", None, ""].value == 3 / 4
    assert WordVectors.read(tmp_path / "out" / "cbow.bin").table.shape == (7, 3)
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "got neither a MODEL nor text"),
        (["x.bin", "--layers", "1"], "--layers 1: static asks vectors that no layer has touched"),
        (["--methods", "svd"], "got svd, expected --corpus FILE"),
        (["x.bin", "--word", "bank", "--word", " "], "--word: got an empty word, expected one whose neighbours"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=message):
        conduct("static", PROBES["static"], [*arguments, "--out", str(tmp_path)])
