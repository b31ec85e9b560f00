"""Laws of the layout: how a batch is spread over micro-batches, processes and rows changes nothing but the rounding.

Every objective in float32 without dropout: loss, gradient norm and weights after 20 steps to 1e-5, and a run that goes
on in another layout is the run that did not. In these runs no draw of a token lies on the border of two words and no
logit on that of two bins, where rounding alone would change what is counted.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from objectives import OBJECTIVES
from pretrain.assembly import prepared_store, training_examples
from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Interrupted
from pretrain.loop import Loop
from pretrain.optimizer import OPTIMIZERS as OPTIMIZER_SETTINGS
from pretrain.recipe import read_recipe
from tests.layouts import (
    CLOCK,
    ON_ONE,
    ON_TWO,
    OPTIMIZERS,
    SETUPS,
    STEPS,
    Apart,
    Course,
    Example,
    as_one_batch,
    assert_bitwise,
    assert_same,
    assert_same_weights,
    course_of,
    loop_of,
    recorded,
)
from tests.two_ranks import Job, environment, read_course

ROOT = Path(__file__).resolve().parents[1]
LaunchRun = Callable[..., Path]
Train = Callable[..., Course]

QUICK = [(setup, of.optimizer) for setup, of in SETUPS.items()]
PAIRS = [*QUICK, *((setup, name) for setup in SETUPS for name in OPTIMIZERS if (setup, name) not in QUICK)]
PACKED = [pair for pair in PAIRS if any("name: packed" in part for part in SETUPS[pair[0]].overrides)]
DROPOUT = ("encoder.hidden_dropout_prob=0.2", "encoder.attention_probs_dropout_prob=0.2")
CLIPPED = "train.max_grad_norm=0.05"
BARE = (CLIPPED, *ON_TWO["15 by 4"])
"""For batches of which the second process has no target at all."""
ONE_BY_ONE = ("mlm, bert", "mlm_nsp, modernbert", "mlm_sop, modernbert", "detection, disentangled")
"""Setups whose micro-batches are of a single example in the quick part, which takes the most time."""
RESUMED = {
    **dict.fromkeys(("mlm, modernbert", "mlm_nsp, bert", "mlm_sop, bert", "detection, electra"), ()),
    "detection, modernbert": ("objective.sharing=gradient_disentangled",),
}
"""Setups that go on in another layout, with further overrides."""
ROUTES = ("one, two, one", "two, one")


def _overrides(setup: str, optimizer: str, *more: str) -> tuple[str, ...]:
    return (*SETUPS[setup].overrides, OPTIMIZERS[optimizer], *more)


def _each(pairs: Sequence[tuple[str, str]]) -> pytest.MarkDecorator:
    """All pairs of setup and optimizer, the setup's own optimizer in the quick part."""
    marks = {pair: () if pair in QUICK else pytest.mark.long for pair in pairs}
    params = [pytest.param(*pair, id=", ".join(pair), marks=mark) for pair, mark in marks.items()]
    return pytest.mark.parametrize(("setup", "optimizer"), params)


def test_every_objective_and_every_optimizer_is_held_to_the_laws() -> None:
    assert {of.objective for of in SETUPS.values()} == OBJECTIVES.keys()
    assert OPTIMIZERS.keys() == OPTIMIZER_SETTINGS.keys()
    for name in OBJECTIVES:
        quick = [(setup, optimizer) for setup, optimizer in QUICK if SETUPS[setup].objective == name]
        assert {optimizer for _, optimizer in quick} >= {"adamw", "muon"}, name
        assert any(SETUPS[setup].objective == name for setup in RESUMED), name
        assert any(SETUPS[setup].objective == name for setup in ONE_BY_ONE), name
    assert {layout for pair in QUICK for layout in _quick_on_two(*pair)} == ON_TWO.keys()


