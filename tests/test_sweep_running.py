"""Cells as they are run: what is done once, what goes on, what fails alone, and who is asked to end."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrain.recipe import RecipeError
from pretrain.sweeps.children import CellFailed, CellStopped, Share, run
from pretrain.sweeps.executors import Executor, Ray, Slurm, Workers, _devices, shares_of
from pretrain.sweeps.running import Job, conduct, is_done

TRAINER = """
import pathlib, sys, time
recipe = pathlib.Path(sys.argv[1])
name, run = recipe.stem, recipe.parent / "runs" / recipe.stem
run.mkdir(parents=True, exist_ok=True)
with (run / "starts.txt").open("a") as file:
    file.write("start\\n")
if "bad" in name:
    sys.exit("error: the recipe is bad, expected a good one.")
if "slow" in name:
    time.sleep(60)
(run / "model").mkdir(exist_ok=True)
(run / "model" / "model.safetensors").write_text(name)
print("noise on standard output")
"""
SCORER = """
import json, pathlib, sys
run = pathlib.Path(sys.argv[1])
with (run / "scores.txt").open("a") as file:
    file.write(" ".join(sys.argv[2:]) + "\\n")
print("progress")
print(json.dumps({"eval/mlm_nats": 2.5}))
"""


def job_of(folder: Path, name: str, *, evaluation: tuple[str, ...] = ("--rates", "own")) -> Job:
    """A cell whose commands are small scripts."""
    for script, text in (("train.py", TRAINER), ("score.py", SCORER)):
        (folder / script).write_text(text, encoding="utf-8")
    (folder / f"{name}.yaml").write_text("", encoding="utf-8")
    return Job(
        name=name,
        recipe=folder / f"{name}.yaml",
        run_dir=folder / "runs" / name,
        log=folder / "logs" / f"{name}.log",
        compared=folder / "compared" / f"{name}.json",
        launch=(sys.executable, str(folder / "train.py")),
        scorer=(sys.executable, str(folder / "score.py")),
        probes=(),
        evaluation=evaluation,
    )


def lines(job: Job, file: str) -> list[str]:
    path = job.run_dir / file
    return path.read_text().splitlines() if path.exists() else []


# ----------------------------------------------------------------------------------------------------- one cell


def test_a_cell_is_trained_and_scored_once(tmp_path: Path) -> None:
    job = job_of(tmp_path, "good")
    assert not is_done(job)
    conduct(job)
    first = job.compared.read_bytes()
    conduct(job)
    assert is_done(job)
    assert lines(job, "starts.txt") == ["start"] and lines(job, "scores.txt") == ["--rates own"]
    assert json.loads(first)["figures"] == {"eval/mlm_nats": 2.5} and job.compared.read_bytes() == first


def test_another_evaluation_scores_again_and_trains_not(tmp_path: Path) -> None:
    conduct(job_of(tmp_path, "good"))
    wider = job_of(tmp_path, "good", evaluation=("--word-classes",))
    assert not is_done(wider)
    conduct(wider)
    assert lines(wider, "starts.txt") == ["start"] and lines(wider, "scores.txt") == ["--rates own", "--word-classes"]


def test_a_model_that_was_trained_anew_behind_the_sweep_is_scored_anew(tmp_path: Path) -> None:
    job = job_of(tmp_path, "good")
    conduct(job)
    (job.run_dir / "model" / "model.safetensors").write_text("another")
    assert not is_done(job)


def test_a_record_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    job = job_of(tmp_path, "good")
    conduct(job)
    job.compared.write_text('{"model": "')
    assert not is_done(job)
    conduct(job)
    assert is_done(job)


def test_a_cell_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    job = job_of(tmp_path, "bad")
    with pytest.raises(CellFailed, match=r"^error: the recipe is bad, expected a good one\.$"):
        conduct(job)
    assert not is_done(job) and "the recipe is bad" in job.log.read_text()


@pytest.mark.parametrize("said", ["", "done", "[1]"])
def test_a_scorer_that_prints_no_figures_fails_its_cell_alone(said: str, tmp_path: Path) -> None:
    job = job_of(tmp_path, "good")
    (tmp_path / "score.py").write_text(f"print({said!r})")
    with pytest.raises(CellFailed, match="expected figures as JSON"):
        conduct(job)
    assert not is_done(job)


def test_what_the_launcher_adds_to_a_failure_is_left_out(tmp_path: Path) -> None:
    said = "warning\\nerror: got 3, expected 4.\\nSet it to 4."
    launcher = "Traceback (most recent call last):\\n  File accelerate/commands/launch.py\\nCalledProcessError"
    command = [sys.executable, "-c", f"import sys; print('{said}\\n{launcher}', file=sys.stderr); sys.exit(1)"]
    with pytest.raises(CellFailed) as failed:
        run(command, tmp_path / "log", Share(), lambda: False)
    assert str(failed.value) == "error: got 3, expected 4.\nSet it to 4."


def test_a_cell_that_says_nothing_is_told_by_its_status(tmp_path: Path) -> None:
    with pytest.raises(CellFailed, match="status 7"):
        run([sys.executable, "-c", "raise SystemExit(7)"], tmp_path / "log", Share(), lambda: False)


def test_a_cell_that_is_asked_to_end_takes_all_that_it_started_with_it(tmp_path: Path) -> None:
    child = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], cwd={str(tmp_path)!r})"
    began = time.monotonic()
    pid_file = tmp_path / "pid"
    with pytest.raises(CellStopped):
        run(
            [sys.executable, "-c", parent],
            tmp_path / "log",
            Share(),
            lambda: pid_file.exists() and bool(pid_file.read_text()),
        )
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_cell_ends_when_its_sweep_is_killed(tmp_path: Path) -> None:
    child = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    parent = (
        "import sys; from pathlib import Path; from pretrain.sweeps.children import Share, run; "
        f"run([sys.executable, '-c', {child!r}], Path('log'), Share(), lambda: False)"
    )
    root = Path(__file__).resolve().parents[1]
    sweep = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)})
    pid = int(_eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    assert _eventually(lambda: not Path(f"/proc/{pid}").exists())


def _eventually(found: Callable[[], object]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if value := found():
            return str(value)
        time.sleep(0.05)
    raise AssertionError("it did not come about")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are handed out on Linux only")
def test_a_cell_keeps_to_its_cores(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    told = run(
        [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], tmp_path / "log", Share((core,)), bool
    )
    assert told.strip() == str({core})


# ---------------------------------------------------------------------------------------------------- many cells


def _local_engine(folder: Path) -> Executor:
    return Slurm(folder / "submitit", {"cluster": "local", "timeout_min": 5})


def _ended(executor: Executor, jobs: list[Job]) -> dict[str, str]:
    return {job.name: failure for job, failure in executor.run(jobs, lambda: False)}


@pytest.mark.parametrize("engine", [lambda folder: Workers(1), _local_engine], ids=["workers", "submitit"])
def test_a_cell_that_fails_leaves_the_others_alone(engine: Callable[[Path], Executor], tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, name) for name in ("one", "bad", "two")]
    ended = _ended(engine(tmp_path), jobs)
    assert ended == {"one": "", "bad": "error: the recipe is bad, expected a good one.", "two": ""}
    assert is_done(jobs[0]) and is_done(jobs[2])


def test_ray_runs_the_cells_on_its_workers(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, name) for name in ("one", "bad")]
    program = (
        "import pickle, sys; from pathlib import Path; from pretrain.sweeps.executors import Ray; "
        "jobs = pickle.loads(Path('jobs').read_bytes()); "
        "ended = {job.name: failure for job, failure in Ray({'num_cpus': 1}).run(jobs, lambda: False)}; "
        "assert ended == {'one': '', 'bad': 'error: the recipe is bad, expected a good one.'}, ended"
    )
    (tmp_path / "jobs").write_bytes(pickle.dumps(jobs))
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert is_done(jobs[0]) and not is_done(jobs[1])


def test_workers_that_are_asked_to_end_start_nothing_more(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, name) for name in ("slow", "later")]
    asked = threading.Event()

    def look() -> bool:
        if lines(jobs[0], "starts.txt"):
            asked.set()
        return asked.is_set()

    assert list(Workers(1).run(jobs, look)) == []
    assert lines(jobs[0], "starts.txt") == ["start"] and not jobs[1].run_dir.exists()


def test_the_cores_are_shared_out_and_none_twice() -> None:
    cores = shares_of(1)[0].cores
    for number in range(1, len(cores) + 1):
        shares = [share.cores for share in shares_of(number)]
        given = [core for share in shares for core in share]
        assert len(shares) == number and len(set(given)) == len(given) and set(given) <= set(cores)
        assert len({len(share) for share in shares}) == 1


@pytest.mark.parametrize(
    "num_workers, num_devices, expected",
    [(1, 4, [None]), (2, 0, [None, None]), (2, 4, ["0,2", "1,3"]), (3, 2, ["0", "1", "0"])],
)
def test_gpus_are_shared_out(num_workers: int, num_devices: int, expected: list[str | None]) -> None:
    assert [_devices(at, num_workers, num_devices) for at in range(num_workers)] == expected


@pytest.mark.parametrize("number", [0, -1, 10_000])
def test_more_workers_than_cores_are_refused(number: int) -> None:
    with pytest.raises(RecipeError, match=r"--jobs got .*, expected 1 to "):
        shares_of(number)


@pytest.mark.parametrize("library, make", [("submitit", lambda: Slurm(Path(), {})), ("ray", lambda: Ray({}))])
def test_an_engine_that_is_not_installed_is_told(
    library: str, make: Callable[[], Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RecipeError, match=rf"needs {library}, which is not installed here.*pip install"):
        make()


def test_an_option_that_submitit_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="submitit refuses it"):
        Slurm(tmp_path, {"cluster": "local", "partitoin": "gpu"})
