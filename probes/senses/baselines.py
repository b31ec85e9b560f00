"""What a model must beat: baselines that see the same sentences.

The static vector of the word is the same in every sentence, so that only chance is left. The context alone, as a mean
of static vectors or as TF-IDF, tells many senses, and so do the layers of an encoder that was never trained.
"""

# N sentences, n sentences of one word, W words, R resamples

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.senses.design import Design, WordDesign
from probes.senses.measures import ACCURACY, Figure, Figures, shots_measure
from probes.senses.shots import SHOTS
from probes.source import Vectors
from probes.usages import Usage

MAJORITY, CHANCE = "majority sense", "chance"


def tf_idf(usages: Sequence[Usage], word: WordDesign) -> Vectors:
    """(1, n, terms) the TF-IDF vectors of the word's sentences, the word itself left out; inverse document frequencies
    are those of these sentences."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    contexts = [_without_word(usages[row]) for row in word.rows]
    # The pattern takes words of one letter too; it always finds something, as the texts are never all empty.
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    if not any(vectorizer.build_analyzer()(text) for text in contexts):
        return np.zeros((1, len(contexts), 1), dtype=np.float32)
    found: Vectors = vectorizer.fit_transform(contexts).toarray()[None]
    return found


def _without_word(usage: Usage) -> str:
    begin, end = usage.span
    return f"{usage.sentence[:begin]} {usage.sentence[end:]}"


def one_a_word(vectors_ND: Vectors, design: Design) -> Vectors:
    """(N, D) each word's mean over its sentences, the same in all of them.

    Forms of a word ('bank', 'banks', 'Bank') have vectors of their own, which would tell senses apart by their form.
    """
    found = np.empty_like(vectors_ND)
    for word in design.words:
        found[word.rows] = vectors_ND[word.rows].mean(axis=0)
    return found


def guesses(design: Design) -> dict[str, Figures]:
    """The baselines that look at no vector: always the word's commonest sense (of the train part, where there is one),
    and an even guess among its senses. They stand beside every accuracy of one sentence.

    Without a train part the commonest sense is that of all sentences, the judged one among them. Leaving that one out
    would make the other sense the commoner of two equally frequent ones, and score 0.
    """
    majority, chance = [], []
    for word in design.words:
        training = word.labels if word.trained is None else word.labels[word.trained]
        sizes = Counter(training.tolist())
        commonest = [label for label, size in sizes.items() if size == max(sizes.values())]
        majority.append(np.isin(word.labels, commonest) / len(commonest))
        chance.append(np.full(word.n, 1 / len(word.senses)))
    return {MAJORITY: _accuracies(majority, design), CHANCE: _accuracies(chance, design)}


def _accuracies(outcomes: list[Array], design: Design) -> Figures:
    """Accuracy over all sentences, and over those that centroids are tested on."""
    names = [ACCURACY, *(shots_measure(number) for number in SHOTS if any(number in w.shots for w in design.words))]
    return {(name, ""): _figure(name, outcomes, design) for name in names}


def _figure(name: str, outcomes: list[Array], design: Design) -> Figure:
    num_words, num_resamples = len(design.words), len(design.words[0].counts)
    value, n, num_sources = np.full((1, num_words), np.nan), np.zeros(num_words), np.zeros(num_words)
    deviation = np.full((1, num_words, num_resamples), np.nan, dtype=np.float32)
    for w, (word, of_word) in enumerate(zip(design.words, outcomes, strict=True)):
        tested: NDArray[np.bool_] = np.ones(word.n, dtype=bool)
        if name != ACCURACY:
            number = next(number for number in SHOTS if shots_measure(number) == name)
            if number not in word.shots:
                continue
            tested = np.asarray(word.shots[number].tested.any(axis=0))
        value[0, w], n[w] = of_word[tested].mean(), tested.sum()
        deviation[0, w], num_sources[w] = word.moved(of_word[tested], tested), word.num_sources(tested)
    return Figure(value, deviation, n, is_share=True, is_count=True, num_sources=num_sources)
