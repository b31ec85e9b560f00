"""Senses of a word: are sentences with the same sense nearer to each other than sentences with another one?

Two measures, by layer and by word. Accuracy: the share of sentences whose nearest neighbour by cosine, among the other
sentences with that word, has the same sense (leave one out; near ties count by their share). Difference of cosine: the
mean to sentences of the same sense minus the mean to those of other senses. Beside them, in the same table: the same
architecture with random weights, the word's static vector, the majority sense and chance.
"""

# N sentences, n sentences of one word, K layers, D hidden size

import hashlib
import shlex
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes import sense_pictures, sense_words
from probes.embedders import Embedder, Vectors
from probes.intervals import CONFIDENCE, NUM_RESAMPLES, Array, resample_counts, weighted_mean
from probes.probe import (
    Measure,
    Probe,
    ProbeError,
    Score,
    default_out,
    make_folder,
    model_folder,
    model_name,
    versions,
    write_json,
)
from probes.sense_words import BEST_DIFFERENCE, CHANCE, DIFFERENCE, MAJORITY, MODEL, RANDOM, STATIC
from probes.usages import BUILT_IN, Usage, read_usages

MEASURES = {
    "accuracy": Measure("Nearest neighbour has the same sense", "share"),
    "same_minus_different": Measure("Cosine to the same sense minus to other senses", "cosine"),
}
BY_LAYER = (MODEL, RANDOM, DIFFERENCE)
"""The others are the same at every layer."""

TIE = 1e-6
"""Cosines this near to the greatest count as equal: float32 vectors do not tell them apart."""

Outcomes = dict[str, Array]
"""Measure -> (K, N) float64, one outcome per layer and sentence."""


@dataclass(frozen=True)
class Design:
    """What is the same for every model of a call: the sentences, how they weigh, how they are resampled."""

    usages: list[Usage]
    seed: int
    counts: NDArray[np.int64]
    """(R, N) how often each resample draws each sentence."""

    @classmethod
    def of(cls, usages: list[Usage], seed: int) -> "Design":
        strata = np.unique([f"{u.word}\t{u.sense}" for u in usages], return_inverse=True)[1]
        return cls(usages, seed, resample_counts(strata, rng=np.random.default_rng(seed)))

    @property
    def words(self) -> list[str]:
        return list(dict.fromkeys(usage.word for usage in self.usages))

    def rows(self, word: str) -> list[int]:
        return [row for row, usage in enumerate(self.usages) if usage.word == word]

    def weights(self, word: str | None) -> Array:
        """(N,) weights that sum to 1: even over the word's sentences, or (None) every word the same in total."""
        words = self.words if word is None else [word]
        weights = np.zeros(len(self.usages))
        for one in words:
            rows = self.rows(one)
            weights[rows] = 1 / (len(rows) * len(words))
        return weights


def score_word(vectors_KnD: Vectors, usages: Sequence[Usage]) -> Outcomes:
    """The outcomes of one word's sentences, (K, n) for each measure.

    Args:
        vectors_KnD: the word's vectors in its sentences.
        usages: these sentences, in the same order.
    """
    cosines = cosine_matrix(vectors_KnD)
    senses = np.array([usage.sense for usage in usages])
    same = senses[:, None] == senses[None, :]
    comparable = np.array([[one.comparable(other) for other in usages] for one in usages])
    candidates = np.where(comparable, cosines, -np.inf)
    nearest = candidates >= candidates.max(axis=2, keepdims=True) - TIE
    accuracy = (nearest & same).sum(axis=2) / nearest.sum(axis=2)

    def mean_over(pairs: NDArray[np.bool_]) -> Array:
        mean: Array = (cosines * pairs).sum(axis=2) / pairs.sum(axis=1)
        return mean

    return {
        "accuracy": accuracy,
        "same_minus_different": mean_over(comparable & same) - mean_over(comparable & ~same),
    }


