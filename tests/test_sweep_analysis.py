"""From finished cells to results: equal costs, bands, fronts, sentences; the order of the cells changes nothing."""

from dataclasses import replace

import numpy as np
import pytest

from pretrain.sweeps.analysis.analyse import analyse, rows
from pretrain.sweeps.analysis.curves import bands
from pretrain.sweeps.analysis.plan import Plan, plan
from pretrain.sweeps.analysis.reading import line, read_at_equal
from pretrain.sweeps.analysis.tradeoffs import pareto_front
from pretrain.sweeps.analysis.wording import decimals, spent, together
from pretrain.sweeps.outcome import Outcome, Point
from pretrain.sweeps.results import CellRow, Results, View

LOSS, AXIS = "eval/mlm_nats", "masking.mlm_probability"
EFFECTS = {"0.10": 0.06, "0.15": 0.0, "0.20": -0.05, "0.40": 0.2}
NUM_EVALUATIONS = 5


def outcome(label: str, seed: int, final: float, *, speed: float = 1.0, measure: str = LOSS) -> Outcome:
    """A run of 0.15 hours that comes down by 0.1 with each evaluation; its accuracy is 5 - loss."""
    curve = tuple(
        Point(
            {
                "steps": 100.0 * k,
                "tokens": 1e6 * k * speed,
                "targets": 1e5 * k * speed,
                "flops": 1e13 * k,
                "hours": 0.03 * k,
            },
            {measure: final + 0.1 * (NUM_EVALUATIONS - k)},
        )
        for k in range(1, NUM_EVALUATIONS + 1)
    )
    return Outcome(
        f"mlm_probability-{label}_seed-{seed}",
        f"mlm_probability {label}",
        {AXIS: label},
        seed,
        curve,
        {measure: final, "accuracy/rare": (5 - final) / 10},
        dict(curve[-1].costs),
        1e4 * speed,
    )


def sweep(
    effects: dict[str, float], *, seeds: int = 3, spread: float = 0.01, speed: float = 0.0, measure: str = LOSS
) -> list[Outcome]:
    rng = np.random.default_rng(0)
    of_seed = 0.1 * rng.normal(size=seeds)
    return [
        outcome(
            label, seed, 4.1 + effect + of_seed[seed] + spread * rng.normal(), speed=1 + speed * row, measure=measure
        )
        for row, (label, effect) in enumerate(effects.items())
        for seed in range(seeds)
    ]


def results(outcomes: list[Outcome], **other: object) -> Results:
    options = {
        "name": "mask_rate",
        "match": "wall_clock",
        "amount": 0.15,
        "measure": LOSS,
        "reference": "mlm_probability 0.15",
        "axes": {AXIS: list(EFFECTS)},
        "seeds": sorted({one.seed for one in outcomes}),
    }
    return analyse(outcomes, **(options | other))


def without(outcomes: list[Outcome], state: str, *cells: str) -> tuple[list[Outcome], list[CellRow]]:
    gone = [
        CellRow(cell=one.cell, setting=one.setting, levels=dict(one.levels), seed=one.seed, state=state)
        for one in outcomes
        if one.cell in cells
    ]
    assert len(gone) == len(cells)
    return [one for one in outcomes if one.cell not in cells], gone


def deciding_plan(outcomes: list[Outcome]) -> Plan:
    levels = [(one.setting, one.levels) for one in outcomes]
    return plan(levels, axes={AXIS: list(EFFECTS)}, reference="mlm_probability 0.15", seeds=[0, 1, 2])


def test_the_order_of_cells_changes_nothing_bit_for_bit() -> None:
    outcomes, missing = without(
        sweep(EFFECTS, speed=0.1), "failed", "mlm_probability-0.10_seed-1", "mlm_probability-0.40_seed-0"
    )
    before = results(outcomes, missing=missing).model_dump_json()
    assert results(outcomes[::-1], missing=missing[::-1]).model_dump_json() == before
    assert results(outcomes[5:] + outcomes[:5], missing=missing).model_dump_json() == before


