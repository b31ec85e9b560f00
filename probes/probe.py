"""The contract of a probe: its entry in the table, and what it is asked.

A probe asks trained encoders one question and answers with figures. It takes any transformers folder and knows nothing
of how the encoder was trained.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probes.models import Model
from probes.probe_error import ProbeError
from probes.results import Results


@dataclass(frozen=True)
class Inquiry:
    """What a command asks that all probes have in common."""

    models: tuple[Model, ...]
    """In the order given, with names that differ. Open one at a time: several may not fit into memory."""
    out: Path
    """Where pictures and vectors go, a folder that is there. The caller writes the results themselves."""
    layers: tuple[int, ...] | None = None
    """In rising order, 0 being the output of the embedding layer; None: all that a model has."""
    names_layers: bool = False
    """Layers were asked for, be it all of them; else a probe that shows layers one by one may show the last only."""
    seed: int = 0
    """Of everything that is drawn: random weights, resamples, t-SNE, folds."""
    with_pictures: bool = True
    """False: figures and tables only, without PNGs, maps and files of vectors."""

    def refuse_layers(self, why: str) -> None:
        """See to it that no layers were named, for what has no layers to choose from: "static asks ...".

        Raises:
            ProbeError: some were; --layers all is none.
        """
        if self.layers is not None:
            raise ProbeError(
                f"--layers {','.join(map(str, self.layers))}: {why}. Expected no layers. Leave the option out."
            )


@dataclass(frozen=True)
class Probe:
    """One entry of PROBES."""

    summary: str
    """What it finds out, in one line."""
    add_arguments: Callable[[ArgumentParser], None]
    """Declares the probe's own options; those of probes.command are declared for it."""
    examine: Callable[..., Results]
    """examine(inquiry, **own_options) -> what it found; command, seconds and versions are filled in for it."""
    num_models: Literal["+", "*"] = "+"
    """At least one, or (where the probe can make its own) none."""
