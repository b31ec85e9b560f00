"""What is trained in many layouts: small runs of every objective, and their courses, which are to be the same."""

import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.masking import NOT_A_TARGET
from objectives.objective import Batch
from pretrain.assembly import build_objective, prepared_store, training_examples
from pretrain.batches import Examples, Position, Selection
from pretrain.distributed.processes import Processes
from pretrain.loop import Loop, Progress
from pretrain.recipe import Recipe

STEPS = 20
CLOCK = ("elapsed_seconds", "tokens_per_second")
Example = tuple[int, int, int]
"""Epoch, index, and a checksum of all that its row holds: ids, labels, noise."""

# What is trained -----------------------------------------------------------------------------------------------------

_SIZES = "num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 40"
_DROPOUT = "hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0"
BERT = f"encoder={{name: bert, {_SIZES}, intermediate_size: 64, {_DROPOUT}}}"
ELECTRA = f"encoder={{name: electra, {_SIZES}, embedding_size: 16, intermediate_size: 64, {_DROPOUT}}}"
MODERNBERT = (
    f"encoder={{name: modernbert, {_SIZES}, intermediate_size: 48, global_attn_every_n_layers: 2, local_attention: 16}}"
)
PACKED = "examples={name: packed, max_seq_length: 32}"
ORDER = "examples={name: sentence_order, max_seq_length: 32}"
MASKED = "masking={name: token, mask_replace_prob: 0.85, random_replace_prob: 0.0}"
REPEATED = "masking={name: electra_reference}"
UNIFORM = "masking={name: token, mlm_probability: {schedule: uniform}}"
OF_TOKENS = (
    *("train.steps=null", "train.tokens=12000"),
    "schedule={name: trapezoidal, warmup_steps: 4, decay_fraction: 0.4}",
)
"""A budget of tokens, whose rates follow what was counted."""


MLM = "objective={name: mlm}"
BY_RATE = "objective={name: mlm, target_weighting: inverse_probability}"
MLM_SOP = "objective={name: mlm_sop}"
SHARED = "objective={name: replaced_token_detection, generator_fraction: 0.5}"
DISENTANGLED = SHARED.replace("}", ", sharing: gradient_disentangled}")
ONE_LAYER = SHARED.replace("0.5}", "1.0, generator_num_hidden_layers: 1, sharing: word}")


class Setup(NamedTuple):
    """An objective on an encoder."""

    objective: str
    """Its name in the table OBJECTIVES."""
    overrides: tuple[str, ...]
    """Of the tiny recipe."""
    optimizer: str
    """Which of OPTIMIZERS the quick part of the tests trains it with."""


SETUPS = {
    "mlm, bert": Setup("mlm", (BERT, PACKED, MLM), "adamw"),
    "mlm, modernbert": Setup("mlm", (MODERNBERT, PACKED, MLM, *OF_TOKENS), "muon"),
    "mlm by rate, electra": Setup("mlm", (ELECTRA, PACKED, BY_RATE, UNIFORM), "adamw"),
    "mlm_nsp, bert": Setup("mlm_nsp", (BERT,), "muon"),
    "mlm_nsp, modernbert": Setup("mlm_nsp", (MODERNBERT,), "bert_adam"),
    "mlm_nsp, electra": Setup("mlm_nsp", (ELECTRA, *OF_TOKENS), "adamw"),
    "mlm_sop, bert": Setup("mlm_sop", (BERT, ORDER, MLM_SOP), "adamw"),
    "mlm_sop, modernbert": Setup("mlm_sop", (MODERNBERT, ORDER, MLM_SOP), "muon"),
    "detection, electra": Setup("replaced_token_detection", (ELECTRA, PACKED, MASKED, SHARED), "adamw"),
    "detection, disentangled": Setup("replaced_token_detection", (ELECTRA, PACKED, REPEATED, DISENTANGLED), "muon"),
    "detection, modernbert": Setup(
        "replaced_token_detection", (MODERNBERT, PACKED, MASKED, ONE_LAYER, "seed=8"), "bert_adam"
    ),
}