def test_settings_stand_in_the_order_of_their_axis_and_not_of_the_alphabet() -> None:
    labels = ["9", "10", "1e-3"]
    outcomes = sweep(dict.fromkeys(labels, 0.0))
    found = results(outcomes[::-1], axes={AXIS: labels}, reference="mlm_probability 9")
    assert list(found.views[0].settings) == [f"mlm_probability {label}" for label in labels]
    assert [(cell.levels[AXIS], cell.seed) for cell in found.cells] == [
        (one, seed) for one in labels for seed in range(3)
    ]


def test_views_are_the_finished_models_then_equal_costs_then_the_other_measures() -> None:
    found = results(sweep(EFFECTS, speed=0.1))
    assert [(view.measure, view.equal) for view in found.views] == [
        (LOSS, None),
        (LOSS, "tokens"),
        ("accuracy/rare", None),
    ]
    # Targets rise with tokens, so they read the same; FLOPs and steps are equal where wall clock is.
    assert not any("not for the number of views" in note for note in found.views[0].notes)
    assert all("not for the number of views" in view.notes[0] for view in found.views[1:])


def test_at_equal_tokens_curves_are_read_where_the_slowest_ended() -> None:
    outcomes = [outcome("0.15", 0, 4.0, speed=1.0), outcome("0.20", 0, 4.0, speed=1.25)]
    reading = read_at_equal(outcomes, measure=LOSS, cost="tokens")
    assert reading is not None and reading.at == 5e6
    # 5e6 tokens are 4 evaluations of 1.25e6 each.
    assert reading.figures == pytest.approx({("mlm_probability 0.15", 0): 4.0, ("mlm_probability 0.20", 0): 4.1})
    assert reading.shares == pytest.approx({("mlm_probability 0.15", 0): 1.0, ("mlm_probability 0.20", 0): 0.8})
    note = results(outcomes).views[1].notes[1]
    assert "0.15 at 100%, 0.20 at 80%" in note and "learning rate falls" in note


def test_at_equal_tokens_curves_are_read_before_the_first_learning_rate_fell_where_there_is_such_a_place() -> None:
    slow, fast = outcome("0.15", 0, 4.0, speed=1.0), outcome("0.20", 0, 4.0, speed=1.25)
    steady = [replace(slow, steady_share=0.8), replace(fast, steady_share=0.8)]
    reading = read_at_equal(steady, measure=LOSS, cost="tokens")
    assert reading is not None and reading.at == pytest.approx(4e6) and reading.is_steady  # 0.8 of the slower one's 5e6
    assert reading.figures == pytest.approx({("mlm_probability 0.15", 0): 4.1, ("mlm_probability 0.20", 0): 4.18})
    found = results(steady)
    assert found.views[1].is_steady and "before its learning rate began to fall" in found.views[1].notes[1]
    assert any("an equal 4 million tokens, " in says for says in found.answer)
    assert any(
        "5 million tokens, which favours the runs that end there, " in says for says in results([slow, fast]).answer
    )
    for other in (
        replace(fast, steady_share=0.0),
        replace(fast, steady_share=0.1),
    ):  # falls at once; before it is scored
        reading = read_at_equal([steady[0], other], measure=LOSS, cost="tokens")
        assert reading is not None and reading.at == 5e6 and not reading.is_steady


def test_curves_are_linear_between_evaluations_and_end_with_them() -> None:
    own = line(outcome("0.15", 0, 4.0), measure=LOSS, cost="tokens")
    assert own is not None
    assert own.at(2.5e6) == pytest.approx(4.25) and own.at(5e6) == pytest.approx(4.0)
    assert own.at(0.9e6) is None and own.at(5.1e6) is None
    assert line(outcome("0.15", 0, 4.0), measure="other", cost="tokens") is None


