"""Laws of an encoder's sizes: what a configuration carries, a smaller one of the same family, weights and FLOPs."""

# L tokens per row

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, ElectraConfig, ModernBertConfig, PreTrainedConfig

from encoders.building import build_encoder
from encoders.config import ENCODERS, Electra, SpecialIds, flops_per_token, narrower
from encoders.encoder import Heads
from tests.small_encoders import FAMILIES, NARROW, Family, small_config, small_encoder
from tokenization.vocabulary import Vocabulary

IDS = SpecialIds(vocab_size=30_522, pad_id=0, cls_id=101, sep_id=102)
SMALL = Electra(
    num_hidden_layers=12, hidden_size=256, num_attention_heads=4, intermediate_size=1024, embedding_size=128
)
BASE = Electra(num_hidden_layers=12, hidden_size=768, num_attention_heads=12, intermediate_size=3072)
LARGE = Electra(num_hidden_layers=24, hidden_size=1024, num_attention_heads=16, intermediate_size=4096)

# Configurations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_a_configuration_carries_the_sizes_and_the_ids_of_the_vocabulary(vocabulary: Vocabulary, name: str) -> None:
    config = small_config(name, vocabulary, num_hidden_layers=3)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (3, 32, 48)
    assert (config.vocab_size, config.pad_token_id) == (vocabulary.size, vocabulary.pad_id)
    assert config.max_position_embeddings == 64
    if name == "modernbert":
        assert (config.cls_token_id, config.sep_token_id) == (vocabulary.cls_id, vocabulary.sep_id)


@pytest.mark.parametrize(("embedding_size", "expected"), [(None, 32), (32, 32), (16, 16)])
def test_embeddings_are_as_wide_as_the_hidden_states_unless_told(
    vocabulary: Vocabulary, embedding_size: int | None, expected: int
) -> None:
    assert small_config("electra", vocabulary, embedding_size=embedding_size).embedding_size == expected


@pytest.mark.parametrize(("sizes", "expected"), [(SMALL, 13_549_057), (BASE, 109_483_009)], ids=["small", "base"])
def test_published_discriminators_have_as_many_weights_as_published(sizes: Electra, expected: int) -> None:
    with torch.device("meta"):
        encoder = build_encoder(sizes.config(IDS), heads="replaced_tokens", attention="eager")
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected


# Narrower ones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [(SMALL, 1 / 4, (64, 1, 256, 128)), (BASE, 1 / 3, (256, 4, 1024, 768)), (LARGE, 1 / 4, (256, 4, 1024, 1024))],
    ids=["small", "base", "large"],
)
def test_published_generators_follow_from_published_fractions(
    sizes: Electra, fraction: float, expected: tuple[int, ...]
) -> None:
    config = narrower(sizes.config(IDS), fraction=fraction, num_hidden_layers=None)
    found = (config.hidden_size, config.num_attention_heads, config.intermediate_size, config.embedding_size)
    assert found == expected
    assert config.num_hidden_layers == sizes.num_hidden_layers


