"""Trackers: services of other people that are told of a run. What they do neither stops nor delays it."""

import logging
import queue
import threading

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from pretrain.recipe import Recipe

_WAITING = 1000
"""Lines that wait for slow trackers at most; then lines are left out for them."""
_FINISH_SECONDS = 15.0

logger = logging.getLogger(__name__)


class Trackers:
    """A recipe's trackers, told by a thread of their own; one that fails is reported and told no more."""

    def __init__(self, accelerator: Accelerator, recipe: Recipe) -> None:
        self._trackers: list[GeneralTracker] = []
        self._lines: queue.Queue[tuple[int, dict[str, float | int | None]] | None] = queue.Queue(_WAITING)
        self._has_left_out = False
        self._thread = threading.Thread(target=self._tell, daemon=True, name="trackers")
        try:
            accelerator.init_trackers(
                "clozekit", config={"recipe": recipe.to_yaml()}, init_kwargs={"wandb": {"name": recipe.name}}
            )
            self._trackers = list(accelerator.trackers)
        except Exception as error:  # whatever it is, training goes on
            logger.warning("trackers could not be started (%s); training goes on without them", error)
        self._thread.start()

    def log(self, step: int, metrics: dict[str, float | int | None]) -> None:
        """Have them told a line of metrics."""
        try:
            self._lines.put_nowait((step, metrics))
        except queue.Full:
            if not self._has_left_out:
                logger.warning("trackers are %d lines behind; lines are left out for them", _WAITING)
            self._has_left_out = True

    def finish(self) -> None:
        """Let them come to an end, within a few seconds."""
        try:
            self._lines.put_nowait(None)
            self._thread.join(_FINISH_SECONDS)
        except queue.Full:
            pass
        if self._thread.is_alive():
            logger.warning("trackers have not finished within %g seconds and are left alone", _FINISH_SECONDS)

    def _tell(self) -> None:
        while (line := self._lines.get()) is not None:
            step, metrics = line
            for tracker in [*self._trackers]:
                try:
                    tracker.log(metrics, step=step)
                except Exception as error:  # as above
                    logger.warning("tracker %s failed (%s); training goes on without it", tracker.name, error)
                    self._trackers.remove(tracker)
        for tracker in self._trackers:  # Accelerator.end_training would take the process group down as well
            try:
                tracker.finish()
            except Exception as error:  # as above
                logger.warning("tracker %s could not be finished (%s)", tracker.name, error)
