"""A word table that is another's plus a residual: gradient-disentangled embedding sharing.

Source: DeBERTaV3 (He et al. 2021, https://arxiv.org/abs/2111.09543, section 3.2).
"""

# E embedding size, V vocabulary

from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel


class DisentangledEmbedding(nn.Module):
    """A word table that is another's, with no gradient to it, plus a residual of its own.

    Copies and moves of a module that holds the other as well keep the two together; those of this one alone do not.
    """

    def __init__(self, table: nn.Embedding, residual: Tensor) -> None:
        """
        Args:
            table: (V, E), which stays the other's.
            residual: (V, E) that is learnt here.
        """
        super().__init__()
        self._table = (table,)  # in a tuple, so that it is no part of this module
        self.residual = nn.Parameter(residual)

    @property
    def weight(self) -> Tensor:
        """(V, E) the folded table, which a plain embedding would hold."""
        return self._table[0].weight.detach() + self.residual.detach()

    def forward(self, input_ids: Tensor) -> Tensor:
        (table,) = self._table
        theirs = functional.embedding(input_ids, table.weight.detach())
        return theirs + functional.embedding(input_ids, self.residual, table.padding_idx)


def folded_state(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """The model's state with the folded table in the place of a disentangled one; None where it has none."""
    tables = {
        name: module.weight for name, module in model.named_modules() if isinstance(module, DisentangledEmbedding)
    }
    if not tables:
        return None
    state: dict[str, Tensor] = model.state_dict()
    for name, weight in tables.items():
        del state[f"{name}.residual"]
        state[f"{name}.weight"] = weight
    return state
