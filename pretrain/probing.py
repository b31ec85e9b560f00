"""The probes of a recipe: at its end, or at every evaluation as well, so that what they find is a curve like the loss.

Each runs as a user would run it, `python -m probes NAME MODEL`, in a process of its own beside the waiting run: nothing
in it can change the training, it can be ended at any moment, and a model too large for two leaves the run as it was.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, Field, field_validator, model_validator

from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Signals, flags_of, status_of
from pretrain.recipe_problems import did_you_mean, got

_LOOKING_SECONDS = 0.1
_ENDING_SECONDS = 5.0
_MOST_LINES = 12  # of what a probe that fails has said
_TEMPORARY = ".probing-"
_STEP = "step-"

logger = logging.getLogger(__name__)


class ProbeSettings(BaseModel, frozen=True, extra="forbid", strict=True):
    """A probe of a recipe: its name, or a mapping with its name."""

    name: str
    """As `python -m probes` lists them."""
    at: Literal["end", "evaluations"] = "end"
    """end: on the finished model. evaluations: at every evaluation as well, figures only; these go to metrics.jsonl
    and probes/step-N/, and their time counts as an evaluation's does."""
    network: str = "model"
    """Folder of the run that is probed: model, or generator where the objective has one."""
    arguments: tuple[str, ...] = Field(default=(), strict=False)
    """Options of the probe, as on the command line."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        from probes import PROBES  # which only a recipe that probes pays for

        if name not in PROBES:
            raise ValueError(f"got {got(name)}, expected names of {', '.join(PROBES)}{did_you_mean(name, PROBES)}")
        return name

    @model_validator(mode="after")
    def _parsable(self) -> "ProbeSettings":
        from probes import PROBES, ProbeError
        from probes.command import parser_of

        try:
            parser_of(self.name, PROBES[self.name]).parse_args(["MODEL", *self.arguments])
        except ProbeError as error:
            raise ValueError(str(error)) from error
        return self


def check_files(probes: tuple[ProbeSettings, ...]) -> None:
    """See to it that the files which probes are to read are there, before hours are spent.

    Raises:
        ProbeError: one is not.
    """
    if not probes:
        return
    from probes import PROBES, ProbeError
    from probes.command import parser_of

    for probe in probes:
        options = vars(parser_of(probe.name, PROBES[probe.name]).parse_args(["MODEL", *probe.arguments]))
        read = [value for name, value in options.items() if name != "out"]
        for value in read:
            missing = [path for path in _listed(value) if isinstance(path, Path) and not path.exists()]
            if missing:
                raise ProbeError(
                    f"probes: {probe.name} is to read {missing[0]}, expected a file or folder that is there (paths are "
                    "relative to the working directory). Correct its arguments."
                )


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


class ProbingEnded(Exception):
    """A probe that did not come to its end, since a signal to some process asked for an exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status


class Probing:
    """Runs the probes of a recipe for all processes of a run; the main one's child does the work."""

    def __init__(
        self, probes: tuple[ProbeSettings, ...], run_dir: Path, processes: Processes, signals: Signals
    ) -> None:
        self._probes, self._run_dir = probes, run_dir
        self._processes, self._signals = processes, signals

    def leave_behind(self, step: int) -> None:
        """Delete what probes found after the step that a run goes on from, and what a killed one left."""
        for folder in (self._run_dir / "probes").glob(f"{_STEP}*"):
            number = folder.name.removeprefix(_STEP)
            if number.isdecimal() and int(number) > step:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self._run_dir.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def at_evaluation(self, step: int, save: Callable[[Path], None]) -> dict[str, float | None]:
        """What the probes find that run at evaluations.

        A probe that fails is told, and training goes on.

        Args:
            save: writes the folder of each network, as it is now, into a folder.

        Returns:
            probe/<name>/<measure> and its value, on all processes alike.

        Raises:
            ProbingEnded: on all processes, since one was asked to end.
        """
        chosen = [probe for probe in self._probes if probe.at == "evaluations"]
        if not chosen:
            return {}
        folder = self._processes.broadcast(self._processes.on_main(lambda: self._saved(save)))
        assert folder is not None
        out, done = self._run_dir / "probes" / f"{_STEP}{step:08d}", []
        try:
            for probe in chosen:
                failure = self._conduct(probe, folder / probe.network, out, "--no-pictures")
                if failure:
                    logger.warning("probe %s has failed, training goes on: %s", probe.name, failure)
                else:
                    done.append(out / f"{probe.name}.json")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._processes.broadcast(self._processes.on_main(lambda: _curves(done))) or {}

    def at_end(self) -> None:
        """Probe the finished model, with pictures.

        Raises:
            ProbeError: a probe has failed; what it said.
            ProbingEnded: as above.
        """
        from probes import ProbeError

        for probe in self._probes:
            logger.info("probe %s", probe.name)
            failure = self._conduct(probe, self._run_dir / probe.network, self._run_dir / "probes")
            if failure:
                raise ProbeError(failure)

    def _saved(self, save: Callable[[Path], None]) -> Path:
        """The networks as they are now, in a folder of the run for a while."""
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._run_dir))
        save(folder)
        return folder

    def _conduct(self, probe: ProbeSettings, model: Path, out: Path, *options: str) -> str:
        """Run a probe beside the main process while all look out for signals.

        Returns:
            What went wrong, on all processes; empty if nothing did.
        """
        arguments = [probe.name, str(model), "--out", str(out), *options, *probe.arguments]
        child = self._processes.on_main(lambda: _Child(arguments))
        try:
            while True:
                is_done = child is not None and child.is_done
                *flags, done = self._processes.sum([*flags_of(self._signals.received), float(is_done)])
                if status := status_of(flags):
                    raise ProbingEnded(status)
                if done:
                    break
                time.sleep(_LOOKING_SECONDS)
        finally:
            if child is not None:
                child.end()
        return self._processes.broadcast(child.failure if child is not None else None) or ""


class _Child:
    """A process with one command of the probes."""

    def __init__(self, arguments: list[str]) -> None:
        self._told = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "probes", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=self._told,
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            start_new_session=True,  # so that Ctrl-C comes to the run alone, which ends it
        )

    @property
    def is_done(self) -> bool:
        return self._process.poll() is not None

    @property
    def failure(self) -> str:
        """What the command that is done said went wrong, empty if nothing did."""
        if self._process.returncode == 0:
            return ""
        self._told.seek(0)
        lines = self._told.read().strip().splitlines()
        return "\n".join(lines[-_MOST_LINES:]) or f"it ended with status {self._process.returncode}"

    def end(self) -> None:
        """End it, if it is not done."""
        if not self.is_done:
            self._process.terminate()
            try:
                self._process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _curves(paths: list[Path]) -> dict[str, float | None]:
    """The figures of probes that are curves over training: those of the model itself among their headlines."""
    from probes.results import read_results

    return {
        "/".join(["probe", results.probe, score.measure, *filter(None, [score.variant, score.group])]): score.value
        for results in map(read_results, paths)
        for score in results.headlines
        if score.role == "model"
    }
