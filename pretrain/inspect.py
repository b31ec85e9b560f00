"""python -m pretrain.inspect RECIPE [section.key=value ...] [--examples N] [--epoch E] [--share S] [--jsonl]

Examples as training sees them, in the order of training: for people, or one JSON object a line for scripts.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.text import Text

from pretrain.assembly import prepared_store, training_examples
from pretrain.batches import Examples
from pretrain.commands import guarded
from pretrain.example import Example, read_examples
from pretrain.example_page import ASCII_SIGNS, SIGNS, ExamplePage
from pretrain.recipe import Recipe, read_recipe
from pretrain.terminal import Page, until_closed


def main(arguments: Sequence[str] | None = None) -> int:
    """Show examples of a recipe; gives the exit status."""
    parser = argparse.ArgumentParser(prog="pretrain.inspect", description="Show the examples that a recipe trains on.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--examples", type=_at_least(1), default=5, metavar="N", help="how many, 5 unless told")
    parser.add_argument("--epoch", type=_at_least(0), default=0, metavar="E", help="of which epoch, the first is 0")
    parser.add_argument(
        "--share",
        type=_share,
        default=0.0,
        metavar="S",
        help="of the run that is spent, for schedules of the mask rate",
    )
    parser.add_argument("--jsonl", action="store_true", help="print one JSON object a line")
    options = parser.parse_intermixed_args(arguments)
    return guarded(lambda _: _inspect(options))


def _inspect(options: argparse.Namespace) -> None:
    recipe = read_recipe(options.recipe, options.overrides)
    store = prepared_store(recipe)
    examples = training_examples(recipe, store)
    shown = read_examples(
        examples, epoch=options.epoch, count=options.examples, batch_size=recipe.train.batch_size, share=options.share
    )
    with until_closed():
        if options.jsonl:
            for example in shown:
                print(json.dumps(example.record()))
        else:
            _print_page(recipe, examples, shown, epoch=options.epoch, count=options.examples)


def _print_page(recipe: Recipe, examples: Examples, shown: Iterable[Example], *, epoch: int, count: int) -> None:
    terminal = Page()
    page = ExamplePage(examples.vocabulary, ASCII_SIGNS if terminal.is_ascii else SIGNS)
    num_examples = len(examples.plan(epoch))
    first = f"the first {count:,} of {num_examples:,}" if count < num_examples else f"all {num_examples:,}"
    terminal.print(Text(f"{recipe.name}: {first} examples of epoch {epoch}, in the order of training", "bold"))
    terminal.print(page.legend())
    terminal.print()
    for example in shown:
        terminal.print(page.example(example))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a share of the run in 0..1")
    return share


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least {least}")
        return int(text)

    return whole_number


if __name__ == "__main__":
    sys.exit(main())
