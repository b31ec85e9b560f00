"""Figures of several tables of word vectors beside each other, each with its coverage and a 95 % interval.

Two models rarely know the same words, so beside each one's own figure stands that on what all of them cover; paired
differences are taken there, on the same resamples.
"""

# Q questions, N pairs of words, G models

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array, resample_counts
from probes.results import Score
from probes.static import rank_correlation
from probes.static.analogies import Question
from probes.static.categories import cohesion
from probes.static.pair_intervals import mean_over_pairs, resampled_means
from probes.static.rank_correlation import difference_interval, influences, spearman
from probes.static.similarity import Similarities, interval
from probes.static.subject import Subject
from probes.vectors.word_vectors import fold

SHARED = "covered by all"
PARTS = "unknown words made of their parts"
NEAREST = "nearest word to the third ({})"
RANDOM = "random pairs of words ({})"


def analogy_scores(subjects: Sequence[Subject], questions: Sequence[Question], *, seed: int) -> list[Score]:
    """Accuracy with coverage in total, of semantic and syntactic sections, and by section."""
    first, second, counts = _pairs_of_words(questions, seed)
    shared = np.all([one.answers.covered for one in subjects], axis=0)

    def means(outcomes: list[NDArray[np.bool_]], chosen: NDArray[np.bool_]) -> Iterator[tuple[float, float, float]]:
        found = mean_over_pairs(
            np.array([one[chosen] for one in outcomes], dtype=float),
            first=first[chosen], second=second[chosen], counts=counts, is_share=True,
        )  # fmt: skip
        yield from zip(found.value.tolist(), found.low.tolist(), found.high.tolist(), strict=True)

    scores = []
    for group, members in groups_of(questions).items():
        for one in subjects:
            asked = members & one.answers.covered
            scores.append(_coverage("analogies_covered", one.name, int(asked.sum()), int(members.sum()), group))
            if not asked.any():
                continue
            n = int(asked.sum())
            (own, nearest) = means([one.answers.correct, one.answers.nearest], asked)
            scores.append(_score("analogies", one.name, own, n, group=group))
            if group is None:
                scores.append(_score("analogies", NEAREST.format(one.name), nearest, n, role="baseline"))
        common = members & shared
        if len(subjects) > 1 and common.any():
            found = means([one.answers.correct for one in subjects], common)
            for one, figures in zip(subjects, found, strict=True):
                scores.append(_score("analogies", one.name, figures, int(common.sum()), group=group, variant=SHARED))
    if len(subjects) > 1 and shared.any():
        outcomes = np.array([one.answers.correct[shared] for one in subjects], dtype=float)
        resampled = resampled_means(outcomes, first=first[shared], second=second[shared], counts=counts)
        names = [one.name for one in subjects]
        scores += _differences("analogies", names, outcomes.mean(axis=1).tolist(), resampled, int(shared.sum()))
    return scores


def similarity_scores(subjects: Sequence[Subject], sets: Sequence[Similarities]) -> list[Score]:
    """Spearman's rho with coverage for each set of pairs."""
    scores = []
    for one_set in sets:
        measure, n = f"spearman_{one_set.name}", len(one_set.pairs)
        for one in subjects:
            found = ~np.isnan(one.cosines[one_set.name])
            scores.append(_coverage(f"covered_{one_set.name}", one.name, int(found.sum()), n, None))
            scores += _correlations(measure, [one.name], [one.cosines[one_set.name]], one_set)
            if one.cosines_with_parts:
                with_parts = one.cosines_with_parts[one_set.name]
                scores += _correlations(measure, [one.name], [with_parts], one_set, variant=PARTS)
        if len(subjects) > 1:
            own = [one.cosines[one_set.name] for one in subjects]
            scores += _correlations(measure, [one.name for one in subjects], own, one_set, variant=SHARED)
    return scores


def category_scores(subjects: Sequence[Subject], *, seed: int) -> list[Score]:
    """Mean cosines within and between categories, of random pairs, and within minus between."""
    scores, separations = [], {}
    for one in subjects:
        if len(one.random_cosines):
            drawn = _mean(one.random_cosines)
            n = len(one.random_cosines)
            scores.append(_score("cosine", RANDOM.format(one.name), drawn, n, role="baseline"))
        found = cohesion(one.heatmap, rng=np.random.default_rng(seed))
        if found is None:
            continue
        for group, (estimate, n) in found.groups.items():
            figures = (float(estimate.value[0]), float(estimate.low[0]), float(estimate.high[0]))
            scores.append(_score("cosine", one.name, figures, n, group=group))
        num_words = len(one.heatmap.words)
        scores.append(_score("separation", one.name, (found.separation, *found.separation_interval), num_words))
        separations[one.name] = (tuple(one.heatmap.words), found)
    if len(separations) > 1 and len({words for words, _ in separations.values()}) == 1:
        resampled = np.array([found.resampled_separation for _, found in separations.values()])
        values = [found.separation for _, found in separations.values()]
        scores += _differences("separation", list(separations), values, resampled, len(subjects[0].heatmap.words), "")
    return scores


