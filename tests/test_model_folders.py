"""Laws of model folders: transformers' classes read them whole, and they come back as they were."""

# B rows, L tokens per row

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForTokenClassification,
    BertForMaskedLM,
    BertForPreTraining,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ModernBertForMaskedLM,
    ModernBertForTokenClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from encoders.building import build_encoder
from encoders.config import ENCODERS, EncoderError
from encoders.encoder import EXTRA_HEADS, Heads
from encoders.families import FAMILIES
from encoders.folder import load_encoder
from tests.small_encoders import (
    DETECTION_HEADS,
    NARROW,
    TOKEN_HEADS,
    all_logits,
    drawn_batch,
    inputs_of,
    small_config,
    small_encoder,
    weights_of,
)
from tokenization.vocabulary import Vocabulary

TRAINED_AS: dict[tuple[str, Heads], type[PreTrainedModel]] = {
    ("bert", "tokens"): BertForMaskedLM,
    ("bert", "sentence_pairs"): BertForPreTraining,
    ("electra", "tokens"): ElectraForMaskedLM,
    ("electra", "sentence_pairs"): ElectraForMaskedLM,
    ("electra", "replaced_tokens"): ElectraForPreTraining,
    ("modernbert", "tokens"): ModernBertForMaskedLM,
    ("modernbert", "sentence_pairs"): ModernBertForMaskedLM,
    ("modernbert", "replaced_tokens"): ModernBertForTokenClassification,
}
every_trained_class = pytest.mark.parametrize(("name", "heads"), TRAINED_AS)
every_kernel = pytest.mark.parametrize("attention", ["eager", "sdpa"])
every_detector = pytest.mark.parametrize("name", DETECTION_HEADS)
with_learnt_positions = pytest.mark.parametrize("name", ["bert", "electra"])


def _fields(name: str) -> dict[str, int]:
    return NARROW if name == "electra" else {}


def test_the_table_names_all_that_the_families_are_trained_as() -> None:
    assert {(name, heads): model for name in FAMILIES for heads, model in FAMILIES[name].model_classes.items()} == (
        TRAINED_AS
    )


# Saving --------------------------------------------------------------------------------------------------------------


