"""How fast are vectors had from each model? Throughput and latency, measured in turns, with parameters and FLOPs.

    python -m probes speed MODEL... [--sentences FILE]

Each round times every way once, in the same order, so that what else the machine does falls on all of them; the first
round warms up and is left out. All models are open at the same time.
"""

import platform
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes.embedders import Embedder
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.lines import read_text, split_lines
from probes.results import Measure, ModelCard, Results, Score, Table
from probes.source import Source
from probes.usages import BUILT_IN, read_usages

LEAST_ROUNDS = 3
MEASURES = {
    "sentences_per_second": Measure(title="sentences", unit="per_second"),
    "tokens_per_second": Measure(title="tokens", unit="per_second"),
    "latency": Measure(title="one sentence alone", unit="seconds", is_better="lower"),
    "speedup": Measure(title="batched, times as fast as a loop of single transformers calls", unit="ratio"),
    "throughput_ratio": Measure(title="sentences per second, one model over another", unit="ratio", is_better=""),
    "parameters": Measure(title="parameters", unit="count", is_better=""),
    "flops": Measure(title="floating-point operations a token", unit="count", is_better=""),
}

Ways = Mapping[str, Callable[[], object]]
Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Median over rounds with an interval for it."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]


@dataclass(frozen=True)
class Timed:
    """A model and the seconds of each round, over all sentences."""

    card: ModelCard
    num_tokens: int
    """Of all sentences, special ones included."""
    flops: float | None
    """Of the forward pass, a token; None for word vectors."""
    is_bfloat16: bool
    batched: Seconds
    single: Seconds
    """One sentence a call."""
    loop: Seconds | None
    """The same by plain transformers calls; None for word vectors."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sentences", type=Path, metavar="FILE", help="a sentence a line [the built-in senses']")
    parser.add_argument("--most", type=int, default=100, metavar="N", help="sentences that are read, the first [100]")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="sentences of one pass [as many as suit the processor]"
    )
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="after one that warms up [10]")


def examine(
    inquiry: Inquiry, *, sentences: Path | None, most: int, batch_size: int | None, rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Results:  # fmt: skip
    """Throughput and latency of every model, and ratios of each two, round by round.

    Args:
        clock: gives seconds.

    Raises:
        ProbeError: layers; a file without sentences; fewer than LEAST_ROUNDS rounds.
    """
    import torch

    inquiry.refuse_layers("speed times the way to the last one")
    if rounds < LEAST_ROUNDS or most < 1 or (batch_size is not None and batch_size < 1):
        raise ProbeError(
            f"--rounds {rounds} --most {most} --batch-size {batch_size}: expected at least {LEAST_ROUNDS} rounds, one"
            " sentence and one sentence a pass."
        )
    texts = read_sentences(sentences, most=most)
    timed = _timed(inquiry, texts, batch_size=batch_size, rounds=rounds, clock=clock)
    scores = _scores(timed, len(texts))
    return Results(
        probe="speed",
        question="How many sentences does the model turn into vectors a second?",
        answer=_answer(scores, timed, len(texts)),
        models=[one.card for one in timed],
        measures={key: one for key, one in MEASURES.items() if any(score.measure == key for score in scores)},
        headlines=scores,
        scores=scores,
        tables=[_table(timed, len(texts)), _rounds_table(timed)],
        notes=_notes(),
        data={"file": str(sentences) if sentences else "the sentences of the built-in senses", "n": len(texts)},
        settings={
            "rounds": rounds, "batch size": batch_size, "threads": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
            "precision": {one.card.name: "bfloat16" if one.is_bfloat16 else "float32" for one in timed},
        },
    )  # fmt: skip


def read_sentences(path: Path | None, *, most: int) -> list[str]:
    """The first lines of a file that are not empty; None: the built-in sentences."""
    if path is None:
        return [usage.sentence for usage in read_usages(BUILT_IN)][:most]
    lines = split_lines(read_text(path, expected="a sentence a line"))
    found = [line.strip() for line in lines if line.strip()][:most]
    if not found:
        raise ProbeError(f"--sentences {path} is empty, expected a sentence a line. Check the file.")
    return found


def take_turns(ways: Ways, *, rounds: int, clock: Callable[[], float]) -> dict[str, Seconds]:
    """The seconds of every way in each round, (rounds,) float64; a round before these warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, do in ways.items():
            began = clock()
            do()
            seconds[name].append(clock() - began)
    return {name: np.array(found[1:]) for name, found in seconds.items()}


