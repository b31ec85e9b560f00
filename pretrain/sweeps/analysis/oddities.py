"""Signs that the model of a sweep does not hold: one run far from all others, or settings of unequal spread."""

# N cells, S settings, D draws

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pretrain.sweeps.analysis.comparing import Comparison
from pretrain.sweeps.analysis.design import Array, Design

ALARM = 0.01
"""A sweep in which nothing is odd raises each alarm this often."""
_NUM_DRAWS = 4000
_SEED = 0


def oddities(compared: Comparison) -> list[str]:
    """Sentences that name runs, or a setting, that the model does not hold for; empty where all is well."""
    wild = wild_cells(compared)
    if wild:
        names = " and ".join(f"{setting}, seed {seed}" for setting, seed in wild)
        return [
            f"A run lies far from what its setting and its seed explain (outlier test, p < {ALARM}): {names}. Look "
            "whether it diverged: it widens all intervals and moves the means of its setting and its seed."
        ]
    uneven = widest_setting(compared)
    if uneven is None:
        return []
    return [
        f"The seeds of {uneven} spread more than those of the other settings (Cochran's test, p < {ALARM}), while the "
        "intervals take one spread for all: too wide for the others, too narrow for it."
    ]


def wild_cells(compared: Comparison) -> list[tuple[str, int]]:
    """The cell of the largest deleted residual, where that is too large for so many (Cook & Weisberg 1982, 2.2.2).

    Two where the design cannot tell which of them it is, as with two settings.
    """
    design, variance = compared.fit.design, float(compared.fit.variance_G[0])
    if design.df < 2 or not compared.has_spread:
        return []
    freedom_N = np.diag(design.matrices.residuals_NN)
    squares_N = np.zeros(len(freedom_N))
    # A cell that alone has its setting or its seed is explained in full and has no residual.
    np.divide(compared.fit.residuals_NG[:, 0] ** 2, freedom_N * variance, out=squares_N, where=freedom_N > 1e-9)
    largest = float(squares_N.max())
    others = max((design.df - largest) / (design.df - 1), 1e-12)
    p = len(squares_N) * 2 * float(stats.t.sf(np.sqrt(largest / others), design.df - 1))
    if p >= ALARM:
        return []
    return [compared.cells[index] for index in np.flatnonzero(squares_N >= largest * (1 - 1e-6))]


def widest_setting(compared: Comparison) -> str | None:
    """The setting with too large a share of the squared residuals (Cochran 1941), by simulation of this design."""
    design = compared.fit.design
    if design.df < 2 or design.num_settings < 3 or not compared.has_spread:
        return None
    share_S = _shares(design, compared.fit.residuals_NG)[:, 0]
    if np.mean(_largest_shares(design) >= share_S.max() * (1 - 1e-9)) >= ALARM:
        return None
    return compared.settings[int(share_S.argmax())]


def _shares(design: Design, residuals_NG: Array) -> Array:
    """(S, G) spread of each setting as a share of all: squares over the degrees of freedom left to them."""
    of_setting_SN = np.array(
        [[setting == own for own, _ in design.cells] for setting in range(design.num_settings)], float
    )
    freedom_S = of_setting_SN @ np.diag(design.matrices.residuals_NN)
    squares_SG = of_setting_SN @ residuals_NG**2
    spread_SG = np.zeros_like(squares_SG)
    np.divide(squares_SG, freedom_S[:, None], out=spread_SG, where=freedom_S[:, None] > 1e-9)
    return np.asarray(spread_SG / spread_SG.sum(axis=0))


@functools.lru_cache(maxsize=64)
def _largest_shares(design: Design) -> NDArray[np.float64]:
    """(D,) largest share where all settings have one spread."""
    draws_ND = np.random.default_rng(_SEED).standard_normal((len(design.cells), _NUM_DRAWS))
    return np.asarray(_shares(design, design.matrices.residuals_NN @ draws_ND).max(axis=0))
