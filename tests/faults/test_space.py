"""No room at a random byte: one clear message, the checkpoints as they were, and with room the run is the run."""

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretrain.checkpoints.checkpoint import verify
from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import Launched, one
from tests.faults.recipes import SAVES, STEPS
from tests.faults.runs import Whole, checkpoints, differences, start_from

TRIES = 20
FULL_DISKS = 6
FIRST, SECOND = STEPS - 2 * SAVES, STEPS - SAVES

pytestmark = pytest.mark.long


def refused(launched: Launched, run: Path) -> str:
    """What is wrong with how a launch without room ended, which has whole checkpoints to spare; empty if nothing."""
    if (status := launched.wait()) != 2:
        return f"status {status}"
    if len(launched.errors) != 1 or "Traceback" in launched.said:
        return f"{len(launched.errors)} messages, expected one and no traceback"
    for path in checkpoints(run):
        verify(path)
    if [path.name for path in checkpoints(run)][:2] != [f"step-{step:08d}" for step in (FIRST, SECOND)]:
        return f"checkpoints {[path.name for path in checkpoints(run)]}"
    return ""


@pytest.mark.parametrize("number", range(TRIES))
def test_a_file_that_cannot_grow_stops_the_run_with_its_checkpoints_as_they_were(
    objective: str, number: int, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole = wholes(objective)
    limit = _limit(whole, random.Random(f"{objective} {number}"))
    what = tried("no space", objective=objective, phase="a file-size limit", bytes=limit)
    run = start_from(whole, tmp_path / "run", FIRST, SECOND)
    with one(whole.recipe, f"output_dir={run}", max_file_bytes=limit) as launched:
        launched.wait()
    what["said"] = launched.said.splitlines()[-1:]
    assert refused(launched, run) == "", launched.said
    _goes_on(whole, run)


def _limit(whole: Whole, draw: random.Random) -> int:
    """A size at which some file of a checkpoint cannot be written in full, of each order of magnitude as often."""
    sizes = [path.stat().st_size for path in checkpoints(whole.run)[-1].rglob("*") if path.is_file()]
    logarithm = draw.uniform(len(bin(min(sizes))), len(bin(max(sizes))))
    return min(max(sizes) - 1, int(2 ** (logarithm - 2)))


@pytest.mark.parametrize("number", range(FULL_DISKS))
def test_a_full_disk_stops_the_run_with_its_checkpoints_as_they_were(
    objective: str, number: int, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole = wholes(objective)
    saved = sum(path.stat().st_size for path in checkpoints(whole.run)[-1].rglob("*"))
    share = random.Random(f"{objective} {number}").uniform(0, 1)
    what = tried("no space", objective=objective, phase="a full disk", share_of_a_checkpoint=share)
    with _disk(tmp_path / "disk", room=8 * saved) as disk:
        run = start_from(whole, disk / "run", FIRST, SECOND)
        _resize(disk, _used(disk) + int(share * saved))
        with one(whole.recipe, f"output_dir={run}") as launched:
            launched.wait()
        what["said"] = launched.said.splitlines()[-1:]
        assert refused(launched, run) == "", launched.said
        _resize(disk, 8 * saved)
        _goes_on(whole, run)


def _goes_on(whole: Whole, run: Path) -> None:
    with one(whole.recipe, f"output_dir={run}") as launched:
        assert launched.wait() == 0, launched.said
    assert "damaged" not in launched.said
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


@contextlib.contextmanager
def _disk(place: Path, *, room: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    place.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a disk to fill")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here to be filled: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def _used(disk: Path) -> int:
    usage = os.statvfs(disk)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize
