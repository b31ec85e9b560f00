"""Neighbours of a word in the table of input embeddings, or of a word in a sentence among words in other sentences.

A cosine says little by itself: in many layers any two vectors are near each other (Ethayarajh 2019,
https://arxiv.org/abs/1909.00512, section 4.1). So every cosine has its z-score beside it: how many standard deviations
it lies above the mean cosine of random pairs of candidates in the same layer.
"""

# K layers, M words in sentences, N sentences, D dimensions

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from probes.neighbors.corpus import Corpus, read_corpus
from probes.neighbors.listing import Listing, findings, headlines, table_of
from probes.neighbors.search import among_sentences, among_tokens, among_words
from probes.numbers import whole_from_1
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.spans import find_word
from probes.results import Measure, ModelCard, Results
from probes.source import Source, Span
from probes.vocabulary import rows_of

Kind = Literal["tokens", "words", "sentences"]

MEASURES = {
    "nearest_cosine": Measure(title="Cosine of the nearest ones, mean", unit="cosine", is_better=""),
    "random_cosine": Measure(title="Cosine of random pairs, mean", unit="cosine", is_better=""),
    "nearest_z": Measure(title="z-score of the nearest ones, mean", unit="ratio", is_better=""),
}
NOTES = [
    "z: how many standard deviations a cosine lies above the mean cosine of 1,000 random pairs of candidates of the"
    " same layer. Compare layers and models by z, never by cosine: each has cosines of its own. The distribution is not"
    " normal, so a z is no probability.",
    "A word of several pieces has their mean as its vector, in a sentence as by itself.",
    "Figures of one word, or of one word in one sentence: nothing was drawn for the nearest ones, so they have no"
    " interval. That of the random pairs covers which pairs were drawn.",
]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of `python -m probes neighbors`."""
    parser.add_argument("--word", required=True, help="whose neighbours are sought")
    parser.add_argument("--sentence", metavar="TEXT", help="with the word in it: its vector there [the word by itself]")
    parser.add_argument("--start", type=int, metavar="N", help="first character of the word [its first whole word]")
    parser.add_argument(
        "--among", metavar="FILE|builtin",
        help="sentences to search, one a line, or a table as for senses [builtin: the sentences of its own table]",
    )  # fmt: skip
    parser.add_argument(
        "--of", nargs="+", choices=get_args(Kind), metavar="KIND",
        help="tokens, words, sentences [tokens; with --sentence all three]",
    )  # fmt: skip
    parser.add_argument("--top", type=whole_from_1, default=10, metavar="N", help="how many of each [10]")


def examine(
    inquiry: Inquiry,
    *,
    word: str,
    sentence: str | None = None,
    start: int | None = None,
    among: str | None = None,
    of: Sequence[Kind] | None = None,
    top: int = 10,
) -> Results:
    """The nearest and the farthest, each model by itself.

    Raises:
        ProbeError: a model, a file or a layer that cannot be used; a word that is not in its sentence or in the
            vocabulary; options that do not go together.
    """
    word = word.strip()
    kinds = _kinds(of, word=word, sentence=sentence, start=start, among=among)
    if set(kinds) == {"tokens"}:
        inquiry.refuse_layers("tokens are searched in the table of input embeddings, below all layers")
    span = _span(word, sentence, start)
    corpus = None
    if sentence is not None and set(kinds) != {"tokens"}:
        corpus = read_corpus(None if among in (None, "builtin") else Path(among), sentence)
    cards: list[ModelCard] = []
    listings: list[Listing] = []
    notes: list[str] = []
    for model in inquiry.models:
        source = model.open()
        cards.append(model.card(source))
        rows_of(source, word)
        for kind in dict.fromkeys(kinds):
            found, said = _search(kind, source, model.name, word, sentence, span, corpus, inquiry)
            listings += found
            notes += said
    scores = [score for listing in listings for score in headlines(listing, top)]
    return Results(
        probe="neighbors",
        question=f"What is nearest to {word!r}" + (f" in {sentence!r}?" if sentence is not None else "?"),
        answer=findings(listings, top),
        models=cards,
        measures=MEASURES,
        headlines=scores,
        scores=scores,
        tables=[table_of(one, number, top, end) for number, one in enumerate(listings, 1) for end in (True, False)],
        notes=[*NOTES, *(corpus.notes if corpus else []), *dict.fromkeys(notes)],
        data=_data(corpus),
        settings={
            "word": word,
            "sentence": sentence,
            "span": list(span),
            "of": kinds,
            "top": top,
            "seed": inquiry.seed,
        },
    )


def _search(
    kind: Kind,
    source: Source,
    name: str,
    word: str,
    sentence: str | None,
    span: Span,
    corpus: Corpus | None,
    inquiry: Inquiry,
) -> tuple[list[Listing], list[str]]:
    """What one model's candidates of one kind are, by layer, and what is to be said of them."""
    # The same pairs whatever else is asked for, so that a model's baseline does not hang on the others.
    rng = np.random.default_rng(inquiry.seed)
    every = list(range(source.num_layers + 1)) if inquiry.names_layers else [source.num_layers]
    layers = every if inquiry.layers is None else list(inquiry.layers)
    if kind == "tokens":
        return among_tokens(source, name, word, sentence, span, rng)
    assert sentence is not None and corpus is not None
    if kind == "words":
        return among_words(source, name, sentence, span, corpus.sentences, layers, rng)
    return among_sentences(source, name, sentence, corpus.sentences, layers, rng)


def _kinds(
    of: Sequence[Kind] | None, *, word: str, sentence: str | None, start: int | None, among: str | None
) -> list[Kind]:
    """What is searched.

    Raises:
        ProbeError: an option that has no meaning without another one.
    """
    if not word or "\0" in word:
        got = "a NUL" if word else "an empty text"
        raise ProbeError(f"--word: got {got}, expected a word. Name one.")
    if sentence is None:
        lost = [name for name, value in (("--start", start), ("--among", among)) if value is not None]
        lost += [f"--of {kind}" for kind in of or () if kind != "tokens"]
        if lost:
            raise ProbeError(
                f"got {', '.join(lost)} without --sentence, expected the sentence in which the word stands. Add"
                f' --sentence "... {word} ...", or leave that out to search the tokens.'
            )
        return ["tokens"]
    return list(dict.fromkeys(of)) if of else ["words", "sentences", "tokens"]


def _span(word: str, sentence: str | None, start: int | None) -> Span:
    try:
        return find_word(word, sentence, start) if sentence is not None else (0, len(word))
    except ProbeError as problem:
        raise ProbeError(f"--word, --sentence: {problem}") from None


def _data(corpus: Corpus | None) -> dict[str, Any]:
    if corpus is None:
        return {}
    return {"file": corpus.file, "sha256": corpus.sha256, "n": len(corpus.sentences)}


PROBE = Probe(
    "what is nearest to a word, or to a word in its sentence? tokens, words, sentences", add_arguments, examine
)
