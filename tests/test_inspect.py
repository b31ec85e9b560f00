"""Laws of pretrain.inspect: its JSON lines are what training sees, its page shows every target, mistakes are told."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from objectives.examples import EXAMPLES
from objectives.masking import NOT_A_TARGET, Masked, TokenMasking
from objectives.rows import Rows
from pretrain.assembly import prepared_store, training_examples
from pretrain.batches import Examples, Position
from pretrain.example import Example, TargetCounts, read_examples
from pretrain.example_page import ASCII_SIGNS, SIGNS, ExamplePage
from pretrain.inspect import main
from pretrain.recipe import Recipe
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

ALWAYS = ["index", "epoch", "input_ids", "token_type_ids", "attention_mask", "labels", "original_ids", "documents"]
PACKED = ("examples={name: packed, max_seq_length: 32}", "objective={name: mlm}")


@pytest.fixture(params=EXAMPLES)
def examples(
    request: pytest.FixtureRequest, make_corpus: Callable[..., TokenSplit], vocabulary: Vocabulary
) -> Examples:
    """The examples of every cutting."""
    split = make_corpus(12, sentences=(4, 10), words=(3, 12))
    cutting = EXAMPLES[request.param](max_seq_length=48)
    return Examples(split, vocabulary, cutting=cutting, masking=TokenMasking(mlm_probability=0.4), seed=3)


def _lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert main([*arguments, "--jsonl"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# JSON lines ----------------------------------------------------------------------------------------------------------


def test_a_line_has_exactly_the_keys_that_scripts_rely_on(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = _lines([str(tiny_file)], capsys)
    assert [list(line) for line in pairs] == [[*ALWAYS, "next_sentence_label"]] * 5
    packed = _lines([str(tiny_file), *PACKED, "--examples", "3"], capsys)
    assert [list(line) for line in packed] == [[*ALWAYS, "position_ids"]] * 3
    drawn_again = _lines([str(tiny_file), *PACKED, "masking={name: electra_reference}"], capsys)
    assert [list(line) for line in drawn_again] == [[*ALWAYS, "position_ids", "label_weights"]] * 5
    for line in drawn_again:
        assert [weight > 0 for weight in line["label_weights"]] == [label != NOT_A_TARGET for label in line["labels"]]


def test_lines_come_in_the_order_of_training_and_hold_what_a_step_gets(
    tiny_file: Path, tiny: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny()
    store = prepared_store(recipe)
    examples = training_examples(recipe, store)
    selection, _ = examples.select(Position(epoch=2, example=0), recipe.train.batch_size)
    batch = examples.batch(selection)
    lines = _lines([str(tiny_file), "--epoch", "2", "--examples", "16"], capsys)
    assert [line["index"] for line in lines] == selection.indices.tolist()
    assert {line["epoch"] for line in lines} == {2}
    for name in ("input_ids", "token_type_ids", "attention_mask", "labels", "next_sentence_label"):
        assert [line[name] for line in lines] == batch[name].tolist()


def test_an_example_agrees_with_itself(examples: Examples, vocabulary: Vocabulary) -> None:
    count = len(examples.plan(1))
    shown = list(read_examples(examples, epoch=1, count=10 * count, batch_size=16))
    assert sorted(example.index for example in shown) == list(range(count))
    for example in shown:
        record = {name: np.array(value) for name, value in example.record().items()}
        is_target = record["labels"] != NOT_A_TARGET
        assert np.array_equal(record["labels"][is_target], record["original_ids"][is_target])
        assert np.array_equal(record["input_ids"][~is_target], record["original_ids"][~is_target])
        outside = record["documents"] == -1
        framing = np.isin(record["original_ids"], [vocabulary.cls_id, vocabulary.sep_id, vocabulary.pad_id])
        assert np.array_equal(outside, framing)
        assert outside[record["attention_mask"] == 0].all()
        parts = example.parts()
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert parts[-1].stop == record["attention_mask"].sum()


# The page ------------------------------------------------------------------------------------------------------------


def _printed(page: ExamplePage, example: Example, width: int = 10_000) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(page.example(example))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_page_shows_every_token_and_every_target_of_each_kind(examples: Examples, vocabulary: Vocabulary) -> None:
    page = ExamplePage(vocabulary, ASCII_SIGNS)
    kinds = TargetCounts(0, 0, 0)
    for example in read_examples(examples, epoch=0, count=60, batch_size=16):
        text = _printed(page, example)
        wanted: list[str] = []
        for seen, label in zip(example.input_ids.tolist(), example.labels.tolist(), strict=True):
            if label == NOT_A_TARGET:
                continue
            mark = f"={vocabulary.tokens[label]}" if seen == label else vocabulary.tokens[label]
            wanted.append(mark if seen in (label, vocabulary.mask_id) else f"{vocabulary.tokens[seen]}~{mark}")
        assert re.findall("<(.*?)>", text.replace("->", "~")) == wanted
        counts = TargetCounts.of(example.input_ids, example.labels, vocabulary)
        assert counts.total == len(wanted)
        assert f"{counts.hidden} hidden, {counts.replaced} replaced, {counts.kept} kept" in text
        kinds += counts
        shown = re.sub("<(?:=|[^<]*->)?|>| ", "", "".join(page.text(example, part).plain for part in example.parts()))
        num_tokens = example.attention_mask.sum()
        assert shown == "".join(vocabulary.tokens[id] for id in example.original_ids[:num_tokens].tolist())
        assert f"{len(example.input_ids) - num_tokens} padding" in text
    assert min(kinds.hidden, kinds.replaced, kinds.kept) > 0, "no such target was ever there to be shown"


def _of(rows: Rows, targets: dict[int, int] | None = None) -> Example:
    """The one row as an example; targets by place, with the id that the model sees there."""
    labels = np.full_like(rows.input_ids, NOT_A_TARGET)
    input_ids = rows.input_ids.copy()
    for place, id in (targets or {}).items():
        labels[0, place], input_ids[0, place] = rows.input_ids[0, place], id
    return Example.of_row(rows, Masked(input_ids, labels), 0, epoch=0, index=17)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """A WordPiece vocabulary of a few English tokens."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "bark", "##ed", ".", "(", "loud", ")", "cat"]
    words += ["don", "'", "t", "3", ",", "000", "well", "-", "known"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")),
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    return Vocabulary.from_tokenizer(tokenizer, origin="the tests")


def _row(english: Vocabulary, text: str, **more: list[int] | int) -> Rows:
    """A row of tokens, `|` where another piece begins: piece number = document number."""
    ids: list[int] = []
    documents: list[int] = []
    pieces = text.split(" | ")
    for number, piece in enumerate(pieces):
        tokens = [english.tokens.index(token.removeprefix("##")) for token in piece.split()]
        ids += tokens
        documents += [-1 if english.is_special[id] and id != english.unk_id else number for id in tokens]
    shape = {name: np.array([value]) for name, value in more.items()}
    return Rows(
        input_ids=np.array([ids]),
        attention_mask=(np.array([ids]) != english.pad_id).astype(np.int64),
        documents=np.array([documents]),
        **{"token_type_ids": np.zeros((1, len(ids)), dtype=np.int64), **shape},
    )


def test_text_is_joined_as_people_write_it(english: Vocabulary) -> None:
    rows = _row(english, "[CLS] the dog ##bark ##ed ( loud ) don ' t . 3 , 000 well - known [UNK] [SEP] [PAD] [PAD]")
    cat, closing, well = (english.tokens.index(token) for token in ("cat", ")", "well"))
    example = _of(rows, targets={3: english.mask_id, 5: cat, 7: closing, 15: well})
    text = _printed(ExamplePage(english, ASCII_SIGNS), example)
    expected = "[CLS] the dog <bark>ed <cat->(>loud<=)> don't. 3,000 <=well>-known [UNK] [SEP]"
    assert text.splitlines()[1].split("#0")[1].strip() == expected
    assert "22 places: 17 tokens of text, 1 unknown, 2 special, 2 padding" in text
    assert "4 targets (23.5% of the text): 1 hidden, 1 replaced, 2 kept" in text


def test_segments_and_their_label_are_shown(english: Vocabulary) -> None:
    types = [0, 0, 0, 0, 1, 1, 1]
    rows = _row(english, "[CLS] the dog [SEP] | the cat [SEP]", token_type_ids=types, next_sentence_label=1)
    lines = _printed(ExamplePage(english), _of(rows), 80).splitlines()
    assert "example 17, B is random (next_sentence_label 1)" in lines[0]
    assert lines[1].split() == ["A", "#0", "[CLS]", "the", "dog", "[SEP]"]
    assert lines[2].split() == ["B", "#1", "the", "cat", "[SEP]"]
    rows = _row(english, "[CLS] the dog [SEP] | the cat [SEP]", token_type_ids=types, sentence_order_label=0)
    assert "A and B in order (sentence_order_label 0)" in _printed(ExamplePage(english), _of(rows), 80)


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 0, 1, 2, 3], None])
def test_every_document_of_a_packed_row_has_a_line(english: Vocabulary, positions: list[int] | None) -> None:
    more = {} if positions is None else {"position_ids": positions}
    rows = _row(english, "[CLS] the dog [SEP] | [CLS] the cat [SEP]", **more)
    first, second = _printed(ExamplePage(english), _of(rows), 80).splitlines()[1:3]
    assert first.split()[:2] == ["1", "#0"] and second.split()[:2] == ["2", "#1"]
    assert "dog" in first and "cat" in second and "cat" not in first


