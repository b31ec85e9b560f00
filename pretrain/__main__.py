"""accelerate launch -m pretrain RECIPE [section.key=value ...] [--dry-run] [--resume PATH | --fresh]"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pretrain.signals import Signals


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
    Signals().install()  # importing the libraries takes seconds, and a signal meanwhile is one all the same
    from pretrain.commands import guarded

    return guarded(lambda signals: _run(options, signals))


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
        train(recipe, Launch(resume=options.resume, fresh=options.fresh), signals)


if __name__ == "__main__":
    sys.exit(main())
