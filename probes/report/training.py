"""The training part of a run: how far it came, its newest figures, its curves."""

from collections.abc import Collection

from probes.report.chart import Chart, Line
from probes.report.layers import file_name
from probes.report.metrics import Metrics, term

CURVES = (
    ("loss", "Loss", "nats", ("loss/", "eval/"), "_nats"),
    ("accuracy", "Accuracy", "share of the targets", ("accuracy/", "eval/accuracy/"), ""),
    (
        *("detection", "Detection of replaced tokens", "share, or area under the curve"),
        tuple(f"{place}{kind}/" for place in ("", "eval/") for kind in ("auc", "precision", "recall")),
        "",
    ),
    ("replaced", "Replaced tokens", "share of the masked positions", ("replaced_ratio", "eval/replaced_ratio"), ""),
    ("learning-rate", "Learning rate", "learning rate", ("learning_rate",), ""),
)
"""PNG, title, axis, beginnings and end of the keys of each chart."""


def summary_line(metrics: Metrics) -> str:
    """How far the training came, in a sentence; '' where nothing tells."""
    if (step := metrics.last("step")) is None:
        return ""
    tokens, seconds = metrics.last("tokens"), metrics.last("elapsed_seconds")
    spent = [f"{_short(tokens)} tokens"] if tokens is not None else []
    spent += [_time(seconds)] if seconds is not None else []
    losses = [(term(key), metrics.last(key)) for key in metrics.keys("eval/", "_nats")]
    held_out = " and ".join(f"{name} loss {value:.3g} nats" for name, value in losses if value is not None)
    after = f"After {step:,.0f} steps" + (f" ({', '.join(spent)})" if spent else "")
    return f"{after}: " + (f"held-out {held_out}." if held_out else "there is no held-out loss yet.")


def key_figures(metrics: Metrics) -> list[list[str]]:
    """[name, value] of the newest figures."""
    rows = []
    for place, prefix in (("training", ""), ("held-out", "eval/")):
        for key in metrics.keys(prefix or "loss/", "_nats"):
            rows.append([f"{place} loss, {term(key)}", f"{metrics.last(key):.4g} nats"])
    for key in metrics.keys("eval/accuracy/"):
        rows.append([f"held-out accuracy, {term(key)}", f"{100 * (metrics.last(key) or 0):.1f} %"])
    for kind, name in (("auc", "AUC"), ("precision", "precision"), ("recall", "recall")):
        for key in metrics.keys(f"eval/{kind}/") or metrics.keys(f"{kind}/"):
            place = "held-out" if key.startswith("eval/") else "training"
            rows.append([f"{place} {name}, {term(key)}", f"{metrics.last(key):.3f}"])
    for key in metrics.keys("eval/replaced_ratio") or metrics.keys("replaced_ratio"):
        rows.append(["share of the masked positions that were replaced", f"{100 * (metrics.last(key) or 0):.1f} %"])
    shown = (("step", "steps"), ("tokens", "tokens, padding apart"), ("tokens_per_second", "tokens a second"))
    rows += [[name, f"{value:,.0f}"] for key, name in shown if (value := metrics.last(key)) is not None]
    if (seconds := metrics.last("elapsed_seconds")) is not None:
        rows.append(["time", _time(seconds)])
    return rows


def training_charts(metrics: Metrics, *, shown_elsewhere: Collection[str]) -> list[Chart]:
    """The charts of CURVES that have something to show, and one for each probe that was run at the evaluations.

    Args:
        shown_elsewhere: probes whose figures over the run are drawn with their intervals.
    """
    charts = []
    for stem, title, axis, prefixes, suffix in CURVES:
        shown = dict.fromkeys(key for prefix in prefixes for key in metrics.keys(prefix, suffix))
        # A loss of 6 nats beside one of 0.5 would flatten both.
        terms = list(dict.fromkeys(map(term, shown))) if stem == "loss" else []
        if len(terms) < 2:
            charts.append(_chart(metrics, list(shown), f"report-{stem}.png", title, axis))
        for one in terms if len(terms) > 1 else []:
            mine = [key for key in shown if term(key) == one]
            charts.append(_chart(metrics, mine, f"report-{stem}-{file_name(one)}.png", f"{title}, {one}", axis))
    keys = metrics.keys("probe/")
    for probe in dict.fromkeys(key.split("/")[1] for key in keys):
        if probe not in shown_elsewhere:
            mine = [key for key in keys if key.split("/")[1] == probe]
            file = f"report-probe-{''.join(letter if letter.isalnum() else '-' for letter in probe)}.png"
            charts.append(_chart(metrics, mine, file, f"Probe {probe} at the evaluations", "value"))
    return [chart for chart in charts if chart.lines]


def _chart(metrics: Metrics, keys: list[str], file: str, title: str, axis: str) -> Chart:
    curves = [curve for curve in map(metrics.curve, keys) if curve.x]
    lines = [Line(_name(curve.label), list(curve.x), list(curve.y), colour=index) for index, curve in enumerate(curves)]
    return Chart(file, title, "step", axis, lines)


def _name(key: str) -> str:
    """'eval/mlm_nats' -> 'held-out, mlm'; 'accuracy/mlm' -> 'training, mlm'; a probe's figures keep their key."""
    if key.startswith("probe/"):
        return key
    place = "held-out" if key.startswith("eval/") else "training"
    kind = next((kind for kind in ("auc", "precision", "recall") if f"{kind}/" in key), "")
    is_alone = key in ("learning_rate", "replaced_ratio", "eval/replaced_ratio")
    return ", ".join(part for part in (place, kind, "" if is_alone else term(key)) if part)


def _short(count: float) -> str:
    for size, letter in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.0f}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.1f} minutes"
    return f"{seconds / 3600:.1f} hours"
