"""Comparing two recipes: what is equal, which checkpoints count, what intervals allow to say, and the tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.head_to_head import paired
from benchmarks.head_to_head.budgets import (
    FLOPS,
    WALL_CLOCK,
    nearest,
    points_of,
    spacing,
)
from benchmarks.head_to_head.comparison import Comparison
from benchmarks.head_to_head.labelled import LabelledError, LabelledSet, read_labelled
from benchmarks.head_to_head.linear_probe import cut, probe_bag_of_words
from benchmarks.head_to_head.measures import MEASURES
from benchmarks.head_to_head.paired import Interval, conclusion, leader, paired_difference, t_interval
from benchmarks.head_to_head.pictures import curve
from benchmarks.head_to_head.results import compare
from benchmarks.head_to_head.runs import Plan, RunError, Side, finish
from benchmarks.head_to_head.tables import table, to_markdown
from pretrain.estimate import estimate
from pretrain.recipe import BUDGETS, read_recipe
from pretrain.sweeps.budgets import budget_overrides, equal_steps, flops_per_step
from tests.probe_models import tokenizer

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "bert_tiny_mlm_nsp.yaml"

shares = st.floats(0, 1, allow_nan=False)

# -------------------------------------------------------------------------------------------------------- what is equal


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_takes_the_place_of_whichever_the_recipe_names(budget: str) -> None:
    train = read_recipe(RECIPE, [*budget_overrides(budget, 200), "train.batch_size=16"]).train
    assert {name: getattr(train, name) for name in BUDGETS} == dict.fromkeys(BUDGETS) | {budget: 200}


@pytest.mark.parametrize("overrides", [[], ["train.steps=null", "train.hours=1.0"], ["train.steps=20000"]])
def test_the_flops_of_a_step_do_not_depend_on_the_recipes_own_budget(overrides: list[str]) -> None:
    cost = estimate(read_recipe(RECIPE))
    assert cost.flops is not None and cost.steps is not None
    assert flops_per_step(read_recipe(RECIPE, overrides)) == pytest.approx(cost.flops / cost.steps, rel=1e-9)


@given(flops=st.floats(1e9, 1e18), per_step=st.floats(1e6, 1e13))
def test_equal_flops_are_equal_to_half_a_step(flops: float, per_step: float) -> None:
    steps = equal_steps(flops, per_step=per_step)
    assert steps == 1 or abs(steps * per_step - flops) <= per_step / 2 * (1 + 1e-9)
    assert steps >= 1


def test_at_equal_flops_runs_by_the_clock_serve_twice_and_only_b_is_run_again() -> None:
    def kinds(budgets: tuple[str, ...], flops: float | None) -> dict[str, tuple[str, str]]:
        side = Side(RECIPE, "a", (), 64, 1.0)
        return Comparison(side, side, budgets, (0,), 1.0, flops, 3, Path("out")).kinds

    assert kinds((WALL_CLOCK, FLOPS), None) == {WALL_CLOCK: (WALL_CLOCK,) * 2, FLOPS: (WALL_CLOCK, FLOPS)}
    assert kinds((FLOPS,), None) == {FLOPS: (WALL_CLOCK, FLOPS)}
    assert kinds((FLOPS,), 1e15) == {FLOPS: (FLOPS, FLOPS)}


# ---------------------------------------------------------------------------------------------------- which checkpoints


@pytest.mark.parametrize("num_points", [1, 3, 7])
@pytest.mark.parametrize("steps", [8, 100, 2013])
def test_a_budget_of_steps_has_a_checkpoint_at_every_point(num_points: int, steps: int) -> None:
    every = spacing(steps, num_points, is_guess=False)
    written = list(range(every, steps, every))
    points = [share * steps for share in points_of(num_points)]
    chosen = [written[index] for index in nearest(written, points)]
    assert len(chosen) == num_points
    assert np.abs(np.subtract(chosen, points)).max() <= num_points / 2 + 1


@given(
    guess=st.floats(200, 3000), speed=st.floats(0.5, 2.0), num_points=st.integers(1, 6)
)  # speed: of the run, over that of its calibration
def test_a_budget_of_time_has_one_near_every_point_though_its_steps_were_guessed(
    guess: float, speed: float, num_points: int
) -> None:
    every, steps = spacing(guess, num_points, is_guess=True), int(guess * speed)
    written = [step / steps for step in range(every, steps, every)]
    points = points_of(num_points)
    chosen = [written[index] for index in nearest(written, points)]
    assert len(chosen) == num_points or speed < 1
    # Half a checkpoint's distance; at half the speed there are half as many, and the last may lie behind the end.
    assert np.abs([min(abs(one - point) for one in chosen) for point in points]).max() <= every / steps + 1e-9


def test_of_too_few_checkpoints_each_counts_once() -> None:
    assert nearest([0.4], [0.25, 0.5, 0.75]) == [0]
    assert nearest([], [0.5]) == []
    assert nearest([0.1, 0.2, 0.3, 0.52, 0.7], [0.25, 0.5, 0.75]) == [1, 3, 4]


# -------------------------------------------------------------------------------------------------- what can be said


@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=9))
def test_intervals_are_students(pairs: list[tuple[float, float]]) -> None:
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    differences = np.subtract(b, a)
    if np.std(b) < 1e-9 or np.std(differences) < 1e-9:
        return  # scipy warns of these
    for ours, theirs in (
        (t_interval(b), stats.ttest_1samp(b, 0).confidence_interval(paired.CONFIDENCE)),
        (paired_difference(a, b), stats.ttest_rel(b, a).confidence_interval(paired.CONFIDENCE)),
    ):
        assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))
    assert t_interval(b).mean == pytest.approx(np.mean(b))
    assert paired_difference(a, b).mean == pytest.approx(differences.mean())


def test_a_leader_is_named_only_where_the_interval_is_clear_of_zero() -> None:
    clear, unclear = Interval(0.04, 0.01, 0.07, 3), Interval(0.04, -0.01, 0.09, 3)
    assert [leader(one) for one in (clear, unclear, Interval(-0.04, -0.07, -0.01, 3))] == [1, 0, -1]
    assert conclusion(clear, a="x", b="y") == "y is ahead: y - x is +4.0 points [+1.0, +7.0], 3 seeds."
    assert "not told apart: y - x is +4.0 points [-1.0, +9.0]" in conclusion(unclear, a="x", b="y")
    assert "less than about 5.0 points would not show" in conclusion(unclear, a="x", b="y")


def test_one_seed_concludes_nothing() -> None:
    difference = paired_difference([0.1], [0.9])
    assert leader(difference) == 0
    assert conclusion(difference, a="x", b="y") == "y - x is +80.0 points, of one seed: nothing can be concluded."


# ----------------------------------------------------------------------------------------------------------- the tables


def _run(seed: int, value: float, **held_out: float) -> dict[str, Any]:
    points = [
        {"step": s, "tokens": s * 64, "seconds": s / 2 + seed, "flops": s * 1e9, **dict.fromkeys(MEASURES, value * s)}
        for s in (50, 100)
    ]
    spent = {
        "steps": 100,
        "tokens": 6400,
        "flops": 1e11,
        "training_seconds": 50.0,
        "tokens_per_second": 128 + 32.0 * seed,
    }
    return {"seed": seed, "held_out": held_out, "points": points, **spent}


def _results() -> dict[str, Any]:
    runs = {
        "x": [_run(0, 0.004, **{"eval/mlm_nats": 3.5}), _run(1, 0.005, **{"eval/mlm_nats": 3.7})],
        "y": [_run(0, 0.006), _run(1, 0.007)],
    }
    return {
        "recipes": ["x", "y"],
        "measures": MEASURES,
        "references": {"bag of words": {"linear_last": 0.85, "linear_chosen": 0.85}},
        "budgets": {
            WALL_CLOCK: {"runs": runs, "comparisons": compare(runs)},
            FLOPS: {"runs": {}, "comparisons": {}},
        },
    }


def test_the_tables_say_means_differences_and_who_is_ahead() -> None:
    text = to_markdown(_results())
    assert "| x | 45.0 % [-18.5, 108.5] |" in text
    assert "| y - x | +20.0 points [+20.0, +20.0] |" in text
    assert f"Of 4 measures, y is ahead in {len(MEASURES)}, x in 0, 0 not told apart." in text
    assert "eval/mlm_nats 3.600 [2.329, 4.871]" in text
    assert "nothing held out" in text
    assert "| x | 0, 1 | 100 | 0.01 | 1e+11 | 0.8 | 144 (128 to 160) |" in text
    assert "was 25.0% faster than its slowest" in text
    assert "No seed is done by both recipes yet." in text
    assert "| bag of words |  |  | 85.0 % | 85.0 % |" in text


def test_every_row_of_a_table_has_the_columns_of_its_head() -> None:
    for block in to_markdown(_results()).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1
    with pytest.raises(AssertionError):
        table(["a", "b"], [["1"]])


def test_a_curve_is_the_mean_over_seeds_with_the_lowest_and_the_highest() -> None:
    found = curve("x", _results()["budgets"][WALL_CLOCK]["runs"]["x"], "senses_last", x="seconds", scale=1 / 60)
    assert found.x == pytest.approx([25.5 / 60, 50.5 / 60])
    assert (found.y, found.low, found.high) == (
        pytest.approx([22.5, 45]),
        pytest.approx([20, 40]),
        pytest.approx([25, 50]),
    )


def test_seeds_that_do_not_pair_are_not_compared() -> None:
    with pytest.raises(AssertionError):
        compare({"x": [_run(0, 0.1)], "y": [_run(1, 0.1)]})


# ------------------------------------------------------------------------------------------------------------ the runs


def test_a_run_of_another_recipe_is_not_taken_for_one_of_this_comparison(tmp_path: Path) -> None:
    plan = Plan(Side(RECIPE, "tiny", (), 64, 1.0), 0, FLOPS, 100, tmp_path, 3, 100)
    (plan.folder / "model").mkdir(parents=True)
    (plan.folder / "model" / "config.json").write_text("{}")
    other = read_recipe(RECIPE, [*plan.overrides, "train.batch_size=16"])
    (plan.folder / "recipe.yaml").write_text(other.to_yaml())
    with pytest.raises(RunError, match=r"(?s)another recipe.*train.batch_size: 16 -> 32\nGive another --out"):
        finish(plan)


def test_the_plan_of_a_run_decides_its_seed_budget_and_checkpoints() -> None:
    side = Side(RECIPE, "tiny", ("seed=9", "train.batch_size=8", "checkpoint.keep=1"), 64, 1.0)
    recipe = read_recipe(RECIPE, Plan(side, 2, WALL_CLOCK, 0.5, Path("out"), 3, 800.0).overrides)
    assert (recipe.seed, recipe.train.hours, recipe.train.steps, recipe.train.batch_size) == (2, 0.5, None, 8)
    assert (recipe.checkpoint.every_steps, recipe.checkpoint.best, recipe.probes) == (100, None, ())
    assert recipe.checkpoint.keep > 100
    assert recipe.run_dir == Path("out/runs/tiny-wall_clock-seed2")


# ----------------------------------------------------------------------------------------------------- the labelled set


def _csv(path: Path, rows: list[tuple[str, str]], head: str = "label,text") -> Path:
    path.write_text("\n".join([head, *(f'{label},"{text}"' for label, text in rows)]) + "\n", encoding="utf-8")
    return path


def _labelled(tmp_path: Path, *, num_train: int) -> LabelledSet:
    words = {"sea": "ship wave salt", "land": "hill road tree"}
    rows = [(label, f"{word}, number {n}") for label, text in words.items() for n in range(9) for word in text.split()]
    return read_labelled(_csv(tmp_path / "a.csv", rows), _csv(tmp_path / "b.csv", rows[::5]), num_train=num_train)


def test_a_labelled_set_is_divided_without_overlap_and_rows_are_taken_at_random(tmp_path: Path) -> None:
    found = _labelled(tmp_path, num_train=40)
    assert (found.num_fitting, found.num_choosing, len(found.texts)) == (32, 8, 40 + 11)
    parts = [range(len(found.texts))[part] for part in (found.fitting, found.choosing, found.test)]
    assert [*parts[0], *parts[1], *parts[2]] == list(range(len(found.texts)))
    assert found.texts[:40] != sorted(found.texts[:40])
    assert found.fingerprint != _labelled(tmp_path, num_train=39).fingerprint
    assert probe_bag_of_words(found) == 1.0


def test_test_rows_choose_nothing(tmp_path: Path) -> None:
    found = _labelled(tmp_path, num_train=54)
    upside_down = found.labels.copy()
    upside_down[found.test] = np.where(found.labels[found.test] == "sea", "land", "sea")
    turned = LabelledSet(found.texts, upside_down, found.num_fitting, found.num_choosing, "")
    assert probe_bag_of_words(turned) == pytest.approx(1 - probe_bag_of_words(found))


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        ([("sea", "salt")], "class,text", r"row 2 has no label.*columns label and text"),
        ([("sea", "salt"), ("sea", " ")], "label,text", r"row 3 has no label or no text"),
        ([], "label,text", r"there is no row"),
        ([("air", "wind")], "label,text", r"different labels, expected the same"),
    ],
)
def test_a_faulty_labelled_set_is_refused(tmp_path: Path, rows: list[tuple[str, str]], head: str, message: str) -> None:
    good = _csv(tmp_path / "good.csv", [("sea", "salt")])
    with pytest.raises(LabelledError, match=message):
        read_labelled(good, _csv(tmp_path / "bad.csv", rows, head), num_train=9)


def test_a_labelled_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelledError, match=r"none\.csv cannot be read \(No such file.*Check the path"):
        read_labelled(tmp_path / "none.csv", tmp_path / "none.csv", num_train=9)


def test_texts_are_cut_between_words_and_only_where_they_are_too_long() -> None:
    one = tokenizer(with_segments=True)
    texts = ["the bank is here", "the " * 9 + "number", "bank n5 n123 the the the the", "nnnnnnnnnnnnnn"]
    for most in range(4, 14):
        shortened = cut(one, texts, max_tokens=most)
        for text, short in zip(texts, shortened, strict=True):
            ids = one(text)["input_ids"]
            assert text.startswith(short) and short
            assert (short == text) == (len(ids) <= most)
            assert len(one(short)["input_ids"]) <= most
            if " " in short and short != text:
                assert text[len(short)] == " "
