"""Held-out losses on frozen examples and masks: the same at every evaluation and in every run over a token store.

Whatever a recipe trains with, masked language modelling is scored on every held-out document, each token once, in
packed rows with BERT's own masking (15 %, 80/10/10), so that numbers of different recipes can be compared
where vocabulary and max_seq_length are the same.
"""

from collections.abc import Mapping

import torch

from objectives.cutting.packed import Packed
from objectives.cutting.sentence_order import SentenceOrder
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.masking import TokenMasking
from objectives.objective import Objective
from objectives.rows import Cutting, ExamplesError
from pretrain.batches import Examples, in_order
from pretrain.processes import Processes
from tokenization.store import TokenStore

_SEED = 0  # frozen: never the recipe's
_EPOCH = 0


class HeldOut:
    """The held-out part of a store, cut and masked once and for all for each term of an objective.

    Raises:
        ExamplesError: the held-out documents are too few for a term.
    """

    def __init__(self, store: TokenStore, terms: tuple[str, ...], *, max_seq_length: int) -> None:
        cuttings: Mapping[str, Cutting] = {
            "mlm": Packed(max_seq_length=max_seq_length),
            "nsp": SentencePairs(max_seq_length=max_seq_length),
            "sop": SentenceOrder(max_seq_length=max_seq_length),
        }
        self._examples = {
            term: Examples(store.held_out, store.vocabulary, cutting=cuttings[term], masking=TokenMasking(), seed=_SEED)
            for term in terms
        }
        for examples in self._examples.values():
            try:
                examples.plan(_EPOCH)
            except ExamplesError as error:
                raise ExamplesError(
                    f"the held-out documents cannot be evaluated: {error} See corpus.held_out."
                ) from error

    def measure(self, objective: Objective, processes: Processes, *, micro_batch_size: int) -> dict[str, float]:
        """Score an objective: {eval/<term>_nats, eval/accuracy/<term>}, each from sums over all processes."""
        was_training = objective.training
        objective.eval()
        metrics: dict[str, float] = {}
        for term, examples in self._examples.items():
            sums = torch.zeros(3, dtype=torch.float64, device=processes.device)
            with torch.inference_mode(), processes.accelerator.autocast():
                for batch in in_order(
                    examples,
                    epoch=_EPOCH,
                    rank=processes.rank,
                    world_size=processes.world_size,
                    micro_batch_size=micro_batch_size,
                ):
                    loss = objective({name: value.to(processes.device) for name, value in batch.items()})[term]
                    sums += torch.stack([part.double() for part in loss])
            processes.sum_in_place(sums)
            total, count, correct = sums.tolist()
            if count:  # text that the vocabulary cannot spell has no target
                metrics |= {f"eval/{term}_nats": total / count, f"eval/accuracy/{term}": correct / count}
        objective.train(was_training)
        return metrics
