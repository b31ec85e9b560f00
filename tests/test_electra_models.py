"""Laws of what a run of replaced-token detection leaves: two models that others load, cards, scores, warm starts."""

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, pipeline

from encoders.config import EncoderError, flops_per_token
from objectives.mlm import MlmSettings
from objectives.replaced_token_detection import ReplacedTokenDetection
from pretrain import push, verify
from pretrain.__main__ import main as pretrain_main
from pretrain.assembly import build_objective, load_objective, prepared_store, save_objective
from pretrain.distributed.processes import Processes
from pretrain.evaluate import evaluate
from pretrain.evaluate import main as evaluate_main
from pretrain.evaluation import HeldOut
from pretrain.inspect import main as inspect_main
from pretrain.recipe import Recipe, read_recipe
from pretrain.run import Run
from probes.__main__ import main as probes_main

Tiny = Callable[..., Recipe]
Detection = dict[str, tuple[str, ...]]
CPU = torch.device("cpu")
RUNS = {
    "electra": ("electra", "all"),
    "electra-gradient_disentangled": ("electra", "gradient_disentangled"),
    "modernbert": ("modernbert", "word"),
}
CLASSES = {
    ("electra", "model"): "ElectraForPreTraining",
    ("electra", "generator"): "ElectraForMaskedLM",
    ("modernbert", "model"): "ModernBertForTokenClassification",
    ("modernbert", "generator"): "ModernBertForMaskedLM",
}
WORDS = {"electra": "electra.embeddings.word_embeddings", "modernbert": "model.embeddings.tok_embeddings"}
SENTENCES = ["The old farmer sold the lamp.", "The child watched the river near the wall and went home."]


