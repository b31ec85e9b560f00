"""The extractor: one vector a word and layer, the same however sentences are batched."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from benchmarks.embedding import single_calls
from probes.embedders import Embedder
from probes.networks import PASS_TOKENS
from probes.probe_error import ProbeError
from tests.probe_models import MOST_TOKENS, save_model, table

KINDS = ("bert", "modernbert", "electra", "roberta")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="module")
def asked() -> tuple[list[str], list[tuple[int, int]]]:
    """Sentences of differing length with a word of one piece (bank) and one of several (bat)."""
    begins = [sentence.index(word) for word, sentence, _ in table()]
    spans = [(begin, begin + len(word)) for begin, (word, _, _) in zip(begins, table(), strict=True)]
    return [sentence for _, sentence, _ in table()], spans


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


def test_a_loop_of_single_sentence_calls_gives_the_same(folder: Path, asked: tuple) -> None:
    embedder = Embedder.from_folder(folder)
    found = embedder.embed(*asked)
    np.testing.assert_allclose(found, single_calls(embedder, *asked), rtol=0, atol=1e-5)


def test_the_first_piece_alone_is_what_first_means(folder: Path) -> None:
    sentence = "so the bat is here"
    first = Embedder.from_folder(folder, pieces="first")
    np.testing.assert_allclose(first.embed([sentence], [(7, 10)]), first.embed([sentence], [(7, 8)]), rtol=0, atol=1e-6)
    mean = Embedder.from_folder(folder)
    assert np.abs(first.embed([sentence], [(7, 10)]) - mean.embed([sentence], [(7, 10)])).max() > 0.01
    rows = first.input_embeddings()
    np.testing.assert_array_equal(first.static([sentence], [(7, 10)])[0], rows[_id(first, "b")])


def test_several_words_of_a_sentence_are_as_if_asked_one_by_one(folder: Path) -> None:
    embedder = Embedder.from_folder(folder)
    sentences = ["the bat is here", "so", "the bank number two is here"]
    spans: list[list[tuple[int, int]]] = [[(11, 15), (4, 7)], [], [(0, 3), (4, 8), (16, 19)]]
    found = embedder.embed_words(sentences, spans, layers=[0, 2])
    assert [one.shape for one in found] == [(2, 2, 16), (2, 0, 16), (2, 3, 16)]
    for sentence, words, together in zip(sentences, spans, found, strict=True):
        for number, span in enumerate(words):
            alone = embedder.embed([sentence], [span], layers=[0, 2])
            np.testing.assert_allclose(together[:, [number]], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, None])
def test_a_text_is_the_mean_over_its_tokens_or_the_first(folder: Path, batch_size: int | None) -> None:
    embedder = Embedder.from_folder(folder)
    texts = ["the bank is here", "so " * 40, "bat"]
    mean, num_cut = embedder.embed_texts(texts, layers=[2], batch_size=batch_size)
    first, _ = embedder.embed_texts(texts, pooling="first", layers=[2], batch_size=batch_size)
    assert num_cut == 1
    for number, text in enumerate(texts):
        inputs = embedder.tokenizer(text, return_tensors="pt", truncation=True, max_length=MOST_TOKENS)
        with torch.no_grad():
            hidden = embedder.model(**inputs, output_hidden_states=True).hidden_states[2][0].numpy()
        np.testing.assert_allclose(mean[0, number], hidden.mean(0), rtol=0, atol=1e-5)
        np.testing.assert_allclose(first[0, number], hidden[0], rtol=0, atol=1e-5)


def test_bfloat16_gives_float32_that_is_near(folder: Path, asked: tuple) -> None:
    exact = Embedder.from_folder(folder).embed(*asked)
    rough = Embedder.from_folder(folder, precision="bfloat16").embed(*asked)
    assert rough.dtype == np.float32
    assert np.abs(rough - exact).max() > 0
    cosines = (rough * exact).sum(-1) / np.linalg.norm(rough, axis=-1) / np.linalg.norm(exact, axis=-1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_batches_hold_each_sentence_once_in_order_of_length(bert: Path, batch_size: int | None) -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 700, size=200)]
    batches = list(Embedder.from_folder(bert).network.batches(lengths, batch_size))
    flat = [number for batch in batches for number in batch]
    assert sorted(flat) == list(range(200))
    assert [lengths[number] for number in flat] == sorted(lengths)
    if batch_size:
        assert {len(batch) for batch in batches} <= {batch_size, 200 % batch_size}
    else:
        most = PASS_TOKENS["cpu"]
        assert all(len(batch) * max(lengths[n] for n in batch) <= most for batch in batches if len(batch) > 1)
        assert max(map(len, batches)) > 5


def _id(embedder: Embedder, piece: str) -> int:
    return int(embedder.tokenizer.convert_tokens_to_ids(piece))


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
    with pytest.raises(
        ProbeError, match=rf"sentence 2 .*has more than {MOST_TOKENS} tokens.* the {MOST_TOKENS} that"
    ) as refusal:
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
    with pytest.raises(ProbeError, match=r"lack 16 of the tensors of a BertModel.*would be random.*save it again"):
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


def test_vectors_that_are_no_numbers_are_refused_with_model_and_layer(bert: Path) -> None:
    embedder = Embedder.from_folder(bert)
    with torch.no_grad():
        embedder.model.encoder.layer[1].output.dense.bias.fill_(float("nan"))
    for ask in (lambda: embedder.embed(["the bank"], [(4, 8)]), lambda: embedder.embed_texts(["the bank"])):
        with pytest.raises(ProbeError, match=r"layer 2 holds numbers that are not finite.*Its weights are damaged"):
            ask()
    assert embedder.embed(["the bank"], [(4, 8)], layers=[0, 1]).shape[:2] == (2, 1)
