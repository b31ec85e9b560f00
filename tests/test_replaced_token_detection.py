"""Laws of replaced-token detection: transformers' own losses, and a gradient that knows its way."""

# B rows, L tokens per row, M targets in the batch, V vocabulary

import itertools
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional
from transformers import (
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ModernBertForMaskedLM,
    ModernBertForTokenClassification,
    PreTrainedModel,
)

from encoders.building import build_encoder
from encoders.config import ENCODERS, SpecialIds
from encoders.embeddings import folded_state
from encoders.encoder import Encoder
from encoders.sharing import Sharing
from objectives.detections import GUESSED, NUM_BINS, ORIGINAL, REPLACED
from objectives.draws import Key, uniforms
from objectives.masking import MASKINGS, NOT_A_TARGET
from objectives.objective import Batch
from objectives.replaced_token_detection import Corrupted, ReplacedTokenDetection, ReplacedTokenDetectionSettings
from tests.maskings import FAMILIES, mask, packed_rows, policy

VOCABULARY = FAMILIES["WordPiece"]
CLASSES: dict[str, dict[str, type[PreTrainedModel]]] = {
    "electra": {"generator": ElectraForMaskedLM, "model": ElectraForPreTraining},
    "modernbert": {"generator": ModernBertForMaskedLM, "model": ModernBertForTokenClassification},
}
SIZES: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 24, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "modernbert": {"local_attention": 8},
}
SHARED = {
    ("electra", "all"): {
        "electra.embeddings.word_embeddings.weight",
        "electra.embeddings.position_embeddings.weight",
        "electra.embeddings.token_type_embeddings.weight",
        "electra.embeddings.LayerNorm.weight",
        "electra.embeddings.LayerNorm.bias",
    },
    ("electra", "word"): {"electra.embeddings.word_embeddings.weight"},
    ("modernbert", "all"): {"model.embeddings.tok_embeddings.weight", "model.embeddings.norm.weight"},
    ("modernbert", "word"): {"model.embeddings.tok_embeddings.weight"},
}
"""Parameters that both networks have, by family and sharing; the other two sharings have none."""
every_wiring = pytest.mark.parametrize(("family", "sharing"), list(itertools.product(CLASSES, get_args(Sharing))))


def _objective(family: str = "electra", sharing: Sharing = "all", **settings: Any) -> ReplacedTokenDetection:
    """Two small networks with weights far from their start; generator of half the width where embeddings allow."""
    torch.manual_seed(0)
    dropout = {name: settings.pop(name) for name in tuple(settings) if name.endswith("dropout_prob")}
    fields = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
    sizes: Any = ENCODERS[family].model_validate(
        {**fields, "max_position_embeddings": 32, **SIZES[family], **dropout}, strict=True
    )
    ids = SpecialIds(VOCABULARY.size, pad_id=VOCABULARY.pad_id, cls_id=VOCABULARY.cls_id, sep_id=VOCABULARY.sep_id)
    fraction = 1.0 if family == "modernbert" and sharing != "none" else 0.5
    chosen = ReplacedTokenDetectionSettings(
        **{"generator_fraction": fraction, "generator_num_hidden_layers": 2, "sharing": sharing, **settings}
    )
    objective = chosen.build(build_encoder(sizes.config(ids), heads="replaced_tokens", attention="eager"))
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return objective


def _batch(masking: str = "token", *, is_packed: bool = False, seed: int = 0, **settings: Any) -> Batch:
    """Ten masked rows of 24 with padding; packed: of several pieces with positions of their own."""
    rows = packed_rows(VOCABULARY, 10, length=24, seed=seed)
    masked = mask(policy(masking, **settings), rows, VOCABULARY, seed=seed)
    place = np.arange(24)[None, :]
    arrays = {
        "input_ids": masked.input_ids,
        "labels": masked.labels,
        "attention_mask": (rows != VOCABULARY.pad_id).astype(np.int64),
        "token_type_ids": np.zeros_like(rows),
        "replacement_noise": uniforms(Key(seed, 0, "replacement"), np.arange(10)[:, None], place),
        "label_weights": masked.label_weights,
    }
    if is_packed:
        starts = np.maximum.accumulate(np.where(rows == VOCABULARY.cls_id, place, 0), axis=1)
        arrays["position_ids"] = np.where(rows == VOCABULARY.pad_id, 0, place - starts)
    return {name: torch.from_numpy(value) for name, value in arrays.items() if value is not None}


def _original(batch: Batch) -> Tensor:
    """(B, L) the text before it was masked."""
    return torch.where(batch["labels"] == NOT_A_TARGET, batch["input_ids"], batch["labels"])


