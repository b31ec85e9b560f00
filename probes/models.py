"""What a user may name as MODEL, and opening it: a transformers folder, a run, a checkpoint, a hub id, word vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.embedders import Embedder, Pieces
from probes.names import TAKEN
from probes.networks import Precision
from probes.results import ModelCard
from probes.source import Source
from probes.vectors.word_vectors import WordVectors, is_word_vectors


@dataclass(frozen=True)
class Model:
    """A model by name, not opened yet."""

    name: str
    """Short, for tables and file names; no two of a call are equal."""
    path: str
    """As the user gave it, or the model/ inside it."""
    pieces: Pieces = "mean"
    precision: Precision = "auto"

    @property
    def is_word_vectors(self) -> bool:
        return is_word_vectors(Path(self.path))

    def open(self) -> Source:
        """Load it.

        Raises:
            ProbeError: no such folder or file, or nothing in it that can be read as a model.
        """
        return WordVectors.read(Path(self.path)) if self.is_word_vectors else self.open_encoder()

    def open_encoder(self) -> Embedder:
        """The same for what takes encoders only; word vectors are refused."""
        return Embedder.from_folder(self.path, pieces=self.pieces, precision=self.precision)

    def open_random(self, seed: int) -> Embedder:
        """The same architecture and tokenizer with newly drawn weights."""
        return Embedder.random(self.path, seed, pieces=self.pieces, precision=self.precision)

    def card(self, source: Source) -> ModelCard:
        """What stands of it in the results."""
        return ModelCard(
            name=self.name,
            path=self.path,
            model_type=source.model_type,
            num_layers=source.num_layers,
            hidden_size=source.hidden_size,
            num_parameters=source.num_parameters,
            step=_step(Path(self.path)),
        )


def models_of(paths: Sequence[str], *, pieces: Pieces = "mean", precision: Precision = "auto") -> tuple[Model, ...]:
    """The models that these paths name: a run or a checkpoint means the model/ inside it. Their names differ."""
    models: list[Model] = []
    for path in paths:
        folder = model_folder(path)
        name, number = _name(folder), 1
        while (candidate := name if number == 1 else f"{name}-{number}") in (*TAKEN, *(model.name for model in models)):
            number += 1
        # As the user wrote it where nothing is inside: './x' cannot be a hub id, x can.
        meant = path if folder == Path(path) else str(folder)
        models.append(Model(candidate, meant, pieces, precision))
    return tuple(models)


def model_folder(path: str) -> Path:
    """The folder or file that a user means: itself, or model/ inside a run or a checkpoint."""
    inside = Path(path) / "model"
    if not (Path(path) / "config.json").is_file() and (inside / "config.json").is_file():
        return inside
    return Path(path)


def default_out(models: Sequence[Model]) -> Path:
    """Where results go unless told: RUN/probes for the model of a run, RUN/probes/step-N for a checkpoint's,
    probes-out in the working directory for anything else and for several models.
    """
    if len(models) == 1 and (folder := Path(models[0].path)).name == "model":
        home = folder.parent
        if home.parent.name == "checkpoints":
            # Not inside the checkpoint: its manifest lists every file that belongs to it.
            return home.parent.parent / "probes" / home.name
        if (home / "recipe.yaml").is_file() or (home / "metrics.jsonl").is_file():
            return home / "probes"
    return Path("probes-out")


def _name(folder: Path) -> str:
    """The run's name for its model, run@step for a checkpoint's, else the folder's or the file's own."""
    full = folder.absolute()
    if full.name != "model" or not full.parent.name:
        return full.name
    if (step := _step(folder)) is not None:
        return f"{full.parents[2].name}@{step}"
    return full.parent.name


def _step(folder: Path) -> int | None:
    """Training step of the model of a checkpoint: RUN/checkpoints/step-N/model."""
    home = folder.absolute().parent
    digits = home.name.removeprefix("step-")
    return int(digits) if home.parent.name == "checkpoints" and digits.isdigit() else None
