"""Two runs in one directory: the second is refused, and the first does not notice."""

import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import one
from tests.faults.runs import differences, last_step

pytestmark = pytest.mark.long


@pytest.mark.parametrize("options", [(), ("--fresh",)])
def test_a_second_run_in_a_directory_is_refused(
    objective: str, options: tuple[str, ...], wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective), tmp_path / "run"
    tried("two runs in one directory", objective=objective, phase=" ".join(options))
    with one(whole.recipe, f"output_dir={run}") as first:
        assert first.until(lambda: last_step(run) >= 1), first.said
        first.pause()
        try:
            with one(whole.recipe, f"output_dir={run}", *options) as second:
                status = second.wait()
        finally:
            first.go_on()
        assert first.wait() == 0, first.said
    assert (status, len(second.errors), "Traceback" in second.said) == (2, 1, False), second.said
    assert str(first.process.pid) in second.said, "it does not say whose the directory is"
    assert differences(run, whole.run) == []
    shutil.rmtree(run)
