"""Laws of the objectives: transformers' own loss, as sums and counts that add up over any cut of a batch."""

# B rows, L tokens per row, V vocabulary

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM, BertForPreTraining, ModernBertForMaskedLM

from encoders.building import build_encoder
from encoders.config import ENCODERS, EncoderError, SpecialIds
from encoders.families import FAMILIES
from objectives import OBJECTIVES
from objectives.detections import NUM_BINS, ORIGINAL
from objectives.draws import Key, uniforms
from objectives.examples import EXAMPLES
from objectives.masking import NOT_A_TARGET, TokenMasking
from objectives.mlm import cross_entropy
from objectives.objective import Batch, Loss, Objective
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeCorpus = Callable[..., TokenSplit]
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SIZES: dict[str, dict[str, Any]] = {"bert": _NO_DROPOUT, "electra": {**_NO_DROPOUT, "embedding_size": 24}}
"""Fields that a family asks for besides those that all have."""
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("replaced_token_detection", "electra"): {"generator_fraction": 0.5},
    ("replaced_token_detection", "modernbert"): {"generator_fraction": 0.5, "sharing": "none"},
}
"""Settings that a pairing asks for."""


def _is_able(name: str, family: str) -> bool:
    """Whether transformers has classes of a family with the heads that an objective asks of its networks."""
    return FAMILIES[family].model_classes.keys() >= set(OBJECTIVES[name].heads.values())  # type: ignore[attr-defined]


every_pairing = pytest.mark.parametrize(
    ("name", "family"),
    [(name, family) for name, family in itertools.product(OBJECTIVES, ENCODERS) if _is_able(name, family)],
)


@pytest.fixture(scope="module")
def batches(vocabulary: Vocabulary, make_corpus: MakeCorpus) -> dict[str, Batch]:
    """Masked rows (12, 40) of each cutting, some of them with padding."""
    made = {}
    for name, cutting in EXAMPLES.items():
        plan = cutting(max_seq_length=40).plan(make_corpus(30), vocabulary, seed=0, epoch=0)  # type: ignore[attr-defined]
        # With the shortest rows of the epoch among them, where rows differ.
        indices = np.arange(12) if plan.lengths is None else np.argsort(plan.lengths, kind="stable")[::10][:12]
        rows = plan.rows(indices)
        masked = TokenMasking().mask(rows.input_ids, indices=indices, vocabulary=vocabulary, seed=0, epoch=0)
        arrays = {
            "input_ids": masked.input_ids,
            "labels": masked.labels,
            "attention_mask": rows.attention_mask,
            "token_type_ids": rows.token_type_ids,
            "position_ids": rows.position_ids,
            "next_sentence_label": rows.next_sentence_label,
            "sentence_order_label": rows.sentence_order_label,
        }
        arrays["replacement_noise"] = uniforms(Key(0, 0, "replacement"), indices[:, None], np.arange(40)[None, :])
        made[name] = {key: torch.from_numpy(value) for key, value in arrays.items() if value is not None}
        assert plan.lengths is None or not made[name]["attention_mask"].all()
    return made


@pytest.fixture
def pairs(batches: dict[str, Batch]) -> Batch:
    return batches["sentence_pairs"]


@pytest.fixture
def fitting(batches: dict[str, Batch], name: str) -> Batch:
    """Rows of the cutting that answers all that an objective asks."""
    return batches["sentence_order" if name == "mlm_sop" else "sentence_pairs"]


def _build(name: str, family: str, vocabulary: Vocabulary, **settings: Any) -> Objective:
    torch.manual_seed(0)
    fields = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
    sizes = ENCODERS[family].model_validate({**fields, "max_position_embeddings": 64, **SIZES.get(family, {})})
    ids = SpecialIds(vocabulary.size, pad_id=vocabulary.pad_id, cls_id=vocabulary.cls_id, sep_id=vocabulary.sep_id)
    chosen = OBJECTIVES[name](**SETTINGS.get((name, family), {}), **settings)
    encoder = build_encoder(
        sizes.config(ids),  # type: ignore[attr-defined]
        heads=chosen.heads["model"],  # type: ignore[attr-defined]
        attention="eager",
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return chosen.build(encoder)  # type: ignore[attr-defined,no-any-return]


def _total(objective: Objective, losses: dict[str, Loss], counts: dict[str, int]) -> torch.Tensor:
    """What the loop minimises: sums over everything, divided once."""
    terms = [objective.weights[term] * loss.total / max(counts[term], 1) for term, loss in losses.items()]
    return torch.stack(terms).sum()


def _gradient(objective: Objective) -> dict[str, torch.Tensor]:
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in objective.named_parameters()
    }