@every_trained_class
def test_a_saved_encoder_loads_in_the_class_it_was_trained_as(
    vocabulary: Vocabulary, tmp_path: Path, name: str, heads: Heads
) -> None:
    encoder, batch = small_encoder(name, vocabulary, heads=heads, **_fields(name)), drawn_batch(vocabulary)
    encoder.save(tmp_path)
    trained_class = TRAINED_AS[name, heads]
    assert type(encoder.model) is trained_class
    model, info = trained_class.from_pretrained(tmp_path, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [trained_class.__name__]
    with torch.no_grad():
        output = model.eval()(**inputs_of(encoder, batch))
    logits = output.prediction_logits if "prediction_logits" in output else output.logits
    expected = all_logits(encoder, batch, heads)
    assert torch.equal(logits.view(expected.shape), expected)


@every_trained_class
def test_the_classes_of_auto_model_lack_nothing_but_an_untrained_pooler(
    vocabulary: Vocabulary, tmp_path: Path, name: str, heads: Heads
) -> None:
    encoder, batch = small_encoder(name, vocabulary, heads=heads, **_fields(name)), drawn_batch(vocabulary)
    encoder.save(tmp_path)
    body, info = AutoModel.from_pretrained(tmp_path, attn_implementation="eager", output_loading_info=True)
    pooler = {"pooler.dense.weight", "pooler.dense.bias"}
    assert set(info["missing_keys"]) == (pooler if (name, heads) == ("bert", "tokens") else set())
    of_heads = ("cls.", "generator_", "discriminator_predictions.", "head.", "decoder.", "classifier.")
    assert all(key.startswith(of_heads) for key in info["unexpected_keys"])
    with torch.no_grad():
        vectors = body.eval()(**inputs_of(encoder, batch))[0]
        assert torch.equal(vectors, encoder.hidden_states(batch))


@every_trained_class
def test_the_auto_model_for_its_task_lacks_nothing(
    vocabulary: Vocabulary, tmp_path: Path, name: str, heads: Heads
) -> None:
    small_encoder(name, vocabulary, heads=heads, **_fields(name)).save(tmp_path)
    detectors = {"electra": AutoModelForPreTraining, "modernbert": AutoModelForTokenClassification}
    auto = detectors[name] if heads == "replaced_tokens" else AutoModelForMaskedLM
    _, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert all(key.startswith(("cls.seq_relationship.", "bert.pooler.")) for key in info["unexpected_keys"])
    assert bool(info["unexpected_keys"]) == ((name, heads) == ("bert", "sentence_pairs"))


@every_trained_class
def test_each_weight_is_saved_once_and_the_head_is_tied_to_its_table_after_loading(
    vocabulary: Vocabulary, tmp_path: Path, name: str, heads: Heads
) -> None:
    encoder = small_encoder(name, vocabulary, heads=heads, **_fields(name))
    encoder.save(tmp_path)
    saved = weights_of(tmp_path)
    assert saved.keys() == {key for key, _ in encoder.model.named_parameters()}  # which names a tied one once
    loaded, _ = load_encoder(tmp_path, heads=heads, attention="eager")
    for each in (encoder, loaded):
        head = each.model.get_output_embeddings()
        assert (head is None) == (heads == "replaced_tokens")
        assert head is None or head.weight is each.word_embeddings.weight


@every_trained_class
@every_kernel
def test_an_encoder_comes_back_from_its_folder_whole(
    vocabulary: Vocabulary, tmp_path: Path, name: str, heads: Heads, attention: str
) -> None:
    encoder = small_encoder(name, vocabulary, heads=heads, attention=attention, **_fields(name))
    batch = drawn_batch(vocabulary)
    encoder.save(tmp_path)
    loaded, missing = load_encoder(tmp_path, heads=heads, attention=attention)
    assert missing == []
    assert (tmp_path / EXTRA_HEADS).exists() == (heads == "sentence_pairs" and name != "bert")
    assert loaded.model.config._attn_implementation == attention
    saved, found = encoder.state_dict(), loaded.state_dict()
    assert saved.keys() == found.keys()
    for key, value in saved.items():
        assert torch.equal(value, found[key]), key
    assert torch.equal(all_logits(loaded.eval(), batch, heads), all_logits(encoder, batch, heads))
    if heads == "sentence_pairs":
        first, second = (each.sentence_logits(each.hidden_states(batch)[:, 0]) for each in (encoder, loaded))
        assert torch.equal(first, second)


@every_detector
def test_only_a_class_for_token_labels_is_told_its_one_label(vocabulary: Vocabulary, tmp_path: Path, name: str) -> None:
    small_encoder(name, vocabulary, heads="replaced_tokens").save(tmp_path)
    told = {key: json.loads((tmp_path / "config.json").read_text()).get(key) for key in ("id2label", "label2id")}
    if name == "modernbert":
        assert told == {"id2label": {"0": "replaced"}, "label2id": {"replaced": 0}}
    else:  # a classifier that is made of the folder has two labels, as one of any other folder
        assert told == {"id2label": None, "label2id": None}


# Heads that a folder lacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_a_next_sentence_head_that_a_folder_lacks_is_fresh_and_named(
    vocabulary: Vocabulary, tmp_path: Path, name: str
) -> None:
    encoder, batch = small_encoder(name, vocabulary, **_fields(name)), drawn_batch(vocabulary)
    encoder.save(tmp_path)
    loaded, missing = load_encoder(tmp_path, heads="sentence_pairs", attention="eager")
    assert len(missing) == 4
    assert all("pooler" in key or "seq_relationship" in key for key in missing)
    assert torch.equal(all_logits(loaded.eval(), batch), all_logits(encoder, batch))
    assert loaded.sentence_logits(loaded.hidden_states(batch)[:, 0]).isfinite().all()


@every_detector
def test_a_discriminator_starts_from_a_masked_language_model_and_the_reverse(
    vocabulary: Vocabulary, tmp_path: Path, name: str
) -> None:
    batch = drawn_batch(vocabulary)
    ways: list[tuple[Heads, Heads, list[str]]] = [
        ("tokens", "replaced_tokens", DETECTION_HEADS[name]),
        ("replaced_tokens", "tokens", TOKEN_HEADS[name]),
    ]
    for saved, asked, lacking in ways:
        encoder = small_encoder(name, vocabulary, heads=saved, **_fields(name))
        encoder.save(tmp_path / saved)
        loaded, missing = load_encoder(tmp_path / saved, heads=asked, attention="eager")
        assert missing == lacking
        assert torch.equal(loaded.eval().hidden_states(batch), encoder.hidden_states(batch))
        assert all_logits(loaded, batch, asked).isfinite().all()


# More positions ------------------------------------------------------------------------------------------------------


