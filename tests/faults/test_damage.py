"""Each file of a checkpoint damaged in each way: it is named, the checkpoint before is used, the run is the run."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import one
from tests.faults.recipes import SAVES, STEPS
from tests.faults.runs import differences, start_from

pytestmark = pytest.mark.long


def _truncate(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, len(content))])


def _empty(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def _flip_a_bit(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _delete(path: Path, draw: random.Random) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "truncated": _truncate,
    "emptied": _empty,
    "one bit flipped": _flip_a_bit,
    "deleted": _delete,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_named_and_the_checkpoint_before_is_used(
    objective: str, damage: str, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole = wholes(objective)
    newest = whole.run / "checkpoints" / f"step-{STEPS - SAVES:08d}"
    names = sorted(str(path.relative_to(newest)) for path in newest.rglob("*") if path.is_file())
    assert {"manifest.json", "progress.json", "model/model.safetensors", "state/optimizer.safetensors"} <= {*names}
    wrong = []
    for name in names:
        run = start_from(whole, tmp_path / "run", STEPS - 2 * SAVES, STEPS - SAVES)
        DAMAGES[damage](run / "checkpoints" / newest.name / name, random.Random(f"{objective} {damage} {name}"))
        with one(whole.recipe, f"output_dir={run}") as launched:
            status = launched.wait()
        problem = _problem(launched.said, name, damage) if status == 0 else f"status {status}"
        problem = problem or "; ".join(differences(run, whole.run))
        tried("checkpoint damaged", objective=objective, phase=damage, file=name, problem=problem)
        if problem:
            wrong.append(f"{name} {damage}: {problem}\n{launched.said}")
        shutil.rmtree(run)
    assert not wrong, "\n".join(wrong)


def _problem(said: str, name: str, damage: str) -> str:
    """What is wrong with what the launch said, empty if nothing."""
    warnings = [line for line in said.splitlines() if f"step-{STEPS - SAVES:08d} is damaged" in line]
    if len(warnings) != 1 or "It is passed over" not in warnings[0]:
        return f"{len(warnings)} warnings of a damaged checkpoint that is passed over"
    # A manifest that reads well and lists other content tells that content and manifest differ, not which was hurt.
    if name not in warnings[0] and (name, damage) != ("manifest.json", "one bit flipped"):
        return f"{name} is not named"
    if not re.search(rf"going on from \S*/step-{STEPS - 2 * SAVES:08d}\b", said):
        return "the checkpoint before is not used"
    return ""
