"""The probe: scores the pairs with every model, sets baselines beside them, and says what came of it."""

import csv
import io
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np

from probes.intervals import LEAST_GROUPS, Array
from probes.masked_lm import MaskedLM, open_masked_lm, open_random_masked_lm
from probes.minimal_pairs.accuracy import Figure, difference, mean_over_paradigms, outcomes_of, share
from probes.minimal_pairs.pairs import Pair, read_pairs, sha256_of
from probes.minimal_pairs.scoring import Scoring, score_sentences
from probes.names import RANDOM, baseline_of
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.results import Measure, ModelCard, Results, Role, Score, Table, write_text

ACCURACY = Measure(title="accuracy", unit="share")
FEWER_WORDS = "fewer words"


@dataclass(frozen=True)
class Contestant:
    """Whoever chooses between two sentences: a model or a baseline."""

    name: str
    role: Role
    good: dict[str, Array]
    """Scores of the good sentences of each paradigm; the higher one is chosen."""
    bad: dict[str, Array]
    num_unknown: int = 0
    """Tokens of all sentences that its vocabulary lacks."""

    def outcomes(self, paradigm: str) -> Array:
        return outcomes_of(self.good[paradigm], self.bad[paradigm])


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--pairs", type=Path, required=True, metavar="FILE|FOLDER", help="JSON lines as BLiMP's, or a folder of *.jsonl"
    )
    parser.add_argument(
        "--scoring", choices=get_args(Scoring), default="word_l2r",
        help="word_l2r: a token is masked with the later ones of its word; original: alone [word_l2r]",
    )  # fmt: skip
    parser.add_argument("--most", type=int, metavar="N", help="pairs of each paradigm, the first ones [all]")
    parser.add_argument("--random-weights", action="store_true", help="adds each model's architecture, untrained")


def examine(inquiry: Inquiry, *, pairs: Path, scoring: Scoring, most: int | None, random_weights: bool) -> Results:
    """Accuracy of every model on minimal pairs, by paradigm and field, with differences and baselines.

    Raises:
        ProbeError: as read_pairs and open_masked_lm; layers; a sentence that a model cannot read whole.
    """
    inquiry.refuse_layers("minimal_pairs asks the head, which reads the last one")
    if most is not None and most < 1:
        raise ProbeError(f"--most {most}: expected a number of pairs from 1. Leave it out for all pairs.")
    paradigms = read_pairs(pairs, most=most)
    contestants, cards = _contestants(inquiry, paradigms, scoring, random_weights)
    scores = [score for one in contestants for score in _scores(one, paradigms, inquiry.seed)]
    models = [one for one in contestants if one.role == "model"]
    for first, second in combinations(models, 2):
        scores += _differences(first, second, paradigms, inquiry.seed)
    n = sum(map(len, paradigms.values()))
    scores.append(Score(measure="accuracy", model="chance", role="baseline", value=0.5, low=0.5, high=0.5, n=n))
    _write_sentences(inquiry.out / "minimal_pairs.sentences.csv", paradigms, contestants)
    results = Results(
        probe="minimal_pairs",
        question="Of two similar sentences, does the model find the one that speakers accept more probable?",
        answer=_answer(scores, models, paradigms),
        models=cards,
        measures={"accuracy": ACCURACY},
        headlines=[score for score in scores if score.group is None],
        scores=scores,
        tables=[_paradigm_table(scores, paradigms), _doubts_table(contestants, paradigms)],
        notes=_notes(scoring, len(paradigms)),
        data={
            "file": str(pairs),
            "sha256": sha256_of(pairs),
            "n": n,
            "same sentence twice": sum(pair.good == pair.bad for some in paradigms.values() for pair in some),
            "paradigms": {name: len(some) for name, some in paradigms.items()},
        },
        settings={"scoring": scoring, "most": most, "seed": inquiry.seed},
    )
    if not inquiry.with_pictures:
        return results
    from probes.minimal_pairs.pictures import draw_paradigms

    picture = draw_paradigms(inquiry.out / "minimal_pairs.png", results.scores, paradigms)
    return results.model_copy(update={"pictures": [picture]})


