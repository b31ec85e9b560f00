"""What stands at [MASK]? The most probable tokens of masked language models, side by side.

    python -m probes fill MODEL... --sentence "The [MASK] flows into the sea." [--expect river]

`[MASK]` stands for the model's own mask token (`<mask>` in RoBERTa's tokenizer). Several masks of a sentence are asked
one by one while all of them are masked, as transformers' fill-mask pipeline does.
"""

# M masks of all sentences, V vocabulary

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probes.intervals import NUM_RESAMPLES, percentiles
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.lines import read_text, split_lines
from probes.results import Cell, Measure, Results, Role, Score, Table

if TYPE_CHECKING:
    from probes.masked_lm import MaskedLM, Question

MASK = "[MASK]"
MEASURES = {
    "top_probability": Measure(title="probability of the first token", unit="probability", is_better=""),
    "entropy": Measure(title="entropy", unit="bits", is_better=""),
    "probability": Measure(title="probability of the expected word", unit="probability"),
    "is_first": Measure(title="expected word is the first", unit="share"),
    "rank": Measure(title="rank of the expected word", unit="count", is_better="lower"),
}
"""The last three where a word is expected."""


@dataclass(frozen=True)
class Blank:
    """One mask of a sentence."""

    sentence: str
    number: int
    """Of the mask among those of its sentence, from 1."""
    expected: tuple[str, ...]
    """Words whose probability is asked for."""

    @property
    def name(self) -> str:
        return f"{self.sentence} (mask {self.number})" if self.sentence.count(MASK) > 1 else self.sentence


@dataclass(frozen=True)
class Guess:
    """What a model says of a word at a mask."""

    blank: Blank
    word: str
    probability: float
    rank: int
    """1 for the most probable token."""


@dataclass(frozen=True)
class Filled:
    """What a model says of all masks."""

    model: str
    top: list[list[tuple[str, float]]]
    """Of each mask the most probable tokens and their probabilities."""
    entropy: list[float]
    """Of each mask, in bits."""
    guesses: list[Guess]
    in_pieces: list[tuple[Blank, str]]
    """Expected words that are no single token of this vocabulary at this place."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--sentence", action="append", default=[], metavar="TEXT", dest="sentences", help="with [MASK]; repeatable"
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="a sentence a line, and optionally a tab and the word expected there"
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="WORD", dest="expected",
        help="its probability and rank at every mask as well; repeatable",
    )  # fmt: skip
    parser.add_argument("--top", type=int, default=10, metavar="N", help="tokens shown of each mask [10]")


def examine(inquiry: Inquiry, *, sentences: list[str], file: Path | None, expected: list[str], top: int) -> Results:
    """The most probable tokens at each mask by every model, and the probability and rank of expected words.

    Raises:
        ProbeError: no sentence, a sentence without [MASK], an empty word, layers, a model without a head of masked
            language modelling.
    """
    from probes.masked_lm import open_masked_lm

    inquiry.refuse_layers("fill asks the head, which reads the last one")
    if any(not word.strip() for word in expected):
        raise ProbeError("--expect: got an empty word, expected one that may stand at [MASK]. Name it.")
    if top < 1:
        raise ProbeError(f"--top {top}: expected a number of tokens from 1.")
    lines = [*((sentence, ()) for sentence in sentences), *(_read(file) if file else ())]
    blanks = _blanks(lines, tuple(word.strip() for word in expected))
    filled, cards = [], []
    for model in inquiry.models:
        lm = open_masked_lm(model)
        cards.append(model.card(lm.encoder))
        filled.append(fill(lm, blanks, name=model.name, top=top))
    headlines, singles = _scores(filled, blanks, inquiry.seed)
    is_expecting = any(blank.expected for blank in blanks)
    return Results(
        probe="fill",
        question="Which tokens does the model expect at [MASK]?",
        answer=_answer(filled, blanks, headlines),
        models=cards,
        measures={key: one for key, one in MEASURES.items() if is_expecting or key in ("top_probability", "entropy")},
        headlines=headlines,
        scores=[*headlines, *singles],
        tables=[_top_table(blanks, filled, number) for number in range(len(blanks))] + _expected_tables(blanks, filled),
        notes=_notes(filled),
        data={"file": str(file) if file else None, "n": len(blanks), "sentences": [line for line, _ in lines]},
        settings={"top": top, "expected": expected, "seed": inquiry.seed},
    )


def fill(lm: "MaskedLM", blanks: Sequence[Blank], *, name: str, top: int) -> Filled:
    """What a model says of each mask.

    Args:
        lm: the model.
        blanks: M masks.
        name: of the model.
        top: tokens of each mask to give back.
    """
    log_MV = lm.distributions([_question(lm, blank) for blank in blanks])
    tokenizer = lm.network.tokenizer
    best, entropy = [], []
    guesses: list[Guess] = []
    in_pieces: list[tuple[Blank, str]] = []
    for blank, log_V in zip(blanks, log_MV.astype(np.float64), strict=True):
        order = np.argsort(-log_V, kind="stable")[:top]
        best.append([(tokenizer.decode([int(token)]), float(np.exp(log_V[token]))) for token in order])
        entropy.append(float(-(np.exp(log_V) * log_V).sum() / np.log(2)))
        for word in blank.expected:
            token = _token(lm, blank, word)
            if token is None:
                in_pieces.append((blank, word))
            else:
                rank = int((log_V > log_V[token]).sum()) + 1
                guesses.append(Guess(blank, word, float(np.exp(log_V[token])), rank))
    return Filled(name, best, entropy, guesses, in_pieces)


def _question(lm: "MaskedLM", blank: Blank) -> "Question":
    from probes.masked_lm import Question

    (one,) = lm.encode([blank.sentence.replace(MASK, lm.mask_token)], names=["the sentence"])
    masks = [at for at, token in enumerate(one.inputs["input_ids"]) if token == lm.mask_id]
    return Question(one.inputs, masks[blank.number - 1])


def _token(lm: "MaskedLM", blank: Blank, word: str) -> int | None:
    """The id of the token that the word is where the mask stands; None: it is none, or several, or unknown.

    Found by writing the word into the sentence, so that case, accents and the space before it are the tokenizer's.
    """
    question = _question(lm, blank)
    parts = blank.sentence.split(MASK)
    begin, end = MASK.join(parts[: blank.number]), MASK.join(parts[blank.number :])
    (written,) = lm.network.encode([f"{begin}{word}{end}".replace(MASK, lm.mask_token)])
    before, after = question.inputs["input_ids"], written.inputs["input_ids"]
    differing = [at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b]
    if len(before) != len(after) or differing != [question.position]:
        return None
    token = after[question.position]
    return None if token == lm.network.tokenizer.unk_token_id else token


def _read(file: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Lines of a sentence and the words expected in it."""
    lines = split_lines(read_text(file, expected="a sentence a line"))
    cells = [line.split("\t") for line in lines if line.strip()]
    return [(first, tuple(word.strip() for word in words if word.strip())) for first, *words in cells]


