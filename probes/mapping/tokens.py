"""The tokens of sentences as a map, and one word's cosines across them.

How alike a word is to itself in two sentences is Ethayarajh's (2019) self-similarity; what two different words have is
its random-pair baseline, since in many encoders any two vectors are alike.
"""

# K layers, N tokens, W occurrences of the word, D dimensions

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from probes.intervals import Array
from probes.mapping.cells import cells_of, cosine_tables, draw_cosines, shown_layers
from probes.mapping.cosines import PairMean, cosine_matrix, difference, pair_mean, z_scored
from probes.mapping.inputs import Occurrence, Sentence, find_word
from probes.mapping.stating import INTERVALS, RAW, WITH_TSNE, Z_SCORED, score_of, stated
from probes.mapping.views import OTHER_WORDS, View, draw_layers, draw_views, layers_of, save_views, timed
from probes.models import Model
from probes.probe import Inquiry
from probes.probe_error import ProbeError
from probes.results import Measure, Point, Results, Score
from probes.source import Span, Vectors

MOST_TOKENS = 2000
"""More could not be told apart on a screen."""
SAME, DIFFERENT, ABOVE = "same_word", "different_words", "same_minus_different"


@dataclass(frozen=True)
class Tokens:
    """What one model makes of the sentences."""

    view: View
    """Of all tokens."""
    sentence_of: NDArray[np.int64]
    """(N,) number of the sentence of each token."""
    keys: list[str]
    """N tokens as they are compared: upper and lower case are the same."""
    word_KWD: Vectors | None
    """Of the word where one was asked about."""

    @property
    def is_single(self) -> bool:
        """Whether all tokens stand in one sentence."""
        return len(set(self.sentence_of.tolist())) < 2


Means = dict[tuple[str, str, int], PairMean]
"""(measure, variant, layer) -> mean."""


def map_tokens(inquiry: Inquiry, sentences: Sequence[Sentence], word: str | None) -> Results:
    """Map all tokens of the sentences, and compare the word across them if one was given.

    Raises:
        ProbeError: the word is missing in a sentence, or there are too many tokens.
    """
    occurrences = [] if word is None else find_word(sentences, word)
    found = [_tokens(inquiry, model, sentences, occurrences, word) for model in inquiry.models]
    means = [_means(one, occurrences, len(sentences)) for one in found]
    scores = [
        score_of(mean, measure, model=one.view.name, layer=layer, variant=variant, group=word)
        for one, known in zip(found, means, strict=True)
        for (measure, variant, layer), mean in known.items()
    ]
    scores += _differences(found, means, word)
    last = {one.view.name: one.view.layers[-1] for one in found}
    title = f"{len(sentences)} sentences, all tokens" if word is None else f"{word} among all tokens"
    views = [one.view for one in found]
    drawn = draw_views(inquiry, views, title=title, name="tokens")
    maps, pictures, tables = list(drawn.maps), list(drawn.pictures), [drawn.table]
    if word is not None:
        of_word = [_word_view(one, sentences, occurrences, word) for one in found]
        closer = draw_views(inquiry, of_word, title=f"{word} in {len(occurrences)} places", name="word")
        maps, pictures, views = closer.maps + maps, closer.pictures + pictures, of_word + views
        cells = [
            cells_of(view, k, *(cosine_matrix(word_vectors(one, k, variant)) for variant in (RAW, Z_SCORED)))
            for one, view in zip(found, of_word, strict=True)
            for k in shown_layers(inquiry, view)
        ]
        tables = [*cosine_tables(cells), *tables]
        pictures = draw_cosines(inquiry, cells, word) + pictures
    pictures = draw_layers(inquiry, scores, ABOVE, Z_SCORED, "cosine to itself less that to other words") + pictures
    save_views(inquiry, views)
    return Results(
        probe="map",
        question="How alike is a word to itself in different sentences, and where do all tokens lie?",
        answer=_answer(found, means, word),
        models=[one.view.card for one in found],
        measures=_measures(word),
        headlines=[one for one in scores if one.role == "model" and one.layer == last[one.model]],
        scores=scores,
        tables=tables,
        pictures=pictures,
        maps=maps,
        notes=_notes(len(sentences)),
        data={"sentences": [one.text for one in sentences], "n": len(sentences), "word": word},
        settings={"seed": inquiry.seed, "layers_shown": last},
    )


