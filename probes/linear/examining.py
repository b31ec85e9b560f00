"""Carrying out the linear probe: every model with its baselines, layer by layer, on the same words and resamples."""

# N sentences, W words, K layers, D hidden size

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from probes.coverage import read_by
from probes.intervals import CONFIDENCE, NUM_RESAMPLES
from probes.linear import design as designs
from probes.linear.classifier import STRENGTHS
from probes.linear.design import Design, Side
from probes.linear.findings import MAJORITY, MEASURES, NOTES, OF_TYPE, PICKED, answer, headlines
from probes.linear.labelled_words import LabelledSentence, read_labelled_words
from probes.linear.measures import MOST_MIXED, NUM_REFITS, Gravity, Layer, measure, measure_gravity
from probes.linear.online_code import SHARES
from probes.linear.pictures import draw
from probes.models import Model
from probes.names import RANDOM, STATIC, baseline_of, file_stem
from probes.probe import Inquiry
from probes.probe_error import ProbeError
from probes.resampled import Resampled
from probes.results import Cell, ModelCard, Results, Role, Score, Table
from probes.source import Source, Vectors

LAST = "last layer of each"
COMPARED = ("accuracy", "selectivity", "bits_per_word")
"""What differences are taken of."""


@dataclass(frozen=True)
class Probed:
    """What was found of one source of vectors."""

    name: str
    role: Role
    base: str
    """The model that it is or belongs to."""
    layers: dict[int | None, Layer]
    """By number; None: vectors that have no layer."""
    gravity: Gravity | None = None

    @property
    def last(self) -> int | None:
        return list(self.layers)[-1]

    @property
    def picked(self) -> int | None:
        """The layer of the shortest code, which only the training words decide."""
        return min(self.layers, key=lambda layer: self.layers[layer].figures["bits_per_word"].value)


@dataclass
class Found:
    """All that was found, as it grows."""

    cards: list[ModelCard] = field(default_factory=list)
    probed: list[Probed] = field(default_factory=list)
    coverage: dict[str, float] = field(default_factory=dict)
    """Of word vectors: share of the words that have one."""


def examine(
    inquiry: Inquiry, *, train: Path, test: Path | None, column: str | None, most: int, test_share: float
) -> Results:
    """Probe every model of the inquiry.

    Args:
        train: labelled words as in probes.linear.labelled_words.
        test: the same; None: a share of the sentences of `train`.
        column: of the label.
        most: words to train on, and to test on.
        test_share: of the sentences of `train`, where `test` is None.

    Raises:
        ProbeError: a model or file that cannot be used, one label only, a word that a model does not read.
    """
    design = _design(train, test, column, most=most, share=test_share, seed=inquiry.seed)
    found = Found()
    for model in inquiry.models:
        _probe(found, model, design, inquiry, places={True: train, False: test or train})
    guesses = {
        MAJORITY: design.test.mean(design.majority(), is_share=True),
        OF_TYPE: design.test.mean(design.by_type(), is_share=True),
    }
    scores = [
        *_scores(found.probed, design),
        *(figure.score("accuracy", name, role="baseline") for name, figure in guesses.items()),
        *_differences(found.probed, guesses),
    ]
    last = {one.name: one.last for one in found.probed}
    own = [one for one in found.probed if one.role == "model"]
    return Results(
        probe="linear",
        question="Which labels of words can a linear classifier read off the vectors, and in which layers?",
        answer=answer(scores, last={one.name: one.last for one in own}),
        models=found.cards,
        measures=MEASURES,
        headlines=headlines(scores, last=last),
        scores=scores,
        tables=[*_mixtures(found.probed), *(_confusion(one, number, design) for number, one in enumerate(own, 1))],
        pictures=draw(scores, found.probed, design=design, out=inquiry.out) if inquiry.with_pictures else [],
        notes=NOTES,
        data=_data(design, train, test, found.coverage),
        settings={
            "seed": inquiry.seed, "confidence": CONFIDENCE, "num_resamples": NUM_RESAMPLES, "most_words": most,
            "test_share": test_share if designs.same_file(train, test) else None, "penalties": STRENGTHS,
            "blocks": SHARES, "most_words_of_a_mixture": MOST_MIXED, "refits_of_a_mixture": NUM_REFITS,
            "penalty_by_layer": {
                one.name: {str(layer): found.strength for layer, found in one.layers.items()} for one in found.probed
            },
        },
    )  # fmt: skip


