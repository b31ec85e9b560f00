"""Laws of what a generator and a discriminator share: embeddings, or a table that is another's plus a residual."""

import copy
import json
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import torch
from torch import nn

from encoders.building import build_encoder
from encoders.config import EncoderError, narrower
from encoders.embeddings import DisentangledEmbedding
from encoders.encoder import Encoder
from encoders.folder import load_encoder
from encoders.sharing import Sharing, share_embeddings, share_fresh
from tests.small_encoders import DETECTION_HEADS, all_logits, drawn_batch, small_config, small_encoder, weights_of
from tokenization.vocabulary import Vocabulary


class Pair(NamedTuple):
    """Sizes of a discriminator, the share of them that its generator has, and what its embeddings are called."""

    name: str
    fraction: float
    fields: dict[str, int]
    words: str
    others: tuple[str, ...]
    head: str
    """The generator's, which is tied to its words."""


_ELECTRA = "electra.embeddings."
_ELECTRA_NAMES = (
    f"{_ELECTRA}word_embeddings.weight",
    (
        f"{_ELECTRA}position_embeddings.weight",
        f"{_ELECTRA}token_type_embeddings.weight",
        f"{_ELECTRA}LayerNorm.weight",
        f"{_ELECTRA}LayerNorm.bias",
    ),
    "generator_lm_head.weight",
)
PAIRS = {
    "electra": Pair("electra", 0.5, {}, *_ELECTRA_NAMES),
    "electra, narrow embeddings": Pair("electra", 0.5, {"embedding_size": 16}, *_ELECTRA_NAMES),
    "modernbert, same width": Pair(
        *("modernbert", 1.0, {}),
        *("model.embeddings.tok_embeddings.weight", ("model.embeddings.norm.weight",), "decoder.weight"),
    ),
}
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
every_sharing = pytest.mark.parametrize("sharing", SHARINGS)


def _encoders(pair: Pair, vocabulary: Vocabulary) -> tuple[Encoder, Encoder]:
    """A generator and a discriminator before they share anything."""
    discriminator = small_encoder(pair.name, vocabulary, heads="replaced_tokens", **pair.fields)
    config = narrower(discriminator.model.config, fraction=pair.fraction, num_hidden_layers=2)
    torch.manual_seed(1)
    return build_encoder(config, heads="tokens", attention="eager").eval(), discriminator


def _sharing(pair: Pair, vocabulary: Vocabulary, sharing: Sharing) -> tuple[Encoder, Encoder]:
    generator, discriminator = _encoders(pair, vocabulary)
    share_embeddings(generator, discriminator, sharing)
    return generator, discriminator


def _disentangled(pair: Pair, vocabulary: Vocabulary) -> tuple[Encoder, Encoder, DisentangledEmbedding]:
    """With a residual that is not zero."""
    generator, discriminator = _sharing(pair, vocabulary, "gradient_disentangled")
    table = discriminator.word_embeddings
    assert isinstance(table, DisentangledEmbedding)
    assert table.residual.abs().min(dim=1).values.any()
    return generator, discriminator, table


def _names(pair: Pair, sharing: Sharing) -> set[str]:
    """What the generator shares, under its names."""
    words = {pair.words, pair.head}
    return {"all": words | set(pair.others), "word": words, "gradient_disentangled": set(), "none": set()}[sharing]


def _parameters(encoder: Encoder) -> dict[str, nn.Parameter]:
    """By every name that each has."""
    return dict(encoder.model.named_parameters(remove_duplicate=False))


# What is shared ------------------------------------------------------------------------------------------------------


@every_pair
@every_sharing
def test_exactly_these_parameters_are_shared(vocabulary: Vocabulary, pair: Pair, sharing: Sharing) -> None:
    generator, discriminator = _sharing(pair, vocabulary, sharing)
    ours, theirs = _parameters(discriminator), _parameters(generator)
    shared = {name for name, value in theirs.items() if any(value is other for other in ours.values())}
    assert shared == _names(pair, sharing)
    assert all(theirs[name] is ours[name] for name in shared - {pair.head})
    together = list(nn.ModuleList([generator, discriminator]).parameters())  # each once
    apart = [value for each in (generator, discriminator) for value in each.parameters()]
    assert len(apart) - len(together) == len(shared - {pair.head})


@every_pair
@every_sharing
def test_the_generators_head_stays_tied_to_its_words(vocabulary: Vocabulary, pair: Pair, sharing: Sharing) -> None:
    generator, discriminator = _sharing(pair, vocabulary, sharing)
    head = generator.model.get_output_embeddings().weight
    assert head is generator.word_embeddings.weight
    assert (head is discriminator.word_embeddings.weight) == (sharing in ("all", "word"))


