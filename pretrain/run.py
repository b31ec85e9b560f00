"""A run from start to finish: all that a recipe needs is made, training goes on, the model is handed over."""

import json
import logging
import platform
import shutil
import signal
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from objectives.objective import Objective
from pretrain.assembly import (
    build_objective,
    load_objective,
    load_own_state,
    prepared_store,
    save_objective,
    saved_networks,
    training_examples,
)
from pretrain.card import write_card
from pretrain.checkpoint import (
    CheckpointError,
    Checkpoints,
    load_optimizers,
    put_in_place,
    read_progress,
    save_optimizers,
    verify,
)
from pretrain.evaluation import HeldOut
from pretrain.health import Health
from pretrain.loop import Loop, Progress
from pretrain.metrics import MetricsLog, check_trackers
from pretrain.processes import Processes
from pretrain.recipe import Recipe, RecipeError, check_world_size, differing_keys, read_recipe
from pretrain.signals import STATUS, Interrupted, Signals
from probes import PROBES
from probes.report import write_report
from tokenization.store import TokenStore

_TALLY = "state/tally.safetensors"
_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a run was asked for."""

    resume: Path | None = None
    """A checkpoint to go on from; None: the newest valid one, if there is any."""
    fresh: bool = False
    """Start again although there are checkpoints."""


def train(recipe: Recipe, launch: Launch, signals: Signals) -> Path:
    """Train as the recipe says and give the run directory.

    Raises:
        RecipeError, LaunchError, CorpusError, ...: a user's mistake, in words.
        Interrupted: a signal ended the run; its checkpoint is written.
    """
    check_trackers(recipe)
    processes = Processes.start(recipe.train.mixed_precision, trackers=recipe.log.trackers, folder=recipe.run_dir)
    try:
        processes.on_main(lambda: check_world_size(recipe, processes.world_size))
        run = _assembled(recipe, launch, signals, processes)
        run.go_on()
        run.hand_over()
    finally:
        processes.leave()
    return recipe.run_dir


def _assembled(recipe: Recipe, launch: Launch, signals: Signals, processes: Processes) -> "Run":
    # -------------------------------------------------------------------------------------------------------- the data
    path = processes.broadcast(processes.on_main(lambda: prepared_store(recipe).path))
    # A node that does not share the main one's disk prepares a store of its own.
    store = TokenStore.open(path) if path is not None and path.exists() else prepared_store(recipe)
    checkpoint = processes.broadcast(
        processes.on_main(lambda: _starting_point(recipe, launch, store, processes.mixed_precision))
    )
    held_out = None
    if store.held_out.num_tokens:
        held_out = HeldOut(store, recipe.objective.terms, max_seq_length=recipe.examples.max_seq_length)
    else:
        logger.info("no document is held out, so nothing will be evaluated")

    # ------------------------------------------------------------------------------------------- network and optimizer
    if checkpoint is None:
        objective, progress = build_objective(recipe, store, device=processes.device), Progress()
    else:
        objective, _ = load_objective(recipe, saved_networks(recipe, checkpoint), device=processes.device)
        load_own_state(objective, checkpoint)
        progress = _progress_of(checkpoint)
    for network in objective.networks.values():
        network.skips_places = not (recipe.train.gradient_checkpointing or recipe.train.compile)
        if recipe.train.gradient_checkpointing:
            network.model.activation_checkpointing_enable()
        if recipe.train.compile:
            network.model.base_model.compile()
    objective.to(processes.device).train()
    optimizers = recipe.optimizer.build(objective)
    if checkpoint is not None:
        load_optimizers(optimizers, objective, checkpoint / "state")
        if processes.accelerator.scaler is not None:
            processes.accelerator.scaler.load_state_dict(read_progress(checkpoint)["gradient_scaler"])
    examples = training_examples(recipe, store)
    examples.plan(progress.epoch)
    loop = Loop(recipe, processes, objective, examples, optimizers, progress)
    if checkpoint is not None:
        if (checkpoint / _TALLY).exists():
            loop.tally.load_state(load_file(checkpoint / _TALLY))
        else:
            logger.warning("%s is of an earlier version: the next line of metrics counts from here on", checkpoint)
    if launch.fresh:
        processes.on_main(lambda: _clear(recipe.run_dir))
    if processes.is_main:
        _announce(recipe, processes, objective, checkpoint)
    return Run(recipe, processes, store, loop, held_out, signals)


class Run:
    """Training with everything around it: metrics, evaluations, checkpoints, signals."""

    def __init__(
        self,
        recipe: Recipe,
        processes: Processes,
        store: TokenStore,
        loop: Loop,
        held_out: HeldOut | None,
        signals: Signals,
    ) -> None:
        self.recipe, self.processes, self.store = recipe, processes, store
        self.loop, self.held_out, self.signals = loop, held_out, signals
        self.checkpoints = Checkpoints(recipe.run_dir)
        self.evaluation: dict[str, float] = {}
        """Held-out metrics of the step that is done, if it was evaluated."""
        hidden_ratio = recipe.masking.mask_replace_prob + recipe.masking.random_replace_prob
        self.health = Health(loop.objective, store.train, hidden_ratio=hidden_ratio)
        self.log: MetricsLog | None = processes.on_main(self._open_log)

    def _open_log(self) -> MetricsLog:
        recipe = self.recipe
        recipe.run_dir.mkdir(parents=True, exist_ok=True)
        (recipe.run_dir / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        log = MetricsLog(recipe.run_dir, step=self.loop.progress.step, description=recipe.name)
        if recipe.log.trackers:
            log.track(self.processes.accelerator, recipe)
        return log

    def go_on(self) -> None:
        """Train until the budget is spent.

        Raises:
            Interrupted: a signal to any process ended it; the step that was done is saved.
        """
        self.signals.deferred = True
        try:
            self._train()
        finally:
            if self.log is not None:
                self.log.close()

    def _train(self) -> None:
        recipe, loop, progress = self.recipe, self.loop, self.loop.progress
        saved = progress.step  # what a resumed run starts from is saved, and at step 0 there is nothing to save
        if loop.share() >= 1.0:
            logger.info("%s is trained already; --fresh starts again", recipe.name)
        while loop.share() < 1.0:
            if status := loop.step(self.signals.received):
                if saved != progress.step:
                    self._save()
                raise Interrupted(status, f"step {progress.step} is saved" if progress.step else "no step was done yet")
            is_last = loop.share() >= 1.0
            if is_last or _is_due(progress.step, recipe.log.every_steps):
                self._write_metrics()
            is_saved = is_last or _is_due(progress.step, recipe.checkpoint.every_steps)
            is_compared = is_saved and recipe.checkpoint.best is not None
            if is_last or is_compared or _is_due(progress.step, recipe.evaluate.every_steps):
                self._evaluate()
            if is_saved:
                self._save()
                saved = progress.step
            self.evaluation = {}

    def hand_over(self) -> None:
        """Write the finished model, which is the best checkpoint's where the recipe names a metric, and probe it."""
        self.processes.on_main(self._export)
        self.signals.deferred = False
        if self.processes.any(bool(self.signals.received)):
            raise Interrupted(
                self.signals.received or STATUS[signal.SIGTERM], "training is done and the model is there"
            )
        if self.recipe.probes:
            self.processes.on_main(self._probe)

    def _write_metrics(self) -> None:
        line, share = self.loop.metrics(), min(1.0, self.loop.share())
        if self.log is not None:
            elapsed = self.loop.progress.elapsed_seconds
            self.log.write(self.loop.progress.step, line)
            self.log.show(self.loop.progress.step, share, line, seconds_left=elapsed / share - elapsed)
            self.health.check(self.loop.progress.step, share, line)

    def _evaluate(self) -> None:
        if self.held_out is None:
            return
        train = self.recipe.train
        self.evaluation = self.held_out.measure(
            self.loop.objective, self.processes, micro_batch_size=train.micro_batch_size or train.batch_size
        )
        if self.log is not None:
            self.log.write(self.loop.progress.step, self.evaluation)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in self.evaluation.items())
            logger.info("step %d  held out: %s", self.loop.progress.step, shown)

    def _save(self) -> None:
        self.loop.check_weights()
        step, checkpoint = self.loop.progress.step, self.recipe.checkpoint
        self.processes.on_main(lambda: self.checkpoints.write(step, self._fill))
        self.processes.on_main(lambda: self.checkpoints.prune(step, keep=checkpoint.keep, best=checkpoint.best))

    def _fill(self, folder: Path) -> None:
        save_objective(self.loop.objective, self.store.tokenizer_path, folder)
        save_optimizers(self.loop.optimizers, self.loop.objective, folder / "state")
        save_file(self.loop.tally.state(), folder / _TALLY)
        scaler = self.processes.accelerator.scaler
        progress: dict[str, Any] = {
            **asdict(self.loop.progress),
            "evaluation": self.evaluation,
            "gradient_scaler": scaler.state_dict() if scaler is not None else None,
            "store": self.store.fingerprint,
            "mixed_precision": self.processes.mixed_precision,
            "world_size": self.processes.world_size,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        }
        (folder / "progress.json").write_text(json.dumps(progress, indent=2) + "\n", encoding="utf-8")
        (folder / "recipe.yaml").write_text(self.recipe.to_yaml(), encoding="utf-8")

    def _export(self) -> None:
        source = self.checkpoints.best(self.recipe.checkpoint.best) or self.checkpoints.newest_valid()
        if source is None:
            raise CheckpointError(
                f"{self.checkpoints.folder} holds no valid checkpoint, expected one at the end of a run. Launch again."
            )
        verify(source)
        for name in self.recipe.objective.heads:
            partial = self.recipe.run_dir / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / name, partial)
            write_card(partial, name, self.recipe, self.store, read_progress(source))
            put_in_place(partial, self.recipe.run_dir / name)

    def _probe(self) -> None:
        for name in self.recipe.probes:
            logger.info("probe %s", name)
            PROBES[name].run([self.recipe.run_dir])
        logger.info("report: %s", write_report(self.recipe.run_dir))