def _corrupted(objective: ReplacedTokenDetection, batch: Batch) -> Corrupted:
    is_target = batch["labels"] != NOT_A_TARGET
    return objective.corrupt(
        batch, objective.generator.token_logits(objective.generator.hidden_states(batch)[is_target])
    )


def _weighted(objective: ReplacedTokenDetection, batch: Batch) -> Tensor:
    """What the loop minimises."""
    counts = objective.count(batch)
    terms = [objective.weights[term] * loss.total / counts[term] for term, loss in objective(batch).items()]
    return torch.stack(terms).sum()


# transformers' own losses --------------------------------------------------------------------------------------------


def _copy(network: Encoder) -> PreTrainedModel:
    """A model of the same class by itself, which shares nothing with another."""
    model = type(network.model)._from_config(network.model.config, attn_implementation="eager")
    model.load_state_dict(folded_state(network.model) or network.model.state_dict())
    return model


def _detector_loss(model: PreTrainedModel, inputs: Batch, is_replaced: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and logits (B, L) of the transformers class, of whose losses ModernBERT's is no binary one."""
    if isinstance(model, ElectraForPreTraining):
        output = model(**inputs, labels=is_replaced.long())
        return output.loss, output.logits
    logits, is_token = model(**inputs).logits.squeeze(-1), inputs["attention_mask"] == 1
    return functional.binary_cross_entropy_with_logits(logits[is_token], is_replaced[is_token].float()), logits


def _expected_gradients(objective: ReplacedTokenDetection, copies: dict[str, PreTrainedModel]) -> dict[str, Tensor]:
    """Of each parameter the sum over the copies in which it stands; a residual's is that of the table it is in."""
    names = {parameter: name for name, parameter in objective.named_parameters()}
    expected = {name: torch.zeros_like(parameter) for parameter, name in names.items()}
    for key, network in objective.networks.items():
        theirs = dict(copies[key].named_parameters())  # a tied one once
        for name, parameter in network.model.named_parameters(remove_duplicate=False):
            copied = theirs.get(name.replace(".residual", ".weight"))
            if copied is not None and copied.grad is not None:
                expected[names[parameter]] += copied.grad
    return expected


@every_wiring
def test_losses_logits_and_gradients_are_those_of_the_transformers_classes(family: str, sharing: Sharing) -> None:
    objective, batch = _objective(family, sharing), _batch()
    copies = {key: _copy(network) for key, network in objective.networks.items()}
    assert {key: type(model) for key, model in copies.items()} == CLASSES[family]
    taken = ["input_ids", "attention_mask", *(["token_type_ids"] if family == "electra" else [])]
    inputs = {key: batch[key] for key in taken}

    guessing = copies["generator"](**inputs, labels=batch["labels"])
    corrupted = objective.corrupt(batch, guessing.logits[batch["labels"] != NOT_A_TARGET])
    is_replaced = corrupted.input_ids != _original(batch)
    inputs["input_ids"] = corrupted.input_ids
    detecting, logits = _detector_loss(copies["model"], inputs, is_replaced)
    (guessing.loss + 50.0 * detecting).backward()

    assert int(is_replaced.sum()) > 10
    losses, counts = objective(batch), objective.count(batch)
    for term, expected in (("generator", guessing.loss), ("discriminator", detecting)):
        torch.testing.assert_close(losses[term].total / counts[term], expected, atol=1e-5, rtol=1e-5)
    found = objective.encoder.replaced_logits(
        objective.encoder.hidden_states(batch | {"input_ids": corrupted.input_ids})
    )
    is_token = batch["attention_mask"] == 1
    torch.testing.assert_close(found[is_token], logits[is_token], atol=1e-5, rtol=1e-5)
    assert int(losses["discriminator"].correct) == int(((logits >= 0) == is_replaced)[is_token].sum())
    _weighted(objective, batch).backward()
    gradients = _expected_gradients(objective, copies)
    for name, parameter in objective.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-4, msg=name)


def _apart(batch: Batch) -> Batch:
    """Each piece of packed rows as a row of its own."""
    starts = (batch["position_ids"] == 0) & (batch["attention_mask"] == 1)
    piece = starts.cumsum(dim=1) * batch["attention_mask"]
    pieces = [piece[row] == number for row in range(len(piece)) for number in range(1, int(piece[row].max()) + 1)]
    rows = [row for row in range(len(piece)) for _ in range(int(piece[row].max()))]
    fill = {"input_ids": VOCABULARY.pad_id, "labels": NOT_A_TARGET}
    return {
        key: torch.nn.utils.rnn.pad_sequence(
            [value[row][part] for row, part in zip(rows, pieces, strict=True)],
            batch_first=True,
            padding_value=fill.get(key, 0),
        )
        for key, value in batch.items()
        if key != "position_ids"
    }


