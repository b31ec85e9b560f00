"""The recipe: everything that decides how a run trains, read from one YAML file into frozen settings.

A recipe is whole: no inheritance and no includes. The defaults stand at the settings' classes, each section's class
beside the code that it steers, and `to_yaml` writes every one of them out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, Field, GetCoreSchemaHandler, ValidationError, ValidationInfo, field_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from encoders.config import ENCODERS, Bert, Electra, EncoderFolder, ModernBert
from objectives import OBJECTIVES
from objectives.examples import EXAMPLES
from objectives.masking import MASKINGS, Masking
from objectives.objective import ObjectiveSettings
from objectives.rows import Cutting
from pretrain.distributed.processes import HANG_MINUTES
from pretrain.optimizer import OPTIMIZERS, OptimizerSettings
from pretrain.probing import ProbeSettings
from pretrain.recipe_checks import between_sections
from pretrain.recipe_problems import Problem, RecipeError, did_you_mean, got, recipe_error, translate
from pretrain.recipe_text import override, parse, read_text, write
from pretrain.schedule import SCHEDULES, Schedule
from tokenization.corpus import Corpus
from tokenization.training import TOKENIZERS, ByteLevelBpe, Unigram, WordPiece
from tokenization.vocabulary import TokenizerFolder

__all__ = [
    "Checkpoint",
    "Evaluate",
    "Log",
    "Recipe",
    "RecipeError",
    "Train",
    "check_world_size",
    "differing_keys",
    "read_recipe",
    "training_settings",
]

BUDGETS = ("steps", "epochs", "tokens", "hours")


class Train(BaseModel, frozen=True, extra="forbid", strict=True):
    """How long and in what portions; exactly one of steps, epochs, tokens and hours ends the run."""

    steps: int | None = Field(default=None, ge=1)
    """Updates of the weights."""
    epochs: float | None = Field(default=None, gt=0.0)
    """Passes over the training split."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens trained on, padding not counted."""
    hours: float | None = Field(default=None, gt=0.0, validate_default=True)
    """Hours of training, those before a resume included."""
    batch_size: int = Field(ge=1)
    """Examples of one update, over all processes and micro-batches."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Most examples that one process holds at once; null: batch_size. Changes memory and speed, not the training."""
    max_grad_norm: float | None = Field(default=1.0, gt=0.0)
    """Norm to which the gradient is clipped (BERT: 1.0); null: no clipping."""
    mixed_precision: Literal["auto", "bf16", "fp16", "no"] = "auto"
    """Number format of the forward pass; auto: what the launcher asks for, else bf16 where the hardware has it."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Run the network through torch.compile."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """What to do about a loss or gradient that is no finite number: end the run before the update, or leave the weights
    as they are and go on. Either way the batch is written to trouble/."""
    max_skipped_steps: int = Field(default=10, ge=0)
    """Updates of a run that may be skipped so; with the next one it ends."""
    hang_minutes: float = Field(default=HANG_MINUTES, gt=0.0)
    """Minutes after which a process that the others wait for within a step is taken for hung."""

    @property
    def most_at_once(self) -> int:
        """Most examples that one process holds at once."""
        return self.micro_batch_size or self.batch_size

    @field_validator("hours")
    @classmethod
    def _one_budget(cls, hours: float | None, info: ValidationInfo) -> float | None:
        budgets = {**info.data, "hours": hours}
        given = [name for name in BUDGETS if budgets.get(name) is not None]
        mistyped = any(name not in budgets for name in BUDGETS)
        if len(given) != 1 and not (mistyped and not given):
            hint = f"to change over by an override, add train.{given[0]}=null" if given else "say when the run ends"
            raise PydanticCustomError(
                "exactly_one",
                "got {given}, expected exactly one of {budgets}; {hint}",
                {"given": " and ".join(given) or "none of them", "budgets": ", ".join(BUDGETS), "hint": hint},
            )
        return hours

    @field_validator("micro_batch_size")
    @classmethod
    def _micro_batch_fits(cls, micro_batch_size: int | None, info: ValidationInfo) -> int | None:
        batch_size = info.data.get("batch_size")
        if micro_batch_size is not None and batch_size is not None and micro_batch_size > batch_size:
            raise ValueError(
                f"got {micro_batch_size}, expected at most train.batch_size = {batch_size}, the examples of a whole "
                "update; lower it, or leave it out"
            )
        return micro_batch_size


class Evaluate(BaseModel, frozen=True, extra="forbid", strict=True):
    """When the held-out documents are scored."""

    every_steps: int | None = Field(default=None, ge=1)
    """Updates between two evaluations; null: only at the end."""
    most_rows: int | None = Field(default=None, ge=1)
    """Rows of each kind that are scored, spread evenly over the held-out documents, the same in every run; null: all.
    Figures of different numbers of rows differ by chance; `python -m pretrain.evaluate` always scores all."""


class Checkpoint(BaseModel, frozen=True, extra="forbid", strict=True):
    """When the run is saved, and what of it is kept."""

    every_steps: int | None = Field(default=None, ge=1)
    """Updates between two checkpoints; null: only at the end."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept."""
    keep_every: int | None = Field(default=None, ge=1)
    """Checkpoints of steps that are a multiple of it, which is one of every_steps, are kept for good; null: none."""
    best: str | None = None
    """Evaluation metric, such as eval/mlm_nats, whose best checkpoint is kept as well; null: none. A discriminator's
    figures fall as its generator gets better, so they are no measure of progress along a run."""


