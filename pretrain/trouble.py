"""Batches that went wrong, written down with all that it takes to look into them: runs/<name>/trouble/step-N/.

trouble.json has the losses of every micro-batch and the examples in each, examples.jsonl the examples as
`python -m pretrain.inspect --jsonl` prints them. A spike is a loss whose robust z-score, that is its distance from the
median of the last steps in units of their median absolute deviation (times 1.4826, which makes it a standard deviation
where they are normally distributed), passes a limit.
"""

import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from objectives.objective import Loss
from pretrain.batches import Selection
from pretrain.checkpoints.checkpoint import put_in_place
from pretrain.example import Example
from pretrain.loop import Loop, Trained

_RECENT = 64
"""Steps that a loss is compared with."""
_FEWEST = 32
_NORMAL = 1.4826
_LEAST_SPREAD = 0.005
"""Share of the median that the spread is at least taken for, since in a quiet stretch any ripple would be a spike."""
_MOST_SPIKES = 20
"""Spikes of a run that are written down; later ones are logged only."""

logger = logging.getLogger(__name__)


class Trouble:
    """What goes wrong in a loop. Every process has one, and all look at each batch: they judge by the same figures."""

    def __init__(self, run_dir: Path, loop: Loop, *, spike_score: float | None) -> None:
        """
        Args:
            spike_score: robust z-score from which on a loss is a spike; None: none are looked for.
        """
        self._folder, self._loop, self._spike_score = run_dir / "trouble", loop, spike_score

    def look(self) -> None:
        """Write down the batch that was trained on last, if its update was skipped or its loss is a spike."""
        trained = self._loop.trained
        assert trained is not None, "a step was done"
        if not trained.is_finite:
            logger.warning("step %d is skipped: %s; %s", trained.step, trained.told(), self.write("not finite", {}))
            return
        scores = {term: self._score(term, loss) for term, loss in trained.losses.items()}
        spikes = {t: z for t, z in scores.items() if self._spike_score is not None and z > self._spike_score}
        if spikes:
            shown = ", ".join(f"{term} with a robust z-score of {score:.1f}" for term, score in spikes.items())
            where = self.write("spike", spikes)
            logger.warning("step %d  loss spike: %s; %s; %s", trained.step, shown, trained.told(), where)

    def write(self, kind: str, scores: Mapping[str, float]) -> str:
        """Write down the batch that was trained on last; all processes take part.

        Returns:
            Where it is, or why it is not, for a message of the main process.
        """
        trained, loop = self._loop.trained, self._loop
        assert trained is not None, "a step was tried"
        place = self._folder / f"step-{trained.step:08d}"
        parts = loop.processes.gather([_part(*part) for part in trained.parts])
        if kind == "spike" and len(list(self._folder.glob("step-*"))) >= _MOST_SPIKES:
            return f"the batch is not written, {_MOST_SPIKES} are"
        if loop.processes.is_main:
            record = {
                "step": trained.step,
                "kind": kind,
                "losses": {term: _json(loss) for term, loss in trained.losses.items()},
                "robust_z_scores": dict(scores),
                "grad_norm": _json(trained.grad_norm),
                "learning_rate": loop.peaks[-1] * loop.factor,
                "micro_batches": [{"rank": rank, **part} for rank, of in enumerate(parts) for part in of],
            }
            try:
                _write(place, record, _examples(loop, trained))
            except OSError as error:  # whatever the run does about the trouble comes first
                return f"the batch could not be written to {place} ({error})"
        return f"the batch is in {place}"

    def _score(self, term: str, loss: float) -> float:
        """Robust z-score of a loss, which joins those that the next ones are compared with; 0 while they are few."""
        recent = self._loop.progress.recent_losses.setdefault(term, [])
        score = robust_z_score(loss, recent) if len(recent) >= _FEWEST else 0.0
        recent.append(loss)
        del recent[:-_RECENT]
        return score


def robust_z_score(value: float, others: list[float]) -> float:
    """(value - median) / (1.4826 * median absolute deviation), the deviation being at least 0.5 % of the median."""
    median = float(np.median(others))
    spread = _NORMAL * float(np.median(np.abs(np.array(others) - median)))
    return (value - median) / max(spread, _LEAST_SPREAD * abs(median), 1e-12)


def _part(selection: Selection, losses: Mapping[str, Loss]) -> dict[str, Any]:
    """A micro-batch: which examples it had, and its loss."""
    pairs = zip(selection.epochs.tolist(), selection.indices.tolist(), strict=True)
    return {
        "examples": [{"epoch": epoch, "index": index} for epoch, index in pairs],
        "losses": {
            term: {"total_nats": _json(float(loss.total)), "count": int(loss.count)} for term, loss in losses.items()
        },
    }


def _examples(loop: Loop, trained: Trained) -> list[Example]:
    examples = []
    for epoch in np.unique(trained.selection.epochs).tolist():
        indices = trained.selection.indices[trained.selection.epochs == epoch]
        rows, masked = loop.examples.rows(epoch, indices, share=trained.share)
        examples += [
            Example.of_row(rows, masked, row, epoch=epoch, index=index) for row, index in enumerate(indices.tolist())
        ]
    return examples


def _write(place: Path, record: Mapping[str, Any], examples: list[Example]) -> None:
    partial = place.with_name(f".writing-{place.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "trouble.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    lines = [json.dumps(example.record()) + "\n" for example in examples]
    (partial / "examples.jsonl").write_text("".join(lines), encoding="utf-8")
    put_in_place(partial, place)


def _json(value: float) -> float | str:
    """A number as JSON takes it: nan and inf as text."""
    return value if math.isfinite(value) else str(value)
