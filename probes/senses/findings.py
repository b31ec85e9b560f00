"""What the senses probe found, in words: what is, with n and intervals, and no more than that."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from probes.intervals import LEAST_GROUPS
from probes.results import Cell, Score, Table
from probes.senses.design import Design
from probes.senses.measures import ACCURACY, ARI, GAP, MEASURES, P_VALUE, PAIR_AUC, Z_SCORED, shots_measure
from probes.senses.scoring import CORRECTED, PICKED, THESE_WORDS, pooled_variant, variant_of
from probes.senses.shots import SHOTS

if TYPE_CHECKING:
    from probes.senses.examination import Examination

LEVEL = 0.05
"""Of the permutation tests by word."""
MOST_NAMED = 20
"""Words that a sentence tells one by one."""


def answer(examination: "Examination") -> list[str]:
    """One sentence or two for each thing that can be said, the most important first: all models' first things first."""
    models = [name for name, (role, _, _) in examination.at_last.items() if role == "model"]
    said = [one for about in (_accuracy, _against_baselines) for name in models for one in about(examination, name)]
    said += _between_models(examination, models)
    for about in (_few_shots, _shuffled, _picked, _groups, _cosines, _by_word):
        said += [one for name in models for one in about(examination, name)]
    return said


def _accuracy(examination: "Examination", name: str) -> list[str]:
    design = examination.design
    best = _last(examination, name, ACCURACY)
    number = "1 word" if len(design.words) == 1 else f"{len(design.words)} words"
    extra = ""
    if not pooled_variant(design):
        these = _last(examination, name, ACCURACY, THESE_WORDS)
        extra = f" The interval is over words; over other sentences of these words alone it is {interval(these)}."
    beside = ", ".join(
        f"{other} {percent(_last(examination, other, ACCURACY), plain=True)}" for other in examination.others(name)
    )
    return [
        f"{name}, {_layer(examination, name)}: {percent(best)} of the {best.n} sentences of {number} have a nearest"
        f" neighbour of the same sense. Beside it: {beside}.{extra}"
    ]


def _against_baselines(examination: "Examination", name: str) -> list[str]:
    found = []
    for other in examination.others(name):
        difference = _difference(examination, name, other, ACCURACY)
        found.append(f"{other} {points(difference)}, {verdict(difference)}")
    return [f"{name} minus each baseline, paired: {'; '.join(found)}."]


def _between_models(examination: "Examination", models: Sequence[str]) -> list[str]:
    found = []
    for at, name in enumerate(models):
        for other in models[at + 1 :]:
            difference = _difference(examination, name, other, ACCURACY)
            found.append(f"{name} minus {other}, paired, each at its last layer: {points(difference)}:"
                         f" {verdict(difference)}.")  # fmt: skip
    return found


def _few_shots(examination: "Examination", name: str) -> list[str]:
    design = examination.design
    if not design.shots:
        return []
    told = [
        f"{percent(_last(examination, name, shots_measure(number)))} with {number}"
        for number in design.shots
    ]  # fmt: skip
    most = design.shots[-1]
    beside = ", ".join(
        f"{other} {percent(score, plain=True)}"
        for other in examination.others(name)
        if (score := _maybe(examination, other, shots_measure(most))) is not None
    )
    return [
        f"{name}: the nearest of the senses' centroids is the right one for {', '.join(told)} sentences a sense to"
        f" make a centroid of. With {most}: {beside}."
    ]


def _shuffled(examination: "Examination", name: str) -> list[str]:
    layer = examination.at_last[name][1]
    pooled = examination.find(name, layer, [P_VALUE], "")[0]
    words = [word.word for word in examination.design.words]
    corrected = [examination.find(name, layer, [P_VALUE], CORRECTED, group=word)[0] for word in words]
    below = [word for word, score in zip(words, corrected, strict=True) if score.value < LEVEL]
    number = f"for {len(below)} of {len(words)} words" + (
        f" ({', '.join(below)})" if 0 < len(below) < min(len(words), MOST_NAMED) else ""
    )
    return [
        f"{name}: senses shuffled within their words do as well with p = {pooled.value:.4f} over all words; {number} p"
        f" is below {LEVEL} after correction for their number."
    ]


def _picked(examination: "Examination", name: str) -> list[str]:
    variant = variant_of(PICKED, pooled_variant(examination.design))
    found = examination.find(name, None, [ACCURACY], variant)
    if not found or len({s.layer for s in examination.scores if s.model == name}) < 3:
        return []
    return [
        f"{name}: with the layer picked for each word as the best one of the other words, {percent(found[0])} of the"
        " nearest neighbours have the same sense. Picking the best layer on the same sentences would be optimistic."
    ]


