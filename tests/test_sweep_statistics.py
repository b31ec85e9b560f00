"""What a sweep's intervals and its choice of the best claim, held against simulated sweeps, tables and sums by hand."""

import numpy as np
import pytest
from scipy import special, stats

from pretrain.sweeps.analysis import largest
from pretrain.sweeps.analysis.comparing import Comparison, best, comparison, detectable, differences, estimates
from pretrain.sweeps.analysis.design import Design, components, fit
from pretrain.sweeps.analysis.effects import effects, interaction
from pretrain.sweeps.analysis.oddities import widest_setting, wild_cells
from pretrain.sweeps.analysis.plan import Cell, Plan, plan

LOSS = "eval/mlm_nats"


def planned(num_settings: int, num_seeds: int, *, reference: int = 0) -> Plan:
    labels = [f"{index}" for index in range(num_settings)]
    levels = [(f"rate {label}", {"rate": label}) for label in labels]
    return plan(levels, axes={"rate": labels}, reference=f"rate {reference}", seeds=range(num_seeds))


def simulated(
    own: Plan, effects_S: np.ndarray, rng: np.random.Generator, *, seed_spread: float, missing: tuple[Cell, ...] = ()
) -> dict[Cell, float]:
    of_seed = rng.normal(size=len(own.seeds)) * seed_spread
    errors = rng.normal(size=(len(own.settings), len(own.seeds)))
    return {
        (setting, seed): float(4 + effects_S[row] + of_seed[column] + errors[row, column])
        for row, setting in enumerate(own.settings)
        for column, seed in enumerate(own.seeds)
        if (setting, seed) not in missing
    }


def at_least(share: float, num_draws: int) -> float:
    """What a share of 0.95 or more is seen to be by but 3e-5 of tests like this one."""
    return share - 4 * np.sqrt(share * (1 - share) / num_draws)


def equicorrelated(num: int) -> np.ndarray:
    return np.full((num, num), 0.5) + np.eye(num) / 2


# Dunnett 1964, table II: two-sided 5 % points against a control, equal numbers.
@pytest.mark.parametrize(
    ("num_contrasts", "df", "expected"),
    [(1, 10, 2.23), (2, 10, 2.57), (3, 10, 2.76), (5, 10, 2.99), (5, 20, 2.73), (2, 5, 3.03)],
)
def test_quantiles_are_those_of_dunnetts_table(num_contrasts: int, df: int, expected: float) -> None:
    found = largest.quantile(equicorrelated(num_contrasts), df=df, confidence=0.95, is_two_sided=True)
    assert found == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(("num_contrasts", "df", "is_two_sided"), [(2, 2, True), (5, 10, True), (7, 14, False)])
def test_quantiles_and_tails_agree_with_quadrature(num_contrasts: int, df: int, is_two_sided: bool) -> None:
    """Contrasts with one control are independent given the control and the spread."""
    correlation = equicorrelated(num_contrasts)
    found = largest.quantile(correlation, df=df, confidence=0.95, is_two_sided=is_two_sided)
    control, weights = np.polynomial.hermite_e.hermegauss(80)
    spreads = np.sqrt(stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, df) / df)[:, None]
    above = special.ndtr(found * spreads * np.sqrt(2) + control)
    below = special.ndtr(-found * spreads * np.sqrt(2) + control) if is_two_sided else 0
    tail = 1 - ((above - below) ** num_contrasts @ weights / weights.sum()).mean()
    assert tail == pytest.approx(0.05, abs=2e-4)
    assert largest.tail(found, correlation, df=df, is_two_sided=is_two_sided) == pytest.approx(0.05, abs=1e-6)


def test_a_single_contrast_is_students() -> None:
    assert largest.quantile(np.eye(1), df=4, confidence=0.95, is_two_sided=True) == pytest.approx(stats.t.isf(0.025, 4))
    assert largest.tail(2.0, np.eye(1), df=4, is_two_sided=True) == pytest.approx(2 * stats.t.sf(2.0, 4))


