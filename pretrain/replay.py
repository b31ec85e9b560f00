"""The last steps before a checkpoint, run again, and all that comes of them held against what the run wrote.

Order, masks and dropout are functions of the seed and of where a run stands, so on one layout of processes, threads
and micro-batches a stretch of steps has one outcome, bit for bit. The run directory is only read.
"""

import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from encoders.config import EncoderFolder
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints, read_progress
from pretrain.checkpoints.progress import Layout, Progress
from pretrain.checkpoints.state import Snapshot, make_loop
from pretrain.distributed.processes import Processes
from pretrain.evaluation import HeldOut
from pretrain.loop import Loop
from pretrain.recipe import Recipe, read_recipe
from pretrain.trouble import Trouble
from tokenization.store import TokenStore

_CLOCKS = ("elapsed_seconds", "tokens_per_second", "logged_seconds")
_LAYOUTS = "layouts"  # the checkpoint at the end says how the stretch was computed; the one at its beginning cannot

logger = logging.getLogger(__name__)
Line = dict[str, Any]
"""A line of metrics.jsonl without what the clock says."""


class ReplayError(CheckpointError):
    """Steps that cannot be run again bit for bit."""


class Differing(CheckpointError):
    """Steps that were run again and came out otherwise."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The steps to run again, and what is known of them."""

    start: Path | None
    """The checkpoint that they go on from; None: the run's beginning."""
    end: Path
    """The checkpoint that they led to."""
    first: int
    """Steps done before the stretch."""
    last: int
    """Steps done after it."""
    recipe: Recipe
    """Of the checkpoint at the end."""
    layout: Layout
    store: Path
    lines: tuple[Line, ...]
    """What metrics.jsonl has of these steps."""
    told: frozenset[int]
    """Steps at which the sums of metrics were closed."""
    evaluated: frozenset[int]


def recorded_precision(run: Path) -> str:
    """Mixed precision of a run's newest checkpoint; auto where it cannot be read, which verification will say."""
    try:
        return str(read_progress(Checkpoints(run).all()[-1])["mixed_precision"])
    except (OSError, ValueError, KeyError, IndexError):
        return "auto"


def find_stretch(run: Path, num_steps: int, whole: Sequence[Path], store: Path) -> Stretch:
    """The stretch of at least so many steps that ends at the newest checkpoint of a run.

    Args:
        whole: the checkpoints of the run that were verified, the newest among them.
        store: the token store that it was trained on.

    Raises:
        ReplayError: no checkpoint stands early enough, or the stretch has no outcome that is one bit for bit.
    """
    steps = {int(read_progress(path)["step"]): path for path in whole}
    last = max(steps)
    first = max((step for step in steps if step <= last - num_steps), default=0)
    if first == 0 and num_steps < last:
        raise _nothing_early_enough(run, num_steps, sorted(steps))
    end, recipe, record = steps[last], read_recipe(steps[last] / "recipe.yaml"), read_progress(steps[last])
    layout = _only_layout(Progress.of_record(record).layouts, first, last, end)
    _refuse_clock(recipe, first, last)
    told, lines = _log(run / "metrics.jsonl", first, last, recipe.log.every_steps)
    if record["logged_tokens"] == record["tokens"]:
        told |= {last}  # of a budget's end, which falls on any step
    evaluated = {line["step"] for line in lines if not _is_of_training(line)} | (
        {last} if record["evaluation"] else set()
    )
    return Stretch(
        start=steps.get(first), end=end, first=first, last=last, recipe=recipe, layout=layout, store=store,
        lines=lines, told=frozenset(told), evaluated=frozenset(evaluated),
    )  # fmt: skip