_THAT_CHANGE = {"hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers", "layer_types"}


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(ENCODERS)),
    num_heads=st.integers(1, 16),
    head_size=st.sampled_from([2, 8, 64]),
    fraction=st.floats(0.01, 1.0),
    layers=st.none() | st.integers(1, 9),
)
def test_a_narrower_encoder_has_fewer_heads_as_wide_and_all_else_as_before(
    vocabulary: Vocabulary, name: str, num_heads: int, head_size: int, fraction: float, layers: int | None
) -> None:
    width = num_heads * head_size
    before = small_config(
        name, vocabulary, hidden_size=width, num_attention_heads=num_heads, intermediate_size=3 * width
    )
    after = narrower(before, fraction=fraction, num_hidden_layers=layers)
    assert type(after) is type(before)
    assert 1 <= after.num_attention_heads <= num_heads
    assert abs(after.num_attention_heads - fraction * num_heads) <= 0.5 or after.num_attention_heads == 1
    assert after.hidden_size == after.num_attention_heads * head_size
    assert after.intermediate_size == 3 * after.hidden_size
    assert after.num_hidden_layers == (layers or before.num_hidden_layers)
    kept = [
        {key: value for key, value in config.to_dict().items() if key not in _THAT_CHANGE} for config in (before, after)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("name", ENCODERS)
def test_the_whole_of_an_encoder_is_the_same_encoder(vocabulary: Vocabulary, name: str) -> None:
    config = small_config(name, vocabulary)
    assert narrower(config, fraction=1.0, num_hidden_layers=None).to_dict() == config.to_dict()


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_layers_of_a_narrower_modernbert_are_of_the_kinds_of_the_first_ones(vocabulary: Vocabulary, every: int) -> None:
    config = small_config("modernbert", vocabulary, num_hidden_layers=4, global_attn_every_n_layers=every)
    for layers in (1, 3, 4):
        assert narrower(config, fraction=0.5, num_hidden_layers=layers).layer_types == config.layer_types[:layers]
    of_own_kinds = ModernBertConfig(num_hidden_layers=3, layer_types=["full_attention"] * 2 + ["sliding_attention"])
    assert narrower(of_own_kinds, fraction=0.5, num_hidden_layers=3).layer_types == of_own_kinds.layer_types


def test_labels_of_a_discriminator_are_not_its_generators(vocabulary: Vocabulary) -> None:
    discriminator = build_encoder(small_config("modernbert", vocabulary), heads="replaced_tokens", attention="eager")
    config = discriminator.model.config
    assert config.id2label == {0: "replaced"}
    assert narrower(config, fraction=0.5, num_hidden_layers=None).id2label == ModernBertConfig().id2label


# FLOPs ---------------------------------------------------------------------------------------------------------------


def _flops_by_hand(
    *, gated: bool = False, projection: int = 0, looked_at: float = 0.5, head: float = 0.5 * (8 * 8 + 8 * 100)
) -> float:
    """Two layers of 8 with an inner width of 16, in rows of 10."""
    keys_and_values = 2 * 8 * 8
    queries_and_output = 2 * 8 * 8
    feed_forward = (3 if gated else 2) * 8 * 16
    products = 2 * 10 * 8  # queries by keys, weights by values
    at_queries = queries_and_output + feed_forward + products
    first, last = keys_and_values + at_queries, keys_and_values + looked_at * at_queries
    return 3 * 2 * (projection + first + last + head)


_TWO_OF_8: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@pytest.mark.parametrize(
    ("config", "looks_everywhere", "expected"),
    [
        (BertConfig(**_TWO_OF_8), False, _flops_by_hand()),
        (ElectraConfig(**_TWO_OF_8, embedding_size=8), False, _flops_by_hand()),
        (
            ElectraConfig(**_TWO_OF_8, embedding_size=4),
            False,
            _flops_by_hand(projection=4 * 8, head=0.5 * (8 * 4 + 4 * 100)),
        ),
        (
            ElectraConfig(**_TWO_OF_8, embedding_size=4),
            True,
            _flops_by_hand(projection=4 * 8, looked_at=1.0, head=8 * 8 + 8),
        ),
        (ModernBertConfig(**_TWO_OF_8), False, _flops_by_hand(gated=True)),
        (ModernBertConfig(**_TWO_OF_8), True, _flops_by_hand(gated=True, looked_at=1.0, head=8 * 8 + 8)),
    ],
    ids=["bert", "electra", "electra, narrow", "electra, discriminator", "modernbert", "modernbert, discriminator"],
)
def test_flops_of_a_token_by_hand(config: PreTrainedConfig, looks_everywhere: bool, expected: float) -> None:
    found = flops_per_token(config, max_seq_length=10, target_ratio=0.5, looks_everywhere=looks_everywhere)
    assert found == expected


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_flops_of_a_token_are_those_that_torch_counts(vocabulary: Vocabulary, family: Family) -> None:
    encoder = small_encoder(family.name, vocabulary, heads=family.heads, **family.fields)
    ids = torch.randint(vocabulary.size, (4, 40), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    wanted = (torch.arange(40) % 4 == 0).expand(4, -1)
    looks_everywhere = family.heads == "replaced_tokens"
    with FlopCounterMode(display=False) as counter:
        if looks_everywhere:
            logits = encoder.replaced_logits(encoder.hidden_states(batch))
        else:
            logits = encoder.token_logits(encoder.vectors_at(batch, wanted))
        logits.sum().backward()
    expected = flops_per_token(
        encoder.model.config, max_seq_length=40, target_ratio=0.25, looks_everywhere=looks_everywhere
    )
    assert counter.get_total_flops() / ids.numel() == pytest.approx(
        expected, rel=0.01
    )  # rotary angles are products too


@pytest.mark.parametrize("heads", ["tokens", "replaced_tokens"])
def test_flops_grow_with_each_size(vocabulary: Vocabulary, heads: Heads) -> None:
    def flops(**fields: int) -> float:
        config = small_config("electra", vocabulary, **{**NARROW, **fields})
        return flops_per_token(
            config, max_seq_length=40, target_ratio=0.15, looks_everywhere=heads == "replaced_tokens"
        )

    larger = ({"hidden_size": 64}, {"num_hidden_layers": 5}, {"intermediate_size": 64}, {"embedding_size": 24})
    assert all(flops(**fields) > flops() for fields in larger)
