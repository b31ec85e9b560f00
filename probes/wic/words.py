"""What the wic probe found, in words, and how to read it."""

from collections.abc import Sequence

from probes.names import CONTEXT, RANDOM, STATIC, TFIDF
from probes.reading.pairs import MOST_OF_A_LABEL, Pair
from probes.results import Score
from probes.wic.design import FEW_WORDS, Design
from probes.wic.figures import ACCURACY, AUC, CHOSEN, Figure, scores_of

MAJORITY = "majority"

NOTES = [
    "A pair is called the same where the cosine of the word's two vectors reaches a threshold. It is set on the"
    " training pairs, for each layer and baseline by itself, where it is right most often; the test pairs have no part"
    " in it. Accuracy is the share of test pairs that are called right. AUC needs no threshold: the probability that a"
    " same pair has a greater cosine than a different one, 0.5 being chance.",
    "z-scored: every dimension at mean 0 and standard deviation 1 over the training usages, before the cosine, so that"
    " a few dimensions with large values cannot decide it.",
    f"'{CHOSEN}': the layer with the greatest training accuracy, the lowest among equals. It was picked without the"
    " test pairs, so its test figures are as honest as those of the last layer.",
    f"{RANDOM.capitalize()}: the same architecture and tokenizer, never trained, drawn once from the seed; another draw"
    f" would differ. {STATIC.capitalize()}: one input embedding for each word, the mean over the forms that it has in"
    f" its sentences, so that both sides of a pair are the same and every cosine is 1. {CONTEXT.capitalize()}: the mean"
    f" of the input embeddings beside the word. {TFIDF}: of all words beside the word, weighted by the training part."
    f" {MAJORITY.capitalize()}:"
    " the commoner label of the training part. Cosines of different layers and models share no scale; each has a"
    " threshold of its own.",
]
SPLIT_HERE = (
    "The pairs have no parts of their own: one half of the words, drawn from the seed, trains, and the others test. No"
    " word is in both."
)
PAIRED_UP = (
    f"The pairs are made from the built-in table of senses: for each word {MOST_OF_A_LABEL} with the same sense and"
    f" {MOST_OF_A_LABEL} with two, drawn from the seed."
)


FEW_TRAINED = (
    "The training part has {num} words and the test part others, so the threshold is set where few words lie: unseen"
    " words may have all their cosines on one side of it, z-scored ones above all (their means are those of the"
    " training words). Accuracy is then that of the majority whatever the vectors know; AUC needs no threshold."
)


def shared(pairs: Sequence[Pair]) -> list[str]:
    """What must be said of words and sentences that stand in both parts."""
    parts = {name: [pair for pair in pairs if pair.split == name] for name in ("train", "test")}
    words = {pair.word for pair in parts["train"]} & {pair.word for pair in parts["test"]}
    sentences = {s for pair in parts["train"] for s in pair.sentences} & {
        s for pair in parts["test"] for s in pair.sentences
    }
    notes = []
    if words:
        notes.append(f"{len(words)} words stand in both parts: the threshold has seen pairs with them.")
    if sentences:
        notes.append(f"{len(sentences)} sentences stand in both parts, so the test is not wholly new.")
    return notes


def resampling(design: Design) -> str:
    """What the intervals mean."""
    covers = (
        " They say how far a figure would move with other test pairs of this kind, the threshold staying as it is; not"
        " how another training part or other random weights would move it."
    )
    if design.unit == "pairs":
        return (
            f"Intervals are 95 % bootstrap intervals over the {len(design.test)} test pairs, drawn for each label by"
            f" itself; no two of them share a sentence.{covers} The words are those at hand: nothing is said of others."
        )
    if design.unit == "words":
        return (
            "Some test pairs share sentences, so the intervals are 95 % bootstrap intervals over the"
            f" {design.num_units} words, each with all its pairs.{covers}"
        )
    return (
        "Test pairs share sentences, so the intervals are 95 % bootstrap intervals over the"
        f" {design.num_units} of them, drawn for each word by itself; a pair counts as often as the product of its"
        f" two.{covers} The words are those at hand, too few to"
        " be resampled: nothing is said of others."
    )


def few_words(design: Design) -> list[str]:
    """A warning where the threshold rests on few words and is tested on others."""
    trained, tested = set(design.words(design.train)), set(design.words(design.test))
    return [FEW_TRAINED.format(num=len(trained))] if len(trained) < FEW_WORDS and not trained & tested else []


def findings(figures: Sequence[Figure], apart: Sequence[Score], design: Design, models: Sequence[str]) -> list[str]:
    """One or two sentences for each thing that can be said, the most important first."""
    said = []
    for name in models:
        own = [one for one in figures if one.name == name and one.role == "model"]
        best = next(one for one in own if one.variant == CHOSEN)
        last = max((one for one in own if one.variant == ""), key=lambda one: one.layer or 0)
        said.append(
            f"{name}: layer {best.layer}, which is best in training, is right for {_shown(best, ACCURACY, design)} of"
            f" {len(design.test)} test pairs (AUC {_shown(best, AUC, design)}); the last layer ({last.layer}) for"
            f" {_shown(last, ACCURACY, design)} (AUC {_shown(last, AUC, design)})."
        )
        said += [
            f"{one.model}, last layer: {_points(one)}, {_verdict(one)}."
            for one in apart
            if one.measure == ACCURACY
            and one.model.startswith(f"{name} - {RANDOM}")
            and one.variant == ""
            and one.layer == last.layer
        ]
    said += [
        f"{one.model}, {one.variant}: {_points(one)}, {_verdict(one)}."
        for one in apart
        if one.measure == ACCURACY and one.variant == CHOSEN and one.model in _couples(models)
    ]
    others = [one for one in figures if one.role == "baseline" and one.layer is None]
    listed = ", ".join(f"{one.name} {_shown(one, ACCURACY, design)}" for one in others)
    return [*said, f"Baselines: {listed}."]


def _couples(models: Sequence[str]) -> set[str]:
    return {f"{one} - {other}" for one in models for other in models}


def _shown(figure: Figure, measure: str, design: Design) -> str:
    score = next(one for one in scores_of(figure, design) if one.measure == measure)
    if measure == AUC:
        return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
    return f"{100 * score.value:.0f} % [{100 * score.low:.0f}, {100 * score.high:.0f}]"


def _points(score: Score) -> str:
    # Adding 0 turns a rounded -0 into 0.
    value, low, high = (round(100 * number) + 0 for number in (score.value, score.low, score.high))
    return f"{value:+d} point{'' if abs(value) == 1 else 's'} [{low:+d}, {high:+d}]"


def _verdict(difference: Score) -> str:
    if difference.low > 0:
        return "more than what it is compared with"
    if difference.high < 0:
        return "less than what it is compared with"
    return "not distinguishable"