class Log(BaseModel, frozen=True, extra="forbid", strict=True):
    """What is told while training."""

    every_steps: int = Field(default=10, ge=1)
    """Updates between two lines of metrics.jsonl."""
    spike_score: float | None = Field(default=8.0, gt=0.0)
    """Robust z-score against the last 64 steps from which on a loss is told as a spike and its batch written to
    trouble/; null: none is looked for."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(default=(), strict=False)
    """Trackers that get the metrics too; each must be installed."""


class _Checked:
    """Marks a section that `_read_section` checks against the class of its name; pydantic takes it as it is."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.any_schema()


class Recipe(BaseModel, frozen=True, extra="forbid", strict=True):
    """A whole recipe, as `read_recipe` gives it: all checks passed, every default filled in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run directory, runs/<name>."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """The only source of randomness: initial weights, order, masks, dropout."""
    output_dir: str | None = Field(default=None, min_length=1)
    """Run directory; null: runs/<name>."""
    cache_dir: str = Field(default="cache", min_length=1)
    """Where token stores stand."""
    corpus: Annotated[Corpus, _Checked()]
    tokenizer: Annotated[WordPiece | ByteLevelBpe | Unigram | TokenizerFolder, _Checked()]
    examples: Annotated[Cutting, _Checked()]
    masking: Annotated[Masking, _Checked()]
    encoder: Annotated[Bert | Electra | ModernBert | EncoderFolder, _Checked()]
    objective: Annotated[ObjectiveSettings, _Checked()]
    optimizer: Annotated[OptimizerSettings, _Checked()]
    schedule: Annotated[Schedule, _Checked()]
    train: Annotated[Train, _Checked()]
    evaluate: Annotated[Evaluate, _Checked()] = Evaluate()
    checkpoint: Annotated[Checkpoint, _Checked()] = Checkpoint()
    log: Annotated[Log, _Checked()] = Log()
    probes: tuple[ProbeSettings, ...] = Field(default=(), strict=False)
    """Probes that are run on the finished model, or at every evaluation, by name or as a mapping."""

    @field_validator("probes")
    @classmethod
    def _possible(cls, probes: tuple[ProbeSettings, ...], info: ValidationInfo) -> tuple[ProbeSettings, ...]:
        heads = getattr(info.data.get("objective"), "heads", None)
        for number, probe in enumerate(probes):
            if probe.name in [other.name for other in probes[:number]]:
                raise ValueError(f"got {probe.name} twice, expected each probe once, whose results have its name")
            if heads and probe.network not in heads:
                raise ValueError(f"got network {probe.network!r} for {probe.name}, expected {' or '.join(heads)}")
        return probes

    @property
    def run_dir(self) -> Path:
        """Where the run's files go."""
        return Path(self.output_dir) if self.output_dir else Path("runs") / self.name

    def to_yaml(self) -> str:
        """The recipe with every default written out; `read_recipe` reads it back to an equal one."""
        return write(self.model_dump(mode="json", by_alias=True))


Settings = type[BaseModel]

SECTIONS: dict[str, Settings | dict[str, Settings]] = {
    "corpus": Corpus,
    "tokenizer": cast(dict[str, Settings], TOKENIZERS),
    "examples": EXAMPLES,
    "masking": MASKINGS,
    "encoder": ENCODERS,
    "objective": OBJECTIVES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "train": Train,
    "evaluate": Evaluate,
    "checkpoint": Checkpoint,
    "log": Log,
}
"""The class of each section, or the classes that its `name` chooses from."""

FOLDERS: dict[str, tuple[str, Settings]] = {
    "tokenizer": ("path", TokenizerFolder),
    "encoder": ("from", EncoderFolder),
}
"""Sections that may name a folder instead: the key that does, and its class."""


