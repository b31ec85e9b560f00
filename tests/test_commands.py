"""Laws of the front door: one message and status 2 for the user's mistakes, JSON last where scripts read it."""

import errno
import gzip
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors.torch import load_file

from encoders.config import EncoderError
from pretrain import prepare, push
from pretrain.__main__ import main
from pretrain.commands import guarded
from pretrain.distributed.signals import Signals
from pretrain.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
LINE = json.dumps({"text": "The old farmer sold the lamp. He went home in the rain."}) + "\n"


# The user's mistakes -------------------------------------------------------------------------------------------------

CORPORA: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("a.jsonl", None, "a.jsonl"),
    "empty": ("a.jsonl", b"", "a.jsonl"),
    "not UTF-8": ("a.jsonl", LINE.encode() + b'{"text": "caf\xe9"}\n', "a.jsonl:2"),
    "a cut .gz": ("a.jsonl.gz", gzip.compress(LINE.encode() * 50)[:-20], "a.jsonl.gz"),
    "not an object": ("a.jsonl", LINE.encode() + b"[1, 2]\n", "a.jsonl:2"),
    "without the field": ("a.jsonl", LINE.encode() + b'{"body": "x"}\n', "a.jsonl:2"),
    "a document without a sentence": ("a.jsonl", LINE.encode() + b'{"text": "  "}\n', "a.jsonl:2"),
    "a kind that is not known": ("a.docx", b"x", "a.docx"),
}


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of a command that must end with status 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: "), captured.err
    assert captured.err.count("\nerror: ") == 0 and "Traceback" not in captured.err, captured.err
    return captured.err


