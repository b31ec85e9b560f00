"""python -m pretrain.audit RECIPE [section.key=value ...] [--json]: one page on the data before hours are spent.

Corpus, held-out part and vocabulary are counted whole; labels, fill and masks over a sample of the first epoch's rows.
Every figure says whether it is ok, worth a look or wrong, why, and what to do. The exit status is 0 whatever they say.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from objectives.rows import ExamplesError, Ints
from pretrain.assembly import prepared_store, training_examples
from pretrain.audits.corpus import corpus_section, held_out_section, tally, vocabulary_section
from pretrain.audits.examples import examples_section, no_examples_section, sample_note
from pretrain.audits.figure import Section
from pretrain.audits.masks import masks_section
from pretrain.audits.overlap import find_overlap
from pretrain.audits.page import audit_page
from pretrain.audits.rows import emitted, tally_rows
from pretrain.commands import guarded
from pretrain.recipe import Recipe, read_recipe
from pretrain.terminal import Page, until_closed
from tokenization.store import TokenStore

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the data of a recipe; gives the exit status."""
    parser = argparse.ArgumentParser(prog="pretrain.audit", description="Look at a recipe's data before training.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)
    return guarded(lambda _: _audit(options))


def audit(recipe: Recipe, store: TokenStore) -> list[Section]:
    """Every figure on the data that a recipe would train on."""
    logger.info("audit: counting %d tokens", store.train.num_tokens + store.held_out.num_tokens)
    train, held_out = (tally(split, store.vocabulary) for split in (store.train, store.held_out))
    overlap = None
    if store.held_out.num_documents:
        logger.info("audit: looking for the n-grams of %d held-out documents", store.held_out.num_documents)
        overlap = find_overlap(store.train, store.held_out, seed=recipe.seed)
    return [
        corpus_section(store, train, max_seq_length=recipe.examples.max_seq_length),
        held_out_section(store, overlap),
        vocabulary_section(store, train, held_out, language=recipe.corpus.language),
        *_example_sections(recipe, store, train.ids),
    ]


def _example_sections(recipe: Recipe, store: TokenStore, token_counts: Ints) -> list[Section]:
    examples = training_examples(recipe, store)
    logger.info("audit: cutting epoch 0")
    try:
        plan = examples.plan(0)
    except ExamplesError as error:
        return [no_examples_section(error, num_documents=store.train.num_documents)]
    rows = tally_rows(examples)
    note = sample_note(rows, len(plan))
    return [
        examples_section(
            recipe.train, plan, rows, emitted(examples, rows), num_tokens=store.train.num_tokens, note=note
        ),
        masks_section(recipe.masking, rows, token_counts, note=note),
    ]


def _audit(options: argparse.Namespace) -> None:
    recipe = read_recipe(options.recipe, options.overrides)
    store = prepared_store(recipe)
    sections = audit(recipe, store)
    with until_closed():
        if options.json:
            figures = [figure.record() for section in sections for figure in section.figures]
            notes = {section.title: section.note for section in sections if section.note}
            print(json.dumps({"recipe": recipe.name, "store": str(store.path), "notes": notes, "figures": figures}))
        else:
            page = Page()
            page.print(audit_page(recipe.name, sections, width=page.width, is_ascii=page.is_ascii))


if __name__ == "__main__":
    sys.exit(main())