def _tokens(
    inquiry: Inquiry, model: Model, sentences: Sequence[Sentence], occurrences: Sequence[Occurrence], word: str | None
) -> Tokens:
    source = model.open()
    texts = [sentence.text for sentence in sentences]
    # A tokenizer of bytes has several tokens at one character; they are one point.
    spans: list[list[Span]] = [list(dict.fromkeys(one)) for one in source.token_spans(texts)]
    num_tokens = sum(map(len, spans))
    if not 2 <= num_tokens <= MOST_TOKENS:
        raise ProbeError(
            f"map: {model.name} reads {num_tokens} tokens in these sentences, expected 2 to {MOST_TOKENS}, which can be"
            " told apart. Give fewer or more sentences."
        )
    places: list[list[Span]] = [[] for _ in texts]
    for one in occurrences:
        places[one.sentence].append(one.span)
    began = time.perf_counter()
    layers = layers_of(inquiry, model)
    vectors = source.embed_words(texts, [a + b for a, b in zip(spans, places, strict=True)], layers=layers)
    seconds = timed(began)
    parts = [(one[:, : len(own)], one[:, len(own) :]) for one, own in zip(vectors, spans, strict=True)]
    points = [
        _point(number, text, span, places[number], word)
        for number, (text, own) in enumerate(zip(texts, spans, strict=True))
        for span in own
    ]
    view = View(
        model.card(source),
        list(range(source.num_layers + 1)) if layers is None else list(layers),
        points,
        np.concatenate([tokens for tokens, _ in parts], axis=1),
        seconds,
    )
    numbers = np.repeat(np.arange(len(texts)), [len(own) for own in spans])
    of_word = np.concatenate([words for _, words in parts], axis=1) if word is not None else None
    return Tokens(view, numbers, [point.label.casefold() for point in points], of_word)


def _point(number: int, text: str, span: Span, places: Sequence[Span], word: str | None) -> Point:
    """A token: coloured by its sentence, or by whether it belongs to the word."""
    begin, end = span
    label = text[begin:end].strip()
    # What goes on with a word is marked as WordPiece does, whatever the tokenizer.
    if begin > 0 and text[begin - 1].isalnum() and label[:1].isalnum():
        label = f"##{label}"
    group = f"sentence {number + 1}"
    if word is not None:
        group = word if any(begin < b and end > a for a, b in places) else OTHER_WORDS
    return Point(text=text, span=span, group=group, label=label)


def _word_view(one: Tokens, sentences: Sequence[Sentence], occurrences: Sequence[Occurrence], word: str) -> View:
    assert one.word_KWD is not None
    points = [
        Point(text=sentences[place.sentence].text, span=place.span, group=f"sentence {place.sentence + 1}",
              label=f"{word} {number}")
        for number, place in enumerate(occurrences, 1)
    ]  # fmt: skip
    return View(one.view.card, one.view.layers, points, one.word_KWD, one.view.seconds, word)


def _means(one: Tokens, occurrences: Sequence[Occurrence], num_sentences: int) -> Means:
    """Every mean of one model, layer by layer, of the vectors as they are and z-scored on all tokens of the layer."""
    # With a single sentence its own tokens are compared, and each is a unit.
    units = np.arange(len(one.keys)) if one.is_single else one.sentence_of
    num_units = len(one.keys) if one.is_single else num_sentences
    is_word = np.array([any(character.isalnum() for character in key) for key in one.keys])
    apart = (units[:, None] != units[None, :]) & is_word[:, None] & is_word[None, :]
    keys = np.unique(one.keys, return_inverse=True)[1]
    alike = keys[:, None] == keys[None, :]
    places = np.array([place.sentence for place in occurrences], dtype=np.int64)
    found: Means = {}
    for k, layer in enumerate(one.view.layers):
        plain = one.view.vectors_KND[k]
        for variant in (RAW, Z_SCORED):
            cosines = cosine_matrix(plain if variant == RAW else z_scored(plain, plain))
            baseline = pair_mean(cosines, apart & ~alike, units, num_units)
            if one.word_KWD is not None:
                own = cosine_matrix(word_vectors(one, k, variant))
                same = pair_mean(own, places[:, None] != places[None, :], places, num_units)
            else:
                same = pair_mean(cosines, apart & alike, units, num_units)
            for measure, mean in ((SAME, same), (DIFFERENT, baseline)):
                if mean is not None:
                    found[measure, variant, layer] = mean
            if same is not None and baseline is not None:
                found[ABOVE, variant, layer] = difference(same, baseline)
    return found


