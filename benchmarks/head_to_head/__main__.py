"""Two recipes against each other, at equal wall-clock and at equal FLOPs, over several seeds.

    python -m benchmarks.head_to_head RECIPE_A RECIPE_B --labelled-train CSV --labelled-test CSV --minutes M
        [--corpus GLOB... --held-out FILE] [--seeds N...] [--budgets wall_clock flops] [--flops F] --out DIR
        [section.key=value ...]

By the clock both recipes train for M minutes. At equal FLOPs, A's runs by the clock are the reference and B trains for
as many steps as spend what A spent on average by `pretrain.estimate`; with --flops both train for that many. Runs take
turns (A, B, A, B ...), each is `python -m pretrain` in a process of its own, so nothing else should use the machine.
The same command goes on where it was cut off. Each run keeps checkpoints along the way; these and the finished
model are asked the same two questions: the senses probe, and a linear probe on a labelled set, which is CSV with the
columns label and text. A run's own held-out figures stand beside, but answer different questions.

DIR gets head_to_head.json, .md and .png, and runs/ with all models.
"""

import argparse
import json
import logging
import os
import platform
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.head_to_head.budgets import FLOPS, TITLES, WALL_CLOCK
from benchmarks.head_to_head.comparison import Comparison
from benchmarks.head_to_head.files import write_json
from benchmarks.head_to_head.labelled import LabelledError, read_labelled
from benchmarks.head_to_head.measures import Measures
from benchmarks.head_to_head.pictures import draw
from benchmarks.head_to_head.results import results_of
from benchmarks.head_to_head.runs import RunError, Side
from benchmarks.head_to_head.tables import to_markdown
from pretrain.recipe import RecipeError, read_recipe
from pretrain.sweeps.budgets import flops_per_step
from probes.command import versions
from probes.probe_error import ProbeError
from probes.results import write_text

_MISTAKE = 2
_NAME = "head_to_head"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; gives the exit status: 0 done, 2 a mistake of the user's, 143 after SIGTERM, 130 after SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_intermixed_args(words)
    try:
        _compare(options, words)
    except (LabelledError, ProbeError, RecipeError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _MISTAKE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.head_to_head", description="Two recipes against each other.")
    parser.add_argument("recipes", type=Path, nargs=2, metavar="RECIPE", help="A, then B")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings of both recipes")
    parser.add_argument("--corpus", nargs="+", metavar="GLOB", help="text that both train on [each recipe's own]")
    parser.add_argument("--held-out", nargs="+", metavar="FILE", help="text that both are scored on [each recipe's]")
    parser.add_argument("--labelled-train", type=Path, required=True, metavar="CSV", help="columns label and text")
    parser.add_argument("--labelled-test", type=Path, required=True, metavar="CSV")
    parser.add_argument("--labelled-rows", type=int, default=2000, metavar="N", help="training rows taken [2000]")
    parser.add_argument("--minutes", type=float, help="of training, by the clock")
    parser.add_argument("--flops", type=float, help="of training, at equal FLOPs [what A spends in --minutes]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--budgets", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--points", type=int, default=3, metavar="N", help="models on the way that are measured [3]")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--report-only", action="store_true", help="of the runs that are there, without any new one")
    return parser


def _compare(options: argparse.Namespace, words: Sequence[str]) -> None:
    comparison = _comparison(options)
    labelled = read_labelled(options.labelled_train, options.labelled_test, num_train=options.labelled_rows)
    # A text is read as far as rows went in training: positions behind that are untrained in BERT and ELECTRA.
    lengths = (comparison.a.max_seq_length, comparison.b.max_seq_length)
    measures = Measures.on(labelled, max_tokens=min(lengths))
    if not options.report_only:
        comparison.finish(measures)
    results = {
        "command": f"python -m benchmarks.head_to_head {shlex.join(words)}",
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "versions": versions()},
        "minutes": options.minutes,
        "max_tokens": measures.max_tokens,
        "labelled_rows": {"train": labelled.training.stop, "test": len(labelled.texts) - labelled.training.stop},
        **results_of(comparison, measures),
    }
    write_json(comparison.out / f"{_NAME}.json", results)
    write_text(comparison.out / f"{_NAME}.md", to_markdown(results))
    draw(comparison.out / f"{_NAME}.png", results)
    print(to_markdown(results))


def _comparison(options: argparse.Namespace) -> Comparison:
    by_clock = WALL_CLOCK in options.budgets or options.flops is None
    if by_clock and options.minutes is None:
        raise RunError("got no --minutes, expected how long a run trains by the clock. Add it, or --flops alone.")
    if options.flops is not None and FLOPS not in options.budgets:
        raise RunError("got --flops without the budget flops, expected both or none. Add it to --budgets.")
    overrides = list(options.overrides)
    if options.held_out:
        overrides.insert(0, f"corpus.held_out={json.dumps({'files': options.held_out})}")
    if options.corpus:
        overrides.insert(0, f"corpus.files={json.dumps(options.corpus)}")
    a, b = (_side(recipe, overrides) for recipe in options.recipes)
    if a.label == b.label:
        raise RunError(f"both recipes are called {a.label}, expected two names. Change `name` in one of them.")
    return Comparison(
        a=a,
        b=b,
        budgets=tuple(options.budgets),
        seeds=tuple(dict.fromkeys(options.seeds)),
        minutes=options.minutes,
        flops=options.flops,
        num_points=options.points,
        out=options.out,
    )


def _side(path: Path, overrides: Sequence[str]) -> Side:
    recipe = read_recipe(path, overrides)
    return Side(path, recipe.name, tuple(overrides), recipe.examples.max_seq_length, flops_per_step(recipe))


if __name__ == "__main__":
    sys.exit(main())
