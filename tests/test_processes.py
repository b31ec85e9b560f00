"""Laws of the processes: two train as one, precision is resolved in one way, what is not trained is refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain.distributed import launchers
from pretrain.distributed.launchers import LaunchError, resolve_precision
from pretrain.distributed.processes import Processes
from pretrain.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = ("ACCELERATE_", "MASTER_", "WORLD_SIZE", "RANK", "LOCAL_", "FSDP_")


def _environment(**more: str) -> dict[str, str]:
    """The environment without what a launcher may have left in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER)}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def _two_processes(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "pretrain", *arguments]
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, env=_environment(ACCELERATE_USE_CPU="true"), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


# Two processes -------------------------------------------------------------------------------------------------------


def test_two_processes_of_a_launcher_train_as_one(
    tiny: Callable[..., Recipe], tiny_file: Path, launch: Callable[..., Path], tmp_path: Path
) -> None:
    """Whatever the objective and the layout: tests/test_layouts.py."""
    common = ("train.batch_size=15", "train.micro_batch_size=4", "log.every_steps=1", "evaluate.every_steps=10")
    one = launch(tiny(*common, f"output_dir={tmp_path / 'one'}"))
    two = tmp_path / "two"
    done = _two_processes(str(tiny_file), *common, "log.trackers=[tensorboard]", f"output_dir={two}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 processes on cpu") == 1, "said once, by the main process"

    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert len(lines[0]) == 22
    for of_one, of_two in zip(*lines, strict=True):
        assert of_two.keys() == of_one.keys()
        for key in of_one.keys() - {"elapsed_seconds", "tokens_per_second"}:
            assert of_two[key] == pytest.approx(of_one[key], abs=1e-5), f"{key} at step {of_one['step']}"

    weights = [load_file(run / "model" / "model.safetensors") for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=1e-5)
    (checkpoint,) = (two / "checkpoints").iterdir()
    assert json.loads((checkpoint / "progress.json").read_text())["world_size"] == 2


def test_a_mistake_is_said_once_by_all_processes(tiny_file: Path, tmp_path: Path) -> None:
    done = _two_processes(str(tiny_file), "train.batch_size=1", f"output_dir={tmp_path / 'run'}")
    assert done.returncode != 0
    assert done.stderr.count("error: train.batch_size = 1 is fewer than the 2 processes that were started") == 1
    assert f'File "{ROOT / "pretrain"}' not in done.stderr, "a traceback of ours"  # torchrun adds its own
    assert "exitcode  : 2" in done.stderr


# Precision -----------------------------------------------------------------------------------------------------------

HARDWARE = {"cpu without bf16": (True, False), "cpu with bf16": (True, True), "gpu": (False, True)}


def _expected(recipe: str, launcher: str | None, hardware: str) -> str | None:
    """What the table of the contract says; None: refused."""
    on_cpu, has_bf16 = HARDWARE[hardware]
    asked = launcher if launcher in ("bf16", "fp16") else None
    if recipe == "auto":
        resolved = asked or ("bf16" if has_bf16 else "no")
    elif asked in (None, recipe):
        resolved = recipe
    else:
        return None
    return None if resolved == "fp16" and on_cpu else resolved


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("launcher", [None, "", "no", "bf16", "fp16"])
@pytest.mark.parametrize("recipe", ["auto", "bf16", "fp16", "no"])
def test_precision_follows_recipe_launcher_and_hardware(
    monkeypatch: pytest.MonkeyPatch, recipe: str, launcher: str | None, hardware: str
) -> None:
    on_cpu, has_bf16 = HARDWARE[hardware]
    monkeypatch.setattr(launchers, "_has_bf16", lambda *, on_cpu: has_bf16)
    expected = _expected(recipe, launcher, hardware)
    if expected is None:
        with pytest.raises(LaunchError, match=r"expected the same|fp16 needs a GPU"):
            resolve_precision(recipe, launcher, on_cpu=on_cpu)
    else:
        assert resolve_precision(recipe, launcher, on_cpu=on_cpu) == expected


def test_a_precision_that_the_kit_does_not_train_in_is_refused() -> None:
    with pytest.raises(LaunchError, match="asks for mixed precision fp8, expected bf16, fp16 or no"):
        resolve_precision("auto", "fp8", on_cpu=False)


def test_bf16_on_a_cpu_is_a_matter_of_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, expected in (
        ({"avx512_f": True, "avx512_bf16": False}, "no"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({}, "no"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda capabilities=capabilities: capabilities)
        assert resolve_precision("auto", None, on_cpu=True) == expected


def test_the_accelerator_gets_what_was_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "_has_bf16", lambda *, on_cpu: True)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert Processes.start("auto").mixed_precision == "bf16"


# Launchers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "what"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_ways_of_distributing_that_are_not_trained_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, what: str
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(LaunchError, match=rf"asks for {what}, which .*; expected plain data parallelism\. Set distrib"):
        Processes.start("no")


def test_processes_that_were_asked_for_but_not_started_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with pytest.raises(LaunchError, match=r"asks for several processes but only one was started(.|\n)*torchrun"):
        Processes.start("no")


def test_one_process_adds_up_by_itself() -> None:
    one = Processes.start("no")
    assert (one.rank, one.world_size, one.is_main) == (0, 1, True)
    assert one.sum([1.5, 2.0]) == [1.5, 2.0]
    assert one.broadcast("x") == "x"
    assert one.on_main(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        one.on_main(lambda: 1 // 0)


def test_accelerate_launch_with_the_shipped_configuration_works_and_as_the_other_ways_do(
    tiny_file: Path, tmp_path: Path
) -> None:
    # The precision that each way resolves is told by the process itself, which ends before it trains.
    probe = tmp_path / "probe.py"
    probe.write_text(
        "from pretrain.distributed.processes import Processes\n"
        "print('precision', Processes.start('auto').mixed_precision)\n"
    )
    accelerate = ["accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_config.yaml")]
    ways = {
        "python": [str(probe)],
        "accelerate": ["-m", *accelerate, str(probe)],
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", str(probe)],
    }
    told = {}
    for way, command in ways.items():
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT, env=_environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told[way] = done.stdout.splitlines()[-1]
    assert told["python"].startswith("precision ")
    assert len(set(told.values())) == 1, told

    dry = subprocess.run(
        [sys.executable, "-m", *accelerate, "-m", "pretrain", str(tiny_file), "--dry-run"],
        cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert dry.returncode == 0, dry.stderr
    assert "steps            20" in dry.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a process that its parent has ended")
def test_a_launcher_that_is_killed_ends_its_process_as_sigterm_does(tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = (
        "import signal, sys, time\nfrom pathlib import Path\n"
        "from pretrain.distributed.launchers import follow_launcher\n"
        f"told = Path({str(told)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (told.write_text('SIGTERM'), sys.exit(143)))\n"
        "follow_launcher()\ntold.write_text('ready')\ntime.sleep(60)\n"
    )
    launcher = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n"
    environment = _environment(PYTHONPATH=str(ROOT), ACCELERATE_MIXED_PRECISION="no")
    with subprocess.Popen([sys.executable, "-c", launcher], env=environment) as process:
        for text in ("ready", "SIGTERM"):
            until = time.monotonic() + 60
            while (not told.exists() or told.read_text() != text) and time.monotonic() < until:
                time.sleep(0.02)
            assert told.read_text() == text
            process.kill()
