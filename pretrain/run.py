"""A run from start to finish: all that a recipe needs is made, training goes on, the model is handed over."""

import logging
import shutil
import signal
from pathlib import Path

import torch

from pretrain.assembly import prepared_store
from pretrain.card import write_card
from pretrain.checkpoint import CheckpointError, Checkpoints, put_in_place, read_progress, verify
from pretrain.evaluation import HeldOut
from pretrain.health import Health
from pretrain.launching import Launch, clear, starting_point
from pretrain.loop import Loop
from pretrain.metrics import MetricsLog, check_trackers
from pretrain.processes import Processes
from pretrain.progress import Layout
from pretrain.recipe import Recipe, check_world_size
from pretrain.signals import STATUS, Interrupted, Signals
from pretrain.state import make_loop, save_loop
from probes import PROBES
from probes.report import write_report
from tokenization.store import TokenStore

logger = logging.getLogger(__name__)


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
    path = processes.broadcast(processes.on_main(lambda: prepared_store(recipe).path))
    # A node that does not share the main one's disk prepares a store of its own.
    store = TokenStore.open(path) if path is not None and path.exists() else prepared_store(recipe)
    checkpoint = processes.broadcast(
        processes.on_main(lambda: starting_point(recipe, launch, store, processes.mixed_precision))
    )
    held_out = None
    if store.held_out.num_tokens:
        held_out = HeldOut(store, recipe.objective.terms, max_seq_length=recipe.examples.max_seq_length)
    else:
        logger.info("no document is held out, so nothing will be evaluated")

    loop = make_loop(recipe, processes, store, checkpoint)
    differing = loop.progress.lay_out(Layout.here(recipe, processes))
    if launch.fresh:
        processes.on_main(lambda: clear(recipe.run_dir))
    if processes.is_main:
        _announce(loop, checkpoint, differing)
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
        self.loop.progress.evaluation = self.held_out.measure(
            self.loop.objective, self.processes, micro_batch_size=train.micro_batch_size or train.batch_size
        )
        if self.log is not None:
            self.log.write(self.loop.progress.step, self.loop.progress.evaluation)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in self.loop.progress.evaluation.items())
            logger.info("step %d  held out: %s", self.loop.progress.step, shown)

    def _save(self) -> None:
        self.loop.check_weights()
        step, checkpoint = self.loop.progress.step, self.recipe.checkpoint

        def save() -> None:
            self.checkpoints.write(step, lambda folder: save_loop(self.loop, self.store, folder))
            self.checkpoints.prune(step, keep=checkpoint.keep, best=checkpoint.best)

        self.processes.on_main(save)

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


def _announce(loop: Loop, checkpoint: Path | None, differing: list[str]) -> None:
    recipe, processes = loop.recipe, loop.processes
    count = sum(parameter.numel() for parameter in loop.objective.parameters())
    logger.info(
        "%s: %s parameters, %d process%s on %s, mixed precision %s, %d threads each",
        recipe.name, f"{count:,}", processes.world_size, "es" if processes.world_size > 1 else "",
        processes.device.type, processes.mixed_precision, torch.get_num_threads(),
    )  # fmt: skip
    if checkpoint is not None:
        logger.info("going on from %s", checkpoint)
    if differing:
        logger.warning(
            "it was computed in another way until here (%s), so from here on the run equals an uninterrupted one to "
            "rounding and not bit for bit; dropout is drawn anew for other processes and micro-batches",
            ", ".join(differing),
        )
