"""Every measure of one set of vectors, by layer and word, each with how it moves in every resample."""

# N sentences, n sentences of one word, K layers, D hidden size, W words, R resamples, T draws of few sentences

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from probes.intervals import Array, deviations, resample_counts
from probes.results import Measure
from probes.senses.clusters import agreement, silhouette
from probes.senses.design import Design, WordDesign
from probes.senses.neighbours import nearest
from probes.senses.pairs import Pairs, auc, cosine_gap, threshold_accuracy
from probes.senses.shots import SHOTS, STILL, Bools, shot_outcomes, unit
from probes.source import Vectors

ACCURACY, PAIR_AUC, PAIR_ACCURACY, GAP = "accuracy", "pair_auc", "pair_accuracy", "same_minus_different"
ARI, V_MEASURE, SILHOUETTE, P_VALUE = "ari", "v_measure", "silhouette", "p_value"
Z_SCORED = "z-scored"
SPACES = ("", Z_SCORED)
"""Vectors of length 1 as they are, and with every dimension's mean over the word's sentences taken off and divided by
its deviation there."""

Key = tuple[str, str]
"""Measure and space."""
VectorsOf = Callable[[WordDesign], Vectors]


def shots_measure(number: int) -> str:
    return f"centroid_{number}"


MEASURES = {
    ACCURACY: Measure(title="Nearest neighbour has the same sense", unit="share"),
    **{
        shots_measure(number): Measure(
            title=f"Nearest centroid has the same sense, {number} shot{'' if number == 1 else 's'}", unit="share"
        )
        for number in SHOTS
    },
    PAIR_AUC: Measure(title="Same sense told from different senses in pairs, AUC", unit="share"),
    PAIR_ACCURACY: Measure(title="Pairs told right by a threshold from other words", unit="share"),
    ARI: Measure(title="k-means finds the senses, adjusted Rand index", unit="index"),
    V_MEASURE: Measure(title="k-means finds the senses, V-measure", unit="index"),
    SILHOUETTE: Measure(title="Silhouette of the senses", unit="index"),
    GAP: Measure(title="Cosine within a sense minus between senses", unit="cosine"),
    P_VALUE: Measure(title="Probability of such a nearest-neighbour accuracy with shuffled senses", unit="probability",
                     is_better="lower"),
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One measure by layer and word."""

    value: Array
    """(K, W) float64, NaN where a word has too few sentences."""
    deviation: Vectors
    """(K, W, R) float32: how far each resample of the word's sentences moves it."""
    n: Array
    """(W,) sentences."""
    is_share: bool = False
    """Of 0..1, so that the interval stays there."""
    is_count: bool = False
    """Besides, every sentence is right or wrong: then a share of n deviates no less than that of n independent ones."""
    num_sources: Array | None = None
    """(W,) that the sentences come from; None: as many as sentences."""
    parts: tuple["Figure", "Figure"] | None = None
    """What it is the difference of."""

    @property
    def range(self) -> tuple[float, float]:
        """What it cannot leave."""
        if self.is_share:
            return 0.0, 1.0
        return (-1.0, 1.0) if self.is_share_difference else (-np.inf, np.inf)

    @property
    def is_share_difference(self) -> bool:
        return self.parts is not None and all(part.is_share for part in self.parts)

    def minus(self, other: "Figure") -> "Figure":
        """The paired difference: both were resampled alike. Of a single layer, it stands for every layer."""
        return Figure(self.value - other.value, self.deviation - other.deviation, self.n, parts=(self, other))

    def at(self, index: int) -> "Figure":
        """One layer's, as a figure of one layer."""
        return replace(self, value=self.value[[index]], deviation=self.deviation[[index]])

    def picked(self, index_W: Sequence[int]) -> "Figure":
        """A figure of one layer that takes each word from a layer of its own."""
        words = np.arange(len(index_W))
        index = np.asarray(index_W)
        return replace(self, value=self.value[index, words][None], deviation=self.deviation[index, words][None])


Figures = dict[Key, Figure]


def mean_of(figures: Sequence[Figures]) -> Figures:
    """The mean of several sets of vectors', as of random weights drawn several times."""
    return {
        key: Figure(
            np.mean([one[key].value for one in figures], axis=0),
            np.mean([one[key].deviation for one in figures], axis=0, dtype=np.float32),
            first.n,
            first.is_share,
            first.is_count and len(figures) == 1,
            first.num_sources,
        )
        for key, first in figures[0].items()
    }


class _Collected:
    """Figures being filled in, word by word."""

    def __init__(self, num_layers: int, design: Design) -> None:
        self._shape = (num_layers, len(design.words))
        self._num_resamples = len(design.words[0].counts)
        self.figures: Figures = {}

    def put(
        self,
        key: Key,
        at: tuple[int | slice, int],
        value: float | Array,
        deviation: Array,
        word: WordDesign,
        tested: Bools | slice = slice(None),
    ) -> None:
        if key not in self.figures:
            empty = np.full((*self._shape, self._num_resamples), np.nan, dtype=np.float32)
            self.figures[key] = Figure(
                np.full(self._shape, np.nan),
                empty,
                np.zeros(self._shape[1]),
                is_share=MEASURES[key[0]].unit == "share",
                is_count=key[0] == ACCURACY,
                num_sources=np.zeros(self._shape[1]),
            )
        figure = self.figures[key]
        assert figure.num_sources is not None
        figure.value[at], figure.deviation[at] = value, deviation
        figure.n[at[1]], figure.num_sources[at[1]] = len(word.labels[tested]), word.num_sources(tested)


def z_scored(vectors_KnD: Vectors) -> Vectors:
    """Every dimension with mean 0 and deviation 1 over the sentences; one that does not vary is 0."""
    wide = vectors_KnD.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    is_still = deviation <= STILL * np.maximum(np.abs(wide).max(axis=(1, 2), keepdims=True), 1e-12)
    found: Vectors = np.where(is_still, 0, centred / np.where(is_still, 1, deviation)).astype(np.float32)
    return found


def measure(vectors_of: VectorsOf, num_layers: int, design: Design, *, spaces: Sequence[str] = SPACES) -> Figures:
    """All figures of one set of vectors.

    Args:
        vectors_of: the (K, n, D) vectors of a word's sentences, in their order.
        num_layers: K.
        spaces: of SPACES.
    """
    collected = _Collected(num_layers, design)
    for space in spaces:
        pairs: list[list[Pairs]] = []
        for w, word in enumerate(design.words):
            # Lengths differ without regard to the sense, and by so much that they would decide the z-scores.
            unit_KnD = unit(vectors_of(word).astype(np.float32))
            compared_KnD = unit(z_scored(unit_KnD)) if space else unit_KnD
            pairs.append([_of_layer(collected, space, k, w, word, compared_KnD[k]) for k in range(num_layers)])
            _of_shots(collected, space, w, word, unit_KnD)
        _of_thresholds(collected, space, pairs, design)
    return collected.figures


def rows_of(vectors_KND: Vectors) -> VectorsOf:
    """The vectors of a word out of those of every sentence of the design."""
    return lambda word: vectors_KND[:, word.rows]


def cosines_by_word(vectors_of: VectorsOf, design: Design, *, layer_index: int = -1) -> list[Array]:
    """(n, n) cosines of every word's sentences in one layer, vectors as they are."""
    return [cosine_matrix(unit(vectors_of(word)[layer_index].astype(np.float32))) for word in design.words]


def cosine_matrix(unit_nD: Vectors) -> Array:
    """(n, n) float64 cosines of every two of these vectors of length 1 (or 0)."""
    wide = unit_nD.astype(np.float64)
    cosines: Array = wide @ wide.T
    return cosines


def _of_layer(collected: _Collected, space: str, k: int, w: int, word: WordDesign, unit_nD: Vectors) -> Pairs:
    """Put in all that one layer's vectors of one word tell by themselves; returns the word's pairs."""
    cosines = cosine_matrix(unit_nD)
    pairs = Pairs.of(cosines, word.labels, word.comparable)
    found = nearest(cosines, word.labels, word.comparable)
    results = [
        (ACCURACY, (float(found.outcome.mean()), found.influence)),
        (PAIR_AUC, auc(pairs)),
        (GAP, cosine_gap(pairs)),
        (SILHOUETTE, silhouette(cosines, word.labels)),
    ]
    moved = word.moved(np.array([one[1] for _, one in results]))
    for (name, (value, _)), deviation in zip(results, moved, strict=True):
        collected.put((name, space), (k, w), value, deviation, word)
    for name, (value, of_halves) in agreement(unit_nD, word.labels, word.halves, seed=word.seed).items():
        # Normal weights (Wu 1986) give resamples as many as wished, the same for every model.
        deviation = word.half_weights @ (of_halves - of_halves.mean())
        collected.put((name, space), (k, w), value, deviation, word)
    return pairs


def _of_thresholds(collected: _Collected, space: str, pairs: list[list[Pairs]], design: Design) -> None:
    """Put in the accuracy of pairs, whose thresholds come from the other words: there must be some."""
    if len(design.words) < 2:
        return
    for k in range(len(pairs[0])):
        of_words = threshold_accuracy([by_layer[k] for by_layer in pairs])
        for w, (word, (value, influence)) in enumerate(zip(design.words, of_words, strict=True)):
            collected.put((PAIR_ACCURACY, space), (k, w), value, word.moved(influence), word)


def _of_shots(collected: _Collected, space: str, w: int, word: WordDesign, vectors_KnD: Vectors) -> None:
    """Put in the accuracies of centroids of few sentences, which move with the sentences tested and those drawn."""
    for number, shots in word.shots.items():
        outcomes_KTn = shot_outcomes(vectors_KnD, word.labels, shots, z_scored=bool(space))
        tested = np.asarray(shots.tested.any(axis=0))
        by_sentence = np.nanmean(outcomes_KTn[:, :, tested], axis=1)
        moved = word.moved(by_sentence, tested)
        by_draw = np.nanmean(outcomes_KTn, axis=2)
        one_stratum = np.zeros(by_draw.shape[1], dtype=np.int64)
        rng = np.random.default_rng([word.seed, 2, number])
        counts = resample_counts(one_stratum, rng=rng, num_resamples=len(word.counts))
        moved += shots.draw_factor * deviations(by_draw, counts=counts, strata=one_stratum)
        key = (shots_measure(number), space)
        collected.put(key, (slice(None), w), by_sentence.mean(axis=1), moved, word, tested)


def layers_picked_elsewhere(accuracy: Figure) -> list[int]:
    """For each word the layer (by its index) that does best on average over the other words, the last among equals."""
    total = accuracy.value.sum(axis=1, keepdims=True)
    elsewhere = np.round(total - accuracy.value, 9)
    last = len(elsewhere) - 1
    return [int(last - np.argmax(column[::-1])) for column in elsewhere.T]


def keys_of(figures: Figures) -> list[Key]:
    """In the order of MEASURES."""
    return [key for name in MEASURES for key in figures if key[0] == name]
