"""What the benchmarks measure with: a command's memory, its failures, the corpora made for it, and tables of turns."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from benchmarks.preparing import measure, write_corpus
from benchmarks.turns import ratios, spread_table, take_turns, values_of

# A child that holds 100 MB forks until four processes share them: 400 MB of resident memory, 100 MB in truth.
_SHARING = """
import json, os, time
if os.fork() == 0:
    held = b"x" * 100_000_000
    os.fork(), os.fork()
    time.sleep(0.8)
    os._exit(0)
os.wait()
print("not the result")
print(json.dumps({"documents": 3}))
"""


def test_memory_is_that_of_all_descendants_and_counts_a_shared_page_once(tmp_path: Path) -> None:
    cost, result = measure([sys.executable, "-c", _SHARING], tmp_path)
    assert result == {"documents": 3}
    assert 100 < cost.memory_mb < 150
    assert cost.seconds > 0.8
    assert cost.cpu_seconds > 0


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stderr.write('the disk is full\\n'); sys.exit(3)"]
    with pytest.raises(SystemExit, match=r"(?s)ended with status 3:\nthe disk is full"):
        measure(command, tmp_path)


def test_a_command_that_is_killed_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"ended with status -9:"):
        measure([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], tmp_path)


@pytest.mark.parametrize("num_bytes", [10_000, 100_000])
def test_a_corpus_is_made_to_size_without_two_equal_documents(tmp_path: Path, num_bytes: int) -> None:
    texts = [f"Document {number} has a heart: ♥. " * 40 for number in range(12)]
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps({"text": text, f"column {len(text)}": 1}) + "\n" for text in texts))
    written = []
    for path in write_corpus(tmp_path / "made", [source], num_bytes):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            written += [json.loads(line)["text"] for line in stream]
    assert sum(len(text.encode()) for text in written) == pytest.approx(num_bytes, rel=0.01)
    assert len(set(written)) == len(written)


def test_ratios_are_taken_turn_by_turn_before_their_median_is() -> None:
    results = {"ours": [{"speed": 10.0}, {"speed": 40.0}, {"speed": 60.0}], "theirs": [{"speed": 5.0}] * 3}
    found = ratios(values_of(results, "speed"), [("ours", "theirs")])
    assert found == {"ours / theirs": [2.0, 8.0, 12.0]}
    assert spread_table("ratio", "", found, ".1f").splitlines() == [
        "| ratio | median | lowest | highest |",
        "| --- | --- | --- | --- |",
        "| ours / theirs | 8.0 | 2.0 | 12.0 |",
    ]


def test_ways_take_turns_and_one_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fake_ways.py").write_text(
        "import json, sys\n"
        "way, steps = sys.argv[2], int(sys.argv[4])\n"
        "if way == 'broken': sys.exit('no such recipe')\n"
        "print('a warning'); print(json.dumps({'tokens_per_second': 1000 * steps}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = take_turns("fake_ways", ["a", "bb"], turns=2, steps=3)
    assert found == {"a": [{"tokens_per_second": 3000}] * 2, "bb": [{"tokens_per_second": 3000}] * 2}
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["a", "bb", "a", "bb"]
    with pytest.raises(SystemExit, match=r"(?s)ended with status 1:\nno such recipe"):
        take_turns("fake_ways", ["broken"], turns=1, steps=3)