@every_pair
@every_sharing
def test_shared_embeddings_have_the_discriminators_values_and_others_their_own(
    vocabulary: Vocabulary, pair: Pair, sharing: Sharing
) -> None:
    generator, discriminator = _encoders(pair, vocabulary)
    before = [
        {name: value.detach().clone() for name, value in _parameters(encoder).items()}
        for encoder in (generator, discriminator)
    ]
    batch = drawn_batch(vocabulary)
    logits = all_logits(discriminator, batch, "replaced_tokens")
    share_embeddings(generator, discriminator, sharing)
    shared = _names(pair, sharing)
    for name, value in _parameters(generator).items():
        expected = before[1][pair.words if name == pair.head else name] if name in shared else before[0][name]
        assert torch.equal(value, expected), name
    after = all_logits(discriminator, batch, "replaced_tokens")
    if sharing == "gradient_disentangled":  # table + (own - table) is rounded
        torch.testing.assert_close(after, logits, atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(after, logits)


@every_pair
@every_sharing
def test_the_discriminators_loss_reaches_the_generator_through_what_they_share_alone(
    vocabulary: Vocabulary, pair: Pair, sharing: Sharing
) -> None:
    generator, discriminator = _sharing(pair, vocabulary, sharing)
    hidden = discriminator.hidden_states(drawn_batch(vocabulary))
    discriminator.replaced_logits(hidden).square().sum().backward()
    reached = {name for name, value in _parameters(generator).items() if value.grad is not None}
    assert reached == _names(pair, sharing)
    assert all(value.grad is not None and value.grad.any() for value in discriminator.parameters())


@every_pair
@every_sharing
def test_the_generators_loss_reaches_the_discriminator_through_what_they_share_alone(
    vocabulary: Vocabulary, pair: Pair, sharing: Sharing
) -> None:
    generator, discriminator = _sharing(pair, vocabulary, sharing)
    generator.token_logits(generator.hidden_states(drawn_batch(vocabulary))).square().sum().backward()
    reached = {name for name, value in _parameters(discriminator).items() if value.grad is not None}
    assert reached == _names(pair, sharing) - {pair.head}
    assert all(value.grad is not None for value in generator.parameters())


@every_pair
@every_sharing
def test_both_folders_come_back_as_they_were(
    vocabulary: Vocabulary, tmp_path: Path, pair: Pair, sharing: Sharing
) -> None:
    generator, discriminator = _sharing(pair, vocabulary, sharing)
    batch = drawn_batch(vocabulary)
    generator.save(tmp_path / "generator")
    discriminator.save(tmp_path / "model")
    loaded_generator, missing_there = load_encoder(tmp_path / "generator", heads="tokens", attention="eager")
    loaded, missing = load_encoder(tmp_path / "model", heads="replaced_tokens", attention="eager")
    assert (missing, missing_there) == ([], [])
    assert torch.equal(all_logits(loaded_generator.eval(), batch), all_logits(generator, batch))
    expected = all_logits(discriminator, batch, "replaced_tokens")
    assert torch.equal(all_logits(loaded.eval(), batch, "replaced_tokens"), expected)


# A table plus a residual ---------------------------------------------------------------------------------------------


@every_pair
def test_the_residual_starts_at_zero_where_words_were_copied(vocabulary: Vocabulary, pair: Pair) -> None:
    generator, discriminator = _encoders(pair, vocabulary)
    own = discriminator.word_embeddings.weight.detach().clone()
    logits = all_logits(discriminator, drawn_batch(vocabulary), "replaced_tokens")
    share_fresh(generator, discriminator, "gradient_disentangled")
    share_embeddings(generator, discriminator, "gradient_disentangled")
    assert not discriminator.word_embeddings.residual.any()
    assert torch.equal(discriminator.word_embeddings.weight, own)
    assert torch.equal(generator.word_embeddings.weight, own)
    assert torch.equal(all_logits(discriminator, drawn_batch(vocabulary), "replaced_tokens"), logits)


@every_pair
def test_a_disentangled_table_is_a_plain_one_of_the_sums(vocabulary: Vocabulary, pair: Pair) -> None:
    generator, _, table = _disentangled(pair, vocabulary)
    assert torch.equal(table.weight, generator.word_embeddings.weight + table.residual)
    ids = drawn_batch(vocabulary)["input_ids"]
    assert (ids == vocabulary.pad_id).any()
    plain = nn.Embedding.from_pretrained(table.weight, padding_idx=vocabulary.pad_id)
    assert torch.equal(table(ids), plain(ids))


@every_pair
def test_the_residual_learns_what_a_plain_table_would(vocabulary: Vocabulary, pair: Pair) -> None:
    """And so nothing at padding."""
    _, _, table = _disentangled(pair, vocabulary)
    plain = nn.Embedding.from_pretrained(table.weight, padding_idx=vocabulary.pad_id, freeze=False)
    ids = drawn_batch(vocabulary)["input_ids"]
    weights = torch.randn(*ids.shape, plain.embedding_dim, generator=torch.Generator().manual_seed(0))
    for each in (table, plain):
        (each(ids) * weights).sum().backward()
    assert table.residual.grad is not None and plain.weight.grad is not None
    assert torch.equal(table.residual.grad, plain.weight.grad)
    assert not table.residual.grad[vocabulary.pad_id].any()


@every_pair
def test_the_discriminator_follows_the_generators_words(vocabulary: Vocabulary, pair: Pair) -> None:
    generator, _, table = _disentangled(pair, vocabulary)
    before = table.weight
    with torch.no_grad():
        generator.word_embeddings.weight.add_(1.0)
    torch.testing.assert_close(table.weight, before + 1.0)


@every_pair
def test_the_folder_holds_the_folded_table_and_no_residual(vocabulary: Vocabulary, tmp_path: Path, pair: Pair) -> None:
    _, plain = _encoders(pair, vocabulary)
    _, discriminator, table = _disentangled(pair, vocabulary)
    discriminator.save(tmp_path)
    saved = weights_of(tmp_path)
    assert saved.keys() == plain.model.state_dict().keys()
    assert not any("residual" in name for name in saved)
    assert torch.equal(saved[pair.words], table.weight)
    assert DETECTION_HEADS[pair.name][-1] in saved
    assert isinstance(discriminator.word_embeddings, DisentangledEmbedding)  # saving changes nothing
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [type(plain.model).__name__]


@every_pair
@pytest.mark.parametrize("moved", ["copied", "in another precision"])
def test_a_pair_that_is_copied_or_moved_together_stays_disentangled(
    vocabulary: Vocabulary, pair: Pair, moved: str
) -> None:
    both = nn.ModuleList(_disentangled(pair, vocabulary)[:2])
    both = copy.deepcopy(both) if moved == "copied" else both.to(torch.float64)
    generator, discriminator = both
    table = discriminator.word_embeddings
    expected = generator.word_embeddings.weight + table.residual
    assert torch.equal(table.weight, expected) and table.weight.dtype == expected.dtype
    with torch.no_grad():
        generator.word_embeddings.weight.mul_(2.0)
    assert torch.equal(table.weight, generator.word_embeddings.weight + table.residual)


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", [sharing for sharing in SHARINGS if sharing != "none"])
def test_tables_of_different_widths_are_refused(vocabulary: Vocabulary, sharing: Sharing) -> None:
    pair = PAIRS["modernbert, same width"]._replace(fraction=0.5)
    size = vocabulary.size
    with pytest.raises(
        EncoderError,
        match=rf"objective\.sharing {sharing} needs two word tables of one size, got \({size}, 32\) for the "
        rf"discriminator and \({size}, 16\) for the generator\. Set objective\.sharing to none, or give both the same "
        r"embedding size \(a ModernBERT's is its hidden_size: objective\.generator_fraction 1\.0\)",
    ):
        _sharing(pair, vocabulary, sharing)


def test_tables_of_different_widths_share_nothing_where_nothing_is_to_be_shared(vocabulary: Vocabulary) -> None:
    generator, discriminator = _sharing(PAIRS["modernbert, same width"]._replace(fraction=0.5), vocabulary, "none")
    assert generator.word_embeddings.weight.shape != discriminator.word_embeddings.weight.shape


@every_sharing
def test_other_embeddings_of_different_sizes_are_refused_where_they_are_to_be_shared(
    vocabulary: Vocabulary, sharing: Sharing
) -> None:
    discriminator = small_encoder("electra", vocabulary, heads="replaced_tokens")
    config = small_config("electra", vocabulary, max_position_embeddings=48)
    generator = build_encoder(config, heads="tokens", attention="eager")
    if sharing != "all":
        share_embeddings(generator, discriminator, sharing)
        return
    with pytest.raises(
        EncoderError,
        match=r"objective\.sharing all needs embeddings of one size, got \(64, 32\) for the discriminator's "
        r"position_embeddings\.weight and \(48, 32\) for the generator's\. Set objective\.sharing to word, or name "
        r"another folder as objective\.generator_from",
    ):
        share_embeddings(generator, discriminator, sharing)
