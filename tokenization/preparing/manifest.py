"""The manifest of a token store: what it is made of and the sha256 of every file, its own included; written last."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tokenization.preparing.arrays import write_synced

FORMAT_VERSION = 2
"""Of the files of a store; a store of another format is never read."""

_NAME = "manifest.json"
_OWN_DIGEST = "sha256"


class ManifestError(ValueError):
    """A manifest that is not there, damaged, or of another format."""


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write what a store is made of beside its digest; the store is whole once this is done."""
    content = {"format_version": FORMAT_VERSION, **content}
    text = json.dumps({**content, _OWN_DIGEST: _digest(content)}, indent=1, ensure_ascii=False)
    write_synced(folder / _NAME, text + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a store is made of.

    Raises:
        ManifestError: there is none, or it is not what was written.
    """
    try:
        manifest = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"got no {_NAME}, expected a token store") from error
    except ValueError as error:
        raise ManifestError(f"{_NAME}: got {error}, expected JSON") from error
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found != FORMAT_VERSION:
        raise ManifestError(f"got store format {found!r}, expected {FORMAT_VERSION}")
    if manifest.pop(_OWN_DIGEST, None) != _digest(manifest):
        raise ManifestError(f"{_NAME}: got other words than were written, expected those that its own sha256 is of")
    return dict(manifest)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
