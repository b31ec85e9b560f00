"""python -m pretrain.prepare RECIPE [section.key=value ...]: corpus -> tokenizer -> token store, as training would."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pretrain.assembly import prepared_store
from pretrain.commands import guarded
from pretrain.recipe import read_recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare a recipe's corpus; gives the exit status. The last line on standard output is JSON."""
    parser = argparse.ArgumentParser(prog="pretrain.prepare", description="Prepare a recipe's corpus and tokenizer.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    options = parser.parse_intermixed_args(arguments)
    return guarded(lambda _: _prepare(options.recipe, options.overrides))


def _prepare(path: Path, overrides: Sequence[str]) -> None:
    recipe = read_recipe(path, overrides)
    began = time.monotonic()
    store = prepared_store(recipe)
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


if __name__ == "__main__":
    sys.exit(main())
