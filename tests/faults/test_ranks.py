"""A rank that dies under torchrun is started again and the run is the run; one that hangs ends it with a message."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from pretrain.recipe import Train
from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import torchrun, two
from tests.faults.recipes import STEPS
from tests.faults.runs import Whole, differences, last_step, start_from
from tests.faults.wholes import ALL_KEPT

DEATHS = 5
HANG_MINUTES = 0.05
SLACK = 30.0

pytestmark = pytest.mark.long


@pytest.mark.parametrize("number", range(DEATHS))
def test_a_rank_that_dies_under_torchrun_is_started_again_and_the_run_is_the_run(
    objective: str, number: int, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective, processes=2), tmp_path / "run"
    draw, victim = random.Random(f"{objective} {number}"), number % 2
    step = draw.randrange(1, STEPS - 8)
    what = tried("SIGKILL to one of two ranks, restarts", objective=objective, phase=f"rank {victim}", step=step)
    with torchrun(whole.recipe, f"output_dir={run}", max_restarts=3) as launched:
        assert launched.until(lambda: last_step(run) >= step), launched.said
        time.sleep(draw.uniform(0, 0.1))
        process = launched.rank(victim)
        assert process is not None
        process.kill()
        what["killed_at"] = last_step(run)
        assert launched.wait() == 0, launched.said
    assert what["killed_at"] < STEPS, "the run was over before"
    assert launched.said.count("2 processes on cpu") == 2, launched.said
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


def test_three_ranks_that_go_on_from_a_checkpoint_are_the_run(
    objective: str, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    """What two add up does not depend on the order; for three, the buckets of gradients must stay as they are."""
    recipe, runs = wholes(objective).recipe, {name: tmp_path / name for name in ("whole", "resumed")}
    tried("three ranks go on from a checkpoint", objective=objective)
    kept = (*ALL_KEPT, f"checkpoint.every_steps={STEPS // 2}")
    with torchrun(recipe, f"output_dir={runs['whole']}", *kept, processes=3) as launched:
        assert launched.wait() == 0, launched.said
    whole = Whole(recipe, runs["whole"], 0.0, ())
    start_from(whole, runs["resumed"], STEPS // 2)
    with torchrun(recipe, f"output_dir={runs['resumed']}", *kept, processes=3) as launched:
        assert launched.wait() == 0, launched.said
    assert differences(runs["resumed"], runs["whole"]) == []


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_a_rank_that_hangs_or_is_gone_ends_the_other_with_one_message(
    objective: str, victim: int, fault: signal.Signals, wholes: Wholes, tmp_path: Path, tried: Tried
) -> None:
    if fault == signal.SIGSTOP and "hang_minutes" not in Train.model_fields:
        pytest.xfail("there is no limit for a hang")
    whole, run = wholes(objective, processes=2), tmp_path / "run"
    what = tried(f"{fault.name} to one of two ranks, no restarts", objective=objective, phase=f"rank {victim}")
    limit = (f"train.hang_minutes={HANG_MINUTES}",) if fault == signal.SIGSTOP else ()
    with two(whole.recipe, f"output_dir={run}", *limit) as ranks:
        other = ranks[1 - victim]
        assert other.until(lambda: last_step(run) >= 9), other.said
        ranks[victim].send(fault)
        began = time.monotonic()
        status = other.wait(60 * HANG_MINUTES + SLACK)
        what |= {"status": status, "seconds": time.monotonic() - began, "said": other.said.splitlines()[-1:]}
    assert (status, len(other.errors), "Traceback" in other.said) == (2, 1, False), other.said
    _goes_on(whole, run)


def _goes_on(whole: Whole, run: Path) -> None:
    with two(whole.recipe, f"output_dir={run}") as ranks:
        assert [rank.wait() for rank in ranks] == [0, 0], ranks[0].said + ranks[1].said
    assert differences(run, whole.run) == []
    shutil.rmtree(run)
