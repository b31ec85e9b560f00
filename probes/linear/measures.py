"""What a linear classifier finds in one layer: accuracy, selectivity, code length."""

# K layers, W words, D hidden size

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from probes.intervals import Array
from probes.linear.classifier import Integers, fit, log_probabilities, standardised
from probes.linear.design import Design
from probes.linear.mixing import fit_mixture
from probes.linear.online_code import block_ends, code_online
from probes.resampled import Resampled
from probes.source import Vectors

MOST_MIXED = 2000
"""Training words of a mixture of layers, all layers of which are held at once."""
NUM_REFITS = 20
"""Resamples of the training sentences that a mixture is trained anew on."""
STUDENT = 2.093
"""97.5 % point of Student's t with NUM_REFITS - 1 degrees of freedom."""


@dataclass(frozen=True)
class Layer:
    """What was found in one layer."""

    figures: dict[str, Resampled]
    strength: float
    """Of the penalty that was chosen on the training words."""
    predicted_W: Integers
    """The answer for each test word."""


def measure(train_WD: Vectors, test_WD: Vectors, design: Design) -> Layer:
    """Train on the training words' vectors and test; the control task is learnt with the same penalty."""
    train, test, num_labels = design.train, design.test, len(design.labels)
    train_WD, test_WD = standardised(train_WD, test_WD)
    ends = block_ends(train.owners_W)
    code = code_online(train_WD, train.labels_W, ends, num_labels=num_labels)
    control = code_online(train_WD, train.control_W, ends, num_labels=num_labels)

    def answers(labels_W: Integers) -> Integers:
        weights = fit(train_WD, labels_W, num_labels=num_labels, strength=code.strength)
        found: Integers = log_probabilities(test_WD, weights).argmax(axis=1)
        return found

    predicted_W = answers(train.labels_W)
    accuracy = test.mean((predicted_W == test.labels_W).astype(np.float64), is_share=True)
    on_control = (answers(train.control_W) == test.control_W).astype(np.float64)
    control_accuracy = test.mean(on_control, is_share=True)
    bits = train.mean(code.bits_W)
    uniform = float(np.log2(num_labels))
    figures = {
        "accuracy": accuracy,
        "control_accuracy": control_accuracy,
        "selectivity": accuracy - control_accuracy,
        "bits_per_word": bits,
        "control_bits_per_word": train.mean(control.bits_W),
        "code_length": Resampled(bits.value * bits.n, bits.draws * bits.n, bits.n),
        "compression": Resampled(uniform / bits.value, uniform / bits.draws, bits.n),
    }
    return Layer(figures, code.strength, predicted_W)


@dataclass(frozen=True)
class Gravity:
    """Where among the layers a label is found."""

    shares_K: Array
    """Of the layers in the mixture of all of them."""
    figures: dict[str, Resampled]


def measure_gravity(
    train_KWD: Vectors, test_KWD: Vectors, design: Design, *, layers: list[int], strength: float, seed: int
) -> Gravity:
    """Centre of gravity of a mixture of all layers, and the expected layer of the gains in accuracy.

    Args:
        layers: their K numbers, at least two.
        strength: of the penalty.
        seed: of the resamples of training sentences.
    """
    train, test, num_labels = design.train, design.test, len(design.labels)
    num_words = _whole_sentences(train.owners_W, MOST_MIXED)
    owners_W, labels_W = train.owners_W[:num_words], train.labels_W[:num_words]
    pairs = [standardised(a[:num_words], b) for a, b in zip(train_KWD, test_KWD, strict=True)]
    train_KWD, test_KWD = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    whole = fit_mixture(train_KWD, labels_W, num_labels=num_labels, strength=strength)
    places = np.array(layers, dtype=np.float64)
    rng = np.random.default_rng(seed)
    num_sentences = int(owners_W[-1]) + 1
    centres = []
    for _ in range(NUM_REFITS):
        times_N = rng.multinomial(num_sentences, np.full(num_sentences, 1 / num_sentences))
        again = fit_mixture(train_KWD, labels_W, num_labels=num_labels, strength=strength, times_W=times_N[owners_W])
        centres.append(float(places @ again.shares_K))
    centre, spread = float(places @ whole.shares_K), STUDENT * float(np.std(centres, ddof=1))
    bounds = (max(centre - spread, places[0]), min(centre + spread, places[-1]))
    figures = {"centre_of_gravity": Resampled(centre, np.array(centres), num_words, bounds)}
    accuracies = [test.mean((whole.predict(test_KWD) == test.labels_W).astype(np.float64), is_share=True)]
    for top in range(len(layers) - 1, 0, -1):
        part = fit_mixture(train_KWD[:top], labels_W, num_labels=num_labels, strength=strength)
        hits_W = part.predict(test_KWD[:top]) == test.labels_W
        accuracies.insert(0, test.mean(hits_W.astype(np.float64), is_share=True))
    if (expected := _expected_layer(accuracies, places)) is not None:
        figures["expected_layer_of_gains"] = expected
    return Gravity(whole.shares_K, figures)


def _expected_layer(accuracies: list[Resampled], places: Array) -> Resampled | None:
    """Mean number of the layers, each weighed by what it adds to the accuracy of the layers below it (Tenney et al.
    2019, section 3); None where all layers together add nothing certain to the lowest one."""
    gained = accuracies[-1] - accuracies[0]
    if gained.interval()[0] <= 0:
        return None
    gains = [above - below for below, above in pairwise(accuracies)]
    value = sum(place * gain.value for place, gain in zip(places[1:], gains, strict=True)) / gained.value
    drawn = sum(place * gain.draws for place, gain in zip(places[1:], gains, strict=True)) / gained.draws
    return Resampled(float(value), np.asarray(drawn, dtype=np.float64), gained.n)


def _whole_sentences(owners_W: Integers, most: int) -> int:
    """How many words the first sentences have that have at most that many together, at least two sentences."""
    ends = np.append(np.flatnonzero(np.diff(owners_W)) + 1, len(owners_W))
    return int(ends[max(1, int(np.searchsorted(ends, most, side="right")) - 1)])