def replay(stretch: Stretch, processes: Processes) -> str:
    """Run a stretch again and hold all that comes of it against what the run wrote.

    Returns:
        What was found equal, in a sentence.

    Raises:
        ReplayError: this launch computes in another way.
        Differing: on the main process, naming what differs.
        StoreError, EncoderError: what the run was trained on is not there any more.
    """
    began, store = time.monotonic(), TokenStore.open(stretch.store)
    with _threads(stretch.layout.num_threads), TemporaryDirectory(prefix="replay-") as folder:
        processes.on_main(lambda: _check_layout(stretch, processes))
        loop, lines = _run_again(stretch, store, processes, Path(folder))
        differing = processes.on_main(lambda: _differences(stretch, loop, store, lines, Path(folder))) or []
    seconds = time.monotonic() - began
    if differing:
        raise _differs(stretch, differing, seconds)
    return (
        f"steps {stretch.first:,} to {stretch.last:,}: equal bit for bit (weights, state/, progress.json and "
        f"{len(stretch.lines)} lines of metrics.jsonl), run again in {seconds:.1f} s"
    )


def _run_again(stretch: Stretch, store: TokenStore, processes: Processes, folder: Path) -> tuple[Loop, list[Line]]:
    """Do the steps; gives the loop behind them and the lines of metrics that they make."""
    recipe, lines = _that_goes_on(stretch.recipe), list[Line]()
    loop = make_loop(recipe, processes, store, stretch.start)
    trouble = Trouble(folder, loop, spike_score=None)  # which keeps the losses that spikes stand out from
    held_out = None
    if stretch.evaluated:
        held_out = HeldOut(
            store,
            recipe.objective.terms,
            max_seq_length=recipe.examples.max_seq_length,
            most_rows=recipe.evaluate.most_rows,
        )
    micro_batch_size = recipe.train.most_at_once
    hidden = None if processes.is_main else True  # None: shown on a terminal only
    for step in tqdm(range(stretch.first + 1, stretch.last + 1), desc="replay", unit="step", disable=hidden):
        loop.step(0)
        if loop.trained is not None and loop.trained.is_finite:
            trouble.look()
        if step in stretch.told:
            lines.append(_without_clocks({"step": step, **loop.metrics()}))
        if held_out is not None and step in stretch.evaluated:
            loop.progress.evaluation = held_out.measure(loop.objective, processes, micro_batch_size=micro_batch_size)
            lines.append({"step": step, **loop.progress.evaluation})
    return loop, lines


def _that_goes_on(recipe: Recipe) -> Recipe:
    """A recipe that skips whatever batch the run has skipped, also where it says by now that the next one ends it."""
    skipping = {"on_nonfinite": "skip", "max_skipped_steps": sys.maxsize}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=skipping)})


# ------------------------------------------------------------------------------------------------ what can be replayed


def _nothing_early_enough(run: Path, num_steps: int, steps: Sequence[int]) -> ReplayError:
    last = steps[-1]
    most = last - steps[0]
    smaller = f"Name --replay {most} or less, or " if most else "Name "
    return ReplayError(
        f"{run} has whole checkpoints of steps {', '.join(map(str, steps))}, expected one of step {last - num_steps} "
        f"or before to run the last {num_steps} steps again from. {smaller}--replay {last} to begin with the run; "
        "checkpoint.keep and checkpoint.keep_every leave more of them."
    )


def _only_layout(layouts: dict[int, Layout], first: int, last: int, end: Path) -> Layout:
    """How all steps of a stretch were computed."""
    before = [step for step in layouts if step <= first]
    if not before:
        raise ReplayError(
            f"{end} does not say how step {first} was computed, expected the processes, threads and micro-batches of "
            "every launch in progress.json. Earlier versions did not record them: replay later steps."
        )
    layout = layouts[max(before)]
    for step in sorted(step for step in layouts if first < step < last):
        if changes := layout.differences(layouts[step]):
            raise ReplayError(
                f"the run computes in another way from step {step} on ({', '.join(changes)}), expected steps {first} "
                f"to {last} of one way, as sums are rounded in the order of a layout. Name --replay {last - step} or "
                f"less, which needs a checkpoint of step {step} or later."
            )
    return layout


