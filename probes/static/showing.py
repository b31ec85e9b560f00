"""What the figures of the static probe look like: sentences, tables, pictures and how to read them."""

from collections.abc import Sequence

import numpy as np

from probes.figures import draw_heatmaps
from probes.names import file_stem
from probes.probe import Inquiry
from probes.results import Measure, Picture, Score, Table
from probes.static.scores import NEAREST, PARTS, RANDOM, SHARED
from probes.static.similarity import Similarities
from probes.static.subject import Asked, Subject
from probes.static.training import Trained

SAID = 5
"""Neighbours of a word that the answer names; the table has all asked for."""


def measures(sets: Sequence[Similarities]) -> dict[str, Measure]:
    found = {
        "analogies": Measure(title="Analogies right", unit="share"),
        "analogies_covered": Measure(title="Analogies covered", unit="share"),
    }
    for one in sets:
        found[f"spearman_{one.name}"] = Measure(title=f"{one.name}, Spearman", unit="index")
        found[f"covered_{one.name}"] = Measure(title=f"{one.name} covered", unit="share")
    found["separation"] = Measure(title="Cosine within minus between categories", unit="cosine")
    found["cosine"] = Measure(title="Mean cosine", unit="cosine", is_better="")
    return found


def headlines(scores: Sequence[Score]) -> list[Score]:
    """Of every model and baseline the figures over everything that it covers."""
    return [one for one in scores if one.group is None and not one.variant and one.role != "difference"]


def answers(subjects: Sequence[Subject], scores: Sequence[Score], sets: Sequence[Similarities]) -> list[str]:
    """A sentence for each model and for the neighbours of each word, and one for each difference of analogies that is
    clear."""
    own = {(one.measure, one.model): one for one in headlines(scores)}
    said = []
    for subject in subjects:
        parts = [_analogies_said(own, subject.name)]
        for one in sets:
            rho, covered = own.get((f"spearman_{one.name}", subject.name)), own[f"covered_{one.name}", subject.name]
            figure = f"{rho.value:.3f} [{rho.low:.3f}, {rho.high:.3f}]" if rho else "no correlation"
            parts.append(f"{one.name} {figure} of {covered.value:.1%} covered")
        said.append(f"{subject.name}: {'; '.join(parts)}.")
        said += [_nearest_said(subject, word) for word in subject.neighbours]
    for score in scores:
        if score.role == "difference" and score.measure == "analogies" and not score.low <= 0 <= score.high:
            said.append(
                f"Of the {score.n} analogies that all cover, {score.model}: {100 * score.value:+.1f} points"
                f" [{100 * score.low:+.1f}, {100 * score.high:+.1f}]."
            )
    return said


def _nearest_said(subject: Subject, word: str) -> str:
    found = subject.neighbours[word]
    nearest = ", ".join(f"{neighbour} {cosine:.2f}" for neighbour, cosine in found.words[:SAID])
    beside = f" (random pairs {subject.random_cosines.mean():.2f})" if len(subject.random_cosines) else ""
    return f"{subject.name}, nearest to {word!r} ({found.how}): {nearest or 'nothing'}{beside}."


def _analogies_said(own: dict[tuple[str, str], Score], name: str) -> str:
    right, covered = own.get(("analogies", name)), own["analogies_covered", name]
    if right is None:
        return f"it knows the words of none of {covered.n} analogies"
    nearest = own["analogies", NEAREST.format(name)]
    return (
        f"{right.value:.1%} [{right.low:.1%}, {right.high:.1%}] of the {covered.value:.1%} of {covered.n} analogies"
        f" that it covers are right, {nearest.value:.1%} by the nearest word to the third alone"
    )