def test_marks_and_a_legend_stand_without_colours_and_colours_where_they_are_taken(
    tiny_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(**environment: str) -> str:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TERM", "xterm-256color")
        assert main([str(tiny_file), "--examples", "2"]) == 0
        return capsys.readouterr().out

    plain, coloured = page(), page(FORCE_COLOR="1")
    assert "\x1b" not in plain and f"{SIGNS.opening}dog{SIGNS.closing}  the model sees [MASK]" in plain
    for style in ("\x1b[30;43m", "\x1b[1;37;41m", "\x1b[30;42m"):
        assert style in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", page(FORCE_COLOR="1", NO_COLOR="1"))


def test_an_output_of_another_encoding_gets_ascii_marks(english: Vocabulary) -> None:
    rows = _row(english, "[CLS] the dog [SEP]")
    text = _printed(ExamplePage(english, ASCII_SIGNS), _of(rows, targets={1: 13, 2: 4}), 80)
    assert "[CLS] <cat->the> <dog> [SEP]" in text
    assert all(sign.isascii() for sign in (ASCII_SIGNS.opening, ASCII_SIGNS.closing, ASCII_SIGNS.arrow))


def test_what_no_terminal_should_get_is_written_as_an_escape(english: Vocabulary) -> None:
    import dataclasses

    wild = dataclasses.replace(english, tokens=tuple("\x1b[31m" if t == "dog" else t for t in english.tokens))
    text = _printed(ExamplePage(wild), _of(_row(english, "[CLS] the dog [SEP]")), 80)
    assert "\x1b" not in text and r"the \x1b[31m [SEP]" in text


# The command ---------------------------------------------------------------------------------------------------------


def test_asking_for_more_examples_than_there_are_shows_all(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _lines([str(tiny_file), "--examples", "100000"], capsys)
    assert sorted(line["index"] for line in lines) == list(range(len(lines)))
    assert main([str(tiny_file), "--examples", "100000"]) == 0
    assert f"all {len(lines)} examples of epoch 0" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--examples", "0"], ["--examples", "x"], ["--epoch", "-1"]])
def test_a_number_that_makes_no_sense_is_told(
    tiny_file: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        main([str(tiny_file), *arguments])
    assert refusal.value.code == 2
    assert re.search(r"got '.*', expected a whole number of at least [01]", capsys.readouterr().err)


def test_a_corpus_of_which_no_examples_can_be_made_is_one_message(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"text": "The old farmer sold the new lamp. " * 40}))
    corpus = [f"corpus.files=[{path}]", "corpus.held_out=0", "tokenizer.vocab_size=40"]
    assert main([str(tiny_file), *corpus, f"cache_dir={tmp_path / 'cache'}"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert captured.err.splitlines()[-1].startswith("error: got 1 document to cut into sentence pairs")


@pytest.mark.parametrize("form", [["--jsonl"], []])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(
    tiny_file: Path, form: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main([str(tiny_file), "--examples", "1000", *form]) == 0
        closed.flush()  # as Python does at its end
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert "Traceback" not in said and "roken" not in said
