"""Which class does a text have? A small classifier on frozen layers, beside words counted and random weights.

Peters et al. 2018 (ELMo), section 3.2, mix layers by weights that the task learns; here pooled over the tokens of a
text and with a classifier that is small on purpose, so that the figures are of the encoder.
"""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probes.classify.dividing import check_classes, divide, draw, in_order
from probes.classify.names import CLS, LAST, MIXES, ONE, TRAINABLE, WORD_MEAN
from probes.models import Model
from probes.names import RANDOM, baseline_of
from probes.numbers import whole_from_0, whole_from_1
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.labelled_texts import LabelledTexts, add_fields, read_labelled_texts
from probes.results import ModelCard, Results, Role

if TYPE_CHECKING:
    from probes.classify.mixing import Way
    from probes.classify.outcomes import Entry
    from probes.classify.representations import Layers
    from probes.classify.splits import Task
    from probes.source import Source


MOST_HIDDEN = 4096
"""Units of a hidden layer: more are no small classifier, and at some point no memory holds them."""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="labelled texts: .csv or .jsonl")
    parser.add_argument(
        "--test", type=Path, metavar="FILE", help="[a part of --train, by --test-share, divided by the seed]"
    )
    parser.add_argument("--test-share", type=_share, default=0.2, metavar="X", help="without --test [0.2]")
    add_fields(parser)
    parser.add_argument(
        "--most", type=whole_from_1, metavar="N", help="texts taken of each file, at random by class [all]"
    )
    parser.add_argument("--sizes", type=_sizes, default=(), metavar="N,N", help="learning curve over training texts")
    parser.add_argument("--by-layer", action="store_true", help="a classifier on each layer alone as well")
    parser.add_argument("--hidden", type=_hidden, metavar="N", help="hidden units of the classifier [none]")
    parser.add_argument(
        "--seeds", type=whole_from_1, default=5, metavar="N", help="divisions and starts that figures are means of [5]"
    )
    parser.add_argument(
        "--random-encoders", type=whole_from_0, default=1, metavar="N", help="draws of random weights; 0: without [1]"
    )


def _examine(
    inquiry: Inquiry,
    *,
    train: Path,
    test: Path | None,
    test_share: float,
    label_field: str,
    text_field: list[str],
    most: int | None,
    sizes: tuple[int, ...],
    by_layer: bool,
    hidden: int | None,
    seeds: int,
    random_encoders: int,
) -> Results:
    from probes.classify.findings import compose
    from probes.classify.splits import STRENGTHS

    texts = _texts(train, test, test_share, label_field, text_field, most, inquiry.seed)
    tasks = _tasks(*texts, sizes=sizes, seeds=seeds, hidden=hidden, seed=inquiry.seed)
    entries: list[Entry] = []
    cards: list[ModelCard] = []
    for model in inquiry.models:
        found, card = _examine_model(inquiry, model, tasks, by_layer=by_layer, random_encoders=random_encoders)
        entries += found
        cards.append(card)
    entries += _baselines(tasks)
    settings = {
        "label_field": label_field,
        "text_field": text_field,
        "most": most,
        "sizes": list(sizes),
        "hidden": hidden,
        "seeds": seeds,
        "random_encoders": random_encoders,
        "seed": inquiry.seed,
        "layers": inquiry.layers,
        "strengths": STRENGTHS,
    }
    return compose(inquiry, tasks[0], entries, cards, settings)


def _texts(
    train: Path,
    test: Path | None,
    test_share: float,
    label_field: str,
    text_fields: list[str],
    most: int | None,
    seed: int,
) -> tuple[LabelledTexts, LabelledTexts]:
    """Training and test texts, sorted and checked; no text of a single file is in both."""
    training = in_order(read_labelled_texts(train, label_field=label_field, text_fields=text_fields))
    if test is None:
        check_classes(training, training)
        rows, held_out = divide(training, test_share, rng=np.random.default_rng((seed, 1)))
        parts = [training.taken(rows), training.taken(held_out)]
    else:
        parts = [training, in_order(read_labelled_texts(test, label_field=label_field, text_fields=text_fields))]
    if most is not None:
        parts = [part.taken(draw(part.labels, most, rng=np.random.default_rng((seed, 2)))) for part in parts]
    check_classes(*parts)
    return parts[0], parts[1]