def read_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Args:
        overrides: `section.key=value`, the value in YAML 1.2; the later wins. A mapping replaces a whole section, as in
            `encoder={from: runs/x/model}`, and likewise `corpus.held_out={files: [...]}`.

    Raises:
        RecipeError: the file cannot be read, or names every problem that the recipe has.
    """
    source = str(path)
    parsed = parse(read_text(Path(path)), source)
    if not isinstance(parsed.value, dict):
        kind = "empty" if parsed.value is None else f"not a recipe: got {got(parsed.value)}"
        raise RecipeError(f"{source} is {kind}, expected a mapping with the keys {', '.join(Recipe.model_fields)}.")
    problems = [*parsed.problems, *override(parsed.value, overrides)]
    sections: dict[str, Any] = dict(parsed.value)
    for section in SECTIONS:
        if section in sections:
            sections[section], found = _read_section(section, sections[section])
            problems += found
    try:
        recipe = Recipe.model_validate(sections)
    except ValidationError as error:
        problems += translate(error, Recipe, sections, section="", elsewhere=_homes())
    problems += between_sections({"evaluate": Evaluate(), "checkpoint": Checkpoint(), **sections})
    if problems:
        raise recipe_error(source, list(dict.fromkeys(problems)))
    return recipe


def check_world_size(recipe: Recipe, num_processes: int) -> None:
    """Hold a recipe against the number of processes that were started.

    Raises:
        RecipeError: the batch has fewer examples than there are processes.
    """
    batch_size = recipe.train.batch_size
    if batch_size < num_processes:
        most = f"at most {batch_size} processes" if batch_size > 1 else "one process"
        raise RecipeError(
            f"train.batch_size = {batch_size} is fewer than the {num_processes} processes that were started, so one "
            f"would have nothing to do.\nSet train.batch_size to {num_processes} or more, or start {most}."
        )


# What may differ when a run goes on: names and places, what is told and saved, and how work is portioned. Of the corpus
# the content counts, by the fingerprint of its token store, and not where its files stand.
_NOT_TRAINING = (
    *("name", "output_dir", "cache_dir", "evaluate", "checkpoint", "log", "probes"),
    *("corpus.files", "corpus.dataset", "corpus.held_out.files", "corpus.license"),
    *("train.micro_batch_size", "train.gradient_checkpointing", "train.compile", "train.hang_minutes"),
    *("train.on_nonfinite", "train.max_skipped_steps"),  # they say when a run ends, not what it is
)


def training_settings(recipe: Recipe) -> dict[str, Any]:
    """The values of the keys that change the training, by their paths, in the order of a recipe."""
    return {
        path: value
        for path, value in _leaves(recipe.model_dump(mode="json", by_alias=True))
        if not any(path == key or path.startswith(f"{key}.") for key in _NOT_TRAINING)
    }


def differing_keys(a: Recipe, b: Recipe) -> list[str]:
    """The keys that change the training and differ, as "path: old -> new", in the order of a recipe."""
    old, new = training_settings(a), training_settings(b)
    return [
        f"{path}: {_shown(old, path)} -> {_shown(new, path)}"
        for path in dict.fromkeys([*old, *new])
        if (path in old, old.get(path)) != (path in new, new.get(path))
    ]


def _shown(leaves: Mapping[str, Any], path: str) -> str:
    return json.dumps(leaves[path], ensure_ascii=False) if path in leaves else "not set"


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}", inner


# One section ----------------------------------------------------------------------------------------------------------


def _read_section(section: str, data: object) -> tuple[BaseModel | None, list[Problem]]:
    """The settings of a section and no problem, or None and its problems."""
    settings, problems = _settings_of(section, data)
    if settings is None:
        return None, problems
    try:
        return settings.model_validate(data), []
    except ValidationError as error:
        return None, translate(error, settings, data, section=section, elsewhere=_homes())


def _settings_of(section: str, data: object) -> tuple[Settings | None, list[Problem]]:
    """The class that a section is to be checked against, or None and why there is none."""
    choices = SECTIONS[section]
    folder_key, folder = FOLDERS.get(section, ("", None))
    if not isinstance(data, Mapping):
        example = f"name: {next(iter(choices))}, ..." if isinstance(choices, dict) else "key: value, ..."
        return None, [Problem(section, f"got {got(data)}, expected a mapping such as {{{example}}}")]
    if not isinstance(choices, dict):
        return choices, []
    if folder_key and folder_key in data:
        if "name" not in data:
            return folder, []
        text = f"got both name and {folder_key}, expected one of them"
        return None, [Problem(section, f"{text}; {section}={{{folder_key}: FOLDER}} replaces the section")]
    expected = f"expected one of {', '.join(choices)}{f', or {folder_key}: FOLDER instead' if folder_key else ''}"
    if "name" not in data:
        return None, [Problem(f"{section}.name", f"missing; {expected}")]
    name = data["name"]
    if not isinstance(name, str):
        return None, [Problem(f"{section}.name", f"got {got(name)}, {expected}")]
    if name not in choices:
        return None, [Problem(f"{section}.name", f"got {got(name)}, {expected}{did_you_mean(name, choices)}")]
    return choices[name], []


def _homes() -> dict[str, str]:
    """The full path of each key of a section, for a key that stands in the wrong place."""
    homes = {}
    for section, choices in SECTIONS.items():
        for settings in choices.values() if isinstance(choices, dict) else (choices,):
            homes.update({key: f"{section}.{key}" for key in settings.model_fields if key != "name"})
    return homes
