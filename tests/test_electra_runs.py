"""Laws of whole runs of replaced-token detection, for both networks: in any layout, stopped anywhere."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretrain.loop import Loop
from pretrain.recipe import Recipe
from pretrain.signals import Interrupted

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
Detection = dict[str, tuple[str, ...]]
ROOT = Path(__file__).resolve().parents[1]
SHARINGS = ("all", "word", "gradient_disentangled", "none")
CLOCK = ("elapsed_seconds", "tokens_per_second", "logged_seconds")
FIGURES = {
    *("loss/generator_nats", "accuracy/generator", "loss/discriminator_nats", "accuracy/discriminator"),
    *("replaced_ratio", "recall/discriminator", "auc/discriminator"),
}
"""What every line of training tells; precision needs a token that is called replaced."""


def _without_clock(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in CLOCK}


def _lines(run: Path) -> list[dict[str, Any]]:
    return [_without_clock(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


# Layout --------------------------------------------------------------------------------------------------------------
# The seed of the tiny recipe is one in which no draw lies on the border of two words and no logit on that of two bins:
# there a difference by rounding alone would change what is counted.

LAYOUTS = {
    "electra-all": ("electra", ()),
    "electra-gradient_disentangled": ("electra", ("objective.sharing=gradient_disentangled", "train.batch_size=15")),
    "modernbert-word": ("modernbert", ("objective.sharing=word",)),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_batch_cut_up_in_any_way_trains_both_networks_the_same(
    tiny: Tiny, make_loop: Callable[[Recipe], Loop], detection: Detection, case: str
) -> None:
    name, overrides = LAYOUTS[case]
    common = (*detection[name], *overrides, "train.steps=8", "schedule.warmup_steps=1")

    def course(*more: str) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
        loop = make_loop(tiny(*common, *more))
        lines = []
        for _ in range(8):
            loop.step(0)
            lines.append(_without_clock(dict(loop.metrics())))
        return lines, dict(loop.objective.named_parameters())

    lines, weights = course()
    assert all(line.keys() >= FIGURES for line in lines)
    assert lines[-1]["loss/generator_nats"] < lines[0]["loss/generator_nats"], "nothing was learnt"
    for micro_batch_size in (5, 4, 1):
        other_lines, other_weights = course(f"train.micro_batch_size={micro_batch_size}")
        for line, other in zip(lines, other_lines, strict=True):
            assert other == pytest.approx(line, rel=1e-5, abs=1e-5)
        assert other_weights.keys() == weights.keys()
        for key, weight in weights.items():
            torch.testing.assert_close(
                other_weights[key], weight, rtol=0, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}"
            )


def test_gradient_checkpointing_trains_both_networks_the_same(
    tiny: Tiny, launch: LaunchRun, detection: Detection, tmp_path: Path
) -> None:
    states = []
    for name in ("false", "true"):
        overrides = ("train.steps=6", f"output_dir={tmp_path / name}", f"train.gradient_checkpointing={name}")
        run = launch(tiny(*detection["electra"], *overrides))
        states.append([load_file(run / network / "model.safetensors") for network in ("model", "generator")])
    for plain, checkpointed in zip(*states, strict=True):
        for key, weight in plain.items():
            torch.testing.assert_close(
                checkpointed[key], weight, rtol=0, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}"
            )


def test_two_processes_train_both_networks_as_one(
    tiny: Tiny, tiny_file: Path, launch: LaunchRun, detection: Detection, tmp_path: Path
) -> None:
    common = (*("train.batch_size=15", "train.micro_batch_size=4", "train.steps=8", "schedule.warmup_steps=1"),
              *("log.every_steps=1", "evaluate.every_steps=4"))  # fmt: skip
    runs = {
        "electra": (*detection["electra"], *common),
        "modernbert": (*detection["modernbert"], "objective.sharing=gradient_disentangled", *common),
    }
    # One launch for both runs: most of the time of such a test goes into starting processes.
    script = tmp_path / "both.py"
    script.write_text(
        "import json, sys\nfrom pretrain.__main__ import main\nfrom pretrain.processes import Processes\n"
        "leave, Processes.leave = Processes.leave, lambda processes: None\n"
        "for arguments in json.loads(sys.argv[1]):\n    assert main(arguments) == 0\n"
        "leave(Processes.start('no'))\n"
    )
    arguments = [[str(tiny_file), *overrides, f"output_dir={tmp_path / 'two' / name}"] for name, overrides in
                 runs.items()]  # fmt: skip
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "MASTER_", "LOCAL_"))}
    environment = {**kept, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    command = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), json.dumps(arguments)]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 processes on cpu") == 2, "said once in each run, by the main process"
    for name, overrides in runs.items():
        one, two = launch(tiny(*overrides, f"output_dir={tmp_path / 'one' / name}")), tmp_path / "two" / name
        lines = _lines(one), _lines(two)
        assert len(lines[0]) == 10 and {f"eval/{key}".replace("loss/", "") for key in FIGURES} < lines[0][-1].keys()
        for of_one, of_two in zip(*lines, strict=True):
            assert of_two == pytest.approx(of_one, rel=1e-5, abs=1e-5), name
        for network in ("model", "generator"):
            weights = [load_file(run / network / "model.safetensors") for run in (one, two)]
            assert weights[0].keys() == weights[1].keys()
            for key, weight in weights[0].items():
                torch.testing.assert_close(
                    weights[1][key], weight, rtol=0, atol=1e-5, msg=lambda m, key=(network, key): f"{key}: {m}"
                )


# Going on ------------------------------------------------------------------------------------------------------------

DROPOUT = ("encoder.hidden_dropout_prob=0.2", "encoder.attention_probs_dropout_prob=0.2")
RESUMED = {f"electra-{sharing}": ("electra", sharing, DROPOUT) for sharing in SHARINGS} | {
    "modernbert-gradient_disentangled": ("modernbert", "gradient_disentangled", ())
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_stopped_anywhere_goes_on_bitwise(
    tiny: Tiny, launch: LaunchRun, detection: Detection, tmp_path: Path, case: str
) -> None:
    name, sharing, dropout = RESUMED[case]
    common = (*detection[name], *dropout, f"objective.sharing={sharing}", "train.micro_batch_size=7", "train.steps=9")
    whole = launch(tiny(*common, f"output_dir={tmp_path / 'whole'}"))
    recipe = tiny(*common, f"output_dir={tmp_path / 'stopped'}")
    for steps in (2, 1, 4):  # to step 2 and 3, within a line of metrics, and to step 7, behind one
        with pytest.raises(Interrupted):
            launch(recipe, stop_after=steps)
    launch(recipe)
    assert _state(recipe.run_dir) == _state(whole)
    has_residual = (_checkpoint(whole) / "state" / "objective.safetensors").exists()
    assert has_residual is (sharing == "gradient_disentangled")


def _state(run: Path) -> dict[str, Any]:
    """All that training has made, in bytes where it can be."""
    checkpoint = _checkpoint(run)
    progress = json.loads((checkpoint / "progress.json").read_text())
    tensors = {str(path.relative_to(checkpoint)): path.read_bytes() for path in checkpoint.rglob("*.safetensors")}
    assert tensors.keys() >= {f"{name}/model.safetensors" for name in ("model", "generator")}
    exports = {name: (run / name / "model.safetensors").read_bytes() for name in ("model", "generator")}
    return {**tensors, **exports, "progress": _without_clock(progress), "metrics": _lines(run)}


def test_the_residual_of_a_disentangled_table_comes_back_bit_for_bit(
    tiny: Tiny, launch: LaunchRun, make_loop: Callable[[Recipe], Loop], detection: Detection
) -> None:
    """The folder holds the sum of both tables, rounded, from which it could not be had back."""
    recipe = tiny(*detection["electra"], "objective.sharing=gradient_disentangled", "train.steps=6")
    checkpoint = _checkpoint(launch(recipe))
    (residual,) = load_file(checkpoint / "state" / "objective.safetensors").values()
    tables = {
        name: load_file(checkpoint / name / "model.safetensors")["electra.embeddings.word_embeddings.weight"]
        for name in ("model", "generator")
    }
    assert residual.abs().max() > 0, "nothing was learnt"
    torch.testing.assert_close(tables["model"], tables["generator"] + residual, rtol=0, atol=0)
    assert not torch.equal(tables["model"] - tables["generator"], residual)