def _design(train: Path, test: Path | None, column: str | None, *, most: int, share: float, seed: int) -> Design:
    designs.check_most(most)
    sentences = designs.in_order(read_labelled_words(train, column=column))
    if test is None or designs.same_file(train, test):
        trained, tested = designs.split(sentences, share=share, seed=seed)
    else:
        trained, tested = sentences, designs.in_order(read_labelled_words(test, column=column))
    return Design.of(
        designs.drawn(trained, most=most, seed=seed), designs.drawn(tested, most=most, seed=seed + 1), seed=seed
    )


def _probe(found: Found, model: Model, design: Design, inquiry: Inquiry, *, places: dict[bool, Path]) -> None:
    """Add what one model and its baselines give."""
    source = model.open()
    found.cards.append(model.card(source))
    if model.is_word_vectors:
        covered = [_covered(source, side) for side in (design.train, design.test)]
        total = sum(len(side.words_W) for side in (design.train, design.test))
        found.coverage[model.name] = sum(len(words) for spans in covered for words in spans) / total
    else:
        for side, place in ((design.train, places[True]), (design.test, places[False])):
            _check_read(source, side, place)
    found.probed.append(_by_layer(source, design, inquiry, name=model.name, role="model", base=model.name))
    if model.is_word_vectors:
        return
    static = measure(_static(source, design.train), _static(source, design.test), design)
    del source
    name = baseline_of(STATIC, model.name, inquiry.models)
    found.probed.append(Probed(name, "baseline", model.name, {None: static}))
    untrained, name = model.open_random(inquiry.seed), baseline_of(RANDOM, model.name, inquiry.models)
    found.probed.append(_by_layer(untrained, design, inquiry, name=name, role="baseline", base=model.name))


def _by_layer(source: Source, design: Design, inquiry: Inquiry, *, name: str, role: Role, base: str) -> Probed:
    numbers = list(range(source.num_layers + 1)) if inquiry.layers is None else list(inquiry.layers)
    train_KWD, test_KWD = (_vectors(source, side, numbers) for side in (design.train, design.test))
    layers: dict[int | None, Layer] = {
        number: measure(a, b, design) for number, a, b in zip(numbers, train_KWD, test_KWD, strict=True)
    }
    gravity = None
    if len(numbers) > 1:
        # One penalty for the mixture: the strongest that any of its layers was best with.
        strength = max(layer.strength for layer in layers.values())
        gravity = measure_gravity(train_KWD, test_KWD, design, layers=numbers, strength=strength, seed=inquiry.seed)
    return Probed(name, role, base, layers, gravity)


def _vectors(source: Source, side: Side, layers: Sequence[int]) -> Vectors:
    """(K, W, D); zeros for a word that word vectors lack."""
    texts, read = [one.text for one in side.sentences], _covered(source, side)
    vectors_KWD = np.zeros((len(layers), len(side.words_W), source.hidden_size), dtype=np.float32)
    rows = [
        [offset for offset, span in enumerate(one.spans) if span in set(kept)]
        for one, kept in zip(side.sentences, read, strict=True)
    ]
    first = np.searchsorted(side.owners_W, np.arange(len(texts)))
    for begin, kept, found in zip(first, rows, source.embed_words(texts, read, layers=layers), strict=True):
        vectors_KWD[:, [int(begin) + offset for offset in kept]] = found
    return vectors_KWD


def _static(source: Source, side: Side) -> Vectors:
    owners = side.owners_W.tolist()
    return source.static(
        [side.sentences[owner].text for owner in owners], [span for one in side.sentences for span in one.spans]
    )


def _covered(source: Source, side: Side) -> list[list[tuple[int, int]]]:
    return read_by(source, [one.text for one in side.sentences], [one.spans for one in side.sentences])


def _check_read(source: Source, side: Side, place: Path) -> None:
    for one, read in zip(side.sentences, _covered(source, side), strict=True):
        if missed := [span for span in one.spans if span not in set(read)]:
            word = one.text[slice(*missed[0])]
            raise ProbeError(
                f"{place}: sentence {one.number} (line {one.line}): {word!r} at character {missed[0][0]} lies beyond"
                f" what {source.name} reads, or is no text to it. Expected every labelled word inside that part."
                " Shorten the sentence, or put _ for the label."
            )


