"""Laws of what is told of a run: whole lines, plain text without a terminal, and trackers that never stop it."""

import io
import json
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker

from pretrain import metrics, trackers
from pretrain.metrics import MetricsError, MetricsLog, check_trackers
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
TRAINING = {
    "step", "tokens", "targets", "elapsed_seconds", "tokens_per_second", "learning_rate", "grad_norm",
    "loss/mlm_nats", "accuracy/mlm", "loss/nsp_nats", "accuracy/nsp",
}  # fmt: skip
LINE = {"tokens": 1, "tokens_per_second": 1234.5, "loss/mlm_nats": 2.5}


def _lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_lines_have_the_keys_of_the_contract_and_come_when_they_should(tiny: Tiny, launch: LaunchRun) -> None:
    lines = _lines(launch(tiny("log.every_steps=8", "evaluate.every_steps=10")))
    assert [line["step"] for line in lines] == [8, 10, 16, 20, 20]
    trained, evaluated = [lines[i] for i in (0, 2, 3)], [lines[i] for i in (1, 4)]
    assert all(line.keys() == TRAINING for line in trained)
    names = {f"eval/{term}_nats" for term in ("mlm", "nsp")} | {f"eval/accuracy/{term}" for term in ("mlm", "nsp")}
    assert all(line.keys() == {"step", *names} for line in evaluated)
    tokens = [line["tokens"] for line in trained]
    assert tokens == sorted(tokens) and tokens[0] > 0
    targets = [line["targets"] for line in trained]
    assert targets == sorted(targets) and 0.1 * tokens[-1] < targets[-1] < 0.2 * tokens[-1], (
        "15 % of what can be masked"
    )


def test_lines_behind_the_step_that_a_run_starts_from_are_taken_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 2, "cut')
    log = MetricsLog(tmp_path, step=2, is_evaluated=True, description="x")
    log.write(3, {"tokens": 5})
    log.close()
    assert _lines(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "tokens": 5}]


def test_without_a_terminal_there_are_plain_lines_now_and_then(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    clock = [0.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: clock[0])
    log = MetricsLog(tmp_path, step=0, is_evaluated=True, description="x")
    for step in range(1, 5):
        clock[0] = 6.0 * step
        log.show(step, step / 10, LINE, seconds_left=3725)
    log.show(10, 1.0, LINE, seconds_left=0)
    log.close()
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "step 1  10.0 %  mlm_nats 2.500  1,234 tokens/s  1:02:05 left"
    assert [line.split()[1] for line in told] == ["1", "3", "10"]
    assert "\r" not in capsys.readouterr().err


def test_on_a_terminal_there_is_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log = MetricsLog(tmp_path, step=0, is_evaluated=True, description="tiny")
    log.show(5, 0.5, LINE, seconds_left=10)
    log.close()
    assert "tiny:  50%" in terminal.getvalue() and "mlm_nats 2.500  1,234 tokens/s" in terminal.getvalue()


# Trackers ------------------------------------------------------------------------------------------------------------


def test_tensorboard_gets_the_metrics_and_files_beside_the_run(tiny: Tiny, launch: LaunchRun) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = launch(tiny("log.trackers=[tensorboard]"))
    (events,) = (run / "clozekit").glob("events.out.tfevents*")
    reader = EventAccumulator(str(events))
    reader.Reload()
    written = {(e.step, round(e.value, 4)) for e in reader.Scalars("loss/mlm_nats")}
    assert written == {(line["step"], round(line["loss/mlm_nats"], 4)) for line in _lines(run) if "tokens" in line}
    assert "eval/mlm_nats" in reader.Tags()["scalars"]


@pytest.mark.parametrize("fails_at", ["init_trackers", "log", "finish"])
def test_a_tracker_that_fails_never_stops_a_run(
    tiny: Tiny, launch: LaunchRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(Accelerator if fails_at == "init_trackers" else TensorBoardTracker, fails_at, fails)
    run = launch(tiny("log.trackers=[tensorboard]"))
    warned = [record.getMessage() for record in caplog.records if "no network" in record.getMessage()]
    assert len(warned) == 1 and "tracker" in warned[0]
    assert _lines(run)[-1]["step"] == 20
    assert (run / "model" / "model.safetensors").exists()


@pytest.mark.parametrize("hangs_at", ["log", "finish"])
def test_a_tracker_that_hangs_neither_stops_a_run_nor_delays_its_end(
    tiny: Tiny, launch: LaunchRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, hangs_at: str
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(TensorBoardTracker, hangs_at, lambda *_, **__: is_over.wait(60))
    monkeypatch.setattr(trackers, "_WAITING", 3)
    monkeypatch.setattr(trackers, "_FINISH_SECONDS", 0.1)
    run = launch(tiny("log.trackers=[tensorboard]", "log.every_steps=1"))
    is_over.set()
    assert (run / "model" / "model.safetensors").exists()
    assert [line["step"] for line in _lines(run) if "tokens" in line] == list(range(1, 21))
    warned = [record.getMessage() for record in caplog.records if record.name == "pretrain.trackers"]
    assert warned[-1].startswith("trackers have not finished within")
    assert sum("lines are left out" in text for text in warned) == (hangs_at == "log")


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_spent(
    tiny: Tiny, launch: LaunchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metrics._INSTALLED, "wandb", lambda: False)
    with pytest.raises(MetricsError, match=r"names wandb, which is not installed here; expected .*pip install wandb"):
        launch(tiny("log.trackers=[wandb]"))
    assert not tiny().run_dir.exists()
    check_trackers(tiny("log.trackers=[]"))