def cosine_matrix(vectors_KnD: Vectors) -> Array:
    """(K, n, n) float64 cosines of every two sentences, layer by layer; a vector of zeros has cosine 0 to all."""
    vectors = vectors_KnD.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    unit = vectors / np.where(lengths == 0, 1, lengths)
    cosines: Array = unit @ unit.transpose(0, 2, 1)
    return cosines


def score(vectors_KND: Vectors, design: Design) -> Outcomes:
    """The outcomes of every sentence of the table, (K, N) for each measure."""
    outcomes = {measure: np.empty((len(vectors_KND), len(design.usages))) for measure in MEASURES}
    for word in design.words:
        rows = design.rows(word)
        for measure, found in score_word(vectors_KND[:, rows], [design.usages[row] for row in rows]).items():
            outcomes[measure][:, rows] = found
    return outcomes


def guesses(design: Design) -> dict[str, Outcomes]:
    """The baselines that look at no vector: always the word's commonest sense, and an even guess among its senses."""
    majority, chance = np.zeros((1, len(design.usages))), np.zeros((1, len(design.usages)))
    for word in design.words:
        rows = design.rows(word)
        sizes = Counter(design.usages[row].sense for row in rows)
        commonest = [sense for sense, size in sizes.items() if size == max(sizes.values())]
        for row in rows:
            majority[0, row] = (design.usages[row].sense in commonest) / len(commonest)
            chance[0, row] = 1 / len(sizes)
    return {MAJORITY: {"accuracy": majority}, CHANCE: {"accuracy": chance}}


def tabulate(outcomes: dict[str, Outcomes], layers: Sequence[int], design: Design) -> list[Score]:
    """Every score of one model: by measure, by whose vectors, by word (None: all) and by layer."""
    scores = []
    for word in (None, *design.words):
        weights = design.weights(word)
        for vectors, by_measure in outcomes.items():
            for measure, per_sentence in by_measure.items():
                found = weighted_mean(
                    per_sentence,
                    weights=weights,
                    counts=design.counts,
                    is_share=measure == "accuracy" and vectors in (MODEL, RANDOM),
                    is_pairwise=measure == "same_minus_different",
                )
                n = int((weights > 0).sum())
                scores += [
                    Score(measure, vectors, word, layer, float(value), float(low), float(high), n)
                    for layer, value, low, high in zip(
                        layers if vectors in BY_LAYER else [None], found.value, found.low, found.high, strict=True
                    )
                ]
    return scores


def best_index(accuracy_KN: Array, design: Design) -> int:
    """Index of the layer with the greatest accuracy over all words, the lowest among equals."""
    return int(np.argmax(np.round(accuracy_KN @ design.weights(None), 9)))


def examine(folder: Path, design: Design, *, layers: Sequence[int] | None, name: str, out: Path) -> dict[str, Any]:
    """One model's part of the results, as it stands in senses.json; its pictures are written to `out`."""
    embedder = Embedder.from_folder(folder)
    sentences, spans = [u.sentence for u in design.usages], [u.span for u in design.usages]
    trained_KND = embedder.embed(sentences, spans, layers=layers)
    shown = list(range(embedder.num_layers + 1)) if layers is None else list(layers)
    random_KND = Embedder.random(folder, design.seed).embed(sentences, spans, layers=layers)
    outcomes = {MODEL: score(trained_KND, design), RANDOM: score(random_KND, design)}
    outcomes[DIFFERENCE] = {m: outcomes[MODEL][m] - outcomes[RANDOM][m] for m in MEASURES}
    best, best_random = (best_index(outcomes[v]["accuracy"], design) for v in (MODEL, RANDOM))
    at_best = outcomes[MODEL]["accuracy"][[best]] - outcomes[RANDOM]["accuracy"][[best_random]]
    outcomes[BEST_DIFFERENCE] = {"accuracy": at_best}
    outcomes[STATIC] = score(embedder.static(sentences, spans)[None], design)
    outcomes.update(guesses(design))
    scores = tabulate(outcomes, shown, design)
    summary = {"best_layer": shown[best], "best_layer_of_random_weights": shown[best_random], "last_layer": shown[-1]}
    return {
        "name": name,
        "path": str(folder),
        "model_type": embedder.model.config.model_type,
        "num_layers": embedder.num_layers,
        "hidden_size": trained_KND.shape[2],
        "num_parameters": embedder.num_parameters,
        "layers": shown,
        **summary,
        "findings": sense_words.findings(scores, words=design.words, **summary),
        "scores": [asdict(one) for one in scores],
        "pictures": sense_pictures.draw(
            scores,
            trained=trained_KND[best],
            random=random_KND[best],
            usages=design.usages,
            layer=shown[best],
            name=name,
            out=out,
            seed=design.seed,
        ),
    }


