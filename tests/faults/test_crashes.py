"""A real run dies after each file operation of its last save: a whole checkpoint is there, and the run is the run."""

import shutil
import signal
from itertools import count
from pathlib import Path

import pytest

from pretrain.checkpoints.checkpoint import Checkpoints
from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import Launched, one
from tests.faults.recipes import SAVES, STEPS
from tests.faults.runs import differences, start_from

SHARES = 8
"""Tests among which the operations are dealt out, so that several can run side by side."""
_ARMED = """
import runpy, sys
from pathlib import Path
from tests.faults.crash import arm
after, within, *sys.argv[1:] = sys.argv[1:]
arm(int(after), Path(within))
runpy.run_module("pretrain", run_name="__main__", alter_sys=True)
"""
_FEWEST = 40  # files are made, written, synced, renamed, pruned, handed over: fewer would be a harness that is deaf

pytestmark = pytest.mark.long


@pytest.mark.parametrize("share", range(SHARES))
def test_after_a_crash_at_any_file_operation_a_whole_checkpoint_is_there(
    objective: str, share: int, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective), tmp_path / "run"
    for after in count(share, SHARES):
        start_from(whole, run, STEPS - 2 * SAVES, STEPS - SAVES)
        with Launched(["-c", _ARMED, str(after), str(run), str(whole.recipe), f"output_dir={run}"]) as launched:
            status = launched.wait()
        if status == 0:
            break
        assert status == -signal.SIGKILL, launched.said
        tried("crash after a file operation", objective=objective, phase="of a save", after=after)
        where = f"after {after} operations"
        newest = Checkpoints(run).newest_valid()
        assert newest is not None, where
        assert newest.name >= f"step-{STEPS - SAVES:08d}", f"{where} the newest whole checkpoint is {newest.name}"
        with one(whole.recipe, f"output_dir={run}") as launched:
            assert launched.wait() == 0, f"{where}\n{launched.said}"
        assert "damaged" not in launched.said, where
        assert differences(run, whole.run) == [], where
        shutil.rmtree(run)
    assert after >= _FEWEST
    shutil.rmtree(run)
