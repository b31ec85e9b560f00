"""The optimizers that a recipe can name, as torch optimizers over an encoder's parameters.

Sources: AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101); BERT's AdamWeightDecayOptimizer (Devlin
et al. 2019, appendix A.2, and optimization.py of its code), which is AdamW without bias correction; Muon (Jordan et
al. 2024, https://kellerjordan.github.io/posts/muon/). Biases and norms are never decayed.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, cast

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.optim import Optimizer

from objectives.objective import Objective

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024; torch.optim.Muon's own default
_MUON_EPSILON = 1e-7


class OptimizerSettings(Protocol):
    """The settings of a recipe's `optimizer` section and the optimizers that they make."""

    @property
    def name(self) -> str: ...

    def build(self, objective: Objective) -> list[Optimizer]: ...


class AdamW(BaseModel, frozen=True, extra="forbid", strict=True):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(gt=0.0)
    """Peak rate, which the schedule multiplies."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Share of a weight taken off at each step, times the rate; not on biases and norms (BERT: 0.01)."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    beta2: float = Field(0.999, ge=0.0, lt=1.0)
    epsilon: float = Field(1e-8, gt=0.0)

    def build(self, objective: Objective) -> list[Optimizer]:
        """One AdamW over all parameters."""
        return [
            _adamw(objective.parameters(), self.learning_rate, self.weight_decay, self.beta1, self.beta2, self.epsilon)
        ]


class BertAdam(BaseModel, frozen=True, extra="forbid", strict=True):
    """BERT's own Adam: decoupled weight decay, no bias correction, epsilon 1e-6."""

    name: Literal["bert_adam"] = "bert_adam"
    learning_rate: float = Field(gt=0.0)
    """Peak rate, which the schedule multiplies."""
    weight_decay: float = Field(0.01, ge=0.0)
    """As in adamw (BERT: 0.01)."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    beta2: float = Field(0.999, ge=0.0, lt=1.0)
    epsilon: float = Field(1e-6, gt=0.0)

    def build(self, objective: Objective) -> list[Optimizer]:
        """One optimizer over all parameters."""
        groups = _decay_groups(objective.parameters(), self.weight_decay)
        return [AdamWithoutBiasCorrection(groups, self.learning_rate, (self.beta1, self.beta2), self.epsilon)]


class Muon(BaseModel, frozen=True, extra="forbid", strict=True):
    """Muon for the weight matrices of the encoder's layers, AdamW for embeddings, heads, biases and norms.

    The default iterates in bfloat16, as Jordan et al. and torch do, which is reproducible only as long as a batch is
    cut up and spread over processes in the same way; see `newton_schulz_dtype`.
    """

    name: Literal["muon"] = "muon"
    learning_rate: float = Field(gt=0.0)
    """Peak rate of AdamW."""
    muon_learning_rate: float = Field(gt=0.0)
    """Peak rate of Muon."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Of AdamW, as in adamw."""
    muon_weight_decay: float = Field(0.0, ge=0.0)
    """Of Muon (torch's default is 0.1, Jordan et al. use none)."""
    momentum: float = Field(0.95, ge=0.0, lt=1.0)
    nesterov: bool = True
    newton_schulz_steps: int = Field(5, ge=1, lt=100)
    newton_schulz_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the iteration. With float32 layouts of processes and micro-batches agree to 1e-5. With bfloat16 a
    run is the same bit for bit at an unchanged layout only: between layouts, weights of small runs differ by up to 2e-2
    after 20 steps, and their losses by less than 1e-4 nats."""
    adjust_learning_rate: Literal["original", "match_rms_adamw"] = "original"
    """How the rate follows a matrix's shape: sqrt(max(1, rows / columns)), or 0.2 sqrt(max(rows, columns))."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    beta2: float = Field(0.999, ge=0.0, lt=1.0)
    epsilon: float = Field(1e-8, gt=0.0)

    def build(self, objective: Objective) -> list[Optimizer]:
        """[Muon, AdamW]."""
        matrices = objective.hidden_matrices()
        held = {id(matrix) for matrix in matrices}
        rest = [parameter for parameter in objective.parameters() if id(parameter) not in held]
        muon_class = torch.optim.Muon if self.newton_schulz_dtype == "bfloat16" else Float32Muon
        muon = muon_class(
            matrices,
            lr=self.muon_learning_rate,
            weight_decay=self.muon_weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_coefficients=_NEWTON_SCHULZ,
            eps=_MUON_EPSILON,
            ns_steps=self.newton_schulz_steps,
            adjust_lr_fn=self.adjust_learning_rate,
        )
        return [muon, _adamw(rest, self.learning_rate, self.weight_decay, self.beta1, self.beta2, self.epsilon)]


OPTIMIZERS: dict[str, type[BaseModel]] = {
    "adamw": AdamW,
    "bert_adam": BertAdam,
    "muon": Muon,
}


class AdamWithoutBiasCorrection(Optimizer):
    """BERT's AdamWeightDecayOptimizer: w -= rate * (m / (sqrt(v) + epsilon) + decay * w)."""

    def __init__(
        self, params: list[dict[str, Any]], learning_rate: float, betas: tuple[float, float], epsilon: float
    ) -> None:
        super().__init__(params, {"lr": learning_rate, "betas": betas, "eps": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; `closure` is torch's interface and not used."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter] = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            gradients = [cast(Tensor, p.grad) for p in parameters]
            averages = [self.state[p]["exp_avg"] for p in parameters]
            squares = [self.state[p]["exp_avg_sq"] for p in parameters]
            beta1, beta2 = group["betas"]
            torch._foreach_lerp_(averages, gradients, 1 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
            scales = torch._foreach_sqrt(squares)
            torch._foreach_add_(scales, group["eps"])
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_addcdiv_(parameters, averages, scales, -group["lr"])


class Float32Muon(torch.optim.Muon):
    """torch.optim.Muon with the Newton-Schulz iteration in float32 instead of bfloat16, otherwise the same."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; `closure` is torch's interface and not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                update = state["momentum_buffer"]
                if group["nesterov"]:
                    update = parameter.grad.lerp(update, group["momentum"])
                update = _orthogonalised(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * _shape_factor(parameter, group["adjust_lr_fn"]))


def _orthogonalised(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, epsilon: float) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly, by Newton-Schulz iteration (Jordan et al. 2024)."""
    a, b, c = coefficients
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp(min=epsilon)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x


def _shape_factor(matrix: Tensor, rule: str) -> float:
    rows, columns = matrix.shape
    return math.sqrt(max(1.0, rows / columns)) if rule == "original" else 0.2 * math.sqrt(max(rows, columns))


def _adamw(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> Optimizer:
    groups = _decay_groups(parameters, weight_decay)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(beta1, beta2), eps=epsilon, weight_decay=0.0, fused=True)


def _decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and tables are decayed; vectors, which are the biases and norms, are not."""
    tables: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in parameters:
        (tables if parameter.ndim >= 2 else vectors).append(parameter)
    groups = [{"params": tables, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def set_learning_rates(optimizers: Iterable[Optimizer], peaks: Iterable[float], factor: float) -> None:
    """Give every parameter group its peak rate times the schedule's factor."""
    groups = itertools.chain.from_iterable(optimizer.param_groups for optimizer in optimizers)
    for group, peak in zip(groups, peaks, strict=True):
        group["lr"] = peak * factor


def peak_rates(optimizers: Iterable[Optimizer]) -> list[float]:
    """The rates that the recipe gave, one a parameter group."""
    return [float(group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