@pytest.mark.parametrize("family", CLASSES)
def test_packed_rows_give_what_their_pieces_give_apart(family: str) -> None:
    objective, batch = _objective(family, "none"), _batch(is_packed=True)
    apart = _apart(batch)
    assert len(apart["input_ids"]) > 20 and objective.count(apart) == objective.count(batch)
    expected, losses = objective(apart), objective(batch)
    as_one = objective({key: value for key, value in batch.items() if key != "position_ids"})
    for term, loss in losses.items():
        torch.testing.assert_close(loss.total, expected[term].total, atol=1e-4, rtol=1e-5)
        assert abs(loss.total - as_one[term].total) > 1e-2
        assert int(loss.correct) == int(expected[term].correct)
    gradients = []
    for either in (batch, apart):
        objective.zero_grad()
        _weighted(objective, either).backward()
        gradients.append({name: parameter.grad for name, parameter in objective.named_parameters()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], atol=1e-5, rtol=1e-4, msg=name)


# Where gradients go --------------------------------------------------------------------------------------------------


def _reached(network: Encoder) -> set[str]:
    """Parameters with a gradient that is not zero."""
    return {
        name
        for name, parameter in network.model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }


@every_wiring
@pytest.mark.parametrize(("term", "other"), [("discriminator", "generator"), ("generator", "model")])
def test_neither_loss_reaches_the_other_network_but_through_what_both_share(
    family: str, sharing: Sharing, term: str, other: str
) -> None:
    objective = _objective(family, sharing)
    objective(_batch())[term].total.backward()
    shared = SHARED.get((family, sharing), set())
    assert _reached(objective.networks[other]) == shared
    (own,) = (network for name, network in objective.networks.items() if name != other)
    words = "residual" if sharing == "gradient_disentangled" and term == "discriminator" else "weight"
    assert any(name.endswith(f"embeddings.{words}") for name in _reached(own)), "words are learnt by their own loss"
    assert _reached(own) > shared


@every_wiring
def test_what_both_share_is_one_parameter_and_the_rest_are_two(family: str, sharing: Sharing) -> None:
    objective = _objective(family, sharing)
    theirs = {id(parameter) for parameter in objective.encoder.parameters()}
    named = objective.generator.model.named_parameters()
    assert {name for name, parameter in named if id(parameter) in theirs} == SHARED.get((family, sharing), set())


@pytest.mark.parametrize("family", CLASSES)
def test_disentangled_words_are_seen_by_the_discriminator_without_its_gradient(family: str) -> None:
    objective, batch = _objective(family, "gradient_disentangled"), _batch()
    corrupted = _corrupted(objective, batch)
    before = objective.detect(batch, corrupted).total.item()
    table: Any = objective.generator.word_embeddings
    with torch.no_grad():
        table.weight.add_(0.1 * torch.randn_like(table.weight))
    assert objective.detect(batch, corrupted).total.item() != pytest.approx(before, rel=1e-4)


# What is replaced, and what is counted -------------------------------------------------------------------------------


def test_a_guess_that_is_right_is_original_and_any_other_is_replaced() -> None:
    objective, batch = _objective(), _batch(mlm_probability=0.4)
    is_target = batch["labels"] != NOT_A_TARGET
    labels = batch["labels"][is_target]
    is_right = torch.arange(len(labels)) % 2 == 0
    words = torch.where(is_right, labels, (labels + 1) % VOCABULARY.size)
    corrupted = objective.corrupt(batch, 1e4 * functional.one_hot(words, VOCABULARY.size).float())
    assert torch.equal(corrupted.input_ids[is_target], words)
    assert torch.equal(corrupted.kinds[is_target], torch.where(is_right, GUESSED, REPLACED))
    assert torch.equal(corrupted.input_ids[~is_target], batch["input_ids"][~is_target])
    assert (corrupted.kinds[~is_target] == ORIGINAL).all()


def test_the_discriminator_is_asked_the_same_of_a_right_guess_as_of_a_token_never_masked() -> None:
    objective, batch = _objective(), _batch()
    guessed = torch.where(batch["labels"] == NOT_A_TARGET, ORIGINAL, GUESSED)
    losses = [
        objective.detect(batch, Corrupted(_original(batch), kinds)) for kinds in (guessed, torch.zeros_like(guessed))
    ]
    assert losses[0].total.item() == losses[1].total.item()
    assert int(losses[0].correct) == int(losses[1].correct)


