"""python -m pretrain.evaluate RUN|CHECKPOINT|MODEL [--recipe RECIPE]: held-out losses on frozen masks.

A run or a checkpoint knows its recipe. A plain model folder needs one for the corpus; it is scored with its own
tokenizer, for the terms whose heads it has: a generator as the masked language model that it is, and a discriminator,
which needs its generator, as its run alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.config import EncoderError
from objectives.mlm import MlmSettings
from pretrain.assembly import check_folder, load_objective, prepared_store, saved_networks
from pretrain.checkpoints.checkpoint import verify
from pretrain.commands import guarded
from pretrain.distributed.processes import Processes
from pretrain.evaluation import HeldOut
from pretrain.recipe import Recipe, RecipeError, read_recipe
from tokenization.vocabulary import TokenizerFolder

_SENTENCE_HEAD = ("pooler", "seq_relationship")
_PAIR_TERMS = ("nsp", "sop")


@dataclass(frozen=True, slots=True)
class Scored:
    """What is to be scored: weights, and the recipe that says on which corpus."""

    folders: dict[str, Path]
    """Model folders by the names of the objective's networks."""
    recipe: Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Score a model; gives the exit status. The last line on standard output is JSON."""
    parser = argparse.ArgumentParser(prog="pretrain.evaluate", description="Held-out losses on frozen masks.")
    parser.add_argument("model", type=Path, help="a run directory, a checkpoint or a model folder")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--recipe", type=Path, help="the corpus to score on; a run or a checkpoint has one of its own")
    options = parser.parse_intermixed_args(arguments)
    return guarded(lambda _: print(json.dumps(evaluate(options.model, options.recipe, options.overrides))))


def evaluate(path: Path, recipe_path: Path | None, overrides: Sequence[str] = ()) -> dict[str, float | None]:
    """Held-out losses and accuracies of a run, a checkpoint or a model folder.

    Raises:
        RecipeError: no recipe is known, or it holds no document out.
        EncoderError: no model folder, or one without a masked-language-modelling head.
    """
    scored = _find(path, recipe_path, overrides)
    recipe = scored.recipe
    processes = Processes.start(recipe.train.mixed_precision)
    store = prepared_store(recipe)
    if not store.held_out.num_tokens:
        raise RecipeError("the recipe holds no document out, expected some to score on. Set corpus.held_out.")
    objective, missing = load_objective(recipe, scored.folders, device=processes.device)
    lost = [name for name in missing if not any(part in name for part in _SENTENCE_HEAD)]
    if lost:
        raise EncoderError(
            f"{path} lacks {', '.join(lost[:4])}, expected a model with a masked-language-modelling head. Name "
            "a folder that was saved with one; a discriminator has none and is scored with its generator: name the run."
        )
    for name, encoder in objective.networks.items():
        check_folder(scored.folders[name], encoder, store, recipe.examples.max_seq_length)
    terms = tuple(term for term in recipe.objective.terms if term not in _PAIR_TERMS or not missing)
    held_out = HeldOut(store, terms, max_seq_length=recipe.examples.max_seq_length)
    objective.to(processes.device)
    return held_out.measure(objective, processes, micro_batch_size=recipe.train.most_at_once)


def _find(path: Path, recipe_path: Path | None, overrides: Sequence[str]) -> Scored:
    """The weights and the recipe behind a path."""
    if not path.is_dir():
        raise EncoderError(f"{path} is not a folder, expected a run directory, a checkpoint or a model folder.")
    if (path / "progress.json").exists():
        verify(path)
    own = path / "recipe.yaml"
    if own.exists() and not (path / "model").is_dir():
        raise EncoderError(
            f"{path} has no finished model yet, expected {path / 'model'}. Name one of its checkpoints instead."
        )
    if own.exists() and recipe_path is None and not overrides:
        recipe = read_recipe(own)
        return Scored(saved_networks(recipe, path), recipe)
    if recipe_path is None and not own.exists():
        raise RecipeError(f"{path} is a plain model folder, which says nothing of a corpus. Add --recipe RECIPE.")
    recipe = read_recipe(recipe_path or own, overrides)
    if own.exists():
        if recipe_path is not None:
            recipe = recipe.model_copy(update={"objective": read_recipe(own).objective})
        folders = saved_networks(recipe, path)
    else:
        folders = {"model": path}
        if len(recipe.objective.heads) > 1:  # one network alone can be asked for masked tokens, if it has the head
            recipe = recipe.model_copy(update={"objective": MlmSettings()})
    # On another corpus than the one that it was trained on a model reads with the tokenizer that it was trained with.
    return Scored(folders, recipe.model_copy(update={"tokenizer": TokenizerFolder(path=str(folders["model"]))}))


if __name__ == "__main__":
    sys.exit(main())