@pytest.mark.parametrize(
    ("num_settings", "num_seeds", "seed_spread", "num_missing"),
    [(2, 2, 3.0, 0), (3, 3, 0.0, 0), (6, 3, 3.0, 0), (6, 3, 0.5, 5), (8, 5, 1.0, 9), (4, 2, 1.0, 1)],
)
def test_intervals_cover_at_their_rate(num_settings: int, num_seeds: int, seed_spread: float, num_missing: int) -> None:
    """Simultaneous ones all at once, and one alone; for means at least that."""
    rng, num_draws = np.random.default_rng([num_settings, num_seeds, num_missing]), 4000
    every = [(setting, seed) for setting in range(num_settings) for seed in range(num_seeds)]
    # The first setting and the first seed stay whole, so that all hang together.
    loose = [cell for cell in every if min(cell) > 0]
    gone = [loose[index] for index in rng.choice(len(loose), num_missing, replace=False)]
    cells = [cell for cell in every if cell not in gone]
    truth_S = rng.normal(size=num_settings)
    seeds_BG = rng.normal(size=(num_seeds, num_draws)) * seed_spread
    figures = np.array([truth_S[setting] + seeds_BG[seed] for setting, seed in cells])
    fitted = fit(Design(tuple(cells)), figures + rng.normal(size=figures.shape))
    contrasts_KS = np.eye(num_settings)[1:] - np.eye(num_settings)[0]
    errors_KG = np.abs(contrasts_KS @ (fitted.means_SG - truth_S[:, None])) / fitted.standard_errors(contrasts_KS)
    df, correlation = fitted.design.df, fitted.correlation(contrasts_KS)
    together = (
        errors_KG.max(axis=0) <= largest.quantile(correlation, df=df, confidence=0.95, is_two_sided=True)
    ).mean()
    alone_K = (errors_KG <= stats.t.isf(0.025, df)).mean(axis=1)
    slack = 0.95 - at_least(0.95, num_draws)
    assert abs(together - 0.95) < slack and np.abs(alone_K - 0.95).max() < slack
    missed_SG = np.abs(fitted.means_SG - truth_S[:, None]) > fitted.half_widths(np.eye(num_settings))
    assert (1 - missed_SG.mean(axis=1)).min() > at_least(0.95, num_draws)


@pytest.mark.parametrize(
    ("effects_S", "num_seeds", "missing"),
    [
        ([0.0, 0.0], 2, ()),
        ([0.0, 0.0, 0.0, 0.0], 3, ()),
        ([0.0, 0.01, 1.0, 3.0, 3.0, 9.0], 3, (("rate 0", 1), ("rate 3", 0), ("rate 3", 2))),
        ([2.0, 0.0, 0.5, 1.0, 1.5, 4.0, 4.0, 0.0], 4, (("rate 7", 3),)),
        ([3.0, 0.0, 4.0], 5, ()),
    ],
)
def test_the_best_is_among_the_candidates_and_a_certain_winner_is_right(
    effects_S: list[float], num_seeds: int, missing: tuple[Cell, ...]
) -> None:
    """In 95 % of sweeps, by the functions that the results come from, which cover all differences as often."""
    own, truth_S = planned(len(effects_S), num_seeds), np.array(effects_S)
    rng, num_draws = np.random.default_rng(len(effects_S)), 800
    held = covered = right = certain = 0
    for _ in range(num_draws):
        compared = comparison(own, LOSS, simulated(own, truth_S, rng, seed_spread=2.0, missing=missing))
        found = best(compared)
        assert found is not None and found.setting == found.candidates[0]
        # One that is truly best; of several the first, as each is kept in 95 % of sweeps.
        held += own.settings[int(truth_S.argmin())] in found.candidates
        certain += found.is_certain
        right += found.is_certain and truth_S[own.settings.index(found.setting)] == truth_S.min()
        truths = {setting: effect - truth_S[0] for setting, effect in zip(own.settings, truth_S, strict=True)}
        covered += all(one.low <= truths[one.setting] <= one.high for one in differences(compared))
    assert held / num_draws > at_least(0.95, num_draws)
    assert covered / num_draws > at_least(0.95, num_draws)
    assert certain - right <= (1 - at_least(0.95, num_draws)) * num_draws
    if effects_S == [3.0, 0.0, 4.0]:
        assert right > num_draws / 2


