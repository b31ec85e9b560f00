"""accelerate launch -m pretrain RECIPE [section.key=value ...] [--dry-run] [--resume PATH | --fresh]"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from encoders.config import EncoderError
from objectives.rows import ExamplesError
from pretrain.checkpoint import CheckpointError
from pretrain.loop import TrainingError
from pretrain.processes import LaunchError
from pretrain.recipe import RecipeError, read_recipe
from pretrain.signals import Interrupted, Signals
from probes.probe import ProbeError
from tokenization.corpus import CorpusError
from tokenization.store import StoreError
from tokenization.vocabulary import VocabularyError

USER_MISTAKES = (
    RecipeError, LaunchError, CorpusError, VocabularyError, StoreError, ExamplesError, EncoderError, CheckpointError,
    TrainingError, ProbeError,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a recipe. Gives the exit status: 0 done, 2 the user's mistake, 143 after SIGTERM, 130 after SIGINT."""
    parser = argparse.ArgumentParser(prog="pretrain", description="Pretrain an encoder as a recipe says.")
    parser.add_argument("recipe", type=Path, help="a YAML file, see recipes/")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and what it costs")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", type=Path, metavar="PATH", help="go on from this checkpoint")
    start.add_argument("--fresh", action="store_true", help="start again although there are checkpoints")
    options = parser.parse_intermixed_args(arguments)
    signals = Signals()
    signals.install()
    return guarded(lambda: _train(options, signals))


def guarded(work: Callable[[], None]) -> int:
    """Do the work and give the exit status; a user's mistake becomes one message on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        work()
    except USER_MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interruption:
        print("interrupted; launch the same command to go on from the checkpoint", file=sys.stderr)
        return interruption.status
    except KeyboardInterrupt:
        return 130
    return 0


def _train(options: argparse.Namespace, signals: Signals) -> None:
    from pretrain.run import Launch, train

    recipe = read_recipe(options.recipe, options.overrides)
    train(recipe, Launch(resume=options.resume, fresh=options.fresh), signals)


if __name__ == "__main__":
    sys.exit(main())
