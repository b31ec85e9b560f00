"""Warnings while a run goes wrong: each once, and again only if the trouble went away and comes back."""

import logging
from functools import cached_property

from objectives.objective import Objective
from pretrain.metrics import Metrics
from tokenization.store import TokenSplit

_SETTLED = 0.2
"""Share of a run before which nothing is wrong yet: every model knows little at first."""

logger = logging.getLogger(__name__)


class Health:
    """What an objective has to complain of in the metrics of a run, told on the main process."""

    def __init__(self, objective: Objective, split: TokenSplit) -> None:
        self._objective, self._split = objective, split
        self._told: set[str] = set()

    def check(self, step: int, share: float, metrics: Metrics) -> None:
        """Warn of what is newly wrong.

        Args:
            share: of the run that is spent.
            metrics: the line of training at this step.
        """
        if share < _SETTLED:
            return
        complaints = self._objective.complaints(metrics, unigram_nats=self._unigram_nats)
        for name, reason in complaints.items():
            if name not in self._told:
                logger.warning("step %d  %s: %s.", step, name, reason)
        self._told = set(complaints)

    @cached_property
    def _unigram_nats(self) -> float:
        return self._split.unigram_nats()
