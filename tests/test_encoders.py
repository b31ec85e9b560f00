"""Laws of the encoders: transformers' own models, on which packing and padding change nothing."""

# B rows, L tokens per row

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from encoders.attention import attention_kernel
from encoders.building import build_encoder
from encoders.encoder import Batch, Encoder
from objectives.cutting.packed import Packed
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.rows import Rows
from tests.small_encoders import (
    FAMILIES,
    Family,
    all_logits,
    inputs_of,
    logits_of,
    small_config,
    small_encoder,
)
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeCorpus = Callable[..., TokenSplit]
KERNELS = ["eager", "sdpa"]
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
every_kernel = pytest.mark.parametrize("attention", KERNELS)


def _build(family: Family, vocabulary: Vocabulary, attention: str = "eager") -> Encoder:
    return small_encoder(family.name, vocabulary, heads=family.heads, attention=attention, **family.fields)


def _batch(rows: Rows) -> Batch:
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    return {name: torch.from_numpy(getattr(rows, name)) for name in names if getattr(rows, name) is not None}


@pytest.fixture(scope="module")
def pairs(vocabulary: Vocabulary, make_corpus: MakeCorpus) -> Batch:
    """(6, 40) pairs, some of them short."""
    plan = SentencePairs(max_seq_length=40, short_seq_prob=0.5).plan(make_corpus(20), vocabulary, seed=0, epoch=0)
    batch = _batch(plan.rows(np.arange(6)))
    assert not batch["attention_mask"].all()
    return batch


@pytest.fixture(scope="module")
def packed(vocabulary: Vocabulary, make_corpus: MakeCorpus) -> Batch:
    """(6, 60) rows of two to six pieces, the last with padding."""
    split = make_corpus(12, sentences=(1, 3), words=(4, 14))
    plan = Packed(max_seq_length=60).plan(split, vocabulary, seed=0, epoch=0)
    batch = _batch(plan.rows(np.arange(len(plan))[-6:]))
    assert ((batch["input_ids"] == vocabulary.cls_id).sum(dim=1) >= 2).any()
    assert not batch["attention_mask"].all()
    return batch


def _rows_of(batch: Batch, row: int, columns: slice) -> Batch:
    return {name: value[row : row + 1, columns] for name, value in batch.items()}


# Attention -----------------------------------------------------------------------------------------------------------


def _pieces(batch: Batch) -> list[tuple[int, slice]]:
    """Row and columns of each piece of packed rows."""
    found = []
    for row, (positions, used) in enumerate(
        zip(batch["position_ids"].tolist(), batch["attention_mask"].sum(dim=1).tolist(), strict=True)
    ):
        starts = [column for column in range(used) if positions[column] == 0]
        found += [(row, slice(start, end)) for start, end in itertools.pairwise([*starts, used])]
    return found


@every_family
@every_kernel
def test_a_packed_row_equals_its_documents_run_apart(
    vocabulary: Vocabulary, packed: Batch, family: Family, attention: str
) -> None:
    encoder = _build(family, vocabulary, attention)
    together = all_logits(encoder, packed, family.heads)
    pieces = _pieces(packed)
    assert len(pieces) > len(together) + 4
    assert max(columns.stop - columns.start for _, columns in pieces) > 20  # longer than a narrow window
    for row, columns in pieces:
        alone = _rows_of(packed, row, columns)
        del alone["position_ids"]
        apart = all_logits(encoder, alone, family.heads)[0]
        torch.testing.assert_close(apart, together[row, columns], atol=1e-5, rtol=1e-5)


@every_family
@every_kernel
def test_vectors_at_some_places_are_those_of_the_whole_forward_pass(
    vocabulary: Vocabulary, packed: Batch, pairs: Batch, family: Family, attention: str
) -> None:
    encoder = _build(family, vocabulary, attention)
    for batch in (packed, pairs):
        everywhere = encoder.hidden_states(batch)
        wanted = torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(0)) < 0.2
        wanted[1] = False  # a row that nothing is asked of
        for places in (wanted, torch.zeros_like(wanted)):
            torch.testing.assert_close(encoder.vectors_at(batch, places), everywhere[places], atol=1e-5, rtol=1e-5)
        weights = torch.randn(encoder.model.config.hidden_size, generator=torch.Generator().manual_seed(1))
        gradients = []
        for vectors in (everywhere[wanted], encoder.vectors_at(batch, wanted)):
            encoder.zero_grad()
            (vectors @ weights).sum().backward()
            used = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None and p.grad.any()}
            gradients.append({name: gradient.clone() for name, gradient in used.items()})
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(
                gradients[1][name], gradient, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )


