"""Sweep files and their cells: what is combined, what follows from what, and what is refused before anything runs."""

import json
from pathlib import Path

import pytest

from pretrain.recipe import RecipeError, read_recipe, training_settings
from pretrain.recipe_text import write
from pretrain.sweeps.cells import cells_of, chosen, reference_of, settings_of
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.settings import Sweep, read_sweep

ROOT = Path(__file__).resolve().parents[1]
BASE = str(ROOT / "recipes" / "bert_tiny_mlm_nsp.yaml")
SHIPPED = sorted((ROOT / "recipes" / "sweeps").glob("*.yaml"))
RATE, SPLIT = "masking.mlm_probability", "masking.mask_replace_prob"


def sweep_of(**keys: object) -> Sweep:
    plain = {"name": "try", "base": BASE, "axes": {RATE: (0.15, 0.3)}, "seeds": (0, 1), "match": "steps"}
    return Sweep.model_validate({**plain, **keys})


def written(tmp_path: Path, **keys: object) -> Path:
    path = tmp_path / "sweep.yaml"
    plain = {"name": "try", "base": BASE, "axes": {RATE: [0.15, 0.3]}, "seeds": [0, 1], "match": "steps"}
    path.write_text(write({**plain, **keys}), encoding="utf-8")
    return path


def refusal(tmp_path: Path, **keys: object) -> str:
    sweep = read_sweep(written(tmp_path, **keys))
    with pytest.raises(RecipeError) as refused:
        cells_of(sweep, settings_of(sweep), tmp_path)
    return str(refused.value)


# ---------------------------------------------------------------------------------------------- what is combined


def test_a_grid_has_every_value_with_every_other_and_a_zip_the_nth_with_the_nth() -> None:
    axes = {RATE: (0.15, 0.3), SPLIT: (0.8, 0.9)}
    grid = settings_of(sweep_of(axes=axes))
    zipped = settings_of(sweep_of(axes=axes, combine="zip"))
    assert [list(s.levels.values()) for s in grid] == [["0.15", "0.8"], ["0.15", "0.9"], ["0.3", "0.8"], ["0.3", "0.9"]]
    assert [list(s.levels.values()) for s in zipped] == [["0.15", "0.8"], ["0.3", "0.9"]]


def test_each_cell_is_the_base_recipe_with_its_values_and_its_seed(tmp_path: Path) -> None:
    sweep = sweep_of()
    cells = cells_of(sweep, settings_of(sweep), tmp_path)
    assert [(cell.recipe.masking.mlm_probability, cell.recipe.seed) for cell in cells] == [
        *((0.15, 0), (0.3, 0)),
        *((0.15, 1), (0.3, 1)),
    ]
    base = training_settings(read_recipe(BASE))
    for cell in cells:
        changed = {key for key, value in training_settings(cell.recipe).items() if base.get(key) != value}
        assert changed <= {RATE, "seed"}
        assert cell.recipe.run_dir == tmp_path / "runs" / cell.name


def test_a_linked_key_follows_the_values_of_its_cell(tmp_path: Path) -> None:
    sweep = sweep_of(axes={SPLIT: (0.9, 0.3)}, linked={"masking.random_replace_prob": f"1 - {SPLIT}"})
    cells = cells_of(sweep, settings_of(sweep), tmp_path)
    shares = [(cell.recipe.masking.mask_replace_prob, cell.recipe.masking.random_replace_prob) for cell in cells[:2]]
    assert shares == [(0.9, 0.1), (0.3, 0.7)]  # and not 0.09999999999999998


def test_a_linked_key_sees_the_keys_of_the_recipe_that_no_axis_varies(tmp_path: Path) -> None:
    own = read_recipe(BASE).train.batch_size
    sweep = sweep_of(linked={"train.batch_size": "train.batch_size * 2"})
    assert {cell.recipe.train.batch_size for cell in cells_of(sweep, settings_of(sweep), tmp_path)} == {2 * own}


def test_the_reference_is_what_the_base_recipe_has_unless_another_is_named() -> None:
    assert reference_of(sweep_of(axes={RATE: (0.3, 0.15)}), settings_of(sweep_of(axes={RATE: (0.3, 0.15)}))).label == (
        "mlm_probability 0.15"
    )
    named = sweep_of(reference={RATE: 0.3})
    assert reference_of(named, settings_of(named)).label == "mlm_probability 0.3"
    strange = sweep_of(axes={RATE: (0.4, 0.5)})
    assert reference_of(strange, settings_of(strange)).label == "mlm_probability 0.4"


def test_the_reference_is_found_by_value_whatever_it_is_called() -> None:
    labelled = sweep_of(axes={RATE: (0.4, 0.15)}, labels=("high", "low"))
    assert reference_of(labelled, settings_of(labelled)).label == "low"
    named = labelled.model_copy(update={"reference": {RATE: 0.4}})
    assert reference_of(named, settings_of(named)).label == "high"
    whole = sweep_of(axes={"masking.random_replace_prob": (1, 0)}, settings={"masking.random_replace_prob": 0.0})
    assert reference_of(whole, settings_of(whole)).levels == {"masking.random_replace_prob": "0"}  # 0 is 0.0
    section = sweep_of(axes={"masking": ({"name": "span"}, {"name": "token", "mlm_probability": 0.15})})
    assert reference_of(section, settings_of(section)).label == "masking token mlm_probability 0.15"


