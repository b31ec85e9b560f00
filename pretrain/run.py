"""A run from start to finish: all that a recipe needs is made, training goes on, the model is handed over."""

import logging
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import torch

from pretrain.assembly import prepared_store, save_objective
from pretrain.card import write_card
from pretrain.checkpoints.checkpoint import (
    CheckpointError,
    Checkpoints,
    put_in_place,
    read_progress,
    sync_folder,
    verify,
)
from pretrain.checkpoints.lock import RunLock
from pretrain.checkpoints.progress import Layout
from pretrain.checkpoints.saving import Saving
from pretrain.checkpoints.space import check_run, check_save, checkpoint_bytes
from pretrain.checkpoints.state import Snapshot, make_loop
from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Interrupted, Signals, end_at_once
from pretrain.evaluation import EvaluationEnded, HeldOut
from pretrain.health import Health
from pretrain.launching import Launch, clear, starting_point
from pretrain.loop import Loop, NotFinite, TrainingError
from pretrain.metrics import MetricsLog, check_trackers
from pretrain.probing import Probing, ProbingEnded, check_files
from pretrain.recipe import Recipe, check_world_size
from pretrain.trouble import Trouble
from tokenization.store import TokenStore

logger = logging.getLogger(__name__)


def train(recipe: Recipe, launch: Launch, signals: Signals) -> Path:
    """Train as the recipe says and give the run directory.

    Raises:
        RecipeError, LaunchError, CorpusError, ...: a user's mistake, in words.
        Interrupted: a signal ended the run; its checkpoint is written.
    """
    check_trackers(recipe)
    check_files(recipe.probes)
    with signals.enforced():
        processes = Processes.start(
            recipe.train.mixed_precision,
            hang_minutes=recipe.train.hang_minutes,
            trackers=recipe.log.trackers,
            folder=recipe.run_dir,
        )
        with processes.together(), ExitStack() as held:
            signals.met()
            processes.on_main(lambda: check_world_size(recipe, processes.world_size))
            processes.on_main(lambda: _take(recipe.run_dir, held))
            run = _assembled(recipe, launch, signals, processes)
            try:
                run.go_on()
                run.hand_over()
            except Interrupted as interruption:
                if launch != Launch():
                    interruption.again = "launch the same command without --fresh and --resume to go on"
                raise
    return recipe.run_dir


def _take(run_dir: Path, held: ExitStack) -> None:
    """Take the run directory for this run alone, and tidy up behind one that was killed."""
    held.enter_context(RunLock(run_dir))
    Checkpoints(run_dir).clear_leftovers()


