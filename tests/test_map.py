"""The map probe: tokens of sentences, texts by class, words of the input embeddings."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from probes import PROBES, ProbeError
from probes.command import conduct
from probes.mapping.inputs import read_sentences
from probes.results import Results, Score, read_results
from tests.probe_models import save_model

VECTORS = {"a": (1, 0, 0), "b": (0, 1, 0), "c": (1, 1, 0), "d": (0, 0, 1), "e": (0, 1, 2), "f": (-1, 0, 1)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "static.txt"
    path.write_text(
        f"{len(VECTORS)} 3\n" + "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in VECTORS.items())
    )
    return path


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take long, so they are drawn for real where a test is about them; the files are there in any case."""
    if "pictures" in request.node.name:
        return
    for place in ("views.draw_panels", "views.draw_curves", "cells.draw_heatmaps", "texts.draw_matrix"):
        monkeypatch.setattr(f"probes.mapping.{place}", lambda file, *_, **__: file.write_bytes(b""))


def run(out: Path, *arguments: str | Path) -> Results:
    return conduct("map", PROBES["map"], [*map(str, arguments), "--out", str(out)]).results


def figures(results: Results, measure: str, variant: str = "", group: str | None = None) -> list[Score]:
    return [s for s in results.scores if (s.measure, s.variant, s.group) == (measure, variant, group)]


def given(*sentences: str) -> list[str]:
    return [word for one in sentences for word in ("--sentence", one)]


def cosine(one: str, other: str) -> float:
    a, b = np.array(VECTORS[one]), np.array(VECTORS[other])
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_static_vector_has_cosine_1_in_every_cell(tmp_path: Path, vectors: Path) -> None:
    results = run(tmp_path, vectors, *given("a b d", "c a d e", "f b a"), "--word", "A")
    table = next(table for table in results.tables if table.name.startswith("cosines"))
    assert table.columns == ["layer", "kind", "place", "sentence", "1", "2", "3"]
    assert [row[:3] for row in table.rows] == [[0, kind, i] for kind in ("cosine", "z-scored") for i in (1, 2, 3)]
    assert np.allclose([row[4:] for row in table.rows], 1)
    for variant in ("", "z-scored"):
        (same,) = figures(results, "same_word", variant, "A")
        assert (same.value, same.low, same.high, same.n) == pytest.approx((1, 1, 1, 3))


def test_the_baseline_is_the_mean_over_different_tokens_of_different_sentences(tmp_path: Path, vectors: Path) -> None:
    results = run(tmp_path, vectors, *given("a b", "A c", "d"), "--no-pictures")
    pairs = ["ac", "ba", "bc", "ad", "bd", "ad", "cd"]
    (different,), (same,) = figures(results, "different_words"), figures(results, "same_word")
    assert different.value == pytest.approx(np.mean([cosine(*pair) for pair in pairs])) and different.n == 3
    assert same.value == pytest.approx(1) and same.n == 2 and (same.low, same.high) == (-1, 1)
    (above,) = figures(results, "same_minus_different")
    assert above.value == pytest.approx(same.value - different.value)


def test_a_map_s_points_stand_in_the_order_of_the_text_and_mark_the_word(tmp_path: Path, model: Path) -> None:
    sentences = ["the bank is here", "so the Bank one"]
    results = run(tmp_path, model, *given(*sentences), "--word", "bank")
    closer, everything = results.maps
    assert [sentences[i][slice(*point.span or ())] for i, point in enumerate(closer.points)] == ["bank", "Bank"]
    assert closer.group == "bank" and [point.label for point in closer.points] == ["bank 1", "bank 2"]
    assert [point.label for point in everything.points] == " ".join(sentences).split()
    assert [point.group for point in everything.points].count("bank") == 2
    assert list(everything.layers) == [0, 1, 2] and all(len(one.pca) == 8 for one in everything.layers.values())


def test_pieces_of_a_word_are_points_of_their_own_and_the_word_is_their_mean(tmp_path: Path, model: Path) -> None:
    results = run(tmp_path, model, *given("the ab is", "so ab"), "--word", "ab")
    assert [point.label for point in results.maps[1].points] == ["the", "a", "##b", "is", "so", "a", "##b"]
    rows = pq.read_table(tmp_path / "map.vectors" / "embeddings.parquet").to_pylist()
    of_word = [np.array(row["vector"]) for row in rows if row["word"] == "ab"]
    tokens = [np.array(row["vector"]) for row in rows if row["word"] == ""]
    assert np.allclose(of_word, [(tokens[1] + tokens[2]) / 2, (tokens[5] + tokens[6]) / 2], atol=1e-6)


