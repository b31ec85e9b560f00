"""The extractor: one vector a word and layer, the same however sentences are batched."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from probes.embedders import Embedder
from probes.probe_error import ProbeError
from probes.usages import read_usages
from tests.probe_models import MOST_TOKENS, save_model, table, write_table

KINDS = ("bert", "modernbert", "electra", "roberta")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[tuple[int, int]]]:
    """Sentences of differing length with a word of one piece (bank) and one of several (bat)."""
    usages = read_usages(write_table(tmp_path_factory.mktemp("table") / "t.tsv", table()))
    return [u.sentence for u in usages], [u.span for u in usages]


def test_batches_equal_single_sentences(folder: Path, asked: tuple) -> None:
    sentences, spans = asked
    embedder = Embedder.from_folder(folder)
    together = embedder.embed(sentences, spans, batch_size=5)
    alone = np.concatenate([embedder.embed([s], [span]) for s, span in zip(sentences, spans, strict=True)], axis=1)
    assert together.dtype == np.float32
    assert together.shape == (embedder.num_layers + 1, len(sentences), 16)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert together.std() > 0.1


def test_a_vector_is_the_mean_over_the_pieces_that_transformers_gives(folder: Path) -> None:
    sentence, span = "so the bat is here", (7, 10)
    embedder = Embedder.from_folder(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    encoded = tokenizer(sentence, return_tensors="pt")
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])[3:6] == ["b", "##a", "##t"]
    with torch.no_grad():
        hidden = model(**encoded, output_hidden_states=True).hidden_states
    expected = torch.stack([layer[0, 3:6].mean(0) for layer in hidden]).numpy()
    np.testing.assert_allclose(embedder.embed([sentence], [span])[:, 0], expected, rtol=0, atol=1e-5)
    rows = model.get_input_embeddings().weight[encoded["input_ids"][0, 3:6]].mean(0).detach().numpy()
    np.testing.assert_allclose(embedder.static([sentence], [span])[0], rows, rtol=0, atol=1e-6)


def test_layers_are_those_asked_for(bert: Path, asked: tuple) -> None:
    embedder = Embedder.from_folder(bert)
    every = embedder.embed(*asked)
    np.testing.assert_array_equal(embedder.embed(*asked, layers=[2, 0]), every[[2, 0]])


def test_static_vectors_know_nothing_of_the_sentence(bert: Path) -> None:
    first, second = Embedder.from_folder(bert).static(["the bank is here", "so so two bank"], [(4, 8), (10, 14)])
    np.testing.assert_array_equal(first, second)


def test_random_weights_depend_on_the_seed_only_and_leave_torch_alone(folder: Path, asked: tuple) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    one, same, other = (Embedder.random(folder, seed).embed(*asked) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_random_weights_are_not_the_trained_ones(bert: Path, asked: tuple) -> None:
    assert np.abs(Embedder.random(bert, 0).embed(*asked) - Embedder.from_folder(bert).embed(*asked)).max() > 0.1


def test_transformers_messages_are_as_before_after_loading(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    Embedder.from_folder(bert)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_a_long_sentence_counts_if_its_word_is_read(folder: Path) -> None:
    sentence = "the bank " + "so " * 40
    assert np.isfinite(Embedder.from_folder(folder).embed([sentence], [(4, 8)])).all()


def test_a_word_that_is_cut_off_is_refused_by_sentence_number(folder: Path) -> None:
    sentence = "so " * 40 + "bank"
    with pytest.raises(ProbeError, match=rf"sentence 2 .*has 43 tokens.* the {MOST_TOKENS} that") as refusal:
        Embedder.from_folder(folder).embed(["the bank", sentence], [(4, 8), (120, 124)])
    assert "'bank' lies beyond" in str(refusal.value) and "Shorten the sentence" in str(refusal.value)


@pytest.mark.parametrize(("span", "got"), [((3, 4), "no token there"), ((4, 99), "has 8 characters"), ((4, 4), "no 4")])
def test_a_word_that_is_not_there_is_refused(bert: Path, span: tuple[int, int], got: str) -> None:
    with pytest.raises(ProbeError, match=f"sentence 1 .*{got}.*Expected the word.*correct the place"):
        Embedder.from_folder(bert).embed(["the bank"], [span])


def test_a_layer_that_the_model_lacks_is_refused(bert: Path) -> None:
    with pytest.raises(ProbeError, match=r"got layers 3, expected numbers from 0 .* to 2\. Name layers"):
        Embedder.from_folder(bert).embed(["the bank"], [(4, 8)], layers=[1, 3])


def test_folders_that_are_no_model_are_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(ProbeError, match=r"nowhere is not a folder\. Expected a transformers folder"):
        Embedder.from_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProbeError, match=r"holds no config\.json\. Expected a transformers folder"):
        Embedder.from_folder(tmp_path / "empty")
    bare = save_model(tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(ProbeError, match=r"cannot be loaded.*safetensors.*Save it again"):
        Embedder.from_folder(bare)
    torch.save(AutoModel.from_pretrained(bert).state_dict(), bare / "pytorch_model.bin")
    with pytest.raises(ProbeError, match="pickled weights are not read"):
        Embedder.from_folder(bare)


def test_a_damaged_file_of_weights_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "damaged")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ProbeError, match="cannot be loaded"):
        Embedder.from_folder(folder)


def test_weights_that_do_not_fill_the_encoder_are_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "deeper")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 3}))
    with pytest.raises(ProbeError, match=r"lack 16 of the encoder's tensors.*would be random.*Save the model again"):
        Embedder.from_folder(folder)


def test_a_model_without_a_pooler_is_taken(tmp_path: Path, bert: Path, asked: tuple) -> None:
    AutoModel.from_pretrained(bert, add_pooling_layer=False).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        Embedder.from_folder(tmp_path).embed(*asked), Embedder.from_folder(bert).embed(*asked)
    )


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "mixed")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"extra{i}" for i in range(60)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ProbeError, match=re.escape("but the model has 120 embeddings (0 to 119)")):
        Embedder.from_folder(folder).embed(["the bank extra59"], [(4, 8)])