def run(
    models: Sequence[str | Path],
    *,
    out: Path | None = None,
    sentences: Path | None = None,
    layers: Sequence[int] | None = None,
    seed: int = 0,
) -> Path:
    """Probe the models and write senses.json with its pictures beside it; returns that file.

    Args:
        models: transformers folders, or runs and checkpoints that hold one.
        out: folder for the results; None: RUN/probes for the model of a run, else probes-out.
        sentences: a table as in probes.usages; None: the built-in one.
        layers: which layers, 0 being the embedding layer's output; None: all.
        seed: of the random weights, the resamples and t-SNE.

    Raises:
        ProbeError: a folder that is no model, a faulty table, a layer that a model does not have.
    """
    if not models:
        raise ProbeError("senses: got no model. Expected one folder or more: python -m probes senses MODEL...")
    layers = None if layers is None else sorted(set(layers))
    table = sentences or BUILT_IN
    usages = read_usages(table)
    folders = [model_folder(model) for model in models]
    out = make_folder(out or default_out(folders))
    design = Design.of(usages, seed)
    names = _different([model_name(folder) for folder in folders])
    results = {
        "probe": "senses",
        "question": "Are sentences with the same sense of a word nearer to each other than those with another sense?",
        "command": _command(models, sentences=sentences, layers=layers, out=out, seed=seed),
        "versions": versions(),
        "settings": {
            "seed": seed,
            "confidence": CONFIDENCE,
            "num_resamples": NUM_RESAMPLES,
            "interval": "bootstrap of per-sentence outcomes, stratified by word and sense; twice the deviation for"
            " means over pairs",
            "tie": TIE,
        },
        "sentences": {
            "file": "built in" if sentences is None else str(sentences),
            "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
            "n": len(usages),
            "words": {word: dict(Counter(usages[row].sense for row in design.rows(word))) for word in design.words},
        },
        "measures": {key: asdict(measure) for key, measure in MEASURES.items()},
        "notes": sense_words.NOTES,
        "models": [
            examine(folder, design, layers=layers, name=name, out=out)
            for folder, name in zip(folders, names, strict=True)
        ],
    }
    path = out / "senses.json"
    write_json(path, results)
    return path


def _different(names: list[str]) -> list[str]:
    """The names with -2, -3 ... behind those that stood already, so that no model's pictures overwrite another's."""
    taken: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.append(candidate)
    return taken


def _command(
    models: Sequence[str | Path], *, sentences: Path | None, layers: Sequence[int] | None, out: Path, seed: int
) -> str:
    parts = ["python", "-m", "probes", "senses", *map(str, models)]
    if sentences is not None:
        parts += ["--sentences", str(sentences)]
    if layers is not None:
        parts += ["--layers", ",".join(map(str, layers))]
    return shlex.join([*parts, "--out", str(out), "--seed", str(seed)])


def _layers(text: str) -> list[int] | None:
    if text == "all":
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"got {text!r}, expected all or numbers such as 0,2,4") from None


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of `python -m probes senses`."""
    parser.add_argument("--sentences", type=Path, metavar="FILE.tsv", help="columns word, sentence, sense [built in]")
    parser.add_argument("--layers", type=_layers, metavar="all|N,N", help="0 is the embedding layer's output [all]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random weights, resamples, t-SNE [0]")


PROBE = Probe("do vectors of a word tell its senses apart? by layer, with baselines", add_arguments, run)
