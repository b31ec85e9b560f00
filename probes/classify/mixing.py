"""A small classifier on frozen layers, and ELMo's ways of making one vector of them (Peters et al. 2018, section 3.2).

Layers enter as pooled vectors, one a text and layer. A weighted sum of layers and a mean over tokens can be taken in
either order, so mixing the means is mixing the tokens' layers and then taking the mean; for the learned function, which
is not linear, it is not the same: it sees the means.

    trainable   gamma * sum_j softmax(s)_j h_j, with s and gamma learnt together with the classifier (equation 1)
    frozen      the same with fixed weights: all layers count alike (s = 0)
    function    a layer of rectified units over all h_j side by side, learnt together with the classifier

gamma is not kept apart. What is mixed goes straight into weights that are learnt as well, W, and only the product
gamma W can be told from outside; the penalty falls on this product (on W alone, gamma would let the classifier escape
it). So W here is the paper's gamma W, and what is fitted is the same.

All are fitted in the same way: the mean cross-entropy and strength / 2 times the sum of squares of all weights but s,
by L-BFGS over all texts at once, so there is no learning rate. Without hidden units and with a single layer this is
logistic regression.
"""

# K layers, N texts, D hidden size, O units that layers are projected to, C classes

from typing import Literal

import torch
from torch import Tensor, nn

Way = Literal["trainable", "frozen", "function"]

FUNCTION_UNITS = 32
"""Units of the learned function, unless --hidden says how many."""
HIDDEN_START = 0.03
"""Deviation of the weights that hidden units start with, for vectors about 1 long."""
SETTLED = 1e-6
"""Change of the loss between two steps at which a fit is done."""
MOST_STEPS = 100
"""Of L-BFGS. Weakly regularised fits may not have settled by then; they are chosen only where they serve better."""


class Head(nn.Module):
    """Mixes K layers and classifies; a single layer is a mix of one."""

    def __init__(
        self, way: Way, layers_KND: Tensor, *, num_classes: int, hidden: int | None, generator: torch.Generator
    ) -> None:
        """
        Args:
            layers_KND: what it will be fitted to; taken are the shape and how alike the layers are.
            hidden: units of a hidden layer of the classifier; None: it is linear.
            generator: the only source of randomness of the weights that it starts with.
        """
        super().__init__()
        num_layers, num_texts, size = layers_KND.shape
        self.way = way
        units = hidden or (FUNCTION_UNITS if way == "function" else None)
        shape = (num_layers, size) if way == "function" else (size,)
        # A linear classifier starts at nothing; hidden units have to differ from the start.
        start = HIDDEN_START if units else 0.0
        self.projection = nn.Parameter(start * torch.randn(*shape, units or num_classes, generator=generator))
        self.bias = nn.Parameter(torch.zeros(units or num_classes))
        self.scalars = nn.Parameter(torch.zeros(num_layers), requires_grad=way == "trainable")
        self.products_KK = torch.einsum("knd,lnd->kl", layers_KND, layers_KND) / num_texts
        self.top: nn.Linear | None = None
        if units:
            # Its own start would draw from torch's common generator.
            self.top = nn.utils.skip_init(nn.Linear, units, num_classes)  # type: ignore[no-untyped-call]
            nn.init.normal_(self.top.weight, std=units**-0.5, generator=generator)
            nn.init.zeros_(self.top.bias)

    def layer_weights(self) -> Tensor:
        """softmax(s): (K,) float32, without gradient; the learned function has none that could be read as weights."""
        return self.scalars.detach().softmax(0)

    def forward(self, layers_KND: Tensor) -> Tensor:
        """Logits, (N, C)."""
        # The projection comes before the mixing, which is the same by linearity and needs no (N, D) of every step.
        each_KNO = layers_KND @ self.projection
        found_NO = torch.einsum("k,kno->no", self._factors(), each_KNO) + self.bias
        return found_NO if self.top is None else self.top(found_NO.relu())

    def penalty(self) -> Tensor:
        """Half the sum of squares of all weights that multiply vectors."""
        total = self.projection.square().sum()
        return (total if self.top is None else total + self.top.weight.square().sum()) / 2

    def _factors(self) -> Tensor:
        """What each layer's projection is multiplied with, (K,)."""
        if self.way == "function":
            return torch.full_like(self.scalars, len(self.scalars) ** -0.5)  # all layers side by side are 1 long
        weights_K = self.scalars.softmax(0)
        # Where nothing differs between the texts, all vectors are 0.
        return weights_K / (weights_K @ self.products_KK @ weights_K).clamp_min(1e-12).sqrt()


def fit_head(
    layers_KND: Tensor,
    classes_N: Tensor,
    *,
    way: Way,
    num_classes: int,
    strength: float,
    hidden: int | None = None,
    seed: int = 0,
) -> Head:
    """A head fitted to these texts.

    Args:
        layers_KND: float32 vectors, their dimensions centred and their lengths about 1.
        classes_N: int64 numbers of classes, below num_classes.
        strength: of the penalty.
        seed: of the weights that it starts with.
    """
    generator = torch.Generator().manual_seed(seed)
    head = Head(way, layers_KND, num_classes=num_classes, hidden=hidden, generator=generator)
    learnt = [parameter for parameter in head.parameters() if parameter.requires_grad]
    optimizer = torch.optim.LBFGS(
        learnt, max_iter=MOST_STEPS, tolerance_grad=1e-6, tolerance_change=SETTLED, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(layers_KND), classes_N) + strength * head.penalty()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return head


@torch.no_grad()
def predict(head: Head, layers_KND: Tensor) -> Tensor:
    """The class of each text, (N,) int64."""
    logits_NC: Tensor = head(layers_KND)
    return logits_NC.argmax(1)
