"""What the linear probe found, in words, and how its figures are called."""

from collections.abc import Mapping, Sequence

from probes.results import Measure, Score

MAJORITY, OF_TYPE = "majority label", "commonest label of the word"
PICKED = "layer of the shortest code"

MEASURES = {
    "accuracy": Measure(title="Label read off by a linear classifier", unit="share"),
    "selectivity": Measure(title="Selectivity: accuracy minus that on the control task", unit="index"),
    "bits_per_word": Measure(title="Online code length a word", unit="bits", is_better="lower"),
    "compression": Measure(title="Uniform code over online code", unit="ratio"),
    "centre_of_gravity": Measure(title="Centre of gravity (layer)", unit="count", is_better=""),
    "expected_layer_of_gains": Measure(title="Expected layer of the gains in accuracy", unit="count", is_better=""),
    "control_accuracy": Measure(title="Accuracy on the control task", unit="share", is_better=""),
    "control_bits_per_word": Measure(title="Online code length a word, control task", unit="bits", is_better=""),
    "code_length": Measure(title="Online code length of the training labels", unit="bits", is_better="lower"),
}
HEADLINES = ("accuracy", "selectivity", "bits_per_word", "centre_of_gravity")

NOTES = [
    "A linear classifier (multinomial logistic regression on standardised dimensions) is trained on the training words"
    " of one layer and tested on words of other sentences; no sentence is on both sides. The penalty is chosen on the"
    " training words alone, by the same rule in every layer, model and baseline. A label that no training word has is"
    " counted as wrong.",
    "Control task (Hewitt & Liang 2019): every word type (in lower case) has one label, drawn at random from those"
    " of the training words. What accuracy there is on it is the classifier remembering words; selectivity is the"
    " accuracy minus that. It depends on how many test words are seen in training: compare it within one table only.",
    "Online code (Voita & Titov 2020): the training labels are sent block by block, each coded by a classifier trained"
    " on the blocks before it; bits for all, for each word, and the uniform code (log2 of the number of labels a word)"
    " over it. A probe that learns from few words has a short code. It depends on the order of the sentences, which is"
    " drawn once.",
    "Static vector: the word's row in the table of input embeddings, before position or context. Random weights: the"
    " same architecture and tokenizer, drawn once, never trained. Commonest label of the word: what the word itself has"
    " most often in training, without any vector. All three can win.",
    "Centre of gravity (Tenney et al. 2019): mean layer under the weights of a mixture of all layers, trained with its"
    " classifier. It says where a label is easiest to read, not where it arises. Neighbouring layers are alike: they"
    " share the weight, or one of them takes it (the interval tells how firmly); and a centre in the middle may stand"
    " for weights that are even. Expected layer of the gains: mean layer weighed by what each adds to the accuracy of"
    " those below; given only where they add anything for certain; a layer that lowers the accuracy weighs below 0.",
    "The layer of the shortest code is picked by the training words, so its accuracy on the test words is not"
    " flattered; the highest of a curve over layers would be.",
    "Intervals are 95 % bootstrap intervals over sentences (words of one sentence come and go together): test sentences"
    " for accuracy and selectivity, with the classifiers as they are; training sentences for code lengths, with their"
    " order as it is; and for the centre of gravity 20 mixtures of resampled training sentences (Student's t). They do"
    " not cover other draws of the training words, of the control task, of the random weights, or other kinds of text.",
]


def headlines(scores: Sequence[Score], *, last: Mapping[str, int | None]) -> list[Score]:
    """The last layer of every model and baseline, and what has no layer."""
    return [
        score
        for score in scores
        if score.measure in HEADLINES and score.role != "difference" and not score.variant and score.group is None
        if score.layer is None or score.layer == last[score.model]
    ]


def answer(scores: Sequence[Score], *, last: Mapping[str, int | None]) -> list[str]:
    """Sentences about each model."""
    said = []
    for name, layer in last.items():
        own = {(s.measure, s.layer): s for s in scores if s.model == name and s.group is None and not s.variant}
        accuracy, selectivity = own["accuracy", layer], own["selectivity", layer]
        said.append(
            f"{name}, last layer ({layer}): {_share(accuracy)} of {accuracy.n} held-out words get their label,"
            f" {_number(selectivity)} more than on the control task{_beside(scores, name)}."
        )
        bits, compression = own["bits_per_word", layer], own["compression", layer]
        centre = own.get(("centre_of_gravity", None))
        where = f"; the centre of gravity over the layers is {_number(centre)}" if centre is not None else ""
        said.append(
            f"{name}, last layer ({layer}): the labels of the training words cost {_number(bits)} bits a word, the"
            f" uniform code {compression.value:.2f} times as many{where}."
        )
        said += [
            f"{name}, layer {s.layer}, which the training words pick by the shortest code: {_share(s)} of {s.n}"
            " held-out words."
            for s in scores
            if s.model == name and s.variant == PICKED and s.measure == "accuracy" and s.layer != layer
        ]
    return said


def _beside(scores: Sequence[Score], name: str) -> str:
    """What the baselines get, as they stand beside a model."""
    parts = [f"{s.model} {s.value:.1%}" for s in scores if s.model in (MAJORITY, OF_TYPE)]
    parts += [
        f"minus {s.model.removeprefix(f'{name} - ')}: {_number(s)}"
        for s in scores
        if s.role == "difference" and s.model.startswith(f"{name} - ") and s.variant.startswith("last")
        if s.measure == "accuracy"
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _share(score: Score) -> str:
    return f"{score.value:.1%} [{score.low:.1%}, {score.high:.1%}]"


def _number(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
