"""Laws of the run's lock: one process at a time, told who; however an owner ends, the next takes it at once."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pretrain.checkpoints.lock import LockError, RunLock

ROOT = Path(__file__).resolve().parents[1]
Owner = subprocess.Popen[str]
_OWNER = """\
import sys, time
from pathlib import Path
from pretrain.checkpoints.lock import RunLock

with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[[], Owner]]:
    """Start a process that holds the lock of tmp_path/run until its standard input ends."""
    owners = []

    def start() -> Owner:
        owner = subprocess.Popen(
            [sys.executable, "-c", _OWNER, str(tmp_path / "run")], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        owners.append(owner)
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        return owner

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.checkpoints.lock._PATIENCE_SECONDS", 0.0)


def _refused(lock: RunLock) -> str:
    with pytest.raises(LockError) as refused:
        lock.acquire()
    return str(refused.value)


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path, own: Callable[[], Owner]) -> None:
    owner, lock = own(), RunLock(tmp_path / "run")
    message = _refused(lock)
    who = rf"process {owner.pid} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\dT\S+ \(.*python.* -c .*\)"
    assert re.search(rf"run is in use by {who}, expected no other run in it\. Wait until .*or end it;.*name", message)
    lock.release()  # of what it does not hold, nothing
    assert owner.poll() is None and _refused(lock) == message
    owner.communicate("")
    lock.acquire()
    lock.release()


def test_the_lock_of_a_killed_process_is_taken_at_once(tmp_path: Path, own: Callable[[], Owner]) -> None:
    owner = own()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert (tmp_path / "run" / ".lock").exists(), "left behind as it was"
    lock = RunLock(tmp_path / "run")
    lock.acquire()
    assert json.loads((tmp_path / "run" / ".lock.json").read_text())["pid"] == os.getpid()
    lock.release()


def test_a_process_that_has_the_id_of_a_killed_owner_by_now_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock.json").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid()}))
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock.json").read_text())["pid"] == os.getpid()


def test_a_forked_child_does_not_keep_the_lock_of_a_killed_owner(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom pretrain.checkpoints.lock import RunLock\n"
        "RunLock(Path(sys.argv[1])).acquire()\nchild = os.fork()\n"
        "if not child:\n    os.close(1)\n    os.close(2)\n    time.sleep(60)\n"
        "print(child, flush=True)\ntime.sleep(0.2)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    try:
        os.kill(int(done.stdout), 0)  # the child lives
        with RunLock(tmp_path):
            pass
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_a_second_lock_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert f"process {os.getpid()} on" in _refused(RunLock(tmp_path))


def test_an_owner_is_named_only_as_far_as_it_wrote_itself_down(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        for record in ("", "{", "[]", '{"pid": 3}', "[" * 100_000):
            (tmp_path / ".lock.json").write_text(record)
            assert f"{tmp_path} is in use by another process, expected" in _refused(RunLock(tmp_path))
        owner = {"host": "h", "pid": 3, "since": "s", "command": "a\n\x1b[31mb"}
        (tmp_path / ".lock.json").write_text(json.dumps(owner))
        assert r"process 3 on h since s ('a \x1b[31mb')" in _refused(RunLock(tmp_path))


def test_nothing_is_left_of_a_lock_that_was_let_go(tmp_path: Path) -> None:
    with RunLock(tmp_path / "runs" / "new"):
        assert {path.name for path in (tmp_path / "runs" / "new").iterdir()} == {".lock", ".lock.json"}
    assert not (tmp_path / "runs" / "new").exists()
    with RunLock(tmp_path / "runs" / "new"):
        (tmp_path / "runs" / "new" / "recipe.yaml").touch()
    assert [path.name for path in (tmp_path / "runs" / "new").iterdir()] == ["recipe.yaml"]


def test_a_lock_is_let_go_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RunLock(tmp_path):
        raise KeyError
    with RunLock(tmp_path):
        pass


def test_what_is_no_folder_cannot_be_a_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            LockError, match=r"cannot be a run directory \(.*\), expected a folder or .* Set output_dir"
        ):
            RunLock(place).acquire()
