"""Main effects of the axes of a grid, and how two of them act together: F tests of contrasts of the fitted settings.

Where cells are missing the contrasts stay those of the full grid, each combination counting alike (Yates 1934; the
hypotheses of "type III").
"""

# S settings, L levels of an axis, K contrasts

import numpy as np
from scipy import stats

from pretrain.sweeps.analysis.comparing import Comparison, averages
from pretrain.sweeps.analysis.design import Array
from pretrain.sweeps.results import Effect, Interaction


def effects(compared: Comparison) -> list[Effect]:
    """The mean over all other axes at each level of each axis; none where the compared settings are no full grid."""
    if not compared.plan.is_grid(compared.settings):
        return []
    found = []
    for axis in compared.plan.varied:
        averages_LS = _averages(compared, axis)
        levels = averages(compared, dict(zip(compared.plan.axes[axis], averages_LS, strict=True)))
        found.append(Effect(axis=axis, levels=levels, p=_p(compared, np.diff(averages_LS, axis=0))))
    return found


def interaction(compared: Comparison) -> Interaction | None:
    """Of the two axes of a full grid."""
    axes = compared.plan.varied
    if len(axes) != 2 or not compared.plan.is_grid(compared.settings):
        return None
    first, second = axes
    levels, means = compared.plan.levels, compared.means
    table = {
        row: {levels[setting][second]: means[setting] for setting in compared.settings if levels[setting][first] == row}
        for row in compared.plan.axes[first]
    }
    # A difference of differences for each pair of neighbouring levels.
    rows_S, columns_S = ((_averages(compared, axis) > 0).argmax(axis=0) for axis in axes)
    contrasts = [
        np.outer(row, column)[rows_S, columns_S]
        for row in np.diff(np.eye(rows_S.max() + 1), axis=0)
        for column in np.diff(np.eye(columns_S.max() + 1), axis=0)
    ]
    return Interaction(axes=axes, means=table, p=_p(compared, np.array(contrasts)))


def _averages(compared: Comparison, axis: str) -> Array:
    """(L, S) weights of the mean at each level."""
    labels = [compared.plan.levels[setting][axis] for setting in compared.settings]
    has_LS = np.array([[label == level for label in labels] for level in compared.plan.axes[axis]], dtype=float)
    return np.asarray(has_LS / has_LS.sum(axis=1, keepdims=True))


def _p(compared: Comparison, contrasts_KS: Array) -> float | None:
    """Of all contrasts being zero."""
    if not compared.has_spread:
        return None
    values_K = (contrasts_KS @ compared.fit.means_SG)[:, 0]
    square = float(values_K @ np.linalg.solve(compared.fit.covariance(contrasts_KS), values_K)) / len(contrasts_KS)
    return float(stats.f.sf(square / compared.fit.variance_G[0], len(contrasts_KS), compared.fit.design.df))
