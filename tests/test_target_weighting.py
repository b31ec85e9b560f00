"""Laws of weighted targets: draws count as often as they were drawn, and rates by one over them."""

# B rows, L tokens per row

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from encoders.building import build_encoder
from encoders.config import ENCODERS, SpecialIds
from objectives import OBJECTIVES
from objectives.draws import Key, uniforms
from objectives.masking import NOT_A_TARGET
from objectives.mlm import MlmSettings
from objectives.objective import Batch, Objective
from tests.maskings import FAMILIES, mask, packed_rows, policy

VOCABULARY = FAMILIES["WordPiece"]
UNIFORM = {"schedule": "uniform"}
POLICIES: dict[str, dict[str, Any]] = {
    "drawn with replacement": {"name": "electra_reference"},
    "uniform rates": {"name": "token", "mlm_probability": UNIFORM},
    "both": {"name": "electra_reference", "mlm_probability": UNIFORM},
}


def _batch(name: str, **settings: Any) -> Batch:
    rows = packed_rows(VOCABULARY, 10, length=24)
    rows[4, 1:] = VOCABULARY.unk_id  # no target
    masked = mask(policy(name, **settings), rows, VOCABULARY)
    arrays = {
        "input_ids": masked.input_ids,
        "labels": masked.labels,
        "attention_mask": (rows != VOCABULARY.pad_id).astype(np.int64),
        "token_type_ids": np.zeros_like(rows),
        "next_sentence_label": np.arange(len(rows)) % 2,
        "label_weights": masked.label_weights,
        "mlm_probability": masked.mlm_probability,
        "replacement_noise": uniforms(Key(0, 0, "replacement"), np.arange(10)[:, None], np.arange(24)[None, :]),
    }
    return {name: torch.from_numpy(value) for name, value in arrays.items() if value is not None}


def _objective(settings: Any) -> Objective:
    torch.manual_seed(0)
    fields = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    family = "electra" if "generator" in settings.heads else "bert"
    sizes = ENCODERS[family].model_validate({**fields, **dropout, "max_position_embeddings": 32})
    ids = SpecialIds(VOCABULARY.size, pad_id=VOCABULARY.pad_id, cls_id=VOCABULARY.cls_id, sep_id=VOCABULARY.sep_id)
    config = sizes.config(ids)  # type: ignore[attr-defined]
    encoder = build_encoder(config, heads=settings.heads["model"], attention="eager")
    return settings.build(encoder)  # type: ignore[no-any-return]


def _each_loss(objective: Objective, batch: Batch) -> torch.Tensor:
    """(B, L) cross-entropies, 0 where there is no target."""
    network = objective.networks.get("generator", objective.encoder)
    logits = network.token_logits(network.hidden_states(batch))
    losses = functional.cross_entropy(
        logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=NOT_A_TARGET, reduction="none"
    )
    return losses.view_as(batch["labels"])


OBJECTIVES_OF_TOKENS = [settings() for settings in OBJECTIVES.values()]
OBJECTIVES_OF_TOKENS.append(MlmSettings(target_weighting="inverse_probability"))


@pytest.mark.parametrize(("settings", "name"), list(itertools.product(OBJECTIVES_OF_TOKENS, POLICIES)), ids=str)
def test_weighted_sums_and_counts_add_up_over_any_cut_and_are_known_beforehand(settings: Any, name: str) -> None:
    objective, batch, term = _objective(settings), _batch(**POLICIES[name]), settings.terms[0]
    whole = objective(batch)[term]
    parts = [{key: value[part] for key, value in batch.items()} for part in (slice(0, 4), slice(4, 5), slice(5, None))]
    for field in ("total", "count", "correct"):
        summed = sum(getattr(objective(part)[term], field) for part in parts)
        torch.testing.assert_close(summed, getattr(whole, field), msg=field)
    assert objective.count(batch)[term] == int(whole.count) > 0
    for part in parts:
        assert objective.count(part)[term] == int(objective(part)[term].count)
    assert 0 <= float(whole.correct) <= float(whole.count) and whole.count.dtype == torch.int64


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_target_that_is_drawn_twice_counts_twice(name: str) -> None:
    settings: Any = OBJECTIVES[name]()
    objective, batch, term = _objective(settings), _batch("electra_reference"), settings.terms[0]
    weights = batch["label_weights"]
    assert (weights > 1).any()
    loss = objective(batch)[term]
    torch.testing.assert_close(loss.total, (_each_loss(objective, batch) * weights).sum())
    assert int(loss.count) == int(weights.sum())
    ones = {**batch, "label_weights": (weights > 0).float()}
    plain = {key: value for key, value in batch.items() if key != "label_weights"}
    for first, second in zip(objective(ones)[term][:3], objective(plain)[term][:3], strict=True):
        torch.testing.assert_close(first.float(), second.float())


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "both"])
def test_inverse_probability_divides_by_the_share_of_targets_and_counts_all_tokens(name: str) -> None:
    objective, batch = _objective(MlmSettings(target_weighting="inverse_probability")), _batch(**POLICIES[name])
    loss, each = objective(batch)["mlm"], _each_loss(objective, batch)
    if "label_weights" in batch:
        each = each * batch["label_weights"]
    if "mlm_probability" not in batch:  # as held-out batches are: scored as ever
        torch.testing.assert_close(loss.total, each.sum())
        assert int(loss.count) == int(batch["label_weights"].sum())
        return
    rates = batch["mlm_probability"].clamp(min=1e-9)
    torch.testing.assert_close(loss.total, (each.sum(dim=1) / rates).sum())
    assert int(loss.count) == int(batch["attention_mask"].sum())
    assert loss.total.isfinite()


def test_the_weights_of_a_row_of_masked_diffusion_add_up_to_its_maskable_tokens() -> None:
    batch = _batch("token", mlm_probability=UNIFORM)
    is_target = batch["labels"] != NOT_A_TARGET
    weight = torch.where(is_target, 1 / batch["mlm_probability"].clamp(min=1e-9)[:, None], 0.0).sum(dim=1)
    special = torch.from_numpy(VOCABULARY.is_special.copy())
    original = torch.where(is_target, batch["labels"], batch["input_ids"])
    torch.testing.assert_close(weight, (~special[original]).sum(dim=1).float())