def test_the_finished_model_of_a_cell_is_the_last_one(tmp_path: Path) -> None:
    sweep = sweep_of(settings={"checkpoint.best": "eval/mlm_nats"})
    assert all(cell.recipe.checkpoint.best is None for cell in cells_of(sweep, settings_of(sweep), tmp_path))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_have_valid_cells(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(path)
    settings = settings_of(sweep)
    assert sweep.name == path.stem and len(sweep.seeds) >= 3
    assert len(cells_of(sweep, settings, tmp_path)) == len(settings) * len(sweep.seeds)
    assert reference_of(sweep, settings) in settings


def test_a_resolved_sweep_reads_back_to_the_same(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path), ["train.batch_size=16", "sweep.seeds=[3]", "sweep.amount=50"])
    (tmp_path / "again.yaml").write_text(sweep.to_yaml(), encoding="utf-8")
    assert read_sweep(tmp_path / "again.yaml") == sweep
    assert sweep.seeds == (3,) and sweep.settings == {"train.batch_size": 16} and sweep.amount == 50


@pytest.mark.parametrize(
    "filters, expected",
    [
        ([], 4),
        (["mlm_probability=0.3"], 2),
        ([f"{RATE}=0.3,seed=1"], 1),
        (["seed=0", "mlm_probability=0.3"], 3),
    ],
)
def test_only_the_cells_that_pass_a_filter_are_run(filters: list[str], expected: int, tmp_path: Path) -> None:
    sweep = sweep_of()
    assert len(chosen(cells_of(sweep, settings_of(sweep), tmp_path), filters)) == expected


# ---------------------------------------------------------------------------------------------- what is refused


def test_an_axis_that_names_no_key_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    told = refusal(tmp_path, axes={"masking.mlm_probabilty": [0.15, 0.3]})
    assert "4 of 4 cells have no valid recipe, so nothing was started" in told
    assert "masking.mlm_probabilty: unknown key; did you mean mlm_probability?" in told


def test_all_cells_whose_recipe_is_not_valid_are_listed_with_what_is_wrong(tmp_path: Path) -> None:
    told = refusal(tmp_path, axes={RATE: [0.15, 1.5, 0.0]}, seeds=[7])
    assert "2 of 3 cells" in told
    assert "mlm_probability-1.5_seed-7" in told and "mlm_probability-0.0_seed-7" in told
    assert "mlm_probability-0.15_seed-7" not in told
    assert told.count("expected") == 2


def test_cells_that_a_budget_makes_invalid_are_listed_too(tmp_path: Path) -> None:
    sweep = sweep_of()
    with pytest.raises(RecipeError, match=r"4 of 4 cells(.|\n)*schedule.warmup_steps: got"):
        cells_of(sweep, settings_of(sweep), tmp_path, lambda setting: ["train.steps=2", "schedule.warmup_steps=2"])


def test_two_cells_that_come_to_the_same_recipe_are_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, axes={"train.micro_batch_size": [8, 4]})
    assert "micro_batch_size-8_seed-0 and micro_batch_size-4_seed-0 come to the same recipe" in told
    assert "take one of the settings out" in told


def test_a_value_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    assert "would both be called mlm_probability-0.15_seed-0" in refusal(tmp_path, axes={RATE: [0.15, 0.15]})