def _assembled(recipe: Recipe, launch: Launch, signals: Signals, processes: Processes) -> "Run":
    path = processes.broadcast(processes.on_main(lambda: prepared_store(recipe).path))
    # A node that does not share the main one's disk prepares a store of its own.
    store = TokenStore.open(path) if path is not None and path.exists() else prepared_store(recipe)
    processes.wait()
    checkpoint = processes.broadcast(
        processes.on_main(lambda: starting_point(recipe, launch, store, processes.mixed_precision))
    )
    if checkpoint is not None and not checkpoint.exists():
        raise CheckpointError(
            f"{checkpoint} is not on this node, expected the run directory on a disk that all nodes share. Set "
            "output_dir to a folder on one."
        )
    held_out = None
    if store.held_out.num_tokens:
        held_out = HeldOut(
            store,
            recipe.objective.terms,
            max_seq_length=recipe.examples.max_seq_length,
            most_rows=recipe.evaluate.most_rows,
        )
    else:
        logger.info("no document is held out, so nothing will be evaluated")

    loop = make_loop(recipe, processes, store, checkpoint)
    processes.on_main(lambda: check_run(recipe, loop.objective, loop.optimizers))
    differing = loop.progress.lay_out(Layout.here(recipe, processes))
    if launch.fresh:
        processes.on_main(lambda: clear(recipe.run_dir))
        logger.info("started again; to go on with this run, leave --fresh out from now on")
    if processes.is_main:
        _announce(loop, checkpoint, differing)
    is_own = checkpoint is None or checkpoint.parent.resolve() == Checkpoints(recipe.run_dir).folder.resolve()
    return Run(recipe, processes, store, loop, held_out, signals, is_own=is_own)


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
        *,
        is_own: bool,
    ) -> None:
        """
        Args:
            is_own: whether the loop is at the beginning or at a checkpoint of the run directory itself.
        """
        self.recipe, self.processes, self.store = recipe, processes, store
        self.loop, self.held_out, self.signals = loop, held_out, signals
        self.checkpoints, self.saving = Checkpoints(recipe.run_dir), Saving()
        hidden_ratio = recipe.masking.mask_replace_prob + recipe.masking.random_replace_prob
        self.health = Health(loop.objective, store.train, hidden_ratio=hidden_ratio)
        self.probing = Probing(recipe.probes, recipe.run_dir, processes, signals)
        self.trouble = Trouble(recipe.run_dir, loop, spike_score=recipe.log.spike_score)
        self.saved_step: int | None = loop.progress.step if is_own else None
        """The step whose checkpoint stands in the run directory as it should; at step 0 there is nothing to save."""
        self.signals.deferred = True
        self.log: MetricsLog | None = processes.on_main(self._open_log)

    def _open_log(self) -> MetricsLog:
        recipe = self.recipe
        recipe.run_dir.mkdir(parents=True, exist_ok=True)
        (recipe.run_dir / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        progress = self.loop.progress
        self.checkpoints.leave_behind(progress.step)  # before their lines of metrics go
        self.probing.leave_behind(progress.step)
        log = MetricsLog(
            recipe.run_dir, step=progress.step, is_evaluated=bool(progress.evaluation), description=recipe.name
        )
        if recipe.log.trackers:
            log.track(self.processes.accelerator, recipe)
        return log

    def go_on(self) -> None:
        """Train until the budget is spent.

        Raises:
            Interrupted: a signal to any process ended it; the step that was done is saved.
        """
        try:
            self._train()
            self.processes.on_main(self.saving.finish)
        except Exception:
            try:
                self.saving.finish()  # what another process does to this one takes nothing from a checkpoint
            except Exception as error:  # and what ended the run is told before what followed from it
                logger.warning("the checkpoint that was under way is not there (%s)", error)
            raise
        except SystemExit as ending:  # a second Ctrl-C
            if self.saving.is_under_way:  # in a library, which aborts when the interpreter ends around it
                self.processes.tell(int(str(ending.code)))
                end_at_once(int(str(ending.code)))
            raise
        finally:
            if self.log is not None:
                self.log.close()

    def _train(self) -> None:
        loop, progress = self.loop, self.loop.progress
        if progress.step:
            self._evaluate_and_save()  # which a launch that was cut off may have owed
        if loop.share() >= 1.0:
            logger.info("%s is trained already; --fresh starts again", self.recipe.name)
        while loop.share() < 1.0:
            try:
                status = loop.step(self.signals.received)
            except NotFinite as error:
                self._stop(error)
            if status:
                self._end(status)
            self.trouble.look()
            if loop.share() >= 1.0 or _is_due(progress.step, self.recipe.log.every_steps):
                self._write_metrics()
            self._evaluate_and_save()

    def hand_over(self) -> None:
        """Write the finished model, which is the best checkpoint's where the recipe names a metric, and probe it."""
        self.processes.on_main(self._export)
        self.signals.deferred = False
        if status := self.processes.asked(self.signals.received):
            raise Interrupted(status, "training is done and the model is there")
        if self.recipe.probes:
            self._probe()

    def _write_metrics(self) -> None:
        self.processes.on_main(self.saving.check)
        line, share = self.loop.metrics(), min(1.0, self.loop.share())
        if self.log is not None:
            elapsed = self.loop.progress.elapsed_seconds
            self.log.write(self.loop.progress.step, line)
            self.log.show(self.loop.progress.step, share, line, seconds_left=elapsed / share - elapsed)
            self.health.check(self.loop.progress.step, share, line)

    def _evaluate_and_save(self) -> None:
        """What is due after a step and was not done yet; a signal cuts an evaluation off, and the step is saved."""
        recipe, progress = self.recipe, self.loop.progress
        is_last = self.loop.share() >= 1.0
        is_saved = is_last or _is_due(progress.step, recipe.checkpoint.every_steps)
        is_compared = is_saved and recipe.checkpoint.best is not None
        is_evaluated = is_last or is_compared or _is_due(progress.step, recipe.evaluate.every_steps)
        if is_evaluated and not progress.evaluation and self.held_out is not None:
            try:
                self._evaluate(self.held_out)
            except (EvaluationEnded, ProbingEnded) as ended:
                self._end(ended.status)
            self.saved_step = None  # a checkpoint of this step that stands already lacks the evaluation
        if is_saved and self.saved_step != progress.step:
            self._save()

    def _evaluate(self, held_out: HeldOut) -> None:
        progress, objective = self.loop.progress, self.loop.objective
        figures = held_out.measure(
            objective,
            self.processes,
            micro_batch_size=self.recipe.train.most_at_once,
            asked=lambda: self.signals.received,
        )
        tokenizer_path = self.store.tokenizer_path
        probed = self.probing.at_evaluation(
            progress.step, lambda folder: save_objective(objective, tokenizer_path, folder)
        )
        progress.evaluation = {**figures, **probed}
        if self.log is not None:
            self.log.write(progress.step, progress.evaluation)
            shown = "  ".join(f"{k} {'none' if v is None else f'{v:.3f}'}" for k, v in progress.evaluation.items())
            logger.info("step %d  held out: %s", progress.step, shown)

    def _end(self, status: int) -> NoReturn:
        """End as a signal asks for, with the step that is done saved."""
        step = self.loop.progress.step
        if step and self.saved_step != step:
            self._save()
        self.processes.on_main(self.saving.finish)
        raise Interrupted(status, f"step {step} is saved" if step else "no step was done yet")

    def _stop(self, error: NotFinite) -> NoReturn:
        """End before an update that would spoil the weights, with the step before it saved."""
        where, step = self.trouble.write("not finite", {}), self.loop.progress.step
        if step and self.saved_step != step:
            self._save()
        self.processes.on_main(self.saving.finish)
        raise TrainingError(
            f"{error} {where[0].upper()}{where[1:]}. "
            + (f"Step {step} is saved: launch" if step else "Launch")
            + (
                " again with train.on_nonfinite=skip to leave such batches out"
                if self.recipe.train.on_nonfinite == "stop"
                else " with --resume and an earlier checkpoint, since the weights and not the batches seem to be at "
                "fault, raise train.max_skipped_steps"
            )
            + ", or start with --fresh and a lower optimizer.learning_rate or a longer schedule.warmup_steps."
        ) from error

    def _save(self) -> None:
        """Begin to write a checkpoint of the step that is done."""
        self.loop.check_weights()
        self.processes.on_main(self._start_saving)
        self.saved_step = self.loop.progress.step

    def _start_saving(self) -> None:
        assert self.log is not None, "the main process keeps it"
        loop, step, settings = self.loop, self.loop.progress.step, self.recipe.checkpoint
        self.saving.finish()
        self.checkpoints.clear_leftovers()
        check_save(step, self.recipe.run_dir, checkpoint_bytes(loop.objective, loop.optimizers))
        self.log.sync()
        snapshot = Snapshot.of(loop, self.store)

        def write() -> None:
            self.checkpoints.write(step, snapshot.write)
            self.checkpoints.prune(step, keep=settings.keep, keep_every=settings.keep_every, best=settings.best)

        self.saving.start(write)

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
            sync_folder(partial)
            put_in_place(partial, self.recipe.run_dir / name)

    def _probe(self) -> None:
        """Probe the finished model and write the page of the run."""
        from probes.report import write_report  # draws, which only a recipe that probes pays for

        self.signals.deferred = True  # so that a signal ends the probe as well
        try:
            self.probing.at_end()
        except ProbingEnded as ended:
            raise Interrupted(ended.status, "training is done and the model is there") from None
        self.processes.on_main(lambda: logger.info("report: %s", write_report(self.recipe.run_dir)))


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
            "it was computed in another way until here (%s), so from here on the run is not bit for bit the one that "
            "nothing interrupted: without dropout it equals it to rounding, with Muon in bfloat16 to that",
            ", ".join(differing),
        )
