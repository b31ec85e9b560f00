"""The sweep file: a base recipe, what is varied in it, over which seeds, and what is held equal meanwhile."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pretrain.recipe_problems import Problem, RecipeError, got, recipe_error, translate
from pretrain.recipe_text import override, parse, read_text, write

OVERRIDE_PREFIX = "sweep."
"""What an override of the sweep file itself begins with, where others are of the base recipe."""

Match = Literal["steps", "tokens", "targets", "flops", "wall_clock"]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]


class Sweep(BaseModel, frozen=True, extra="forbid", strict=True):
    """A sweep as its file says."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the folder of the results, sweeps/<name>."""
    base: str = Field(min_length=1)
    """The recipe that every cell is a variant of."""
    settings: dict[str, Any] = {}
    """Values of keys of the recipe, as in {train.batch_size: 32}, the same in all cells; a mapping as a value replaces
    a whole section."""
    axes: dict[str, Annotated[tuple[Any, ...], Field(strict=False)]] = Field(min_length=1)
    """Keys of the recipe and the values that each takes; a mapping as a value replaces a whole section."""
    combine: Literal["grid", "zip"] = "grid"
    """grid: every value with every other. zip: the n-th values of all axes together."""
    labels: tuple[str, ...] | None = Field(default=None, strict=False)
    """What the settings of a zip, or the values of the only axis, are called; null: by their values."""
    linked: dict[str, str | int | float] = {}
    """Keys that follow from others, as in {masking.random_replace_prob: 1 - masking.mask_replace_prob}."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(min_length=1, strict=False)
    """Each setting is trained with each of them; the same seed has the same initial weights and order everywhere."""
    match: Match
    """What is the same in all cells. targets: masked tokens. flops: by the estimate of --dry-run."""
    amount: float | None = Field(default=None, gt=0.0)
    """How much of it each cell gets: steps, tokens, targets, FLOPs or hours; null: what the reference spends by the
    base recipe's own budget."""
    reference: dict[str, Any] = {}
    """Values of axes that the others are compared with; null: the base recipe's own, or else the first."""
    measure: str | None = None
    """The held-out figure that decides; null: eval/mlm_nats, of ELECTRA eval/generator_nats."""
    rates: tuple[Rate | Literal["own"], ...] = Field(default=("own",), strict=False)
    """Masking rates at which finished models are scored beside 0.15; own: as each was trained."""
    word_classes: bool = True
    """Score rare, frequent, function and content words apart."""
    function_words: str | None = None
    """File with the function words of another language than English, one a line."""
    usual_spread: float | None = Field(default=None, gt=0.0)
    """Standard deviation of the measure over seeds that other runs have shown, which a single seed is judged by."""
    accelerate_config: str | None = None
    """For accelerate launch --config_file; null: accelerate_config.yaml if it is there, else accelerate's own."""

    @field_validator("settings", "axes", "reference")
    @classmethod
    def _plain(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key, value in values.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                raise ValueError(
                    f"got {got(value)} for {key}, expected numbers, text, true, false, null, lists and mappings; put "
                    "what is text in quotes"
                ) from None
        return values

    @field_validator("axes")
    @classmethod
    def _are_apart(cls, axes: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key in axes:
            if below := [other for other in axes if other.startswith(f"{key}.")]:
                raise ValueError(
                    f"got {key} and {below[0]}, one of which replaces the other, expected one; take one out"
                )
        return axes

    @field_validator("axes")
    @classmethod
    def _have_values(cls, axes: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in axes.items():
            if not values:
                raise ValueError(f"got no value for {key}, expected at least one; add some, or take the axis out")
        return axes

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"got {list(seeds)}, expected each seed once; the same seed gives the same run again")
        return seeds

    @model_validator(mode="after")
    def _fits_together(self) -> "Sweep":
        lengths = {key: len(values) for key, values in self.axes.items()}
        if self.combine == "zip" and len(set(lengths.values())) > 1:
            told = ", ".join(f"{length} of {key}" for key, length in lengths.items())
            raise ValueError(f"combine: zip got {told}, expected as many values of each; fill up the shorter ones")
        if self.labels is not None:
            if self.combine == "grid" and len(self.axes) > 1:
                raise ValueError(
                    "labels: got them for a grid of several axes, expected a zip or one axis; leave them out"
                )
            expected = next(iter(lengths.values()))
            if len(self.labels) != expected or len(set(self.labels)) < expected:
                raise ValueError(f"labels: got {list(self.labels)}, expected {expected} different ones, one a setting")
        if self.match in ("steps", "tokens", "targets") and self.amount is not None and self.amount != int(self.amount):
            raise ValueError(f"amount: got {self.amount}, expected a whole number of {self.match}")
        if unknown := [key for key in self.reference if key not in self.axes]:
            raise ValueError(f"reference: {unknown[0]} is no axis, expected some of {', '.join(self.axes)}")
        if both := [key for key in self.linked if key in self.axes]:
            raise ValueError(f"linked: {both[0]} is an axis as well, expected one of the two; take it out of one")
        return self

    @property
    def overrides(self) -> list[str]:
        """The settings as `read_recipe` takes them."""
        return assignments(self.settings)

    def to_yaml(self) -> str:
        """The sweep with every default written out."""
        return write(self.model_dump(mode="json"))


def read_sweep(path: Path | str, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep file.

    Args:
        overrides: `section.key=value` of the base recipe, which come after the file's own settings, and
            `sweep.key=value` of the sweep itself.

    Raises:
        RecipeError: the file cannot be read, or names every problem that it has.
    """
    source = str(path)
    parsed = parse(read_text(Path(path)), source)
    if not isinstance(parsed.value, dict):
        raise RecipeError(f"{source} is no sweep, expected a mapping with the keys {', '.join(Sweep.model_fields)}.")
    own = [text.removeprefix(OVERRIDE_PREFIX) for text in overrides if text.startswith(OVERRIDE_PREFIX)]
    problems = [*parsed.problems, *override(parsed.value, own)]
    problems += _settle(parsed.value, [text for text in overrides if not text.startswith(OVERRIDE_PREFIX)])
    try:
        sweep = Sweep.model_validate(parsed.value)
    except ValidationError as error:
        problems += translate(error, Sweep, parsed.value, section="", elsewhere={})
    if problems:
        raise recipe_error(source, list(dict.fromkeys(problems)))
    return sweep


def _settle(sweep: dict[str, Any], overrides: Sequence[str]) -> list[Problem]:
    """Put overrides of the base recipe behind a sweep's own settings; gives what is wrong with how they are written."""
    settings, problems = sweep.setdefault("settings", {}), []
    for text in overrides:
        key, _, value = text.partition("=")
        found = override({}, [text])  # which only looks at how it is written
        problems += found
        if not found and isinstance(settings, dict):
            settings.pop(key.strip(), None)  # what comes later in an order of overrides counts
            settings[key.strip()] = parse(value, text).value
    return problems


def assignments(values: Mapping[str, Any]) -> list[str]:
    """Values by their keys as `section.key=value`."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
