"""Laws of whole runs of replaced-token detection: every line tells of both networks, stopped anywhere they go on.

The layouts of their batches: tests/test_layouts.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretrain.distributed.signals import Interrupted
from pretrain.loop import Loop
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
Detection = dict[str, tuple[str, ...]]
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


@pytest.mark.parametrize("name", ["electra", "modernbert"])
def test_every_line_tells_of_both_networks(
    tiny: Tiny, launch: LaunchRun, detection: Detection, tmp_path: Path, name: str
) -> None:
    budget = ("train.steps=8", "schedule.warmup_steps=1", "log.every_steps=1", "evaluate.every_steps=4")
    lines = _lines(launch(tiny(*detection[name], *budget, f"output_dir={tmp_path / name}")))
    trained = [line for line in lines if "grad_norm" in line]
    assert len(trained) == 8 and all(line.keys() >= FIGURES for line in trained)
    assert trained[-1]["loss/generator_nats"] < trained[0]["loss/generator_nats"], "nothing was learnt"
    evaluated = [line for line in lines if "grad_norm" not in line]
    assert len(evaluated) == 2
    assert all({f"eval/{key}".replace("loss/", "") for key in FIGURES} < line.keys() for line in evaluated)


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
