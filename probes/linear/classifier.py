"""Multinomial logistic regression over a fixed set of labels.

scikit-learn's knows only the labels that it has seen; a code needs a probability for every label before it is seen, so
here all are in the model, the bias has a weak prior as well, and the optimum is always finite. Both find the same
optimum of the same objective (a test holds it).
"""

# W words, D hidden size, C labels

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.source import Vectors

Integers = NDArray[np.int64]

STRENGTHS = (1000.0, 100.0, 10.0, 1.0)
"""Of the L2 penalty on the weights (half their sum of squares, to which the loss of every word is added)."""
BIAS_STRENGTH = 1.0
MOST_ITERATIONS = 200
TOLERANCE = 1e-6
"""Relative gain of an iteration at which the solver stops: float32 products tell no more."""


def standardised(train_WD: Vectors, *others_WD: Vectors) -> list[Vectors]:
    """All scaled as the first gets mean 0 and deviation 1 in every dimension; one that is constant there becomes 0."""
    mean = train_WD.mean(axis=0, dtype=np.float64)
    deviation = train_WD.std(axis=0, dtype=np.float64)
    # A constant of float32 comes out with a deviation of some last digits.
    scale = np.where(deviation <= 1e-6 * np.abs(mean), np.inf, deviation)
    return [((vectors - mean) / scale).astype(np.float32) for vectors in (train_WD, *others_WD)]


def fit(
    vectors_WD: Vectors, labels_W: Integers, *, num_labels: int, strength: float, start: Array | None = None
) -> Array:
    """The weights that minimise the summed cross-entropy and the penalty: (D + 1, C) float64, the last row the bias.

    Args:
        vectors_WD: standardised.
        labels_W: 0 .. num_labels - 1.
        start: weights to begin at; None: zeros. The objective is convex, so this saves time and changes nothing else.
    """
    from scipy.optimize import minimize

    num_words, size = vectors_WD.shape
    penalty = np.full((size + 1, 1), strength)
    penalty[-1] = BIAS_STRENGTH
    rows = np.arange(num_words)

    def objective(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(size + 1, num_labels)
        logs = log_probabilities(vectors_WD, weights)
        loss = -logs[rows, labels_W].sum() + 0.5 * (penalty * weights**2).sum()
        slope_WC = np.exp(logs)
        slope_WC[rows, labels_W] -= 1
        gradient = penalty * weights
        gradient[:-1] += vectors_WD.T @ slope_WC.astype(np.float32)
        gradient[-1] += slope_WC.sum(axis=0)
        return loss / num_words, gradient.ravel() / num_words

    begin = np.zeros((size + 1) * num_labels) if start is None else start.ravel()
    options: dict[str, Any] = {"maxiter": MOST_ITERATIONS, "ftol": TOLERANCE, "gtol": 1e-5}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    weights: Array = found.x.reshape(size + 1, num_labels)
    return weights


def log_probabilities(vectors_WD: Vectors, weights: Array) -> Array:
    """(W, C) natural logarithms of the labels' probabilities, float64."""
    scores = (vectors_WD @ weights[:-1].astype(np.float32)).astype(np.float64) + weights[-1]
    return log_softmax(scores)


def log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
