"""A classifier on a trained mixture of layers: where among the layers a label is found (Tenney et al. 2019, section 3).

The mixture is sum_k softmax(a)_k x_k over the layers, a trained together with the classifier. Differs from the paper:
every dimension of every layer is standardised first, so that a layer of longer vectors weighs no more; the classifier
is linear; and a weak penalty draws a to 0, without which a mixture may run off to a single layer, where its gradient is
0 and it stays whatever the words say.
"""

# K layers, W words, D hidden size, C labels

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.intervals import Array
from probes.linear.classifier import BIAS_STRENGTH, MOST_ITERATIONS, TOLERANCE, Integers, log_softmax
from probes.source import Vectors

MIXING_STRENGTH = 0.1
"""Of the L2 penalty on a (half its sum of squares, to which the loss of every word is added)."""


@dataclass(frozen=True)
class Mixture:
    """A trained mixture and its classifier."""

    shares_K: Array
    """The weights of the layers, which sum to 1."""
    parameters: Array
    """As the solver has them: K numbers whose softmax the shares are, then (D + 1, C) weights."""

    def predict(self, vectors_KWD: Vectors) -> Integers:
        """(W,) the likeliest label of each word."""
        weights = self.parameters[len(self.shares_K) :].reshape(vectors_KWD.shape[2] + 1, -1)
        found: Integers = (_mixed(vectors_KWD, self.shares_K) @ weights[:-1] + weights[-1]).argmax(axis=1)
        return found


def fit_mixture(
    vectors_KWD: Vectors,
    labels_W: Integers,
    *,
    num_labels: int,
    strength: float,
    times_W: Integers | None = None,
) -> Mixture:
    """Train a mixture and its classifier by the same objective as probes.linear.classifier.fit.

    Args:
        vectors_KWD: standardised in each layer.
        times_W: how often each word counts; None: once.
    """
    from scipy.optimize import minimize

    num_layers, num_words, size = vectors_KWD.shape
    flat_KX = vectors_KWD.reshape(num_layers, -1)
    times = np.ones(num_words) if times_W is None else times_W.astype(np.float64)
    penalty = np.full((size + 1, 1), strength)
    penalty[-1] = BIAS_STRENGTH
    rows = np.arange(num_words)

    def objective(parameters: Array) -> tuple[float, Array]:
        shares = _softmax(parameters[:num_layers])
        weights = parameters[num_layers:].reshape(size + 1, num_labels)
        mixed_WD = _mixed(vectors_KWD, shares)
        logs = log_softmax((mixed_WD @ weights[:-1].astype(np.float32)).astype(np.float64) + weights[-1])
        loss = -(times * logs[rows, labels_W]).sum() + 0.5 * (penalty * weights**2).sum()
        loss += 0.5 * MIXING_STRENGTH * (parameters[:num_layers] ** 2).sum()
        slope_WC = np.exp(logs)
        slope_WC[rows, labels_W] -= 1
        slope_WC *= times[:, None]
        gradient = penalty * weights
        gradient[:-1] += mixed_WD.T @ slope_WC.astype(np.float32)
        gradient[-1] += slope_WC.sum(axis=0)
        by_share = flat_KX @ (slope_WC.astype(np.float32) @ weights[:-1].T.astype(np.float32)).ravel()
        by_mixing = shares * (by_share - shares @ by_share) + MIXING_STRENGTH * parameters[:num_layers]
        return loss / num_words, np.concatenate([by_mixing, gradient.ravel()]) / num_words

    # The objective is not convex, so every mixture begins alike: all layers weigh the same, the classifier is 0.
    begin = np.zeros(num_layers + (size + 1) * num_labels)
    options: dict[str, Any] = {"maxiter": MOST_ITERATIONS, "ftol": TOLERANCE, "gtol": 1e-5}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    return Mixture(_softmax(found.x[:num_layers]), found.x)


def _mixed(vectors_KWD: Vectors, shares_K: Array) -> Vectors:
    flat: Vectors = shares_K.astype(np.float32) @ vectors_KWD.reshape(len(shares_K), -1)
    return flat.reshape(vectors_KWD.shape[1:])


def _softmax(numbers: Array) -> Array:
    raised = np.exp(numbers - numbers.max())
    shares: Array = raised / raised.sum()
    return shares
