"""Ways of doing a thing that take turns, each turn in a process of its own, and the table of what came of it.

Absolute speeds drift with whatever else the machine does; ratios turn by turn less so.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

Turn = dict[str, float]
"""What one turn measured."""


def take_turns(module: str, ways: Iterable[str], *, turns: int, steps: int) -> dict[str, list[Turn]]:
    """Run every way once a turn as `python -m MODULE --way WAY --steps STEPS`, whose last line is a Turn as JSON.

    Tells the `tokens_per_second` of each as it comes.

    Raises:
        SystemExit: a way failed; the message ends with what it wrote to standard error.
    """
    results: dict[str, list[Turn]] = {way: [] for way in ways}
    width = max(map(len, results))
    for turn in range(turns):
        for way, found in results.items():
            found.append(_in_process([sys.executable, "-m", module, "--way", way, "--steps", str(steps)]))
            speed = found[-1]["tokens_per_second"]
            print(f"turn {turn + 1}  {way:{width}} {speed:>8,.0f} tokens/s", flush=True)
    return results


def _in_process(command: Sequence[str]) -> Turn:
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with status {ended.returncode}:\n{ended.stderr[-4000:]}")
    turn: Turn = json.loads(ended.stdout.splitlines()[-1])
    return turn


def values_of(results: Mapping[str, Sequence[Turn]], key: str) -> dict[str, list[float]]:
    """One measured value of every way, turn by turn."""
    return {way: [turn[key] for turn in turns] for way, turns in results.items()}


def ratios(values: Mapping[str, Sequence[float]], pairs: Iterable[tuple[str, str]]) -> dict[str, list[float]]:
    """One way's values over another's, turn by turn."""
    return {f"{a} / {b}": [x / y for x, y in zip(values[a], values[b], strict=True)] for a, b in pairs}


def spread(values: Sequence[float], form: str) -> str:
    """Median, lowest and highest, as cells of a Markdown table."""
    return " | ".join(f"{value:,{form}}" for value in (statistics.median(values), min(values), max(values)))


def spread_table(what: str, unit: str, rows: Mapping[str, Sequence[float]], form: str) -> str:
    """A Markdown table with a row for each name: the spread of its values."""
    head = f"| {what} | {unit}median | lowest | highest |\n| --- | --- | --- | --- |"
    return "\n".join([head, *(f"| {name} | {spread(values, form)} |" for name, values in rows.items())])