def _groups(examination: "Examination", name: str) -> list[str]:
    auc, ari = (_last(examination, name, measure) for measure in (PAIR_AUC, ARI))
    rest = ", ".join(
        f"{other} {_last(examination, other, PAIR_AUC).value:.2f} and {_last(examination, other, ARI).value:.2f}"
        for other in examination.others(name)
        if _maybe(examination, other, ARI) is not None
    )
    return [
        f"{name}: a pair of the same sense has the greater cosine than one of different senses in {percent(auc)} of the"
        f" cases (50 % is chance); k-means finds the senses with an adjusted Rand index of {number(ari)} (0 is chance)."
        f" The same of the others: {rest}."
    ]


def _cosines(examination: "Examination", name: str) -> list[str]:
    pooled = pooled_variant(examination.design)
    gap = _last(examination, name, GAP)
    layer = examination.at_last[name][1]
    scored = examination.find(name, layer, [GAP], variant_of(Z_SCORED, pooled))[0]
    return [
        f"{name}: the cosine within a sense is {more_or_less(gap)} that between senses ({signed(gap)}; with z-scored"
        f" dimensions, which share a scale between models, {signed(scored)})."
    ]


def _by_word(examination: "Examination", name: str) -> list[str]:
    layer, words = examination.at_last[name][1], examination.design.words
    if len(words) == 1:
        return []
    told = []
    for word in words[:MOST_NAMED]:
        score = examination.find(name, layer, [ACCURACY], "", group=word.word)[0]
        told.append(f"{word.word} {percent(score)} (n = {score.n})")
    more = f", and {len(words) - MOST_NAMED} others, which the table has" if len(words) > MOST_NAMED else ""
    return [f"{name}, {_layer(examination, name)}, nearest neighbours by word: {', '.join(told)}{more}."]


def notes(examination: "Examination") -> list[str]:
    """How to read the figures."""
    design = examination.design
    dropped = {
        number: [word.word for word in design.words if number not in word.shots]
        for number in SHOTS
        if any(number not in word.shots for word in design.words)
    }
    few = [
        f"{number} sentences a sense: too few for {', '.join(words)}, which the figure leaves out."
        for number, words in dropped.items()
    ]
    over = (
        "Pooled figures are means over the words, each counting the same. Their interval is over words, so it says how"
        " far the figure might move with other words like these; the variant 'these words' says how far with other"
        " sentences of these words and senses only."
        if not pooled_variant(design)
        else f"Pooled figures are means over the words, each counting the same. Fewer than {LEAST_GROUPS} words say"
        " next to nothing about others, so that their intervals ('these words') are over other sentences of these words"
        " and senses only."
    )
    return [*NOTES[:1], over, *NOTES[1:], *few, *_sources(design)]


def _sources(design: Design) -> list[str]:
    """What is said where sentences share their sources."""
    shared = [word for word in design.words if word.num_sources() < word.n]
    if not shared:
        return []
    alone = [word.word for word in shared if any(word.num_sources(word.strata == one) == 1 for one in word.strata)]
    counts = ", ".join(f"{word.word} {word.num_sources()}" for word in shared[:20])
    found = "Sentences of one source are not independent: n counts them, but they are drawn and shuffled together."
    found += (
        f" Sources: {counts}{' ...' if len(shared) > 20 else ''}. In simulations with 4 sources a sense, 5 sentences"
        " each, intervals held the true value 93 to 96 times in 100, those of differences 89 to 94 times."
    )
    if alone:
        found += (
            f" One sense of {', '.join(alone[:20])} has a single source, which no resample moves: its intervals are too"
            " narrow."
        )
    return [found]