def spread_of(values: Seconds) -> Spread:
    """Median, quartiles, and a 95 % interval for the median from order statistics (David & Nagaraja 2003, section 7.1).

    It assumes nothing of how times are distributed. Fewer than 6 values cannot give one, so all of them are in it.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    # The most values that may be cut off at each end.
    cut = max(int(binom.ppf(0.025, len(ordered), 0.5)), 1) - 1
    low, high = ordered[cut], ordered[-1 - cut]
    first, third = np.quantile(ordered, [0.25, 0.75])
    return Spread(float(np.median(ordered)), float(low), float(high), (float(first), float(third)))


def loop_of_single_calls(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """What one would write without an extractor: for each text the tokenizer, the model in float32 and the mean over
    the last layer, (N, D). The extractor is measured against it."""
    import torch

    tokenizer, model = embedder.tokenizer, embedder.model
    found = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=embedder.max_length)
        given = {key: inputs[key].to(embedder.device) for key in [*embedder.network.keys, "attention_mask"]}
        with torch.no_grad():
            found.append(model(**given).last_hidden_state[0].mean(0).cpu().numpy())
    return np.stack(found)


def count_flops(embedder: Embedder, texts: Sequence[str]) -> float:
    """Floating-point operations of the forward pass a token (special ones included), of these texts one by one: the
    matrix products, attention among them, a multiplication and an addition each; without what is done to each number
    alone (normalization, activations)."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    encoded = embedder.network.encode(texts)
    # The kernels that are fast on a processor are not known to the counter; their plain form is.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for one in encoded:
            embedder.model(**embedder.network.padded([one.inputs]))
    return float(counter.get_total_flops()) / sum(len(one.offsets) for one in encoded)


def _timed(
    inquiry: Inquiry, texts: list[str], *, batch_size: int | None, rounds: int, clock: Callable[[], float]
) -> list[Timed]:
    sources = [model.open() for model in inquiry.models]
    ways: dict[str, Callable[[], object]] = {}
    for number, source in enumerate(sources):
        ways |= {f"{number} {way}": do for way, do in _ways(source, texts, batch_size).items()}
    seconds = take_turns(ways, rounds=rounds, clock=clock)
    timed = []
    for number, (model, source) in enumerate(zip(inquiry.models, sources, strict=True)):
        embedder = source if isinstance(source, Embedder) else None
        encoded = embedder.network.encode(texts) if embedder else []
        timed.append(
            Timed(
                model.card(source),
                sum(len(one.offsets) for one in encoded) if embedder else sum(map(len, source.token_spans(texts))),
                count_flops(embedder, texts) if embedder else None,
                embedder is not None and embedder.is_bfloat16,
                seconds[f"{number} batched"],
                seconds[f"{number} single"],
                seconds.get(f"{number} loop"),
            )
        )
    return timed


def _ways(source: Source, texts: list[str], batch_size: int | None) -> dict[str, Callable[[], object]]:
    """What is timed of a model: all take the last layer and the mean over tokens."""
    layers = [source.num_layers]

    def single() -> None:
        for text in texts:
            source.embed_texts([text], layers=layers)

    if not isinstance(source, Embedder):
        return {"batched": lambda: source.embed_texts(texts, layers=layers), "single": single}
    return {
        "batched": lambda: source.embed_texts(texts, layers=layers, batch_size=batch_size),
        "single": single,
        "loop": lambda: loop_of_single_calls(source, texts),
    }


