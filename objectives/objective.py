"""The contract between an objective and the loop.

An objective is asked for sums and counts, never for means: the loop adds the counts of all micro-batches and ranks
first and divides once, so that the gradient does not depend on how a batch was cut up. A Batch is a dict of tensors
with transformers' own keys: input_ids, attention_mask, token_type_ids, position_ids (rows of several pieces), labels
(-100 where not a target), next_sentence_label, sentence_order_label; some masking policies add label_weights and
mlm_probability (objectives.masking.Masked), objectives that draw tokens replacement_noise, and evaluations by class of
word label_classes, (B, L, C) bool; transformers knows none of them.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from pydantic import BaseModel
from torch import Tensor, nn

from encoders.encoder import Encoder, Heads

Batch = dict[str, Tensor]


class Loss(NamedTuple):
    """A term of the loss over a batch, before any division."""

    total: Tensor
    """Sum of the cross-entropies, float32 scalar, in nats."""
    count: Tensor  # type: ignore[assignment]  # a loss is not asked how often a value stands in it
    """Number of targets, or what else the sum is to be divided by, int64 scalar."""
    correct: Tensor
    """Number of targets predicted right, int64 scalar; where targets are weighted, their weights, float32."""
    histogram: Tensor | None = None
    """(N,) int64 counts of whatever else the term wants to know, which add up as well; None: nothing."""
    by_class: Tensor | None = None
    """(C, 3) float64: total, count and correct of the masked tokens of each class alone, where the batch has
    label_classes; None: it has none."""

    def detach(self) -> "Loss":
        """The same without what the gradient was computed from."""
        return self._replace(total=self.total.detach())


class ObjectiveSettings(BaseModel, frozen=True, extra="forbid", strict=True):
    """The settings of a recipe's `objective` section and the objective that they make."""

    heads: ClassVar[Mapping[str, Heads]] = {"model": "tokens"}
    """The networks that it trains, by the folder that each is saved in, and what each is asked; `model` comes first."""
    terms: ClassVar[tuple[str, ...]]
    """The terms of its loss."""
    figures: ClassVar[tuple[str, ...]] = ()
    """What its metrics tell beside the loss and the accuracy of each term, the highest being the best."""
    draws_tokens: ClassVar[bool] = False
    """Whether its batches need replacement_noise."""

    name: str

    @property
    def folders(self) -> dict[str, str]:
        """Model folders that its other networks start from, by the network's name."""
        return {}

    def build(self, encoder: Encoder) -> "Objective":
        """The objective around an encoder; what else it needs is made here, with fresh weights where none are named."""
        raise AssertionError("a subclass makes its objective")

    def restore(self, networks: Mapping[str, Encoder]) -> "Objective":
        """The objective around networks that were saved, by the name of their folder."""
        return self.build(networks["model"])


class Objective(nn.Module):
    """What the encoder is asked. `forward(batch)` gives {term: Loss}; `count(batch)` the counts alone, beforehand."""

    weights: Mapping[str, float]
    """Weight of each term in the loss that is minimised: sum over terms of weight * total / count."""
    encoder: Encoder
    """The network that the run is for."""
    histogram_sizes: Mapping[str, int]
    """N of the histograms of the terms that have one."""

    def __init__(self, encoder: Encoder, weights: Mapping[str, float], histogram_sizes: Mapping[str, int] = {}) -> None:
        super().__init__()
        self.encoder, self.weights, self.histogram_sizes = encoder, dict(weights), dict(histogram_sizes)

    def forward(self, batch: Batch) -> dict[str, Loss]:
        raise AssertionError("a subclass says what is asked")

    def count(self, batch: Batch) -> dict[str, int]:
        """Number of targets of each term: what forward's counts will be, known from the batch alone."""
        raise AssertionError("a subclass says what is counted")

    def figures(self, term: str, histogram: Tensor) -> dict[str, float]:
        """What a term's histogram, summed over batches and processes, tells: figures by their names in the metrics."""
        raise AssertionError("a subclass with histograms reads them")

    def complaints(self, figures: Mapping[str, float | int | None], *, unigram_nats: float) -> dict[str, str]:
        """What is wrong with a run, by a short name, each with its likely reason; nothing while all is well.

        Args:
            figures: a line of metrics of training, well after the warm-up.
            unigram_nats: the loss at the targets of a model that only knows how often words occur, and copies those
                targets that are not hidden.
        """
        return {}

    @property
    def networks(self) -> dict[str, Encoder]:
        """All networks, by the folder that each is saved in."""
        return {"model": self.encoder}

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weight matrices of the layers' linear maps of all networks."""
        return [matrix for network in self.networks.values() for matrix in network.hidden_matrices()]

    def own_state(self) -> dict[str, Tensor]:
        """What resuming needs of the weights and the networks' folders do not hold."""
        return {}

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `own_state` gave."""
        assert not state, "a subclass that gives a state takes it"
