"""Laws of preparing by datatrove: the store that one process makes, and a killed task repairs its own shards only."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain import prepare
from tokenization.cache import prepare_store
from tokenization.corpus import Corpus
from tokenization.preparing.pipeline import ExecutorError, datatrove_engine
from tokenization.store import TokenStore
from tokenization.training import WordPiece

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("river", "stone", "garden", "lantern", "window", "bridge", "orchard")
WORDPIECE = WordPiece(vocab_size=120)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    for name in "abcd":
        texts = [
            f"The {name}-th file has {n} lines. Its {n * 7 % 13} words are {WORDS[n % 5]} and {WORDS[n % 7]}."
            for n in range(40)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus(files=(f"{folder}/*.jsonl",), held_out=0.1)


@pytest.fixture(scope="module")
def expected(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tokenization.preparing.sections.SECTION_BYTES", 1)  # four files are four sections
        return _files(prepare_store(corpus, WORDPIECE, cache_dir=tmp_path_factory.mktemp("here")))


def _files(store: TokenStore) -> dict[str, bytes]:
    return {str(p.relative_to(store.path)): p.read_bytes() for p in sorted(store.path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (2, 1), (2, 2), (7, 2)])
def test_tasks_make_the_store_that_one_process_makes(
    corpus: Corpus,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tasks: int,
    workers: int,
) -> None:
    monkeypatch.setattr("tokenization.preparing.sections.SECTION_BYTES", 1)
    engine = datatrove_engine("local", tasks=tasks, options={"workers": workers})
    store = prepare_store(corpus, WORDPIECE, cache_dir=tmp_path, engine=engine)
    assert _files(store) == expected
    assert {path.name for path in tmp_path.iterdir()} - {".lock", "digests.json"} == {store.path.name}


PREPARE = """
import os, signal, sys
from pathlib import Path
from tokenization.preparing import preparation, sections
from tokenization.cache import prepare_store
from tokenization.corpus import Corpus
from tokenization.preparing.pipeline import datatrove_engine
from tokenization.training import WordPiece

sections.SECTION_BYTES = 1
files, cache_dir, victim = sys.argv[1:]
write_shard = preparation.write_shard

def tell(writing, shard, texts):
    if shard.name == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(f"{cache_dir}/written", "a") as file:
        print(shard.name, file=file)
    write_shard(writing, shard, texts)

preparation.write_shard = tell
engine = datatrove_engine("local", tasks=2, options={"workers": 1})
prepare_store(Corpus(files=(files,), held_out=0.1), WordPiece(vocab_size=120), cache_dir=Path(cache_dir), engine=engine)
"""


def test_a_killed_task_that_is_started_again_writes_only_its_own_missing_shards(
    corpus: Corpus, expected: dict[str, bytes], tmp_path: Path
) -> None:
    def run(victim: str) -> int:
        command = [sys.executable, "-c", PREPARE, *corpus.files, str(tmp_path), victim]
        # A process of datatrove's outlives a kill, so it gets no pipe to hold open.
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        status = process.wait()
        if status:
            os.killpg(process.pid, signal.SIGKILL)
        return status

    # Task 0 has sections 0 and 2, task 1 has 1 and 3; it dies on its second.
    assert run("00003-00000") == -signal.SIGKILL
    assert run("none") == 0
    written = (tmp_path / "written").read_text().split()
    assert written == ["00000-00000", "00002-00000", "00001-00000", "00003-00000"]
    (store,) = [path for path in tmp_path.iterdir() if (path / "manifest.json").exists()]
    assert _files(TokenStore.open(store)) == expected


def test_the_command_prepares_by_datatrove(tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tiny_file), f"cache_dir={tmp_path / 'c'}", "--executor", "local", "--tasks", "2"]
    assert prepare.main([*arguments, "--option", "workers=1"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert TokenStore.open(summary["store"]).train.num_tokens > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "2"], "without --executor, expected --executor local, slurm or ray"),
        (["--executor", "local"], "without --tasks, expected --tasks N"),
        (["--executor", "local", "--tasks", "0"], "tasks: got 0, expected 1 or more"),
        (["--executor", "local", "--tasks", "1", "--option", "x"], "--option: got 'x', expected key=value"),
        (["--executor", "local", "--tasks", "1", "--option", "x=1"], "unexpected keyword argument 'x'"),
        (
            ["--executor", "local", "--tasks", "1", "--option", "workers=two"],
            "got workers 'two', expected a whole number",
        ),
        (["--executor", "local", "--tasks", "2", "--option", "start_method=foo"], "cannot find context"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert prepare.main([str(tiny_file), f"cache_dir={tmp_path / 'c'}", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_engine_that_is_not_installed_is_refused(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "datatrove.executor.ray", raising=False)
    arguments = [f"cache_dir={tmp_path / 'c'}", "--executor", "ray", "--tasks", "1"]
    assert prepare.main([str(tiny_file), *arguments]) == 2
    assert "install" in capsys.readouterr().err


def test_an_engine_that_is_not_known_is_refused() -> None:
    with pytest.raises(ExecutorError, match="got 'cloud', expected one of local, slurm, ray"):
        datatrove_engine("cloud", tasks=1)


def test_jobs_that_are_only_queued_are_told_so(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pretrain.prepare.prepare_here", lambda preparation: None)
    assert prepare.main([str(tiny_file), f"cache_dir={tmp_path / 'c'}"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"store": None, "queued": True}
    assert "Launch again once they are done" in captured.err
    monkeypatch.undo()
    # What jobs are writing is not written here as well.
    assert prepare.main([str(tiny_file), f"cache_dir={tmp_path / 'c'}"]) == 0
    assert json.loads(capsys.readouterr().out) == {"store": None, "queued": True}
