"""The probes of a recipe: curves in the metrics that resuming repeats, failures that stop nothing, signals heard."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from pretrain import probing
from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Interrupted, Signals
from pretrain.probing import ProbeSettings, Probing, ProbingEnded, check_files
from pretrain.recipe import Recipe, RecipeError
from probes.probe_error import ProbeError
from probes.results import Measure, Results, Score, write_results

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]

SENSES = "probes=[{name: senses, at: evaluations}]"


class Fake:
    """Instead of a probe's process: what it finds is a function of the weights; commands that were run are kept."""

    commands: list[list[str]] = []  # noqa: RUF012
    failure = ""
    is_done = True

    def __init__(self, arguments: list[str]) -> None:
        self.commands.append(arguments)
        name, model, out = arguments[0], Path(arguments[1]), Path(arguments[3])
        assert arguments[2] == "--out"
        weights = load_file(model / "model.safetensors")
        value = float(sum(abs(weight).sum() for weight in weights.values()) % 1)
        out.mkdir(parents=True, exist_ok=True)
        write_results(found(name, value), out)

    def end(self) -> None:
        pass


def found(name: str, value: float) -> Results:
    """Headlines of the model, of it in another way, by a word, and of what is no model."""

    def score(**fields: Any) -> Score:
        return Score(**{"measure": "accuracy", "model": "m", "value": value, "low": 0, "high": 1, "n": 9, **fields})

    headlines = [
        score(),
        score(variant="z-scored"),
        score(variant="z-scored", group="bank"),
        score(model="random weights", role="baseline"),
        score(model="m - random weights", role="difference"),
    ]
    measures = {"accuracy": Measure(title="Accuracy", unit="share")}
    return Results(probe=name, question="?", answer=["."], models=[], measures=measures, headlines=headlines)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    class Mine(Fake):
        commands: list[list[str]] = []  # noqa: RUF012

    monkeypatch.setattr(probing, "_Child", Mine)
    monkeypatch.setattr("probes.report.write_report", lambda run: run / "report.html")
    return Mine


def _lines(run: Path) -> list[dict[str, Any]]:
    clocks = {"elapsed_seconds", "tokens_per_second"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines]


def test_what_a_probe_finds_at_evaluations_stands_in_their_lines(tiny: Tiny, launch: LaunchRun, fake: Any) -> None:
    run = launch(tiny(SENSES, "train.steps=4", "schedule.warmup_steps=1", "evaluate.every_steps=2"))
    evaluations = [line for line in _lines(run) if "eval/mlm_nats" in line]
    assert [line["step"] for line in evaluations] == [2, 4]
    for line in evaluations:
        keys = {key for key in line if key.startswith("probe/")}
        assert keys == {f"probe/senses/accuracy{more}" for more in ("", "/z-scored", "/z-scored/bank")}
    assert evaluations[0]["probe/senses/accuracy"] != evaluations[1]["probe/senses/accuracy"]
    assert sorted(path.name for path in (run / "probes").iterdir()) == [
        "senses.csv", "senses.json", "step-00000002", "step-00000004"
    ]  # fmt: skip
    assert [("--no-pictures" in command, Path(command[1]).name) for command in fake.commands] == [
        (True, "model"), (True, "model"), (False, "model")
    ]  # fmt: skip
    assert not list(run.glob(".probing-*"))


def test_a_resumed_run_has_the_same_curve(tiny: Tiny, launch: LaunchRun, fake: Any, tmp_path: Path) -> None:
    common = (SENSES, "train.steps=6", "evaluate.every_steps=2", "checkpoint.every_steps=3")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe = tiny(*common, f"output_dir={tmp_path / 'stopped'}")
    for steps in (2, 1):
        with pytest.raises(Interrupted):
            launch(recipe, stop_after=steps)
    launch(recipe)
    assert _lines(recipe.run_dir) == _lines(whole)


def test_going_back_forgets_what_was_found_later(tiny: Tiny, launch: LaunchRun, fake: Any) -> None:
    recipe = tiny(SENSES, "train.steps=6", "evaluate.every_steps=2", "checkpoint.every_steps=2", "checkpoint.keep=9")
    run = launch(recipe)
    (run / ".probing-killed").mkdir()
    with pytest.raises(Interrupted):
        launch(recipe, resume=run / "checkpoints" / "step-00000002", stop_after=1)
    assert [path.name for path in (run / "probes").glob("step-*")] == ["step-00000002"]
    assert not list(run.glob(".probing-*"))


def test_a_probe_that_fails_stops_no_training(
    tiny: Tiny, launch: LaunchRun, fake: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fake.failure = "sentence 7 is too long"
    recipe = tiny(SENSES, "train.steps=2", "schedule.warmup_steps=1", "evaluate.every_steps=1")
    with pytest.raises(ValueError, match="sentence 7 is too long"):  # at the end, where the user waits for it
        launch(recipe)
    assert "training goes on: sentence 7 is too long" in caplog.text
    assert (recipe.run_dir / "model" / "model.safetensors").is_file()
    evaluations = [line for line in _lines(recipe.run_dir) if "eval/mlm_nats" in line]
    assert len(evaluations) == 2 and not any(key.startswith("probe/") for line in evaluations for key in line)


def test_a_signal_ends_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    class Endless(Fake):
        is_done = False

        def __init__(self, arguments: list[str]) -> None:
            signals.received = 143

        def end(self) -> None:
            ended.append(True)

    monkeypatch.setattr(probing, "_Child", Endless)
    signals = Signals()
    run = Probing((ProbeSettings(name="senses", at="evaluations"),), tmp_path, Processes.start("no"), signals)
    with pytest.raises(ProbingEnded) as ending:
        run.at_evaluation(3, lambda folder: (folder / "model").mkdir())
    assert ending.value.status == 143 and ended == [True]
    assert not list(tmp_path.glob(".probing-*"))


def test_a_name_is_a_probe_at_the_end(tiny: Tiny) -> None:
    assert tiny("probes=[senses]").probes == (ProbeSettings(name="senses"),)
    assert tiny("probes=[{name: senses}]") == tiny("probes=[senses]")


REFUSALS = {
    "probes=[sense]": r"probes\[0\].*got 'sense' \(text\), expected names of .*did you mean senses",
    "probes=[{name: senses, at: start}]": r"probes\[0\].at: got 'start'.*expected",
    "probes=[{name: senses, arguments: [--wrods, bank]}]": r"probes\[0\].*unrecognized arguments: --wrods",
    "probes=[{name: senses, network: generator}]": r"probes: got network 'generator' for senses, expected model",
    "probes=[senses, senses]": r"probes: got senses twice",
}


@pytest.mark.parametrize("override", REFUSALS)
def test_probes_that_cannot_run_are_refused_before_training(tiny: Tiny, override: str) -> None:
    with pytest.raises(RecipeError, match=REFUSALS[override]):
        tiny(override)


def test_files_that_a_probe_needs_are_missed_before_training(tiny: Tiny, launch: LaunchRun, tmp_path: Path) -> None:
    recipe = tiny("probes=[{name: senses, arguments: [--sentences, none.tsv]}]")
    with pytest.raises(ProbeError, match=r"senses is to read none\.tsv, expected a file .* Correct its arguments"):
        launch(recipe)
    assert not recipe.run_dir.exists()
    check_files(tiny(f"probes=[{{name: senses, arguments: [--sentences, {tmp_path}, --out, none]}}]").probes)
