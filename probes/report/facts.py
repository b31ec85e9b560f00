"""Settings and circumstances as a page lists them."""

import json
from collections.abc import Mapping
from typing import Any

from probes.cells import number


def facts(values: Mapping[str, Any]) -> list[list[str]]:
    """[name, value as text] of each."""
    return [[name, _fact(value)] for name, value in values.items()]


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(map(_fact, value))
    if isinstance(value, dict) and all(isinstance(one, str | int | float | dict) for one in value.values()):
        return "; ".join(
            f"{key}: {_fact(one)}" if not isinstance(one, dict) else f"{key} ({_fact(one)})"
            for key, one in value.items()
        )
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
