"""Searching the candidates of one model: tokens of its table, words in sentences, sentences."""

# K layers, M words in sentences, N sentences, S random pairs, D dimensions

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from probes.intervals import Array
from probes.neighbors.corpus import readable_words
from probes.neighbors.listing import Listing
from probes.neighbors.ranking import NUM_RANDOM_PAIRS, RandomPairs, cosines_to, paired_cosines
from probes.neighbors.tokens import tokens_of
from probes.probe_error import ProbeError
from probes.random_pairs import random_pairs
from probes.reading.spans import marked
from probes.source import Source, Span, Vectors

SENTENCES_AT_ONCE = 512
"""Whose vectors are held together: of all others only cosines are kept, and the vectors of the random pairs."""

Found = tuple[list[Listing], list[str]]
"""A listing for each layer, and what is to be said of them."""


def among_tokens(
    source: Source, name: str, word: str, sentence: str | None, span: Span, rng: np.random.Generator
) -> Found:
    """The word's input embedding against the table; with a sentence also its vector at layer 0 there, which has its
    place in it and a normalisation behind it. That one is left out where layer 0 and the table differ in size.

    Raises:
        ProbeError: the vocabulary has no such word.
    """
    tokens = tokens_of(source, word)
    if len(tokens.names) < 2:
        raise ProbeError(f"{source.name}: fewer than 2 tokens can be neighbours. Expected a vocabulary.")
    pairs = random_pairs(len(tokens.names), NUM_RANDOM_PAIRS, rng)
    random = RandomPairs.of(paired_cosines(tokens.table_CD[pairs[:, 0]], tokens.table_CD[pairs[:, 1]]))

    def listing(query_D: Vectors, layer: int | None, variant: str) -> Listing:
        cosines = cosines_to(query_D, tokens.table_CD)
        return Listing(name, "tokens", layer, cosines, tokens.names.__getitem__, random, variant)

    found, notes = [listing(tokens.query_D, None, "")], list(tokens.notes)
    if sentence is not None and source.model_type != "word vectors":
        in_context_D = source.embed([sentence], [span], layers=[0])[0, 0]
        if len(in_context_D) == tokens.table_CD.shape[1]:
            found.append(listing(in_context_D, 0, "in its sentence"))
        else:
            notes.append(
                f"{name}: its layer 0 has {len(in_context_D)} dimensions and its table of input embeddings"
                f" {tokens.table_CD.shape[1]}, so only the word by itself is compared with tokens."
            )
    return found, notes


def among_words(
    source: Source,
    name: str,
    sentence: str,
    span: Span,
    sentences: Sequence[str],
    layers: Sequence[int],
    rng: np.random.Generator,
) -> Found:
    """The word's vector in its sentence against those of all words in the other sentences, in the same layer.

    Raises:
        ProbeError: a layer that there is not; a word that has no vector.
    """
    query_KD = source.embed([sentence], [span], layers=layers)[:, 0]
    spans = readable_words(source, sentences)
    places = [(row, one) for row, words in enumerate(spans) for one in words]
    if len(places) < 2:
        raise ProbeError(f"{source.name}: fewer than 2 words of the sentences have a vector. Add sentences.")
    pairs = random_pairs(len(places), NUM_RANDOM_PAIRS, rng)
    drawn = np.unique(pairs)
    cosines_KM = np.empty((len(layers), len(places)))
    drawn_KSD = np.empty((len(layers), len(drawn), query_KD.shape[1]), dtype=np.float32)
    bounds = np.cumsum([0, *map(len, spans)])
    edges = [*range(0, len(sentences), SENTENCES_AT_ONCE), len(sentences)]
    for first, last in pairwise(edges):
        vectors_KMD = np.concatenate(
            source.embed_words(sentences[first:last], spans[first:last], layers=layers), axis=1
        )
        begin, end = bounds[first], bounds[last]
        here = np.flatnonzero((drawn >= begin) & (drawn < end))
        drawn_KSD[:, here] = vectors_KMD[:, drawn[here] - begin]
        for k in range(len(layers)):
            cosines_KM[k, begin:end] = cosines_to(query_KD[k], vectors_KMD[k])
    num_words = sum(map(len, spans))
    rows_S2 = np.searchsorted(drawn, pairs)

    def text(index: int) -> str:
        row, one = places[index]
        return marked(sentences[row], one)

    found = [
        Listing(name, "words", layer, cosines_KM[k], text, _random(drawn_KSD[k], rows_S2))
        for k, layer in enumerate(layers)
    ]
    return found, [f"{name}: {num_words:,} words of {len(sentences):,} sentences are searched."]


def among_sentences(
    source: Source,
    name: str,
    sentence: str,
    sentences: Sequence[str],
    layers: Sequence[int],
    rng: np.random.Generator,
) -> Found:
    """The sentence against the others: each the mean over its tokens in the same layer."""
    query_KND, _ = source.embed_texts([sentence], layers=layers)
    vectors_KND, num_cut = source.embed_texts(sentences, layers=layers)
    pairs_S2 = random_pairs(len(sentences), NUM_RANDOM_PAIRS, rng)
    notes = [f"{name}: a sentence is the mean over its tokens, the special ones included."]
    if num_cut:
        notes.append(f"{name}: {num_cut:,} sentences were cut to what it reads.")
    found = [
        Listing(
            name,
            "sentences",
            layer,
            cosines_to(query_KND[k, 0], vectors_KND[k]),
            sentences.__getitem__,
            _random(vectors_KND[k], pairs_S2),
        )
        for k, layer in enumerate(layers)
    ]
    return found, notes


def _random(vectors_SD: Vectors, pairs_S2: np.ndarray) -> RandomPairs:
    cosines: Array = paired_cosines(vectors_SD[pairs_S2[:, 0]], vectors_SD[pairs_S2[:, 1]])
    return RandomPairs.of(cosines)
