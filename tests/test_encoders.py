"""Laws of the encoders: transformers' own models, on which packing and padding change nothing; folders come back."""

# B rows, L tokens per row

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from encoders.attention import attention_kernel
from encoders.building import build_encoder
from encoders.config import ENCODERS, EncoderError, SpecialIds, flops_per_token
from encoders.encoder import EXTRA_HEADS, Batch, Encoder, Heads
from encoders.folder import load_encoder
from objectives.cutting.packed import Packed
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.rows import Rows
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

MakeCorpus = Callable[..., TokenSplit]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SIZES: dict[str, dict[str, Any]] = {"bert": NO_DROPOUT}
"""Fields that a family asks for besides those that all have."""
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ENCODERS},
    "modernbert, all layers global": ("modernbert", {"global_attn_every_n_layers": 1}),
    "modernbert, narrow windows": ("modernbert", {"global_attn_every_n_layers": 3, "local_attention": 8}),
}
TRAINED_AS = {
    ("bert", False): BertForMaskedLM,
    ("bert", True): BertForPreTraining,
    ("modernbert", False): ModernBertForMaskedLM,
    ("modernbert", True): ModernBertForMaskedLM,
}
KERNELS = ["eager", "sdpa"]
every_family = pytest.mark.parametrize("family", FAMILIES)
every_kernel = pytest.mark.parametrize("attention", KERNELS)
every_trained_class = pytest.mark.parametrize(("name", "heads"), TRAINED_AS)


def _config(name: str, vocabulary: Vocabulary, **fields: Any) -> Any:
    sizes = {
        "num_hidden_layers": 4,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    }
    ids = SpecialIds(vocabulary.size, pad_id=vocabulary.pad_id, cls_id=vocabulary.cls_id, sep_id=vocabulary.sep_id)
    return ENCODERS[name].model_validate({**sizes, **SIZES.get(name, {}), **fields}).config(ids)


def _build(
    name: str, vocabulary: Vocabulary, *, heads: Heads = "tokens", attention: str = "eager", **fields: Any
) -> Encoder:
    """An encoder whose weights are large enough that each of them shows in the logits."""
    torch.manual_seed(0)
    config = _config(name, vocabulary, **fields)
    encoder = build_encoder(config, heads=heads, attention=attention).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return encoder


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


@torch.no_grad()
def _logits(encoder: Encoder, batch: Batch) -> torch.Tensor:
    return encoder.token_logits(encoder.hidden_states(batch))


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
    vocabulary: Vocabulary, packed: Batch, family: str, attention: str
) -> None:
    name, fields = FAMILIES[family]
    encoder = _build(name, vocabulary, attention=attention, **fields)
    together = _logits(encoder, packed)
    pieces = _pieces(packed)
    assert len(pieces) > len(together) + 4
    assert max(columns.stop - columns.start for _, columns in pieces) > 20  # longer than a narrow window
    for row, columns in pieces:
        alone = _rows_of(packed, row, columns)
        del alone["position_ids"]
        torch.testing.assert_close(_logits(encoder, alone)[0], together[row, columns], atol=1e-5, rtol=1e-5)


@every_family
@every_kernel
def test_vectors_at_some_places_are_those_of_the_whole_forward_pass(
    vocabulary: Vocabulary, packed: Batch, pairs: Batch, family: str, attention: str
) -> None:
    name, fields = FAMILIES[family]
    encoder = _build(name, vocabulary, attention=attention, **fields)
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
    vocabulary: Vocabulary, packed: Batch, family: str, attention: str
) -> None:
    name, fields = FAMILIES[family]
    encoder = _build(name, vocabulary, attention=attention, **fields)
    whole = {key: value for key, value in packed.items() if key != "position_ids"}
    assert (_logits(encoder, whole) - _logits(encoder, packed)).abs().max() > 1e-2


