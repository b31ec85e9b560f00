"""python -m tests.two_ranks FOLDER RANK: one of two real processes that train what FOLDER/jobs.json names, in turn.

Starting a process takes longer than most of the runs that are compared, so two are started once for all of them. They
meet at a file, which no port can be taken from.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Interrupted
from pretrain.launching import Launch
from pretrain.recipe import read_recipe
from pretrain.run import train
from tests import conftest
from tests.layouts import STEPS, Course, course_of, loop_of, recorded


class Job(NamedTuple):
    """Something for both processes to train."""

    name: str
    overrides: tuple[str, ...]
    """Of the recipe of the folder."""
    kind: str = "plain"
    """Of its examples: a key of layouts.KINDS."""
    steps: int = STEPS
    what: Literal["course", "run"] = "course"
    """A loop from step 0, or the run of a launch, which goes on from a checkpoint and stops after `steps`."""


def environment(rank: int) -> dict[str, str]:
    """What a launcher would set for one of two processes on this machine."""
    launcher = ("ACCELERATE_", "MASTER_", "FSDP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(launcher)}
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return {**kept, **place, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def read_course(folder: Path, rank: int, name: str) -> Course:
    """The course that a process wrote."""
    told: dict[str, Any] = json.loads((folder / f"{name}.{rank}.json").read_text())
    weights = load_file(folder / f"{name}.{rank}.safetensors")
    return Course(told["lines"], told["clipped"], weights, [tuple(example) for example in told["seen"]])


def _do(job: Job, folder: Path, rank: int, processes: Processes) -> None:
    recipe = read_recipe(folder / "recipe.yaml", job.overrides)
    if job.what == "run":
        torch.seed()
        with recorded() as seen, conftest.stopped_after(job.steps) as signals:
            try:
                train(recipe, Launch(), signals)
            except Interrupted as interrupted:
                assert interrupted.status == 143
        course = Course([], [], {}, seen)
    else:
        course = course_of(loop_of(recipe, processes, job.kind), job.steps)
    save_file(course.weights, folder / f"{job.name}.{rank}.safetensors")
    told = {"lines": course.lines, "clipped": course.clipped, "seen": course.seen}
    (folder / f"{job.name}.{rank}.json").write_text(json.dumps(told))


def _stop_listening(processes: Processes) -> None:
    """Take leave without parting: a thread that asks the store when the interpreter ends aborts the process."""
    assert processes._notices is not None
    processes._notices.end()


def main(folder: Path, rank: int) -> int:
    """Do every job of the folder."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    processes = Processes.start("no")
    assert processes.world_size == 2
    Processes.leave = _stop_listening  # type: ignore[method-assign]  # there is more to do
    for fields in json.loads((folder / "jobs.json").read_text()):
        _do(Job(*fields), folder, rank, processes)
    processes.leave()
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