def test_p_values_are_uniform_where_nothing_differs() -> None:
    own, rng, num_draws = planned(4, 3), np.random.default_rng(7), 300
    smallest, grid_p = [], []
    for _ in range(num_draws):
        figures = simulated(own, np.zeros(4), rng, seed_spread=1.0)
        smallest.append(min(one.p for one in differences(comparison(own, LOSS, figures))))
        grid = on_grid({(cell[0][-1], cell[1]): figure for cell, figure in figures.items()})
        found = interaction(grid)
        assert found is not None
        grid_p.append((effects(grid)[0].p, found.p))
    for values in (smallest, *zip(*grid_p, strict=True)):
        assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_p_falls_below_a_twentieth_where_the_simultaneous_interval_leaves_zero() -> None:
    own, rng = planned(5, 3), np.random.default_rng(3)
    seen = set()
    for _ in range(30):
        figures = simulated(own, np.array([0, 1, 2, 3, 4]), rng, seed_spread=1.0)
        for one in differences(comparison(own, LOSS, figures)):
            assert one.low is not None and one.high is not None and one.p is not None and one.alone_low is not None
            assert (one.p < 0.05) == (one.low > 0 or one.high < 0) == (one.verdict != "not told apart")
            assert one.low < one.alone_low
            seen.add(one.verdict)
    assert {"worse", "not told apart"} <= seen


def on_grid(figures: dict[tuple[str, int], float]) -> Comparison:
    """Settings 0, 1, 2, 3 as the grid of two axes of two."""
    places = {"0": ("a", "x"), "1": ("a", "y"), "2": ("b", "x"), "3": ("b", "y")}
    levels = [(f"{one} {other}", {"first": one, "second": other}) for one, other in places.values()]
    own = plan(levels, axes={"first": ["a", "b"], "second": ["x", "y"]}, reference="a x", seeds=[0, 1])
    return comparison(own, LOSS, {(" ".join(places[name]), seed): figure for (name, seed), figure in figures.items()})


def test_a_grid_of_two_by_two_and_two_seeds_is_as_computed_by_hand() -> None:
    # a x: 1 2, a y: 2 5, b x: 4 5, b y: 9 8. Means 1.5 3.5 4.5 8.5; seeds 4 and 5; all 4.5.
    compared = on_grid(
        {("0", 0): 1, ("0", 1): 2, ("1", 0): 2, ("1", 1): 5, ("2", 0): 4, ("2", 1): 5, ("3", 0): 9, ("3", 1): 8}
    )
    # Residuals of the first seed: figure - mean of its setting + 0.5: 0, -1, 0, 1; of the second the same with the
    # other sign.
    assert compared.fit.design.df == 3
    assert compared.spread == pytest.approx(np.sqrt(4 / 3))
    b_y = next(one for one in differences(compared) if one.setting == "b y")
    assert b_y.value == pytest.approx(7) and b_y.n == 2
    # Variance of a difference of two means of two: 4/3 (1/2 + 1/2).
    assert b_y.alone_high == pytest.approx(7 + stats.t.isf(0.025, 3) * np.sqrt(4 / 3))
    first, second = effects(compared)
    assert [one.value for one in first.levels.values()] == pytest.approx([2.5, 6.5])
    # Sums of squares with 8 cells: 8 * 2^2 = 32, 8 * 1.5^2 = 18, and (8.5 - 4.5 - 3.5 + 1.5)^2 / 4 * 2 = 2.
    assert first.p == pytest.approx(stats.f.sf(32 / (4 / 3), 1, 3))
    assert second.p == pytest.approx(stats.f.sf(18 / (4 / 3), 1, 3))
    found = interaction(compared)
    assert found is not None and found.p == pytest.approx(stats.f.sf(2 / (4 / 3), 1, 3))
    assert found.means["b"] == pytest.approx({"x": 4.5, "y": 8.5})
    # Mean square of the seeds 8 * 0.5^2 = 2: a mean has variance 2 / 8 + 4/3 (1/2 - 1/8) = 3/4, and the weighted t
    # quantile.
    t1, t3 = stats.t.isf(0.025, [1, 3])
    expected = (t1 * 0.25 + t3 * 0.5) / 0.75 * np.sqrt(0.75)
    mean = estimates(compared)["a x"]
    assert mean.high is not None and mean.high - mean.value == pytest.approx(expected)
    # A level is the mean of two settings: 2 / 8 + 4/3 (1/4 - 1/8).
    level = first.levels["a"]
    expected = (t1 * 0.25 + t3 / 6) / (0.25 + 1 / 6) * np.sqrt(0.25 + 1 / 6)
    assert level.high is not None and level.high - level.value == pytest.approx(expected)


