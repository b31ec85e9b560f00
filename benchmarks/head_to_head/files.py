"""Figures kept beside the runs as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.results import write_text


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all, that any reader takes: NaN is refused (ValueError)."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