@every_family
@every_kernel
def test_padding_changes_nothing(vocabulary: Vocabulary, pairs: Batch, family: str, attention: str) -> None:
    name, fields = FAMILIES[family]
    encoder = _build(name, vocabulary, heads="sentence_pairs", attention=attention, **fields)
    padded = encoder.hidden_states(pairs)
    sentence_logits = encoder.sentence_logits(padded[:, 0])
    for row, used in enumerate(pairs["attention_mask"].sum(dim=1).tolist()):
        alone = encoder.hidden_states(_rows_of(pairs, row, slice(used)))
        torch.testing.assert_close(alone[0], padded[row, :used], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoder.sentence_logits(alone[:, 0])[0], sentence_logits[row], atol=1e-5, rtol=1e-5)


@every_family
def test_both_kernels_give_the_same(vocabulary: Vocabulary, pairs: Batch, packed: Batch, family: str) -> None:
    name, fields = FAMILIES[family]
    eager, sdpa = (_build(name, vocabulary, attention=attention, **fields) for attention in KERNELS)
    for batch in (pairs, packed):
        used = batch["attention_mask"].bool()
        torch.testing.assert_close(_logits(eager, batch)[used], _logits(sdpa, batch)[used], atol=1e-5, rtol=1e-5)


@every_family
def test_unpacked_rows_give_the_logits_of_the_transformers_model(
    vocabulary: Vocabulary, pairs: Batch, family: str
) -> None:
    name, fields = FAMILIES[family]
    encoder = _build(name, vocabulary, **fields)
    inputs = pairs if encoder.takes_token_type_ids else {k: v for k, v in pairs.items() if k != "token_type_ids"}
    with torch.no_grad():
        expected = encoder.model(**inputs).logits
    used = pairs["attention_mask"].bool()
    torch.testing.assert_close(_logits(encoder, pairs)[used], expected[used], atol=1e-5, rtol=1e-5)


def test_the_kernel_is_plain_for_short_rows_on_a_cpu_and_fused_elsewhere() -> None:
    assert attention_kernel(torch.device("cpu"), 128) == "eager"
    assert attention_kernel(torch.device("cpu"), 512) == "sdpa"
    assert attention_kernel(torch.device("cuda"), 128) == "sdpa"


# Folders -------------------------------------------------------------------------------------------------------------


@every_trained_class
def test_a_saved_encoder_loads_in_the_class_it_was_trained_as(
    vocabulary: Vocabulary, pairs: Batch, tmp_path: Path, name: str, heads: Heads
) -> None:
    encoder = _build(name, vocabulary, heads=heads)
    encoder.save(tmp_path)
    trained_class = TRAINED_AS[name, sentence_pairs]
    assert type(encoder.model) is trained_class
    model, info = trained_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [trained_class.__name__]
    used = pairs["attention_mask"].bool()
    inputs = pairs if encoder.takes_token_type_ids else {k: v for k, v in pairs.items() if k != "token_type_ids"}
    with torch.no_grad():
        output = model.eval()(**inputs)
    logits = output.prediction_logits if "prediction_logits" in output else output.logits
    torch.testing.assert_close(logits[used], _logits(encoder, pairs)[used], atol=1e-5, rtol=1e-5)


@every_trained_class
def test_the_classes_of_auto_model_lack_nothing_but_an_untrained_pooler(
    vocabulary: Vocabulary, tmp_path: Path, name: str, heads: Heads
) -> None:
    _build(name, vocabulary, heads=heads).save(tmp_path)
    _, body = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    _, masked_lm = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    pooler = {"pooler.dense.weight", "pooler.dense.bias"}
    assert set(body["missing_keys"]) == (pooler if (name, sentence_pairs) == ("bert", False) else set())
    assert all(key.startswith(("cls.", "head.", "decoder.")) for key in body["unexpected_keys"])
    assert not masked_lm["missing_keys"]
    assert all(key.startswith(("cls.seq_relationship.", "bert.pooler.")) for key in masked_lm["unexpected_keys"])
    assert bool(masked_lm["unexpected_keys"]) == ((name, sentence_pairs) == ("bert", True))


