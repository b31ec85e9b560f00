"""Warnings while a run goes wrong, each trouble told once."""

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

    def __init__(self, objective: Objective, split: TokenSplit, *, hidden_ratio: float) -> None:
        """
        Args:
            split: the training documents.
            hidden_ratio: share of the targets that masking hides or replaces; the others keep their token, which any
                model soon learns to copy.
        """
        self._objective, self._split, self._hidden_ratio = objective, split, hidden_ratio
        self._is_settled = False
        self._told: set[str] = set()

    def check(self, step: int, share: float, metrics: Metrics) -> None:
        """Warn of what is newly wrong.

        Args:
            share: of the run that is spent.
            metrics: the line of training at this step.
        """
        is_settled, self._is_settled = self._is_settled, share >= _SETTLED
        if not is_settled:  # the line is a mean that reaches back before
            return
        for name, reason in self._objective.complaints(metrics, unigram_nats=self._unigram_nats).items():
            if name not in self._told:
                logger.warning("step %d  %s: %s.", step, name, reason)
                self._told.add(name)

    @cached_property
    def _unigram_nats(self) -> float:
        return self._hidden_ratio * self._split.unigram_nats()
