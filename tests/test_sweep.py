"""Whole sweeps of tiny runs: equal in what is matched, the same when cut off, and told in one page."""

import csv
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.masking import NOT_A_TARGET
from pretrain import sweep as command
from pretrain.assembly import prepared_store, training_examples
from pretrain.batches import Position
from pretrain.evaluate import evaluate
from pretrain.recipe import RecipeError, read_recipe
from pretrain.recipe_text import write
from pretrain.sweeps import calibration, running
from pretrain.sweeps.budgets import amount_of, flops_per_step, overrides_for, targets_per_step, tokens_per_step
from pretrain.sweeps.calibration import Pace
from pretrain.sweeps.children import CellFailed, Share
from pretrain.sweeps.collecting import outcome_of
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.forecast import forecasts, lines
from pretrain.sweeps.planning import SweepPlan, plan
from pretrain.sweeps.results import read_results
from pretrain.sweeps.settings import read_sweep

RATE = "masking.mlm_probability"
BY_THE_CLOCK = {"hours", "tokens_per_second"}
Launched = list[str]


@pytest.fixture
def sweep_file(tmp_path: Path, tiny_file: Path) -> Callable[..., Path]:
    """Writes a sweep of the tiny recipe."""

    def file(**keys: object) -> Path:
        path = tmp_path / "sweep.yaml"
        tiny = {
            "evaluate.every_steps": 5,
            "schedule": {"name": "trapezoidal", "warmup_steps": 2, "decay_fraction": 0.5},
        }
        plain: dict[str, object] = {"name": "try", "base": str(tiny_file), "settings": tiny, "match": "steps"}
        plain |= {"axes": {RATE: [0.15, 0.4]}, "seeds": [0, 1], "rates": [0.4, "own"], "amount": 10}
        path.write_text(write({key: value for key, value in (plain | keys).items() if value is not None}))
        return path

    return file