OPTIMIZERS = {
    "adamw": "optimizer={name: adamw, learning_rate: 2e-3}",
    "bert_adam": "optimizer={name: bert_adam, learning_rate: 1e-3}",
    "muon": "optimizer={name: muon, learning_rate: 2e-3, muon_learning_rate: 0.02, newton_schulz_dtype: float32}",
}

ON_ONE = {
    f"{-(-16 // size)} x {size}": ("train.batch_size=16", f"train.micro_batch_size={size}") for size in (16, 8, 5, 4, 1)
}
"""Layouts on one process, by number and size of micro-batches; the first is what others are held against."""
ON_TWO = {
    **{f"{8 // size} x {size}": ("train.batch_size=16", f"train.micro_batch_size={size}") for size in (8, 4, 2, 1)},
    "15 by 4": ("train.batch_size=15", "train.micro_batch_size=4"),
    "17 by 4": ("train.batch_size=17", "train.micro_batch_size=4"),
}
"""Layouts on each of two processes; batches of 15 and 17 do not divide."""


def as_one_batch(layout: tuple[str, ...]) -> tuple[str, ...]:
    """The layout's batch in a single micro-batch."""
    return (layout[0], "train.micro_batch_size=null")


# What it is trained on -----------------------------------------------------------------------------------------------