def test_a_band_lies_where_all_seeds_of_a_setting_have_been() -> None:
    # The second seed is slower: 0.8e6 to 4e6 tokens; both come down by 0.1 with each evaluation.
    outcomes = [outcome("0.15", 0, 4.0), outcome("0.15", 1, 4.2, speed=0.8)]
    band = next(one for one in bands(deciding_plan(outcomes), outcomes, [LOSS]) if one.cost == "tokens")
    assert (band.x[0], band.x[-1], len(band.x)) == (1e6, 4e6, NUM_EVALUATIONS)
    assert band.y[-1] == pytest.approx((4.1 + 4.2) / 2) and band.y[0] == pytest.approx((4.4 + 4.575) / 2)
    # Two seeds, one degree of freedom: 12.706 standard deviations of two / sqrt(2).
    assert band.high is not None and band.high[-1] - band.y[-1] == pytest.approx(12.7062 * 0.05, rel=1e-4)


def test_one_seed_has_no_band_and_the_end_of_a_band_is_the_finished_model() -> None:
    assert all(band.low is None for band in results(sweep(EFFECTS, seeds=1)).curves)
    found = results(sweep(EFFECTS))
    for band in found.curves:
        end = found.views[0].settings[band.setting]
        assert band.low is not None and (band.y[-1], band.low[-1]) == pytest.approx((end.value, end.low))
    assert {(band.setting, band.cost) for band in found.curves} == {
        (f"mlm_probability {label}", cost)
        for label in EFFECTS
        for cost in ("steps", "tokens", "targets", "flops", "hours")
    }


def test_a_front_holds_what_nothing_beats_at_the_same_or_a_lower_cost() -> None:
    points = {"a": (1, 5.0), "b": (2, 4.0), "c": (2, 4.5), "d": (3, 4.0), "e": (4, 3.0), "f": (4, 3.0), "g": (0.5, 9.0)}
    assert pareto_front(points, is_lower_better=True) == ["g", "a", "b", "e", "f"]
    assert pareto_front(points, is_lower_better=False) == ["g"]


def test_the_answer_names_the_setting_the_difference_the_sureness_and_the_cost() -> None:
    found = results(sweep(EFFECTS, speed=0.1))
    assert found.answer[0] == (
        "Of 4 settings mlm_probability 0.20 has the lowest held-out loss after 9.0 minutes of training each: "
        f"{found.views[0].settings['mlm_probability 0.20'].value:.3f} nats, {above(found.views[0], '0.20')} below the "
        "reference "
        "0.15 (3 seeds, simultaneous 95 %)."
    )
    assert "With 95 % confidence 0.20 is the best of them." in found.answer
    assert "Against the reference 0.15, worse: 0.10 and 0.40." in found.answer
    assert (
        "A run of 0.20 takes 9.0 minutes, 6 million tokens and 5e13 FLOPs; one of the reference 5.5 million tokens."
        in found.answer
    )
    assert any(sentence.startswith("Read from the curves at an equal 5 million tokens, ") for sentence in found.answer)


def above(view: View, label: str) -> str:
    """A difference below zero as a sentence has it."""
    one = next(one for one in view.differences if one.setting.endswith(label))
    assert one.low is not None and one.high is not None
    return f"{-one.value:.3f} [{-one.high:.3f}, {-one.low:.3f}]"


def test_the_answer_is_the_same_of_a_measure_that_is_better_higher() -> None:
    mirrored = {label: -effect for label, effect in EFFECTS.items()}
    found = results(sweep(mirrored, measure="accuracy/mlm"), measure="accuracy/mlm")
    assert (
        "mlm_probability 0.20 has the highest accuracy/mlm" in found.answer[0]
        and "above the reference" in found.answer[0]
    )
    assert " nats" not in found.answer[0]
    assert found.views[0].best is not None and found.views[0].best.is_certain


def test_where_nothing_is_told_apart_the_answer_says_what_would_have_shown() -> None:
    found = results(sweep(EFFECTS, spread=1.0))
    assert found.answer[0].startswith(
        "Of 4 settings none is shown to be better than the reference mlm_probability 0.15"
    )
    assert found.answer[1] == "None of the others can be ruled out as the best."
    assert found.answer[2] == "Against the reference 0.15, not told apart from it: 0.10, 0.20 and 0.40."
    assert "would have shown in four of five such sweeps" in found.answer[3]