@every_trained_class
@every_kernel
def test_an_encoder_comes_back_from_its_folder_whole(
    vocabulary: Vocabulary, pairs: Batch, tmp_path: Path, name: str, heads: Heads, attention: str
) -> None:
    encoder = _build(name, vocabulary, heads=heads, attention=attention)
    encoder.save(tmp_path)
    loaded, missing = load_encoder(tmp_path, heads=heads, attention=attention)
    assert missing == []
    assert (tmp_path / EXTRA_HEADS).exists() == ((name, sentence_pairs) == ("modernbert", True))
    assert loaded.model.config._attn_implementation == attention
    saved, found = encoder.state_dict(), loaded.state_dict()
    assert saved.keys() == found.keys()
    for key, value in saved.items():
        assert torch.equal(value, found[key]), key
    torch.testing.assert_close(_logits(loaded.eval(), pairs), _logits(encoder, pairs), atol=0, rtol=0)
    if sentence_pairs:
        first, second = (each.sentence_logits(each.hidden_states(pairs)[:, 0]) for each in (encoder, loaded))
        torch.testing.assert_close(first, second, atol=0, rtol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_next_sentence_head_that_a_folder_lacks_is_fresh_and_named(
    vocabulary: Vocabulary, pairs: Batch, tmp_path: Path, name: str
) -> None:
    encoder = _build(name, vocabulary, heads="tokens")
    encoder.save(tmp_path)
    loaded, missing = load_encoder(tmp_path, heads="sentence_pairs", attention="eager")
    assert len(missing) == 4
    assert all("pooler" in key or "seq_relationship" in key for key in missing)
    torch.testing.assert_close(_logits(loaded.eval(), pairs), _logits(encoder, pairs))
    assert loaded.sentence_logits(loaded.hidden_states(pairs)[:, 0]).isfinite().all()


@pytest.mark.parametrize("name", ENCODERS)
def test_weights_are_drawn_from_the_default_generator(vocabulary: Vocabulary, name: str) -> None:
    def draw(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return build_encoder(_config(name, vocabulary), heads="sentence_pairs", attention="eager").state_dict()

    first, again, other = draw(0), draw(0), draw(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_trained_class
def test_hidden_matrices_are_the_linear_maps_of_the_layers(vocabulary: Vocabulary, name: str, heads: Heads) -> None:
    encoder = _build(name, vocabulary, heads=heads)
    found = {id(matrix) for matrix in encoder.hidden_matrices()}
    expected = {
        id(parameter)
        for key, parameter in encoder.model.base_model.named_parameters()
        if "layer" in key and parameter.ndim == 2
    }
    assert found == expected
    assert len(found) == 4 * {"bert": 6, "modernbert": 4}[name]


# More positions ------------------------------------------------------------------------------------------------------


def test_extended_positions_begin_with_the_table_that_was_there(vocabulary: Vocabulary, tmp_path: Path) -> None:
    encoder = _build("bert", vocabulary)
    encoder.save(tmp_path / "short")
    table = encoder.model.bert.embeddings.position_embeddings.weight
    loaded, missing = load_encoder(tmp_path / "short", heads="tokens", attention="sdpa", num_positions=150)
    assert missing == []
    longer = loaded.model.bert.embeddings.position_embeddings.weight
    assert longer.shape == (150, 32)
    for start in (0, 64, 128):
        assert torch.equal(longer[start : start + 64], table[: 150 - start])

    loaded.save(tmp_path / "long")
    model, info = BertForMaskedLM.from_pretrained(tmp_path / "long", output_loading_info=True)
    assert not any(info.values()), info
    assert model.config.max_position_embeddings == 150
    ids = torch.randint(14, 30, (2, 150))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**batch).logits, _logits(loaded.eval(), batch), atol=1e-5, rtol=1e-5)
    short = {key: value[:, :64] for key, value in batch.items()}
    torch.testing.assert_close(_logits(loaded, short), _logits(encoder, short), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_positions", [None, 10, 64])
def test_positions_that_suffice_are_left_alone(
    vocabulary: Vocabulary, tmp_path: Path, num_positions: int | None
) -> None:
    _build("bert", vocabulary).save(tmp_path)
    loaded, _ = load_encoder(tmp_path, heads="tokens", attention="eager", num_positions=num_positions)
    assert loaded.model.config.max_position_embeddings == 64
    assert len(loaded.model.bert.embeddings.position_embeddings.weight) == 64


# Refusals ------------------------------------------------------------------------------------------------------------


def _refused(folder: Path, message: str) -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        load_encoder(folder, heads="tokens", attention="eager")
    assert str(folder) in str(caught.value)


def test_a_folder_that_is_not_there_or_holds_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for name in ("missing", "empty", "broken"):
        _refused(
            tmp_path / name,
            r"is not a transformers model folder.*expected config\.json and\s+model\.safetensors\. Name a folder",
        )


def test_a_folder_of_another_family_is_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    config = RobertaConfig(
        vocab_size=80, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    RobertaForMaskedLM(config).save_pretrained(tmp_path)
    message = r"holds a roberta model; expected bert or modernbert\. Use a folder of one of these families"
    _refused(tmp_path, message)
    with pytest.raises(EncoderError, match=message):
        build_encoder(config, heads="tokens", attention="eager")


def test_pickled_weights_are_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    encoder = _build("bert", vocabulary)
    encoder.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(encoder.model.state_dict(), tmp_path / "pytorch_model.bin")
    _refused(tmp_path, r"has no model\.safetensors; expected weights as safetensors.*Save the model again with")


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("damage", ["cut", "empty", "of another size"])
def test_weights_that_do_not_fit_are_refused(vocabulary: Vocabulary, tmp_path: Path, name: str, damage: str) -> None:
    _build(name, vocabulary).save(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "of another size":
        _build(name, vocabulary, hidden_size=16).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / "model.safetensors", weights)
    else:
        weights.write_bytes(weights.read_bytes()[:-100] if damage == "cut" else b"")
    _refused(tmp_path, r"weights that do not fit.*expected.*config\.json.*Save the model again")


@pytest.mark.parametrize("damage", ["cut", "of another size"])
def test_extra_heads_that_do_not_fit_are_refused(vocabulary: Vocabulary, tmp_path: Path, damage: str) -> None:
    _build("modernbert", vocabulary, heads="sentence_pairs").save(tmp_path)
    heads = tmp_path / EXTRA_HEADS
    if damage == "of another size":
        _build("modernbert", vocabulary, heads="sentence_pairs", hidden_size=16).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / EXTRA_HEADS, heads)
    else:
        heads.write_bytes(heads.read_bytes()[:-100])
    with pytest.raises(EncoderError, match=r"weights that do not fit.*expected.*config\.json.*Save the model again"):
        load_encoder(tmp_path, heads="sentence_pairs", attention="eager")


# Sizes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_a_configuration_carries_the_sizes_and_the_ids_of_the_vocabulary(vocabulary: Vocabulary, name: str) -> None:
    config = _config(name, vocabulary, num_hidden_layers=3)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (3, 32, 48)
    assert (config.vocab_size, config.pad_token_id) == (vocabulary.size, vocabulary.pad_id)
    assert config.max_position_embeddings == 64
    if name == "modernbert":
        assert (config.cls_token_id, config.sep_token_id) == (vocabulary.cls_id, vocabulary.sep_id)


def test_flops_of_a_token_by_hand() -> None:
    config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=2, intermediate_size=16)
    layer = 4 * 8 * 8 + 2 * 8 * 16  # queries, keys, values, output; up and down
    products = 2 * 10 * 8  # queries by keys, weights by values, in a row of 10
    head = 8 * 8 + 8 * 100  # transform and vocabulary, at half of the tokens
    multiply_adds = 2 * (layer + products) + head / 2
    assert flops_per_token(config, max_seq_length=10, target_ratio=0.5) == 3 * 2 * multiply_adds


@pytest.mark.parametrize("name", ENCODERS)
def test_flops_of_a_token_are_those_that_torch_counts(vocabulary: Vocabulary, name: str) -> None:
    encoder = _build(name, vocabulary)
    ids = torch.randint(14, 30, (4, 40))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        hidden_states = encoder.hidden_states(batch)
        encoder.token_logits(hidden_states[:, :10])
    forward = counter.get_total_flops() / ids.numel()
    expected = flops_per_token(encoder.model.config, max_seq_length=40, target_ratio=0.25) / 3
    assert forward == pytest.approx(expected, rel=0.01)  # ModernBERT's rotary angles are a product too
