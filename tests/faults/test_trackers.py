"""A tracker that fails, whenever and however, never stops training."""

import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import one
from tests.faults.runs import differences, last_step

STUB = """
import os

def _fails(where):
    if os.environ["FAILS_AT"] == where:
        raise ConnectionError(f"no route to the tracker at {where}")

class _Config:
    def update(self, *values, **options):
        _fails("config")

class _Run:
    def log(self, *values, **options):
        _fails("log")
    def finish(self):
        _fails("finish")

config = _Config()

def init(**options):
    _fails("init")
    return _Run()

_fails("import")
"""
"""What stands for wandb."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize("where", ["import", "init", "config", "log", "finish"])
def test_a_service_that_fails_does_not_stop_training(
    objective: str, where: str, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run, stub = wholes(objective), tmp_path / "run", tmp_path / "stub"
    tried("a tracker fails", objective=objective, phase=f"at {where}")
    (stub / "wandb-0.20.dist-info").mkdir(parents=True)
    (stub / "wandb-0.20.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wandb\nVersion: 0.20\n")
    (stub / "wandb.py").write_text(STUB)
    arguments = (f"output_dir={run}", "log.trackers=[wandb]")
    with one(whole.recipe, *arguments, PYTHONPATH=str(stub), FAILS_AT=where) as launched:
        assert launched.wait() == 0, launched.said
    assert f"no route to the tracker at {where}" in launched.said
    assert "Traceback" not in launched.said
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


def test_a_tracker_whose_files_cannot_be_written_does_not_stop_training(
    objective: str, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective), tmp_path / "run"
    tried("a tracker fails", objective=objective, phase="its folder is a file")
    run.mkdir()
    (run / "clozekit").write_text("where tensorboard wants its folder")
    with one(whole.recipe, f"output_dir={run}", "log.trackers=[tensorboard]") as launched:
        assert launched.wait() == 0, launched.said
    assert "trackers could not be started" in launched.said
    (run / "clozekit").unlink()
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


def test_a_tracker_whose_folder_vanishes_does_not_stop_training(
    objective: str, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective), tmp_path / "run"
    tried("a tracker fails", objective=objective, phase="its folder vanishes")
    with one(whole.recipe, f"output_dir={run}", "log.trackers=[tensorboard]") as launched:
        assert launched.until(lambda: last_step(run) >= 5), launched.said
        shutil.rmtree(run / "clozekit")
        assert launched.wait() == 0, launched.said
    shutil.rmtree(run / "clozekit", ignore_errors=True)
    assert differences(run, whole.run) == []
    shutil.rmtree(run)
