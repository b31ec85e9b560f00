"""Words in context (Pilehvar & Camacho-Collados 2019, https://arxiv.org/abs/1808.09121): does a word mean the same in
two sentences?

A pair is called the same where the cosine of the word's two vectors reaches a threshold, which is set once for each
layer, on the training part. Differs from the paper's threshold baseline, which steps through cosines by 0.02: here
every cut between two training cosines is tried.
"""

# P pairs, U usages, K layers, D dimensions

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from probes.intervals import CONFIDENCE, Array
from probes.models import Model
from probes.names import CONTEXT, RANDOM, STATIC, TFIDF, baseline_of
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.lines import fingerprint
from probes.reading.pairs import Pair, pair_up, read_pairs
from probes.results import ModelCard, Results
from probes.source import Source, Vectors
from probes.usages import BUILT_IN, read_usages
from probes.wic import showing, words
from probes.wic.design import Design, split_by_word
from probes.wic.figures import CHOSEN, MEASURES, Z_SCORED, Figure, differences, scores_of
from probes.wic.judging import context_cosines, judge, pair_cosines, static_cosines, z_scored


@dataclass(frozen=True)
class _Asked:
    """The pairs with their parts, and what is to be said of them."""

    pairs: list[Pair]
    notes: list[str]
    data: dict[str, Any]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of `python -m probes wic`."""
    parser.add_argument(
        "--pairs", type=Path, metavar="FILE|FOLDER",
        help="a table with the columns word, sentence1, sentence2, label, or Words in Context as published [built in]",
    )  # fmt: skip
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="pairs to set the threshold on [those of --pairs with split train]"
    )


def examine(inquiry: Inquiry, *, pairs: Path | None = None, train: Path | None = None) -> Results:
    """What the models' vectors say of the pairs.

    Raises:
        ProbeError: a model, a file or a layer that cannot be used; pairs that leave nothing to train or to test.
    """
    rng = np.random.default_rng(inquiry.seed)
    asked = _ask(pairs, train, rng)
    design = Design.of(asked.pairs, rng)
    cards: list[ModelCard] = []
    figures: list[Figure] = []
    for model in inquiry.models:
        source = model.open()
        cards.append(model.card(source))
        figures += _figures_of(model, source, design, inquiry)
    figures += _figures_of_no_model(design)
    names = [model.name for model in inquiry.models]
    apart = differences(figures, names, design)
    return Results(
        probe="wic",
        question="Does the cosine of a word's vectors in two sentences tell whether it means the same in both?",
        answer=words.findings(figures, apart, design, names),
        models=cards,
        measures=MEASURES,
        headlines=[score for figure in figures if figure.is_headline for score in scores_of(figure, design)],
        scores=[score for figure in figures for score in scores_of(figure, design)] + apart,
        tables=showing.tables(figures, design),
        pictures=showing.pictures(figures, design, inquiry.out) if inquiry.with_pictures else [],
        notes=[*words.NOTES, words.resampling(design), *words.few_words(design), *asked.notes],
        data={**asked.data, **_counts(design)},
        settings={
            "seed": inquiry.seed,
            "confidence": CONFIDENCE,
            "num_resamples": len(design.counts_RT),
            "resampled": design.unit,
        },
    )


def _ask(pairs: Path | None, train: Path | None, rng: np.random.Generator) -> _Asked:
    """The pairs that the options name, every one with a part."""
    if pairs is None:
        if train is not None:
            raise ProbeError(
                f"got --train {train} without --pairs, expected pairs to test on as well. Name them with --pairs."
            )
        made = pair_up(read_usages(BUILT_IN), rng)
        data = {"file": "built in", "sha256": fingerprint(BUILT_IN)}
        return _Asked(split_by_word(made, rng), [words.PAIRED_UP, words.SPLIT_HERE], data)
    read = read_pairs(pairs)
    data = {"file": str(pairs), "sha256": fingerprint(pairs)}
    if train is not None:
        return _with_train(read, pairs, train, data)
    parts = {pair.split for pair in read}
    if parts == {None}:
        return _Asked(split_by_word(read, rng), [words.SPLIT_HERE], data)
    if len(parts) < 2:
        raise ProbeError(
            f"{pairs}: has a {parts.pop()} part only, expected train and test. Add the other part, or name a file to"
            " set the threshold on with --train."
        )
    return _Asked(read, words.shared(read), data)


def _with_train(tested: list[Pair], pairs: Path, train: Path, data: dict[str, Any]) -> _Asked:
    trained = read_pairs(train)
    for path, found, part in ((pairs, tested, "test"), (train, trained, "train")):
        if others := {pair.split for pair in found} - {None, part}:
            raise ProbeError(
                f"{path} has a {others.pop()} part of its own, expected pairs for {part} only beside --train. Leave out"
                " --train, or take these lines out."
            )
    together = [replace(pair, split="train") for pair in trained] + [replace(pair, split="test") for pair in tested]
    more = {"train_file": str(train), "train_sha256": fingerprint(train)}
    return _Asked(together, words.shared(together), {**data, **more})


def _counts(design: Design) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(design.pairs)}
    for name, part in (("train", design.train), ("test", design.test)):
        names = design.words(part)
        found[name] = {"n": len(part), "n_same": int(design.is_same_P[part].sum()), "num_words": len(names)}
        if len(names) <= 20:
            found[name]["words"] = names
    return found


def _figures_of(model: Model, source: Source, design: Design, inquiry: Inquiry) -> list[Figure]:
    """Those of a model, and, for an encoder, of its baselines."""
    layers = list(inquiry.layers) if inquiry.layers is not None else list(range(source.num_layers + 1))
    found = _layer_figures(source.embed(design.sentences, design.spans, layers=layers), layers, design, model.name)
    context_UD = source.static_context(design.sentences, design.spans)
    baselines = [(CONTEXT, pair_cosines(context_UD[None], design)[0])]
    if not model.is_word_vectors:
        static_UD = source.static(design.sentences, design.spans)
        baselines.append((STATIC, static_cosines(static_UD, design)))
        random_KUD = model.open_random(inquiry.seed).embed(design.sentences, design.spans, layers=layers)
        name = baseline_of(RANDOM, model.name, inquiry.models)
        found += _layer_figures(random_KUD, layers, design, name, of=model.name)
    for kind, cosines_P in baselines:
        name = baseline_of(kind, model.name, inquiry.models)
        found.append(Figure(name, None, "", judge(cosines_P, design), of=model.name, is_headline=True))
    return found


def _layer_figures(
    vectors_KUD: Vectors, layers: Sequence[int], design: Design, name: str, *, of: str = ""
) -> list[Figure]:
    """By layer, raw and z-scored, and those of the layer that is best in training."""
    figures = []
    variants = {"": vectors_KUD, Z_SCORED: z_scored(vectors_KUD, design.train_rows)}
    for variant, vectors in variants.items():
        by_layer = [judge(cosines_P, design) for cosines_P in pair_cosines(vectors, design)]
        for layer, judged in zip(layers, by_layer, strict=True):
            figures.append(Figure(name, layer, variant, judged, of=of, is_headline=layer == layers[-1]))
        # The lowest layer among equals, so that the choice does not hang on an order of the options.
        best = int(np.argmax([judged.train_accuracy for judged in by_layer]))
        label = ", ".join(filter(None, [variant, CHOSEN]))
        figures.append(Figure(name, layers[best], label, by_layer[best], of=of, is_headline=True))
    return figures


def _figures_of_no_model(design: Design) -> list[Figure]:
    """Baselines that are the same whatever model is asked."""
    blind: Array = np.ones(len(design.pairs))
    return [
        Figure(TFIDF, None, "", judge(context_cosines(design)[0], design), is_baseline=True, is_headline=True),
        Figure(words.MAJORITY, None, "", judge(blind, design), is_baseline=True, is_headline=True),
    ]


PROBE = Probe("does a word mean the same in two sentences? one threshold, by layer", add_arguments, examine)
