"""Sums of an objective's losses over micro-batches, processes and steps, and the figures that they tell."""

from collections.abc import Mapping

import torch
from torch import Tensor

from objectives.objective import Loss, Objective
from pretrain.distributed.processes import Processes

_PLAIN = 3  # total, count, correct


class Tally:
    """One vector of float64 sums, in which each term has its own stretch: total, count, correct, histogram."""

    def __init__(self, objective: Objective, terms: tuple[str, ...], device: torch.device) -> None:
        self.objective, self.terms = objective, terms
        sizes = [_PLAIN + objective.histogram_sizes.get(term, 0) for term in terms]
        self.sums = torch.zeros(sum(sizes), dtype=torch.float64, device=device)
        self._of_term = dict(zip(terms, torch.split(self.sums, sizes), strict=True))  # views

    def add(self, losses: Mapping[str, Loss]) -> None:
        """Add the losses of a micro-batch, as far as their terms are counted here."""
        for term, sums in self._of_term.items():
            if term in losses:
                loss = losses[term]
                plain = torch.stack([part.detach().double() for part in (loss.total, loss.count, loss.correct)])
                sums += plain if loss.histogram is None else torch.cat([plain, loss.histogram.double()])

    def sum_over(self, processes: Processes) -> None:
        """Add up over the processes."""
        processes.sum_in_place(self.sums)

    def losses(self) -> dict[str, float]:
        """{<term>_nats: mean loss} of each term that had a target."""
        return {f"{term}_nats": total / count for term, (total, count, _) in self._plain().items() if count}

    def figures(self) -> dict[str, float]:
        """{accuracy/<term>: share} of each term that had a target, and what the histograms tell."""
        found = {f"accuracy/{term}": correct / count for term, (_, count, correct) in self._plain().items() if count}
        for term, sums in self._of_term.items():
            if term in self.objective.histogram_sizes:
                found |= self.objective.figures(term, sums[_PLAIN:].cpu())
        return found

    def _plain(self) -> dict[str, tuple[float, float, float]]:
        return {term: tuple(sums[:_PLAIN].tolist()) for term, sums in self._of_term.items()}  # type: ignore[misc]

    def state(self) -> dict[str, Tensor]:
        """The sums of each term, on the host."""
        return {term: sums.detach().cpu().clone() for term, sums in self._of_term.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave."""
        for term, sums in self._of_term.items():
            sums.copy_(state[term])