def test_the_reference_itself_may_win() -> None:
    found = results(sweep({"0.10": 0.3, "0.15": 0.0, "0.20": 0.3}))
    assert found.answer[0].endswith("nats (3 seeds). It is the reference.")


def test_one_seed_concludes_nothing() -> None:
    found = results(sweep(EFFECTS, seeds=1))
    assert found.answer[0].startswith(
        "Nothing can be concluded about differences between the 4 settings, because one seed says nothing of the "
        "spread: here "
        "mlm_probability 0.20 has the lowest held-out loss"
    )
    assert "is not known here" in found.answer[1]
    view = found.views[0]
    assert view.best is None and view.residual_spread is None
    assert {(one.verdict, one.low, one.p) for one in view.differences} == {("nothing can be concluded", None, None)}


def test_the_usual_spread_says_what_is_within_it_and_claims_no_more() -> None:
    # 1.96 sqrt(2) 0.03 = 0.083
    found = results(sweep(EFFECTS, seeds=1), usual_spread=0.03)
    assert (
        "differ by up to 0.083 nats in 95 % of cases; further than that from the reference: 0.40, which is no test"
        in found.answer[1]
    )
    assert found.views[0].best is None
    assert any(
        "Within that of the reference: mlm_probability 0.10 and mlm_probability 0.20" in one
        for one in found.views[0].notes
    )
    far = results(sweep(EFFECTS, seeds=1), usual_spread=3.0)
    assert "no setting is further than that" in far.answer[1]


def test_cells_that_failed_or_are_missing_are_said_and_do_not_bend_the_comparison() -> None:
    outcomes, failed = without(sweep(EFFECTS), "failed", "mlm_probability-0.20_seed-0")
    outcomes, waiting = without(outcomes, "not run", *(f"mlm_probability-0.40_seed-{seed}" for seed in range(3)))
    found = results(outcomes, missing=[*failed, *waiting])
    assert found.answer[-1].startswith("Of 12 cells 1 failed (mlm_probability-0.20_seed-0) and 3 were not run (")
    assert "No finished cell, so not compared and not ruled out: mlm_probability 0.40." in found.cautions
    assert found.views[0].settings["mlm_probability 0.20"].n == 2
    assert any("least-squares means" in note for note in found.views[0].notes)
    assert [cell.state for cell in found.cells].count("done") == 8 and len(found.cells) == 12


def test_a_diverged_cell_is_left_out_by_name_and_results_stay_json() -> None:
    outcomes = [outcome("0.10", 0, float("nan")), *sweep(EFFECTS)[1:]]
    found = results(outcomes)
    assert any("not finite: mlm_probability 0.10, seed 0." in note for note in found.views[0].notes)
    assert f"Done, but without a finite {LOSS}: mlm_probability-0.10_seed-0." in found.cautions
    assert "NaN" not in found.model_dump_json() and Results.model_validate_json(found.model_dump_json()) == found


def test_a_sweep_of_which_nothing_is_finished_has_results() -> None:
    _, missing = without(sweep(EFFECTS), "not run", *(one.cell for one in sweep(EFFECTS)))
    found = results([], missing=missing, seeds=[0, 1, 2])
    assert found.answer[0] == "Nothing can be said: none of the 12 cells is finished."
    assert found.views == found.curves == found.tradeoffs == []


def test_without_its_reference_a_sweep_still_has_a_best() -> None:
    outcomes, missing = without(sweep(EFFECTS), "failed", *(f"mlm_probability-0.15_seed-{seed}" for seed in range(3)))
    found = results(outcomes, missing=missing)
    assert "The reference mlm_probability 0.15 has no finished cell" in found.answer[0]
    assert found.views[0].differences == [] and found.views[0].best is not None