@with_learnt_positions
def test_extended_positions_begin_with_the_table_that_was_there(
    vocabulary: Vocabulary, tmp_path: Path, name: str
) -> None:
    encoder = small_encoder(name, vocabulary, **_fields(name))
    encoder.save(tmp_path / "short")
    table = encoder.embeddings.position_embeddings.weight
    loaded, missing = load_encoder(tmp_path / "short", heads="tokens", attention="eager", num_positions=150)
    assert missing == []
    longer = loaded.embeddings.position_embeddings.weight
    assert longer.shape == (150, table.shape[1])
    for start in (0, 64, 128):
        assert torch.equal(longer[start : start + 64], table[: 150 - start])

    loaded.save(tmp_path / "long")
    model, info = TRAINED_AS[name, "tokens"].from_pretrained(
        tmp_path / "long", attn_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    assert model.config.max_position_embeddings == 150
    batch = drawn_batch(vocabulary, length=150)
    with torch.no_grad():
        assert torch.equal(model.eval()(**batch).logits, all_logits(loaded.eval(), batch))
    short = drawn_batch(vocabulary, length=64)
    assert torch.equal(all_logits(loaded, short), all_logits(encoder, short))


@with_learnt_positions
@pytest.mark.parametrize("num_positions", [None, 10, 64])
def test_positions_that_suffice_are_left_alone(
    vocabulary: Vocabulary, tmp_path: Path, name: str, num_positions: int | None
) -> None:
    small_encoder(name, vocabulary).save(tmp_path)
    loaded, _ = load_encoder(tmp_path, heads="tokens", attention="eager", num_positions=num_positions)
    assert loaded.model.config.max_position_embeddings == 64
    assert len(loaded.embeddings.position_embeddings.weight) == 64


# Refusals ------------------------------------------------------------------------------------------------------------


def _refused(folder: Path, message: str, heads: Heads = "tokens") -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        load_encoder(folder, heads=heads, attention="eager")
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
    message = r"holds a roberta model; expected bert, electra or modernbert\. Use a folder of one of these families"
    _refused(tmp_path, message)
    with pytest.raises(EncoderError, match=message):
        build_encoder(config, heads="tokens", attention="eager")


def test_a_bert_is_not_asked_for_replaced_tokens(vocabulary: Vocabulary, tmp_path: Path) -> None:
    message = (
        r"holds a bert model, which has no head for replaced tokens; expected electra or modernbert\. "
        r"A BERT body is encoder\.name electra with embedding_size = hidden_size"
    )
    small_encoder("bert", vocabulary).save(tmp_path)
    _refused(tmp_path, message, "replaced_tokens")
    with pytest.raises(EncoderError, match=rf"^the recipe {message}"):
        build_encoder(small_config("bert", vocabulary), heads="replaced_tokens", attention="eager")


def test_a_classifier_of_more_labels_is_no_discriminator(vocabulary: Vocabulary, tmp_path: Path) -> None:
    config = small_config("modernbert", vocabulary)
    config.num_labels = 5
    ModernBertForTokenClassification(config).save_pretrained(tmp_path)
    _refused(
        tmp_path,
        r"weights that do not fit \(classifier\.bias is \(5,\), not \(1,\)\); expected .*Save the model again with "
        r"save_pretrained, or name another folder",
        "replaced_tokens",
    )


def test_pickled_weights_are_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    encoder = small_encoder("bert", vocabulary)
    encoder.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(encoder.model.state_dict(), tmp_path / "pytorch_model.bin")
    _refused(tmp_path, r"has no model\.safetensors; expected weights as safetensors.*Save the model again with")


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("damage", ["cut", "empty", "of another size"])
def test_weights_that_do_not_fit_are_refused(vocabulary: Vocabulary, tmp_path: Path, name: str, damage: str) -> None:
    small_encoder(name, vocabulary).save(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "of another size":
        small_encoder(name, vocabulary, hidden_size=16).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / "model.safetensors", weights)
    else:
        weights.write_bytes(weights.read_bytes()[:-100] if damage == "cut" else b"")
    _refused(tmp_path, r"weights that do not fit.*expected.*config\.json.*Save the model again")


@pytest.mark.parametrize("name", ["electra", "modernbert"])
@pytest.mark.parametrize("damage", ["cut", "of another size"])
def test_extra_heads_that_do_not_fit_are_refused(
    vocabulary: Vocabulary, tmp_path: Path, name: str, damage: str
) -> None:
    small_encoder(name, vocabulary, heads="sentence_pairs").save(tmp_path)
    heads = tmp_path / EXTRA_HEADS
    if damage == "of another size":
        small_encoder(name, vocabulary, heads="sentence_pairs", hidden_size=16).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / EXTRA_HEADS, heads)
    else:
        heads.write_bytes(heads.read_bytes()[:-100])
    _refused(tmp_path, r"weights that do not fit.*expected.*config\.json.*Save the model again", "sentence_pairs")