@pytest.mark.parametrize("count", ["exact", "reference_electra"])
@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("temperature", [1.0, 100.0])
def test_only_targets_are_replaced_and_never_a_special_token_or_padding(
    masking: str, count: str, temperature: float
) -> None:
    if count == "reference_electra" and masking != "token":
        pytest.skip("draws of single tokens")
    objective = _objective(temperature=temperature)
    num_replaced = 0
    for seed in range(3):
        batch = _batch(masking, count=count, seed=seed, mlm_probability=0.5)
        corrupted, original = _corrupted(objective, batch), _original(batch)
        is_special = torch.from_numpy(VOCABULARY.is_special[original.numpy()])
        assert torch.equal(corrupted.input_ids[is_special], original[is_special])
        assert (corrupted.kinds[is_special] == ORIGINAL).all()
        is_target = batch["labels"] != NOT_A_TARGET
        assert torch.equal(corrupted.kinds != ORIGINAL, is_target)
        assert torch.equal(corrupted.kinds == REPLACED, corrupted.input_ids != original)
        num_replaced += int((corrupted.kinds == REPLACED).sum())
    assert num_replaced > 50


@pytest.mark.parametrize("family", CLASSES)
def test_what_stands_in_the_padding_changes_nothing(family: str) -> None:
    objective, batch = _objective(family, "none"), _batch()
    is_padding = batch["attention_mask"] == 0
    assert is_padding.any()
    other = batch | {
        "input_ids": torch.where(is_padding, VOCABULARY.unk_id, batch["input_ids"]),
        "replacement_noise": torch.where(is_padding, 0.7, batch["replacement_noise"]),
    }
    tokens = int(batch["attention_mask"].sum())
    assert objective.count(other) == objective.count(batch)
    assert objective.count(batch)["discriminator"] == int(objective(batch)["discriminator"].count) == tokens
    for term, loss in objective(other).items():
        torch.testing.assert_close(loss.total, objective(batch)[term].total)
        assert int(loss.correct) == int(objective(batch)[term].correct)


def test_a_target_drawn_twice_counts_twice_for_the_generator_and_once_for_the_discriminator() -> None:
    objective, batch = _objective(), _batch(count="reference_electra", mlm_probability=0.4)
    plain = {key: value for key, value in batch.items() if key != "label_weights"}
    assert (batch["label_weights"] > 1).any()
    weighted, once = objective(batch), objective(plain)
    draws = int(batch["label_weights"].sum())
    assert objective.count(batch)["generator"] == int(weighted["generator"].count) == draws
    assert int(once["generator"].count) == int((batch["labels"] != NOT_A_TARGET).sum()) < draws
    assert weighted["generator"].total > once["generator"].total
    for field in ("total", "count", "correct", "histogram"):
        assert torch.equal(getattr(weighted["discriminator"], field), getattr(once["discriminator"], field))


# How tokens are drawn ------------------------------------------------------------------------------------------------


def test_tokens_are_drawn_from_the_very_logits_whose_loss_is_taken() -> None:
    objective = _objective(temperature=1e-6, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    batch = _batch(mlm_probability=0.5)
    is_target = batch["labels"] != NOT_A_TARGET
    objective.eval()
    vectors = objective.generator.hidden_states(batch)
    batch["labels"] = torch.where(is_target, objective.generator.token_logits(vectors).argmax(dim=-1), NOT_A_TARGET)
    objective.train()  # another pass would have other dropout, and other words
    losses = objective(batch)
    histogram = losses["discriminator"].histogram
    assert histogram is not None
    num_guessed = int(histogram.view(3, NUM_BINS)[GUESSED].sum())
    assert 0 < num_guessed < int(is_target.sum())
    assert int(losses["generator"].correct) == num_guessed


def test_the_draws_follow_the_noise_and_nothing_else() -> None:
    objective, batch = _objective(), _batch(mlm_probability=0.5)
    first = _corrupted(objective, batch)
    torch.manual_seed(99)
    assert torch.equal(_corrupted(objective, batch).input_ids, first.input_ids)
    other = batch | {"replacement_noise": 1.0 - batch["replacement_noise"].clamp(min=1e-9)}
    assert not torch.equal(_corrupted(objective, other).input_ids, first.input_ids)


@pytest.mark.parametrize("broken", ["generator", "model"])
def test_weights_that_are_no_numbers_give_a_loss_that_tells(broken: str) -> None:
    objective = _objective(sharing="none")
    with torch.no_grad():
        for parameter in objective.networks[broken].parameters():
            parameter.fill_(torch.nan)
    losses = objective(_batch())
    assert losses["generator" if broken == "generator" else "discriminator"].total.isnan()


# Settings ------------------------------------------------------------------------------------------------------------


def test_the_terms_have_the_weights_asked_for() -> None:
    assert _objective().weights == {"generator": 1.0, "discriminator": 50.0}
    chosen = _objective(generator_weight=2.0, discriminator_weight=10.0)
    assert chosen.weights == {"generator": 2.0, "discriminator": 10.0}


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", 0.0), ("generator_fraction", 0.0), ("generator_fraction", 1.5), ("sharing", "some")],
)
def test_settings_without_a_meaning_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        ReplacedTokenDetectionSettings(**{field: value})