@dataclass(frozen=True)
class Finished:
    """A run that ended, and the networks as they were then."""

    name: str
    family: str
    recipe: Recipe
    objective: ReplacedTokenDetection

    @property
    def run(self) -> Path:
        return self.recipe.run_dir

    @property
    def recipe_file(self) -> Path:
        return self.run.parent / "tiny.yaml"


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_text: Callable[[Path], str],
    detection: Detection,
    launch: Callable[..., Path],
) -> Iterator[dict[str, Finished]]:
    made: dict[str, Finished] = {}
    kept: list[Any] = []
    hand_over = Run.hand_over
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "hand_over", lambda run: kept.append(run.loop.objective) or hand_over(run))
        for name, (family, sharing) in RUNS.items():
            folder = tmp_path_factory.mktemp(name)
            (folder / "base.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
            overrides = (*detection[family], f"objective.sharing={sharing}", "train.steps=6")
            recipe = read_recipe(folder / "base.yaml", overrides)
            (folder / "tiny.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
            launch(recipe)
            made[name] = Finished(name, family, recipe, kept[-1].eval())
        yield made


@pytest.fixture(params=RUNS)
def finished(request: pytest.FixtureRequest, runs: dict[str, Finished]) -> Finished:
    return runs[request.param]


@pytest.fixture
def electra(runs: dict[str, Finished]) -> Finished:
    return runs["electra"]


# The two folders -----------------------------------------------------------------------------------------------------


def _batch(folder: Path, *, is_electra: bool) -> dict[str, torch.Tensor]:
    batch = dict(AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt"))
    assert ("token_type_ids" in batch) is is_electra
    return batch


@pytest.mark.parametrize("network", ["model", "generator"])
def test_each_folder_loads_with_no_key_missing_or_left_and_gives_the_logits_of_training(
    finished: Finished, network: str
) -> None:
    folder = finished.run / network
    expected = CLASSES[finished.family, network]
    assert json.loads((folder / "config.json").read_text())["architectures"] == [expected]
    model, info = getattr(transformers, expected).from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    batch = _batch(folder, is_electra=finished.family == "electra")
    encoder = finished.objective.networks[network]
    logits_of = encoder.replaced_logits if network == "model" else encoder.token_logits
    with torch.no_grad():
        theirs, ours = model.eval()(**batch).logits, logits_of(encoder.hidden_states(batch))
        hidden = encoder.hidden_states(batch)
    keep = batch["attention_mask"].bool()
    theirs = theirs.squeeze(-1) if theirs.ndim > ours.ndim else theirs
    torch.testing.assert_close(theirs[keep], ours[keep], rtol=1e-6, atol=1e-6)

    body, info = AutoModel.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    assert not info["missing_keys"], "what AutoModel lacks it draws at random"
    assert all(re.match(r"(discriminator_|generator_|classifier|head|decoder)", key) for key in info["unexpected_keys"])
    with torch.no_grad():
        torch.testing.assert_close(body.eval()(**batch).last_hidden_state[keep], hidden[keep], rtol=1e-6, atol=1e-6)


def test_tied_tables_are_saved_once_and_tied_again_when_loaded(finished: Finished) -> None:
    words, family = f"{WORDS[finished.family]}.weight", finished.family
    folders = {name: finished.run / name for name in ("model", "generator")}
    stored = {name: load_file(folder / "model.safetensors") for name, folder in folders.items()}
    shape = stored["generator"][words].shape
    assert [key for key, value in stored["generator"].items() if value.shape == shape] == [words]
    assert [key for key, value in stored["model"].items() if value.shape == shape] == [words]
    assert not any("residual" in key for state in stored.values() for key in state)
    generator = getattr(transformers, CLASSES[family, "generator"]).from_pretrained(folders["generator"])
    assert generator.get_output_embeddings().weight is generator.get_input_embeddings().weight

    objective, missing = load_objective(finished.recipe, folders, device=CPU)
    assert missing == []
    assert {name for name, _ in objective.named_parameters()} == {
        name for name, _ in finished.objective.named_parameters()
    }, "what is shared is shared again"
    table = objective.networks["generator"].word_embeddings.weight
    assert objective.networks["generator"].model.get_output_embeddings().weight is table
    is_shared = finished.recipe.objective.sharing in ("all", "word")
    assert (objective.networks["model"].word_embeddings.weight is table) is is_shared
    assert torch.equal(stored["model"][words], stored["generator"][words]) is is_shared


def test_pipelines_and_sentence_transformers_take_the_folders(finished: Finished) -> None:
    fill = pipeline("fill-mask", model=str(finished.run / "generator"), device="cpu")
    answers = fill("The old farmer carried the [MASK].", top_k=3)
    assert len(answers) == 3 and all(0 < answer["score"] <= 1 for answer in answers)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of libraries that it imports
        model = sentence_transformers.SentenceTransformer(str(finished.run / "model"), device="cpu")
    vector = torch.from_numpy(model.encode(SENTENCES[:1], show_progress_bar=False)[0])
    tokenizer = AutoTokenizer.from_pretrained(finished.run / "model")
    batch = dict(tokenizer(SENTENCES[:1], return_tensors="pt"))
    with torch.no_grad():
        hidden = finished.objective.encoder.hidden_states(batch)
    torch.testing.assert_close(vector, hidden[0].mean(dim=0), rtol=1e-4, atol=1e-5)


# Cards ---------------------------------------------------------------------------------------------------------------


def test_both_cards_say_what_they_are_and_their_examples_run(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = {name: (finished.run / name / "README.md").read_text(encoding="utf-8") for name in ("model", "generator")}
    figures = json.loads((_checkpoint(finished.run) / "progress.json").read_text())["evaluation"]
    assert {"eval/generator_nats", "eval/discriminator_nats", "eval/auc/discriminator"} <= figures.keys()
    for name, text in cards.items():
        assert 'license_name: "cc0-1.0"' in text and "The texts that it was trained on: cc0-1.0." in text
        assert finished.recipe.to_yaml() in text and "| steps | 6 |" in text
        assert all(f"| {metric} | {value:.4f} |" in text for metric, value in figures.items())
        assert "80/10/10" not in text, "generators are scored with [MASK] at every target"
        (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        *lines, last = example.replace("PATH", str(finished.run / name)).strip().splitlines()
        names: dict[str, Any] = {}
        exec("\n".join(lines), names)
        result = eval(last, names)
        if name == "model":
            assert result.squeeze().ndim == 1 and result.numel() > 5, "a logit for every token"
        else:
            assert len(result) == 5
    head = f"A pretrained {finished.family} encoder, the "
    assert f"{head}discriminator of the objective `replaced_token_detection`" in " ".join(cards["model"].split())
    assert f"{head}generator of the objective `replaced_token_detection`" in " ".join(cards["generator"].split())
    assert "pipeline_tag: feature-extraction\n" in cards["model"] and "has no head for masked tokens" in cards["model"]
    assert "pipeline_tag: fill-mask\n" in cards["generator"] and "discriminator beside it" in cards["generator"]


def _checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


class _Hub:
    """Stands for the hub and notes what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[Path, str]] = []

    def create_repo(self, repo_id: str, **_: Any) -> str:
        return f"https://hub/{repo_id}"

    def upload_folder(self, *, folder_path: Path, repo_id: str, **_: Any) -> None:
        self.given.append((folder_path, repo_id))


def test_a_run_is_pushed_as_its_model_and_a_model_folder_as_itself(
    electra: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = _Hub()
    monkeypatch.setattr(push, "HfApi", lambda: hub)
    assert push.main([str(electra.run), "me/model"]) == 0
    assert push.main([str(electra.run / "generator"), "me/generator"]) == 0
    assert hub.given == [(electra.run / "model", "me/model"), (electra.run / "generator", "me/generator")]


# Scores --------------------------------------------------------------------------------------------------------------


def _last_evaluation(run: Path) -> dict[str, float]:
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return {key: value for key, value in line.items() if key != "step"}


def test_a_run_and_a_checkpoint_give_the_figures_of_training(finished: Finished) -> None:
    expected = _last_evaluation(finished.run)
    assert {*expected} >= {"eval/replaced_ratio", "eval/accuracy/generator", "eval/recall/discriminator"}
    for path in (finished.run, _checkpoint(finished.run)):
        assert evaluate(path, None) == pytest.approx(expected, abs=1e-6)


def test_how_the_held_out_rows_are_portioned_changes_no_figure(electra: Finished) -> None:
    assert evaluate(electra.run, None, ["train.micro_batch_size=3"]) == pytest.approx(
        _last_evaluation(electra.run), abs=1e-6
    )
    other = evaluate(electra.run, None, ["corpus.held_out=0.3"])
    assert other.keys() == _last_evaluation(electra.run).keys() and other != evaluate(electra.run, None)


def test_a_generator_folder_is_scored_as_the_masked_language_model_that_it_is(finished: Finished) -> None:
    generator = MlmSettings().build(finished.objective.generator)
    held_out = HeldOut(prepared_store(finished.recipe), ("mlm",), max_seq_length=32)
    expected = held_out.measure(generator, Processes.start("no"), micro_batch_size=16)
    finished.objective.eval()
    assert evaluate(finished.run / "generator", finished.recipe_file) == pytest.approx(expected, abs=1e-6)
    assert expected.keys() == {"eval/mlm_nats", "eval/accuracy/mlm"}


def test_a_discriminator_folder_alone_is_refused(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_main([str(finished.run / "model"), "--recipe", str(finished.recipe_file)]) == 2
    message = capsys.readouterr().err
    assert "expected a model with a masked-language-modelling head" in message
    assert "a discriminator has none and is scored with its generator: name the run." in message


def test_damage_to_the_generator_or_to_the_residual_is_found(
    runs: dict[str, Finished], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = _checkpoint(runs["electra-gradient_disentangled"].run)
    assert verify.main([str(checkpoint)]) == 0
    for file in ("generator/model.safetensors", "state/objective.safetensors", "state/tally.safetensors"):
        damaged = shutil.copytree(checkpoint, tmp_path / file / checkpoint.name)
        content = bytearray((damaged / file).read_bytes())
        content[-1] ^= 1
        (damaged / file).write_bytes(content)
        assert verify.main([str(damaged)]) == 2
        assert f"is damaged: {file} has other content than was written" in capsys.readouterr().err


# Costs ---------------------------------------------------------------------------------------------------------------


def _dry_run(recipe: Recipe, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    (folder / "dry.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert pretrain_main([str(folder / "dry.yaml"), "--dry-run"]) == 0
    return dict(re.findall(r"^(parameters|operations) +(\S+)", capsys.readouterr().out, re.MULTILINE))


@pytest.mark.parametrize("sharing", ["all", "word", "gradient_disentangled", "none"])
def test_a_dry_run_counts_the_parameters_of_both_networks_and_shared_ones_once(
    tiny: Tiny, detection: Detection, tmp_path: Path, capsys: pytest.CaptureFixture[str], sharing: str
) -> None:
    recipe = tiny(*detection["electra"], f"objective.sharing={sharing}")
    objective = build_objective(recipe, prepared_store(recipe), device=CPU)
    told = _dry_run(recipe, tmp_path, capsys)
    assert told["parameters"] == f"{sum(p.numel() for p in objective.parameters()):,}"
    per_token = [
        flops_per_token(network.model.config, max_seq_length=32, target_ratio=0.15, looks_everywhere=name == "model")
        for name, network in objective.networks.items()
    ]
    assert told["operations"] == f"{20 * 16 * 32 * sum(per_token):.2e}"


# Warm starts ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert_folder(runs: dict[str, Finished], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertForMaskedLM with the vocabulary of the runs."""
    folder = tmp_path_factory.mktemp("bert")
    vocab_size = runs["electra"].objective.encoder.model.config.vocab_size
    torch.manual_seed(3)
    BertForMaskedLM(
        BertConfig(
            vocab_size=vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=40,
        )
    ).save_pretrained(folder)  # fmt: skip
    AutoTokenizer.from_pretrained(runs["electra"].run / "model").save_pretrained(folder)
    return folder


def _further(tiny: Tiny, detection: Detection, folder: Path, *more: str) -> Recipe:
    return tiny(*detection["electra"], f"encoder={{from: {folder}}}", *more)


def _built(recipe: Recipe) -> ReplacedTokenDetection:
    objective = build_objective(recipe, prepared_store(recipe), device=CPU)
    assert isinstance(objective, ReplacedTokenDetection)
    return objective


@pytest.mark.parametrize("start", ["model", "generator", "bert"])
def test_a_discriminator_starts_from_any_electra_or_bert_folder(
    electra: Finished, bert_folder: Path, tiny: Tiny, detection: Detection, tmp_path: Path, start: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = bert_folder if start == "bert" else electra.run / start
    recipe = _further(tiny, detection, folder)
    objective = _built(recipe)
    source = {key.removeprefix("bert.").removeprefix("electra."): value for key, value in
              load_file(folder / "model.safetensors").items()}  # fmt: skip
    body = objective.encoder.model.electra.state_dict()
    assert len(body) > 30 and all(torch.equal(source[key], value) for key, value in body.items())
    assert objective.generator.word_embeddings is objective.encoder.word_embeddings
    told = _dry_run(recipe, tmp_path, capsys)
    assert told["parameters"] == f"{sum(p.numel() for p in objective.parameters()):,}"


@pytest.mark.parametrize("sharing", ["all", "gradient_disentangled"])
def test_a_generator_starts_from_a_runs_generator(
    runs: dict[str, Finished], tiny: Tiny, detection: Detection, tmp_path: Path, sharing: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = runs["electra" if sharing == "all" else f"electra-{sharing}"].run
    start = (f"objective.generator_from={run / 'generator'}", f"objective.sharing={sharing}")
    recipe = _further(tiny, detection, run / "model", *start)
    objective = _built(recipe)
    for name, network in objective.networks.items():
        stored = load_file(run / name / "model.safetensors")
        save_objective(objective, prepared_store(recipe).tokenizer_path, tmp_path)
        saved = load_file(tmp_path / name / "model.safetensors")
        assert saved.keys() == stored.keys(), network
        for key, value in saved.items():
            torch.testing.assert_close(value, stored[key], rtol=0, atol=1e-7)
    told = _dry_run(recipe, tmp_path, capsys)
    assert told["parameters"] == f"{sum(p.numel() for p in objective.parameters()):,}"


@pytest.mark.parametrize("sharing", ["all", "word"])
def test_positions_are_extended_in_both_networks_and_stay_so_when_saved(
    electra: Finished, tiny: Tiny, detection: Detection, tmp_path: Path, sharing: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    longer = ("examples.max_seq_length=64", f"objective.sharing={sharing}")
    longer = (*longer, f"objective.generator_from={electra.run / 'generator'}")
    with pytest.raises(EncoderError, match=r"has 40 positions, expected at least examples.max_seq_length = 64.*extend"):
        _built(_further(tiny, detection, electra.run / "model", *longer))
    recipe = _further(tiny, detection, electra.run / "model", *longer, "encoder.extend_positions=true")
    objective = _built(recipe)
    save_objective(objective, prepared_store(recipe).tokenizer_path, tmp_path)
    again, missing = load_objective(recipe, {name: tmp_path / name for name in ("model", "generator")}, device=CPU)
    assert missing == []
    for name, network in again.networks.items():
        table = network.model.electra.embeddings.position_embeddings.weight
        assert len(table) == 64 == network.model.config.max_position_embeddings, name
        assert torch.equal(table[40:], table[:24])
    told = _dry_run(recipe, tmp_path, capsys)
    assert told["parameters"] == f"{sum(p.numel() for p in objective.parameters()):,}"


def test_folders_that_do_not_fit_are_refused(
    runs: dict[str, Finished], tiny: Tiny, detection: Detection, bert_folder: Path, tmp_path: Path
) -> None:
    electra, modernbert = runs["electra"].run, runs["modernbert"].run
    shorter = tiny(*detection["electra"], "encoder.max_position_embeddings=36")
    save_objective(_built(shorter), prepared_store(shorter).tokenizer_path, tmp_path)
    vocabulary = r"has another vocabulary \(200 entries\) than the recipe's tokenizer \(180\).*tokenizer: \{path: "
    refused: dict[tuple[Path, Path, str], str] = {
        (electra / "model", electra / "generator", "tokenizer.vocab_size=180"): rf"/model {vocabulary}",
        (bert_folder, electra / "generator", ""): r"sharing all needs two word tables of one size, got \(200, 32\)",
        (electra / "model", electra / "nowhere", ""): r"nowhere is not a transformers model folder",
        (electra / "model", electra / "model", ""): r"expected a masked language model with its head\. Name such a",
        (tmp_path / "model", electra / "generator", ""): r"sharing all needs embeddings of one size, got \(36, 16\) .* "
        r"and \(40, 16\) for the generator's",
        (bert_folder, modernbert / "generator", ""): r"sharing all needs embeddings of one size, .*sharing to word",
    }
    for (folder, generator, override), text in refused.items():
        with pytest.raises(EncoderError, match=text):
            _built(
                _further(tiny, detection, folder, f"objective.generator_from={generator}", *filter(None, [override]))
            )
    narrow = ("objective.sharing=gradient_disentangled", "objective.generator_fraction=0.5")
    with pytest.raises(EncoderError, match=r"sharing gradient_disentangled needs two word tables of one size"):
        _built(_further(tiny, detection, modernbert / "model", *narrow))
    words = ("objective.sharing=none", f"objective.generator_from={electra / 'generator'}", "tokenizer.vocab_size=180")
    with pytest.raises(EncoderError, match=rf"/generator {vocabulary}"):
        _built(tiny(*detection["electra"], *words))


# What else is asked of a run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["electra", "modernbert"])
def test_a_run_is_probed_and_reported(
    runs: dict[str, Finished], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Static vectors of an ELECTRA are narrower than its hidden states."""
    run = shutil.copytree(runs[name].run, tmp_path / "run")
    rows = [f"lamp\tThe {kind} lamp {end}.\t{sense}" for sense, end in (("a", "found the boat"), ("b", "sold the coat"))
            for kind in ("old", "green", "small", "tall")]  # fmt: skip
    (tmp_path / "words.tsv").write_text("\n".join(["word\tsentence\tsense", *rows]) + "\n")
    assert probes_main(["senses", str(run), "--sentences", str(tmp_path / "words.tsv"), "--layers", "0,2"]) == 0
    results = json.loads((run / "probes" / "senses.json").read_text(encoding="utf-8"))
    assert {score["layer"] for score in results["scores"]} == {0, 2, None}
    assert probes_main(["report", str(run)]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "discriminator" in page and "generator" in page


def test_examples_are_shown_as_the_generator_gets_them(electra: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect_main([str(electra.recipe_file), "--examples", "3", "--jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3
    for line in lines:
        targets = [i for i, label in enumerate(line["labels"]) if label != -100]
        assert targets and [line["labels"][i] for i in targets] == [line["original_ids"][i] for i in targets]