def test_a_missing_cell_is_filled_by_setting_and_seed() -> None:
    """With the second seed 10 above the first, a setting that has only the first is no better for it."""
    own = planned(3, 2)
    figures = {("rate 0", 0): 1.0, ("rate 0", 1): 11.0, ("rate 1", 0): 2.0, ("rate 1", 1): 12.5, ("rate 2", 0): 1.5}
    compared = comparison(own, LOSS, figures)
    assert compared.means["rate 2"] == pytest.approx(1.5 + 10.25 / 2)
    assert [one.value for one in differences(compared)] == pytest.approx([1.25, 0.625])
    assert [one.n for one in differences(compared)] == [2, 1]


def test_settings_that_share_no_seed_are_not_compared() -> None:
    cells = [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2), ("d", 2)]
    assert components(cells) == [["a", "b"], ["c", "d", "e"]]
    assert components([*cells, ("a", 2)]) == [["a", "b", "c", "d", "e"]]


def test_strong_seeds_widen_means_and_not_differences() -> None:
    own = planned(3, 3)
    quiet = simulated(own, np.zeros(3), np.random.default_rng(0), seed_spread=0.0)
    loud = {(setting, seed): figure + 100 * seed for (setting, seed), figure in quiet.items()}
    before, after = comparison(own, LOSS, quiet), comparison(own, LOSS, loud)
    for one, other in zip(differences(before), differences(after), strict=True):
        assert (one.value, one.low, one.p) == pytest.approx((other.value, other.low, other.p), rel=1e-6)
    assert after.fit.half_widths(np.eye(3)).min() > 50 > before.fit.half_widths(np.eye(3)).max()


def test_the_difference_said_to_be_detectable_is_detected_in_four_of_five_sweeps() -> None:
    own, rng, num_draws = planned(4, 3), np.random.default_rng(5), 20000
    cells = tuple((setting, seed) for setting in range(4) for seed in range(3))
    contrasts_KS = np.eye(4)[1:] - np.eye(4)[0]
    figures = rng.normal(size=(12, num_draws))
    known = comparison(own, LOSS, simulated(own, np.zeros(4), rng, seed_spread=0))
    shift = detectable(known)
    assert shift is not None and known.spread is not None
    figures[3:6] += shift / known.spread
    fitted = fit(Design(cells), figures)
    t_G = ((contrasts_KS @ fitted.means_SG) / fitted.standard_errors(contrasts_KS))[0]
    factor = largest.quantile(equicorrelated(3), df=6, confidence=0.95, is_two_sided=True)
    assert (t_G > factor).mean() == pytest.approx(0.8, abs=0.012)


def test_figures_that_do_not_vary_are_not_called_certain() -> None:
    own = planned(3, 3)
    same = comparison(own, "accuracy", {(setting, seed): 0.1 for setting in own.settings for seed in own.seeds})
    assert {one.verdict for one in differences(same)} == {"nothing can be concluded"}
    assert best(same) is None and estimates(same)["rate 1"].low is None
    exact = {(setting, seed): 0.1 * row for row, setting in enumerate(own.settings) for seed in own.seeds}
    assert best(comparison(own, "accuracy", exact)) is None


def test_a_diverged_run_is_named_and_a_quiet_sweep_raises_no_alarm() -> None:
    own, rng = planned(6, 3), np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        compared = comparison(own, LOSS, simulated(own, np.arange(6), rng, seed_spread=2.0))
        alarms += bool(wild_cells(compared)) + (widest_setting(compared) is not None)
    assert alarms / 600 < 0.01 + 4 * np.sqrt(0.01 * 0.99 / 600)
    figures = simulated(own, np.arange(6), rng, seed_spread=2.0)
    figures["rate 4", 1] += 30
    assert wild_cells(comparison(own, LOSS, figures)) == [("rate 4", 1)]


def test_with_two_settings_both_runs_of_the_odd_seed_are_named() -> None:
    own = planned(2, 5)
    figures = {(f"rate {row}", seed): seed + row + 0.01 * (seed - 2) * row for row in range(2) for seed in range(5)}
    figures["rate 1", 3] += 5
    assert wild_cells(comparison(own, LOSS, figures)) == [("rate 0", 3), ("rate 1", 3)]


def test_a_setting_that_spreads_more_is_named() -> None:
    own = planned(5, 5)
    figures = simulated(own, np.zeros(5), np.random.default_rng(1), seed_spread=0.0)
    loud = {cell: figure * (20 if cell[0] == "rate 2" else 1) for cell, figure in figures.items()}
    assert widest_setting(comparison(own, LOSS, loud)) == "rate 2"