def _masked_term(name: str) -> str:
    """The term over the targets, which is the first that an objective names."""
    term: str = OBJECTIVES[name].terms[0]  # type: ignore[attr-defined]
    return term


def _take(batch: Batch, part: slice) -> Batch:
    return {name: value[part] for name, value in batch.items()}


def test_the_one_pairing_that_is_left_out_is_refused_with_a_way_on(vocabulary: Vocabulary) -> None:
    left_out = [pairing for pairing in itertools.product(OBJECTIVES, ENCODERS) if not _is_able(*pairing)]
    assert left_out == [("replaced_token_detection", "bert")]
    with pytest.raises(EncoderError, match="bert model, which has no head for replaced tokens; expected electra or "):
        _build("replaced_token_detection", "bert", vocabulary)


# transformers' own loss ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family", "model_class", "keys"),
    [
        ("mlm", "bert", BertForMaskedLM, ["token_type_ids", "labels"]),
        ("mlm", "modernbert", ModernBertForMaskedLM, ["labels"]),
        ("mlm_nsp", "bert", BertForPreTraining, ["token_type_ids", "labels", "next_sentence_label"]),
    ],
)
def test_loss_and_gradient_are_those_of_the_transformers_class(
    vocabulary: Vocabulary, pairs: Batch, name: str, family: str, model_class: type, keys: list[str]
) -> None:
    objective = _build(name, family, vocabulary)
    model = objective.encoder.model
    assert type(model) is model_class
    expected = model(**{key: pairs[key] for key in ("input_ids", "attention_mask", *keys)}).loss
    expected.backward()
    reference = _gradient(objective)
    objective.zero_grad()
    loss = _total(objective, objective(pairs), objective.count(pairs))
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for key, value in _gradient(objective).items():
        torch.testing.assert_close(value, reference[key], atol=1e-5, rtol=1e-4, msg=key)


def test_a_batch_can_be_fed_to_its_transformers_model_by_hand(vocabulary: Vocabulary, pairs: Batch) -> None:
    objective = _build("mlm_nsp", "bert", vocabulary)
    expected = _total(objective, objective(pairs), objective.count(pairs))
    batch = {key: value for key, value in pairs.items() if key != "replacement_noise"}
    torch.testing.assert_close(objective.encoder.model(**batch).loss, expected, atol=1e-5, rtol=1e-5)


def test_the_order_is_judged_by_the_head_for_next_sentences(vocabulary: Vocabulary, batches: dict[str, Batch]) -> None:
    batch = batches["sentence_order"]
    objective = _build("mlm_sop", "bert", vocabulary, sop_weight=0.25)
    assert type(objective.encoder.model) is BertForPreTraining
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids", "labels")}
    both = objective.encoder.model(**inputs, next_sentence_label=batch["sentence_order_label"]).loss
    losses = objective(batch)
    mlm = losses["mlm"].total / losses["mlm"].count
    assert 0 < batch["sentence_order_label"].sum() < 12
    expected = mlm + 0.25 * (both - mlm)
    torch.testing.assert_close(_total(objective, losses, objective.count(batch)), expected, atol=1e-5, rtol=1e-5)


