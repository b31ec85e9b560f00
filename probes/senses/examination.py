"""One call of the senses probe: every model opened once, measured beside its baselines, and all of it as Results."""

# N sentences, n sentences of one word, K layers, D hidden size

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from probes.embedders import Embedder
from probes.intervals import CONFIDENCE, NUM_RESAMPLES
from probes.models import Model, models_of
from probes.names import CONTEXT, RANDOM, STATIC, TFIDF, baseline_of
from probes.probe import Inquiry
from probes.results import Cell, ModelCard, Results, Role, Score, Table
from probes.senses import baselines, findings, pictures
from probes.senses.clusters import NUM_RUNS
from probes.senses.design import Design
from probes.senses.measures import (
    ACCURACY,
    ARI,
    MEASURES,
    P_VALUE,
    PAIR_AUC,
    Z_SCORED,
    Figures,
    VectorsOf,
    cosines_by_word,
    keys_of,
    mean_of,
    measure,
    rows_of,
    shots_measure,
)
from probes.senses.permutations import NUM_SHUFFLES, shuffle_test
from probes.senses.probe import QUESTION, Options
from probes.senses.scoring import (
    differences,
    last_of,
    p_scores,
    picked_of,
    pooled_variant,
    scores_of,
    variant_of,
)
from probes.senses.shots import NUM_DRAWS
from probes.source import Source, Vectors
from probes.vectors.word_vectors import WordVectors


