"""Laws of the finished model: it loads in the libraries' own classes and does there what it did in training."""

import json
import logging
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from ruamel.yaml import YAML
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline

from pretrain.assembly import load_objective, prepared_store, saved_networks
from pretrain.batches import Examples, Position
from pretrain.recipe import Recipe, read_recipe

MODERNBERT = (
    "encoder={name: modernbert, num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 48, "
    "max_position_embeddings: 40, global_attn_every_n_layers: 2, local_attention: 16}"
)
PACKED = ("examples={name: packed, max_seq_length: 32}", "objective={name: mlm}")
RUNS: dict[str, tuple[tuple[str, ...], str]] = {
    "bert-mlm": (PACKED, "BertForMaskedLM"),
    "bert-mlm_nsp": ((), "BertForPreTraining"),
    "modernbert-mlm_nsp": ((MODERNBERT,), "ModernBertForMaskedLM"),
}


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    corpus_files: tuple[Path, Path],
    cache_dir: Path,
    launch: Callable[..., Path],
    tiny_text: Callable[[Path], str],
) -> dict[str, tuple[Recipe, Path]]:
    """The recipe and the model folder of each run."""
    made = {}
    for name, (overrides, _) in RUNS.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
        recipe = read_recipe(folder / "tiny.yaml", [*overrides, "train.steps=6"])
        made[name] = recipe, launch(recipe) / "model"
    return made


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, finished: dict[str, tuple[Recipe, Path]]) -> tuple[str, Recipe, Path]:
    return request.param, *finished[request.param]


def _loaded(model_class: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    model, info = model_class.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    return model.eval(), info


def test_the_class_it_was_trained_as_lacks_nothing_and_gives_the_logits_of_training(
    run: tuple[str, Recipe, Path],
) -> None:
    name, recipe, folder = run
    assert json.loads((folder / "config.json").read_text())["architectures"] == [RUNS[name][1]]
    model, info = _loaded(getattr(transformers, RUNS[name][1]), folder)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]

    store = prepared_store(recipe)
    checkpoint = folder.parent / "checkpoints" / "step-00000006"
    objective, missing = load_objective(recipe, saved_networks(recipe, checkpoint), device=torch.device("cpu"))
    assert missing == []
    objective.eval()
    examples = Examples(store.train, store.vocabulary, cutting=recipe.examples, masking=recipe.masking, seed=1)
    batch = examples.batch(examples.select(Position(0, 0), 5)[0])
    if "position_ids" in batch:  # rows of several pieces are ours; a row of one is everybody's
        first = (batch["position_ids"][:, 1:] == 0).int().argmax(dim=1) + 1
        batch = {key: value[:, : int(first.min())] for key, value in batch.items() if key != "position_ids"}
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    if name.startswith("modernbert"):
        del inputs["token_type_ids"]
    with torch.no_grad():
        output = model(**inputs)
        hidden = objective.encoder.hidden_states(batch)
        logits = objective.encoder.token_logits(hidden)
    theirs = output.prediction_logits if hasattr(output, "prediction_logits") else output.logits
    keep = batch["attention_mask"].bool()
    torch.testing.assert_close(theirs[keep], logits[keep], rtol=1e-5, atol=1e-5)
    if name == "bert-mlm_nsp":
        torch.testing.assert_close(output.seq_relationship_logits, objective.encoder.sentence_logits(hidden[:, 0]))


def test_auto_classes_lack_nothing_but_a_pooler_that_nobody_trained(run: tuple[str, Recipe, Path]) -> None:
    name, _, folder = run
    _, info = _loaded(AutoModel, folder)
    missing = {key for key in info["missing_keys"]}
    assert missing == ({"pooler.dense.weight", "pooler.dense.bias"} if name == "bert-mlm" else set())
    assert all(re.match(r"(cls|head|decoder)\.", key) for key in info["unexpected_keys"]), info["unexpected_keys"]
    _, info = _loaded(AutoModelForMaskedLM, folder)
    assert not info["missing_keys"]
    assert all(re.match(r"(bert\.pooler|cls\.seq_relationship)\.", key) for key in info["unexpected_keys"])