def _blanks(lines: Sequence[tuple[str, tuple[str, ...]]], expected: tuple[str, ...]) -> list[Blank]:
    if not lines:
        raise ProbeError('got no sentence, expected one with [MASK]. Give --sentence "The [MASK] flows." or --file.')
    for number, (sentence, _) in enumerate(lines, 1):
        if MASK not in sentence:
            raise ProbeError(
                f"sentence {number} ({sentence!r}) has no [MASK], expected one or more. Write [MASK] where a word is"
                " asked for, whatever the model calls it."
            )
    return [
        Blank(sentence, number, tuple(dict.fromkeys([*words, *expected])))
        for sentence, words in lines
        for number in range(1, sentence.count(MASK) + 1)
    ]


def _scores(filled: list[Filled], blanks: list[Blank], seed: int) -> tuple[list[Score], list[Score]]:
    """Means over masks (of expected words: over words at masks), and the figures of each mask.

    There is no difference of a single value: it has no interval, and one mask decides nothing between two models.
    """
    means, singles = [], []
    for one in filled:
        tops = [best[0][1] for best in one.top]
        for measure, values in (("top_probability", tops), ("entropy", one.entropy)):
            means.append(_mean(measure, one.model, values, seed))
            singles += [_single(measure, one.model, blank.name, v) for blank, v in zip(blanks, values, strict=True)]
        if one.guesses:
            means.append(_mean("probability", one.model, [guess.probability for guess in one.guesses], seed))
            means.append(_mean("is_first", one.model, [float(guess.rank == 1) for guess in one.guesses], seed))
        for guess in one.guesses:
            group = f"{guess.blank.name}: {guess.word}"
            singles.append(_single("probability", one.model, group, guess.probability))
            singles.append(_single("rank", one.model, group, guess.rank))
    for first, second in combinations(filled, 2):
        a, b = ({(g.blank, g.word): g.probability for g in one.guesses} for one in (first, second))
        gaps = [a[key] - b[key] for key in a if key in b]
        if len(gaps) > 1:
            means.append(_mean("probability", f"{first.model} - {second.model}", gaps, seed, role="difference"))
    return means, singles