def _scores(probed: Sequence[Probed], design: Design) -> list[Score]:
    scores = []
    for one in probed:
        for number, layer in one.layers.items():
            scores += [
                figure.score(key, one.name, layer=number, role=one.role) for key, figure in layer.figures.items()
            ]
            scores += _recalls(one, number, layer, design)
        if one.gravity is not None:
            scores += [figure.score(key, one.name, role=one.role) for key, figure in one.gravity.figures.items()]
            picked = one.layers[one.picked].figures
            scores += [
                picked[key].score(key, one.name, layer=one.picked, variant=PICKED, role=one.role) for key in COMPARED
            ]
    return scores


def _recalls(one: Probed, number: int | None, layer: Layer, design: Design) -> Iterator[Score]:
    """Accuracy on the test words of each label."""
    test = design.test
    for index, label in enumerate(design.labels):
        chosen = test.labels_W == index
        if chosen.any():
            hits_W = (layer.predicted_W == index).astype(np.float64)
            recall = test.mean(hits_W, is_share=True, chosen_W=chosen)
            yield recall.score("accuracy", one.name, layer=number, group=label, role=one.role)


def _differences(probed: Sequence[Probed], guesses: dict[str, Resampled]) -> Iterator[Score]:
    """Each model minus its baselines and minus every later model: by layer, at the last and at the picked ones."""
    for index, one in enumerate(probed):
        if one.role != "model":
            continue
        for number, layer in one.layers.items():
            for name, guess in guesses.items():
                difference = layer.figures["accuracy"] - guess
                yield difference.score("accuracy", f"{one.name} - {name}", layer=number, role="difference")
        for other in probed[index + 1 :]:
            if other.role == "model" or other.base == one.name:
                yield from _minus(one, other)


def _minus(one: Probed, other: Probed) -> Iterator[Score]:
    name = f"{one.name} - {other.name}"
    pairs = [(number, None if None in other.layers else number, number, "") for number in one.layers]
    pairs += [(one.last, other.last, None, LAST), (one.picked, other.picked, None, f"{PICKED} of each")]
    for mine, its, shown, variant in pairs:
        if its in other.layers:
            for key in COMPARED:
                difference = one.layers[mine].figures[key] - other.layers[its].figures[key]
                yield difference.score(key, name, layer=shown, variant=variant, role="difference")


def _mixtures(probed: Sequence[Probed]) -> list[Table]:
    rows: list[list[Cell]] = [
        [one.name, layer, round(float(share), 4)]
        for one in probed
        if one.gravity is not None
        for layer, share in zip(one.layers, one.gravity.shares_K, strict=True)
    ]
    if not rows:
        return []
    caption = "Weights of the layers in a mixture that is trained together with its classifier."
    return [
        Table(name="mixture", title="Share of each layer", columns=["of", "layer", "share"], rows=rows, caption=caption)
    ]


def _confusion(one: Probed, number: int, design: Design) -> Table:
    """Test words by their label (rows) and the answer in the last layer (columns). The number keeps tables of models
    with like names apart."""
    predicted, labels = one.layers[one.last].predicted_W, design.test.labels_W
    rows: list[list[Cell]] = [
        [label, *(int(((labels == i) & (predicted == j)).sum()) for j in range(len(design.labels)))]
        for i, label in enumerate(design.labels)
    ]
    return Table(
        name=f"confusion-{number}-{file_stem(one.name)}",
        title=f"Labels (rows) and answers (columns) in the last layer, {one.name}",
        columns=["label", *design.labels],
        rows=rows,
        model=one.name,
    )


def _data(design: Design, train: Path, test: Path | None, coverage: dict[str, float]) -> dict[str, object]:
    def of(sentences: Sequence[LabelledSentence]) -> dict[str, object]:
        labels = Counter(label for one in sentences for label in one.labels)
        return {"sentences": len(sentences), "words": sum(labels.values()), "labels": dict(labels.most_common())}

    files = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (train, test) if path is not None}
    unseen = int((design.test.labels_W == designs.UNKNOWN).sum())
    return {
        "files": files,
        "train": of(design.train.sentences),
        "test": of(design.test.sentences),
        "training_sentences_left_out_as_they_are_tested_on": design.num_dropped,
        "test_words_with_a_label_that_no_training_word_has": unseen,
        "share_of_test_words_seen_in_training": design.seen(),
        "share_of_words_with_a_vector": coverage,
    }