@dataclass
class Examination:
    """What is found, model by model."""

    inquiry: Inquiry
    options: Options
    design: Design
    data: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    """What was left out in reading."""
    cards: list[ModelCard] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    shown: list[pictures.Shown] = field(default_factory=list)
    at_last: dict[str, tuple[Role, int | None, Figures]] = field(default_factory=dict)
    """Name -> what it is, its last layer and its figures there, in the order of the headlines."""
    own: dict[str, list[str]] = field(default_factory=dict)
    """Name of a model -> its own baselines."""

    def results(self) -> Results:
        """Measure everything and put it together."""
        # What cannot be used is told before hours of measuring, not after.
        opened = [(model, model.open()) for model in self.baseline_models]
        for _, source in opened:
            if self.inquiry.layers is not None and isinstance(source, Embedder):
                source.checked_layers(self.inquiry.layers)
        vectors = None if self.options.vectors is None else WordVectors.read(self.options.vectors)
        for model in self.inquiry.models:
            self._examine(model)
        for model, source in opened:
            self._measure_model(model, source, "baseline")
        self._common_baselines(vectors)
        self._compare()
        headlines = self._headlines()
        drawn = pictures.draw_all(self) if self.inquiry.with_pictures else ([], [])
        return Results(
            probe="senses",
            question=QUESTION,
            answer=findings.answer(self),
            models=self.cards,
            measures={name: one for name, one in MEASURES.items() if any(s.measure == name for s in self.scores)},
            headlines=headlines,
            scores=self.scores,
            tables=[findings.table_of(headlines), *self.tables],
            pictures=drawn[0],
            maps=drawn[1],
            notes=[*self.remarks, *findings.notes(self)],
            data={**self.data, "words": self.design.counts_by_sense()},
            settings=self._settings(),
        )

    def label(self, kind: str, model: Model) -> str:
        """How a model's own baseline is called."""
        return baseline_of(kind, model.name, self.inquiry.models)

    def others(self, name: str) -> list[str]:
        """The baselines that a model is compared with: its own and those that all share."""
        strangers = {one for owner, names in self.own.items() if owner != name for one in names}
        return [one for one, (role, _, _) in self.at_last.items() if role == "baseline" and one not in strangers]

    @cached_property
    def baseline_models(self) -> tuple[Model, ...]:
        """The models of --baseline, by names that no other model of the call has."""
        first = self.inquiry.models[0]
        paths = [*(model.path for model in self.inquiry.models), *self.options.baseline]
        every = models_of(paths, pieces=first.pieces, precision=first.precision)
        return every[len(self.inquiry.models) :]

    def _embed(self, source: Source) -> tuple[Vectors, list[int]]:
        """(K, N, D) vectors of all sentences, and the numbers of the layers."""
        layers = None if isinstance(source, WordVectors) else self.inquiry.layers
        vectors_KND = source.embed(self.design.sentences, self.design.spans, layers=layers)
        return vectors_KND, list(range(source.num_layers + 1)) if layers is None else list(layers)

    def _measure_model(self, model: Model, source: Source, role: Role) -> Figures:
        """Measure one model and keep its scores; returns its figures."""
        self.cards.append(model.card(source))
        vectors_KND, layers = self._embed(source)
        figures = measure(rows_of(vectors_KND), len(layers), self.design)
        self._keep(model.name, role, layers, figures)
        self._shuffle(model.name, role, layers[-1], [rows_of(vectors_KND)])
        if role == "model":
            self.scores += scores_of(picked_of(figures), self.design, model=model.name, layers=[None])
            if self.inquiry.with_pictures:
                self.shown.append(pictures.Shown(model.name, layers, pictures.sample(vectors_KND, self.design)))
        return figures

    def _examine(self, model: Model) -> None:
        """Measure one model and all that is made of it: random weights, and static vectors unless they are given."""
        source = model.open()
        figures = self._measure_model(model, source, "model")
        self.own[model.name] = []
        if not model.is_word_vectors:
            self._random_weights(model, figures)
        if self.options.vectors is None:
            self._static(source, self.label(STATIC, model), self.label(CONTEXT, model))
            self.own[model.name] += [self.label(STATIC, model), self.label(CONTEXT, model)]

    def _random_weights(self, model: Model, figures: Figures) -> None:
        """The mean over the draws, how far they lie apart, and the difference of the model to it in every layer."""
        name, drawn, vectors, layers = self.label(RANDOM, model), [], [], [0]
        for draw in range(self.options.random_draws):
            vectors_KND, layers = self._embed(model.open_random(self.inquiry.seed + draw))
            drawn.append(measure(rows_of(vectors_KND), len(layers), self.design))
            vectors.append(vectors_KND[-1:])
        self._keep(name, "baseline", layers, mean := mean_of(drawn))
        self._shuffle(name, "baseline", layers[-1], [rows_of(one) for one in vectors])
        if len(drawn) > 1:
            self.tables.append(_table_of_draws(drawn, layers, name=name, number=len(self.own)))
        self.own[model.name].append(name)
        self.scores += scores_of(
            differences(figures, mean), self.design, model=f"{model.name} - {name}", layers=layers, role="difference",
            by_word=False,
        )  # fmt: skip

    def _static(self, source: Source, static: str, context: str) -> None:
        """The word's static vector, and the mean of those of its context."""
        sentences, spans = self.design.sentences, self.design.spans
        for name, vectors_ND in (
            (static, baselines.one_a_word(source.static(sentences, spans), self.design)),
            (context, source.static_context(sentences, spans)),
        ):
            self._keep(name, "baseline", [None], measure(rows_of(vectors_ND[None]), 1, self.design))
            if name == context:
                self._shuffle(name, "baseline", None, [rows_of(vectors_ND[None])])

    def _common_baselines(self, vectors: WordVectors | None) -> None:
        """What no model has a part in."""
        if vectors is not None:
            name = Path(vectors.name).name
            self._static(vectors, f"{STATIC} of {name}", f"{CONTEXT} of {name}")

        def contexts(word: Any) -> Vectors:
            return baselines.tf_idf(self.design.usages, word)

        name = TFIDF
        self._keep(name, "baseline", [None], measure(contexts, 1, self.design, spaces=("",)))
        self._shuffle(name, "baseline", None, [contexts])
        for name, figures in baselines.guesses(self.design).items():
            self._keep(name, "baseline", [None], figures)

    def _keep(self, name: str, role: Role, layers: list[int] | list[None], figures: Figures) -> None:
        self.scores += scores_of(figures, self.design, model=name, layers=layers, role=role)
        self.at_last[name] = (role, layers[-1], last_of(figures))

    def _shuffle(self, name: str, role: Role, layer: int | None, vectors: list[VectorsOf]) -> None:
        shuffled = shuffle_test([cosines_by_word(one, self.design) for one in vectors], self.design)
        self.scores += p_scores(shuffled, self.design, model=name, layer=layer, role=role)

    def _compare(self) -> None:
        """Paired differences at the last layers: every model against its baselines, and against every other model."""
        models = [name for name, (role, _, _) in self.at_last.items() if role == "model"]
        pairs = [*combinations(models, 2), *((name, other) for name in models for other in self.others(name))]
        for name, other in pairs:
            found = differences(self.at_last[name][2], self.at_last[other][2])
            made = scores_of(found, self.design, model=f"{name} - {other}", layers=[None], role="difference")
            self.scores += made

    def headline_measures(self) -> list[str]:
        """The same for all results of one table: most sentences a sense that every word has enough for."""
        shots = [shots_measure(number) for number in self.design.shots[-1:]]
        return [ACCURACY, *shots, PAIR_AUC, ARI, P_VALUE]

    def _headlines(self) -> list[Score]:
        """Models in both spaces, baselines in one, at their last layers."""
        pooled, found = pooled_variant(self.design), []
        for name, (role, layer, _) in self.at_last.items():
            for space in ("", Z_SCORED) if role == "model" else ("",):
                found += self.find(name, layer, self.headline_measures(), variant_of(space, pooled))
                if not space:
                    found += [s for s in self.find(name, layer, [P_VALUE], "") if s not in found]
        return found

    def find(
        self, model: str, layer: int | None, measures: list[str], variant: str, group: str | None = None
    ) -> list[Score]:
        """Scores of a model in the order of these measures; none where it has none."""
        return [
            score
            for name in measures
            for score in self.scores
            if (score.measure, score.model, score.layer, score.variant, score.group)
            == (name, model, layer, variant, group)
        ]

    def _settings(self) -> dict[str, Any]:
        options = {key: value for key, value in vars(self.options).items() if value not in (None, ())}
        return {
            "seed": self.inquiry.seed,
            "layers": self.inquiry.layers,
            "confidence": CONFIDENCE,
            "num_resamples": NUM_RESAMPLES,
            "num_shuffles": NUM_SHUFFLES,
            "num_draws_of_shots": NUM_DRAWS,
            "num_runs_of_k_means": NUM_RUNS,
            **{key: str(value) if key in ("sentences", "vectors") else value for key, value in options.items()},
        }


def _table_of_draws(drawn: list[Figures], layers: list[int], *, name: str, number: int) -> Table:
    """How far the draws of random weights lie apart: by measure, space and layer."""
    rows: list[list[Cell]] = []
    for key in keys_of(drawn[0]):
        means = np.array([np.nanmean(one[key].value, axis=1) for one in drawn])
        for k, layer in enumerate(layers):
            column = means[:, k]
            rows.append([*key, layer, float(column.mean()), float(column.min()), float(column.max()), len(drawn)])
    columns = ["measure", "variant", "layer", "mean", "least", "greatest", "draws"]
    caption = "Means over the words, of each draw of random weights."
    return Table(name=f"random_draws_{number}", title=f"Draws of {name}", columns=columns, rows=rows, caption=caption)
