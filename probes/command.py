"""Carrying out one command of a probe: options, models, and results written with how to repeat it."""

import platform
import shlex
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn, get_args

from probes.embedders import Pieces
from probes.models import default_out, models_of
from probes.networks import Precision
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.results import Results, write_results


class Parser(ArgumentParser):
    """Says what is wrong as a ProbeError."""

    def error(self, message: str) -> NoReturn:
        raise ProbeError(f"{self.prog}: {message}. Expected what {self.prog} --help lists.")


@dataclass(frozen=True)
class Done:
    """What a command did."""

    results: Results
    path: Path
    """The JSON file that holds them."""


def parser_of(name: str, probe: Probe) -> ArgumentParser:
    """The options of `python -m probes NAME`."""
    parser = Parser(prog=f"python -m probes {name}", description=probe.summary, allow_abbrev=False)
    parser.add_argument(
        "models", nargs=probe.num_models, metavar="MODEL",
        help="a transformers folder, a run, a checkpoint, a hub id, or a file of word vectors",
    )  # fmt: skip
    common = parser.add_argument_group("options of every probe")
    common.add_argument("--out", type=Path, metavar="DIR", help="for results [RUN/probes, else probes-out]")
    common.add_argument(
        "--layers",
        type=_layers,
        metavar="all|N,N",
        help="0 is the embedding layer's output [all; lists and heatmaps: the last]",
    )
    common.add_argument("--seed", type=_seed, default=0, metavar="N", help="of all that is drawn [0]")
    common.add_argument("--pieces", choices=get_args(Pieces), default="mean", help="of a word: its vector [mean]")
    common.add_argument(
        "--precision", choices=get_args(Precision), default="auto",
        help="of the arithmetic; auto: bfloat16 where the processor has it [auto]",
    )  # fmt: skip
    common.add_argument("--no-pictures", action="store_true", help="figures and tables only")
    probe.add_arguments(parser)
    return parser


def conduct(name: str, probe: Probe, arguments: Sequence[str]) -> Done:
    """Run `python -m probes NAME ARGUMENTS` and write its results.

    Raises:
        ProbeError: arguments that are none; a model or a file that cannot be used.
        SystemExit: after --help.
    """
    options = vars(parser_of(name, probe).parse_args(arguments))
    inquiry = _inquiry(options)
    began = time.monotonic()
    with _folder(inquiry.out):
        found = probe.examine(inquiry, **options)
        results = found.model_copy(
            update={
                "command": shlex.join(["python", "-m", "probes", name, *arguments]),
                "seconds": round(time.monotonic() - began, 3),
                "versions": versions(),
            }
        )
        return Done(results, write_results(results, inquiry.out))


def versions() -> dict[str, str]:
    """The versions of everything that the figures depend on."""
    found = {"python": platform.python_version()}
    for name in ("clozekit", "torch", "transformers", "tokenizers", "numpy", "scikit-learn", "gensim", "matplotlib"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _inquiry(options: dict[str, object]) -> Inquiry:
    """The options that every probe has, taken out of all of them."""
    common = Namespace(**{key: options.pop(key) for key in _COMMON})
    models = models_of(common.models, pieces=common.pieces, precision=common.precision)
    return Inquiry(
        models,
        common.out or default_out(models),
        layers=common.layers or None,
        names_layers=common.layers is not None,
        seed=common.seed,
        with_pictures=not common.no_pictures,
    )


_COMMON = ("models", "out", "layers", "seed", "pieces", "precision", "no_pictures")


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """The folder for results, made and tried before any time is spent on them; gone again if nothing came into it.

    Raises:
        ProbeError: it cannot be written to, now or later.
    """
    is_new = not out.exists()
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
            yield
        finally:
            if is_new and out.is_dir() and not any(out.iterdir()):
                out.rmdir()
    except OSError as error:
        raise ProbeError(
            f"--out {out}: cannot write there ({error.strerror or error}). Expected a folder that can be written, with"
            " room for the results. Make room, or name another."
        ) from error


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise ArgumentTypeError(f"got {text!r}, expected a whole number from 0 to {2**32 - 1}")
    return int(text)


def _layers(text: str) -> tuple[int, ...]:
    """Numbers of layers; none stands for all of them."""
    if text == "all":
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise ArgumentTypeError(f"got {text!r}, expected all or numbers such as 0,2,4") from None