def test_next_sentences_on_modernbert_are_judged_by_a_head_on_cls(vocabulary: Vocabulary, pairs: Batch) -> None:
    objective = _build("mlm_nsp", "modernbert", vocabulary)
    losses = objective(pairs)
    inputs = {name: pairs[name] for name in ("input_ids", "attention_mask")}
    opening = objective.encoder.model.model(**inputs).last_hidden_state[:, 0]
    heads = objective.encoder.sentence_head
    assert heads is not None
    logits = heads.seq_relationship(torch.tanh(heads.pooler(opening)))  # type: ignore[operator]
    expected = torch.nn.functional.cross_entropy(logits, pairs["next_sentence_label"])
    torch.testing.assert_close(losses["nsp"].total / losses["nsp"].count, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("nsp_weight", [1.0, 0.25])
def test_the_next_sentence_loss_has_the_weight_asked_for(
    vocabulary: Vocabulary, pairs: Batch, nsp_weight: float
) -> None:
    objective = _build("mlm_nsp", "bert", vocabulary, nsp_weight=nsp_weight)
    model, losses = objective.encoder.model, objective(pairs)
    inputs = {name: pairs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    both = model(**inputs, labels=pairs["labels"], next_sentence_label=pairs["next_sentence_label"]).loss
    mlm = losses["mlm"].total / losses["mlm"].count
    expected = mlm + nsp_weight * (both - mlm)
    torch.testing.assert_close(_total(objective, losses, objective.count(pairs)), expected, atol=1e-5, rtol=1e-5)


# Sums and counts -----------------------------------------------------------------------------------------------------


@every_pairing
@pytest.mark.parametrize("cutting", EXAMPLES)
def test_counts_are_known_from_the_batch_alone(
    vocabulary: Vocabulary, batches: dict[str, Batch], name: str, family: str, cutting: str
) -> None:
    objective, batch = _build(name, family, vocabulary), batches[cutting]
    losses, counts = objective(batch), objective.count(batch)
    assert counts == {term: int(loss.count) for term, loss in losses.items()}
    assert counts[_masked_term(name)] == (batch["labels"] != NOT_A_TARGET).sum()
    assert set(losses) <= set(objective.weights) == set(OBJECTIVES[name].terms)  # type: ignore[attr-defined]
    for term, loss in losses.items():
        assert loss.total.dtype == torch.float32
        assert loss.count.dtype == loss.correct.dtype == torch.int64
        assert loss.total.shape == loss.count.shape == loss.correct.shape == ()
        assert not loss.correct.requires_grad
        assert (loss.histogram is None) == (term not in objective.histogram_sizes)
        if loss.histogram is not None:
            assert loss.histogram.shape == (objective.histogram_sizes[term],)
            assert loss.histogram.dtype == torch.int64 and int(loss.histogram.sum()) == counts[term]


@every_pairing
@pytest.mark.parametrize("cutting", EXAMPLES)
@pytest.mark.parametrize("cuts", [[1] * 12, [6, 6], [5, 4, 3], [11, 1]])
def test_micro_batches_sum_to_the_gradient_of_the_whole_batch(
    vocabulary: Vocabulary, batches: dict[str, Batch], name: str, family: str, cutting: str, cuts: list[int]
) -> None:
    objective, batch = _build(name, family, vocabulary), batches[cutting]
    counts, at_once = objective.count(batch), objective(batch)
    whole = _total(objective, at_once, counts)
    whole.backward()
    expected = _gradient(objective)
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-2
    objective.zero_grad()
    total, start, parts = 0.0, 0, []
    for size in cuts:
        parts.append(objective(_take(batch, slice(start, start + size))))
        loss = _total(objective, parts[-1], counts)
        loss.backward()
        total, start = total + loss.item(), start + size
    assert start == len(batch["input_ids"])
    assert total == pytest.approx(whole.item(), abs=1e-5)
    for term, loss_of_all in at_once.items():
        assert sum(int(part[term].correct) for part in parts) == int(loss_of_all.correct)
        if loss_of_all.histogram is not None:
            assert torch.equal(torch.stack([part[term].histogram for part in parts]).sum(dim=0), loss_of_all.histogram)
    for key, value in _gradient(objective).items():
        torch.testing.assert_close(value, expected[key], atol=1e-5, rtol=1e-4, msg=key)


@every_pairing
def test_a_batch_without_targets_gives_zero_and_a_finite_gradient(
    vocabulary: Vocabulary, batches: dict[str, Batch], name: str, family: str
) -> None:
    objective, term = _build(name, family, vocabulary), _masked_term(name)
    batch = batches["packed"] | {"labels": torch.full_like(batches["packed"]["labels"], NOT_A_TARGET)}
    losses = objective(batch)
    assert {term: int(loss.count) for term, loss in losses.items()} == objective.count(batch)
    assert losses[term].total.item() == int(losses[term].correct) == int(losses[term].count) == 0
    losses[term].total.backward(retain_graph=True)
    assert all((value == 0).all() for value in _gradient(objective).values())
    if others := [loss.total for key, loss in losses.items() if key != term]:
        torch.stack(others).sum().backward()
        assert all(value.isfinite().all() for value in _gradient(objective).values())


def test_where_nothing_was_masked_the_discriminator_sees_nothing_but_originals(
    vocabulary: Vocabulary, batches: dict[str, Batch]
) -> None:
    objective = _build("replaced_token_detection", "electra", vocabulary)
    batch = batches["packed"] | {"labels": torch.full_like(batches["packed"]["labels"], NOT_A_TARGET)}
    losses, tokens = objective(batch), int(batch["attention_mask"].sum())
    histogram = losses["discriminator"].histogram
    assert histogram is not None
    assert int(losses["discriminator"].count) == tokens == int(histogram.view(3, NUM_BINS)[ORIGINAL].sum())
    _total(objective, losses, objective.count(batch)).backward()
    generator, discriminator = (objective.networks[key] for key in ("generator", "model"))
    theirs = set(discriminator.parameters())
    own = [parameter for parameter in generator.parameters() if parameter not in theirs]
    assert own and all(parameter.grad is None or (parameter.grad == 0).all() for parameter in own)
    assert any((parameter.grad != 0).any() for parameter in theirs if parameter.grad is not None)


@every_pairing
def test_columns_of_padding_change_neither_loss_nor_count(
    vocabulary: Vocabulary, fitting: Batch, name: str, family: str
) -> None:
    objective = _build(name, family, vocabulary)
    fill = {"input_ids": vocabulary.pad_id, "labels": NOT_A_TARGET}
    padded = {
        key: torch.nn.functional.pad(value, (0, 9), value=fill.get(key, 0)) if value.ndim == 2 else value
        for key, value in fitting.items()
    }
    assert objective.count(padded) == objective.count(fitting)
    assert set(objective.count(fitting)) == set(objective.weights)
    losses = objective(fitting)
    for term, loss in objective(padded).items():
        torch.testing.assert_close(loss.total, losses[term].total, atol=1e-4, rtol=1e-5)
        assert int(loss.correct) == int(losses[term].correct)
        if loss.histogram is not None:
            assert torch.equal(loss.histogram, losses[term].histogram)


@every_pairing
def test_totals_are_float32_under_bfloat16(vocabulary: Vocabulary, fitting: Batch, name: str, family: str) -> None:
    objective = _build(name, family, vocabulary)
    exact = objective(fitting)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = objective(fitting)
    for term, loss in rounded.items():
        assert loss.total.dtype == torch.float32
        assert loss.total.item() != exact[term].total.item()
        assert loss.total.item() == pytest.approx(exact[term].total.item(), rel=0.02)


def test_accuracy_counts_the_targets_predicted_right() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.5, 4.0], [1.0, 0.0, 0.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0, 1, 0, 2]))
    assert (int(loss.count), int(loss.correct)) == (4, 2)
    by_hand = sum(
        (torch.logsumexp(row, 0) - row[target]).item() for row, target in zip(logits, (0, 1, 0, 2), strict=True)
    )
    assert loss.total.item() == pytest.approx(by_hand, rel=1e-6)