def groups_of(questions: Sequence[Question]) -> dict[str | None, NDArray[np.bool_]]:
    """(Q,) which questions belong to the whole (None), to semantic and syntactic sections, and to each section.

    Sections whose name begins with 'gram' are the syntactic ones, as in word2vec's own count.
    """
    sections = list(dict.fromkeys(one.section for one in questions))
    is_syntactic = np.array([one.section.startswith("gram") for one in questions])
    groups: dict[str | None, NDArray[np.bool_]] = {None: np.ones(len(questions), dtype=bool)}
    if is_syntactic.any() and not is_syntactic.all():
        groups |= {"semantic": ~is_syntactic, "syntactic": is_syntactic}
    if len(sections) > 1:
        groups |= {name: np.array([one.section == name for one in questions]) for name in sections}
    return groups


def _pairs_of_words(
    questions: Sequence[Question], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The two pairs of words of each question, (Q,) each, and how often each pair is drawn within its section."""
    numbers: dict[tuple[str, str, str], int] = {}
    first = [numbers.setdefault((one.section, *one.words[:2]), len(numbers)) for one in questions]
    second = [numbers.setdefault((one.section, *one.words[2:]), len(numbers)) for one in questions]
    strata = np.unique([section for section, _, _ in numbers], return_inverse=True)[1]
    return np.array(first), np.array(second), resample_counts(strata, rng=np.random.default_rng(seed))


def _correlations(
    measure: str, names: list[str], cosines: list[Array], asked: Similarities, *, variant: str = ""
) -> list[Score]:
    """Of several models on the pairs that all of them cover, and their paired differences."""
    found = np.asarray(~np.isnan(cosines).any(axis=0))
    cosines_GN = np.array([one[found] for one in cosines])
    values = [spearman(one, asked.judged[found]) for one in cosines_GN]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return []
    influences_GN = influences(cosines_GN, asked.judged[found])
    n = int(found.sum())
    pairs = [
        (fold(one), fold(other)) for (one, other), is_found in zip(asked.pairs, found.tolist(), strict=True) if is_found
    ]
    scores = [
        _score(measure, name, (value, *rank_correlation.interval(value, own, pairs)), n, variant=variant)
        for name, value, own in zip(names, known, influences_GN, strict=True)
    ]
    for one, other in combinations(range(len(names)), 2):
        gap = known[one] - known[other]
        figures = (gap, *difference_interval(gap, influences_GN[one] - influences_GN[other], pairs))
        name = f"{names[one]} - {names[other]}"
        scores.append(_score(measure, name, figures, n, variant=SHARED, role="difference"))
    return scores


def _differences(
    measure: str, names: list[str], values: list[float], resampled: Array, n: int, variant: str = SHARED
) -> list[Score]:
    return [
        Score(
            measure=measure,
            model=f"{names[one]} - {names[other]}",
            value=(value := values[one] - values[other]),
            low=(ends := interval(resampled[one] - resampled[other], value))[0],
            high=ends[1],
            n=n,
            variant=variant,
            role="difference",
        )
        for one, other in combinations(range(len(names)), 2)
    ]


def _mean(values: Array) -> tuple[float, float, float]:
    """The mean of independent draws with its 95 % interval by the normal distribution."""
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, mean - half, mean + half


def _coverage(measure: str, model: str, num_covered: int, n: int, group: str | None) -> Score:
    """Nothing is drawn for it, so its interval has no width."""
    share = num_covered / n
    return Score(measure=measure, model=model, value=share, low=share, high=share, n=n, group=group)


def _score(
    measure: str, model: str, figures: tuple[float, float, float], n: int, *, group: str | None = None,
    variant: str = "", role: str = "model",
) -> Score:  # fmt: skip
    value, low, high = figures
    return Score.model_validate(
        {"measure": measure, "model": model, "value": value, "low": low, "high": high, "n": n, "group": group,
         "variant": variant, "role": role}
    )  # fmt: skip
