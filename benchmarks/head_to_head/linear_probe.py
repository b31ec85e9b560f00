"""The linear probe: multinomial logistic regression on frozen vectors of texts, layer by layer.

A text's vector is the mean over its tokens, without special ones and padding; features are standardised. The strength
of the regularisation is chosen on a part of the training rows, for every layer by itself, and so is the layer that is
reported beside the last one; both are then fitted again to all training rows. The test rows choose nothing.
"""

# N texts, K layers, D hidden size

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.head_to_head.labelled import LabelledSet
from probes.embedders import Embedder

DENSE_STRENGTHS = (0.003, 0.01, 0.03, 0.1)
"""C of the regressions on vectors: the smaller, the more regularised."""
SPARSE_STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""C of the one on bags of words."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """How well one kind of features serves, and the C that was chosen for it."""

    strength: float
    choosing_accuracy: float
    """On the rows that C was chosen on."""


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """Accuracies on the test rows."""

    last: float
    chosen: float
    chosen_layer: int


def probe_model(embedder: Embedder, labelled: LabelledSet, *, max_tokens: int) -> LinearProbe:
    """Probe every layer of an encoder.

    Args:
        max_tokens: of a text, special ones included; what is behind is left out.
    """
    texts = cut(embedder.tokenizer, labelled.texts, max_tokens=max_tokens)
    vectors_KND = embedder.embed(texts, [(0, len(text)) for text in texts])
    found = [_choose(vectors_ND, labelled, DENSE_STRENGTHS) for vectors_ND in vectors_KND]
    chosen = int(np.argmax([one.choosing_accuracy for one in found]))
    last = len(found) - 1
    accuracies = {layer: _test(vectors_KND[layer], labelled, found[layer].strength) for layer in {chosen, last}}
    return LinearProbe(last=accuracies[last], chosen=accuracies[chosen], chosen_layer=chosen)


def probe_bag_of_words(labelled: LabelledSet) -> float:
    """Test accuracy of the same regression on TF-IDF of words, which knows nothing but the training rows."""
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(labelled.texts[labelled.training])
    features = vectorizer.transform(labelled.texts)
    return _test(features, labelled, _choose(features, labelled, SPARSE_STRENGTHS).strength)


def cut(tokenizer: Any, texts: Sequence[str], *, max_tokens: int) -> list[str]:
    """The texts, those of more than so many tokens cut at the last space that keeps them within.

    Args:
        tokenizer: a fast one.
    """
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens, return_offsets_mapping=True)
    whole = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    shortened = []
    for text, offsets, ids in zip(texts, encoded["offset_mapping"], whole, strict=True):
        end = max(last for _, last in offsets)
        # A word that was cut in two might be tokenized into other pieces, so it goes as a whole.
        shortened.append(text if len(ids) <= max_tokens else text[:end].rpartition(" ")[0].rstrip() or text[:end])
    return shortened


def _choose(features: Any, labelled: LabelledSet, strengths: Sequence[float]) -> Fitted:
    scored = [
        Fitted(strength, _accuracy(features, labelled.labels, labelled.fitting, labelled.choosing, strength))
        for strength in strengths
    ]
    return max(scored, key=lambda one: one.choosing_accuracy)  # the most regularised among equals


def _test(features: Any, labelled: LabelledSet, strength: float) -> float:
    return _accuracy(features, labelled.labels, labelled.training, labelled.test, strength)


def _accuracy(features: Any, labels: NDArray[np.str_], fit: slice, score: slice, strength: float) -> float:
    if isinstance(features, np.ndarray):
        # Few features, many fits: Newton's method converges in some five steps where L-BFGS needs a hundred.
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, solver="newton-cholesky"))
    else:
        model = make_pipeline(LogisticRegression(C=strength, max_iter=1000))  # sparse: standardising would fill it
    model.fit(features[fit], labels[fit])
    return float(model.score(features[score], labels[score]))