def _scores(timed: list[Timed], n: int) -> list[Score]:
    """Medians over the rounds; n is the number of rounds."""
    scores = []
    for one in timed:
        name = one.card.name
        scores.append(_score("sentences_per_second", name, n / one.batched))
        scores.append(_score("tokens_per_second", name, one.num_tokens / one.batched))
        scores.append(_score("latency", name, one.single / n))
        if one.loop is not None:
            scores.append(_score("speedup", name, one.loop / one.batched))
        scores.append(_exact("parameters", name, one.card.num_parameters))
        if one.flops is not None:
            scores.append(_exact("flops", name, one.flops))
    for a, b in combinations(timed, 2):
        ratio = _score("throughput_ratio", f"{a.card.name} / {b.card.name}", b.batched / a.batched)
        scores.append(ratio.model_copy(update={"role": "difference"}))
    return scores


def _score(measure: str, model: str, values: Seconds) -> Score:
    spread = spread_of(values)
    return Score(measure=measure, model=model, value=spread.median, low=spread.low, high=spread.high, n=len(values))


def _exact(measure: str, model: str, value: float) -> Score:
    return Score(measure=measure, model=model, value=value, low=value, high=value, n=1)


def _table(timed: list[Timed], n: int) -> Table:
    rows: list[list[str | int | float | None]] = []
    for one in timed:
        rates, alone = spread_of(n / one.batched), spread_of(1000 * one.single / n)
        speedup = None if one.loop is None else round(spread_of(one.loop / one.batched).median, 2)
        rows.append(
            [
                one.card.name, "bfloat16" if one.is_bfloat16 else "float32", round(rates.median, 1),
                *(round(q, 1) for q in rates.quartiles), round(one.num_tokens * rates.median / n, 1),
                round(alone.median, 3), *(round(q, 3) for q in alone.quartiles), speedup, one.card.num_parameters,
                None if one.flops is None else round(one.flops / 1e6, 3),
            ]
        )  # fmt: skip
    columns = [
        "model", "precision", "sentences/s", "lower quartile", "upper quartile", "tokens/s", "one sentence, ms",
        "lower quartile, ms", "upper quartile, ms", "times a loop", "parameters", "MFLOPs a token",
    ]  # fmt: skip
    return Table(name="models", title="Speed", columns=columns, rows=rows, caption="Medians over the rounds.")


def _rounds_table(timed: list[Timed]) -> Table:
    rows: list[list[str | int | float | None]] = [
        [one.card.name, way, number, round(float(seconds), 6)]
        for one in timed
        for way, found in (("batched", one.batched), ("one by one", one.single), ("transformers loop", one.loop))
        if found is not None
        for number, seconds in enumerate(found, 1)
    ]
    return Table(name="rounds", title="Seconds of each round", columns=["model", "way", "round", "seconds"], rows=rows)


def _answer(scores: list[Score], timed: list[Timed], n: int) -> list[str]:
    found = {(score.model, score.measure): score for score in scores}
    said = []
    for one in timed:
        name = one.card.name
        rate, alone = found[name, "sentences_per_second"], found[name, "latency"]
        text = (
            f"{name}: {rate.value:,.0f} sentences a second in batches [{rate.low:,.0f}, {rate.high:,.0f}], of"
            f" {one.num_tokens / n:.1f} tokens on average; {1000 * alone.value:.2f} ms for one alone"
        )
        if (speedup := found.get((name, "speedup"))) is not None:
            text += f"; {speedup.value:.1f} times as fast as a loop of single transformers calls"
        said.append(f"{text}.")
    said += [f"{score.model}: {score.value:.2f} times as fast." for score in scores if score.role == "difference"]
    return said


def _notes() -> list[str]:
    return [
        "Figures are medians over the rounds (n). Every round times each way of each model once, in turn; the interval"
        " is for the median, by order statistics, and covers how rounds of this call differ, not other machines.",
        "Batched: the extractor on all sentences at once, tokenizing included, last layer, mean over tokens. One alone:"
        " the extractor, a sentence a call. Loop: tokenizer and model of transformers, a sentence a call, in float32.",
        "Ratios are taken round by round, so load that lasts longer than a round falls out of them.",
        "FLOPs are of the matrix products of the forward pass, attention included, on these sentences without padding.",
        "Parameters are those of the encoder without heads, embeddings included, which cost hardly any FLOPs.",
    ]


PROBE = Probe("how fast are vectors had? throughput, latency, parameters and FLOPs, in turns", add_arguments, examine)