@every_family
@every_kernel
def test_a_packed_row_differs_from_the_same_row_as_one_piece(
    vocabulary: Vocabulary, packed: Batch, family: Family, attention: str
) -> None:
    encoder = _build(family, vocabulary, attention)
    whole = {key: value for key, value in packed.items() if key != "position_ids"}
    assert (all_logits(encoder, whole, family.heads) - all_logits(encoder, packed, family.heads)).abs().max() > 1e-2


@every_family
@every_kernel
def test_padding_changes_nothing(vocabulary: Vocabulary, pairs: Batch, family: Family, attention: str) -> None:
    judges_pairs = family.heads == "tokens"
    encoder = _build(family._replace(heads="sentence_pairs") if judges_pairs else family, vocabulary, attention)
    padded = encoder.hidden_states(pairs)
    logits = logits_of(encoder, family.heads, padded)
    for row, used in enumerate(pairs["attention_mask"].sum(dim=1).tolist()):
        alone = encoder.hidden_states(_rows_of(pairs, row, slice(used)))
        torch.testing.assert_close(alone[0], padded[row, :used], atol=1e-5, rtol=1e-5)
        alone_logits = logits_of(encoder, family.heads, alone)
        torch.testing.assert_close(alone_logits[0], logits[row, :used], atol=1e-5, rtol=1e-5)
        if judges_pairs:
            first, second = (encoder.sentence_logits(states[:, 0]) for states in (alone, padded[row : row + 1]))
            torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@every_family
def test_both_kernels_give_the_same(vocabulary: Vocabulary, pairs: Batch, packed: Batch, family: Family) -> None:
    eager, sdpa = (_build(family, vocabulary, attention) for attention in KERNELS)
    for batch in (pairs, packed):
        used = batch["attention_mask"].bool()
        first, second = (all_logits(encoder, batch, family.heads)[used] for encoder in (eager, sdpa))
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@every_family
def test_unpacked_rows_give_the_logits_of_the_transformers_model(
    vocabulary: Vocabulary, pairs: Batch, family: Family
) -> None:
    encoder = _build(family, vocabulary)
    with torch.no_grad():
        expected = encoder.model(**inputs_of(encoder, pairs)).logits
    logits = all_logits(encoder, pairs, family.heads)
    used = pairs["attention_mask"].bool()
    torch.testing.assert_close(logits[used], expected[used].view(logits[used].shape), atol=1e-5, rtol=1e-5)


def test_the_kernel_is_plain_for_short_rows_on_a_cpu_and_fused_elsewhere() -> None:
    assert attention_kernel(torch.device("cpu"), 128) == "eager"
    assert attention_kernel(torch.device("cpu"), 512) == "sdpa"
    assert attention_kernel(torch.device("cuda"), 128) == "sdpa"


def test_a_discriminator_gives_one_logit_a_token_for_rows_and_for_single_vectors(
    vocabulary: Vocabulary, pairs: Batch
) -> None:
    for family in FAMILIES.values():
        if family.heads == "replaced_tokens":
            encoder = _build(family, vocabulary)
            hidden = encoder.hidden_states(pairs)
            logits = encoder.replaced_logits(hidden)
            assert logits.shape == pairs["input_ids"].shape
            some = pairs["attention_mask"].bool()
            torch.testing.assert_close(encoder.replaced_logits(hidden[some]), logits[some], atol=1e-5, rtol=1e-5)


# Weights -------------------------------------------------------------------------------------------------------------


@every_family
def test_weights_are_drawn_from_the_default_generator(vocabulary: Vocabulary, family: Family) -> None:
    heads = "sentence_pairs" if family.heads == "tokens" else family.heads

    def draw(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        config = small_config(family.name, vocabulary, **family.fields)
        return build_encoder(config, heads=heads, attention="eager").state_dict()

    first, again, other = draw(0), draw(0), draw(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_family
def test_hidden_matrices_are_the_linear_maps_of_the_layers(vocabulary: Vocabulary, family: Family) -> None:
    for heads in ("tokens", "sentence_pairs") if family.heads == "tokens" else (family.heads,):
        encoder = _build(family._replace(heads=heads), vocabulary)
        expected = {
            id(parameter)
            for key, parameter in encoder.model.base_model.named_parameters()
            if "layer" in key and parameter.ndim == 2
        }
        assert {id(matrix) for matrix in encoder.hidden_matrices()} == expected
        assert len(expected) == 4 * {"bert": 6, "electra": 6, "modernbert": 4}[family.name]
