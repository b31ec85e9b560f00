"""Settings compared in one figure: differences to the reference, and which may be the best.

Differences: Dunnett's simultaneous intervals (1955) with the contrasts' own correlation, p values adjusted in a
single step. The best: multiple comparisons with the best (Hsu 1984): a setting is ruled out where another is better
by more than the one-sided Dunnett quantile with that setting as the control. The truly best one is ruled out in at
most 5 % of sweeps.
"""

# S settings, K contrasts

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from pretrain.sweeps.analysis import largest
from pretrain.sweeps.analysis.design import CONFIDENCE, Array, Design, Fit, components, fit
from pretrain.sweeps.analysis.plan import Cell, Plan
from pretrain.sweeps.outcome import is_lower_better
from pretrain.sweeps.results import Best, Difference, Estimate

BETTER, WORSE, NOT_TOLD_APART, NOTHING = "better", "worse", "not told apart", "nothing can be concluded"


@dataclass(frozen=True)
class Comparison:
    """The settings that can be compared with each other, and the fit to their cells."""

    plan: Plan
    measure: str
    cells: list[Cell]
    settings: list[str]
    fit: Fit
    """Of one figure, G = 1."""

    @property
    def has_spread(self) -> bool:
        """Whether the cells say how far a run lies from what its setting and its seed explain."""
        return bool(self.fit.variance_G[0] > 0)

    @property
    def spread(self) -> float | None:
        return float(np.sqrt(self.fit.variance_G[0])) if self.has_spread else None

    @property
    def means(self) -> dict[str, float]:
        return dict(zip(self.settings, self.fit.means_SG[:, 0].tolist(), strict=True))

    @property
    def ranked(self) -> list[str]:
        """The best mean first."""
        sign = 1 if is_lower_better(self.measure) else -1
        return sorted(self.settings, key=lambda setting: sign * self.means[setting])

    def num_seeds(self, setting: str) -> int:
        return sum(other == setting for other, _ in self.cells)

    def contrasts(self, base: str) -> tuple[list[str], Array]:
        """The other settings, and (K, S) weights of each of them minus `base`."""
        others = [setting for setting in self.settings if setting != base]
        identity_SS = np.eye(len(self.settings))
        index = self.settings.index
        return others, np.array([identity_SS[index(setting)] - identity_SS[index(base)] for setting in others])


def comparison(plan: Plan, measure: str, figures: dict[Cell, float]) -> Comparison:
    """Fit the settings that hang together with the reference, or the most that hang together where it is missing.

    Args:
        figures: of at least one cell, all finite.
    """
    cells = plan.sorted(figures)
    groups = components(cells)
    settings = next((group for group in groups if plan.reference in group), max(groups, key=len))
    cells = [cell for cell in cells if cell[0] in settings]
    seeds = sorted({seed for _, seed in cells})
    design = Design(tuple((settings.index(setting), seeds.index(seed)) for setting, seed in cells))
    return Comparison(plan, measure, cells, settings, fit(design, np.array([[figures[cell]] for cell in cells])))


def estimates(compared: Comparison) -> dict[str, Estimate]:
    """Means over all seeds with 95 % intervals."""
    return averages(compared, dict(zip(compared.settings, np.eye(len(compared.settings)), strict=True)))


def averages(compared: Comparison, weights: dict[str, Array]) -> dict[str, Estimate]:
    """Averages of settings, each by its (S,) weights, with 95 % intervals."""
    weights_KS = np.array(list(weights.values()))
    values = (weights_KS @ compared.fit.means_SG)[:, 0].tolist()
    widths = compared.fit.half_widths(weights_KS)[:, 0].tolist()
    found = {}
    for name, row_S, value, width in zip(weights, weights_KS, values, widths, strict=True):
        # A width of zero is no certainty, but runs that do not differ at all.
        low, high = (value - width, value + width) if width > 0 else (None, None)
        counts = [compared.num_seeds(compared.settings[index]) for index in np.flatnonzero(row_S)]
        found[name] = Estimate(value=value, low=low, high=high, n=min(counts))
    return found


