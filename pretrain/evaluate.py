"""python -m pretrain.evaluate RUN|CHECKPOINT|MODEL [--recipe RECIPE]: held-out losses on frozen masks.

A run or a checkpoint knows its recipe. A plain model folder needs one for the corpus; it is scored with its own
tokenizer, for the terms whose heads it has: a generator as the masked language model that it is, and a discriminator,
which needs its generator, as its run alone. All held-out rows are scored, also where evaluate.most_rows has a run score
fewer.

    --rates RATE...         masked tokens at further rates in (0, 1], each as eval/rate_<RATE>/...; `own` are the masks
                            that the run was trained with as eval/own/..., frozen as well, at its mean rate where that
                            follows a schedule. At other rates a generator has [MASK] at every target, as at the
                            standard one; under `own` what it was trained with.
    --word-classes          masked tokens under the standard masks by the class of their word: eval/rare, frequent,
                            function, content (pretrain/word_classes.py)
    --function-words FILE   the function words of another language than English, a word a line, with --word-classes
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from encoders.config import EncoderError
from objectives.masking import Masking, TokenMasking
from objectives.mlm import MlmSettings
from pretrain.assembly import check_folder, load_objective, prepared_store, saved_networks
from pretrain.checkpoints.checkpoint import verify
from pretrain.commands import guarded
from pretrain.distributed.processes import Processes
from pretrain.evaluation import HeldOut
from pretrain.recipe import Recipe, RecipeError, read_recipe
from pretrain.word_classes import FUNCTION_WORDS, word_classes
from tokenization.vocabulary import TokenizerFolder

_SENTENCE_HEAD = ("pooler", "seq_relationship")
_PAIR_TERMS = ("nsp", "sop")
_OWN = "own"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """What is to be scored: weights, and the recipe that says on which corpus."""

    folders: dict[str, Path]
    """Model folders by the names of the objective's networks."""
    recipe: Recipe
    masking: Masking | None
    """The masks that they were trained with; None: nobody knows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Score a model; gives the exit status. The last line on standard output is JSON."""
    parser = argparse.ArgumentParser(prog="pretrain.evaluate", description="Held-out losses on frozen masks.")
    parser.add_argument("model", type=Path, help="a run directory, a checkpoint or a model folder")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--recipe", type=Path, help="the corpus to score on; a run or a checkpoint has one of its own")
    parser.add_argument("--rates", nargs="+", default=[], metavar="RATE", help="rates of further masks, or own")
    parser.add_argument("--word-classes", action="store_true", help="rare, frequent, function and content words apart")
    parser.add_argument("--function-words", type=Path, metavar="FILE", help="one a line, English ones unless told")
    options = parser.parse_intermixed_args(arguments)
    return guarded(
        lambda _: print(
            json.dumps(
                evaluate(
                    options.model,
                    options.recipe,
                    options.overrides,
                    rates=options.rates,
                    with_classes=options.word_classes,
                    function_words=options.function_words,
                )
            )
        )
    )


def evaluate(
    path: Path,
    recipe_path: Path | None,
    overrides: Sequence[str] = (),
    *,
    rates: Sequence[str] = (),
    with_classes: bool = False,
    function_words: Path | None = None,
) -> dict[str, float | None]:
    """Held-out losses and accuracies of a run, a checkpoint or a model folder, as HeldOut.measure gives them.

    Args:
        rates: of further masks: numbers in (0, 1], taken to six digits, or own.
        with_classes: score masked tokens by the classes of their words as well.
        function_words: file of them; None: English ones.

    Raises:
        RecipeError: no recipe is known, or it holds no document out; a rate or the file of words is none.
        EncoderError: no model folder, or one without a masked-language-modelling head.
    """
    if function_words is not None and not with_classes:
        raise RecipeError("got --function-words without --word-classes, expected both. Add --word-classes.")
    further = {_name(rate): rate for rate in map(_rate, rates)}
    scored = _find(path, recipe_path, overrides)
    recipe = scored.recipe
    masks = {name: _own(path, scored.masking) if rate is None else rate for name, rate in further.items()}
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
    held_out = HeldOut(
        store,
        terms,
        max_seq_length=recipe.examples.max_seq_length,
        masks=masks,
        word_codes=word_classes(store, function_words or FUNCTION_WORDS) if with_classes else None,
    )
    objective.to(processes.device)
    return held_out.measure(objective, processes, micro_batch_size=recipe.train.most_at_once)


def _rate(text: str) -> float | None:
    """A rate, or None for the run's own masks."""
    if text == _OWN:
        return None
    try:
        rate = float(f"{float(text):g}")  # as it stands in the names of its figures
        TokenMasking(mlm_probability=rate)
    except ValueError:
        raise RecipeError(
            f"--rates: got {text!r}, expected numbers above 0 and at most 1, or {_OWN}. Correct it; overrides of the "
            "recipe stand before --rates."
        ) from None
    return rate


def _name(rate: float | None) -> str:
    return _OWN if rate is None else f"rate_{rate:g}"


def _own(path: Path, masking: Masking | None) -> Masking:
    """The masks that a model was trained with, at their mean rate."""
    if masking is None:
        raise RecipeError(
            f"--rates {_OWN}: got {path}, a plain model folder, which does not say what masks it was trained with, "
            "expected a run or a checkpoint. Name its run, or give a rate."
        )
    if isinstance(masking.mlm_probability, float | int):
        return masking
    assert isinstance(masking, BaseModel)
    logger.info(
        "own masks: the rate of schedule %s is scored at its mean, %g",
        masking.mlm_probability.schedule,
        masking.mean_probability,
    )
    return masking.model_copy(update={"mlm_probability": masking.mean_probability})


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
        return Scored(saved_networks(recipe, path), recipe, recipe.masking)
    if recipe_path is None and not own.exists():
        raise RecipeError(f"{path} is a plain model folder, which says nothing of a corpus. Add --recipe RECIPE.")
    recipe = read_recipe(recipe_path or own, overrides)
    masking = None
    if own.exists():
        if recipe_path is not None:
            recipe = recipe.model_copy(update={"objective": read_recipe(own).objective})
        masking = read_recipe(own).masking
        folders = saved_networks(recipe, path)
    else:
        folders = {"model": path}
        if len(recipe.objective.heads) > 1:  # one network alone can be asked for masked tokens, if it has the head
            recipe = recipe.model_copy(update={"objective": MlmSettings()})
    # On another corpus than the one that it was trained on a model reads with the tokenizer that it was trained with.
    return Scored(
        folders, recipe.model_copy(update={"tokenizer": TokenizerFolder(path=str(folders["model"]))}), masking
    )


if __name__ == "__main__":
    sys.exit(main())
