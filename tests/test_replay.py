"""Laws of replaying: steps run again give every bit of a checkpoint, and what was changed behind a manifest is named."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from objectives import OBJECTIVES
from pretrain import verify
from pretrain.checkpoint import _write_manifest
from pretrain.recipe import Recipe, read_recipe
from pretrain.signals import Interrupted

Tiny = Callable[..., Recipe]
LaunchRun = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[1]
EVERY = ("train.steps=12", "checkpoint.every_steps=3", "checkpoint.keep=9", "evaluate.every_steps=4")
DROPOUT = ("encoder.hidden_dropout_prob=0.2", "encoder.attention_probs_dropout_prob=0.2")
OF_OBJECTIVE: dict[str, tuple[str, ...]] = {
    "mlm": ("objective={name: mlm}", "examples={name: packed, max_seq_length: 32}"),
    "mlm_nsp": (),
    "mlm_sop": ("objective={name: mlm_sop}", "examples={name: sentence_order, max_seq_length: 32}"),
}
"""Overrides of the tiny recipe; replaced-token detection has those of the fixture `detection`."""
OPTIMIZERS = {
    "adamw": "optimizer={name: adamw, learning_rate: 2e-3}",
    "muon": "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02}",
}


def _digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, by what it holds and when it was written."""
    return {
        str(path.relative_to(folder)): f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    }


def _replayed(capsys: pytest.CaptureFixture[str], run: Path, num_steps: int) -> str:
    """What a replay that finds everything equal says of it."""
    assert verify.main([str(run), "--replay", str(num_steps)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()[-1]


def _refused(capsys: pytest.CaptureFixture[str], run: Path, num_steps: int) -> str:
    capsys.readouterr()
    assert verify.main([str(run), "--replay", str(num_steps)]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: LaunchRun
) -> Path:
    """A finished run of 12 steps with checkpoints of 3, 6, 9 and 12."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return launch(read_recipe(folder / "tiny.yaml", [*EVERY, *DROPOUT, "log.every_steps=2"]))


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


# What is equal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_run_again_give_every_bit_and_change_nothing_of_the_run(
    tiny: Tiny, launch: LaunchRun, detection: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str],
    objective: str, optimizer: str,
) -> None:  # fmt: skip
    of_objective = detection["electra"] if objective == "replaced_token_detection" else OF_OBJECTIVE[objective]
    run = launch(tiny(*of_objective, *EVERY, *DROPOUT, OPTIMIZERS[optimizer], "train.micro_batch_size=7"))
    before = _digests(run)
    assert "steps 6 to 12: equal bit for bit (weights, state/, progress.json and 4 lines" in _replayed(capsys, run, 4)
    assert "steps 0 to 12: equal bit for bit (weights, state/, progress.json and 6 lines" in _replayed(capsys, run, 12)
    assert _digests(run) == before