def differences(compared: Comparison) -> list[Difference]:
    """Every other setting minus the reference; none where the reference has no cell here."""
    reference = compared.plan.reference
    if reference not in compared.settings or len(compared.settings) == 1:
        return []
    others, contrasts_KS = compared.contrasts(reference)
    values_K = (contrasts_KS @ compared.fit.means_SG)[:, 0]
    seeds = {setting: {seed for other, seed in compared.cells if other == setting} for setting in compared.settings}
    shared = [len(seeds[setting] & seeds[reference]) for setting in others]
    if not compared.has_spread:
        return [
            Difference(setting=setting, value=value, n=n, verdict=NOTHING)
            for setting, value, n in zip(others, values_K.tolist(), shared, strict=True)
        ]
    df, correlation_KK = compared.fit.design.df, compared.fit.correlation(contrasts_KS)
    errors_K = compared.fit.standard_errors(contrasts_KS)[:, 0]
    factor = largest.quantile(correlation_KK, df=df, confidence=CONFIDENCE, is_two_sided=True)
    factor_alone = float(stats.t.isf((1 - CONFIDENCE) / 2, df))
    return [
        Difference(
            setting=setting,
            value=value,
            low=value - factor * error,
            high=value + factor * error,
            alone_low=value - factor_alone * error,
            alone_high=value + factor_alone * error,
            p=largest.tail(abs(value) / error, correlation_KK, df=df, is_two_sided=True),
            n=n,
            verdict=_verdict(value, factor * error, compared.measure),
        )
        for setting, value, error, n in zip(others, values_K.tolist(), errors_K.tolist(), shared, strict=True)
    ]


def _verdict(value: float, width: float, measure: str) -> str:
    if abs(value) <= width:
        return NOT_TOLD_APART
    return BETTER if (value < 0) == is_lower_better(measure) else WORSE


def best(compared: Comparison) -> Best | None:
    """The best mean and those that may be the best; None without a spread to tell by, or with one setting."""
    if not compared.has_spread or len(compared.settings) == 1:
        return None
    candidates = [setting for setting in compared.ranked if _may_be_best(compared, setting)]
    return Best(setting=compared.ranked[0], candidates=candidates, is_certain=len(candidates) == 1)


def _may_be_best(compared: Comparison, setting: str) -> bool:
    _, contrasts_KS = compared.contrasts(setting)
    lead_K = (contrasts_KS @ compared.fit.means_SG)[:, 0] * (-1 if is_lower_better(compared.measure) else 1)
    factor = largest.quantile(
        compared.fit.correlation(contrasts_KS), df=compared.fit.design.df, confidence=CONFIDENCE, is_two_sided=False
    )
    return bool((lead_K <= factor * compared.fit.standard_errors(contrasts_KS)[:, 0]).all())


def detectable(compared: Comparison, *, power: float = 0.8) -> float | None:
    """A true difference to the reference that this share of such sweeps tells apart, by the least certain contrast."""
    if not compared.has_spread or compared.plan.reference not in compared.settings or len(compared.settings) == 1:
        return None
    _, contrasts_KS = compared.contrasts(compared.plan.reference)
    df, correlation_KK = compared.fit.design.df, compared.fit.correlation(contrasts_KS)
    factor = largest.quantile(correlation_KK, df=df, confidence=CONFIDENCE, is_two_sided=True)
    return _shift(factor, df, power) * float(compared.fit.standard_errors(contrasts_KS).max())


def _shift(factor: float, df: int, power: float) -> float:
    """Standard errors in a true difference whose t statistic passes `factor` with this power (noncentral t)."""
    # The spread comes out differently in each sweep: 4096 quantiles of it stand for all.
    spreads = np.sqrt(stats.chi2.ppf((np.arange(4096) + 0.5) / 4096, df) / df)
    found = optimize.brentq(
        lambda shift: np.mean(special.ndtr(shift - factor * spreads)) - power, 0.0, 5 * (factor + 5)
    )
    return float(found)
