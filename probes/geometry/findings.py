"""What the geometry probe found, in words, and how its figures are called."""

from collections.abc import Mapping, Sequence

from probes.geometry.measures import TOPS
from probes.results import Measure, Score

MEASURES = {
    "self_similarity_adjusted": Measure(
        title="Self-similarity of a word minus random pairs", unit="cosine", is_better=""
    ),
    "intra_sentence_adjusted": Measure(title="Words to their sentence minus random pairs", unit="cosine", is_better=""),
    "intra_sentence_beyond_shuffled": Measure(
        title="Words to their sentence minus shuffled sentences", unit="cosine", is_better=""
    ),
    "explained_variance_adjusted": Measure(
        title="Variance of a word in one direction minus random words", unit="index", is_better=""
    ),
    "anisotropy": Measure(title="Anisotropy: mean cosine of random pairs", unit="cosine", is_better=""),
    "self_similarity": Measure(title="Self-similarity of a word", unit="cosine", is_better=""),
    "intra_sentence": Measure(title="Words to the mean of their sentence", unit="cosine", is_better=""),
    "explained_variance": Measure(title="Variance of a word in one direction", unit="share", is_better=""),
    **{
        f"contribution_of_{top}": Measure(
            title=f"Of the mean cosine, what the top {top} dimension{'s' * (top > 1)} add", unit="cosine", is_better=""
        )
        for top in TOPS
    },
    **{
        f"share_of_{top}": Measure(
            title=f"Share of the mean cosine, top {top} dimension{'s' * (top > 1)}", unit="share", is_better=""
        )
        for top in TOPS
    },
}
HEADLINES = (
    "self_similarity_adjusted",
    "intra_sentence_beyond_shuffled",
    "explained_variance_adjusted",
    "anisotropy",
    "contribution_of_1",
)

NOTES = [
    "Words are whole (the mean of their pieces unless told otherwise), in lower case where they are compared with"
    " themselves, which is in other sentences, never inside one. Measures are those of Ethayarajh (2019),"
    " definitions 1 to 3.",
    "Anisotropy is the mean cosine of two words of different sentences, over all such pairs; adjusted figures are minus"
    " it. Its intervals resample sentences, since pairs share words.",
    "A word's cosine to the mean of its sentence is high by construction, as the mean holds the word: so even vectors"
    " that point anywhere at all have an adjusted intra-sentence similarity well above 0. The same sentences with all"
    " words shuffled among them are the fair baseline; what exceeds it is due to standing in one sentence (or to"
    " topic). It is a little below 0 where vectors hold the place in the sentence and nothing else of it: words of one"
    " sentence stand in different places, shuffled ones may share theirs.",
    "The variance of a word in one direction is the square of the greatest singular value of its vectors over the sum"
    " of squares, without centring: it counts the word's mean as well. Its baseline is as many random words.",
    "Contribution of a dimension: its part of the mean cosine of random pairs (Timkey & van Schijndel 2021). The top"
    " ones are picked and measured on the same sentences, so where nothing dominates they are a little high. Shares are"
    " given only where the mean cosine is clearly above 0.",
    "z-scored: every dimension set to mean 0 and deviation 1 over these words before anything is measured. That takes"
    " the common direction out, so the anisotropy is then 0 by construction, and the unadjusted cosines can be read.",
    "Random weights: the same architecture and tokenizer, drawn once, never trained. Cosines of different models do not"
    " share a scale: compare the adjusted figures or the z-scored ones.",
    "Intervals are 95 % bootstrap intervals: over the words for self-similarity and variance, over the sentences for"
    " the rest, over both (drawn apart) where one is taken from the other. They say how far other sentences or words of"
    " this kind of text might move a figure; sentences of one document are taken as independent, and other texts, and"
    " other draws of random weights, are not covered.",
]


def left_out(num_words: int, num_measured: int, num_missed: Mapping[str, int]) -> list[str]:
    """What must be said of words that are not measured, if there are any.

    Args:
        num_words: of all sentences.
        num_measured: that every model reads, in sentences with two or more of them.
        num_missed: by the name of a model, how many it does not read.
    """
    if num_measured == num_words:
        return []
    missed = "; ".join(f"{name} does not read {number:,}" for name, number in num_missed.items() if number)
    because = f": {missed}" if missed else ""
    beside = (
        " What one model does not read is left out for all, so a model's figures may be others when it stands alone or"
        " beside another model."
    )
    return [
        f"{num_measured:,} of {num_words:,} words are measured{because}; and a sentence with fewer than two such words"
        f" is left out.{beside if len(num_missed) > 1 and missed else ''}"
    ]


def headlines(scores: Sequence[Score], *, last: Mapping[str, int]) -> list[Score]:
    """The figures of the last layer of every model and baseline, as they are (not z-scored)."""
    return [
        score
        for score in scores
        if score.measure in HEADLINES and not score.variant and score.role != "difference"
        if score.layer == last[score.model]
    ]


def answer(scores: Sequence[Score], *, measured: Sequence[tuple[str, int]]) -> list[str]:
    """Sentences about the last layer of each model."""
    found = {(s.model, s.measure, s.layer, s.variant): s for s in scores}
    said = []
    for name, layer in measured:
        cosine, same, inside, variance = (
            found[name, key, layer, ""]
            for key in (
                "anisotropy",
                "self_similarity_adjusted",
                "intra_sentence_beyond_shuffled",
                "explained_variance_adjusted",
            )
        )
        top = found[name, "contribution_of_1", layer, ""]
        scaled = found[name, "self_similarity_adjusted", layer, "z-scored"]
        said.append(
            f"{name}, last layer ({layer}): two uses of a word have a cosine {_shown(same)} above random pairs"
            f" ({_shown(scaled)} with z-scored dimensions; mean over {same.n} words),"
            f" and random pairs have {_shown(cosine)} ({cosine.n} words), of which one dimension"
            f" makes {top.value:.3f}."
        )
        said.append(
            f"{name}, last layer ({layer}): words are nearer to the mean of their own sentence than to that of a"
            f" shuffled one by {_shown(inside)} ({inside.n} sentences); one direction holds {_shown(variance)} more of"
            " the squares of a word's vectors than of as many random words'."
        )
    return said


def _shown(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
