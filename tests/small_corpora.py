"""Small corpora on disk, and what stands in a cache, for tests of stores."""

import json
import random
from pathlib import Path

KEPT = (".lock", "digests.json")
"""Files of a cache that are no store."""


def make_texts(num_documents: int, *, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(200)]

    def sentence() -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, 12))).capitalize() + "."

    return [" ".join(sentence() for _ in range(draw.randint(1, 9))) for _ in range(num_documents)]


def write_corpus(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, which is empty and stays."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in KEPT
    }