def test_models_stand_side_by_side_in_pictures_and_are_compared_pair_by_pair(
    tmp_path: Path, model: Path, vectors: Path
) -> None:
    sentences = given("a b c", "d a b", "e a", "a f c")
    results = run(tmp_path, model, model, vectors, *sentences, "--word", "a", "--layers", "1,2")
    assert [card.name for card in results.models] == ["tiny", "tiny-2", "static.txt"]
    differences = {s.model: s for s in results.scores if s.role == "difference" and s.variant == "z-scored"}
    assert list(differences) == ["tiny - tiny-2", "tiny - static.txt", "tiny-2 - static.txt"]
    same = differences["tiny - tiny-2"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert [p.file for p in results.pictures if p.kind == "projection"] == ["map_word.png", "map_tokens.png"]
    assert {(s.model, s.layer) for s in results.headlines} == {("tiny", 2), ("tiny-2", 2), ("static.txt", 0)}
    assert all((tmp_path / picture.file).stat().st_size > 1000 for picture in results.pictures)
    times = next(table for table in results.tables if table.name == "times_tokens")
    assert all(isinstance(second, float) and second >= 0 for row in times.rows for second in row[4:])
    assert read_results(tmp_path / "map.json") == results


def test_without_pictures_there_are_figures_only(tmp_path: Path, model: Path) -> None:
    results = run(tmp_path, model, *given("the bank one", "so the bank"), "--word", "bank", "--no-pictures")
    assert results.scores and not results.pictures and not results.maps
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv"}


def test_one_sentence_is_compared_with_itself(tmp_path: Path, vectors: Path) -> None:
    results = run(tmp_path, vectors, *given("a b a d"), "--no-pictures")
    (same,), (different,) = figures(results, "same_word"), figures(results, "different_words")
    assert same.value == pytest.approx(1) and different.n == 4
    assert different.value == pytest.approx(np.mean([cosine(*pair) for pair in ("ab", "ba", "ad", "bd", "ad")]))


def test_punctuation_is_on_the_map_and_no_word_of_the_cosines(tmp_path: Path, model: Path) -> None:
    results = run(tmp_path, model, *given("the bank.", "so one."), "--layers", "2")
    assert [point.label for point in results.maps[0].points] == ["the", "bank", ".", "so", "one", "."]
    assert not figures(results, "same_word") and len(figures(results, "different_words")) == 1
    assert "No token repeats" in results.answer[0]


def test_sentences_of_a_paragraph_may_lack_the_word_and_serve_as_its_context(tmp_path: Path, vectors: Path) -> None:
    paragraph = "First a b are here. Then d e are here. Now a c are here."
    results = run(tmp_path, vectors, "--paragraph", paragraph, "--word", "a", "--no-pictures")
    assert results.data["sentences"] == ["First a b are here.", "Then d e are here.", "Now a c are here."]
    assert figures(results, "same_word", group="a")[0].n == 2
    assert figures(results, "different_words", group="a")[0].n == 3


def test_a_file_is_a_sentence_a_line_or_one_paragraph(tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    file.write_text("One here. Two here.\n\nThree.\n", encoding="utf-8")
    found = read_sentences(["zero "], [], file)
    assert [(one.text, one.is_given) for one in found] == [
        ("zero", True), ("One here. Two here.", True), ("Three.", True),
    ]  # fmt: skip
    file.write_text("One here. Two here.\n", encoding="utf-8")
    assert [(one.text, one.is_given) for one in read_sentences([], [], file)] == [
        ("One here.", False), ("Two here.", False),
    ]  # fmt: skip


def write_texts(path: Path, rows: list[tuple[str, str]], header: str = "label,text") -> Path:
    path.write_text("\n".join([header, *(f'{label},"{text}"' for label, text in rows)]) + "\n", encoding="utf-8")
    return path


def test_cosines_within_and_between_classes_are_those_computed_by_hand(tmp_path: Path, vectors: Path) -> None:
    texts = [("x", "a"), ("y", "d"), ("x", "c"), ("y", "e"), ("y", "f")]
    results = run(tmp_path, vectors, "--texts", write_texts(tmp_path / "t.csv", texts))
    within = [cosine(*pair) for pair in ("ac", "de", "df", "ef")]
    between = [cosine(one, other) for one in "ac" for other in "def"]
    (found,) = figures(results, "within_class")
    assert found.value == pytest.approx(np.mean(within)) and found.n == 5
    assert figures(results, "between_classes")[0].value == pytest.approx(np.mean(between))
    assert figures(results, "any_two")[0].value == pytest.approx(np.mean(within + between))
    gap = figures(results, "within_minus_between")[0]
    assert gap.value == pytest.approx(np.mean(within) - np.mean(between)) and gap.low < gap.value < gap.high
    assert figures(results, "within_class", group="x")[0].value == pytest.approx(cosine("a", "c"))
    assert figures(results, "within_class", group="y")[0].value == pytest.approx(np.mean(within[1:]))
    classes = next(table for table in results.tables if table.name == "classes")
    assert classes.rows[0][3:] == ["x", round(cosine("a", "c"), 4), round(float(np.mean(between)), 4)]
    assert [(point.text, point.group) for point in results.maps[0].points] == [
        ("a", "x"), ("c", "x"), ("d", "y"), ("e", "y"), ("f", "y"),
    ]  # fmt: skip
    assert results.data["classes"] == {"x": 2, "y": 3}


def test_of_too_many_texts_as_many_of_every_class_are_drawn(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probes.mapping.texts.MOST_TEXTS", 6)
    texts = [("x", f"one n{i}") for i in range(9)] + [("y", f"two n{i}") for i in range(4)]
    file = write_texts(tmp_path / "t.csv", texts)
    found = [run(tmp_path, model, "--texts", file, "--layers", "2", "--seed", str(s)) for s in (0, 0, 1)]
    points = [[point.text for point in one.maps[0].points] for one in found]
    assert [point.group for point in found[0].maps[0].points] == ["x"] * 3 + ["y"] * 3
    assert points[0] == points[1] != points[2]
    assert "6 of the 13 texts were drawn" in found[0].notes[0] and found[0].data["n"] == 13


def test_texts_that_were_cut_are_counted(tmp_path: Path, model: Path) -> None:
    texts = [("x", "so " * 40), ("x", "one"), ("y", "two"), ("y", "bank")]
    results = run(tmp_path, model, "--texts", write_texts(tmp_path / "t.csv", texts), "--no-pictures")
    assert any("1 of the 4 texts only up to" in note for note in results.notes)


def test_the_nearest_and_farthest_words_are_those_computed_by_hand(tmp_path: Path, vectors: Path) -> None:
    results = run(tmp_path, vectors, "--vocabulary", "A")
    rows = {kind: [row[3] for row in results.tables[0].rows if row[1] == kind] for kind in ("nearest", "farthest")}
    assert rows == {"nearest": ["c", "b"], "farthest": ["f", "e"]}
    assert results.tables[0].rows[0][4] == pytest.approx(cosine("a", "c"), abs=1e-4)
    random = figures(results, "random_pair")[0]
    truth = np.mean([cosine(one, other) for one in VECTORS for other in VECTORS if one != other])
    assert random.low - 0.01 < truth < random.high + 0.01
    shown = results.maps[0]
    assert [(point.text, point.group) for point in shown.points[:2]] == [("A", "the word"), ("c", "nearest")]
    assert (tmp_path / "map_vocabulary.png").is_file()


def test_special_tokens_and_pieces_are_no_words(tmp_path: Path, model: Path) -> None:
    results = run(tmp_path, model, "--vocabulary", "bank", "--no-pictures")
    words = [str(row[3]) for row in results.tables[0].rows]
    assert results.data["words"] == {"tiny": 9 + 26 - 1}, "nine words, of which n is a letter as well, and 26 letters"
    assert "bank" not in words and not [word for word in words if "#" in word or "[" in word]
    assert len(set(words)) == len(words) == 32


MISTAKES = {
    "nothing": ([], ["got nothing to map", "expected one of: sentences", "Name one"]),
    "a word alone": (["--word", "a"], ["got --word", "expected one of", "Name one"]),
    "a word and texts": (["--word", "a", "--texts", "T"], ["got --texts and --word", "expected one of"]),
    "sentences and texts": ([*given("a"), "--texts", "T"], ["--file and --texts", "expected one of"]),
    "the word is missing": (
        [*given("a b", "b c", "a c", "bab"), "--word", "a"],
        ["--word a", "sentence 2 ('b c')", "sentence 4 ('bab')", "Expected", "Change"],
    ),
    "the word stands in one sentence": (
        ["--paragraph", "An a. A b here.", "--word", "here"],
        ["one sentence has it", "expected at least 2", "Add"],
    ),
    "the word stands nowhere": (["--paragraph", "An a.", "--word", "z"], ["no sentence has it", "at least 2"]),
    "an empty word": ([*given("a"), "--word", " "], ["got an empty word", "expected"]),
    "an empty sentence": (given("a", " "), ["sentence 2 is empty", "expected text"]),
    "an empty paragraph": (["--paragraph", "  "], ["without any sentence", "expected text"]),
    "one token": (given("a"), ["reads 1 tokens", "expected 2 to 2000", "Give"]),
    "an empty file": (["--file", "EMPTY"], ["EMPTY is empty", "expected a sentence a line", "Add"]),
    "no such file": (["--file", "none"], ["none: there is no such file", "Expected", "Check"]),
    "no such texts": (["--texts", "none.csv"], ["none.csv: there is no such file", "Expected", "Check"]),
    "not UTF-8": (["--file", "LATIN"], ["LATIN:1: byte 1 is not UTF-8", "Expected", "Save"]),
    "empty texts": (["--texts", "EMPTY.csv"], ["has no text in it", "expected a row", "Add"]),
    "other columns": (["--texts", "COLUMNS.csv"], ["no column 'label'", "found 'class', 'text'", "--label-field"]),
    "an empty text": (["--texts", "CELL.csv"], [":3: the text is empty", "Fill"]),
    "one class": (["--texts", "CLASS.csv"], ["got 1 classes", "expected at least 2", "Add"]),
    "a class of one text": (["--texts", "ALONE.csv"], ["the class 'y' has one text", "expected at least 2", "Add"]),
    "an unknown word": (["--vocabulary", "zebra"], ["no vector for 'zebra'", "expected", "Name another"]),
    "a NUL": (["--file", "NUL"], ["NUL:2: holds a NUL", "Expected", "Check"]),
    "a word with a NUL": (["--vocabulary", "a\0"], ["--vocabulary: got a NUL", "expected", "Name it"]),
    "layers of no layer": (["--vocabulary", "a", "--layers", "9"], ["--layers 9: map asks", "Expected no", "Leave"]),
    "no word": (["--vocabulary", " "], ["got an empty word", "expected", "Name it"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_what_was_expected(
    tmp_path: Path, vectors: Path, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").write_text("")
    Path("EMPTY.csv").write_text("")
    Path("LATIN").write_bytes(b"a\xe9")
    Path("NUL").write_bytes(b"a b\na\0b\n")
    write_texts(Path("T"), [("x", "a"), ("x", "b"), ("y", "c"), ("y", "d")])
    write_texts(Path("COLUMNS.csv"), [("x", "a")], "class,text")
    write_texts(Path("CELL.csv"), [("x", "a"), ("x", "")])
    write_texts(Path("CLASS.csv"), [("x", "a"), ("x", "b")])
    write_texts(Path("ALONE.csv"), [("x", "a"), ("x", "b"), ("y", "b")])
    arguments, parts = MISTAKES[mistake]
    with pytest.raises(ProbeError) as refusal:
        run(tmp_path, vectors, *arguments)
    assert [part for part in parts if part not in str(refusal.value)] == []


def test_cosines_are_shown_of_the_last_layer_and_of_every_layer_when_all_are_asked_for(
    tmp_path: Path, model: Path
) -> None:
    asked = [*given("the bank one", "so the bank"), "--word", "bank", "--no-pictures"]
    found = [run(tmp_path, model, *asked, *layers) for layers in ([], ["--layers", "all"])]
    tables = [next(table for table in one.tables if table.name.startswith("cosines_")) for one in found]
    assert [sorted({row[0] for row in table.rows}) for table in tables] == [[2], [0, 1, 2]]
