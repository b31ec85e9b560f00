"""Word vectors: every plain form is read alike, damage is named by its place, no pickle is opened, and how words are
looked up."""

import gzip
import json
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gensim.models import FastText, KeyedVectors
from gensim.models.fasttext import load_facebook_vectors, save_facebook_model

from probes.models import models_of
from probes.probe_error import ProbeError
from probes.vectors.files import is_word_vectors, write_word2vec
from probes.vectors.word_vectors import Coverage, WordVectors

WORDS = ["the", "bank", "river", "naïve", "Bank"]
TABLE = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def _text(words: list[str] = WORDS, header: str = "", end: str = "\n") -> bytes:
    rows = (f"{word} {' '.join(repr(float(x)) for x in row)}{end}" for word, row in zip(words, TABLE, strict=True))
    return (header + "".join(rows)).encode()


def _npy(folder: Path, vocabulary: str = "words.txt") -> Path:
    folder.mkdir()
    np.save(folder / "table.npy", TABLE)
    beside = folder / vocabulary
    if beside.suffix == ".parquet":
        pq.write_table(pa.table({"count": [1] * 5, "index": WORDS}), beside)
    elif vocabulary == "rows.json":
        beside.write_text(json.dumps({word: row for row, word in reversed(list(enumerate(WORDS)))}))
    else:
        beside.write_text(json.dumps(WORDS) if beside.suffix == ".json" else "\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def _gensim(path: Path, *, binary: bool) -> Path:
    keyed = KeyedVectors(4)
    keyed.add_vectors(WORDS, TABLE)
    keyed.save_word2vec_format(str(path), binary=binary)
    return path


def _forms(folder: Path) -> dict[str, Path]:
    """The same table in every form."""
    contents = {
        "glove.txt": _text(),
        "glove.txt.gz": gzip.compress(_text()),
        "word2vec.vec": _text(header="5 4\n", end=" \n"),
        "word2vec.txt.gz": gzip.compress(_text(header="5 4\n")),
        "windows.txt": _text(end="\r\n"),
    }
    paths = {name: folder / name for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    write_word2vec(folder / "own.bin", WORDS, TABLE)
    paths |= {"own.bin": folder / "own.bin", "gensim.bin": _gensim(folder / "gensim.bin", binary=True)}
    paths["gensim.txt"] = _gensim(folder / "gensim.txt", binary=False)
    paths["packed.bin.gz"] = folder / "packed.bin.gz"
    paths["packed.bin.gz"].write_bytes(gzip.compress((folder / "own.bin").read_bytes()))
    for vocabulary in ("words.txt", "words.json", "rows.json", "words.parquet"):
        paths[f"npy with {vocabulary}"] = _npy(folder / f"npy-{vocabulary}", vocabulary)
    paths["npy itself"] = folder / "npy-words.txt" / "table.npy"
    return paths


def test_every_form_gives_the_same_words_and_vectors(tmp_path: Path) -> None:
    for name, path in _forms(tmp_path).items():
        assert is_word_vectors(path), name
        (model,) = models_of([str(path)])
        found = model.open()
        assert isinstance(found, WordVectors) and found.words == WORDS, name
        np.testing.assert_array_equal(found.table, TABLE, err_msg=name)
        assert found.table.dtype == np.float32 and model.card(found).num_parameters == 20


def test_what_is_written_gensim_reads(tmp_path: Path) -> None:
    WordVectors(WORDS, TABLE, name="t").write(tmp_path / "t.bin")
    read = KeyedVectors.load_word2vec_format(str(tmp_path / "t.bin"), binary=True)
    assert read.index_to_key == WORDS
    np.testing.assert_array_equal(read.vectors, TABLE)


def test_of_a_word_that_stands_twice_the_first_counts(tmp_path: Path) -> None:
    words = ["the", "bank", "the", "river", "bank"]
    (tmp_path / "t.txt").write_bytes(_text(words))
    write_word2vec(tmp_path / "t.bin", words, TABLE)
    folder = _npy(tmp_path / "npy")
    (folder / "words.txt").write_text("\n".join(words))
    for path in (tmp_path / "t.txt", tmp_path / "t.bin", folder):
        found = WordVectors.read(path)
        assert found.words == ["the", "bank", "river"]
        np.testing.assert_array_equal(found.table, TABLE[[0, 1, 3]])


def test_a_word_may_hold_blanks_as_in_gloves_largest_files(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"the 1 2\n. . . 3 4\n1 2 5 6\n")
    found = WordVectors.read(tmp_path / "t.txt")
    assert found.words == ["the", ". . .", "1 2"]
    np.testing.assert_array_equal(found.table, [[1, 2], [3, 4], [5, 6]])


def test_more_words_than_the_first_room_are_read(tmp_path: Path) -> None:
    lines = [f"w{i} {i} {-i}\n" for i in range(3000)]
    (tmp_path / "t.txt").write_text("".join(lines))
    (tmp_path / "h.txt").write_text("3000 2\n" + "".join(lines))
    for name in ("t.txt", "h.txt"):
        found = WordVectors.read(tmp_path / name)
        assert found.table.shape == (3000, 2) and found.words[-1] == "w2999"
        np.testing.assert_array_equal(found.table[:, 0], np.arange(3000))


GOOD = b"the 1 2\nbank 3 4\n"
BAD_TEXT = {
    "nothing": (b"", "is empty.*Expected a word and its numbers"),
    "no numbers": (b"the\nbank\n", "begins with 'the'.*Expected a word and its numbers"),
    "short": (GOOD + b"river 5\n", r":3: got 1 numbers behind 'river', expected 2.*Correct"),
    "long": (GOOD + b"river 5 6 x 7 8 9\nsea 1 x\n", r":4: got 'sea 1 x', expected a word and 2 numbers"),
    "no number": (GOOD + b"river 5 six\n", r":3: got 'river 5 six', expected a word and 2 numbers"),
    "nan": (GOOD + b"river nan 6\n", r":3: the vector of 'river' has a number that is not finite"),
    "overflow": (GOOD + b"river 1e60 6\n", r":3: .*not finite"),
    "no word": (GOOD + b" 5 6\n", r":3: got numbers without a word"),
    "latin": (GOOD + "na\xefve 5 6\n".encode("latin-1"), r":3: the word b'na\\xefve' is not UTF-8.*convert"),
    "utf-16": ("the 1 2\n".encode("utf-16"), r"t\.txt:1: "),
    "cut": (b"3 2\n" + GOOD, "says 3 words, but it holds 2.*whole file"),
    "only a header": (b"0 2\n", "holds no word"),
    "dimension lies": (b"2 3\n" + GOOD, r":2: got 2 numbers behind 'the', expected 3"),
}


@pytest.mark.parametrize("name", BAD_TEXT)
def test_damaged_text_is_named_by_its_line(name: str, tmp_path: Path) -> None:
    content, message = BAD_TEXT[name]
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(ProbeError, match=message):
        WordVectors.read(tmp_path / "t.txt")


def _bin(
    words: bytes = b"2 2\nthe " + struct.pack("<2f", 1, 2) + b"\nb\xc3\xa4nk " + struct.pack("<2f", 3, 4),
) -> bytes:
    return words


BAD_BINARY = {
    "nothing": (b"", "ends within the first line"),
    "something else": (b"hello world\n" + bytes(50), "first line is b'hello world'"),
    "no line": (b"x" * 200, "first line does not end within 100 bytes"),
    "cut in a vector": (_bin()[:-3], "2 words|ends within word 2 of 2"),
    "cut in a word": (b"1 2\n" + b"t" * 20, "ends within word 1 of 1"),
    "size lies": (b"999999999 300\nthe " + bytes(1200), "999999999 words of 300 dimensions do not fit"),
    "nan": (_bin().replace(struct.pack("<f", 3), struct.pack("<f", np.nan)), "vector of word 2, 'bänk', .*not finite"),
    "latin": (_bin().replace(b"\xc3\xa4", b"\xe4a"), "word 2, .*is not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BINARY)
def test_damaged_binaries_are_refused(name: str, tmp_path: Path) -> None:
    content, message = BAD_BINARY[name]
    (tmp_path / "t.bin").write_bytes(content)
    with pytest.raises(ProbeError, match=message):
        WordVectors.read(tmp_path / "t.bin")


def test_a_packed_file_that_is_cut_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(_text() * 100)[:-20])
    (tmp_path / "none.txt.gz").write_bytes(b"the 1 2\n")
    (tmp_path / "lies.bin.gz").write_bytes(gzip.compress(b"999999999999 300\nthe " + bytes(1200)))
    for name in ("cut.txt.gz", "none.txt.gz", "lies.bin.gz"):
        with pytest.raises(ProbeError, match=r"Expected (a whole file of )?word vectors"):
            WordVectors.read(tmp_path / name)


class _Trap:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("name", ["t.model", "t.kv", "t.txt", "t.bin", "t.npy"])
def test_no_pickle_is_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Trap()))
    assert is_word_vectors(path)
    with pytest.raises(ProbeError, match=r"is a Python pickle.*Expected a plain.*save_word2vec_format"):
        WordVectors.read(path)


def test_an_array_of_objects_is_not_opened(tmp_path: Path) -> None:
    folder = _npy(tmp_path / "npy")
    np.save(folder / "table.npy", np.array([_Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ProbeError, match=r"table\.npy: .*Expected a table of numbers"):
        WordVectors.read(folder)


def test_tables_without_their_words_are_refused(tmp_path: Path) -> None:
    folder = _npy(tmp_path / "npy")
    cases = {
        "5 rows, but 4 words": lambda: (folder / "words.txt").write_text("a\nb\nc\nd\n"),
        r"words cannot be told \(beside it: more.txt, words.txt\)": lambda: (folder / "more.txt").write_text("x"),
        "3 dimensions of float32, expected a table": lambda: np.save(folder / "table.npy", TABLE[None]),
        r"Expected a table of numbers": lambda: (folder / "table.npy").write_bytes(b"\x93NUMPY nothing"),
    }
    for message, damage in cases.items():
        damage()
        with pytest.raises(ProbeError, match=message):
            WordVectors.read(folder)
    (folder / "more.txt").unlink()
    np.save(folder / "table.npy", np.where(np.arange(20).reshape(5, 4) == 9, np.inf, TABLE))
    (folder / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    with pytest.raises(ProbeError, match=r"row 2 \('river'\) has a number that is not finite"):
        WordVectors.read(folder)


def test_forms_that_are_not_read_are_told_and_other_paths_are_no_vectors(tmp_path: Path) -> None:
    (tmp_path / "t.ftz").write_bytes(b"x")
    with pytest.raises(ProbeError, match=r"\.ftz is not read\. Expected one of .*\.bin"):
        WordVectors.read(tmp_path / "t.ftz")
    encoder = _npy(tmp_path / "encoder")
    (encoder / "config.json").write_text("{}")
    assert not is_word_vectors(encoder) and not is_word_vectors(tmp_path / "no.txt") and not is_word_vectors(tmp_path)


@pytest.fixture(scope="module")
def fasttext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fasttext") / "t.bin"
    lines = [["the", "banker", "banks", "money"], ["a", "river", "rivers", "flow"]] * 20
    model = FastText(lines, vector_size=8, min_count=1, epochs=2, bucket=50, workers=1, seed=1, sg=1)
    save_facebook_model(model, str(path))
    return path


def test_fasttext_gives_what_gensim_reads_also_for_unknown_words(fasttext: Path) -> None:
    found, expected = WordVectors.read(fasttext), load_facebook_vectors(str(fasttext))
    assert found.words == expected.index_to_key
    np.testing.assert_allclose(found.table, expected.vectors, rtol=0, atol=1e-6)
    for word in ("bankers", "Bankk", "ärger"):
        assert found.row(word) is None
        got = found.find(word)
        assert got is not None
        np.testing.assert_allclose(got, expected[word.lower()], rtol=0, atol=1e-6)
    spans = found.token_spans(["Bankers, the riverside"])
    assert spans == [[(0, 7), (9, 12), (13, 22)]]
    assert found.embed(["Bankers"], [(0, 7)]).shape == (1, 1, 8)


def test_fasttext_cut_anywhere_is_refused(fasttext: Path, tmp_path: Path) -> None:
    whole = fasttext.read_bytes()
    needed = len(whole) - 4 * 8 * 8 - 17  # the output matrix, which is not read, and its sizes
    places = [*range(4, 200, 7), *range(200, needed, 301), needed - 1]
    for place in places:
        (tmp_path / "t.bin").write_bytes(whole[:place])
        with pytest.raises(ProbeError, match=r"ends within|do not fit"):
            WordVectors.read(tmp_path / "t.bin")
    (tmp_path / "t.bin").write_bytes(whole[:needed])
    assert WordVectors.read(tmp_path / "t.bin").hidden_size == 8


def test_a_word_is_looked_up_as_written_then_folded() -> None:
    vectors = WordVectors(["bank", "Bank", "don't", "bank"], TABLE[:4], name="t")
    assert [vectors.row(word) for word in ("bank", "Bank", "BANK", "Don\u2019t", "x")] == [0, 1, 0, 2, None]
    assert vectors.coverage(["BANK", "x", "Bank", "y"]) == Coverage(4, 2, 0)


def test_coverage_tells_words_made_of_parts(fasttext: Path) -> None:
    assert WordVectors.read(fasttext).coverage(["banks", "bankers", "RIVER"]) == Coverage(3, 2, 1)


def test_a_text_is_the_mean_of_the_words_it_knows() -> None:
    vectors = WordVectors(["bank", "river", "well-known"], TABLE[:3], name="t")
    texts = ["The bank's river.", "nothing here", "A well-known river-bank"]
    means, num_cut = vectors.embed_texts(texts)
    expected = [TABLE[:2].mean(axis=0), np.zeros(4), TABLE[:3].mean(axis=0)]
    np.testing.assert_allclose(means[0], expected, rtol=0, atol=1e-6)
    assert num_cut == 0 and vectors.embed_texts([])[0].shape == (1, 0, 4)
    assert [texts[0][slice(*span)] for span in vectors.token_spans(texts)[0]] == ["bank", "river"]
    context = vectors.static_context(["The bank's river."], [(4, 8)])
    np.testing.assert_allclose(context, TABLE[[1]])


def test_an_unknown_word_and_a_layer_are_refused() -> None:
    vectors = WordVectors(["bank"], TABLE[:1], name="mine")
    with pytest.raises(ProbeError, match=re.escape("no vector for 'river' (sentence 2)")):
        vectors.embed(["the bank", "the river"], [(4, 8), (4, 9)])
    with pytest.raises(ProbeError, match="no layer but 0"):
        vectors.embed(["the bank"], [(4, 8)], layers=[1])