# Runs in this process and in two -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str]) -> Path:
    """The tiny recipe, which all runs override, in a folder for what two processes write."""
    folder = tmp_path_factory.mktemp("layouts")
    (folder / "recipe.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def in_one(recipe_file: Path) -> Train:
    """The course of a recipe in this process; made once, so it must not be changed."""
    made: dict[tuple[Any, ...], Course] = {}

    def train(*overrides: str, kind: str = "plain") -> Course:
        if (overrides, kind) not in made:
            made[overrides, kind] = course_of(_loop(recipe_file, *overrides, kind=kind))
        return made[overrides, kind]

    return train


def _loop(recipe_file: Path, *overrides: str, kind: str = "plain") -> Loop:
    return loop_of(read_recipe(recipe_file, overrides), Processes.start("no"), kind)


@dataclass(frozen=True)
class Two:
    """What two processes trained."""

    folder: Path
    stops: dict[str, list[Example]]
    """What of each run this process had trained on before."""

    def courses(self, name: str) -> list[Course]:
        """Of both processes."""
        return [read_course(self.folder, rank, name) for rank in (0, 1)]


@pytest.fixture(scope="module")
def two_ranks(recipe_file: Path, launch: LaunchRun) -> Two:
    """The quick part, in one launch."""
    folder, stops = recipe_file.parent, {}
    for setup in RESUMED:
        with recorded() as seen, pytest.raises(Interrupted):
            launch(read_recipe(recipe_file, _run(folder, setup, ROUTES[0])), stop_after=4)
        stops[setup] = seen
    plain = [_job(*pair, layout) for pair in QUICK for layout in _quick_on_two(*pair)]
    bare = [Job(f"{', '.join(pair)}, bare", _overrides(*pair, *BARE), "bare") for pair in QUICK]
    twice = [Job(f"dropout {number}", _overrides("mlm_nsp, bert", "adamw", *DROPOUT), steps=4) for number in (1, 2)]
    runs = [
        Job(f"{setup}, {route}", (*_run(folder, setup, route), "train.micro_batch_size=3"), steps=7, what="run")
        for setup in RESUMED
        for route in ROUTES
    ]
    _start_two(recipe_file, [*plain, *bare, *twice, *runs])
    return Two(folder, stops)


@pytest.fixture(scope="module")
def two_ranks_for_long(recipe_file: Path) -> Two:
    """The long part, in one launch."""
    _start_two(recipe_file, [_job(*pair, layout) for pair in PAIRS for layout in _long_on_two(*pair)])
    return Two(recipe_file.parent, {})


def _quick_on_two(setup: str, optimizer: str) -> list[str]:
    """A layout for each setup with its own optimizer, all in turn."""
    layouts = [*ON_TWO, *ON_TWO]
    return [layouts[list(SETUPS).index(setup)]] if (setup, optimizer) in QUICK else []


def _long_on_two(setup: str, optimizer: str) -> list[str]:
    return [name for name in ON_TWO if name not in _quick_on_two(setup, optimizer)]


def _job(setup: str, optimizer: str, layout: str) -> Job:
    return Job(f"{setup}, {optimizer}, {layout}", _overrides(setup, optimizer, *ON_TWO[layout]))


def _start_two(recipe_file: Path, jobs: Sequence[Job]) -> None:
    """Do the jobs in two processes and wait; what they write stands beside the recipe."""
    folder = recipe_file.parent
    (folder / "jobs.json").write_text(json.dumps(jobs))
    (folder / "meeting").unlink(missing_ok=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.two_ranks", str(folder), str(rank)],
            cwd=ROOT, env=environment(rank), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        told = [process.communicate(timeout=60 + 10 * len(jobs))[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(told)


# Micro-batches, processes --------------------------------------------------------------------------------------------


ON_THIS = [
    pytest.param(*pair, name, id=", ".join([*pair, name]), marks=() if is_quick else pytest.mark.long)
    for pair in PAIRS
    for name in list(ON_ONE)[1:]
    for is_quick in [pair in QUICK and (name != "16 x 1" or pair[0] in ONE_BY_ONE)]
]


@pytest.mark.parametrize(("setup", "optimizer", "layout"), ON_THIS)
def test_micro_batches_of_any_size_train_as_the_whole_batch(
    in_one: Train, setup: str, optimizer: str, layout: str
) -> None:
    whole = in_one(*_overrides(setup, optimizer, *ON_ONE["1 x 16"]))
    first = next(name for name in whole.lines[0] if name.startswith("loss/"))
    assert whole.lines[-1][first] < whole.lines[0][first], "nothing was learnt, so nothing is compared"
    parts = in_one(*_overrides(setup, optimizer, *ON_ONE[layout]))
    assert_same(parts, whole)
    assert parts.seen == whole.seen, "order, masks and noise"


ON_EITHER = [
    pytest.param(*pair, layout, launch, id=", ".join([*pair, layout]), marks=marks)
    for pair in PAIRS
    for launch, marks, layouts in (
        ("two_ranks", (), _quick_on_two(*pair)),
        ("two_ranks_for_long", pytest.mark.long, _long_on_two(*pair)),
    )
    for layout in layouts
]


@pytest.mark.parametrize(("setup", "optimizer", "layout", "launched"), ON_EITHER)
def test_two_processes_train_as_one(
    request: pytest.FixtureRequest, in_one: Train, setup: str, optimizer: str, layout: str, launched: str
) -> None:
    two: Two = request.getfixturevalue(launched)
    courses = two.courses(f"{setup}, {optimizer}, {layout}")
    one = in_one(*_overrides(setup, optimizer, *as_one_batch(ON_TWO[layout])))
    for course in courses:
        assert_same(course, one)
        for name, weight in courses[0].weights.items():
            assert torch.equal(course.weights[name], weight), f"{name} differs between the processes"
    assert sorted(courses[0].seen + courses[1].seen) == sorted(one.seen), "examples, masks and noise"


@_each(PAIRS)
def test_the_rate_is_a_function_of_the_step_and_what_was_spent(
    recipe_file: Path, in_one: Train, setup: str, optimizer: str
) -> None:
    """And the same in all layouts, which `assert_same` holds."""
    recipe = read_recipe(recipe_file, _overrides(setup, optimizer))
    tokens = 0
    for step, line in enumerate(in_one(*_overrides(setup, optimizer, *ON_ONE["4 x 4"])).lines):
        share = step / STEPS if recipe.train.steps else tokens / recipe.train.tokens
        assert line["learning_rate"] == recipe.optimizer.learning_rate * recipe.schedule.factor(step, share)
        tokens = line["tokens"]


# Rows without targets, clipping --------------------------------------------------------------------------------------


@_each(QUICK)
def test_rows_without_a_target_train_the_same_in_one_micro_batch_in_many_and_in_two_processes(
    two_ranks: Two, in_one: Train, setup: str, optimizer: str
) -> None:
    """The second process never has one, so its gradient is another one altogether; every seventh batch has none."""
    batch = _overrides(setup, optimizer, CLIPPED, "train.batch_size=15")
    whole = in_one(*batch, "train.micro_batch_size=null", kind="bare")
    parts = in_one(*batch, "train.micro_batch_size=4", kind="bare")
    both = two_ranks.courses(f"{setup}, {optimizer}, bare")
    for course in (whole, parts, *both):
        assert all(math.isfinite(value) for line in course.lines for value in line.values())
        assert all(bool(weight.isfinite().all()) for weight in course.weights.values())
        assert_same(course, whole)
        for line, clipped in zip(course.lines, course.clipped, strict=True):
            assert clipped == pytest.approx(min(0.05, line["grad_norm"]), rel=1e-4), "by its norm over the whole batch"
    (masked,) = {term for term in ("mlm", "generator") if f"accuracy/{term}" in whole.lines[0]}
    has_targets = [f"loss/{masked}_nats" in line and line[f"loss/{masked}_nats"] > 0 for line in whole.lines]
    assert has_targets == [number % 7 != 0 for number in range(1, STEPS + 1)]
    assert sorted(both[0].seen + both[1].seen) == sorted(whole.seen)


# Packed or apart -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_documents(recipe_file: Path, corpus_files: tuple[Path, Path]) -> str:
    """An override: the text in documents of a sentence or two, of which a row holds several."""
    texts = [json.loads(line)["text"].split(". ") for line in corpus_files[0].read_text().splitlines()]
    short = [". ".join(text[i : i + 1 + i % 2]).rstrip(".") + "." for text in texts for i in range(0, len(text), 2)]
    path = recipe_file.parent / "short.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in short), encoding="utf-8")
    return f"corpus.files=[{path}]"


@_each(PACKED)
def test_documents_packed_or_one_a_row_train_the_same(
    recipe_file: Path, short_documents: str, setup: str, optimizer: str
) -> None:
    overrides = _overrides(setup, optimizer, short_documents, "examples.boundaries=full_sentences")
    packed = course_of(_loop(recipe_file, *overrides))
    for layout in ("1 x 16", "4 x 5"):
        loop = _loop(recipe_file, *overrides, *ON_ONE[layout], kind="apart")
        assert_same(course_of(loop), packed)
        assert isinstance(loop.examples, Apart)
        assert loop.examples.num_rows == 16 * STEPS
        assert loop.examples.num_pieces > 1.8 * loop.examples.num_rows


# Bit for bit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", SETUPS)
def test_the_same_batches_twice_are_bitwise_equal_with_dropout_as_well(recipe_file: Path, setup: str) -> None:
    overrides = _overrides(setup, SETUPS[setup].optimizer, "train.micro_batch_size=5")
    has_dropout = "dropout" in SETUPS[setup].overrides[0]
    for dropout in ((), DROPOUT) if has_dropout else ((),):
        courses = [course_of(_loop(recipe_file, *overrides, *dropout), steps=4) for _ in range(2)]
        assert_bitwise(*courses)
    if has_dropout:
        assert courses[0].lines != course_of(_loop(recipe_file, *overrides), steps=4).lines


def test_the_same_batches_twice_are_bitwise_equal_on_two_processes(two_ranks: Two) -> None:
    for first, second in zip(two_ranks.courses("dropout 1"), two_ranks.courses("dropout 2"), strict=True):
        assert_bitwise(first, second)


def test_muon_in_bfloat16_is_bitwise_at_an_unchanged_layout_only(recipe_file: Path) -> None:
    """As the setting's documentation says; with the iteration in float32 layouts agree to 1e-5."""
    overrides = (*SETUPS["mlm_nsp, bert"].overrides, OPTIMIZERS["muon"], "optimizer.newton_schulz_dtype=bfloat16")
    first, again, other = (
        course_of(_loop(recipe_file, *overrides, f"train.micro_batch_size={size}")) for size in (4, 4, 16)
    )
    assert_bitwise(first, again)
    differences = [float((other.weights[name] - weight).abs().max()) for name, weight in first.weights.items()]
    assert max(differences) > 1e-4


# Going on in another layout ------------------------------------------------------------------------------------------


def _run(folder: Path, setup: str, route: str) -> tuple[str, ...]:
    """Three epochs of a setup, in a run directory of its own."""
    budget = ("train.steps=null", "train.tokens=null", "train.epochs=3", "log.every_steps=3", "evaluate.every_steps=5")
    place = f"output_dir={folder / 'runs' / setup.replace(', ', '-') / route.replace(', ', '-')}"
    return _overrides(setup, SETUPS[setup].optimizer, *RESUMED[setup], *budget, place)


@pytest.fixture(scope="module")
def whole_runs(recipe_file: Path, launch: LaunchRun) -> dict[str, tuple[Path, list[Example]]]:
    """The runs that were not stopped, by setup, and what they trained on."""
    runs = {}
    for setup in RESUMED:
        with recorded() as seen:
            runs[setup] = launch(read_recipe(recipe_file, _run(recipe_file.parent, setup, "whole"))), seen
    return runs


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("setup", RESUMED)
def test_a_run_that_goes_on_in_another_layout_is_the_run_that_did_not(
    two_ranks: Two,
    whole_runs: dict[str, tuple[Path, list[Example]]],
    recipe_file: Path,
    launch: LaunchRun,
    setup: str,
    route: str,
) -> None:
    """Stopped after 4 steps, where it began in one process, and then after 7 more in two."""
    recipe = read_recipe(recipe_file, _run(two_ranks.folder, setup, route))
    both = two_ranks.courses(f"{setup}, {route}")
    with recorded() as after:
        run = launch(read_recipe(recipe_file, (*_run(two_ranks.folder, setup, route), "train.micro_batch_size=5")))
    whole, expected = whole_runs[setup]
    before = two_ranks.stops[setup] if route == ROUTES[0] else []
    assert len(before) == (4 * 16 if route == ROUTES[0] else 0)
    assert [len(course.seen) for course in both] == [7 * 8, 7 * 8]
    seen = [*before, *both[0].seen, *both[1].seen, *after]
    assert sorted(seen) == sorted(expected), "examples, masks and noise"
    examples = training_examples(recipe, prepared_store(recipe))
    for epoch in range(3):
        indices = sorted(index for of, index, _ in seen if of == epoch)
        assert indices == list(range(len(examples.plan(epoch)))), f"each once in epoch {epoch}"

    for line, other in zip(_metrics(run), _metrics(whole), strict=True):
        assert line == pytest.approx(other, rel=1e-5, abs=1e-5), f"step {other['step']}"
    for network in recipe.objective.heads:
        assert_same_weights(*(load_file(folder / network / "model.safetensors") for folder in (run, whole)))


def _metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]