@pytest.mark.parametrize("case", CORPORA)
def test_a_bad_corpus_is_one_message_with_its_place(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    name, content, place = CORPORA[case]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    overrides = [f"corpus.files=[{path}]", "corpus.held_out=0", f"cache_dir={tmp_path / 'cache'}"]
    message = _refused([str(tiny_file), *overrides], capsys)
    assert str(tmp_path / place) in message and "xpected" in message
    assert not list(tmp_path.glob("run/checkpoints/*"))


MISTAKES: dict[str, tuple[list[str], str]] = {
    "an unknown key": (["train.stepz=3"], "did you mean steps?"),
    "no budget": (["train.steps=null"], "expected exactly one of steps, epochs, tokens, hours"),
    "a vocabulary that cannot be reached": (["tokenizer.vocab_size=30000"], "30000"),
    "a batch without examples": (["train.batch_size=0"], "train.batch_size"),
    "pairs and packed rows": (["examples={name: packed, max_seq_length: 32}"], "sentence_pairs"),
    "rows longer than the positions": (["examples.max_seq_length=64"], "encoder.max_position_embeddings = 40"),
    "fp16 without a GPU": (["train.mixed_precision=fp16"], "fp16 needs a GPU"),
    "a folder that is no model": (["encoder={from: no/such/folder}"], "no/such/folder"),
    "a folder that is no tokenizer": (["tokenizer={path: no/such/folder}"], "no/such/folder"),
    "a checkpoint that is not there": (["--resume", "no/such/step-1"], "no/such/step-1"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_message_and_no_traceback(
    tiny_file: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, text = MISTAKES[case]
    message = _refused([str(tiny_file), *arguments], capsys)
    assert text in message and "\n  File " not in message


def test_one_document_cannot_be_cut_into_pairs(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"text": "The old farmer sold the new lamp. " * 40}))
    overrides = [f"corpus.files=[{path}]", "corpus.held_out=0", "tokenizer.vocab_size=40"]
    message = _refused([str(tiny_file), *overrides, f"cache_dir={tmp_path / 'cache'}"], capsys)
    assert "got 1 document to cut into sentence pairs, expected at least 2" in message


def test_a_recipe_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.yaml" in _refused([str(tmp_path / "nowhere.yaml")], capsys)


def test_continued_training_with_another_vocabulary_is_refused(
    tiny: Callable[..., Recipe], launch: Callable[..., Path], tiny_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = launch(tiny("train.steps=5")) / "model"
    further = [f"output_dir={tmp_path / 'further'}", f"encoder={{from: {model}}}", "train.steps=5"]
    message = _refused([str(tiny_file), *further, "tokenizer.vocab_size=180"], capsys)
    assert "has another vocabulary" in message and f"tokenizer: {{path: {model}}}" in message
    capsys.readouterr()
    assert main([str(tiny_file), *further, f"tokenizer={{path: {model}}}"]) == 0
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (tmp_path / "run", tmp_path / "further")]
    name = "bert.embeddings.position_embeddings.weight"
    moved = (weights[1][name] - weights[0][name]).norm() / weights[0][name].norm()
    assert 0 < moved < 0.2, "went on from the weights of the folder, not from fresh ones"


# Commands ------------------------------------------------------------------------------------------------------------


def test_prepare_ends_with_a_line_of_json(tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for _ in range(2):
        assert prepare.main([str(tiny_file), f"cache_dir={tmp_path / 'cache'}"]) == 0
        lines.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    names = ["store", "tokenizer", "documents", "sentences", "tokens", "seconds", "fingerprint"]
    assert list(lines[0]) == names
    assert lines[0]["documents"] == 30
    assert Path(lines[0]["store"]).is_dir() and (Path(lines[0]["tokenizer"]) / "tokenizer.json").exists()
    assert {**lines[0], "seconds": 0} == {**lines[1], "seconds": 0}
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_the_recipe_and_the_costs_and_makes_nothing(
    tiny_file: Path, tmp_path: Path, tiny: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert main([str(tiny_file), "--dry-run", f"cache_dir={tmp_path / 'cache'}"]) == 0
    told = capsys.readouterr().out
    assert tiny(f"cache_dir={tmp_path / 'cache'}").to_yaml() in told
    costs = dict(line.split(maxsplit=1) for line in told.splitlines()[-6:] if not line.startswith("tokens a"))
    assert costs["steps"] == "20" and costs["tokens"] == f"{20 * 16 * 32:,}"
    assert costs.keys() == {"parameters", "steps", "tokens", "operations", "memory"}
    assert sorted(tmp_path.iterdir()) == before


def test_the_parameters_of_a_dry_run_are_those_of_the_run(
    tiny_file: Path, tiny: Callable[..., Recipe], make_loop: Callable[[Recipe], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_file), "--dry-run"]) == 0
    count = sum(parameter.numel() for parameter in make_loop(tiny()).objective.parameters())
    assert f"parameters       {count:,}\n" in capsys.readouterr().out


def test_resume_and_fresh_exclude_each_other(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main([str(tiny_file), "--fresh", "--resume", "x"])
    assert refusal.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


COMMANDS = ["", ".prepare", ".inspect", ".audit", ".evaluate", ".verify", ".push"]


@pytest.mark.parametrize("module", [f"pretrain{command}" for command in COMMANDS])
def test_every_command_explains_itself(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    from importlib import import_module

    command = import_module(f"{module}.__main__" if module == "pretrain" else module).main
    with pytest.raises(SystemExit) as end:
        command(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {module} ")


def test_the_status_reaches_the_shell(tiny_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pretrain", str(tiny_file), "train.stepz=1"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


# Pushing -------------------------------------------------------------------------------------------------------------


class _Hub:
    """Stands for the hub and notes what it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.error = error

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        if self.error is not None:
            raise self.error
        self.asked.append(("create_repo", (repo_id, private, exist_ok)))
        return f"https://hub/{repo_id}"

    def upload_folder(self, *, folder_path: Path, repo_id: str, commit_message: str) -> SimpleNamespace:
        self.asked.append(("upload_folder", (Path(folder_path), repo_id)))
        return SimpleNamespace()


def test_the_stand_in_has_the_signatures_of_the_hub() -> None:
    from inspect import signature

    for name in ("create_repo", "upload_folder"):
        wanted = signature(getattr(_Hub, name)).parameters.keys()
        assert wanted <= signature(getattr(HfApi, name)).parameters.keys()


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_push_uploads_the_finished_model(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = _Hub()
    monkeypatch.setattr(push, "HfApi", lambda: hub)
    assert push.main([str(model_folder.parent), "me/mine", "--private"]) == 0
    assert hub.asked == [("create_repo", ("me/mine", True, True)), ("upload_folder", (model_folder, "me/mine"))]
    assert capsys.readouterr().out == "https://hub/me/mine\n"


def test_a_run_that_has_not_ended_is_not_pushed(tmp_path: Path) -> None:
    hub: Any = _Hub()
    with pytest.raises(EncoderError, match=r"has no finished model, expected .*model\. Let the run end"):
        push.push(tmp_path, "me/mine", private=False, api=hub)
    (tmp_path / "progress.json").write_text("{}")
    with pytest.raises(
        EncoderError, match=r"is a checkpoint, expected a run with a finished model .*\. Let the run end"
    ):
        push.push(tmp_path, "me/mine", private=False, api=hub)
    assert hub.asked == []


@pytest.mark.parametrize("error", [OfflineModeIsEnabled("offline"), ConnectionError("no route")])
def test_a_hub_that_refuses_is_told_in_words(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setattr(push, "HfApi", lambda: _Hub(error))
    assert push.main([str(model_folder.parent), "me/mine"]) == 2
    assert "error: the hub did not take me/mine (" in capsys.readouterr().err


def test_a_disk_that_refuses_is_a_sentence_and_other_faults_of_the_system_are_not_hidden(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(number: int) -> Callable[[Signals], None]:
        def work(_: Signals) -> None:
            raise OSError(number, os.strerror(number), "runs/x/metrics.jsonl")

        return work

    assert guarded(refuse(errno.ENOSPC)) == 2
    message = capsys.readouterr().err
    assert re.search(r"refused \(runs/x/metrics\.jsonl\): No space.*; expected room.*\. Make room and", message)
    with pytest.raises(OSError, match="Connection"):
        guarded(refuse(errno.ECONNREFUSED))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_the_libraries_are_imported_ends_the_process_without_a_traceback(
    tiny_file: Path, number: signal.Signals, status: int
) -> None:
    command = [sys.executable, "-v", "-m", "pretrain", str(tiny_file)]  # -v tells of each import
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        until_torch = list(itertools.takewhile(lambda line: "import 'torch.version'" not in line, process.stderr))
        assert any("pretrain.distributed.signals" in line for line in until_torch)
        process.send_signal(number)
        told = process.stderr.read()
    assert process.returncode == status
    assert "Traceback" not in told
