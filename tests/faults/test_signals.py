"""SIGTERM and SIGINT to one of two ranks: both save the same step and end with the status, whatever they were at."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.conftest import Tried, Wholes
from tests.faults.launches import Launched, torchrun, two
from tests.faults.runs import Whole, differences, is_saving, last_step, saved_step
from tests.faults.signalling import PHASES, STATUS, problem, signalled

TRIES: dict[str, int] = {"meeting": 2, "preparing": 4, "starting": 2, "stepping": 4, "evaluating": 4, "saving": 4}
"""SIGTERMs by phase."""
INTERRUPTS = ("preparing", "stepping", "evaluating", "saving")
_AIMS = 6

pytestmark = pytest.mark.long

CASES = [
    *((signal.SIGTERM, phase, number) for phase, count in TRIES.items() for number in range(count)),
    *((signal.SIGINT, phase, number) for number, phase in enumerate(INTERRUPTS)),
]


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory, corpus_files: tuple[Path, Path]) -> str:
    """Many held-out documents, so that an evaluation takes a while."""
    path = tmp_path_factory.mktemp("held-out") / "valid.jsonl"
    sentences = [
        sentence
        for file in corpus_files
        for line in file.read_text().splitlines()
        for sentence in json.loads(line)["text"].split(". ")
    ]
    draw = random.Random(3)
    texts = [". ".join(draw.sample(sentences, 10)) for _ in range(150)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return f"corpus.held_out={{files: [{path}]}}"


@pytest.mark.parametrize(
    ("number", "phase", "turn"), [pytest.param(*case, id=f"{case[0].name}-{case[1]}-{case[2]}") for case in CASES]
)
def test_a_signal_to_one_of_two_ranks_ends_both_with_the_same_step_saved(
    objective: str, number: signal.Signals, phase: str, turn: int, wholes: Wholes, slow: str, tmp_path: Path,
    tried: Tried,
) -> None:  # fmt: skip
    whole, run = wholes(objective, slow, processes=2), tmp_path / "run"
    draw, victim = random.Random(f"{objective} {number} {phase} {turn}"), turn % 2
    what = tried(f"{number.name} to one of two ranks", objective=objective, phase=phase, victim=victim)
    # Only a cache of its own is prepared anew.
    own = (f"cache_dir={tmp_path / 'cache'}",) if phase in ("meeting", "preparing") else ()
    for _ in range(_AIMS):
        with two(whole.recipe, f"output_dir={run}", *own) as ranks:
            done = signalled(ranks, run, phase, victim, number, draw)
        what |= asdict(done)
        said = "\n".join(f"rank {rank} said\n{launched.said}" for rank, launched in enumerate(ranks))
        assert problem(ranks, run, done, number) == "", f"{done}\n{said}"
        if done.hit:
            break
        for path in (run, tmp_path / "cache"):
            shutil.rmtree(path, ignore_errors=True)
    assert done.hit, f"no signal came while {phase}"
    _goes_on(whole, run)


def _goes_on(whole: Whole, run: Path) -> None:
    with two(whole.recipe, f"output_dir={run}") as ranks:
        assert [rank.wait() for rank in ranks] == [0, 0], ranks[0].said + ranks[1].said
    assert differences(run, whole.run) == []
    shutil.rmtree(run)


def _worker(launched: Launched, rank: int) -> None:
    process = launched.rank(rank)
    assert process is not None
    process.send_signal(signal.SIGTERM)


UNDER_TORCHRUN: dict[str, Callable[[Launched], None]] = {
    "rank 0": lambda launched: _worker(launched, 0),
    "rank 1": lambda launched: _worker(launched, 1),
    "torchrun": lambda launched: launched.send(signal.SIGTERM),
}


@pytest.mark.parametrize("victim", UNDER_TORCHRUN)
def test_a_signal_under_torchrun_saves_the_step_and_ends_all(
    objective: str, victim: str, wholes: Wholes, slow: str, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective, slow, processes=2), tmp_path / "run"
    what = tried(f"SIGTERM to {victim} under torchrun", objective=objective)
    step = random.Random(f"{objective} {victim}").randrange(2, 20)
    with torchrun(whole.recipe, f"output_dir={run}") as launched:
        assert launched.until(lambda: last_step(run) >= step), launched.said
        UNDER_TORCHRUN[victim](launched)
        came = last_step(run)
        assert launched.wait(30) != 0
    what |= {"step": came, "saved": saved_step(run)}
    assert came <= saved_step(run) <= came + 1, launched.said
    assert f"interrupted; step {saved_step(run)} is saved; launch the same command to go on" in launched.said
    assert "pretrain/" not in "".join(line for line in launched.said.splitlines() if 'File "' in line), launched.said
    _goes_on(whole, run)


def test_a_repeated_sigterm_during_a_save_is_ignored(
    objective: str, wholes: Wholes, slow: str, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective, slow, processes=2), tmp_path / "run"
    what = tried("SIGTERM again during the save", objective=objective)
    for _ in range(_AIMS):
        with two(whole.recipe, f"output_dir={run}") as ranks:
            assert ranks[0].until(lambda: last_step(run) >= 5), ranks[0].said
            ranks[1].send(signal.SIGTERM)
            hit = ranks[0].until(lambda: is_saving(run))
            for rank in (*ranks, *ranks):
                rank.send(signal.SIGTERM)
            assert [rank.wait(30) for rank in ranks] == [143, 143], ranks[0].said + ranks[1].said
        assert f"step {saved_step(run)} is saved" in ranks[0].said
        if hit:
            break
    what["step"] = saved_step(run)
    assert hit
    _goes_on(whole, run)


def test_a_second_sigint_leaves_at_once(
    objective: str, wholes: Wholes, slow: str, tmp_path: Path, tried: Tried
) -> None:
    whole, run = wholes(objective, slow, processes=2), tmp_path / "run"
    tried("SIGINT twice", objective=objective)
    with two(whole.recipe, f"output_dir={run}") as ranks:
        assert ranks[0].until(lambda: last_step(run) >= 9), ranks[0].said
        for pause in (0.02, 0.0):  # as a terminal does, to the whole group
            for rank in ranks:
                rank.send(signal.SIGINT)
            time.sleep(pause)
        assert [rank.wait(10) for rank in ranks] == [130, 130], ranks[0].said + ranks[1].said
    _goes_on(whole, run)


def test_every_phase_is_tried() -> None:
    assert TRIES.keys() == PHASES.keys() >= {*INTERRUPTS}
    assert sum(TRIES.values()) == 20
    assert STATUS.keys() == {number for number, _, _ in CASES}
