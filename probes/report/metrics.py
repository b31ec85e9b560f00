"""A run's metrics.jsonl: the newest figures, and curves over the steps."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.figures import Curve

MOST_MARKED_POINTS = 40
"""A curve with more points than this is drawn without markers."""


@dataclass(frozen=True)
class Metrics:
    """A run's metrics.jsonl."""

    lines: list[dict[str, Any]]
    unreadable: list[int] = field(default_factory=list)
    """Numbers of the lines that are no JSON object (a run that was cut off leaves one)."""

    @classmethod
    def read(cls, path: Path) -> "Metrics":
        lines, unreadable = [], []
        for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                line = None
            if isinstance(line, dict):
                lines.append(line)
            else:
                unreadable.append(number)
        return cls(lines, unreadable)

    def last(self, key: str) -> float | None:
        """The newest number under the key, None where there is none."""
        return next((line[key] for line in reversed(self.lines) if _is_number(line.get(key))), None)

    def keys(self, prefix: str, suffix: str = "") -> list[str]:
        """Keys with numbers, that begin and end so, in the order of their first appearance."""
        found = dict.fromkeys(key for line in self.lines for key, value in line.items() if _is_number(value))
        return [key for key in found if key.startswith(prefix) and key.endswith(suffix)]

    def curve(self, key: str) -> Curve:
        """The key's numbers against the step; a step that was trained twice (after resuming) counts the later time."""
        points = {line["step"]: line[key] for line in self.lines if _is_number(line.get(key)) and _has_step(line)}
        steps = sorted(points)
        return Curve(key, steps, [points[s] for s in steps], markers=len(steps) <= MOST_MARKED_POINTS)


def term(key: str) -> str:
    """'eval/mlm_nats' -> 'mlm'."""
    return key.rsplit("/", 1)[-1].removesuffix("_nats")


def _has_step(line: dict[str, Any]) -> bool:
    return _is_number(line.get("step"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
