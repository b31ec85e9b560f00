"""Laws of room on the disk: the estimate holds a real checkpoint, and who has too little room is told before."""

import itertools
import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from objectives import OBJECTIVES
from pretrain.assembly import prepared_store
from pretrain.checkpoints.checkpoint import CheckpointError, Checkpoints
from pretrain.checkpoints.space import check_run, check_save, checkpoint_bytes, model_bytes
from pretrain.checkpoints.state import Snapshot
from pretrain.loop import Loop
from pretrain.optimizer import OPTIMIZERS
from pretrain.recipe import Recipe

Tiny = Callable[..., Recipe]
MakeLoop = Callable[[Recipe], Loop]
ALLOWANCE = 4 << 20
"""What the estimate may be over for all that does not grow with a model."""

_Usage = namedtuple("_Usage", "total used free")
_RATES = {"muon": "learning_rate: 1e-3, muon_learning_rate: 0.01"}


@pytest.fixture
def recipe_of(tiny: Tiny, detection: dict[str, tuple[str, ...]]) -> Callable[..., Recipe]:
    """The tiny recipe with an objective and an optimizer by their names."""

    def make(objective: str, optimizer: str, *overrides: str) -> Recipe:
        of = {
            "mlm_sop": ("objective.name=mlm_sop", "examples={name: sentence_order, max_seq_length: 32}"),
            "replaced_token_detection": (*detection["electra"], "objective.sharing=gradient_disentangled"),
        }.get(objective, (f"objective={{name: {objective}}}",))
        rates = _RATES.get(optimizer, "learning_rate: 1e-3")
        return tiny(*of, f"optimizer={{name: {optimizer}, {rates}}}", *overrides)

    return make


def _written(loop: Loop, folder: Path) -> tuple[int, int]:
    """Bytes of a checkpoint of a loop after a step, and of its model folders."""
    loop.step(0)
    folder.mkdir()
    Snapshot.of(loop, prepared_store(loop.recipe)).write(folder)
    return _size(folder), sum(_size(folder / name) for name in loop.objective.networks)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("objective", "optimizer"), [*itertools.product(OBJECTIVES, OPTIMIZERS)])
def test_the_estimate_is_the_size_of_a_checkpoint_or_a_little_more(
    recipe_of: Callable[..., Recipe], make_loop: MakeLoop, tmp_path: Path, objective: str, optimizer: str
) -> None:
    loop = make_loop(recipe_of(objective, optimizer))
    before, models = checkpoint_bytes(loop.objective, loop.optimizers), model_bytes(loop.objective)
    total, of_models = _written(loop, tmp_path / "checkpoint")
    assert checkpoint_bytes(loop.objective, loop.optimizers) == before, "the same before the first step and behind it"
    assert total <= before <= 1.2 * total + ALLOWANCE
    assert of_models <= models <= 1.2 * of_models + ALLOWANCE


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_estimate_of_a_larger_model_is_close(
    recipe_of: Callable[..., Recipe], make_loop: MakeLoop, tmp_path: Path, optimizer: str
) -> None:
    wide = ("encoder.hidden_size=384", "encoder.intermediate_size=1536", "encoder.num_hidden_layers=4")
    loop = make_loop(recipe_of("mlm", optimizer, *wide))
    guessed = checkpoint_bytes(loop.objective, loop.optimizers)
    total, _ = _written(loop, tmp_path / "checkpoint")
    assert total > 50_000_000
    assert total <= guessed <= 1.04 * total


# Too little room -----------------------------------------------------------------------------------------------------


@pytest.fixture
def with_free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many bytes be free on every disk."""
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(10**15, 10**15 - free, free))


def _most_refused(check: Callable[[], None], with_free: Callable[[int], None]) -> int:
    """The least number of bytes that pass a check, which must be told in its refusal."""
    low, high = 0, 10**12
    while low < high:
        middle = (low + high) // 2
        with_free(middle)
        try:
            check()
        except CheckpointError:
            low = middle + 1
        else:
            high = middle
    return low


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ("{every_steps: 2, keep: 3}", 4),  # one of them is being written
        ("{every_steps: 2, keep: 3, best: eval/mlm_nats}", 5),
        ("{every_steps: 2, keep: 1, keep_every: 6}", 5),
        ("{every_steps: 2, keep: 90}", 10),  # a run of 20 steps writes no more
        ("{keep: 3}", 1),
    ],
)
def test_a_run_needs_room_for_all_checkpoints_that_stand_at_once_and_the_finished_model(
    tiny: Tiny, make_loop: MakeLoop, with_free: Callable[[int], None], settings: str, count: int
) -> None:
    recipe = tiny(f"checkpoint={settings}")
    loop = make_loop(recipe)
    least = _most_refused(lambda: check_run(recipe, loop.objective, loop.optimizers), with_free)
    assert least == count * checkpoint_bytes(loop.objective, loop.optimizers) + model_bytes(loop.objective)
    with_free(least - 1)
    with pytest.raises(CheckpointError) as refused:
        check_run(recipe, loop.objective, loop.optimizers)
    shown = (
        rf"0\.\d{{4}} GB of disk free, expected 0\.\d{{4}} GB: {count} checkpoints of 0\.\d{{4}} GB \(checkpoint\.keep"
    )
    assert re.search(
        rf"{re.escape(str(recipe.run_dir))} has {shown} = .*Make room, lower checkpoint\.keep,", str(refused.value)
    )


def test_what_old_checkpoints_take_counts_as_free(
    tiny: Tiny, make_loop: MakeLoop, with_free: Callable[[int], None]
) -> None:
    recipe = tiny("checkpoint={every_steps: 2}")
    loop = make_loop(recipe)

    def least() -> int:
        return _most_refused(lambda: check_run(recipe, loop.objective, loop.optimizers), with_free)

    fresh = least()
    old = Checkpoints(recipe.run_dir).folder / "step-00000002" / "model"
    old.mkdir(parents=True)
    (old / "weights").write_bytes(bytes(1000))
    (old / "more").write_bytes(bytes(234))
    assert fresh - least() == 1234
    with_free(0)
    with pytest.raises(CheckpointError, match=r"expected \S+ GB, beside the 0\.0000 GB that stand there: "):
        check_run(recipe, loop.objective, loop.optimizers)


def test_a_save_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, with_free: Callable[[int], None]
) -> None:
    with_free(1_500_000_000)
    check_save(7, tmp_path / "runs" / "not" / "there", 1_500_000_000)
    message = (
        r"step 7 needs 1\.50 GB in \S+run, where 1\.25 GB of disk are free, expected room for it\. Earlier checkpoints "
        r"are as they were: make room, or lower checkpoint\.keep"
    )
    with_free(1_250_000_000)
    with pytest.raises(CheckpointError, match=message):
        check_save(7, tmp_path / "run", 1_500_000_000)
    assert not list(tmp_path.iterdir())