@pytest.mark.parametrize(
    "keys, told",
    [
        ({"axes": {}}, "axes: "),
        ({"axes": {RATE: []}}, "got no value for masking.mlm_probability"),
        ({"seeds": [1, 1]}, "seeds: got [1, 1], expected each seed once"),
        ({"seeds": []}, "seeds: "),
        ({"match": "time"}, "match: got 'time' (text), expected one of steps, tokens, targets, flops, wall_clock"),
        ({"combine": "zip", "axes": {RATE: [0.1], SPLIT: [0.8, 0.9]}}, "expected as many values of each"),
        ({"labels": ["a"]}, "expected 2 different ones"),
        ({"labels": ["a", "b"], "axes": {RATE: [0.1, 0.2], SPLIT: [0.8, 0.9]}}, "labels: got them for a grid"),
        ({"amount": 0}, "amount: got 0, expected a number > 0"),
        ({"amount": 1.5}, "amount: got 1.5, expected a whole number of steps"),
        ({"reference": {SPLIT: 0.8}}, f"reference: {SPLIT} is no axis"),
        ({"linked": {RATE: "0.1"}}, f"linked: {RATE} is an axis as well"),
        ({"axes": {"masking": [{"name": "span"}], RATE: [0.1]}}, f"got masking and {RATE}, one of which replaces"),
        ({"axis": {}}, "axis: unknown key; did you mean axes?"),
        ({"rates": [1.5]}, "rates"),
    ],
)
def test_a_sweep_file_that_does_not_fit_is_refused(keys: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        read_sweep(written(tmp_path, **keys))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "formula, told",
    [
        ("1 - masking.nothing", "expected an expression"),
        ("1 +", "expected an expression"),
        ("__import__('os')", "expected an expression"),
        ("masking.name", "expected it to come to a number"),
        ("1 / 0", "expected an expression"),
        ("9 ** 9 ** 9 ** 9", "expected an expression"),
    ],
)
def test_a_link_that_is_no_expression_of_numbers_is_refused(formula: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        settings_of(sweep_of(linked={"masking.random_replace_prob": formula}))


@pytest.mark.parametrize("filters", [["seed=9"], ["lr=1"], ["seed"]])
def test_a_filter_that_nothing_passes_is_refused(filters: list[str], tmp_path: Path) -> None:
    sweep = sweep_of()
    with pytest.raises(RecipeError, match=r"--only .*expected"):
        chosen(cells_of(sweep, settings_of(sweep), tmp_path), filters)


# ---------------------------------------------------------------------------------------------- whose folder it is


def _written(folder: SweepFolder, sweep: Sweep, amount: float = 20) -> None:
    cells = cells_of(sweep, settings_of(sweep), folder.path)
    folder.write(sweep, read_recipe(sweep.base, sweep.overrides), amount, cells)


def test_a_folder_is_its_sweeps_own_when_seeds_and_values_are_added(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "s")
    _written(folder, sweep_of())
    more = sweep_of(seeds=(0, 1, 2), axes={RATE: (0.15, 0.3, 0.4)})
    folder.check(more, read_recipe(BASE))
    assert folder.amount() == 20


@pytest.mark.parametrize(
    "keys, told",
    [
        ({"match": "tokens"}, "match: steps -> tokens"),
        ({"amount": 30}, "amount: 20.0 -> 30"),
        ({"settings": {"train.batch_size": 8}}, "train.batch_size: "),
    ],
)
def test_the_folder_of_another_sweep_is_refused(keys: dict[str, object], told: str, tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "s")
    _written(folder, sweep_of())
    other = sweep_of(**keys)
    with pytest.raises(RecipeError) as refused:
        folder.check(other, read_recipe(other.base, other.overrides))
    assert "is the folder of another sweep" in str(refused.value) and told in str(refused.value)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(RecipeError, match=r"holds thesis.txt and no sweep.json, expected .* Give another with --out"):
        SweepFolder(tmp_path).check(sweep_of(), read_recipe(BASE))


def test_runs_that_another_recipe_made_are_refused_with_what_differs(tmp_path: Path) -> None:
    folder, sweep = SweepFolder(tmp_path), sweep_of()
    cells = cells_of(sweep, settings_of(sweep), tmp_path)
    for cell, recipe in ((cells[0], cells[0].recipe), (cells[1], cells[0].recipe)):
        folder.run(cell.name).mkdir(parents=True)
        (folder.run(cell.name) / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        folder.check_runs(cells)
    assert f"{cells[1].name}: masking.mlm_probability: 0.15 -> 0.3" in str(refused.value)
    assert cells[0].name not in str(refused.value)


def test_dates_and_other_values_that_no_recipe_has_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + "settings: {corpus.license: 2020-01-01}\n")
    for words in ([], ["corpus.license=2020-01-01"]):
        with pytest.raises(RecipeError, match=r"for corpus\.license, expected .* put what is text in quotes"):
            read_sweep(path, words)


def test_an_axis_below_a_number_is_told_as_any_key_that_is_none(tmp_path: Path) -> None:
    told = refusal(tmp_path, axes={f"{RATE}.start": [0.1]}, linked={"masking.random_replace_prob": "0.1"})
    assert RATE in told and "expected" in told


def test_a_folder_that_a_kill_left_half_written_is_taken_up(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "s")
    _written(folder, sweep_of())
    folder.record.unlink()
    folder.check(sweep_of(), read_recipe(BASE))


def test_a_sweep_on_other_texts_is_another_one(tmp_path: Path) -> None:
    folder, sweep = SweepFolder(tmp_path / "s"), sweep_of()
    cells = cells_of(sweep, settings_of(sweep), folder.path)
    stores = {"mlm_probability 0.15": "books", "mlm_probability 0.3": "books"}
    folder.write(sweep, read_recipe(BASE), 20, cells, stores)
    folder.check_stores(stores | {"mlm_probability 0.4": "books"})
    for other in ({"mlm_probability 0.15": "news"}, {"mlm_probability 0.4": "news"}):
        with pytest.raises(RecipeError, match="sweep on other texts, expected the same corpus and tokenizer"):
            folder.check_stores(other)


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"match": "steps"}))
    with pytest.raises(RecipeError, match="cannot be read"):
        SweepFolder(tmp_path).amount()
