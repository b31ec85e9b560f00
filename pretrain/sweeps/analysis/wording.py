"""Amounts and figures as a sentence has them."""

from collections.abc import Sequence
from math import floor, isfinite, log10

from pretrain.sweeps.outcome import Cost

MATCH_COSTS: dict[str, Cost] = {
    "steps": "steps",
    "tokens": "tokens",
    "targets": "targets",
    "flops": "flops",
    "wall_clock": "hours",
}
"""What `match` holds equal, as a cost."""
COST_NAMES: dict[Cost, str] = {
    "steps": "steps",
    "tokens": "tokens",
    "targets": "targets",
    "flops": "FLOPs",
    "hours": "wall clock",
}
NOT_DONE = (("failed", "failed", "failed"), ("not run", "was not run", "were not run"))
"""State of a cell -> what is said of one and of more."""
_MOST_DECIMALS = 6


def spent(cost: Cost, value: float) -> str:
    """An amount with its unit: 9.0 minutes, 1.23 million tokens, 3.4e14 FLOPs."""
    if cost == "hours":
        return _duration(value)
    if cost == "flops":
        return f"{value:.2g} FLOPs".replace("e+", "e")
    return f"{_count(value)} {COST_NAMES[cost]}"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.1f} seconds"
    if hours < 2:
        return f"{hours * 60:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def _count(value: float) -> str:
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        # 999,999 is not 1e+03 thousand.
        if value >= 0.9995 * size:
            return f"{value / size:.3g} {name}"
    return f"{value:,.0f}"


def is_loss(measure: str) -> bool:
    return measure.endswith("_nats")


def noun(measure: str) -> str:
    """What a measure is called in a sentence."""
    return "held-out loss" if is_loss(measure) else measure


def unit(measure: str) -> str:
    """With the space before it."""
    return " nats" if is_loss(measure) else ""


def decimals(width: float | None) -> int:
    """Enough for two digits of what is not known of a figure; three where nothing says how much that is."""
    if width is None or not isfinite(width) or width <= 0:
        return 3
    return min(max(1 - floor(log10(width)), 0), _MOST_DECIMALS)


def together(names: Sequence[str]) -> str:
    """A, B and C."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, name: str) -> str:
    """1 seed, 2 seeds."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
