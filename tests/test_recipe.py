"""Recipes: what is shipped loads, what is written reads back the same, and overrides change what they name."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from objectives.examples import EXAMPLES
from objectives.masking import MASKINGS
from pretrain.optimizer import OPTIMIZERS, AdamW
from pretrain.recipe import (
    SECTIONS,
    Recipe,
    RecipeError,
    check_world_size,
    differing_keys,
    read_recipe,
)
from tests.whole_recipe import write_recipe

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(write_recipe, tmp_path)


@pytest.fixture
def path(write: Write) -> Path:
    return write()


# Reading and writing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_is_named_like_its_file_and_reads_back_the_same(shipped: Path, write: Write) -> None:
    recipe = read_recipe(shipped)
    assert recipe.name == shipped.stem
    assert read_recipe(write(recipe.to_yaml())) == recipe


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_says_in_its_header_what_it_is_and_whose(shipped: Path) -> None:
    header = shipped.read_text().partition("\nname:")[0]
    assert all(line.startswith("#") or not line for line in header.splitlines())
    assert re.search(r"https://\S+", header) and "Differs" in header


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_reads_files_that_are_shipped(shipped: Path) -> None:
    corpus = read_recipe(shipped).corpus
    held_out = () if isinstance(corpus.held_out, float) else corpus.held_out.files
    assert held_out and all((ROOT / file).is_file() for file in (*corpus.files, *held_out))


def test_there_are_recipes_to_test() -> None:
    assert {path.stem for path in SHIPPED} >= {"demo", "bert_tiny_mlm_nsp", "bert_base_128", "bert_base_512"}


def test_the_two_runs_of_bert_base_are_the_million_steps_of_the_paper() -> None:
    first, second = (read_recipe(ROOT / "recipes" / f"bert_base_{length}.yaml") for length in (128, 512))
    assert (first.train.steps, second.train.steps) == (900_000, 100_000)
    for step, factor in ((5_000, 0.5), (500_000, 0.5), (899_999, 1 - 0.899999)):
        assert first.schedule.factor(step, step / 900_000) == pytest.approx(factor)
    for step in (1_000, 50_000, 99_999):
        assert second.schedule.factor(step, step / 100_000) == pytest.approx(1 - (900_000 + step) / 1_000_000)


def test_defaults_are_written_out_in_the_order_of_the_sections(path: Path) -> None:
    text = read_recipe(path).to_yaml()
    keys = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    assert keys == ["name", "seed", "output_dir", "cache_dir", *SECTIONS, "probes"] == list(Recipe.model_fields)
    for default in (
        "beta2: 0.999",
        "on_error: stop",
        "max_position_embeddings: 512",
        "trackers: []",
        "output_dir: null",
    ):
        assert re.search(rf"^ *{re.escape(default)}$", text, flags=re.MULTILINE), default


@pytest.mark.parametrize(
    "override",
    [
        "name=no", "name=on", "corpus.text_field='null'", "corpus.text_field='1e-3'", "corpus.text_field='012'",
        "corpus.files=['a: b #c', '*.txt', 'ü\\nä', '']", "optimizer.learning_rate=1e-12", "optimizer.epsilon=1e-08",
        "corpus.held_out={files: [b, c]}", "encoder={from: runs/x/model}", "tokenizer={path: '~/tokenizer'}",
        "train.mixed_precision=no", f"corpus.text_field={'long ' * 60}",
    ],
)  # fmt: skip
def test_values_that_yaml_could_mistake_read_back_the_same(path: Path, write: Write, override: str) -> None:
    recipe = read_recipe(path, [override])
    assert read_recipe(write(recipe.to_yaml())) == recipe


def test_numbers_and_words_are_those_of_yaml_1_2(path: Path) -> None:
    recipe = read_recipe(path, ["optimizer.learning_rate=1e-3", "train.mixed_precision=no", "train.steps=0o1750"])
    assert isinstance(recipe.optimizer, AdamW) and recipe.optimizer.learning_rate == 0.001
    assert (recipe.train.mixed_precision, recipe.train.steps) == ("no", 1000)


def test_settings_cannot_be_changed(path: Path) -> None:
    recipe = read_recipe(path)
    with pytest.raises(ValueError, match="frozen"):
        recipe.train.steps = 5  # type: ignore[misc]


def test_the_run_directory_follows_the_name_unless_it_is_given(path: Path) -> None:
    assert read_recipe(path).run_dir == Path("runs/trial")
    assert read_recipe(path, ["output_dir=elsewhere/x"]).run_dir == Path("elsewhere/x")


# Overrides -----------------------------------------------------------------------------------------------------------


def test_the_later_override_wins(path: Path) -> None:
    assert read_recipe(path, ["train.steps=500", "train.steps=600"]).train.steps == 600


def test_a_mapping_replaces_a_whole_section(path: Path) -> None:
    recipe = read_recipe(path, ["optimizer={name: muon, learning_rate: 3e-3, muon_learning_rate: 0.02}"])
    assert isinstance(recipe.optimizer, OPTIMIZERS["muon"])


def test_an_optional_section_need_not_be_in_the_file_to_be_set(path: Path) -> None:
    assert read_recipe(path, ["log.every_steps=5"]).log.every_steps == 5


def test_the_budget_changes_over_by_two_overrides(path: Path) -> None:
    train = read_recipe(path, ["train.hours=0.1", "train.steps=null"]).train
    assert (train.steps, train.hours) == (None, 0.1)


def test_an_equals_sign_may_stand_in_a_value(path: Path) -> None:
    assert read_recipe(path, ["corpus.files=[data/split=train/a.txt]"]).corpus.files == ("data/split=train/a.txt",)


# Comparing and launching ---------------------------------------------------------------------------------------------


def test_keys_that_change_the_training_are_listed_with_both_values(path: Path) -> None:
    overrides = ["optimizer.learning_rate=2e-3", "train.max_grad_norm=null", "seed=1", "examples.short_seq_prob=0"]
    assert differing_keys(read_recipe(path), read_recipe(path, overrides)) == [
        "seed: 0 -> 1",
        "examples.short_seq_prob: 0.1 -> 0.0",
        "optimizer.learning_rate: 0.001 -> 0.002",
        "train.max_grad_norm: 1.0 -> null",
    ]


def test_another_class_of_a_section_differs_in_its_keys(path: Path) -> None:
    a, b = read_recipe(path), read_recipe(path, ["tokenizer={path: x}"])
    differing = differing_keys(a, b)
    assert 'tokenizer.name: "wordpiece" -> not set' in differing and 'tokenizer.path: not set -> "x"' in differing


def test_keys_that_do_not_change_the_training_may_differ(path: Path) -> None:
    overrides = [
        "name=other", "output_dir=x", "cache_dir=y", "log={every_steps: 1, trackers: [wandb]}", "probes=[senses]",
        "checkpoint={every_steps: 1, keep: 5}", "evaluate.every_steps=7", "train.micro_batch_size=8",
        "train.gradient_checkpointing=true", "train.compile=true", "corpus.files=[moved/a.jsonl.gz]",
    ]  # fmt: skip
    assert differing_keys(read_recipe(path), read_recipe(path, overrides)) == []


def test_held_out_files_may_be_moved_but_not_turned_into_a_share(path: Path) -> None:
    a, b = (read_recipe(path, [f"corpus.held_out={{files: [{file}]}}"]) for file in ("a", "b"))
    assert differing_keys(a, b) == []
    assert differing_keys(read_recipe(path), a) == ["corpus.held_out: 0.01 -> not set"]


def test_fewer_examples_than_processes_are_refused(path: Path) -> None:
    recipe = read_recipe(path, ["train.batch_size=3", "train.micro_batch_size=1"])
    for num_processes in (1, 2, 3):
        check_world_size(recipe, num_processes)
    with pytest.raises(RecipeError) as refused:
        check_world_size(recipe, 4)
    assert str(refused.value) == (
        "train.batch_size = 3 is fewer than the 4 processes that were started, so one would have nothing to do.\n"
        "Set train.batch_size to 4 or more, or start at most 3 processes."
    )


# The tables ----------------------------------------------------------------------------------------------------------


def test_every_entry_of_a_table_is_frozen_strict_about_keys_and_called_by_its_name() -> None:
    assert SECTIONS["examples"] is EXAMPLES and SECTIONS["masking"] is MASKINGS and SECTIONS["optimizer"] is OPTIMIZERS
    for section, choices in SECTIONS.items():
        for name, settings in choices.items() if isinstance(choices, dict) else [(None, choices)]:
            assert settings.model_config.get("frozen") and settings.model_config.get("extra") == "forbid", section
            assert name is None or settings.model_json_schema()["properties"]["name"]["const"] == name


def test_every_number_of_every_section_refuses_text_truth_values_and_numbers_in_quotes() -> None:
    num_checked = 0
    for choices in SECTIONS.values():
        for settings in choices.values() if isinstance(choices, dict) else [choices]:
            for key, schema in settings.model_json_schema()["properties"].items():
                kinds = {branch.get("type") for branch in schema.get("anyOf", [schema])}
                if not kinds & {"integer", "number"}:
                    continue
                for wrong in ("fast", True, "1"):
                    num_checked += 1
                    with pytest.raises(ValidationError) as refused:
                        settings.model_validate({key: wrong})
                    assert any(error["loc"][0] == key for error in refused.value.errors()), (settings, key, wrong)
    assert num_checked > 100
