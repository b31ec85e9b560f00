"""The optimizers against their references: torch's own, BERT's paper by hand, Newton-Schulz in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pretrain.loop import Loop
from pretrain.optimizer import AdamW, AdamWithoutBiasCorrection, BertAdam, Float32Muon, Muon
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
MakeLoop = Callable[[Recipe], Loop]
MODERNBERT = (
    "encoder={name: modernbert, num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 48}"
)
MUON = "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02}"
SHAPES = {"square": (16, 16), "tall": (48, 16), "wide": (16, 40)}


def _gradients(shape: tuple[int, ...], steps: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) * 10.0**-k for k in range(steps)]


def _weight(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))


def _run(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradients: list[Tensor]) -> Tensor:
    for gradient in gradients:
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("encoder", [(), (MODERNBERT,)], ids=["bert", "modernbert"])
def test_adamw_is_torchs_without_decay_on_vectors(tiny: Tiny, make_loop: MakeLoop, encoder: tuple[str, ...]) -> None:
    ours, reference = (make_loop(tiny(*encoder)).objective for _ in range(2))
    settings = AdamW(learning_rate=1e-2, weight_decay=0.3, beta1=0.8, beta2=0.9, epsilon=1e-5)
    (optimizer,) = settings.build(ours)
    tables = [p for p in reference.parameters() if p.ndim > 1]
    vectors = [p for name, p in reference.named_parameters() if name.endswith("bias") or "norm" in name.lower()]
    assert {id(p) for p in tables + vectors} == {id(p) for p in reference.parameters()}
    expected = torch.optim.AdamW(
        [{"params": tables, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2, betas=(0.8, 0.9), eps=1e-5,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
            a.grad = b.grad = torch.randn(a.shape, generator=generator)
        optimizer.step()
        expected.step()
    for (name, a), b in zip(ours.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_bert_adam_is_the_update_of_the_paper(decay: float) -> None:
    weight = _weight((5, 4))
    expected = weight.detach().double()
    m = v = torch.zeros_like(expected)
    for gradient in _gradients((5, 4)):
        g = gradient.double()
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        expected = expected - 0.01 * (m / (v.sqrt() + 1e-6) + decay * expected)
    optimizer = AdamWithoutBiasCorrection([{"params": [weight], "weight_decay": decay}], 0.01, (0.9, 0.999), 1e-6)
    torch.testing.assert_close(_run(optimizer, weight, _gradients((5, 4))).double(), expected, rtol=1e-5, atol=1e-6)


def test_bert_adam_has_the_settings_of_the_paper_and_decays_no_vector(tiny: Tiny, make_loop: MakeLoop) -> None:
    objective = make_loop(tiny()).objective
    (optimizer,) = BertAdam(learning_rate=1e-4).build(objective)
    tables, vectors = optimizer.param_groups
    assert (tables["betas"], tables["eps"], tables["weight_decay"]) == ((0.9, 0.999), 1e-6, 0.01)
    assert vectors["weight_decay"] == 0.0
    assert {p.ndim for p in vectors["params"]} == {1} and 1 not in {p.ndim for p in tables["params"]}


# Muon ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", [(), (MODERNBERT,)], ids=["bert", "modernbert"])
def test_muon_has_the_linear_maps_of_the_layers_and_adamw_the_rest(
    tiny: Tiny, make_loop: MakeLoop, encoder: tuple[str, ...]
) -> None:
    objective = make_loop(tiny(*encoder)).objective
    muon, adamw = Muon(learning_rate=1e-3, muon_learning_rate=0.02).build(objective)
    names = {id(p): name for name, p in objective.named_parameters()}
    held = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    linear = {"query", "key", "value", "dense", "Wqkv", "Wo", "Wi"}
    expected = {
        name for name in names.values()
        if ".layer" in name and name.endswith(".weight") and name.split(".")[-2] in linear
    }  # fmt: skip
    assert held == expected and len(held) == (12 if not encoder else 8)
    rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert held | rest == set(names.values()) and not held & rest


def test_the_settings_of_muon_are_explicit(tiny: Tiny, make_loop: MakeLoop) -> None:
    settings = Muon(
        learning_rate=1e-3, muon_learning_rate=0.02, muon_weight_decay=0.05, momentum=0.9, nesterov=False,
        newton_schulz_steps=3, adjust_learning_rate="match_rms_adamw",
    )  # fmt: skip
    muon, adamw = settings.build(make_loop(tiny()).objective)
    assert type(muon) is torch.optim.Muon
    (group,) = muon.param_groups
    told = {"lr": 0.02, "weight_decay": 0.05, "momentum": 0.9, "nesterov": False, "ns_steps": 3}
    assert {key: group[key] for key in told} == told
    assert (group["adjust_lr_fn"], group["ns_coefficients"]) == ("match_rms_adamw", (3.4445, -4.7750, 2.0315))
    assert adamw.param_groups[0]["lr"] == 1e-3
    assert Muon(learning_rate=1e-3, muon_learning_rate=0.02).muon_weight_decay == 0.0


def _float64_muon(weight: Tensor, gradients: list[Tensor], *, nesterov: bool, rule: str) -> Tensor:
    weight, momentum = weight.double(), torch.zeros_like(weight, dtype=torch.float64)
    rows, columns = weight.shape
    for gradient in gradients:
        g = gradient.double()
        momentum = 0.95 * momentum + 0.05 * g
        update = 0.05 * g + 0.95 * momentum if nesterov else momentum
        x = update.T if rows > columns else update
        x = x / x.norm()
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        update = x.T if rows > columns else x
        scale = math.sqrt(max(1.0, rows / columns)) if rule == "original" else 0.2 * math.sqrt(max(rows, columns))
        weight = weight * (1 - 0.02 * 0.1) - 0.02 * scale * update
    return weight


@pytest.mark.parametrize("rule", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_float32_muon_is_torchs_up_to_bfloat16_and_the_formula_closely(
    shape: str, nesterov: bool, rule: str
) -> None:
    options = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95, "nesterov": nesterov, "adjust_lr_fn": rule}
    gradients = _gradients(SHAPES[shape])
    moved = {}
    for optimizer_class in (Float32Muon, torch.optim.Muon):
        weight = _weight(SHAPES[shape])
        moved[optimizer_class] = _run(optimizer_class([weight], **options), weight, gradients)
    start = _weight(SHAPES[shape]).detach()
    expected = _float64_muon(start, gradients, nesterov=nesterov, rule=rule)
    torch.testing.assert_close(moved[Float32Muon].double(), expected, rtol=0, atol=2e-6)
    way = (moved[torch.optim.Muon] - start).norm()
    assert (moved[Float32Muon] - moved[torch.optim.Muon]).norm() < 0.02 * way


def test_the_iteration_in_float32_is_taken_where_the_recipe_says(tiny: Tiny, make_loop: MakeLoop) -> None:
    loop = make_loop(tiny(MUON, "optimizer.newton_schulz_dtype=float32"))
    assert type(loop.optimizers[0]) is Float32Muon
    before = [matrix.detach().clone() for matrix in loop.objective.encoder.hidden_matrices()]
    for _ in range(2):
        loop.step(0)
    assert all(not torch.equal(a, b) for a, b in zip(before, loop.objective.encoder.hidden_matrices(), strict=True))
