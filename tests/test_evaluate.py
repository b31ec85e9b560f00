"""Laws of evaluation: frozen, whatever a run trains with; the same numbers as a loop by hand; refusals in words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import BertForMaskedLM, BertForPreTraining

from objectives.cutting.packed import Packed
from objectives.cutting.sentence_order import SentenceOrder
from objectives.cutting.sentence_pairs import SentencePairs
from objectives.masking import TokenMasking
from objectives.objective import Loss, Objective
from pretrain.assembly import load_objective, prepared_store, saved_networks
from pretrain.batches import Examples, Selection
from pretrain.distributed.processes import Processes
from pretrain.evaluate import evaluate, main
from pretrain.evaluation import EvaluationEnded, HeldOut, _spread
from pretrain.loop import Loop
from pretrain.recipe import Recipe, read_recipe

Tiny = Callable[..., Recipe]
NAMES = {"eval/mlm_nats", "eval/accuracy/mlm", "eval/nsp_nats", "eval/accuracy/nsp"}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: Callable[..., Path]
) -> Path:
    """The run directory of a finished tiny run, with the recipe file beside."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return launch(read_recipe(folder / "tiny.yaml"))


def _last_evaluation(run: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {key: value for key, value in lines[-1].items() if key.startswith("eval/")}


# Frozen --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ("seed=99",),
        ("masking.mlm_probability=0.4", "masking.mask_replace_prob=1.0", "masking.random_replace_prob=0.0"),
        ("train.micro_batch_size=3",),
        ("examples.short_seq_prob=0.9", "train.batch_size=5"),
        ("encoder.hidden_dropout_prob=0.5",),
    ],
)
def test_the_figures_do_not_depend_on_what_a_run_trains_with(
    trained: Path, tiny: Tiny, overrides: tuple[str, ...]
) -> None:
    recipe = tiny(*overrides)
    store = prepared_store(recipe)
    objective, _ = load_objective(recipe, saved_networks(recipe, trained), device=torch.device("cpu"))
    for module in objective.train().modules():
        if isinstance(module, torch.nn.Dropout):  # the folder was trained without
            module.p = recipe.encoder.hidden_dropout_prob
    held_out = HeldOut(store, ("mlm", "nsp"), max_seq_length=32)
    size = recipe.train.micro_batch_size or recipe.train.batch_size
    for _ in range(2):
        measured = held_out.measure(objective, Processes.start("no"), micro_batch_size=size)
        assert measured == pytest.approx(_last_evaluation(trained), abs=1e-6)
        assert objective.training, "training goes on as before"


def test_the_parts_of_several_processes_add_up_to_the_figures_of_one(trained: Path, tiny: Tiny) -> None:
    recipe = tiny()
    objective, _ = load_objective(recipe, saved_networks(recipe, trained), device=torch.device("cpu"))
    held_out = HeldOut(prepared_store(recipe), ("mlm", "nsp"), max_seq_length=32)
    parts: list[torch.Tensor] = []

    class _OneOf(Processes):
        """Stands for a process of three, and notes what it would add up with the others."""

        def sum_in_place(self, tensor: torch.Tensor) -> None:
            parts.append(tensor.clone())

    accelerator = Processes.start("no").accelerator
    for rank in range(3):
        one = _OneOf(accelerator)
        one.rank, one.world_size = rank, 3
        held_out.measure(objective, one, micro_batch_size=4)
    assert len(parts) == 6, "one vector of sums for the rows of each term, in each process"
    mlm, nsp = sum(parts[0::2]), sum(parts[1::2])
    assert torch.is_tensor(mlm) and torch.is_tensor(nsp)
    summed = {"eval/mlm_nats": mlm[0] / mlm[1], "eval/accuracy/mlm": mlm[2] / mlm[1]}
    summed |= {"eval/nsp_nats": nsp[0] / nsp[1], "eval/accuracy/nsp": nsp[2] / nsp[1]}
    assert {key: float(value) for key, value in summed.items()} == pytest.approx(_last_evaluation(trained), abs=1e-6)