def tables(subjects: Sequence[Subject], learnt: Sequence[Trained]) -> list[Table]:
    found = []
    if learnt:
        columns = ["method", "file", "words in the table", "words of text", "seconds", "remark"]
        rows = [
            [one.method, one.path.name, one.num_words, one.text_words, round(one.seconds, 2), one.remark]
            for one in learnt
        ]
        caption = "The files may be named as MODEL of any probe."
        found.append(Table(name="learnt", title="What was learnt", columns=columns, rows=rows, caption=caption))
    if any(one.neighbours for one in subjects):
        found.append(_neighbours(subjects))
    for one in subjects:
        if one.heatmap.words:
            columns = ["word", "category", *one.heatmap.words]
            rows = [
                [word, category, *(round(float(value), 4) for value in row)]
                for word, category, row in zip(
                    one.heatmap.words, one.heatmap.categories, one.heatmap.cosines, strict=True
                )
            ]
            name, title = f"cosines-{file_stem(one.name)}", f"Cosines of words by category, {one.name}"
            found.append(Table(name=name, title=title, columns=columns, rows=rows, model=one.name))
    return found


def _neighbours(subjects: Sequence[Subject]) -> Table:
    rows = [
        [one.name, word, found.how, rank, neighbour, None if cosine is None else round(cosine, 4)]
        for one in subjects
        for word, found in one.neighbours.items()
        for rank, (neighbour, cosine) in enumerate(found.words or [("", None)], 1)
    ]
    drawn = "; ".join(
        f"{one.name}: mean {one.random_cosines.mean():.3f}, 95 % below {np.quantile(one.random_cosines, 0.95):.3f}"
        for one in subjects
        if len(one.random_cosines)
    )
    return Table(
        name="neighbours",
        title="Neighbours of words",
        columns=["model", "word", "its vector", "rank", "neighbour", "cosine"],
        rows=rows,
        caption=f"Cosines of random pairs of words, for comparison: {drawn}.",
    )


def draw_pictures(inquiry: Inquiry, subjects: Sequence[Subject]) -> list[Picture]:
    """A heatmap of the words by category for each model."""
    pictures = []
    for one in subjects if inquiry.with_pictures else ():
        if len(one.heatmap.words) > 1:
            file = f"static.categories-{file_stem(one.name)}.png"
            title = f"Cosines of words by category, {one.name}"
            draw_heatmaps(
                inquiry.out / file,
                [(f"random pairs: {one.random_cosines.mean():.2f} on average", one.heatmap.cosines)],
                labels=one.heatmap.words,
                groups=one.heatmap.categories,
                title=title,
            )
            pictures.append(Picture(file=file, caption=title, kind="heatmap", model=one.name))
    return pictures


def notes(asked: Asked, subjects: Sequence[Subject]) -> list[str]:
    """How to read it, and what could not be measured."""
    which = "all words" if asked.most_frequent is None else f"the first {asked.most_frequent:,} words"
    found = [
        f"Analogies, neighbours and categories are about {which} of each table, which files sort by frequency; an"
        " encoder's vocabulary is sorted so only roughly. Similarity sets are about all words. Case does not matter.",
        "Coverage is the share of questions (pairs) whose words are all known. Unknown words lower it and never the"
        f" accuracy; '{SHARED}' is what every model of this call covers, and differences are taken there.",
        "Analogies: 3CosAdd, the three words of the question are no candidates. 'Nearest word to the third' needs no"
        " analogy; what it gets right, the vectors' arithmetic has no part in.",
        "Intervals of 95 %: percentile bootstraps over the pairs of words in each section for analogies, since hundreds"
        " of questions share a few pairs, and over the words of each category; for similarity the jackknife over pairs,"
        " with those that share a word counted together. They cover other words of the same kind, and neither other"
        " sections or categories nor vectors trained with another seed or text. Of a dozen words in all pairs, the"
        " interval of similarity may still be somewhat narrow; a rho of exactly 1 has none.",
        f"'{RANDOM.format('model')}': 5,000 pairs of these words; cosines of two models are not comparable without it.",
    ]
    if any(one.cosines_with_parts for one in subjects):
        found.append(
            f"'{PARTS}': FastText by n-grams of characters, an encoder by the mean of the word's pieces; in analogies"
            " unknown words stay unknown, since an answer must be a word of the table."
        )
    if few := [one.name for one in subjects if not one.answers.covered.any()]:
        found.append(f"No question of the analogies is covered by {', '.join(few)}, so no accuracy is given.")
    return found
