"""Senses of a word: do its vectors tell them apart? By layer and by word, beside baselines that can win.

Measures: leave-one-out nearest neighbour, nearest centroid from few sentences a sense, pairs of sentences (AUC, and a
threshold from other words), k-means, silhouette, difference of cosines, and how often shuffled senses do as well.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.numbers import whole_from_1
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.lines import fingerprint
from probes.results import Results

QUESTION = "Do the vectors of a word tell its senses apart, and better than baselines that know nothing of senses?"


@dataclass(frozen=True)
class Options:
    """The probe's own."""

    sentences: Path | None
    """A table, a CoarseWSD-20 folder or a WordNet table; None: the built-in set."""
    vectors: Path | None
    """Word vectors for the static baselines; None: each model's input embeddings."""
    baseline: tuple[str, ...]
    words: tuple[str, ...] | None
    most: int | None
    """Sentences of each sense, and of each of its parts."""
    window: int | None
    """Words kept either side of the target."""
    random_draws: int


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of `python -m probes senses`."""
    parser.add_argument(
        "--sentences", type=Path, metavar="PATH",
        help="a table with columns word, sentence, sense; a CoarseWSD-20 folder; a WordNet table [built in]",
    )  # fmt: skip
    parser.add_argument(
        "--vectors", type=Path, metavar="FILE", help="word vectors for the static baselines [input embeddings]"
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="MODEL",
        help="another model, shown as a baseline; repeatable",
    )
    parser.add_argument("--words", type=_words, metavar="W,W", help="only these [all]")
    parser.add_argument("--most", type=whole_from_1, metavar="N", help="sentences of each sense, by the seed [all]")
    parser.add_argument("--window", type=whole_from_1, metavar="N", help="words kept either side of the target [all]")
    parser.add_argument("--random-draws", type=whole_from_1, default=1, metavar="N", help="of random weights [1]")


def examine(
    inquiry: Inquiry,
    *,
    sentences: Path | None,
    vectors: Path | None,
    baseline: Sequence[str],
    words: Sequence[str] | None,
    most: int | None,
    window: int | None,
    random_draws: int,
) -> Results:
    """What was found.

    Raises:
        ProbeError: a model, a baseline, a table or vectors that cannot be used; a layer that a model does not have; a
            word that the table does not have.
    """
    from probes.senses.design import Design, choose, cut_around
    from probes.senses.examination import Examination
    from probes.usages import BUILT_IN, read

    path = sentences or BUILT_IN
    reading = read(path)
    usages = choose(reading.usages, words=words, most=most, seed=inquiry.seed)
    if window is not None:
        usages = [cut_around(usage, window) for usage in usages]
    options = Options(
        sentences, vectors, tuple(baseline), None if words is None else tuple(words), most, window, random_draws
    )
    data = {"file": "built in" if sentences is None else str(path), "sha256": fingerprint(path), "n": len(usages)}
    return Examination(inquiry, options, Design.of(usages, inquiry.seed), data, reading.notes).results()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


PROBE = Probe("do vectors of a word tell its senses apart? by layer, with baselines", add_arguments, examine)

__all__ = ["PROBE", "ProbeError", "add_arguments", "examine"]
