"""Where a run stands, as progress.json of a checkpoint keeps it."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from typing import Any

import torch

from pretrain.batches import Position
from pretrain.distributed.processes import Processes
from pretrain.recipe import Recipe

_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a launch computes. Two stretches of a run are equal bit for bit only where all of this is equal."""

    world_size: int
    micro_batch_size: int
    gradient_checkpointing: bool
    compile: bool
    device: str
    instructions: str
    """Of the CPU, as far as torch has kernels of their own for them (AVX2, AVX512 ...)."""
    num_threads: int
    """Threads of each process; on a CPU sums are cut up by it."""
    mixed_precision: str
    versions: dict[str, str]

    @classmethod
    def here(cls, recipe: Recipe, processes: Processes) -> "Layout":
        """The layout of this launch."""
        train = recipe.train
        return cls(
            world_size=processes.world_size,
            micro_batch_size=min(train.most_at_once, -(-train.batch_size // processes.world_size)),
            gradient_checkpointing=train.gradient_checkpointing,
            compile=train.compile,
            device=processes.device.type,
            instructions=torch.backends.cpu.get_cpu_capability(),
            num_threads=torch.get_num_threads(),
            mixed_precision=processes.mixed_precision,
            versions={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        )

    def differences(self, other: "Layout") -> list[str]:
        """What differs in the other one, as "name: here -> there"."""
        here, there = self._figures(), other._figures()
        return [f"{name}: {here.get(name)} -> {there.get(name)}" for name in here if here[name] != there.get(name)]

    def _figures(self) -> dict[str, Any]:
        """Each by its name, and each library's version by the library's."""
        return {
            **{item.name: getattr(self, item.name) for item in fields(self) if item.name != "versions"},
            **self.versions,
        }


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    """Batches trained on, those whose update was skipped included."""
    epoch: int = 0
    example: int = 0
    """Examples of this epoch that were trained on."""
    tokens: int = 0
    """Tokens trained on, padding not counted."""
    targets: int | None = 0
    """Masked tokens trained on; None in a run that an earlier version began, which did not count them."""
    skipped_steps: int = 0
    """Steps whose loss or gradient was no finite number, so that the weights were left as they were."""
    elapsed_seconds: float = 0.0
    logged_tokens: int = 0
    logged_seconds: float = 0.0
    evaluation: dict[str, float | None] = field(default_factory=dict)
    """Held-out metrics of the step that is done, if it was evaluated; null where one is no finite number."""
    recent_losses: dict[str, list[float]] = field(default_factory=dict)
    """Loss of the last steps by term, the latest last, which a spike stands out from."""
    layouts: dict[int, Layout] = field(default_factory=dict)
    """The layout from each step on at which it changed."""

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Progress":
        """Progress as progress.json has it, of an earlier version as well."""
        values = {"targets": None} | {item.name: record[item.name] for item in fields(cls) if item.name in record}
        layouts = {int(step): Layout(**layout) for step, layout in values.pop("layouts", {}).items()}
        return cls(**values, layouts=layouts)

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.example)

    def lay_out(self, layout: Layout) -> list[str]:
        """Note the layout from here on; gives what differs from the one before, nothing at a run's start."""
        before = self.layouts[max(self.layouts)] if self.layouts else None
        if layout != before:
            self.layouts[self.step] = layout
        return [] if before is None else before.differences(layout)
