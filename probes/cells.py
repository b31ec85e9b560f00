"""A figure as text: its value and its interval in its measure's unit, and what a difference allows to say."""

from collections.abc import Callable

from probes.results import Measure, Score, Unit

UNIT_NAMES: dict[Unit, str] = {
    "share": "%",
    "cosine": "cosine",
    "index": "at most 1, chance 0",
    "probability": "probability",
    "bits": "bits",
    "nats": "nats",
    "seconds": "seconds",
    "per_second": "per second",
    "ratio": "ratio",
    "count": "number",
}
"""What stands at an axis."""

UNCLEAR = "no clear difference"


def cell(score: Score, measure: Measure) -> str:
    """'71.2 % [64.0, 78.1]', '0.412 [0.391, 0.433]', '+2.1 points [-4.0, +8.2]' for a difference of shares.

    The interval is left out where it has no width.
    """
    value, interval = parts(score, measure)
    return f"{value} {interval}" if interval else value


def parts(score: Score, measure: Measure) -> tuple[str, str]:
    """The same in two: the value with its unit, and the interval or ''."""
    show = _writer(measure.unit, signed=score.role == "difference" and measure.unit != "ratio")
    value = show(score.value)
    if measure.unit == "share":
        value += " points" if score.role == "difference" else " %"
    has_width = score.high - score.low > 1e-9
    return value, f"[{show(score.low)}, {show(score.high)}]" if has_width else ""


def heading(measure: Measure) -> str:
    """The title of a measure's column, with the unit where its cells do not tell it."""
    has_unit = measure.unit in ("bits", "nats", "seconds", "per_second")
    return f"{measure.title} ({UNIT_NAMES[measure.unit]})" if has_unit else measure.title


def verdict(difference: Score, measure: Measure) -> str:
    """What the interval of 'A - B' ('A / B' for a ratio) allows to say of A: better, worse, higher, lower, or no clear
    difference."""
    equal = 1 if measure.unit == "ratio" else 0
    if difference.low <= equal <= difference.high:
        return UNCLEAR
    is_more = difference.low > equal
    if not measure.is_better:
        return "higher" if is_more else "lower"
    return "better" if is_more == (measure.is_better == "higher") else "worse"


def number(value: float) -> str:
    """Any other number: four digits that count, thousands apart."""
    if abs(value) >= 1000 or value == int(value):
        return f"{round(value):,}"
    return f"{value:.4g}"


def _writer(unit: Unit, *, signed: bool) -> Callable[[float], str]:
    sign = "+" if signed else ""

    def fixed(value: float, digits: int) -> str:
        # Adding 0 turns a rounded -0 into 0.
        return f"{round(value, digits) + 0:{sign}.{digits}f}"

    def show(value: float) -> str:
        if unit == "share":
            return fixed(100 * value, 1)
        if unit in ("cosine", "index", "probability"):
            # 0.0004 is a finding as a p-value or as a cosine of random weights, 0.000 is none.
            return f"{value:{sign}.1e}" if 0 < abs(value) < 0.0005 else fixed(value, 3)
        return ("+" if signed and value > 0 else "") + number(value)

    return show
