"""Laws of the evaluation that compares: frozen masks of any rate, a run's own ones, and targets by class of word."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import BertForMaskedLM, BertForPreTraining

from objectives.cutting.packed import Packed
from objectives.masking import NOT_A_TARGET, SpanMasking, TokenMasking
from objectives.mlm import cross_entropy
from pretrain.assembly import load_objective, prepared_store, saved_networks
from pretrain.batches import Examples, Selection
from pretrain.distributed.processes import Processes
from pretrain.evaluate import evaluate, main
from pretrain.evaluation import HeldOut
from pretrain.recipe import Recipe, read_recipe
from pretrain.word_classes import CLASSES, word_classes

Tiny = Callable[..., Recipe]
Figures = dict[str, float | None]
PLAIN = {"eval/mlm_nats", "eval/accuracy/mlm", "eval/nsp_nats", "eval/accuracy/nsp"}
OF_CLASSES = {f"eval/{name}/{what}" for name in CLASSES for what in ("mlm_nats", "accuracy/mlm", "targets")}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: Callable[..., Path]
) -> Path:
    """A finished tiny run of masked language modelling and next sentences."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return launch(read_recipe(folder / "tiny.yaml"))


@pytest.fixture(scope="module")
def detecting(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_text: Callable[[Path], str],
    detection: dict[str, tuple[str, ...]],
    launch: Callable[..., Path],
) -> Path:
    """A finished tiny run of replaced-token detection, whose generator was trained with 15 % kept."""
    folder = tmp_path_factory.mktemp("detecting")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return launch(read_recipe(folder / "tiny.yaml", [*detection["electra"], "train.steps=6"]))