@pytest.fixture
def launched(launch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Launched:
    """Cells are run in this process, which takes a second and not ten; gives the names of what was launched."""
    names: Launched = []

    def run(command: Sequence[str], log: Path, share: Share, stopping: Callable[[], bool]) -> str:
        if "pretrain.evaluate" in command:
            at = command.index("--rates")
            run_dir, rates = Path(command[at - 1]), [word for word in command[at + 1 :] if not word.startswith("--")]
            return json.dumps(evaluate(run_dir, None, rates=rates, with_classes="--word-classes" in command))
        names.append(Path(command[-1]).stem)
        if "seed-13" in names[-1]:
            raise CellFailed("error: got 13, expected luck.")
        launch(read_recipe(command[-1]))
        return ""

    monkeypatch.setattr(running, "run", run)
    monkeypatch.setattr("pretrain.sweeps.executors.ThreadPoolExecutor", _HereAndNow)
    return names


class _HereAndNow:
    """A pool that does in this thread what it is given."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> "_HereAndNow":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def planned(path: Path, out: Path) -> SweepPlan:
    return plan(read_sweep(path), SweepFolder(out), lambda recipe: 0.01)


# ------------------------------------------------------------------------------------------------------- a whole sweep


def test_a_sweep_leaves_ordinary_runs_a_table_and_a_page(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command.main([str(sweep_file()), "--out", str(out)]) == 0
    names = ["mlm_probability-0.15_seed-0", "mlm_probability-0.4_seed-0"]
    names += [name.replace("seed-0", "seed-1") for name in names]
    assert launched == names
    results = read_results(out / "results.json")
    assert capsys.readouterr().out.splitlines() == results.answer and "simultaneous 95 %" in results.answer[0]
    assert [row.state for row in results.cells] == ["done"] * 4 and results.reference == "mlm_probability 0.15"
    for name in names:
        lines_of_run = [json.loads(line) for line in (out / "runs" / name / "metrics.jsonl").read_text().splitlines()]
        assert lines_of_run[-1]["step"] == 10 and (out / "runs" / name / "model" / "model.safetensors").exists()
    with (out / "results.csv").open(newline="") as file:
        rows = {row["cell"]: row for row in csv.DictReader(file)}
    assert rows.keys() == set(names)
    whole = {"eval/mlm_nats", "eval/own/mlm_nats", "eval/rate_0.4/mlm_nats", "eval/nsp_nats", "eval/function/mlm_nats"}
    assert all(float(row[key]) > 0 for row in rows.values() for key in whole)
    # 0.4 trained with 40 % masks, which is what its own are; the others' own are the frozen ones of 15 %.
    assert rows[names[0]]["eval/own/mlm_nats"] == rows[names[0]]["eval/mlm_nats"]
    assert rows[names[1]]["eval/own/mlm_nats"] == rows[names[1]]["eval/rate_0.4/mlm_nats"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert results.answer[0].split(":")[0] in page and results.run_best.split()[-1] in page
    assert (out / "settings.png").stat().st_size > 5000


def test_a_sweep_that_is_done_runs_nothing_and_says_the_same(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path
) -> None:
    words = [str(sweep_file(seeds=[0])), "--out", str(tmp_path / "out")]
    assert command.main(words) == 0
    first, csv_file = (tmp_path / "out" / "results.json").read_bytes(), (tmp_path / "out" / "results.csv").read_bytes()
    assert command.main(words) == 0
    assert len(launched) == 2
    assert (tmp_path / "out" / "results.json").read_bytes() == first
    assert (tmp_path / "out" / "results.csv").read_bytes() == csv_file


def test_cells_that_are_run_one_by_one_make_the_same_results(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path
) -> None:
    path = str(sweep_file(seeds=[0]))
    assert command.main([path, "--out", str(tmp_path / "whole")]) == 0
    for only in ("mlm_probability=0.4", "mlm_probability=0.15"):
        assert command.main([path, "--out", str(tmp_path / "parts"), "--only", only]) == 0
    whole, parts = (_timeless(tmp_path / name) for name in ("whole", "parts"))
    assert whole == parts and launched[2:] == launched[1::-1]


def _timeless(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return [{key: cell for key, cell in row.items() if key not in BY_THE_CLOCK} for row in csv.DictReader(file)]


def test_a_cell_that_fails_is_told_and_the_rest_is_compared(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path
) -> None:
    path, out = str(sweep_file(seeds=[0, 1, 13])), tmp_path / "out"
    assert command.main([path, "--out", str(out)]) == command.FAILED
    results = read_results(out / "results.json")
    failed = [row for row in results.cells if row.state == "failed"]
    assert [row.seed for row in failed] == [13, 13] and failed[0].error == "error: got 13, expected luck."
    assert len(launched) == 6 and any("2 failed" in says or "failed (" in says for says in results.answer)
    assert "expected luck" in (out / "report.html").read_text(encoding="utf-8")
    assert command.main([path, "--out", str(out)]) == command.FAILED and len(launched) == 8, "they are tried again"


def test_one_seed_concludes_nothing(sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path) -> None:
    assert command.main([str(sweep_file(seeds=[3])), "--out", str(tmp_path / "out")]) == 0
    results = read_results(tmp_path / "out" / "results.json")
    assert results.answer[0].startswith("Nothing can be concluded") and results.views[0].best is None


def test_what_is_wrong_is_said_before_anything_is_made(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    wrong: list[tuple[dict[str, object], list[str], str]] = [
        ({"axes": {"masking.rate": [0.1]}}, [], "unknown key"),
        ({}, ["--jobs", "100000"], "--jobs got 100000"),
        ({}, ["corpus.held_out=0.0", "evaluate.every_steps=null"], "holds no document out"),
        ({}, ["--report-only"], "which holds no sweep yet"),
        ({"measure": "eval/mlm_nat"}, [], "did you mean eval/mlm_nats?"),
        ({"measure": "probe/senses/share"}, [], "expected one that the cells will have"),
        ({"function_words": "/nope"}, [], "function_words: got /nope, which is no file"),
        ({"accelerate_config": "/nope"}, [], "accelerate_config: got /nope, which is no file"),
        ({}, ["--dry-run", "--only", "lr=1"], "--only got 'lr=1'"),
        ({}, ["--only", "seed=5"], "lets no cell through"),
        ({}, ["--executor", "slurm", "--option", "cluster"], "--option: got 'cluster', expected key=value"),
        ({}, ["--option", "cluster=local"], "got --option without --executor"),
    ]
    for keys, words, told in wrong:
        assert command.main([str(sweep_file(**keys)), *words, "--out", str(out)]) == 2
        assert told in capsys.readouterr().err
    assert launched == [] and not (out / "runs").exists()


@pytest.mark.parametrize("damage", ["[]", '{"model": 3}', "", None])
def test_a_cell_whose_files_are_damaged_costs_no_other_cell(
    damage: str | None, sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path
) -> None:
    words = [str(sweep_file(seeds=[0])), "--out", str(tmp_path / "out")]
    assert command.main(words) == 0
    cell = "mlm_probability-0.4_seed-0"
    if damage is None:
        (tmp_path / "out" / "runs" / cell / "metrics.jsonl").write_text("")
    else:
        (tmp_path / "out" / "compared" / f"{cell}.json").write_text(damage)
    assert command.main([*words, "--report-only"]) == 0
    states = {row.cell: row.state for row in read_results(tmp_path / "out" / "results.json").cells}
    assert states == {"mlm_probability-0.15_seed-0": "done", cell: "failed" if damage is None else "not run"}


def test_settings_that_are_scored_on_other_rows_are_not_compared_in_silence(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path
) -> None:
    path = sweep_file(seeds=[0], axes={"examples.max_seq_length": [32, 40]})
    assert command.main([str(path), "--out", str(tmp_path / "out")]) == 0
    answer = read_results(tmp_path / "out" / "results.json").answer
    assert answer[0].startswith("These figures cannot be compared") and len(answer) > 1


# ---------------------------------------------------------------------------------------------------- what is equal


@pytest.mark.parametrize("match", ["steps", "tokens", "targets", "flops", "wall_clock"])
def test_cells_are_equal_in_what_is_matched(match: Any, sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    found = planned(
        sweep_file(match=match, amount=None, axes={RATE: [0.15, 0.3], "train.batch_size": [8, 16]}), tmp_path / "out"
    )
    reference = found.recipes[found.reference.label]
    for recipe in found.recipes.values():
        examples = training_examples(recipe, prepared_store(recipe))
        steps, size = recipe.train.steps or 0, recipe.train.batch_size
        spent = {
            "steps": lambda steps=steps: steps,
            "tokens": lambda recipe=recipe: recipe.train.tokens,
            "targets": lambda steps=steps, examples=examples, size=size: steps * targets_per_step(examples, size),
            "flops": lambda steps=steps, recipe=recipe: steps * flops_per_step(recipe),
            "wall_clock": lambda recipe=recipe: recipe.train.hours,
        }[match]()
        half_a_step = {"targets": 0.5 * targets_per_step(examples, size), "flops": 0.5 * flops_per_step(recipe)}
        assert spent == pytest.approx(found.amount, abs=half_a_step.get(match, 1e-9))
    assert (reference.train.steps == 20) == (match in ("steps", "targets", "flops"))


def test_targets_and_tokens_of_a_step_are_those_that_training_counts(tiny: Callable[..., Any]) -> None:
    recipe = tiny(f"{RATE}=0.3")
    examples = training_examples(recipe, prepared_store(recipe))
    targets, tokens, position = [], [], Position(0, 0)
    for _ in range(60):
        selection, position = examples.select(position, recipe.train.batch_size)
        batch = examples.batch(selection)
        targets.append(int((batch["labels"] != NOT_A_TARGET).sum()))
        tokens.append(int(batch["attention_mask"].sum()))
    size = recipe.train.batch_size
    assert targets_per_step(examples, size) == pytest.approx(np.mean(targets), rel=0.05)
    assert tokens_per_step(examples, size) == pytest.approx(np.mean(tokens), rel=0.05)


def test_an_amount_that_only_a_clock_can_tell_is_measured(tiny: Callable[..., Any]) -> None:
    recipe = tiny("train.steps=null", "train.hours=0.5")
    examples = training_examples(recipe, prepared_store(recipe))
    assert amount_of("steps", recipe, examples, seconds_per_step=lambda: 2.0) == 900
    assert amount_of("wall_clock", tiny(), examples, seconds_per_step=lambda: 1.8) == pytest.approx(0.01)
    assert amount_of("steps", tiny(), examples, seconds_per_step=lambda: pytest.fail("nothing is to be timed")) == 20


def test_an_amount_is_found_once_and_kept(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    path = sweep_file(match="wall_clock", amount=None)
    sweep, folder = read_sweep(path), SweepFolder(tmp_path / "out")
    first = plan(sweep, folder, lambda recipe: 0.36)
    folder.write(sweep, first.base, first.amount, first.cells)
    assert first.amount == pytest.approx(20 * 0.36 / 3600)
    assert plan(sweep, folder, lambda recipe: 99.0).amount == first.amount


def test_a_budget_of_tokens_is_the_recipes_own(tiny: Callable[..., Any]) -> None:
    overrides = overrides_for("tokens", 5000.0, tiny(), lambda: pytest.fail("no example is looked at"))
    assert tiny(*overrides).train.tokens == 5000 and tiny(*overrides).train.steps is None


# ------------------------------------------------------------------------------------------- what is read, and foretold


def test_the_curve_of_a_cell_tells_what_was_spent_until_each_evaluation(
    sweep_file: Callable[..., Path], launched: Launched, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert command.main([str(sweep_file(seeds=[0])), "--out", str(out), "log.every_steps=4"]) == 0
    found = planned(sweep_file(seeds=[0], settings=read_sweep(sweep_file()).settings | {"log.every_steps": 4}), out)
    outcome = outcome_of(found.cells[0], found.folder)
    metrics = [json.loads(line) for line in (out / "runs" / outcome.cell / "metrics.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(metrics) if "tokens" in line)
    assert [point.costs["steps"] for point in outcome.curve] == [5, 10] and outcome.steady_share == 0.5
    assert outcome.costs["tokens"] == last["tokens"] and outcome.costs["targets"] == last["targets"]
    assert outcome.costs["flops"] == 10 * flops_per_step(found.cells[0].recipe)
    by_step = {line["step"]: line["tokens"] for line in metrics if "tokens" in line}
    assert outcome.curve[0].costs["tokens"] == pytest.approx(by_step[4] + (by_step[8] - by_step[4]) / 4)
    assert outcome.curve[-1].figures["eval/mlm_nats"] == pytest.approx(outcome.figures["eval/mlm_nats"])


def test_a_dry_run_foretells_what_each_setting_costs(
    sweep_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(seconds_per_step=0.6, start_seconds=9.0, seconds_per_held_out_row=0.1)
    monkeypatch.setattr("pretrain.sweeps.forecast.pace_of", lambda *_: pace)
    found = planned(sweep_file(), tmp_path / "out")
    one, other = forecasts(found, 1)
    assert one.steps == other.steps == 10 and other.targets > 2 * one.targets and other.flops > one.flops
    rows = calibration.num_held_out_rows(found.cells[0].recipe, prepared_store(found.cells[0].recipe))
    # Two starts; two evaluations on the way, one in five steps; the last one, and three passes over what is held out.
    assert one.seconds == pytest.approx(2 * 9 + 10 * (0.6 + rows * 0.1 / 5) + rows * 0.1 * (1 + 3))
    told = "\n".join(lines(found, found.cells, [one, other], 1))
    assert "2 settings x 2 seeds = 4 cells, each 10 steps" in told and "the reference" in told
    assert all(cell.name in told for cell in found.cells)


def test_a_recipe_is_timed_in_a_process_of_its_own_and_its_mistakes_are_told(tiny: Callable[..., Any]) -> None:
    with pytest.raises(RecipeError, match=r"tiny cannot be timed(.|\n)*no module named nothing"):
        calibration.pace_of(tiny(), ["python", "-c", "import sys; sys.exit('no module named nothing')"])


def test_steps_are_timed_and_held_out_rows_too(tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_SECONDS", 0.0)
    pace = calibration.measure(tiny())
    assert 0 < pace.seconds_per_step < 10 and 0 < pace.seconds_per_held_out_row < 10 and pace.start_seconds > 0