def _is_due(step: int, every_steps: int | None) -> bool:
    return every_steps is not None and step % every_steps == 0


def _starting_point(recipe: Recipe, launch: Launch, store: TokenStore, mixed_precision: str) -> Path | None:
    """The checkpoint to go on from, or None to start anew.

    Raises:
        RecipeError: the checkpoint was trained by another recipe.
        CheckpointError: the named checkpoint is damaged.
    """
    checkpoints = Checkpoints(recipe.run_dir)
    if launch.fresh:
        return None
    if launch.resume is not None:
        if not any((launch.resume / name).exists() for name in ("progress.json", "manifest.json")):
            raise CheckpointError(
                f"{launch.resume} is no checkpoint, expected a folder such as {checkpoints.folder / 'step-00001000'}. "
                "Name one, or leave --resume out to go on from the newest."
            )
        verify(launch.resume)
        checkpoint: Path | None = launch.resume
    else:
        checkpoint = checkpoints.newest_valid()
        if checkpoint is None and checkpoints.all():
            raise CheckpointError(
                f"none of the checkpoints in {checkpoints.folder} is whole, expected one to go on from. "
                "Launch with --fresh to start again, which deletes them."
            )
    if checkpoint is None:
        return None
    differences = differing_keys(read_recipe(checkpoint / "recipe.yaml"), recipe)
    if read_progress(checkpoint)["store"] != store.fingerprint and not any(
        d.startswith(("corpus", "tokenizer")) for d in differences
    ):
        differences.append("corpus: its files, or the versions of sentencex or tokenizers, are other ones now")
    if (old := read_progress(checkpoint)["mixed_precision"]) != mixed_precision:
        differences.append(f"train.mixed_precision, as resolved: {old} -> {mixed_precision}")
    if differences:
        listed = "\n".join(f"  {difference}" for difference in differences)
        raise RecipeError(
            f"{checkpoint} was trained by another recipe, expected the same in all that changes the training. It "
            f"differs in\n{listed}\n"
            "Take the changes back, give the run another name, or launch with --fresh to start again."
        )
    return checkpoint


def _clear(run_dir: Path) -> None:
    """Delete what an earlier run left; only now that the new one is known to start."""
    for folder in ("checkpoints", "model", "generator", "probes"):
        shutil.rmtree(run_dir / folder, ignore_errors=True)
    for file in ("metrics.jsonl", "report.html"):
        (run_dir / file).unlink(missing_ok=True)


def _progress_of(checkpoint: Path) -> Progress:
    stored = read_progress(checkpoint)
    return Progress(**{name: stored[name] for name in Progress.__dataclass_fields__})


def _announce(recipe: Recipe, processes: Processes, objective: Objective, checkpoint: Path | None) -> None:
    count = sum(parameter.numel() for parameter in objective.parameters())
    logger.info(
        "%s: %s parameters, %d process%s on %s, mixed precision %s, %d threads each",
        recipe.name, f"{count:,}", processes.world_size, "es" if processes.world_size > 1 else "",
        processes.device.type, processes.mixed_precision, torch.get_num_threads(),
    )  # fmt: skip
    if checkpoint is not None:
        logger.info("going on from %s", checkpoint)