@pytest.fixture(scope="module")
def as_if(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The weights of the trained run, as if this masking section had trained them."""

    def make(masking: str) -> Path:
        copy = shutil.copytree(trained, tmp_path_factory.mktemp("as_if") / "run")
        recipe = read_recipe(copy / "recipe.yaml", [f"masking={masking}"])
        (copy / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        return copy

    return make


def _under(name: str, figures: Figures) -> Figures:
    """The figures of some masks, named as those of the standard ones."""
    prefix = f"eval/{name}/"
    return {f"eval/{key.removeprefix(prefix)}": value for key, value in figures.items() if key.startswith(prefix)}


def _of_masked(figures: Figures, term: str = "mlm") -> Figures:
    return {key: figures[key] for key in (f"eval/{term}_nats", f"eval/accuracy/{term}")}


# Rates ---------------------------------------------------------------------------------------------------------------


def test_the_standard_rate_gives_the_plain_figures_and_nothing_changes_them(trained: Path, detecting: Path) -> None:
    for run, term in ((trained, "mlm"), (detecting, "generator")):
        plain = evaluate(run, None)
        compared = evaluate(run, None, rates=["0.15", "0.4"], with_classes=True)
        assert {key: compared[key] for key in plain} == plain
        assert _under("rate_0.15", compared) == _of_masked(plain, term)
        assert _under("rate_0.4", compared).keys() == _of_masked(plain, term).keys(), "all else is scored once"
        assert _under("rate_0.4", compared)[f"eval/{term}_nats"] != plain[f"eval/{term}_nats"]


@pytest.mark.parametrize(
    ("masking", "equal"),
    [
        ("{name: token}", TokenMasking()),
        ("{name: token, mlm_probability: {schedule: linear, start: 0.5, end: 0.1}}", TokenMasking(mlm_probability=0.3)),
        ("{name: token, mlm_probability: {schedule: uniform}}", TokenMasking(mlm_probability=0.5)),
        (
            "{name: span, mlm_probability: 0.3, mask_replace_prob: 1.0, random_replace_prob: 0.0}",
            SpanMasking(mlm_probability=0.3, mask_replace_prob=1.0, random_replace_prob=0.0),
        ),
    ],
)
def test_own_masks_are_those_of_the_run_at_their_mean_rate(
    tiny: Tiny, trained: Path, as_if: Callable[[str], Path], masking: str, equal: TokenMasking | SpanMasking
) -> None:
    figures = evaluate(as_if(masking), None, rates=["own"])
    expected = _by_hand(trained, tiny(), equal)
    assert _under("own", figures) == pytest.approx(
        {"eval/mlm_nats": expected.losses.mean(), "eval/accuracy/mlm": expected.right.mean()}, abs=1e-5
    )


def test_own_masks_are_said_to_have_the_mean_rate(
    as_if: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    evaluate(as_if("{name: token, mlm_probability: {schedule: cosine, start: 0.5, end: 0.1}}"), None, rates=["own"])
    assert "own masks: the rate of schedule cosine is scored at its mean, 0.3" in caplog.text


def test_the_figures_do_not_depend_on_the_masks_that_a_run_was_trained_with(
    trained: Path, as_if: Callable[[str], Path]
) -> None:
    other = as_if("{name: whole_word, mlm_probability: 0.6, mask_replace_prob: 0.5}")
    figures, of_other = (evaluate(run, None, rates=["0.4", "own"], with_classes=True) for run in (trained, other))
    assert figures.keys() == of_other.keys()
    assert {key for key in figures if figures[key] != of_other[key]} == {"eval/own/mlm_nats", "eval/own/accuracy/mlm"}
    overridden = evaluate(trained, None, ["masking.mlm_probability=0.9"], rates=["own"])
    assert _under("own", overridden) == _under("own", figures), "as it was trained, whatever recipe it is scored with"


def test_a_generator_has_a_mask_at_every_target_but_under_its_own_masks(detecting: Path) -> None:
    figures = evaluate(detecting, None, rates=["1", "0.15", "own"])
    assert {key.split("/")[1] for key in figures if key.count("/") > 1 and "generator" in key} >= {"own", "rate_1"}
    recipe = read_recipe(detecting / "recipe.yaml")
    objective, _ = load_objective(recipe, saved_networks(recipe, detecting), device=torch.device("cpu"))
    store = prepared_store(recipe)
    for name, masking in (
        ("rate_0.15", TokenMasking(mask_replace_prob=1.0, random_replace_prob=0.0)),
        ("own", TokenMasking(mask_replace_prob=0.85, random_replace_prob=0.0)),
    ):
        examples = Examples(
            store.held_out, store.vocabulary, cutting=Packed(max_seq_length=32), masking=masking, seed=0
        )
        rows = np.arange(len(examples.plan(0)))
        batch = examples.batch(Selection(np.zeros_like(rows), rows))
        is_target = batch["labels"] != NOT_A_TARGET
        generator = objective.eval().networks["generator"]
        with torch.no_grad():
            logits = generator.token_logits(generator.vectors_at(batch, is_target))
        expected = functional.cross_entropy(logits, batch["labels"][is_target])
        assert figures[f"eval/{name}/generator_nats"] == pytest.approx(float(expected), abs=1e-5)


# Classes -------------------------------------------------------------------------------------------------------------


class _Targets(NamedTuple):
    """Every target of the held-out rows by itself."""

    losses: np.ndarray
    right: np.ndarray
    places: np.ndarray
    """In the held-out split."""


def _by_hand(run: Path, recipe: Recipe, masking: TokenMasking | SpanMasking) -> _Targets:
    """From transformers' own model, one piece of a row at a time."""
    store = prepared_store(recipe)
    model = BertForPreTraining.from_pretrained(run / "model", attn_implementation="eager").eval()
    examples = Examples(store.held_out, store.vocabulary, cutting=Packed(max_seq_length=32), masking=masking, seed=0)
    plan = examples.plan(0)
    losses, right, places = [], [], []
    for row in range(len(plan)):
        batch = examples.batch(Selection(np.array([0]), np.array([row])))
        column = 0
        for piece in range(plan.first_piece[row], plan.first_piece[row + 1]):  # type: ignore[attr-defined]
            start, length = int(plan.start[piece]), int(plan.length[piece])  # type: ignore[attr-defined]
            part = {key: value[:, column : column + length + 2] for key, value in batch.items() if value.ndim == 2}
            column += length + 2
            with torch.no_grad():
                logits = model(input_ids=part["input_ids"]).prediction_logits[0]
            labels = part["labels"][0]
            for place in np.flatnonzero(labels.numpy() != NOT_A_TARGET).tolist():
                losses.append(float(functional.cross_entropy(logits[place], labels[place])))
                right.append(int(logits[place].argmax()) == int(labels[place]))
                places.append(start + place - 1)  # behind [CLS]
                assert int(store.held_out.ids[np.array([places[-1]])][0]) == int(labels[place])
    return _Targets(np.array(losses), np.array(right), np.array(places))


def test_the_figures_of_a_class_are_those_of_its_targets_by_hand(trained: Path, tiny: Tiny) -> None:
    """With the whole words of the split, where rows end within them as well."""
    store, figures = prepared_store(tiny()), evaluate(trained, None, with_classes=True)
    targets, codes = _by_hand(trained, tiny(), TokenMasking()), word_classes(store)
    assert figures["eval/mlm_nats"] == pytest.approx(targets.losses.mean(), abs=1e-5)
    for bit, name in enumerate(CLASSES):
        is_of = (codes[targets.places] >> bit & 1).astype(bool)
        assert figures[f"eval/{name}/targets"] == is_of.sum() > 0
        assert figures[f"eval/{name}/mlm_nats"] == pytest.approx(targets.losses[is_of].mean(), abs=1e-5)
        assert figures[f"eval/{name}/accuracy/mlm"] == pytest.approx(targets.right[is_of].mean(), abs=1e-9)
    assert figures["eval/function/targets"] + figures["eval/content/targets"] < len(targets.losses), "there are stops"  # type: ignore[operator]
    assert figures["eval/rare/targets"] + figures["eval/frequent/targets"] < len(targets.losses)  # type: ignore[operator]
    assert figures.keys() == PLAIN | OF_CLASSES


def test_classes_and_the_rest_add_up_to_the_whole(detecting: Path, tmp_path: Path) -> None:
    """Under a list of a word that is not there, all words of letters are content."""
    (tmp_path / "words.txt").write_text("zebra\n", encoding="utf-8")
    figures = evaluate(detecting, None, with_classes=True)
    swapped = evaluate(detecting, None, with_classes=True, function_words=tmp_path / "words.txt")
    assert swapped["eval/function/generator_nats"] is swapped["eval/function/accuracy/generator"] is None
    assert swapped["eval/function/targets"] == 0.0
    whole, parts = swapped["eval/content/targets"], [figures[f"eval/{name}/targets"] for name in CLASSES[2:]]
    assert whole == sum(parts), "words of letters are one or the other"  # type: ignore[arg-type]
    for key in ("generator_nats", "accuracy/generator"):
        total = sum(n * figures[f"eval/{name}/{key}"] for n, name in zip(parts, CLASSES[2:], strict=True))  # type: ignore[operator, misc]
        assert swapped[f"eval/content/{key}"] == pytest.approx(total / whole, abs=1e-6)  # type: ignore[operator]
    for name in CLASSES[:2]:
        assert _under(name, figures) == _under(name, swapped)


def test_the_parts_of_several_processes_add_up_to_the_figures_of_one(trained: Path, tiny: Tiny) -> None:
    recipe, store = tiny(), prepared_store(tiny())
    objective, _ = load_objective(recipe, saved_networks(recipe, trained), device=torch.device("cpu"))
    held_out = HeldOut(
        store, ("mlm", "nsp"), max_seq_length=32, masks={"rate_0.4": 0.4}, word_codes=word_classes(store)
    )
    parts: list[torch.Tensor] = []
    summed: list[torch.Tensor] = []

    class _OneOf(Processes):
        """Stands for a process of three: notes its sums, or has those of all three in their place."""

        def sum_in_place(self, tensor: torch.Tensor) -> None:
            if summed:
                tensor.copy_(summed.pop(0))
            else:
                parts.append(tensor.clone())

    one = _OneOf(Processes.start("no").accelerator)
    one.world_size = 3
    for rank in range(3):
        one.rank = rank
        held_out.measure(objective, one, micro_batch_size=4)
    assert len(parts) == 12, "the rows of each term, their classes, and those of the other masks, in each process"
    summed = [sum(parts[number::4][1:], start=parts[number]) for number in range(4)]
    assert held_out.measure(objective, one, micro_batch_size=4) == pytest.approx(
        evaluate(trained, None, rates=["0.4"], with_classes=True), abs=1e-6
    )


def test_sums_by_class_are_those_of_the_targets_and_change_no_other() -> None:
    generator = torch.Generator().manual_seed(3)
    logits_MV = 4 * torch.randn(9, 6, generator=generator)
    targets = torch.randint(6, (9,), generator=generator)
    weights = torch.tensor([1.0, 2, 1, 1, 3, 1, 1, 1, 2])
    classes = torch.rand(9, 4, generator=generator) < 0.5
    classes[:, 3] = False
    for weight in (None, weights):
        whole, plain = cross_entropy(logits_MV, targets, weight, classes), cross_entropy(logits_MV, targets, weight)
        assert plain.by_class is None and whole[:3] == plain[:3]
        assert whole.by_class is not None and whole.by_class.dtype == torch.float64
        for number in range(4):
            kept = classes[:, number]
            alone = cross_entropy(logits_MV[kept], targets[kept], None if weight is None else weight[kept])
            assert whole.by_class[number].tolist() == pytest.approx([float(part) for part in alone[:3]], rel=1e-6)


# The command ---------------------------------------------------------------------------------------------------------


def test_the_last_line_is_json_with_numbers_or_null(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("zebra\n", encoding="utf-8")
    listed = ("--word-classes", "--function-words", str(tmp_path / "words.txt"))
    assert main([str(trained), "--rates", "0.40", "own", "0.4", *listed]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    further = {f"eval/{masks}/{what}" for masks in ("rate_0.4", "own") for what in ("mlm_nats", "accuracy/mlm")}
    assert figures.keys() == PLAIN | OF_CLASSES | further
    assert all(value is None or isinstance(value, float) for value in figures.values())
    assert figures["eval/function/mlm_nats"] is None


def test_what_cannot_be_scored_is_refused_in_words(
    trained: Path, detecting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = shutil.copytree(trained / "model", tmp_path / "plain")
    recipe = str(trained.parent / "tiny.yaml")
    no_rate = "expected numbers above 0 and at most 1, or own. Correct it; overrides of the recipe stand before --rates"
    refusals = {
        **{
            (str(trained), "--rates", rate): f"--rates: got '{rate}', {no_rate}" for rate in ("0", "1.5", "nan", "mine")
        },
        (str(trained), "--rates", "0.4", "seed=1"): f"--rates: got 'seed=1', {no_rate}",
        (
            str(plain),
            "--recipe",
            recipe,
            "--rates",
            "own",
        ): "a plain model folder, which does not say what masks it was "
        "trained with, expected a run or a checkpoint. Name its run, or give a rate.",
        (str(trained), "--word-classes", "--function-words", str(tmp_path / "none.txt")): "none.txt cannot be read",
        (str(trained), "--function-words", recipe): "without --word-classes, expected both. Add --word-classes.",
        (str(detecting / "model"), "--recipe", str(detecting / "recipe.yaml"), "--rates", "0.4"): "a discriminator has "
        "none and is scored with its generator: name the run.",
    }
    for arguments, text in refusals.items():
        assert main(arguments) == 2, arguments
        captured = capsys.readouterr()
        assert captured.out == ""
        assert text in captured.err and captured.err.splitlines()[-1].startswith("error: "), captured.err


def test_a_plain_model_is_scored_at_rates_and_by_classes(trained: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    BertForMaskedLM.from_pretrained(trained / "model").save_pretrained(plain)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(trained / "model" / name, plain)
    figures = evaluate(plain, trained.parent / "tiny.yaml", rates=["0.4"], with_classes=True)
    expected = evaluate(trained, None, rates=["0.4"], with_classes=True)
    assert figures == pytest.approx({key: value for key, value in expected.items() if "nsp" not in key}, abs=1e-6)
