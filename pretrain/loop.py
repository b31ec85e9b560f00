"""The training loop: one optimizer step after another until the budget is spent, read from top to bottom.

Differs from transformers' Trainer: the counts of all micro-batches and ranks are added up before a step and each term
of the loss is divided once by its global count, so the gradient does not depend on how the batch was cut up.
"""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from objectives.draws import Key
from objectives.mlm import num_targets
from objectives.objective import Batch, Loss, Objective
from pretrain.batches import Examples, Selection, num_tokens, trimmed
from pretrain.checkpoints.progress import Progress
from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import flags_of, status_of
from pretrain.metrics import Metrics
from pretrain.optimizer import peak_rates, set_learning_rates
from pretrain.recipe import Recipe
from pretrain.tally import Tally

_LEAST_SCALE = 1.0
"""Scale of fp16's loss at which a gradient that overflows is no matter of scaling any more."""

logger = logging.getLogger(__name__)


class TrainingError(ValueError):
    """A run that cannot go on."""


class NotFinite(TrainingError):
    """A batch whose loss or gradient is no finite number, at which the recipe says to stop."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What all processes know before a step."""

    counts: dict[str, int]
    """Targets of each term in the whole batch."""
    tokens: int
    targets: int
    """Masked tokens of the whole batch, each as often as it was drawn."""
    elapsed_seconds: float
    """The main process's clock, so that a budget of hours ends everywhere at the same step."""
    status: int
    """Exit status that a signal to any process asks for; 0: go on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a loop knows of the batch that it was given last."""

    step: int
    """The update that it was for."""
    selection: Selection
    """Its examples, over all processes."""
    share: float
    """Share of the run that was spent before it, which masks may follow."""
    parts: list[tuple[Selection, dict[str, Loss]]]
    """This process's micro-batches."""
    losses: dict[str, float]
    """Mean of each term that had a target, in nats, over all processes."""
    grad_norm: float
    """Norm of the whole gradient before clipping."""
    is_finite: bool
    """Whether nothing is wrong with the batch; all processes agree."""

    def told(self) -> str:
        """Losses and gradient norm in words."""
        losses = ", ".join(f"{term} loss {loss:.4g}" for term, loss in self.losses.items())
        return f"{losses}, gradient norm {self.grad_norm:.4g}"


