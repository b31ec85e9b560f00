"""The results of a comparison as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.head_to_head.budgets import TITLES, WALL_CLOCK
from benchmarks.head_to_head.paired import Interval, in_percent, in_points, t_interval

Json = dict[str, Any]

NOTES = (
    "Senses: share of the sentences whose nearest neighbour by cosine, among those with the same word, has the same"
    " sense (`python -m probes senses`). Its best layer is picked on the same sentences, so that figure is optimistic,"
    " for both alike.",
    "Linear probe: test accuracy of a logistic regression on frozen vectors, the mean over a text's tokens. Its chosen"
    " layer is chosen on a part of the training rows.",
    "Intervals are 95 % t-intervals over the seeds, those of the difference over pairs of equal seed. They say what"
    " other seeds might give, not what other texts or budgets might. Each holds by itself: of many, one in twenty is"
    " expected to miss.",
    "Held-out figures of different objectives answer different questions and are not compared.",
)


def to_markdown(results: Json) -> str:
    """Tables and sentences for every budget, then the references and what the figures are."""
    a, b = results["recipes"]
    parts = [f"# {a} against {b}"]
    for budget, found in results["budgets"].items():
        parts.append(f"## {TITLES[budget]}")
        if not found["comparisons"]:
            parts.append("No seed is done by both recipes yet.")
            continue
        parts.append(_spent(found["runs"]))
        if budget == WALL_CLOCK:
            parts.append(_steadiness(found["runs"]))
        parts += [_measured(found, results), _conclusions(found["comparisons"], results)]
    parts += ["## Beside them", _references(results), "\n".join(f"- {note}" for note in NOTES)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    assert all(len(line) == len(head) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spent(runs: dict[str, list[Json]]) -> str:
    """What each recipe spent, and its own held-out figures; means over the seeds."""
    rows = []
    for recipe, of_recipe in runs.items():
        names = [name for name in of_recipe[0]["held_out"] if all(name in run["held_out"] for run in of_recipe)]
        held_out = [f"{name} {_mean([run['held_out'][name] for run in of_recipe])}" for name in names]
        spent = [_range([run[key] * scale for run in of_recipe], form) for key, scale, form in _SPENT.values()]
        seeds = ", ".join(str(run["seed"]) for run in of_recipe)
        rows.append([recipe, seeds, *spent, "<br>".join(held_out) or "nothing held out"])
    return table(["recipe", "seeds", *_SPENT, "held out at the end"], rows)


def _steadiness(runs: dict[str, list[Json]]) -> str:
    """How far the speed of one recipe's runs differs, by which a machine that was not quiet is told."""
    speeds = [[run["tokens_per_second"] for run in of_recipe] for of_recipe in runs.values()]
    most = max(max(of_recipe) / min(of_recipe) - 1 for of_recipe in speeds)
    return (
        f"The fastest run of a recipe was {most:.1%} faster than its slowest. More than a few percent mean that"
        " something else used the machine, and that equal minutes were not equal."
    )


_SPENT = {
    "steps": ("steps", 1.0, ",.0f"),
    "million tokens": ("tokens", 1e-6, ".2f"),
    "FLOPs": ("flops", 1.0, ".3g"),
    "minutes": ("training_seconds", 1 / 60, ".1f"),
    "tokens/s": ("tokens_per_second", 1.0, ",.0f"),
}
"""Column -> key of a run, scale and form."""


def _measured(found: Json, results: Json) -> str:
    """One row a recipe, one of the difference; a column for each measure."""
    a, b = results["recipes"]
    compared = [found["comparisons"][measure] for measure in results["measures"]]
    shown: list[tuple[str, str, Callable[[Interval], str]]] = [(a, a, in_percent), (b, b, in_percent)]
    shown.append((f"{b} - {a}", "difference", in_points))
    rows = [[title, *(form(Interval(**one[key])) for one in compared)] for title, key, form in shown]
    return table(["recipe", *results["measures"].values()], rows)


def _conclusions(comparisons: Json, results: Json) -> str:
    a, b = results["recipes"]
    leads = {label: sum(one["ahead"] == label for one in comparisons.values()) for label in (a, b)}
    said = [f"- {results['measures'][measure]}: {one['conclusion']}" for measure, one in comparisons.items()]
    open_ = len(comparisons) - sum(leads.values())
    total = f"Of {len(comparisons)} measures, {b} is ahead in {leads[b]}, {a} in {leads[a]}, {open_} not told apart."
    return "\n".join([total, "", *said])


def _references(results: Json) -> str:
    rows = [
        [name, *(f"{100 * figures[measure]:.1f} %" if measure in figures else "" for measure in results["measures"])]
        for name, figures in results["references"].items()
    ]
    return table(["reference", *results["measures"].values()], rows)


def _range(values: Sequence[float], form: str) -> str:
    """A mean over seeds with the lowest and the highest, where they differ as shown."""
    mean, low, high = (f"{value:{form}}" for value in (sum(values) / len(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _mean(values: Sequence[float]) -> str:
    """A held-out figure's mean over seeds with its interval."""
    interval = t_interval(values)
    if interval.low is None or interval.high is None:
        return f"{interval.mean:.3f}"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