def test_an_evaluation_ends_at_the_batch_at_which_a_signal_is_heard(trained: Path, tiny: Tiny) -> None:
    recipe = tiny()
    objective, _ = load_objective(recipe, saved_networks(recipe, trained), device=torch.device("cpu"))
    held_out = HeldOut(prepared_store(recipe), ("mlm", "nsp"), max_seq_length=32)
    calls, forward = [0, 0, 143], objective.forward
    batches: list[object] = []
    objective.forward = lambda batch: batches.append(batch) or forward(batch)  # type: ignore[method-assign]
    objective.train()
    with pytest.raises(EvaluationEnded, match="ended with status 143"):
        held_out.measure(objective, Processes.start("no"), micro_batch_size=2, asked=lambda: calls.pop(0))
    assert len(batches) == 2
    assert objective.training, "what is saved now goes on as it was"


def test_the_figures_are_those_of_a_loop_by_hand_with_transformers_own_loss(trained: Path, tiny: Tiny) -> None:
    store = prepared_store(tiny())
    model = BertForPreTraining.from_pretrained(trained / "model", attn_implementation="eager").eval()
    examples = {
        term: Examples(store.held_out, store.vocabulary, cutting=cutting, masking=TokenMasking(), seed=0)
        for term, cutting in (("mlm", Packed(max_seq_length=32)), ("nsp", SentencePairs(max_seq_length=32)))
    }
    loss = dict.fromkeys(examples, 0.0)
    count = dict.fromkeys(examples, 0)
    for term, of_term in examples.items():
        for i in range(len(of_term.plan(0))):
            batch = of_term.batch(Selection(np.array([0]), np.array([i])))
            for piece in _pieces(batch):
                with torch.no_grad():
                    output = model(**{k: piece[k] for k in ("input_ids", "attention_mask", "token_type_ids")})
                if term == "mlm":
                    logits, labels = output.prediction_logits[0], piece["labels"][0]
                    loss[term] += float(functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
                    count[term] += int((labels != -100).sum())
                else:
                    loss[term] += float(
                        functional.cross_entropy(output.seq_relationship_logits, piece["next_sentence_label"])
                    )
                    count[term] += 1
    expected = _last_evaluation(trained)
    assert {f"eval/{term}_nats": loss[term] / count[term] for term in loss} == pytest.approx(
        {key: expected[key] for key in ("eval/mlm_nats", "eval/nsp_nats")}, abs=1e-5
    )
    held_out_tokens = store.held_out.num_tokens
    assert 0.1 * held_out_tokens < count["mlm"] < 0.2 * held_out_tokens, "each token once, 15 % of them targets"


def _pieces(batch: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The pieces of a row apart, without padding."""
    length = int(batch["attention_mask"].sum())
    positions = batch.get("position_ids")
    starts = [0] if positions is None else [i for i in range(length) if int(positions[0, i]) == 0]
    return [
        {key: value[:, a:b] if value.ndim == 2 else value for key, value in batch.items()}
        for a, b in zip(starts, [*starts[1:], length], strict=True)
    ]


def test_a_run_that_learns_the_order_is_scored_on_frozen_rows_of_sentence_order(
    tiny: Tiny, launch: Callable[..., Path]
) -> None:
    order = ("objective.name=mlm_sop", "examples.name=sentence_order")
    run = launch(tiny(*order))
    figures = _last_evaluation(run)
    assert figures.keys() == {name.replace("nsp", "sop") for name in NAMES}
    assert evaluate(run, None) == pytest.approx(figures, abs=1e-6)
    plain = run.parent / "plain"
    BertForMaskedLM.from_pretrained(run / "model").save_pretrained(plain)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(run / "model" / name, plain)
    of_plain = evaluate(plain, run / "recipe.yaml")
    assert of_plain == pytest.approx({key: figures[key] for key in ("eval/mlm_nats", "eval/accuracy/mlm")}, abs=1e-6)
    assert "trained with sentence-order prediction" in (run / "model" / "README.md").read_text()


# Some rows of many ---------------------------------------------------------------------------------------------------


def _seen_rows(held_out: HeldOut, objective: Objective, world_size: int, size: int) -> set[tuple[int, ...]]:
    """The rows that the processes of a world of this size score, as far as they are told apart by their ids."""
    seen: list[tuple[int, ...]] = []
    forward = objective.forward

    def noting(batch: dict[str, torch.Tensor]) -> dict[str, Loss]:
        seen.extend(tuple(ids[ids != 0].tolist()) for ids in batch["input_ids"])
        return forward(batch)

    objective.forward = noting  # type: ignore[method-assign]
    accelerator = Processes.start("no").accelerator
    for rank in range(world_size):
        one = Processes(accelerator)
        one.rank, one.world_size = rank, world_size
        one.sum_in_place = lambda tensor: None  # type: ignore[method-assign]
        held_out.measure(objective, one, micro_batch_size=size)
    objective.forward = forward  # type: ignore[method-assign]
    assert len(seen) == len(set(seen)), "each row once"
    return set(seen)


def test_a_limit_takes_the_same_rows_however_they_are_portioned_and_one_above_their_number_takes_all(
    trained: Path, tiny: Tiny
) -> None:
    store, recipe = prepared_store(tiny()), tiny()
    objective, _ = load_objective(recipe, saved_networks(recipe, trained), device=torch.device("cpu"))
    some = HeldOut(store, ("mlm", "nsp"), max_seq_length=32, most_rows=7)
    rows = _seen_rows(some, objective, 1, 16)
    assert len(rows) == 14, "of each kind"
    for world_size, size in ((1, 1), (2, 3), (3, 2), (9, 4)):
        assert _seen_rows(some, objective, world_size, size) == rows
    everything = _seen_rows(HeldOut(store, ("mlm", "nsp"), max_seq_length=32), objective, 1, 16)
    assert rows < everything, "masked as where all are scored"
    one = Processes.start("no")
    figures = some.measure(objective, one, micro_batch_size=4)
    assert figures == pytest.approx(some.measure(objective, one, micro_batch_size=7), abs=1e-6)
    for most_rows in (len(everything), 10**6):
        enough = HeldOut(store, ("mlm", "nsp"), max_seq_length=32, most_rows=most_rows)
        assert enough.measure(objective, one, micro_batch_size=16) == pytest.approx(_last_evaluation(trained), abs=1e-6)
    assert figures != pytest.approx(_last_evaluation(trained), abs=1e-6)


@pytest.mark.parametrize("cutting", [kind(max_seq_length=32) for kind in (Packed, SentencePairs, SentenceOrder)])
def test_a_limit_spreads_over_the_held_out_documents(
    tiny: Tiny, cutting: Packed | SentencePairs | SentenceOrder
) -> None:
    """Rows stand in the order of their documents, which even steps through them rely on."""
    store = prepared_store(tiny())
    plan = cutting.plan(store.held_out, store.vocabulary, seed=0, epoch=0)
    firsts = plan.rows(np.arange(len(plan))).documents
    first = firsts[np.arange(len(plan)), (firsts >= 0).argmax(axis=1)]
    changes = int((np.diff(first) != 0).sum())
    assert changes <= store.held_out.num_documents + 1
    taken = _spread(len(plan), 12)
    assert {*first[taken].tolist()} == {*range(store.held_out.num_documents)}
    assert np.diff(taken).max() - np.diff(taken).min() <= 1


def test_a_run_scores_so_many_rows_as_its_recipe_says_and_the_command_scores_all(
    trained: Path, tiny: Tiny, launch: Callable[..., Path]
) -> None:
    run = launch(tiny("evaluate.most_rows=5"))
    few, every = _last_evaluation(run), evaluate(run, None)
    assert every == pytest.approx(_last_evaluation(trained), abs=1e-6), "the limit changes no training"
    store, recipe = prepared_store(tiny()), tiny()
    objective, _ = load_objective(recipe, saved_networks(recipe, run), device=torch.device("cpu"))
    some = HeldOut(store, ("mlm", "nsp"), max_seq_length=32, most_rows=5)
    assert few == pytest.approx(some.measure(objective, Processes.start("no"), micro_batch_size=16), abs=1e-6)
    assert few != pytest.approx(every, abs=1e-6)


# The command ---------------------------------------------------------------------------------------------------------


def test_a_run_a_checkpoint_and_a_model_give_the_figures_of_training(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(trained.parent / "tiny.yaml")
    for arguments in (
        [str(trained)],
        [str(max((trained / "checkpoints").iterdir()))],
        [str(trained / "model"), "--recipe", recipe],
    ):
        assert main(arguments) == 0
        line = capsys.readouterr().out.splitlines()[-1]
        assert json.loads(line) == pytest.approx(_last_evaluation(trained), abs=1e-6)
        assert json.loads(line).keys() == NAMES


def test_on_another_corpus_a_run_reads_with_the_tokenizer_that_it_was_trained_with(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A share held out instead of a file leaves other text to train a vocabulary on, which must not be used."""
    other = "corpus.held_out=0.3"
    as_run = evaluate(trained, None, [other])
    assert as_run == evaluate(trained / "model", trained / "recipe.yaml", [other])
    assert as_run != evaluate(trained, None)
    assert as_run["eval/mlm_nats"] < 1.5 * evaluate(trained, None)["eval/mlm_nats"]


def test_a_model_is_scored_for_the_heads_that_it_has(trained: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    BertForMaskedLM.from_pretrained(trained / "model").save_pretrained(plain)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(trained / "model" / name, plain)
    figures = evaluate(plain, trained.parent / "tiny.yaml")
    expected = _last_evaluation(trained)
    assert figures == pytest.approx({key: expected[key] for key in ("eval/mlm_nats", "eval/accuracy/mlm")}, abs=1e-6)


def test_what_cannot_be_scored_is_refused_in_words(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headless = tmp_path / "headless"
    BertForMaskedLM.from_pretrained(trained / "model").bert.save_pretrained(headless)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(trained / "model" / name, headless)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(trained / "recipe.yaml", unfinished)
    damaged = shutil.copytree(max((trained / "checkpoints").iterdir()), tmp_path / "step-00000020")
    (damaged / "model" / "config.json").write_text("{}")
    recipe = str(trained.parent / "tiny.yaml")
    refusals = {
        (str(tmp_path / "nowhere"),): "nowhere is not a folder, expected",
        (str(trained / "model"),): "plain model folder, which says nothing of a corpus. Add --recipe",
        (str(headless), "--recipe", recipe): "expected a model with a masked-language-modelling head. Name a folder",
        (str(unfinished),): "has no finished model yet, expected",
        (str(damaged),): "is damaged: model/config.json has other content",
        (str(trained), "corpus.held_out=0"): "holds no document out, expected some to score on. Set corpus.held_out",
    }
    for arguments, text in refusals.items():
        assert main(arguments) == 2, arguments
        captured = capsys.readouterr()
        assert captured.out == ""
        assert text in captured.err and captured.err.startswith("error: "), captured.err


def test_a_run_without_held_out_documents_trains_and_says_so(
    tiny: Tiny, launch: Callable[..., Path], make_loop: Callable[[Recipe], Loop], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = launch(tiny("corpus.held_out=0", "train.steps=5"))
    assert "no document is held out, so nothing will be evaluated" in caplog.text
    assert _last_evaluation(run) == {}
    assert (run / "model" / "README.md").exists()
