"""Judging pairs by their cosine: one threshold set in training, accuracy and area under the ROC curve in the test."""

# P pairs, T test pairs, U usages, K layers, D dimensions, R resamples, G groups of equal cosines

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.resampled import Resampled
from probes.source import Vectors
from probes.unit_vectors import unit
from probes.wic.design import Design, Ints

DECIMALS = 6
"""Cosines are rounded to so many: float32 vectors do not tell nearer ones apart, and equal vectors must tie."""
RESAMPLES_AT_ONCE = 250
"""Bounds the memory that the area under the curve takes."""
ALL_SAME, ALL_DIFFERENT = -1.0, 1 + 10.0**-DECIMALS
"""Thresholds that call every pair the same, and none."""


@dataclass(frozen=True)
class Judged:
    """How well the cosines of one layer (or of a baseline) tell the pairs apart."""

    threshold: float
    train_accuracy: float
    cosines_P: Array
    accuracy: Resampled
    auc: Resampled
    """A resample is NaN where it drew pairs of one label only, or no two sentences of one pair."""


def judge(cosines_P: Array, design: Design) -> Judged:
    """Set the threshold on the training pairs and test it on the others."""
    same_train, same_test = design.is_same_P[design.train], design.is_same_P[design.test]
    tested_T = cosines_P[design.test]
    threshold, train_accuracy = fit_threshold(cosines_P[design.train], same_train)
    right_T = ((tested_T >= threshold) == same_test).astype(np.float64)
    drawn_R = design.counts_RT.sum(axis=1).astype(np.float64)
    draws_R = np.divide(design.counts_RT @ right_T, drawn_R, out=np.full(len(drawn_R), np.nan), where=drawn_R > 0)
    # Where all is right: trials that share nothing. A pair takes two sentences, a couple of a same and a different
    # pair takes four.
    num_pairs = design.num_units // 2 if design.unit == "sentences" else design.num_units
    num_couples = min(int(same_test.sum()), int((~same_test).sum()), max(num_pairs // 2, 1))
    return Judged(
        threshold,
        train_accuracy,
        cosines_P,
        Resampled.share(float(right_T.mean()), draws_R, len(right_T), num_trials=num_pairs),
        Resampled.share(
            float(weighted_auc(tested_T, same_test, np.ones((1, len(tested_T)), np.int64))[0]),
            weighted_auc(tested_T, same_test, design.counts_RT),
            len(tested_T),
            num_trials=num_couples,
        ),
    )


def fit_threshold(cosines: Array, is_same: NDArray[np.bool_]) -> tuple[float, float]:
    """The threshold that is right most often, and its share of right answers: a pair is called the same from there on.

    Thresholds lie in the middle between neighbouring cosines, below all and above all; of those that are equally good
    the one in the middle is taken, the lower of two.
    """
    order = np.argsort(cosines, kind="stable")
    values, first = np.unique(cosines[order], return_index=True)
    # Right at each cut: the different pairs below it and the same ones from it on.
    different_below = np.concatenate([[0], np.cumsum(~is_same[order])])
    same_from = is_same.sum() - np.concatenate([[0], np.cumsum(is_same[order])])
    at = np.append(first, len(cosines))
    right = different_below[at] + same_from[at]
    cuts = np.concatenate([[ALL_SAME], (values[:-1] + values[1:]) / 2, [ALL_DIFFERENT]])
    best = np.flatnonzero(right == right.max())
    chosen = best[(len(best) - 1) // 2]
    return float(cuts[chosen]), float(right[chosen] / len(cosines))


def weighted_auc(cosines_T: Array, is_same_T: NDArray[np.bool_], counts_RT: Ints) -> Array:
    """The area under the ROC curve of each resample: the share of (same, different) couples in which the same pair has
    the greater cosine, equal ones counting one half (Mann & Whitney 1947). NaN where a resample lacks a label.

    Args:
        counts_RT: how often each resample draws each pair.
    """
    order = np.argsort(cosines_T, kind="stable")
    starts = np.unique(cosines_T[order], return_index=True)[1]
    blocks = np.array_split(counts_RT[:, order], max(1, len(counts_RT) // RESAMPLES_AT_ONCE))
    return np.concatenate([_auc_of_ordered(counts, is_same_T[order], starts) for counts in blocks])


def _auc_of_ordered(counts_RT: Ints, is_same_T: NDArray[np.bool_], starts_G: Ints) -> Array:
    """The same for pairs in rising order, of which each group of equals starts at one of the starts."""
    same_RG = np.add.reduceat(counts_RT * is_same_T, starts_G, axis=1).astype(np.float64)
    different_RG = np.add.reduceat(counts_RT * ~is_same_T, starts_G, axis=1).astype(np.float64)
    below_RG = np.cumsum(different_RG, axis=1) - different_RG
    won = (same_RG * (below_RG + different_RG / 2)).sum(axis=1)
    couples = same_RG.sum(axis=1) * different_RG.sum(axis=1)
    share: Array = np.divide(won, couples, out=np.full(len(won), np.nan), where=couples > 0)
    return share


def pair_cosines(vectors_KUD: Vectors, design: Design) -> Array:
    """(K, P) float64 cosines of the two sides of each pair; a vector of zeros has cosine 0 to all."""
    cosines_KP = np.empty((len(vectors_KUD), len(design.pairs)))
    for layer, unit_UD in enumerate(unit(vectors_KUD)):
        cosines_KP[layer] = np.einsum("pd,pd->p", unit_UD[design.rows_P2[:, 0]], unit_UD[design.rows_P2[:, 1]])
    return np.round(cosines_KP, DECIMALS)


def static_cosines(vectors_UD: Vectors, design: Design) -> Array:
    """(P,) float64 cosines of each pair's word with itself, where a word has one vector: the mean over its usages, in
    whatever form they have it. All are 1 (0 for a word whose mean is zeros)."""
    found_P = np.empty(len(design.pairs))
    words_P = np.array([pair.word for pair in design.pairs])
    for word in np.unique(words_P):
        chosen = words_P == word
        mean_D = unit(vectors_UD[np.unique(design.rows_P2[chosen])].mean(axis=0, dtype=np.float64))
        found_P[chosen] = mean_D @ mean_D
    return np.round(found_P, DECIMALS)


def z_scored(vectors_KUD: Vectors, train_rows: Ints) -> Vectors:
    """The vectors with every dimension at mean 0 and standard deviation 1 over the training usages; a dimension that
    does not vary there is left at its distance from the mean."""
    train = vectors_KUD[:, train_rows].astype(np.float64)
    sizes = train.std(axis=1, keepdims=True)
    # Equal float32 numbers may have a deviation of their last digit.
    is_still = sizes <= 1e-6 * np.maximum(np.abs(train).max(axis=1, keepdims=True), 1e-12)
    centred = vectors_KUD - train.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.where(is_still, 1, sizes), dtype=np.float32)


def context_cosines(design: Design) -> Array:
    """(1, P) cosines of the TF-IDF vectors of what stands around the word, weighted by the training contexts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    contexts = [
        f"{sentence[:begin]} {sentence[end:]}"
        for sentence, (begin, end) in zip(design.sentences, design.spans, strict=True)
    ]
    fitted = [contexts[row] for row in design.train_rows]
    if not any(character.isalnum() for text in fitted for character in text):
        return np.zeros((1, len(design.pairs)))
    vectors = TfidfVectorizer(token_pattern=r"(?u)\w+").fit(fitted).transform(contexts)
    products = vectors[design.rows_P2[:, 0]].multiply(vectors[design.rows_P2[:, 1]])
    return np.round(np.asarray(products.sum(axis=1), dtype=np.float64).reshape(1, -1), DECIMALS)
