"""Figures as scores: by word and pooled over words, each with the interval that belongs to it."""

# K layers, W words, R resamples

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probes.intervals import (
    LEAST_GROUPS,
    Estimate,
    correlations,
    group_interval,
    percentile_interval,
    share_difference,
    share_interval,
)
from probes.results import Role, Score
from probes.senses.design import Design
from probes.senses.measures import ACCURACY, P_VALUE, Figure, Figures, keys_of, layers_picked_elsewhere
from probes.senses.permutations import Shuffled, drawn_interval

THESE_WORDS = "these words"
"""Variant of a pooled score whose interval is over the sentences of the table's words only."""
PICKED = "layer picked on other words"
CORRECTED = "corrected over words"


def variant_of(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def pooled_variant(design: Design) -> str:
    """Of the pooled scores that are shown first: over words ('') where there are enough of them."""
    return "" if len(design.words) >= LEAST_GROUPS else THESE_WORDS


def scores_of(
    figures: Figures,
    design: Design,
    *,
    model: str,
    layers: Sequence[int | None],
    role: Role = "model",
    by_word: bool = True,
) -> list[Score]:
    """Every score of one set of vectors."""
    found: list[Score] = []
    for measure, space in keys_of(figures):
        figure = figures[measure, space]
        found += _pooled(figure, design, measure=measure, variant=space, model=model, layers=layers, role=role)
        if by_word:
            found += _by_word(figure, design, measure=measure, variant=space, model=model, layers=layers, role=role)
    return found


def differences(figures: Figures, others: Figures) -> Figures:
    """The paired differences of all that both have."""
    return {key: figures[key].minus(others[key]) for key in figures if key in others}


def last_of(figures: Figures) -> Figures:
    return {key: figure.at(-1) for key, figure in figures.items()}


def picked_of(figures: Figures) -> Figures:
    """The nearest-neighbour accuracy of every word in the layer that is best for the others; empty for one word."""
    accuracy = figures[ACCURACY, ""]
    if accuracy.value.shape[1] < 2:
        return {}
    return {(ACCURACY, PICKED): accuracy.picked(layers_picked_elsewhere(accuracy))}


def p_scores(shuffled: Shuffled, design: Design, *, model: str, layer: int | None, role: Role = "model") -> list[Score]:
    """The p-values, whose intervals are over other draws of shufflings."""

    def one(p: float, group: str | None, n: int, variant: str = "") -> Score:
        low, high = drawn_interval(p) if not variant else (p, p)
        return Score(
            measure=P_VALUE, model=model, value=p, low=low, high=high, n=n, layer=layer, group=group, variant=variant,
            role=role,
        )  # fmt: skip

    found = [one(shuffled.pooled, None, len(design.usages))]
    for word, p, corrected in zip(design.words, shuffled.by_word, shuffled.corrected, strict=True):
        found += [one(float(p), word.word, word.n), one(float(corrected), word.word, word.n, CORRECTED)]
    return found


def _by_word(
    figure: Figure, design: Design, *, measure: str, variant: str, model: str, layers: Sequence[int | None], role: Role
) -> list[Score]:
    found = []
    for w, word in enumerate(design.words):
        if figure.n[w] == 0:
            continue
        estimate = _over_sentences(figure, np.array([w]))
        found += _scores(estimate, measure, model, layers, int(figure.n[w]), word.word, variant, role)
    return found


def _pooled(
    figure: Figure, design: Design, *, measure: str, variant: str, model: str, layers: Sequence[int | None], role: Role
) -> list[Score]:
    """Means over the words that have the figure, each counting the same: over words, and over their sentences only."""
    words = np.flatnonzero(figure.n)
    n = int(figure.n.sum())
    these = _over_sentences(figure, words)
    found = _scores(these, measure, model, layers, n, None, variant_of(variant, THESE_WORDS), role)
    if len(words) >= LEAST_GROUPS:
        over = group_interval(figure.value[:, words].T, counts_RW=design.word_counts(len(words)), within=these)
        over = Estimate(over.value, np.clip(over.low, *figure.range), np.clip(over.high, *figure.range))
        found = _scores(over, measure, model, layers, n, None, variant, role) + found
    return found


def _over_sentences(figure: Figure, words: NDArray[np.int64]) -> Estimate:
    """The mean over words with these numbers, with its interval over other sentences of theirs."""
    value, deviation = figure.value[:, words].mean(axis=1), figure.deviation[:, words].mean(axis=1)
    n = int(figure.n[words].sum())
    if figure.is_share:
        num_sources = n if figure.num_sources is None else int(figure.num_sources[words].sum())
        return share_interval(value, deviation, n, is_count=figure.is_count, num_sources=num_sources)
    if figure.parts is None or not figure.is_share_difference:
        return percentile_interval(value, deviation)
    one, other = figure.parts
    moved = [part.deviation[:, words].mean(axis=1) for part in figure.parts]
    agreeing = n if one.is_count and other.is_count else None
    return share_difference(
        _over_sentences(one, words), _over_sentences(other, words), correlations(*moved), agreeing=agreeing
    )


def _scores(
    estimate: Estimate,
    measure: str,
    model: str,
    layers: Sequence[int | None],
    n: int,
    group: str | None,
    variant: str,
    role: Role,
) -> list[Score]:
    return [
        Score(
            measure=measure, model=model, value=float(value), low=float(low), high=float(high), n=n, layer=layer,
            group=group, variant=variant, role=role,
        )
        for layer, value, low, high in zip(layers, estimate.value, estimate.low, estimate.high, strict=True)
    ]  # fmt: skip
