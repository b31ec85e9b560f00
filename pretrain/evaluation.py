"""Held-out losses on frozen examples and masks: the same at every evaluation and in every run over a token store.

Whatever a recipe trains with, masked language modelling is scored on every held-out document, each token once, in
packed rows with BERT's own masking (15 %, 80/10/10), so that numbers of different recipes can be compared
where vocabulary and max_seq_length are the same. A generator is scored on the same rows with [MASK] at every target,
and its draws are frozen as well; what discriminators make of them can be compared only where the generators are alike.
"""

from collections.abc import Callable
from math import isfinite

import numpy as np
import torch

from objectives.cutting.packed import Packed
from objectives.cutting.sentence_order import SentenceOrder
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.masking import TokenMasking
from objectives.objective import Objective
from objectives.rows import ExamplesError, Ints
from pretrain.batches import Examples, in_order
from pretrain.distributed.processes import Processes
from pretrain.tally import Tally
from tokenization.store import TokenStore

_SEED = 0  # frozen: never the recipe's
_EPOCH = 0
_ALWAYS_MASKED = TokenMasking(mask_replace_prob=1.0, random_replace_prob=0.0)
_SCORED: dict[tuple[str, ...], tuple[type[Packed | SentencePairs | SentenceOrder], TokenMasking]] = {
    ("mlm",): (Packed, TokenMasking()),
    ("generator", "discriminator"): (Packed, _ALWAYS_MASKED),
    ("nsp",): (SentencePairs, TokenMasking()),
    ("sop",): (SentenceOrder, TokenMasking()),
}
"""The rows and masks on which terms are scored. ELECTRA masks without random words, so its generator learns to copy
what is not [MASK], and would be taken in by the random words of BERT's masks."""


class EvaluationEnded(Exception):
    """An evaluation that did not come to its end, since a signal to some process asked for an exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status


class HeldOut:
    """The held-out part of a store, cut and masked once and for all for each term of an objective.

    Raises:
        ExamplesError: the held-out documents are too few for a term.
    """

    def __init__(
        self, store: TokenStore, terms: tuple[str, ...], *, max_seq_length: int, most_rows: int | None = None
    ) -> None:
        """
        Args:
            most_rows: rows of each kind that are scored, spread evenly over the documents; None: all.
        """
        self._examples = {
            scored: Examples(
                store.held_out,
                store.vocabulary,
                cutting=cutting(max_seq_length=max_seq_length),
                masking=masking,
                seed=_SEED,
                with_noise="discriminator" in scored,
            )
            for scored, (cutting, masking) in _SCORED.items()
            if scored[0] in terms
        }
        for examples in self._examples.values():
            try:
                examples.plan(_EPOCH)
            except ExamplesError as error:
                raise ExamplesError(
                    f"the held-out documents cannot be evaluated: {error} See corpus.held_out."
                ) from error
        self._most_rows = most_rows

    def measure(
        self,
        objective: Objective,
        processes: Processes,
        *,
        micro_batch_size: int,
        asked: Callable[[], int] = lambda: 0,
    ) -> dict[str, float | None]:
        """Score an objective.

        Args:
            asked: gives the exit status that a signal to this process asks for, 0 if none.

        Returns:
            eval/<term>_nats, eval/accuracy/<term> and what else a term tells, each from sums over all processes; None
            for what is no finite number.

        Raises:
            EvaluationEnded: on all processes, since one was asked to end.
        """
        was_training = objective.training
        objective.eval()
        losses: dict[str, float] = {}
        figures: dict[str, float] = {}
        try:
            for terms, examples in self._examples.items():
                tally = Tally(objective, terms, processes.device)
                # Shares differ by one example, so all processes have at least as many micro-batches as the smallest.
                rows = _spread(len(examples.plan(_EPOCH)), self._most_rows)
                common = -(-(len(rows) // processes.world_size) // micro_batch_size)
                batches = in_order(
                    examples,
                    epoch=_EPOCH,
                    rank=processes.rank,
                    world_size=processes.world_size,
                    micro_batch_size=micro_batch_size,
                    indices=rows,
                )
                with torch.inference_mode(), processes.accelerator.autocast():
                    for number, batch in enumerate(batches):
                        if number < common and (status := processes.asked(asked())):
                            raise EvaluationEnded(status)
                        tally.add(objective({name: value.to(processes.device) for name, value in batch.items()}))
                tally.sum_over(processes)
                losses |= tally.losses()  # none where the vocabulary cannot spell the text
                figures |= tally.figures()
        finally:
            objective.train(was_training)
        return {f"eval/{name}": value if isfinite(value) else None for name, value in (losses | figures).items()}


def _spread(num_rows: int, most: int | None) -> Ints:
    """Ascending numbers of the rows that are scored: all, or the middles of `most` equal stretches of them.

    Rows stand in the order of their documents, so that each document is scored in proportion to its length.
    """
    if most is None or most >= num_rows:
        return np.arange(num_rows)
    return (2 * np.arange(most) + 1) * num_rows // (2 * most)
