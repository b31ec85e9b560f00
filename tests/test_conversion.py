"""Laws of a BERT as an ELECTRA: the same function under other names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel, ElectraForPreTraining

from encoders.config import EncoderError
from encoders.encoder import Heads
from encoders.families import ElectraEncoder
from encoders.folder import load_encoder
from tests.small_encoders import DETECTION_HEADS, TOKEN_HEADS, all_logits, drawn_batch, small_encoder
from tokenization.vocabulary import Vocabulary

ASKED: list[Heads] = ["tokens", "replaced_tokens"]
every_question = pytest.mark.parametrize("heads", ASKED)


def _as_electra(folder: Path, heads: Heads, **options: Any) -> tuple[ElectraEncoder, list[str]]:
    encoder, missing = load_encoder(folder, heads=heads, attention="eager", bert_as_electra=True, **options)
    assert isinstance(encoder, ElectraEncoder)
    return encoder.eval(), missing


@every_question
@pytest.mark.parametrize("trained_as", ["tokens", "sentence_pairs"])
def test_a_bert_is_the_same_body_as_an_electra(
    vocabulary: Vocabulary, tmp_path: Path, trained_as: Heads, heads: Heads
) -> None:
    bert, batch = small_encoder("bert", vocabulary, heads=trained_as), drawn_batch(vocabulary)
    bert.save(tmp_path)
    electra, missing = _as_electra(tmp_path, heads)
    assert missing == (DETECTION_HEADS["electra"] if heads == "replaced_tokens" else [])
    with torch.no_grad():
        expected, found = bert.hidden_states(batch), electra.hidden_states(batch)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert electra.model.config.embedding_size == electra.model.config.hidden_size


@pytest.mark.parametrize("trained_as", [BertForMaskedLM, BertForPreTraining])
def test_the_head_over_the_vocabulary_comes_along_tied(
    vocabulary: Vocabulary, tmp_path: Path, trained_as: type[BertForMaskedLM | BertForPreTraining]
) -> None:
    heads: Heads = "tokens" if trained_as is BertForMaskedLM else "sentence_pairs"
    small_encoder("bert", vocabulary, heads=heads).save(tmp_path)
    batch = drawn_batch(vocabulary)
    bert = trained_as.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        output = bert(**batch)
    electra, _ = _as_electra(tmp_path, "tokens")
    expected = output.prediction_logits if "prediction_logits" in output else output.logits
    used = batch["attention_mask"].bool()
    torch.testing.assert_close(all_logits(electra, batch)[used], expected[used], atol=1e-5, rtol=0)
    assert electra.model.get_output_embeddings().weight is electra.word_embeddings.weight


@every_question
def test_the_heads_of_a_bare_bert_are_named_as_missing(vocabulary: Vocabulary, tmp_path: Path, heads: Heads) -> None:
    bert = small_encoder("bert", vocabulary).model.bert
    BertModel.save_pretrained(bert, tmp_path)
    electra, missing = _as_electra(tmp_path, heads)
    assert missing == {"tokens": TOKEN_HEADS, "replaced_tokens": DETECTION_HEADS}[heads]["electra"]
    assert torch.equal(electra.word_embeddings.weight, bert.embeddings.word_embeddings.weight)


@every_question
def test_other_families_are_loaded_as_themselves(vocabulary: Vocabulary, tmp_path: Path, heads: Heads) -> None:
    encoder, batch = small_encoder("electra", vocabulary, heads=heads, embedding_size=16), drawn_batch(vocabulary)
    encoder.save(tmp_path)
    loaded, missing = _as_electra(tmp_path, heads)
    assert missing == []
    assert torch.equal(all_logits(loaded, batch, heads), all_logits(encoder, batch, heads))


@every_question
def test_a_bert_gets_more_positions_on_the_way(vocabulary: Vocabulary, tmp_path: Path, heads: Heads) -> None:
    bert = small_encoder("bert", vocabulary)
    bert.save(tmp_path)
    electra, _ = _as_electra(tmp_path, heads, num_positions=100)
    table, longer = (each.embeddings.position_embeddings.weight for each in (bert, electra))
    assert torch.equal(longer, torch.cat([table, table[:36]]))
    assert electra.model.config.max_position_embeddings == 100
    assert all_logits(electra, drawn_batch(vocabulary, length=100), heads).isfinite().all()


def test_a_converted_discriminator_is_saved_as_an_electra(vocabulary: Vocabulary, tmp_path: Path) -> None:
    bert, batch = small_encoder("bert", vocabulary), drawn_batch(vocabulary)
    bert.save(tmp_path / "bert")
    electra, _ = _as_electra(tmp_path / "bert", "replaced_tokens")
    electra.save(tmp_path / "electra")
    model, info = ElectraForPreTraining.from_pretrained(
        tmp_path / "electra", attn_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    with torch.no_grad():
        assert torch.equal(model.eval()(**batch).logits, all_logits(electra, batch, "replaced_tokens"))


@every_question
def test_a_bert_with_another_activation_is_refused(vocabulary: Vocabulary, tmp_path: Path, heads: Heads) -> None:
    config = BertConfig(
        vocab_size=vocabulary.size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_act="relu",
    )
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(
        EncoderError, match=r"has the activation relu, expected gelu, which is ELECTRA's\. Start from another folder"
    ):
        _as_electra(tmp_path, heads)


@every_question
def test_a_bert_with_an_output_layer_of_its_own_is_refused(
    vocabulary: Vocabulary, tmp_path: Path, heads: Heads
) -> None:
    bert = small_encoder("bert", vocabulary)
    bert.model.config.tie_word_embeddings = False
    bert.save(tmp_path)
    with pytest.raises(EncoderError, match=r"output layer of its own, expected one that is tied.*another folder"):
        _as_electra(tmp_path, heads)
