"""Recipes with mistakes: each is told, all in one message, with its path, what was got and what was expected."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pretrain.recipe import RecipeError, read_recipe
from tests.whole_recipe import WHOLE, write_recipe

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(write_recipe, tmp_path)


@pytest.fixture
def path(write: Write) -> Path:
    return write()


def refusal(path: Path, *overrides: str) -> str:
    """The message for a recipe that has to be refused."""
    with pytest.raises(RecipeError) as refused:
        read_recipe(path, overrides)
    return str(refused.value)


def problems(path: Path, *overrides: str) -> list[str]:
    """The lines of such a message, each with its path, once the heading is seen to count them."""
    heading, *lines = refusal(path, *overrides).split("\n")
    assert heading == f"{path} has {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


# Refusals, one of a kind ---------------------------------------------------------------------------------------------

REFUSALS = {
    "trian.steps=5": "trian: unknown key; did you mean train? Known: cache_dir, checkpoint, corpus, ",
    "train.step=5": "train.step: unknown key; did you mean steps? Known: batch_size, compile, epochs, ",
    "train.learning_rate=1": "train.learning_rate: unknown key; did you mean optimizer.learning_rate? Known: ",
    "examples={name: packed, short_seq_prob: 0.1}": "examples.short_seq_prob: unknown key. Known: boundaries, ",
    "corpus.held_out={files: [a], share: 1}": "corpus.held_out.share: unknown key. Known: files",
    "optimizer={name: adamw}": "optimizer.learning_rate: missing; expected a number > 0",
    "schedule={warmup_steps: 1}": "schedule.name: missing; expected one of linear, bert_linear, electra_linear, ",
    "encoder={}": "encoder.name: missing; expected one of bert, electra, modernbert, or from: FOLDER "
    "instead",
    "optimizer.name=admaw": "optimizer.name: got 'admaw' (text), expected one of adamw, bert_adam, muon; did you mean "
    "adamw?",
    "optimizer.name=3": "optimizer.name: got 3, expected one of adamw, bert_adam, muon",
    "optimizer.learning_rate=fast": "optimizer.learning_rate: got 'fast' (text), expected a number > 0",
    "optimizer.learning_rate=-1e-3": "optimizer.learning_rate: got -0.001, expected a number > 0",
    "optimizer.learning_rate=.inf": "optimizer.learning_rate: got 'inf' (text), expected a number > 0",
    "optimizer.learning_rate=.nan": "optimizer.learning_rate: got 'nan' (text), expected a number > 0",
    "optimizer.learning_rate=null": "optimizer.learning_rate: got null (nothing), expected a number > 0",
    "masking.mlm_probability=15": "masking.mlm_probability: got 15, expected a number > 0 and <= 1",
    "train.batch_size=true": "train.batch_size: got true (true or false), expected a whole number >= 1",
    "train.batch_size=1.5": "train.batch_size: got 1.5, expected a whole number >= 1",
    "train.compile=yes": "train.compile: got 'yes' (text), expected true or false",
    "train.max_grad_norm=-1": "train.max_grad_norm: got -1, expected a number > 0 or null",
    "train.mixed_precision=bf61": "train.mixed_precision: got 'bf61' (text), expected one of auto, bf16, fp16, no; did "
    "you mean bf16?",
    "train.micro_batch_size=65": "train.micro_batch_size: got 65, expected at most train.batch_size = 64, the examples "
    "of a whole update; lower it, or leave it out",
    "train.epochs=2": "train: got steps and epochs, expected exactly one of steps, epochs, tokens, hours; to change "
    "over by an override, add train.steps=null",
    "train.steps=null": "train: got none of them, expected exactly one of steps, epochs, tokens, hours; say when "
    "the run ends",
    "seed=-1": "seed: got -1, expected a whole number >= 0 and < 4294967296",
    "seed.x=1": "seed: got {'x': 1} (a mapping), expected a whole number",
    "name=a/b": "name: got 'a/b' (text), expected text that matches",
    "name=2020-01-01": "name: got 2020-01-01 (a date; put it in quotes if it is text), expected text",
    "cache_dir=''": "cache_dir: got '' (text), expected text that is not empty",
    "corpus.files=a.txt": "corpus.files: got 'a.txt' (text), expected a list of text that is not empty",
    "corpus.files=[]": "corpus.files: got [] (a list), expected a list of text that is not empty",
    "corpus.files=[a, 3]": "corpus.files[1]: got 3, expected text",
    "corpus.held_out=most": "corpus.held_out: got 'most' (text), expected a number >= 0 and < 1 or a mapping with "
    "files",
    "corpus.held_out={files: []}": "corpus.held_out.files: got [] (a list), expected a list of text that is not empty",
    "schedule=linear": "schedule: got 'linear' (text), expected a mapping such as {name: linear, ...}",
    "evaluate=null": "evaluate: got null (nothing), expected a mapping such as {key: value, ...}",
    "log.trackers=[wandb, tensorbord]": "log.trackers[1]: got 'tensorbord' (text), expected one of tensorboard, wandb, "
    "trackio; did you mean tensorboard?",
    "probes=[sense]": "probes[0]: got 'sense' (text), expected names of senses",
    "tokenizer.path=x": "tokenizer: got both name and path, expected one of them; tokenizer={path: FOLDER} "
    "replaces the section",
    "objective={name: replaced_token_detection, dicriminator_weight: 1}": "objective.dicriminator_weight: unknown key; "
    "did you mean discriminator_weight? Known: discriminator_weight, generator_fraction, ",
    "objective={name: replaced_token_detection, sharing: words}": "objective.sharing: got 'words' (text), expected one "
    "of all, word, gradient_disentangled, none; did you mean word?",
    "objective={name: replaced_token_detection, generator_fraction: 4}": "objective.generator_fraction: got 4, "
    "expected a number > 0 and <= 1",
    "objective={name: replaced_token_detection, temperature: 0}": "objective.temperature: got 0, expected a number > 0",
    "objective={name: replaced_token_detection, generator_num_hidden_layers: 0}": "objective."
    "generator_num_hidden_layers: got 0, expected a whole number >= 1 or null",
    "objective={name: replaced_token_detection, generator_from: ''}": "objective.generator_from: got '' (text), "
    "expected text that is not empty or null",
    "masking.random_replace_prob=0.5": "masking: mask_replace_prob + random_replace_prob = 1.3, expected at most 1",
    "masking={name: token, name: token}": "masking.name: got 2 times (line 1), expected a key once; keep one of them",
}  # fmt: skip


@pytest.mark.parametrize("override", REFUSALS)
def test_a_mistake_is_refused_with_its_path_what_was_got_and_what_was_expected(path: Path, override: str) -> None:
    (problem,) = problems(path, override)
    assert problem.startswith(REFUSALS[override])


def test_a_section_that_is_missing_is_told(write: Write) -> None:
    text = re.sub("^(corpus|train):.*\n", "", WHOLE, flags=re.MULTILINE)
    assert problems(write(text)) == ["corpus: missing; expected a mapping", "train: missing; expected a mapping"]


DETECTION = "objective={name: replaced_token_detection}"
MODERNBERT = (
    "encoder={name: modernbert, num_hidden_layers: 2, hidden_size: 64, num_attention_heads: 2, intermediate_size: 96}"
)

BETWEEN_SECTIONS = {
    ("examples={name: packed}",): "examples.name: got 'packed' with objective mlm_nsp, which asks whether B follows A, "
    "expected sentence_pairs; change it, or set objective.name to mlm",
    ("examples={name: sentence_order}",): "examples.name: got 'sentence_order' with objective mlm_nsp, which asks "
    "whether B follows A, expected sentence_pairs; change it, or set objective.name to mlm_sop or mlm",
    ("objective.name=mlm_sop", "checkpoint.best=null"): "examples.name: got 'sentence_pairs' with objective mlm_sop, "
    "which asks whether A and B are in order, expected sentence_order; change it, or set objective.name to mlm_nsp or "
    "mlm",
    ("examples.max_seq_length=1024",): "examples.max_seq_length: got 1024, expected at most "
    "encoder.max_position_embeddings = 512; lower the one or raise the other",
    ("encoder.num_attention_heads=3",): "encoder.hidden_size: got 256 with 3 attention heads, expected a multiple of "
    "encoder.num_attention_heads; change one of them",
    ("schedule.warmup_steps=1000",): "schedule.warmup_steps: got 1000, expected fewer than train.steps = 1000; lower ",
    ("schedule={name: trapezoidal, warmup_steps: 100, decay_fraction: 0.95}",): "schedule.decay_fraction: got 0.95 "
    "after 100 warm-up steps of 1000, expected the fall to begin once the warm-up is over; lower one of them",
    ("checkpoint.best=eval/mlm",): "checkpoint.best: got 'eval/mlm' (text), expected what objective mlm_nsp reports: "
    "eval/mlm_nats, eval/accuracy/mlm, eval/nsp_nats, eval/accuracy/nsp; did you mean eval/mlm_nats?",
    ("checkpoint.best=eval/nsp_nats", "objective.name=mlm"): "checkpoint.best: got 'eval/nsp_nats' (text), expected "
    "what objective mlm reports: eval/mlm_nats, eval/accuracy/mlm",
    ("checkpoint.keep_every=300",): "checkpoint.keep_every: got 300, expected a multiple of checkpoint.every_steps = "
    "200, as only checkpoints that are written can be kept; change one of them, or leave it out",
    ("checkpoint={keep_every: 200}",): "checkpoint.keep_every: got 200 without checkpoint.every_steps, expected it to "
    "be set, as only checkpoints that are written can be kept; change one of them, or leave it out",
    (DETECTION, "checkpoint.best=null"): "encoder.name: got bert with objective replaced_token_detection, expected "
    "electra or modernbert; name electra is the same body (embedding_size left out is hidden_size)",
    (DETECTION, MODERNBERT, "checkpoint.best=null"): "objective.generator_fraction: got 0.25 with sharing all on a "
    "ModernBERT, whose embeddings are as wide as its layers, expected 1.0; set that and a smaller "
    "objective.generator_num_hidden_layers, or set objective.sharing to none",
    (DETECTION, "encoder.name=electra", "objective.generator_from=runs/x/generator", "checkpoint.best=null"): (
        "objective.generator_from: got a folder with sharing all beside a fresh encoder, whose words would replace the "
        "folder's, expected encoder: {from: FOLDER} as well; set that, or objective.sharing to none"
    ),
    (DETECTION, "encoder.name=electra"): "checkpoint.best: got 'eval/mlm_nats' (text), expected what objective "
    "replaced_token_detection reports: eval/generator_nats, eval/accuracy/generator, eval/discriminator_nats, "
    "eval/accuracy/discriminator, eval/precision/discriminator, eval/recall/discriminator, "
    "eval/auc/discriminator",
    (DETECTION, "encoder.name=electra", "checkpoint.best=eval/auc"): "checkpoint.best: got 'eval/auc' (text), "
    "expected what objective replaced_token_detection reports: ",
    ("corpus.held_out=0", "checkpoint.best=null"): "evaluate.every_steps: got 200 with corpus.held_out = 0, expected "
    "held-out documents to score; hold some out, or leave it out",
    ("corpus.held_out=0", "evaluate.every_steps=null"): "checkpoint.best: got eval/mlm_nats with corpus.held_out = 0, ",
}  # fmt: skip


@pytest.mark.parametrize("overrides", BETWEEN_SECTIONS, ids=lambda overrides: overrides[0])
def test_sections_that_do_not_fit_together_are_refused(path: Path, overrides: tuple[str, ...]) -> None:
    (problem,) = problems(path, *overrides)
    assert problem.startswith(BETWEEN_SECTIONS[overrides])


@pytest.mark.parametrize(
    "overrides",
    [
        ["objective.name=mlm"],  # pairs without NSP: two segments, as ELECTRA's data has them
        ["objective.name=mlm", "examples={name: packed}"],
        ["checkpoint.keep_every=400"],
        ["corpus.held_out=0", "evaluate.every_steps=null", "checkpoint.best=null"],
        ["examples.max_seq_length=512"],
        ["examples.max_seq_length=1024", "encoder={from: runs/x/model}"],  # its positions are known when it is read
        ["train.steps=null", "train.epochs=1", "schedule.warmup_steps=5000"],  # the number of steps is not known yet
        ["train.micro_batch_size=1"],
        ["train.micro_batch_size=null"],
        ["train.steps=101"],
        ["probes=[senses]"],
        [DETECTION, "encoder.name=electra", "checkpoint.best=eval/auc/discriminator"],
        [
            DETECTION,
            "encoder.name=electra",
            "encoder.embedding_size=64",
            "checkpoint.best=eval/precision/discriminator",
        ],
        [DETECTION, MODERNBERT, "objective.sharing=none", "checkpoint.best=null"],
        [DETECTION, MODERNBERT, "objective.generator_fraction=1.0", "checkpoint.best=eval/generator_nats"],
        [DETECTION, "encoder={from: runs/x/model}", "checkpoint.best=null"],  # a BERT's folder becomes an ELECTRA
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_fits_is_not_refused(path: Path, write: Write, overrides: list[str]) -> None:
    recipe = read_recipe(path, overrides)
    assert read_recipe(write(recipe.to_yaml())) == recipe


# Refusals, all at once -----------------------------------------------------------------------------------------------


def test_all_problems_of_all_kinds_stand_in_one_message(write: Write) -> None:
    text = WHOLE.replace("seed: 0", "seed: 0\nseed: 1\nsede: 2").replace("name: mlm_nsp", "nmae: mlm_nsp")
    text = text.replace("learning_rate: 1e-3", "learning_rate: fast, learning_rate: 1, lerning_rate: 2")
    overrides = "train.hours=1 train.batch_size=0 train.keep=1 examples.max_seq_length=600 corpus.files=a x"
    found = problems(write(text), *overrides.split())
    expected = {
        "seed": "got 2 times (lines 2, 3), expected a key once",
        "sede": "unknown key; did you mean seed?",
        "objective.name": "missing; expected one of mlm, mlm_nsp, mlm_sop",
        "optimizer.learning_rate": "got 2 times (line 11), expected a key once",
        "optimizer.lerning_rate": "unknown key; did you mean learning_rate?",
        "train": "got steps and hours, expected exactly one of",
        "train.batch_size": "got 0, expected a whole number >= 1",
        "train.keep": "unknown key; did you mean checkpoint.keep?",
        "examples.max_seq_length": "got 600, expected at most encoder.max_position_embeddings = 512",
        "corpus.files": "got 'a' (text), expected a list of text",
        "x": "expected section.key=value",
    }
    for key, text in expected.items():
        assert any(problem.startswith(f"{key}: {text}") for problem in found), (key, found)


def test_every_key_that_is_given_twice_is_told(write: Write) -> None:
    text = WHOLE.replace("keep: 2", "keep: 2, keep: 2, keep: 3") + "name: other\n"
    assert problems(write(text)) == [
        "checkpoint.keep: got 3 times (line 13), expected a key once; keep one of them",
        "name: got 2 times (lines 1, 15), expected a key once; keep one of them",
    ]


def test_aliases_merge_keys_and_keys_that_are_not_text_are_refused(write: Write) -> None:
    (alias,) = problems(write(WHOLE + "extra: &a {b: *a}\n"))
    assert alias.startswith("extra.b: got an alias (line 15 is used again), expected the value itself; write it out")
    merge, *_ = problems(write(WHOLE + "<<: {seed: 1}\n"))
    assert merge.startswith("<<: got a merge key (line 15), expected plain keys; write out what it adds")
    assert problems(write(WHOLE + "3: 4\n")) == [
        "3: got a key that is not text (line 15), expected the name of a setting"
    ]


def test_a_long_wrong_value_is_shortened(path: Path) -> None:
    (problem,) = problems(path, f"train.steps={'long' * 1000}")
    assert len(problem) < 200


#  Overrides -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["train.steps", "=3", "train..steps=3", ""])
def test_an_override_without_key_or_value_is_refused(path: Path, wrong: str) -> None:
    assert problems(path, wrong) == [f"{wrong}: expected section.key=value, such as train.steps=100"]


def test_an_override_that_is_not_yaml_is_refused(path: Path) -> None:
    (problem,) = problems(path, "corpus.files=*.txt")
    assert re.match(r"corpus.files: .* is not YAML: line 1, column 1: .*needs quotes", problem)


# Files that are no recipes -------------------------------------------------------------------------------------------

NOT_RECIPES = {
    b"": "is empty, expected a mapping with the keys name, seed",
    b"# nothing\n": "is empty, expected a mapping with the keys name, seed",
    b"- a\n- b": "is not a recipe: got ['a', 'b'] (a list), expected a mapping with the keys name, seed",
    b"a: 1\nb: c: d\n": "is not YAML: line 2, column 5: mapping values are not allowed here. Expected YAML 1.2; ",
    b"a: 1\nb: [1\n": "is not YAML: line 3, column 1: expected ',' or ']'",
    b"a:\n\t- b": "is not YAML: line 2, column 1: found character '\\t'",
    b"a: !!python/object x": "is not YAML: line 1, column 4: could not determine a constructor",
    b"a: 1\n---\nb: 2": "is not YAML: line 2, column 1: but found another document",
    b"a: 2020-13-45": "is not YAML: month must be in 1..12",
    b"a: \x00": "is not YAML: unacceptable character #x0000",
    b"[" * 1500: "is not YAML: it is nested too deeply",
    b"a: 1\nb: \xff": "is not UTF-8 text: line 2 has the byte 0xff at offset 8, expected UTF-8; save the file in",
}


@pytest.mark.parametrize("content", NOT_RECIPES, ids=lambda content: repr(content[:20]))
def test_a_file_that_is_no_recipe_is_refused_with_its_place(write: Write, content: bytes) -> None:
    path = write(content)
    assert refusal(path).startswith(f"{path} {NOT_RECIPES[content]}")


def test_a_file_that_is_not_there_is_refused_with_the_nearest(path: Path) -> None:
    missing = path.with_name("tiral.yaml")
    assert refusal(missing) == f"{missing} does not exist, expected a recipe; did you mean {path}?"
    nowhere = path.parent / "none" / "recipe"
    assert refusal(nowhere) == f"{nowhere} does not exist, expected a recipe; give the path of a YAML file."


def test_a_folder_is_refused_with_what_is_in_it(path: Path) -> None:
    folder = path.parent
    assert refusal(folder) == f"{folder} is a folder, expected a recipe; give a YAML file (in it: trial.yaml)."


def test_a_byte_order_mark_is_no_mistake(write: Write) -> None:
    assert read_recipe(write(b"\xef\xbb\xbf" + WHOLE.encode())).name == "trial"
