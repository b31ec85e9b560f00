"""Figures and costs of a sweep as people read them."""

from pretrain.sweeps.outcome import Cost, is_lower_better
from pretrain.sweeps.results import Difference, Estimate

MATCHED: dict[str, Cost] = {
    "steps": "steps",
    "tokens": "tokens",
    "targets": "targets",
    "flops": "flops",
    "wall_clock": "hours",
}
"""The cost that each way to match holds equal."""
_SIZES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_SHARES = ("accuracy", "recall", "precision", "share", "ratio")


def title_of(measure: str) -> str:
    """A measure's name in words: 'eval/mlm_nats' -> 'held-out mlm loss', 'probe/wic/auc' -> 'probe, wic, auc'."""
    words = measure.removesuffix("_nats").replace("_", " ").split("/")
    if is_lower_better(measure) and "loss" not in measure:
        words[-1] += " loss"
    if len(words) > 1 and words[0] == "eval":
        words[:2] = [f"held-out {words[1]}"]
    return ", ".join(words)


def unit_of(measure: str) -> str:
    """'nats', '%', or '' for what has no unit."""
    if measure.endswith("_nats"):
        return "nats"
    return "%" if any(word in measure for word in _SHARES) else ""


def heading_of(measure: str) -> str:
    """Title and unit, as at an axis."""
    unit = unit_of(measure)
    return f"{title_of(measure)} ({unit})" if unit else title_of(measure)


def better_side(measure: str) -> str:
    """'less' or 'more'."""
    return "less" if is_lower_better(measure) else "more"


def scale_of(measure: str) -> float:
    """What a measure's values are multiplied by along an axis: shares are shown in percent."""
    return 100.0 if unit_of(measure) == "%" else 1.0


def figure(measure: str, value: float, *, signed: bool = False) -> str:
    """'4.532', '41.2' (percent), '+0.013'; no unit."""
    digits = 1 if unit_of(measure) == "%" else 3
    # Adding 0 turns a rounded -0 into 0.
    return f"{round(scale_of(measure) * value, digits) + 0:{'+' if signed else ''}.{digits}f}"


def difference_unit(measure: str) -> str:
    """The unit of a difference: of shares in percent it is points."""
    return "points" if unit_of(measure) == "%" else unit_of(measure)


def with_unit(measure: str, text: str, *, signed: bool = False) -> str:
    """The text of a figure or of an estimate and its unit; signed: of a difference."""
    return f"{text} {difference_unit(measure) if signed else unit_of(measure)}".strip()


def interval(measure: str, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """'[4.510, 4.554]', or '' where it is not known."""
    if low is None or high is None:
        return ""
    return f"[{figure(measure, low, signed=signed)}, {figure(measure, high, signed=signed)}]"


def estimate_text(measure: str, one: Estimate) -> str:
    """'4.532 [4.510, 4.554]'."""
    return f"{figure(measure, one.value)} {interval(measure, one.low, one.high)}".strip()


def difference_text(measure: str, one: Difference) -> str:
    """'+0.013 [-0.004, +0.030]', the interval simultaneous."""
    said = figure(measure, one.value, signed=True)
    return f"{said} {interval(measure, one.low, one.high, signed=True)}".strip()


def p_text(p: float | None) -> str:
    """'0.012', '< 0.001', or '' where it is not known."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_said(p: float | None) -> str:
    """'p = 0.012', 'p < 0.001', or ''."""
    return "" if p is None else f"p {p_text(p)}" if p < 0.001 else f"p = {p_text(p)}"


def capital(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def amount(cost: Cost, value: float) -> str:
    """'3,000 steps', '5.3 M tokens', '1.2e15 FLOPs', '12.0 min'."""
    if cost == "hours":
        return _time(value)
    if cost == "flops":
        return f"{_power(value)} FLOPs"
    return f"{value:,.0f} steps" if cost == "steps" else f"{_short(value)} {cost}"


def axis_of(cost: Cost, most: float) -> tuple[float, str]:
    """What a cost is divided by along an axis that ends there, and the axis' label."""
    if cost == "hours":
        return (1.0, "hours of training") if most >= 2 else (1 / 60, "minutes of training")
    if cost == "flops":
        power = len(f"{most:.0f}") - 1 if most >= 1e4 else 0
        return 10.0**power, f"FLOPs (1e{power})" if power else "FLOPs"
    if cost == "steps":
        return 1.0, "steps"
    what = "tokens" if cost == "tokens" else "targets (masked tokens)"
    size, letter = next(((size, letter) for size, letter in _SIZES if most >= size), (1.0, ""))
    return size, f"{what}, {letter}" if letter else what


def _short(count: float) -> str:
    for size, letter in _SIZES:
        if round(count) >= size:
            return f"{float(f'{count / size:.3g}'):g} {letter}"
    return f"{count:.0f}"


def _power(value: float) -> str:
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}"


def _time(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.1f} min" if hours < 2 else f"{hours:.1f} h"
