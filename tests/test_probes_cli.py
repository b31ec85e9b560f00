"""`python -m probes`: what it prints, where results go, and exit status 2 with one message for mistakes."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from probes import PROBES
from probes.__main__ import main
from tests.probe_models import save_model, table, write_table


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "t.tsv", table(2, ["bank"]))


def test_without_a_name_every_probe_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    for name, probe in PROBES.items():
        assert name in shown and probe.summary in shown
    assert "report" in shown


def test_listing_loads_neither_torch_nor_matplotlib() -> None:
    check = "import sys; from probes.__main__ import main; main([]); print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([name, "--help"])
    assert leaving.value.code == 0
    assert "MODEL" in (shown := capsys.readouterr().out) and "--out" in shown


def test_a_run_is_probed_into_its_own_folder_and_reported(
    tmp_path: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "mine"
    save_model(run / "model")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss/mlm_nats": 9.0}\n')
    assert main(["senses", str(run), "--sentences", str(sentences), "--layers", "0,2", "--seed", "4"]) == 0
    shown = capsys.readouterr().out
    results = json.loads((run / "probes" / "senses.json").read_text(encoding="utf-8"))
    assert str(run / "probes" / "senses.json") in shown and results["answer"][0].split(",")[0] in shown
    assert {score["layer"] for score in results["scores"]} == {0, 2, None} and "--seed 4" in results["command"]
    assert main(["report", str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out and (run / "report.html").is_file()


def test_the_recorded_command_repeats_the_results(
    tmp_path: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "a model")
    main(["senses", str(model), "--sentences", str(sentences), "--out", str(tmp_path / "out"), "--layers", "1"])
    path = tmp_path / "out" / "senses.json"
    first = path.read_text(encoding="utf-8")
    words = shlex.split(json.loads(first)["command"])
    assert words[:3] == ["python", "-m", "probes"]
    assert main(words[3:]) == 0
    assert {**json.loads(path.read_text(encoding="utf-8")), "seconds": 0} == {**json.loads(first), "seconds": 0}


MISTAKES = {
    "an unknown probe": (
        ["sensse", "x"],
        ["got the probe 'sensse'", "expected one of: senses, ", "Did you mean senses?"],
    ),
    "no such folder": (["senses", "./none"], ["none is not a folder", "Expected a transformers folder", "Check"]),
    "no such table": (["senses", "MODEL", "--sentences", "none.tsv"], ["none.tsv", "no such file", "Expected a table"]),
    "a layer too deep": (["senses", "MODEL", "--layers", "7"], ["got layers 7", "0", "to 2", "Name layers"]),
    "no run": (["report", "./none"], ["none is not a folder", "Expected a run", "Check the path"]),
    "a file as --out": (
        ["senses", "MODEL", "--out", "FILE/x"],
        ["cannot write there", "Expected", "name another"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_status_2_and_one_message(
    tmp_path: Path, mistake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "MODEL")
    (tmp_path / "FILE").write_text("")
    arguments, parts = MISTAKES[mistake]
    capsys.readouterr()
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    assert [part for part in parts if part not in shown.err] == []


@pytest.mark.parametrize("arguments", [["senses"], ["senses", "x", "--layers", "two"], ["senses", "x", "--lay", "1"]])
def test_options_that_cannot_be_read_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "python -m probes senses --help lists" in capsys.readouterr().err


def test_control_characters_of_texts_and_names_give_a_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["senses", "./no\x1b[31m\x07such"]) == 2
    assert not {"\x1b", "\x07"} & set(capsys.readouterr().err)


def test_a_reader_that_has_seen_enough_is_no_mistake() -> None:
    done = subprocess.run(
        f"{sys.executable} -m probes | true; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_ctrl_c_is_status_130_and_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("probes.__main__.conduct", interrupted)
    assert main(["senses", "model"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
