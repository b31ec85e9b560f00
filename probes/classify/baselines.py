"""What looks at no encoder: words counted, words weighed by rarity (TF-IDF), and always the commonest class."""

# N training texts, M test texts, S seeds, V words

from collections import Counter
from typing import Any, Literal

import numpy as np

from probes.classify.representations import Fits
from probes.classify.splits import STRENGTHS, Split, Task
from probes.probe_error import ProbeError

Counting = Literal["bag of words", "TF-IDF"]
_WORD = r"(?u)\b\w+\b"
_MOST_STEPS = 1000  # of L-BFGS; some hundred are needed where the regularisation is weak


def fit_words(task: Task, counting: Counting) -> Fits:
    """Logistic regression on the words of a text, in the same grid of strengths as the classifiers on vectors.

    TF-IDF is sublinear and of length 1; counts are divided by one number so that their mean squared length is 1. The
    vocabulary is that of the texts that each seed fits on: unbroken letters and digits, in lower case.

    Raises:
        ProbeError: no training text has a word.
    """
    fitted = [_fit_split(task, split, counting) for split in task.splits]
    return Fits(np.stack([predictions for predictions, _ in fitted]), tuple(strength for _, strength in fitted))


def fit_majority(task: Task) -> Fits:
    """The commonest class of the training texts for every text; of equally common ones the first by name."""
    counts = Counter(task.train.labels)
    commonest = max(task.classes, key=lambda name: counts[name])
    number = task.classes.index(commonest)
    return Fits(np.full((len(task.splits), len(task.test)), number), (0.0,) * len(task.splits))


def _fit_split(task: Task, split: Split, counting: Counting) -> tuple[Any, float]:
    from sklearn.linear_model import LogisticRegression

    fitting_NV, choosing_NV, test_MV = _features(task, split, counting)
    classes = task.train_classes
    best, best_strength, most_right = None, 0.0, -1
    for strength in STRENGTHS:
        # scikit-learn adds up the cross-entropy instead of taking its mean.
        model = LogisticRegression(C=1 / (strength * len(split.fitting)), max_iter=_MOST_STEPS)
        model.fit(fitting_NV, classes[split.fitting])
        num_right = int((model.predict(choosing_NV) == classes[split.choosing]).sum())
        if num_right > most_right:
            best, best_strength, most_right = model, strength, num_right
    assert best is not None
    return best.predict(test_MV), best_strength


def _features(task: Task, split: Split, counting: Counting) -> tuple[Any, Any, Any]:
    """Sparse features of the texts to fit on, to choose on and to test on."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    fitting, choosing = (task.train.taken(rows).texts for rows in (split.fitting, split.choosing))
    if counting == "TF-IDF":
        vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=_WORD)
    else:
        vectorizer = CountVectorizer(dtype=np.float64, token_pattern=_WORD)
    try:
        fitted = vectorizer.fit_transform(fitting)
    except ValueError as error:
        raise ProbeError(
            f"{task.train.file}: no text of it has a word ({error}), expected texts of letters or digits to count the"
            " words of. Check --text-field."
        ) from error
    length = np.sqrt(fitted.multiply(fitted).sum() / len(fitting))
    return fitted / length, vectorizer.transform(choosing) / length, vectorizer.transform(task.test.texts) / length
