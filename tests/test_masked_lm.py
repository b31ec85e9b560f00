"""Masked language models: only what is asked for is computed, and it is what the whole model says."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForMaskedLM,
    BertForMaskedLM,
    BertForPreTraining,
    ElectraForPreTraining,
    PreTrainedTokenizerFast,
)

from probes.masked_lm import MaskedLM, Question, open_masked_lm
from probes.models import Model
from probes.probe_error import ProbeError
from tests.masked_models import KINDS, masking_tokenizer, save_masked_lm
from tests.probe_models import MOST_TOKENS, config, save_model

SENTENCES = ["the [MASK] is here", "so so so the bat [MASK] is n 1 2", "[MASK] bank", "the bank number [MASK]"]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_masked_lm(tmp_path_factory.mktemp("models") / request.param, request.param)


def questions_of(lm: MaskedLM) -> list[Question]:
    """About every token of SENTENCES."""
    encoded = lm.encode([sentence.replace("[MASK]", lm.mask_token) for sentence in SENTENCES])
    return [Question(one.inputs, at) for one in encoded for at in range(len(one.offsets))]


def whole_rows(model: torch.nn.Module, questions: list[Question]) -> np.ndarray:
    """One row at a time, all logits."""
    rows = []
    for question in questions:
        with torch.no_grad():
            logits = model(**{key: torch.tensor([row]) for key, row in question.inputs.items()}).logits
        rows.append(logits[0, question.position].log_softmax(-1).numpy())
    return np.stack(rows)


def test_distributions_are_those_of_the_whole_model_row_by_row(folder: Path) -> None:
    lm = MaskedLM.from_folder(folder)
    questions = questions_of(lm)
    expected = whole_rows(AutoModelForMaskedLM.from_pretrained(folder).eval(), questions)
    np.testing.assert_allclose(lm.distributions(questions, batch_size=3), expected, rtol=0, atol=1e-5)
    answers = [number % 67 for number in range(len(questions))]
    found = lm.log_probabilities(questions, answers)
    np.testing.assert_allclose(found, expected[np.arange(len(answers)), answers], rtol=0, atol=1e-5)


def test_the_head_sees_only_the_positions_asked_for(folder: Path) -> None:
    lm = MaskedLM.from_folder(folder)
    seen = []
    lm.network.model.get_output_embeddings().register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    lm.distributions(questions_of(lm)[:5])
    assert sum(shape[0] * shape[1] for shape in seen) == 5


def test_a_head_that_looks_beyond_its_position_is_given_whole_rows() -> None:
    class Smearing(BertForMaskedLM):
        def forward(self, input_ids=None, attention_mask=None, token_type_ids=None) -> SimpleNamespace:
            logits = super().forward(input_ids, attention_mask, token_type_ids).logits
            return SimpleNamespace(logits=logits + logits.roll(1, dims=1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Smearing(config("bert")).eval()
    lm = MaskedLM(model, masking_tokenizer("bert"), name="smearing")
    questions = questions_of(lm)
    np.testing.assert_allclose(
        lm.distributions(questions, batch_size=1), whole_rows(model, questions), rtol=0, atol=1e-5
    )


def test_bfloat16_stays_near_and_gives_float32(folder: Path) -> None:
    exact, rough = (MaskedLM.from_folder(folder, precision=one) for one in ("float32", "bfloat16"))
    a, b = (lm.distributions(questions_of(lm)) for lm in (exact, rough))
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.2
    np.testing.assert_allclose(np.exp(b).sum(1), 1, atol=1e-5)


def test_random_weights_depend_on_the_seed_only(folder: Path) -> None:
    one, same, other = (MaskedLM.random(folder, seed) for seed in (5, 5, 6))
    a, b, c = (lm.distributions(questions_of(lm)) for lm in (one, same, other))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.001


def test_a_head_beside_others_is_enough(tmp_path: Path) -> None:
    """BERT's own pretraining class is saved with next-sentence prediction's head."""
    model = BertForPreTraining(config("bert")).eval()
    model.save_pretrained(tmp_path)
    masking_tokenizer("bert").save_pretrained(tmp_path)
    lm = MaskedLM.from_folder(tmp_path)
    question = questions_of(lm)[1]
    with torch.no_grad():
        logits = model(**{key: torch.tensor([row]) for key, row in question.inputs.items()}).prediction_logits
    expected = logits[0, question.position].log_softmax(-1)
    np.testing.assert_allclose(lm.distributions([question])[0], expected, rtol=0, atol=1e-5)


def test_an_electra_discriminator_is_refused_and_its_generator_named(tmp_path: Path) -> None:
    ElectraForPreTraining(config("electra")).save_pretrained(tmp_path / "model")
    masking_tokenizer("electra").save_pretrained(tmp_path / "model")
    with pytest.raises(ProbeError, match=r"discriminator.*would be random\. Expected.*its generator/ folder"):
        MaskedLM.from_folder(tmp_path / "model")
    save_masked_lm(tmp_path / "generator", "electra")
    with pytest.raises(ProbeError, match=r"This run's generator has one: name .*generator\.$"):
        MaskedLM.from_folder(tmp_path / "model")
    MaskedLM.from_folder(tmp_path / "generator")


def test_what_predicts_no_masked_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"lack the head.*bare encoder.*Expected a model that was trained"):
        MaskedLM.from_folder(save_model(tmp_path / "bare"))
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("the 1.0 2.0\n")
    with pytest.raises(ProbeError, match=r"holds word vectors, which predict no masked word"):
        open_masked_lm(Model("vectors", str(vectors)))
    unmasked = save_masked_lm(tmp_path / "unmasked")
    save_model(tmp_path / "other")
    for file in (tmp_path / "other").glob("tokenizer*"):
        (unmasked / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ProbeError, match=r"its tokenizer has no mask token, expected one"):
        MaskedLM.from_folder(unmasked)
    (tmp_path / "gpt").mkdir()
    (tmp_path / "gpt" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ProbeError, match=r"is a gpt2, which has no head of masked language modelling"):
        MaskedLM.from_folder(tmp_path / "gpt")


def test_a_sentence_that_is_not_read_whole_is_refused_by_number(tmp_path: Path) -> None:
    lm = MaskedLM.from_folder(save_masked_lm(tmp_path))
    with pytest.raises(ProbeError, match=rf"sentence 2 \('so so.*more than the {MOST_TOKENS} tokens.*Shorten"):
        lm.encode(["the bank", "so " * 40])


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 3e38])
def test_predictions_that_are_no_numbers_are_refused_by_the_model_s_name(weight: float, tmp_path: Path) -> None:
    lm = MaskedLM.from_folder(save_masked_lm(tmp_path / "broken"))
    questions = questions_of(lm)
    assert np.isfinite(lm.distributions(questions)).all()
    with torch.no_grad():
        lm.network.model.get_output_embeddings().weight[7] = weight
    for ask in (lambda: lm.distributions(questions), lambda: lm.log_probabilities(questions, [1] * len(questions))):
        with pytest.raises(ProbeError, match=r"broken: got predictions that are no finite numbers.*try --precision"):
            ask()


def test_a_vocabulary_of_fewer_than_ten_tokens_is_asked_like_any_other() -> None:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "bank"]
    inner = Tokenizer(models.WordPiece(vocab={name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    size = config("bert")
    size.vocab_size = 7
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForMaskedLM(size).eval()
    lm = MaskedLM(model, tokenizer, name="small")
    questions = [Question(one.inputs, 1) for one in lm.encode(["the [MASK]", "the bank"])]
    np.testing.assert_allclose(lm.distributions(questions), whole_rows(model, questions), rtol=0, atol=1e-5)
