"""accelerate launch -m pretrain RECIPE [section.key=value ...] [--dry-run] [--resume PATH | --fresh]"""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pretrain.distributed.signals import STATUS, Signals, end_at_once


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a recipe; gives the exit status."""
    parser = argparse.ArgumentParser(prog="pretrain", description="Pretrain an encoder as a recipe says.")
    parser.add_argument("recipe", type=Path, help="a YAML file, see recipes/")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and what it costs")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", type=Path, metavar="PATH", help="go on from this checkpoint")
    start.add_argument("--fresh", action="store_true", help="start again, deleting the checkpoints of the run")
    options = parser.parse_intermixed_args(arguments)
    # Importing the libraries takes seconds, and a signal meanwhile is one all the same.
    signals = Signals(has_others=not options.dry_run and int(os.environ.get("WORLD_SIZE", "1")) > 1)
    signals.install()
    from pretrain.commands import guarded

    return guarded(lambda signals: _run(options, signals), signals)


def _run(options: argparse.Namespace, signals: Signals) -> None:
    from pretrain.estimate import estimate
    from pretrain.launching import Launch
    from pretrain.recipe import read_recipe
    from pretrain.run import train

    recipe = read_recipe(options.recipe, options.overrides)
    if options.dry_run:
        print(recipe.to_yaml())
        print("\n".join(estimate(recipe).lines()))
    else:
        train(recipe, Launch.asked(resume=options.resume, fresh=options.fresh), signals)


def _end(status: int) -> NoReturn:
    """End with a status that no later signal changes: Python drops its handlers before it ends."""
    for number in STATUS:
        signal.signal(number, signal.SIG_IGN)
    atexit._run_exitfuncs()
    end_at_once(status)


if __name__ == "__main__":
    try:
        _end(main())
    except SystemExit as ending:
        if ending.code in STATUS.values():
            print("interrupted; what was saved stays as it is; launch the same command to go on", file=sys.stderr)
        _end(ending.code if isinstance(ending.code, int) else 0)