def _refuse_clock(recipe: Recipe, first: int, last: int) -> None:
    """Refuse learning rates that followed the share of a budget of hours, which no second run of the steps can follow.

    Masking rates cannot: with such a budget a recipe may not give them a schedule.
    """
    factor = recipe.schedule.factor  # rises or falls with the share, so its ends tell whether it looks at it
    if recipe.train.hours is not None and any(factor(step, 0.0) != factor(step, 1.0) for step in range(first, last)):
        raise ReplayError(
            f"the learning rate of schedule.name = {recipe.schedule.name} followed the clock in steps {first} to "
            f"{last}, as train.hours is the budget; expected one that is the same where the steps take longer. With "
            "hours only constant rates can be replayed; give a run a budget of steps, epochs or tokens."
        )


def _check_layout(stretch: Stretch, processes: Processes) -> None:
    there, here = stretch.layout, Layout.here(stretch.recipe, processes)
    if there.world_size != here.world_size:
        count = there.world_size
        launcher = f"ACCELERATE_USE_CPU=true torchrun --nproc_per_node {count}" if count > 1 else "python"
        if there.device != "cpu":
            launcher = f"torchrun --nproc_per_node {count}"
        raise ReplayError(
            f"steps {stretch.first} to {stretch.last} were computed by {count} processes and {here.world_size} were "
            "started, expected as many, since sums are rounded in the order of a layout. Start\n"
            f"  {launcher} -m pretrain.verify {stretch.end.parent.parent} --replay N"
        )
    if differences := there.differences(here):
        raise ReplayError(
            f"steps {stretch.first} to {stretch.last} were computed in another way than this launch computes "
            f"({', '.join(differences)}), expected the same, without which bits differ by rounding. Replay them where "
            "they were trained, with the libraries that trained them."
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """On a CPU sums are cut up by the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ what the run wrote


def _log(path: Path, first: int, last: int, every_steps: int) -> tuple[set[int], tuple[Line, ...]]:
    """Steps of a stretch at which a line of training was due, and the lines that stand, of training and evaluation.

    The log itself tells when it was written to, also where log.every_steps was another one for a while. Where it has
    been cut off or lost, the recipe does.
    """
    lines = [line for line in _read(path) if _is_of_training(line) or any(key.startswith("eval/") for key in line)]
    of_training = {line["step"] for line in lines if _is_of_training(line)}
    covered = range(min(of_training), max(of_training) + 1) if of_training else range(0)
    told = {
        step
        for step in range(first + 1, last + 1)
        if (step in of_training if step in covered else step % every_steps == 0)
    }
    return told, tuple(_without_clocks(line) for line in lines if first < line["step"] <= last)


def _read(path: Path) -> Iterator[Line]:
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # cut off in the middle
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line


def _is_of_training(line: Line) -> bool:
    return "tokens" in line


def _without_clocks(line: Line) -> Line:
    return {key: value for key, value in line.items() if key not in _CLOCKS}


# ------------------------------------------------------------------------------------------------ what differs


def _differences(stretch: Stretch, loop: Loop, store: TokenStore, lines: Sequence[Line], folder: Path) -> list[str]:
    """What came out otherwise, one line each, the metrics first, since they tell the step."""
    if not stretch.end.exists():
        raise ReplayError(
            f"{stretch.end} was pruned while its steps were run again, expected it to stay. The run goes on: replay it "
            "when it is done, or with a larger checkpoint.keep."
        )
    again = folder / "checkpoint"
    again.mkdir()
    Snapshot.of(loop, store).write(again)
    return [*_differing_metrics(stretch.lines, lines), *_differing_files(again, stretch.end)]


def _differing_metrics(recorded: Sequence[Line], lines: Sequence[Line]) -> Iterator[str]:
    """The first line of metrics.jsonl that came out otherwise."""
    again = {(line["step"], _is_of_training(line)): line for line in lines}
    for line in recorded:
        other = again.get((line["step"], _is_of_training(line)), {})
        for name in [*line, *other]:
            if json.dumps(line.get(name)) != json.dumps(other.get(name)):  # where no number equals itself
                told = f"{name}: {line.get(name, 'nothing')} -> {other.get(name, 'nothing')}"
                yield f"metrics.jsonl: the first line that differs is of step {line['step']}, {told}"
                return


def _differing_files(again: Path, there: Path) -> Iterator[str]:
    """The files of a checkpoint that came out otherwise, and the first tensor of each."""
    names = {
        str(path.relative_to(folder)) for folder in (again, there) for path in folder.rglob("*") if path.is_file()
    } - {"manifest.json", "progress.json", "recipe.yaml"}
    for name in sorted(names):
        absent = [folder for folder in (again, there) if not (folder / name).exists()]
        if absent:
            yield f"{name}: {'not written again' if absent == [again] else 'written now, and not by the run'}"
        elif name.endswith(".safetensors"):
            yield from _differing_tensors(name, again / name, there / name)
        elif (again / name).read_bytes() != (there / name).read_bytes():
            yield f"{name}: other content"
    yield from _differing_progress(read_progress(there), read_progress(again))


def _differing_tensors(file: str, again: Path, there: Path) -> Iterator[str]:
    with safe_open(again, "pt") as new, safe_open(there, "pt") as old:
        names = sorted({*new.keys(), *old.keys()})
        common = {*new.keys()} & {*old.keys()}
        differing = [
            name for name in names if name not in common or not _is_same(old.get_tensor(name), new.get_tensor(name))
        ]
        if differing:
            sizes = [
                _largest_difference(old.get_tensor(name), new.get_tensor(name)) for name in differing if name in common
            ]
            largest = f", by {max(sizes):.3g} at most" if sizes else ""
            count = f"{len(differing)} of {len(names)} tensors"
            yield f"{file}: {differing[0]} is the first of {count} that differ{largest}"


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit, where no number equals itself and -0.0 is not 0.0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _largest_difference(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return math.inf
    return float((a.double() - b.double()).abs().max())


def _differing_progress(recorded: dict[str, Any], again: dict[str, Any]) -> Iterator[str]:
    ignored = {*_CLOCKS, _LAYOUTS} | (set() if recorded["evaluation"] else {"evaluation"})
    for name in sorted((recorded.keys() | again.keys()) - ignored):
        if json.dumps(recorded.get(name)) != json.dumps(again.get(name)):
            yield f"progress.json: {name}: {recorded.get(name)} -> {again.get(name)}"


def _differs(stretch: Stretch, differing: Sequence[str], seconds: float) -> Differing:
    start = stretch.start or "the run's beginning"
    if differing[0].startswith("metrics.jsonl"):
        cause = (
            f"Either {start} is not as the run left it, or the steps were computed otherwise than recorded, as another "
            "kind of processor does. Replay on the machine that trained them; if they differ there, trust neither."
        )
        if stretch.start is None and isinstance(stretch.recipe.encoder, EncoderFolder):
            cause = f"{stretch.recipe.encoder.from_}, which the run started from, may be another one now. {cause}"
    else:
        num_lines = len(stretch.lines)
        agree = f"The lines of metrics.jsonl ({num_lines}) agree" if num_lines else "No line of metrics.jsonl is there"
        cause = (
            f"{agree}, so {stretch.end} was probably changed after it was written. Do not go on from it: delete it and "
            "launch the same command, which trains these steps again."
        )
    found = "".join(f"\n  {difference}" for difference in differing)
    return Differing(
        f"{stretch.end} is not what its steps give: steps {stretch.first:,} to {stretch.last:,} were run again from "
        f"{start} in {seconds:.1f} s, expected every bit equal, got{found}\n{cause}"
    )