def test_accuracies_of_a_batch_are_those_of_the_transformers_logits(vocabulary: Vocabulary, pairs: Batch) -> None:
    objective = _build("mlm_nsp", "bert", vocabulary)
    output = objective.encoder.model(**{key: value for key, value in pairs.items() if key != "replacement_noise"})
    is_target = pairs["labels"] != NOT_A_TARGET
    # Half of the labels as the model would have them, so that some are right.
    predicted = output.prediction_logits.argmax(dim=-1)
    labels = torch.where(is_target & (torch.arange(40) % 2 == 0), predicted, pairs["labels"])
    losses = objective(pairs | {"labels": labels})
    expected = int((predicted == labels)[is_target].sum())
    assert 0 < expected < int(is_target.sum())
    assert int(losses["mlm"].correct) == expected
    nsp = output.seq_relationship_logits.argmax(dim=-1) == pairs["next_sentence_label"]
    assert int(losses["nsp"].correct) == int(nsp.sum())


def test_logits_of_half_precision_are_summed_in_float32() -> None:
    logits, targets = (
        torch.randn(500, 20, generator=torch.Generator().manual_seed(0)).bfloat16(),
        torch.arange(500) % 20,
    )
    loss = cross_entropy(logits, targets)
    assert loss.total.dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum")
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