def test_the_tokenizer_adds_cls_and_sep_and_knows_limits_and_inputs(run: tuple[str, Recipe, Path]) -> None:
    name, _, folder = run
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("the old farmer", "the lamp")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]" and tokens.count("[SEP]") == 2
    assert ("token_type_ids" in encoded) is name.startswith("bert")
    if name.startswith("bert"):
        middle = tokens.index("[SEP]") + 1
        assert encoded["token_type_ids"] == [0] * middle + [1] * (len(tokens) - middle)
    assert tokenizer.model_max_length == 40
    assert len(tokenizer("lamp " * 100, truncation=True)["input_ids"]) == 40


def test_fill_mask_works_on_input_longer_than_the_positions_too(run: tuple[str, Recipe, Path]) -> None:
    _, _, folder = run
    fill = pipeline("fill-mask", model=str(folder), device="cpu")
    answers = fill("The old farmer carried the [MASK].", top_k=3)
    assert len(answers) == 3 and all(0 < answer["score"] <= 1 for answer in answers)
    assert fill("The [MASK] painter" + " found the lamp" * 60, tokenizer_kwargs={"truncation": True})


def test_sentence_transformers_loads_the_folder(run: tuple[str, Recipe, Path], tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of libraries that it imports
        model = sentence_transformers.SentenceTransformer(str(run[2]), device="cpu")
    vectors = model.encode(["The old farmer sold the lamp.", "lamp " * 100], show_progress_bar=False)
    assert vectors.shape == (2, 32)
    body = AutoModel.from_pretrained(run[2]).eval()
    tokenizer = AutoTokenizer.from_pretrained(run[2])
    with torch.no_grad():
        hidden = body(**tokenizer("The old farmer sold the lamp.", return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(torch.from_numpy(vectors[0]), hidden[0].mean(dim=0), rtol=1e-4, atol=1e-5)


# The card ------------------------------------------------------------------------------------------------------------


def _front_matter(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    front: dict[str, Any] = YAML(typ="safe").load(head)
    return front


def test_the_card_says_what_the_model_is_and_what_it_was_trained_on(run: tuple[str, Recipe, Path]) -> None:
    name, recipe, folder = run
    text = (folder / "README.md").read_text(encoding="utf-8")
    front = _front_matter(text)
    assert front["library_name"] == "transformers" and "cc0-1.0" in front.values()
    assert recipe.to_yaml() in text
    assert prepared_store(recipe).fingerprint in text
    assert "| steps | 6 |" in text
    losses = json.loads((folder.parent / "checkpoints" / "step-00000006" / "progress.json").read_text())["evaluation"]
    assert losses
    for metric, value in losses.items():
        assert f"| {metric} | {value:.4f} |" in text
    assert ("`pooler_output` of `AutoModel` was trained" in text) is (name == "bert-mlm_nsp")
    assert ("extra_heads.safetensors" in text) is (name == "modernbert-mlm_nsp")
    assert "\n|\n" not in text and "||" not in text.replace("| | |", "")


def test_markup_in_names_does_no_harm(
    tiny: Callable[..., Recipe], launch: Callable[..., Path], corpus_files: tuple[Path, Path], tmp_path: Path
) -> None:
    odd = tmp_path / "a`` ```<script>alert(1)<"
    odd.mkdir()
    shutil.copy(corpus_files[0], odd / "train.jsonl")
    license_name = 'own: "terms" <script>\nlicense: mit\n---\n# [x](y) | z'
    shown = " ".join(license_name.split())
    recipe = tiny(
        f"corpus.files={json.dumps([str(odd / 'train.jsonl')])}", f"corpus.license={json.dumps(license_name)}",
        "train.steps=5",
    )  # fmt: skip
    text = (launch(recipe) / "model" / "README.md").read_text(encoding="utf-8")
    front = _front_matter(text)
    assert front["license"] == "other" and front["license_name"] == shown
    body = text.split("---\n", 2)[2]
    fence = re.search(r"^(`{3,})yaml\n(.*?)^\1$", body, re.MULTILINE | re.DOTALL)
    assert fence is not None and fence.group(2).strip() == recipe.to_yaml().strip()
    outside = body.replace(fence.group(0), "")
    assert "<script>" not in outside and "\n# [x](y)" not in outside


def test_a_model_is_handed_over_whole_in_place_of_an_older_one(
    tiny: Callable[..., Recipe], launch: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = launch(tiny("train.steps=5"))
    (run / "model" / "leftover").write_text("of an older model")
    launch(tiny("train.steps=5"))
    assert not (run / "model" / "leftover").exists()
    assert [path.name for path in run.iterdir() if "partial" in path.name] == []