def _contestants(
    inquiry: Inquiry, paradigms: Mapping[str, list[Pair]], scoring: Scoring, random_weights: bool
) -> tuple[list[Contestant], list[ModelCard]]:
    """The models, then the baselines; one model is open at a time."""
    models: list[Contestant] = []
    baselines = [_by_length(FEWER_WORDS, paradigms, lambda sentence: len(sentence.split()))]
    cards = []
    for model in inquiry.models:
        lm = open_masked_lm(model)
        cards.append(model.card(lm.encoder))
        models.append(_judge(model.name, "model", lm, paradigms, scoring))
        num_tokens = _num_tokens(lm, paradigms)
        name = baseline_of("fewer tokens", model.name, inquiry.models)
        baselines.append(_by_length(name, paradigms, num_tokens.__getitem__))
        if random_weights:
            untrained = open_random_masked_lm(model, inquiry.seed)
            name = baseline_of(RANDOM, model.name, inquiry.models)
            baselines.append(_judge(name, "baseline", untrained, paradigms, scoring))
    return [*models, *baselines], cards


def _judge(name: str, role: Role, lm: MaskedLM, paradigms: Mapping[str, list[Pair]], scoring: Scoring) -> Contestant:
    good, bad, num_unknown = {}, {}, 0
    for paradigm, pairs in paradigms.items():
        names = [f"{side} of {pair.place}" for side in ("sentence_good", "sentence_bad") for pair in pairs]
        sentences = [*(pair.good for pair in pairs), *(pair.bad for pair in pairs)]
        scored = score_sentences(lm, sentences, names=names, scoring=scoring)
        good[paradigm], bad[paradigm] = np.split(scored.scores, 2)
        num_unknown += int(scored.num_unknown.sum())
    return Contestant(name, role, good, bad, num_unknown)


def _by_length(name: str, paradigms: Mapping[str, list[Pair]], length: Callable[[str], int]) -> Contestant:
    """Chooses the shorter sentence."""
    good = {name: -np.array([length(pair.good) for pair in pairs], float) for name, pairs in paradigms.items()}
    bad = {name: -np.array([length(pair.bad) for pair in pairs], float) for name, pairs in paradigms.items()}
    return Contestant(name, "baseline", good, bad)


def _num_tokens(lm: MaskedLM, paradigms: Mapping[str, list[Pair]]) -> dict[str, int]:
    sentences = [sentence for pairs in paradigms.values() for pair in pairs for sentence in (pair.good, pair.bad)]
    encoded = lm.network.encode(sentences)
    return {sentence: len(one.offsets) for sentence, one in zip(sentences, encoded, strict=True)}


def _scores(one: Contestant, paradigms: Mapping[str, list[Pair]], seed: int) -> list[Score]:
    """Overall, by field, by paradigm."""
    outcomes = {name: one.outcomes(name) for name in paradigms}

    def mean(names: list[str], draws_paradigms: bool) -> Figure:
        return mean_over_paradigms([outcomes[name] for name in names], seed=seed, draws_paradigms=draws_paradigms)

    return _grouped(one.name, one.role, paradigms, mean, lambda name: share(outcomes[name]))


def _differences(first: Contestant, second: Contestant, paradigms: Mapping[str, list[Pair]], seed: int) -> list[Score]:
    """The same of what the first model's outcomes are above the second's, pair by pair."""
    a, b = ({name: one.outcomes(name) for name in paradigms} for one in (first, second))

    def mean(names: list[str], draws_paradigms: bool) -> Figure:
        return mean_over_paradigms(
            [a[name] for name in names], [b[name] for name in names], seed=seed, draws_paradigms=draws_paradigms
        )

    name = f"{first.name} - {second.name}"
    return _grouped(name, "difference", paradigms, mean, lambda paradigm: difference(a[paradigm], b[paradigm]))


def _grouped(
    name: str,
    role: Role,
    paradigms: Mapping[str, list[Pair]],
    mean: Callable[[list[str], bool], Figure],
    single: Callable[[str], Figure],
) -> list[Score]:
    def score(figure: Figure, group: str | None, variant: str) -> Score:
        return Score(measure="accuracy", model=name, role=role, group=group, variant=variant, **figure._asdict())

    fields: dict[str, list[str]] = {}
    for paradigm, pairs in paradigms.items():
        fields.setdefault(pairs[0].field, []).append(paradigm)
    return [
        score(mean(list(paradigms), True), None, ""),
        *(score(mean(members, False), field, "field") for field, members in fields.items() if field),
        *(score(single(paradigm), paradigm, "paradigm") for paradigm in paradigms),
    ]