def word_vectors(one: Tokens, k: int, variant: str) -> Array:
    assert one.word_KWD is not None
    plain = one.word_KWD[k]
    return plain.astype(np.float64) if variant == RAW else z_scored(plain, one.view.vectors_KND[k])


def _differences(found: Sequence[Tokens], means: Sequence[Means], word: str | None) -> list[Score]:
    """Every two models, each in its last layer: how far the word stands above the baseline, paired by sentence."""
    scores = []
    for (one, known), (other, others) in combinations(zip(found, means, strict=True), 2):
        if one.is_single or other.is_single:
            continue
        for variant in (RAW, Z_SCORED):
            pair = (
                known.get((ABOVE, variant, one.view.layers[-1])),
                others.get((ABOVE, variant, other.view.layers[-1])),
            )
            if pair[0] is not None and pair[1] is not None:
                mean = difference(pair[0], pair[1])
                name = f"{one.view.name} - {other.view.name}"
                scores.append(score_of(mean, ABOVE, model=name, variant=variant, group=word, role="difference"))
    return scores


def _measures(word: str | None) -> dict[str, Measure]:
    what = "the same token" if word is None else repr(word)
    return {
        SAME: Measure(title=f"Cosine of {what} in two sentences", unit="cosine", is_better=""),
        DIFFERENT: Measure(title="Cosine of two different tokens (random pairs)", unit="cosine", is_better=""),
        ABOVE: Measure(title=f"Cosine of {what} above that of random pairs", unit="cosine", is_better=""),
    }


def _answer(found: Sequence[Tokens], means: Sequence[Means], word: str | None) -> list[str]:
    answer = []
    for one, known in zip(found, means, strict=True):
        layer = one.view.layers[-1]
        what = "The same token" if word is None else repr(word)
        parts = []
        for variant, how in ((RAW, ""), (Z_SCORED, "with z-scored dimensions ")):
            same, baseline = known.get((SAME, variant, layer)), known.get((DIFFERENT, variant, layer))
            if same is not None:
                parts.append(
                    f"{how}{stated(same)}" + (f", two different tokens {stated(baseline)}" if baseline else "")
                )
            elif baseline is not None:
                parts.append(f"{how}two different tokens {stated(baseline)}")
        n = max((mean.n for (measure, _, _), mean in known.items() if measure == SAME), default=0)
        head = (
            f"{what} has between {n} sentences a mean cosine of " if n else "No token repeats; the mean cosine is of "
        )
        answer.append(f"{one.view.name}, layer {layer}: {head}{'; '.join(parts)}.")
    return answer


def _notes(num_sentences: int) -> list[str]:
    notes = [
        "Random pairs are two different tokens of different sentences, punctuation left out. In many encoders any two"
        " vectors are alike, so a cosine says something only by how far it stands above theirs, or with z-scored"
        " dimensions.",
        "Z-scored: every dimension less its mean and over its deviation, over all tokens of these sentences in that"
        " layer. Few dimensions then no longer dominate the cosine. With few tokens the scale itself is uncertain.",
        f"{INTERVALS} leaving out one sentence at a time: how far a figure might move with other sentences like these."
        " They do not cover other words or other kinds of text.",
        "A vector of a table of word vectors is the same in every sentence: the word's cosine to itself is 1.",
        WITH_TSNE,
    ]
    if num_sentences < 3:
        notes.insert(0, "Fewer than three sentences: no interval can be given (shown as -1 to 1, or to 2).")
    return notes