def _tasks(
    train: LabelledTexts, test: LabelledTexts, *, sizes: tuple[int, ...], seeds: int, hidden: int | None, seed: int
) -> "list[Task]":
    """The task on all training texts, and then on each smaller number of them."""
    from probes.classify.splits import Task, splits_of

    every = np.arange(len(train))
    whole = Task(train, test, splits_of(train, [every] * seeds, seed=seed), hidden)
    smaller = sorted({size for size in sizes if size < len(train)}, reverse=True)
    for size in smaller:
        rows = draw(train.labels, size, rng=np.random.default_rng(0))
        try:
            check_classes(train.taken(rows), train)
        except ProbeError as error:
            raise ProbeError(f"--sizes {size} is too few: {error}") from error
    return [whole, *(whole.of_size(size, seed=seed) for size in smaller)]


def _examine_model(
    inquiry: Inquiry, model: Model, tasks: "list[Task]", *, by_layer: bool, random_encoders: int
) -> "tuple[list[Entry], ModelCard]":
    """Every representation of a model, and for an encoder those of its architecture with random weights."""
    source = model.open()
    entries = _entries(inquiry, model, source, tasks, by_layer=by_layer)
    card = model.card(source)
    del source
    if model.is_word_vectors or not random_encoders:
        return entries, card
    name = baseline_of(RANDOM, model.name, inquiry.models)
    draws = [
        _entries(inquiry, model, model.open_random(inquiry.seed + number), tasks, by_layer=by_layer, baseline=name)
        for number in range(random_encoders)
    ]
    return [*entries, *_joined(draws)], card


def _entries(
    inquiry: Inquiry, model: Model, source: "Source", tasks: "list[Task]", *, by_layer: bool, baseline: str = ""
) -> "list[Entry]":
    from probes.classify.outcomes import Entry
    from probes.classify.representations import fit_all, read_layers

    whole = tasks[0]

    def entry(variant: str, layers: "Layers", way: "Way", task: "Task", layer: int | None = None) -> Entry:
        fits = fit_all(layers, task, way)
        role: Role = "baseline" if baseline else "model"
        return Entry(
            baseline or model.name, variant, role, fits, task.num_train, layer, layers.num_cut, layers.num_unknown
        )

    layers = read_layers(source, whole.train, whole.test, pooling="mean", layers=inquiry.layers)
    if model.is_word_vectors:
        return [entry(WORD_MEAN, layers, "frozen", task) for task in tasks]
    found = [entry(variant, layers, way, whole) for variant, way in MIXES.items()]
    last = layers.only(-1)
    found.append(entry(LAST, last, "frozen", whole))
    if not baseline:
        found += [entry(TRAINABLE, layers, "trainable", task) for task in tasks[1:]]
        found += [entry(LAST, last, "frozen", task) for task in tasks[1:]]
    if by_layer:
        numbers = inquiry.layers or range(source.num_layers + 1)
        found += [entry(ONE, layers.only(k), "frozen", whole, number) for k, number in enumerate(numbers)]
    del layers, last
    top = None if inquiry.layers is None else inquiry.layers[-1]
    first = read_layers(
        source, whole.train, whole.test, pooling="first", layers=[source.num_layers if top is None else top]
    )
    return [*found, entry(CLS, first, "frozen", whole)]


def _joined(draws: "list[list[Entry]]") -> "list[Entry]":
    """The seeds of all draws of random weights as those of one."""
    from dataclasses import replace

    from probes.classify.representations import Fits

    return [
        replace(
            same[0],
            fits=Fits(
                np.concatenate([one.fits.predictions for one in same]),
                tuple(strength for one in same for strength in one.fits.strengths),
            ),
        )
        for same in zip(*draws, strict=True)
    ]


def _baselines(tasks: "list[Task]") -> "list[Entry]":
    from probes.classify.baselines import fit_majority, fit_words
    from probes.classify.outcomes import Entry

    entries = [
        Entry(counting, "", "baseline", fit_words(task, counting), task.num_train)
        for counting in ("TF-IDF", "bag of words")
        for task in tasks
    ]
    return [*entries, Entry("majority class", "", "baseline", fit_majority(tasks[0]), tasks[0].num_train)]


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(whole_from_1(part) for part in text.split(",") if part != "all")


def _hidden(text: str) -> int:
    number = whole_from_1(text)
    if number > MOST_HIDDEN:
        raise ArgumentTypeError(f"got {text}, expected at most {MOST_HIDDEN:,}: the classifier is to be a small one")
    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ArgumentTypeError(f"got {text!r}, expected a share between 0 and 1")
    return share


PROBE = Probe(
    summary="which class a text has: a small classifier on frozen layers, mixed in ELMo's ways, beside TF-IDF",
    add_arguments=_add_arguments,
    examine=_examine,
)
