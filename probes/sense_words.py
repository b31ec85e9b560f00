"""What the senses probe found, in words: what is, with n and intervals, and no more than that."""

from collections.abc import Sequence

from probes.probe import Score

MODEL, RANDOM, STATIC = "model", "random weights", "static vector"
MAJORITY, CHANCE = "majority sense", "chance"
DIFFERENCE = f"{MODEL} - {RANDOM}"
BEST_DIFFERENCE = f"{DIFFERENCE}, each at its best layer"

NOTES = [
    "Accuracy is the share of sentences whose nearest neighbour by cosine, among the other sentences with the same"
    " word, has the same sense; equally near neighbours count by their share. Figures for all words are means over the"
    " words.",
    "Random weights: the same architecture and tokenizer, never trained. It is a baseline that can win: even random"
    " layers mix the sentence into the word's vector.",
    "Static vector: the word's row in the table of input embeddings, the same in every sentence. It scores the share of"
    " same-sense sentences among the others. Majority sense: always the word's commonest sense. Chance: an even guess"
    " among the word's senses.",
    "Intervals are 95 % bootstrap intervals over the sentences of each sense: how much other sentences of these words"
    " might change a figure. They say nothing about other words. Those of the accuracy are somewhat too narrow, as"
    " sentences share neighbours: in simulations they held the true value 83 to 88 times in 100 (those of the cosines"
    " 96 to 99). Take a difference as certain only where its interval is well clear of 0.",
    "Cosines of different encoders and layers do not share a scale, so compare the signs and the layers of one curve,"
    " and encoders by accuracy.",
]


def findings(
    scores: Sequence[Score],
    *,
    words: Sequence[str],
    best_layer: int,
    best_layer_of_random_weights: int,
    last_layer: int,
) -> list[str]:
    """One sentence or two for each thing that can be said, the most important first."""

    def find(vectors: str, layer: int | None, *, measure: str = "accuracy", word: str | None = None) -> Score:
        key = (measure, vectors, layer, word)
        return next(s for s in scores if (s.measure, s.vectors, s.layer, s.word) == key)

    best, random = find(MODEL, best_layer), find(RANDOM, best_layer_of_random_weights)
    last, last_random = find(MODEL, last_layer), find(RANDOM, last_layer)
    difference = find(BEST_DIFFERENCE, None)
    number = "1 word" if len(words) == 1 else f"{len(words)} words"
    said = [
        f"Layer {best_layer} is best: {percent(best)} of the {best.n} sentences of {number} have a nearest neighbour of"
        f" the same sense. Random weights reach {percent(random)} at their best layer"
        f" ({best_layer_of_random_weights}), the majority sense {percent(find(MAJORITY, None))}, the static"
        f" vector of the word {percent(find(STATIC, None))}. The difference to random weights is"
        f" {points(difference)}: {verdict(difference)}.",
        f"The last layer ({last_layer}) reaches {percent(last)}, random weights there {percent(last_random)}; the"
        f" difference is {points(find(DIFFERENCE, last_layer))}:"
        f" {verdict(find(DIFFERENCE, last_layer))}."
        " The best layer was picked on these same sentences, so its figure is optimistic; the last layer's is not.",
    ]
    cosine = find(MODEL, last_layer, measure="same_minus_different")
    cosine_random = find(RANDOM, last_layer, measure="same_minus_different")
    said.append(
        f"In the last layer, the cosine to sentences of the same sense is {more_or_less(cosine)} that to other senses"
        f" ({signed(cosine)}; random weights {signed(cosine_random)})."
    )
    if len(words) > 1:
        by_word = [(word, find(MODEL, best_layer, word=word)) for word in words]
        said.append(
            f"By word, in layer {best_layer}: "
            + ", ".join(f"{word} {percent(score)} (n = {score.n})" for word, score in by_word)
            + "."
        )
    return said


def percent(score: Score) -> str:
    """A share as '71 % [64, 78]', without the interval where it has no width."""
    if score.high - score.low < 1e-9:
        return f"{100 * score.value:.0f} %"
    return f"{100 * score.value:.0f} % [{100 * score.low:.0f}, {100 * score.high:.0f}]"


def points(score: Score) -> str:
    """A difference of shares as '2 points [-4, 8]'."""
    value, low, high = (round(100 * number) for number in (score.value, score.low, score.high))
    return f"{value} point{'' if abs(value) == 1 else 's'} [{low}, {high}]"


def signed(score: Score) -> str:
    """A difference of cosines as '+0.052 [+0.041, +0.063]'."""
    # Adding 0 turns a rounded -0 into 0.
    value, low, high = (f"{round(number, 3) + 0:+.3f}" for number in (score.value, score.low, score.high))
    return value if low == value == high else f"{value} [{low}, {high}]"


def verdict(difference: Score) -> str:
    """What the interval of a paired difference allows to say."""
    if difference.low > 0:
        return "more than random weights"
    if difference.high < 0:
        return "less than random weights"
    return "not distinguishable"


def more_or_less(difference: Score) -> str:
    """The same for the cosine to the same sense against that to other senses."""
    if difference.low > 0:
        return "greater than"
    if difference.high < 0:
        return "less than"
    return "not distinguishable from"