def _mean(measure: str, model: str, values: Sequence[float], seed: int, *, role: Role = "model") -> Score:
    """With a percentile bootstrap over the values, that of a share Wilson's; a single value has none."""
    from probes.minimal_pairs.accuracy import share

    found = np.asarray(values, float)
    low, high = found[0], found[0]
    if len(found) > 1 and measure == "is_first":
        _, low, high, _ = share(found)
    elif len(found) > 1:
        drawn = np.random.default_rng(seed).integers(len(found), size=(NUM_RESAMPLES, len(found)))
        low, high = percentiles(found[drawn].mean(axis=1))
    value = float(found.mean())
    low, high = min(float(low), value), max(float(high), value)
    return Score(measure=measure, model=model, role=role, value=value, low=low, high=high, n=len(found))


def _single(measure: str, model: str, group: str, value: float) -> Score:
    return Score(measure=measure, model=model, group=group, value=value, low=value, high=value, n=1)


def _top_table(blanks: list[Blank], filled: list[Filled], number: int) -> Table:
    columns = [column for one in filled for column in (f"{one.model}: token", f"{one.model}: probability")]
    longest = max(len(one.top[number]) for one in filled)
    rows: list[list[Cell]] = []
    for rank in range(longest):
        cells: list[Cell] = [rank + 1]
        for one in filled:
            token, probability = one.top[number][rank] if rank < len(one.top[number]) else (None, None)
            cells += [token, None if probability is None else round(probability, 6)]
        rows.append(cells)
    return Table(name=f"top-{number + 1}", title=blanks[number].name, columns=["rank", *columns], rows=rows)


def _expected_tables(blanks: list[Blank], filled: list[Filled]) -> list[Table]:
    """One table of all expected words, where there are any."""
    asked = [(blank, word) for blank in blanks for word in blank.expected]
    if not asked:
        return []
    found = [{(guess.blank, guess.word): guess for guess in one.guesses} for one in filled]
    rows: list[list[Cell]] = []
    for blank, word in asked:
        cells: list[Cell] = [blank.name, word]
        for guesses in found:
            guess = guesses.get((blank, word))
            cells += [round(guess.probability, 6), guess.rank] if guess else [None, None]
        rows.append(cells)
    columns = [column for one in filled for column in (f"{one.model}: probability", f"{one.model}: rank")]
    caption = "Empty: the word is no single token of that model's vocabulary there."
    return [
        Table(
            name="expected", title="Expected words", columns=["sentence", "word", *columns], rows=rows, caption=caption
        )
    ]


def _answer(filled: list[Filled], blanks: list[Blank], headlines: list[Score]) -> list[str]:
    said = [
        f"{one.model} gives the {score.n} expected words a mean probability of {score.value:.4f} [{score.low:.4f},"
        f" {score.high:.4f}]."
        if score.n > 1
        else f"{one.model} gives {one.guesses[0].word!r} a probability of {score.value:.4f}; one word at one mask has"
        " no interval."
        for one in filled
        for score in headlines
        if score.model == one.model and score.measure == "probability"
    ]
    for number, blank in enumerate(blanks[:3]):
        for one in filled:
            tokens = ", ".join(f"{token.strip()!r} {probability:.3f}" for token, probability in one.top[number][:3])
            said.append(f"{blank.name}: {one.model} says {tokens}.")
    return said


def _notes(filled: list[Filled]) -> list[str]:
    notes = [
        "Probabilities are over single tokens of a model's vocabulary, so those of models with different vocabularies"
        " are not of the same choice.",
        "Several masks of a sentence are asked one by one while all of them are masked.",
        "Means are over the masks (or expected words) given, with a bootstrap over them (of a share: Wilson's interval)"
        "; words at one mask count as independent, which they are not. A figure of one mask says nothing of others: it"
        " has no interval, and models are not compared by it.",
    ]
    for one in filled:
        if one.in_pieces:
            words = ", ".join(dict.fromkeys(word for _, word in one.in_pieces))
            notes.append(
                f"No single token of {one.model} where they were expected, and left out of its means: {words}."
            )
    return notes


PROBE = Probe("what stands at [MASK]? the most probable tokens, models side by side", add_arguments, examine)
