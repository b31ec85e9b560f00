"""Held-out losses on frozen examples and masks: the same at every evaluation and in every run over a token store.

Whatever a recipe trains with, masked language modelling is scored on every held-out document, each token once, in
packed rows with BERT's own masking (15 %, 80/10/10), so that numbers of different recipes can be compared
where vocabulary and max_seq_length are the same. A generator is scored on the same rows with [MASK] at every target,
and its draws are frozen as well; what discriminators make of them can be compared only where the generators are alike.

On demand masked tokens, a generator's as well, are scored with other masks on the same rows too, and by the classes of
their words under the standard ones. What is asked of pairs and of discriminators is scored once.
"""

# C classes of words

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite, nan

import numpy as np
import torch
from torch import Tensor

from objectives.cutting.packed import Packed
from objectives.cutting.sentence_order import SentenceOrder
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.masking import Masking, TokenMasking
from objectives.mlm import Mlm
from objectives.objective import Batch, Loss, Objective
from objectives.rows import ExamplesError, Ints
from pretrain.batches import Examples, in_order
from pretrain.distributed.processes import Processes
from pretrain.tally import Tally
from pretrain.word_classes import CLASSES, ClassedExamples, Codes
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


@dataclass(frozen=True, slots=True)
class _Frozen:
    """Examples and masks on which terms are scored."""

    terms: tuple[str, ...]
    examples: Examples
    masks: str | None
    """Name of other masks than the standard ones; None: these."""

    def asked_of(self, objective: Objective) -> Callable[[Batch], Mapping[str, Loss]]:
        """What gives the terms of a batch: under other masks the network that guesses masked tokens alone."""
        if self.masks is None:
            return objective
        (term,) = self.terms
        masked = Mlm(objective.networks.get(term, objective.encoder))
        return lambda batch: {term: masked(batch)["mlm"]}

    def named(self, figures: Mapping[str, float]) -> dict[str, float]:
        return {f"eval/{self.masks}/{name}" if self.masks else f"eval/{name}": figures[name] for name in figures}


class HeldOut:
    """The held-out part of a store, cut and masked once and for all for each term of an objective.

    Raises:
        ExamplesError: the held-out documents are too few for a term.
    """

    def __init__(
        self,
        store: TokenStore,
        terms: tuple[str, ...],
        *,
        max_seq_length: int,
        most_rows: int | None = None,
        masks: Mapping[str, float | Masking] = {},
        word_codes: Codes | None = None,
    ) -> None:
        """
        Args:
            most_rows: rows of each kind that are scored, spread evenly over the documents; None: all.
            masks: further masks for masked tokens, by the name of their figures: a rate, at which all else is as in the
                standard ones, or a policy, whose rate must be a number.
            word_codes: of the held-out split, from `word_classes`: masked tokens are scored by class as well.
        """
        self._store, self._length, self._most_rows = store, max_seq_length, most_rows
        self._frozen: list[_Frozen] = []
        for scored, (cutting, standard) in _SCORED.items():
            if scored[0] not in terms:
                continue
            is_masked = cutting is Packed
            examples = self._examples(cutting, standard, "discriminator" in scored, word_codes if is_masked else None)
            self._frozen.append(_Frozen(scored, examples, None))
            for name, masking in masks.items() if is_masked else ():
                if isinstance(masking, float):
                    masking = standard.model_copy(update={"mlm_probability": masking})
                self._frozen.append(_Frozen(scored[:1], self._examples(cutting, masking), name))

    def _examples(
        self,
        cutting: type[Packed | SentencePairs | SentenceOrder],
        masking: Masking,
        with_noise: bool = False,
        word_codes: Codes | None = None,
    ) -> Examples:
        make: Callable[..., Examples] = Examples if word_codes is None else partial(ClassedExamples, codes=word_codes)
        examples = make(
            self._store.held_out,
            self._store.vocabulary,
            cutting=cutting(max_seq_length=self._length),
            masking=masking,
            seed=_SEED,
            with_noise=with_noise,
        )
        try:
            examples.plan(_EPOCH)
        except ExamplesError as error:
            raise ExamplesError(f"the held-out documents cannot be evaluated: {error} See corpus.held_out.") from error
        return examples

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
            for what is no finite number. Of the term of masked tokens also eval/<masks>/<term>_nats and
            eval/<masks>/accuracy/<term> of further masks, and eval/<class>/<term>_nats, eval/<class>/accuracy/<term>
            and eval/<class>/targets, the number of targets, None and 0 for a class without any.

        Raises:
            EvaluationEnded: on all processes, since one was asked to end.
        """
        was_training = objective.training
        objective.eval()
        losses: dict[str, float] = {}
        figures: dict[str, float] = {}
        try:
            for frozen in self._frozen:
                tally, by_class_C3 = self._sums(frozen, objective, processes, micro_batch_size, asked)
                losses |= frozen.named(tally.losses())  # none where the vocabulary cannot spell the text
                figures |= frozen.named(tally.figures())
                if isinstance(frozen.examples, ClassedExamples):
                    figures |= _of_classes(by_class_C3, frozen.terms[0])
        finally:
            objective.train(was_training)
        return {name: value if isfinite(value) else None for name, value in (losses | figures).items()}

    def _sums(
        self,
        frozen: _Frozen,
        objective: Objective,
        processes: Processes,
        micro_batch_size: int,
        asked: Callable[[], int],
    ) -> tuple[Tally, Tensor]:
        """The sums over all rows and processes: of the terms, and (C, 3) of each class, 0 where none are asked for."""
        tally = Tally(objective, frozen.terms, processes.device)
        by_class_C3 = torch.zeros(len(CLASSES), 3, dtype=torch.float64, device=processes.device)
        ask = frozen.asked_of(objective)
        rows = _spread(len(frozen.examples.plan(_EPOCH)), self._most_rows)
        # Shares differ by one example, so all processes have at least as many micro-batches as the smallest.
        common = -(-(len(rows) // processes.world_size) // micro_batch_size)
        batches = in_order(
            frozen.examples,
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
                found = ask({name: value.to(processes.device) for name, value in batch.items()})
                tally.add(found)
                if (by_class := found[frozen.terms[0]].by_class) is not None:
                    by_class_C3 += by_class
        tally.sum_over(processes)
        if isinstance(frozen.examples, ClassedExamples):
            processes.sum_in_place(by_class_C3)
        return tally, by_class_C3


def _of_classes(by_class_C3: Tensor, term: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, (total, count, correct) in zip(CLASSES, by_class_C3.tolist(), strict=True):
        figures[f"eval/{name}/{term}_nats"] = total / count if count else nan
        figures[f"eval/{name}/accuracy/{term}"] = correct / count if count else nan
        figures[f"eval/{name}/targets"] = count
    return figures


def _spread(num_rows: int, most: int | None) -> Ints:
    """Ascending numbers of the rows that are scored: all, or the middles of `most` equal stretches of them.

    Rows stand in the order of their documents, so that each document is scored in proportion to its length.
    """
    if most is None or most >= num_rows:
        return np.arange(num_rows)
    return (2 * np.arange(most) + 1) * num_rows // (2 * most)