class Bare(Examples):
    """Examples of which some have no target: the second half of each batch, and every seventh batch as a whole."""

    _num_batches = 0
    _bare: frozenset[tuple[int, int]] = frozenset()

    def select(self, position: Position, batch_size: int) -> tuple[Selection, Position]:
        selection, behind = super().select(position, batch_size)
        self._num_batches += 1
        first = 0 if self._num_batches % 7 == 0 else -(-batch_size // 2)
        self._bare = frozenset(_pairs(selection)[first:])
        return selection, behind

    def batch(self, selection: Selection, *, share: float = 0.0) -> Batch:
        batch = super().batch(selection, share=share)
        is_bare = torch.tensor([pair in self._bare for pair in _pairs(selection)])
        is_wiped = (batch["labels"] != NOT_A_TARGET) & is_bare[:, None]
        batch["input_ids"] = torch.where(is_wiped, batch["labels"], batch["input_ids"])
        batch["labels"] = batch["labels"].masked_fill(is_wiped, NOT_A_TARGET)
        if "label_weights" in batch:
            batch["label_weights"] = batch["label_weights"].masked_fill(is_wiped, 0.0)
        if "mlm_probability" in batch:
            batch["mlm_probability"] = batch["mlm_probability"].masked_fill(is_bare, 0.0)
        return batch


class Apart(Examples):
    """Packed examples, each document in a row of its own, with the very masks and noise that it has in its pack."""

    num_rows = 0
    """Packs that were taken apart."""
    num_pieces = 0
    """Rows that were made of them."""

    def batch(self, selection: Selection, *, share: float = 0.0) -> Batch:
        packed = super().batch(selection, share=share)
        position_ids = packed.pop("position_ids")
        is_first = (position_ids == 0) & packed["attention_mask"].bool()
        row, first = is_first.nonzero(as_tuple=True)
        used = packed["attention_mask"].sum(dim=1)[row]
        is_last = torch.cat([row[1:] != row[:-1], torch.tensor([True])])
        end = torch.where(is_last, used, first.roll(-1))
        place = first[:, None] + torch.arange(int((end - first).max()))
        is_token, place = place < end[:, None], place.clamp(max=position_ids.shape[1] - 1)
        fill = {"input_ids": self.vocabulary.pad_id, "labels": NOT_A_TARGET}
        self.num_rows, self.num_pieces = self.num_rows + len(row.unique()), self.num_pieces + len(row)
        apart = {name: value[row[:, None], place] if value.ndim == 2 else value[row] for name, value in packed.items()}
        return {
            name: value.masked_fill(~is_token, fill.get(name, 0)) if value.ndim == 2 else value
            for name, value in apart.items()
        }


KINDS: dict[str, type[Examples]] = {"plain": Examples, "bare": Bare, "apart": Apart}


def _pairs(selection: Selection) -> list[tuple[int, int]]:
    return list(zip(selection.epochs.tolist(), selection.indices.tolist(), strict=True))


# How it goes ---------------------------------------------------------------------------------------------------------


@dataclass
class Course:
    """What a loop told of its steps, and what it made."""

    lines: list[dict[str, Any]]
    """Of metrics, one a step, without what the clock says."""
    clipped: list[float]
    """Norm of the gradient that the optimizers were given in each step."""
    weights: dict[str, Tensor]
    seen: list[Example] = field(default_factory=list)
    """What this process trained on, in order."""


def loop_of(recipe: Recipe, processes: Processes, kind: str = "plain") -> Loop:
    """A recipe's loop at step 0 in these processes."""
    store = prepared_store(recipe)
    objective = build_objective(recipe, store, device=processes.device).train()
    examples = training_examples(recipe, store)
    examples.__class__ = KINDS[kind]  # made as a run's are, whatever that takes
    return Loop(recipe, processes, objective, examples, recipe.optimizer.build(objective), Progress())


def course_of(loop: Loop, steps: int = STEPS) -> Course:
    """Take so many steps, from whatever state torch's random numbers happen to be in."""
    torch.seed()
    lines, clipped, squares = [], [], [0.0]

    def measure(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        squares[0] += sum(float(p.grad.double().square().sum()) for p in held if p.grad is not None)

    for optimizer in loop.optimizers:
        optimizer.register_step_pre_hook(measure)
    with recorded() as seen:
        for _ in range(steps):
            squares[0] = 0.0
            assert loop.step(0) == 0
            lines.append({key: value for key, value in loop.metrics().items() if key not in CLOCK})
            clipped.append(math.sqrt(squares[0]))
    weights = {name: value.detach().clone() for name, value in loop.objective.named_parameters()}
    return Course(lines, clipped, weights, seen)


@contextmanager
def recorded() -> Iterator[list[Example]]:
    """Inside, the list fills with what any loop of this process trains on."""
    seen: list[Example] = []
    real: Callable[[Loop, int], int] = Loop.step

    def step(loop: Loop, status: int) -> int:
        taken: list[Example] = []
        batch = loop.examples.batch

        def note(selection: Selection, *, share: float = 0.0) -> Batch:
            made = batch(selection, share=share)
            if len(made["input_ids"]) == len(selection.indices):  # else the rows were taken apart
                taken.extend(
                    (*pair, checksum) for pair, checksum in zip(_pairs(selection), _checksums(made), strict=True)
                )
            return made

        loop.examples.batch = note  # type: ignore[method-assign]
        try:
            given = real(loop, status)
        finally:
            del loop.examples.batch
        if given == 0:  # else the step was prepared and not done
            seen.extend(taken)
        return given

    Loop.step = step  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Loop.step = real  # type: ignore[method-assign]


def _checksums(batch: Batch) -> list[int]:
    """Of each row, by all that it holds."""
    rows = np.hstack([value.double().numpy().reshape(len(value), -1) for value in batch.values()])
    return [zlib.crc32(row.tobytes()) for row in rows]


# What is the same ----------------------------------------------------------------------------------------------------


def assert_same(course: Course, expected: Course) -> None:
    """All that was told, and the weights, to 1e-5; what is counted or follows from it exactly."""
    assert len(course.lines) == len(expected.lines)
    for step, (line, other) in enumerate(zip(course.lines, expected.lines, strict=True), start=1):
        assert line == pytest.approx(other, rel=1e-5, abs=1e-5), f"step {step}"
        for name in ("tokens", "learning_rate"):
            assert line[name] == other[name], f"{name} at step {step}"
    np.testing.assert_allclose(course.clipped, expected.clipped, rtol=1e-5, atol=1e-5)
    assert_same_weights(course.weights, expected.weights)


def assert_same_weights(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To 1e-5, absolute."""
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def assert_bitwise(course: Course, expected: Course) -> None:
    """Every figure and every bit of the weights."""
    assert (course.lines, course.clipped, course.seen) == (expected.lines, expected.clipped, expected.seen)
    assert course.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(course.weights[name], weight), name