class Loop:
    """A run's moving parts. `step` does one update."""

    def __init__(
        self,
        recipe: Recipe,
        processes: Processes,
        objective: Objective,
        examples: Examples,
        optimizers: Sequence[Optimizer],
        progress: Progress,
    ) -> None:
        self.recipe, self.processes, self.examples = recipe, processes, examples
        self.objective, self.optimizers, self.progress = objective, optimizers, progress
        self.module: nn.Module = processes.accelerator.prepare_model(objective)
        self.peaks = peak_rates(optimizers)
        self.terms = recipe.objective.terms
        self.grad_norm: Tensor | float = math.nan
        self.factor = 0.0
        self.tally = Tally(objective, self.terms, processes.device)
        """Sums since the last line of metrics."""
        self.trained: Trained | None = None
        self._began = time.monotonic() - progress.elapsed_seconds

    # ------------------------------------------------------------------------------------------------ one update

    def step(self, status: int) -> int:
        """Train on the next batch. Gives the exit status that some process was asked for, and then does nothing.

        Args:
            status: exit status that this process was asked for by a signal, 0 if none.

        Raises:
            NotFinite: on all processes; neither the weights nor the position in the data have changed.
        """
        train, progress = self.recipe.train, self.progress
        selection, behind = self.examples.select(progress.position, train.batch_size)
        own = selection.share(self.processes.rank, self.processes.world_size)
        parts, spent = own.cut(train.most_at_once), min(1.0, self.share())
        batches = [trimmed(self.examples.batch(part, share=spent)) for part in parts]
        agreed = self._agree(batches, status)
        if agreed.status:
            return agreed.status

        progress.elapsed_seconds = agreed.elapsed_seconds
        self.factor = self.recipe.schedule.factor(progress.step, min(1.0, self.share()))
        set_learning_rates(self.optimizers, self.peaks, self.factor)
        step, losses = Tally(self.objective, self.terms, self.processes.device), []
        for number, batch in enumerate(batches):
            losses.append(self._accumulate(batch, agreed.counts, number, is_last=number == len(batches) - 1))
            step.add(losses[-1])
        step.sum_over(self.processes)
        self._clip()
        self.trained = self._trained(selection, spent, list(zip(parts, losses, strict=True)), step)
        if self.trained.is_finite:
            self.tally.sums += step.sums
            self._update()
        else:
            self._skip(self.trained)

        progress.step += 1
        progress.evaluation = {}
        progress.epoch, progress.example = behind.epoch, behind.example
        progress.tokens += agreed.tokens
        if progress.targets is not None:
            progress.targets += agreed.targets
        return 0

    def _agree(self, batches: list[Batch], status: int) -> Agreed:
        counts = [self.objective.count(batch) for batch in batches]
        sums = [float(sum(count[term] for count in counts)) for term in self.terms]
        tokens = float(sum(num_tokens(batch) for batch in batches))
        targets = float(sum(num_targets(batch) for batch in batches))
        clock = time.monotonic() - self._began if self.processes.is_main else 0.0
        *counted, tokens, targets, clock, terminated, interrupted = self.processes.sum(
            [*sums, tokens, targets, clock, *flags_of(status)]
        )
        return Agreed(
            counts={term: int(count) for term, count in zip(self.terms, counted, strict=True)},
            tokens=int(tokens),
            targets=int(targets),
            elapsed_seconds=clock,
            status=status_of([terminated, interrupted]),
        )

    def _accumulate(self, batch: Batch, counts: dict[str, int], number: int, *, is_last: bool) -> dict[str, Loss]:
        """Add a micro-batch's share of the gradient; gives its losses, detached."""
        accelerator, world_size = self.processes.accelerator, self.processes.world_size
        on_device = {name: value.to(self.processes.device, non_blocking=True) for name, value in batch.items()}
        self._seed_dropout(number)
        # Gradients are averaged over the ranks with the last micro-batch, hence the factor of the world size.
        with nullcontext() if is_last else accelerator.no_sync(self.module):
            losses: dict[str, Loss] = self.module(on_device)
            loss = sum(
                self.objective.weights[term] * world_size / max(1, counts[term]) * losses[term].total
                for term in self.terms
            )
            accelerator.backward(loss)
        return {term: loss.detach() for term, loss in losses.items()}

    def _seed_dropout(self, number: int) -> None:
        """Dropout is a function of (seed, step, micro-batch, rank), so a resumed run draws what the run would have."""
        purpose = f"dropout/{self.progress.step}/{number}/{self.processes.rank}"
        torch.manual_seed(int(Key(self.recipe.seed, 0, purpose).word() >> 1))

    def _clip(self) -> None:
        """Clip by the norm of the whole gradient."""
        scaler = self.processes.accelerator.scaler
        if scaler is not None:
            for optimizer in self.optimizers:
                scaler.unscale_(optimizer)
        limit = self.recipe.train.max_grad_norm
        self.grad_norm = nn.utils.clip_grad_norm_(self.objective.parameters(), math.inf if limit is None else limit)

    def _trained(
        self, selection: Selection, share: float, parts: list[tuple[Selection, dict[str, Loss]]], step: Tally
    ) -> Trained:
        losses, grad_norm = step.losses(), float(self.grad_norm)
        scaler = self.processes.accelerator.scaler
        # In fp16 the gradient overflows now and then by design, and is scaled down until it does not.
        overflows = scaler is not None and scaler.get_scale() > _LEAST_SCALE
        judged = losses.values() if overflows else [*losses.values(), grad_norm]
        return Trained(
            step=self.progress.step + 1,
            selection=selection,
            share=share,
            parts=parts,
            losses={name.removesuffix("_nats"): loss for name, loss in losses.items()},
            grad_norm=grad_norm,
            is_finite=all(map(math.isfinite, judged)),
        )

    def _update(self) -> None:
        """Step and clear the gradients; where an fp16 gradient overflows, no optimizer steps and the scale falls."""
        scaler = self.processes.accelerator.scaler
        for optimizer in self.optimizers:
            if scaler is None:
                optimizer.step()
            elif math.isfinite(self.grad_norm):  # the scaler itself judges each optimizer by its own gradients
                scaler.step(optimizer)
        self._clear()
        if scaler is not None:
            scaler.update()

    def _clear(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def _skip(self, trained: Trained) -> None:
        """Leave the weights as they are, or stop where the recipe says so."""
        self._clear()
        train, progress = self.recipe.train, self.progress
        if train.on_nonfinite == "stop" or progress.skipped_steps >= train.max_skipped_steps:
            limit = f"; train.max_skipped_steps = {train.max_skipped_steps} are used up"
            raise NotFinite(
                f"step {trained.step} would train on {trained.told()}, expected finite numbers; the weights are as "
                f"they were{limit if train.on_nonfinite == 'skip' else ''}."
            )
        progress.skipped_steps += 1
        if self.processes.accelerator.scaler is not None:
            self.processes.accelerator.scaler.update()

    # ------------------------------------------------------------------------------------------------ where it stands

    def share(self) -> float:
        """Share of the run's budget that is spent; 1 or more: done."""
        train, progress = self.recipe.train, self.progress
        if train.steps is not None:
            return progress.step / train.steps
        if train.tokens is not None:
            return progress.tokens / train.tokens
        if train.hours is not None:
            return progress.elapsed_seconds / (3600 * train.hours)
        assert train.epochs is not None, "the recipe's check gives exactly one budget"
        return (progress.epoch + progress.example / len(self.examples.plan(progress.epoch))) / train.epochs

    def metrics(self) -> Metrics:
        """A line of metrics over the steps since the last one, which it closes."""
        progress = self.progress
        seconds = progress.elapsed_seconds - progress.logged_seconds
        line: dict[str, float | int | None] = {
            "tokens": progress.tokens,
            **({} if progress.targets is None else {"targets": progress.targets}),
            "elapsed_seconds": round(progress.elapsed_seconds, 3),
            "tokens_per_second": round((progress.tokens - progress.logged_tokens) / max(seconds, 1e-9), 1),
            "learning_rate": self.peaks[-1] * self.factor,
            "grad_norm": float(self.grad_norm) if math.isfinite(self.grad_norm) else None,  # of a skipped step
        }
        if progress.skipped_steps:
            line["skipped_steps"] = progress.skipped_steps
        line |= {f"loss/{name}": value for name, value in self.tally.losses().items()} | self.tally.figures()
        self.tally.sums.zero_()
        progress.logged_tokens, progress.logged_seconds = progress.tokens, progress.elapsed_seconds
        return line

    def check_weights(self) -> None:
        """Refuse to save what no run can go on from.

        Raises:
            TrainingError: a weight is not a finite number.
        """
        for name, parameter in self.objective.named_parameters():
            if not bool(parameter.isfinite().all()):
                raise TrainingError(
                    f"{name} holds weights that are no numbers at step {self.progress.step}, expected finite ones; "
                    "they are not saved. Lower optimizer.learning_rate or lengthen schedule.warmup_steps, and go on "
                    "from the last checkpoint."
                )
