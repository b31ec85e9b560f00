"""python -m pretrain.prepare RECIPE [section.key=value ...]: corpus -> tokenizer -> token store, as training would.

On many machines: --executor local|slurm|ray --tasks N [--option key=value ...], by datatrove.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pretrain.assembly import prepared_store
from pretrain.commands import guarded, option
from pretrain.recipe import RecipeError, read_recipe
from tokenization.cache import Engine, StillPreparing
from tokenization.preparing.cores import prepare_here


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare a recipe's corpus; gives the exit status. The last line on standard output is JSON."""
    parser = argparse.ArgumentParser(prog="pretrain.prepare", description="Prepare a recipe's corpus and tokenizer.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument(
        "--executor", choices=("local", "slurm", "ray"), help="run it by datatrove, here or on a cluster"
    )
    parser.add_argument("--tasks", type=int, help="parts that the executor runs the work in")
    parser.add_argument(
        "--option", action="append", default=[], metavar="key=value", help="of the executor, such as partition=cpu"
    )
    options = parser.parse_intermixed_args(arguments)
    return guarded(lambda _: _prepare(options.recipe, options.overrides, _engine(options)))


def _prepare(path: Path, overrides: Sequence[str], engine: Engine) -> None:
    recipe = read_recipe(path, overrides)
    began = time.monotonic()
    try:
        store = prepared_store(recipe, engine)
    except StillPreparing as queued:
        print(queued, file=sys.stderr)
        print(json.dumps({"store": None, "queued": True}))
        return
    splits = (store.train, store.held_out)
    summary = {
        "store": str(store.path),
        "tokenizer": str(store.tokenizer_path),
        "documents": sum(split.num_documents for split in splits),
        "sentences": sum(split.num_sentences for split in splits),
        "tokens": sum(split.num_tokens for split in splits),
        "seconds": round(time.monotonic() - began, 3),
        "fingerprint": store.fingerprint,
    }
    print(json.dumps(summary))


def _engine(options: argparse.Namespace) -> Engine:
    """What will run the stages.

    Raises:
        RecipeError: the options do not fit each other, or datatrove is not installed.
    """
    if options.executor is None:
        if options.tasks is not None or options.option:
            raise RecipeError("got --tasks or --option without --executor, expected --executor local, slurm or ray.")
        return prepare_here
    if options.tasks is None:
        raise RecipeError(f"got --executor {options.executor} without --tasks, expected --tasks N, 1 or more.")
    try:
        from tokenization.preparing.pipeline import datatrove_engine
    except ImportError as error:
        raise RecipeError(
            f"--executor {options.executor} runs on datatrove, which cannot be imported ({error}).\n"
            "Install it: pip install 'clozekit[datatrove]'"
        ) from error
    return datatrove_engine(options.executor, tasks=options.tasks, options=dict(map(option, options.option)))


if __name__ == "__main__":
    sys.exit(main())