def _answer(scores: list[Score], models: list[Contestant], paradigms: Mapping[str, list[Pair]]) -> list[str]:
    whole = {score.model: score for score in scores if score.group is None}
    said = []
    for model in models:
        single = [s for s in scores if s.model == model.name and s.variant == "paradigm"]
        above, below = sum(s.low > 0.5 for s in single), sum(s.high < 0.5 for s in single)
        said.append(
            f"{model.name} finds the accepted sentence more probable in {_percent(whole[model.name])} of the pairs"
            f" (mean over {len(paradigms)} paradigms; chance is 50 %). The interval of {above} paradigms lies above"
            f" chance, that of {below} below."
        )
    said += [
        f"{score.model}: {100 * score.value:+.1f} points [{100 * score.low:+.1f}, {100 * score.high:+.1f}]."
        for score in whole.values()
        if score.role == "difference"
    ]
    baselines = [
        f"{score.model} {_percent(score)}"
        for score in whole.values()
        if score.role == "baseline" and score.model != "chance"
    ]
    return [*said, f"Baselines: {'; '.join(baselines)}."]


def _percent(score: Score) -> str:
    return f"{100 * score.value:.1f} % [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _paradigm_table(scores: list[Score], paradigms: Mapping[str, list[Pair]]) -> Table:
    single = {(s.model, s.group): s for s in scores if s.variant == "paradigm"}
    named = dict.fromkeys(model for model, _ in single)
    rows = [
        [name, pairs[0].field, pairs[0].term, len(pairs), *(round(single[who, name].value, 4) for who in named)]
        for name, pairs in paradigms.items()
    ]
    return Table(
        name="paradigms",
        title="Accuracy by paradigm",
        columns=["paradigm", "field", "term", "pairs", *named],
        rows=rows,
        caption="A tie counts one half. Intervals stand among the scores.",
    )


def _doubts_table(contestants: list[Contestant], paradigms: Mapping[str, list[Pair]]) -> Table:
    n = sum(map(len, paradigms.values()))
    rows: list[list[str | int | float | None]] = [
        [one.name, n, sum(int((one.outcomes(name) == 0.5).sum()) for name in paradigms), one.num_unknown]
        for one in contestants
    ]
    return Table(
        name="ties",
        title="Ties and unknown tokens",
        columns=["who chooses", "pairs", "ties", "unknown tokens"],
        rows=rows,
        caption="Sentences that differ in words unknown to a vocabulary, or in upper case only, are the same to it.",
    )


def _write_sentences(path: Path, paradigms: Mapping[str, list[Pair]], contestants: list[Contestant]) -> None:
    """Every pair with all scores, in nats (of the baselines by length: tokens or words below zero)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sides = [f"{one.name}: {side}" for one in contestants for side in ("good", "bad")]
    writer.writerow(["paradigm", "sentence_good", "sentence_bad", *sides])
    for name, pairs in paradigms.items():
        for row, pair in enumerate(pairs):
            found = [round(float(side[name][row]), 6) for one in contestants for side in (one.good, one.bad)]
            writer.writerow([name, pair.good, pair.bad, *found])
    write_text(path, text.getvalue())


def _notes(scoring: Scoring, num_paradigms: int) -> list[str]:
    how = (
        "a token is masked together with the later pieces of its own word (PLL-word-l2r, Kauf & Ivanova 2023)"
        if scoring == "word_l2r"
        else "one token is masked at a time (Salazar et al. 2020)"
    )
    return [
        f"A sentence scores the sum of its tokens' log probabilities, each where it is masked: {how}. It is not divided"
        " by the length; the baselines by length say how far length alone would go.",
        "A tie counts one half, and so does a pair that is the same sentence twice. Chance is 50 % by construction.",
        f"The mean over the {num_paradigms} paradigms weighs each alike. {_over(num_paradigms)} That of a field draws"
        " pairs only, since it has few paradigms; that of a paradigm is Wilson's, for other pairs made by the same"
        " template.",
        "Pairs of a paradigm share templates and words, so they are less than independent, which no interval covers.",
        "Where the layers are computed in bfloat16, scores move by up to a tenth of a nat, which decides pairs that are"
        " nearly tied by chance; --precision float32 leaves that out.",
        "Differences are taken pair by pair on the same pairs: their intervals are paired.",
        "Frequencies of words in a model's training text are not known here, so there is no unigram baseline.",
    ]


def _over(num_paradigms: int) -> str:
    """What the interval of the mean is for."""
    if num_paradigms >= LEAST_GROUPS:
        return (
            "Its interval draws whole paradigms, widened by Student's quantile since they are few, so it is for other"
            " paradigms of the kind."
        )
    return (
        f"Fewer than {LEAST_GROUPS} paradigms say next to nothing about others: its interval draws pairs only and is"
        " for other pairs made by the same templates."
    )


PROBE = Probe(
    "of two sentences, is the grammatical one more probable? by paradigm, with intervals", add_arguments, examine
)