NOTES = [
    "Nearest neighbour: of each sentence, by cosine, among the other sentences with the same word, never one of the"
    " same source; equally near ones count by their share.",
    "Intervals are 95 %. By word they are over the sentences of each sense (whole"
    " sources, where several are of one), and take into account that sentences are"
    " each other's neighbours: in simulations with 24 sentences a sense those of the nearest neighbour held the true"
    " value 95 to 98 times in 100, those of centroids, pairs, cosines and silhouettes 91 to 100 times, those of k-means"
    " 85 to 100 times. That of the threshold takes the threshold as given. Take"
    " a difference as certain only where its interval is clear of 0; many are looked at, and one in twenty misses.",
    "Static vector: the word's vector before any context, the mean over its forms in its sentences and so the same in"
    " every sentence: it scores the share of same-sense sentences among the others. Context: the mean of the static"
    " vectors of all other tokens, or their TF-IDF, the word left out. Random weights: the same architecture and"
    " tokenizer, never trained. All of them can win. Majority sense: always the word's commonest (of the train part, if"
    " there is one; else of all sentences, the judged one counted too, which favours it a little). Chance: an even"
    " guess.",
    "Centroids: the mean of so many sentences of each sense, the others told by the nearest by cosine; 10 draws"
    " (of the train part where the table has one, tested on the test part). Their intervals cover which are tested and"
    " which are drawn.",
    "z-scored: vectors of length 1, of every dimension the mean taken off and divided by the deviation (over the word's"
    " sentences; for centroids, over the drawn ones), so that no few dimensions decide the cosine.",
    "Pairs told right: by the threshold that is best for the other words; the mean of the shares among pairs of the"
    " same sense and of different ones. k-means: as many clusters as senses, the mean of 20 seeds, on vectors of"
    " length 1.",
    "The interval of a difference of shares keeps the bound of either, so that all right against a fixed share is not"
    " certain. An index (k-means, silhouette) has no such bound: one at 1 says nothing of its certainty.",
    "A difference 'A - B' without a layer is between each one's last layer (of those asked for).",
]


def table_of(headlines: Sequence[Score]) -> Table:
    """The headlines as rows to be read: one for each model, baseline and variant."""
    measures = [name for name in MEASURES if any(s.measure == name for s in headlines)]
    names = list(dict.fromkeys((s.model, s.variant.replace(THESE_WORDS, "").strip(", "), s.role) for s in headlines))
    rows: list[list[Cell]] = []
    for model, variant, role in names:
        of_row = {
            s.measure: s
            for s in headlines
            if (s.model, s.variant.replace(THESE_WORDS, "").strip(", "), s.role) == (model, variant, role)
        }
        cells: list[Cell] = []
        for name in measures:
            score = of_row.get(name)
            cells += [None, None, None] if score is None else [score.value, score.low, score.high]
        rows.append([model, variant, role, *cells])
    columns = ["model", "variant", "role", *(f"{name}{end}" for name in measures for end in ("", "_low", "_high"))]
    return Table(name="summary", title="Last layers and baselines", columns=columns, rows=rows)


def _layer(examination: "Examination", name: str) -> str:
    return f"last layer ({examination.at_last[name][1]})"


def _last(examination: "Examination", name: str, measure: str, variant: str | None = None) -> Score:
    """A pooled score at the last layer."""
    chosen = pooled_variant(examination.design) if variant is None else variant
    return examination.find(name, examination.at_last[name][1], [measure], chosen)[0]


def _maybe(examination: "Examination", name: str, measure: str) -> Score | None:
    found = examination.find(
        name, examination.at_last[name][1], [measure], pooled_variant(examination.design)
    )  # fmt: skip
    return found[0] if found else None


def _difference(examination: "Examination", name: str, other: str, measure: str) -> Score:
    return examination.find(f"{name} - {other}", None, [measure], pooled_variant(examination.design))[0]


def percent(score: Score, *, plain: bool = False) -> str:
    """A share as '71 % [64, 78]', without the interval where it has no width or is not wanted."""
    if plain or score.high - score.low < 1e-9:
        return f"{100 * score.value:.0f} %"
    return f"{100 * score.value:.0f} % {interval(score)}"


def interval(score: Score) -> str:
    return f"[{100 * score.low:.0f}, {100 * score.high:.0f}]"


def points(score: Score) -> str:
    """A difference of shares as '2 points [-4, 8]'."""
    value, low, high = (round(100 * number) for number in (score.value, score.low, score.high))
    return f"{value} point{'' if abs(value) == 1 else 's'} [{low}, {high}]"


def number(score: Score) -> str:
    """An index as '0.31 [0.22, 0.40]'."""
    value, low, high = (f"{round(one, 2) + 0:.2f}" for one in (score.value, score.low, score.high))
    return f"{value} [{low}, {high}]"


def signed(score: Score) -> str:
    """A difference of cosines as '+0.052 [+0.041, +0.063]'."""
    # Adding 0 turns a rounded -0 into 0.
    value, low, high = (f"{round(one, 3) + 0:+.3f}" for one in (score.value, score.low, score.high))
    return value if low == value == high else f"{value} [{low}, {high}]"


def verdict(difference: Score) -> str:
    """What the interval of a paired difference allows to say."""
    if difference.low > 0:
        return "more"
    if difference.high < 0:
        return "less"
    return "not distinguishable"


def more_or_less(difference: Score) -> str:
    """The same for the cosine within a sense against that between senses."""
    return {"more": "greater than", "less": "less than"}.get(verdict(difference), "not distinguishable from")