def test_costs_that_were_not_equal_are_said() -> None:
    found = results(sweep(EFFECTS, speed=0.1))
    assert (
        "At equal wall clock the settings did not spend equal tokens: from 5 million tokens (0.10) to 6.5 million "
        "tokens (0.40)." in found.cautions
    )
    assert any(
        one.startswith("Spent more or less than 30.0 minutes") for one in results(sweep(EFFECTS), amount=0.5).cautions
    )


def test_a_grid_of_two_axes_has_effects_and_an_interaction_and_a_zip_has_none() -> None:
    axes = {"masking.name": ["token", "span"], AXIS: ["0.15", "0.30"]}

    def cells(pairs: list[tuple[str, str]]) -> list[Outcome]:
        rng = np.random.default_rng(1)
        return [
            Outcome(
                f"{one}-{two}-{seed}",
                f"{one} {two}",
                {"masking.name": one, AXIS: two},
                seed,
                (),
                {LOSS: value},
                {},
                1.0,
            )
            for one, two in pairs
            for seed in range(3)
            for value in [4 + (two == "0.30") * 0.5 + 0.01 * rng.normal()]
        ]

    grid = results(
        cells([(one, two) for one in axes["masking.name"] for two in axes[AXIS]]), axes=axes, reference="token 0.15"
    )
    first, second = grid.views[0].effects
    assert (first.axis, second.axis) == ("masking.name", AXIS)
    assert first.p is not None and second.p is not None and second.p < 1e-6 < first.p
    assert grid.views[0].interaction is not None and grid.views[0].interaction.axes == ["masking.name", AXIS]
    assert any(sentence.startswith("Main effects, F tests: masking.name (p = ") for sentence in grid.answer)
    zipped = results(cells([("token", "0.15"), ("span", "0.30")]), axes=axes, reference="token 0.15")
    assert zipped.views[0].effects == [] and zipped.views[0].interaction is None


def test_a_row_a_cell_with_none_where_there_is_no_figure() -> None:
    outcomes, missing = without(sweep(EFFECTS), "failed", "mlm_probability-0.10_seed-0")
    columns, table = rows(results(outcomes, missing=missing))
    assert columns[:5] == ["cell", "setting", AXIS, "seed", "state"] and columns[-1] == "error"
    assert len(table) == 12 and {len(row) for row in table} == {len(columns)}
    assert table[0][:5] == ["mlm_probability-0.10_seed-0", "mlm_probability 0.10", "0.10", 0, "failed"]
    assert table[0][columns.index(LOSS)] is None and table[1][columns.index(LOSS)] == outcomes[0].figures[LOSS]


def test_amounts_are_said_in_units_of_their_size() -> None:
    assert [spent("hours", hours) for hours in (0.001, 0.15, 5.25, 100)] == [
        "3.6 seconds",
        "9.0 minutes",
        "5.2 hours",
        "4.2 days",
    ]
    assert [spent("tokens", 12345), spent("tokens", 1.234e6), spent("steps", 2000)] == [
        "12,345 tokens", "1.23 million tokens", "2,000 steps"
    ]  # fmt: skip
    assert spent("flops", 3.44e14) == "3.4e14 FLOPs"
    assert [decimals(0.023), decimals(1.5), decimals(40), decimals(None)] == [3, 1, 0, 3]
    assert [together(["a"]), together(["a", "b"]), together(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_a_clock_that_measured_something_else_as_well_is_told() -> None:
    even = [outcome("0.15", seed, 4.0) for seed in (0, 1)]
    slowed = [even[0], replace(even[1], tokens_per_second=0.9 * even[1].tokens_per_second)]
    assert not any("equally fast" in says for says in results(even).cautions)
    assert any("differ by 11% in tokens a second" in says for says in results(slowed).cautions)
    assert not any("equally fast" in says for says in results(slowed, match="tokens").cautions)


def test_what_is_equal_is_no_price() -> None:
    found = results(sweep(EFFECTS, speed=0.1))
    assert {one.cost for one in found.tradeoffs} == {"tokens", "targets"}, "hours and FLOPs are the same in all"
