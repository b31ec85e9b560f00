"""How to read the results of the classify probe, in sentences."""

from collections.abc import Sequence

from probes.classify.outcomes import Entry
from probes.classify.splits import CHOOSING_SHARE, STRENGTHS, Task


def notes_on(task: Task, entries: Sequence[Entry]) -> list[str]:
    """What every figure, interval and baseline means, and what of this data must be known beside them."""
    kind = "linear (softmax)" if task.hidden is None else f"softmax over {task.hidden} rectified units"
    notes = [
        f"Every classifier of vectors is {kind}; those of words are linear. They are fitted on {1 - CHOOSING_SHARE:.0%}"
        " of the different training texts of each class; on the others the regularisation is chosen, from the same"
        f" {len(STRENGTHS)} values for all. Vectors are standardised by the training texts. Test texts decide nothing."
        " Equal texts of one file are never on two sides, neither of this division nor of that into training and test.",
        f"Each figure is the mean over {len(task.splits)} seeds, which divide the training texts and start the"
        " classifier each in their own way; for random weights, over all draws of them as well.",
        "Intervals of accuracy and macro-F1 are a bootstrap of the test texts inside their classes: other test texts of"
        " the same classes, the classes as frequent as here. They cover neither other training texts (the lowest and"
        " the highest seed hint at that) nor other kinds of text. Where every text is right, the exact binomial bound"
        " stands in.",
        "Differences are paired: the same texts, resamples and seeds on both sides.",
        "Layers are mixed as ELMo mixes them (Peters et al. 2018, section 3.2), after their mean over tokens was taken:"
        " with weights the order makes no difference; the learned function sees means only. Equal weights stand for the"
        " paper's frozen ones. Each layer is standardised, and each mix is scaled to one length before the"
        " regularisation, which would favour single layers otherwise.",
        "A layer's weight says what the classifier listens to when all layers share its weights, not how much a layer"
        " knows: neighbouring layers say nearly the same, so weight can move between them. Its interval is for other"
        " training texts (from the spread over seeds, as a jackknife).",
        "'random weights' is the same architecture and tokenizer, never trained: what the words alone give to such a"
        " classifier. TF-IDF and bag of words know nothing but the training texts. The majority class is the floor.",
    ]
    return [*notes, *_on_cuts(task, entries), *_on_repeats(task)]


def _on_cuts(task: Task, entries: Sequence[Entry]) -> list[str]:
    cut = {entry.model: entry.num_cut for entry in entries if sum(entry.num_cut)}
    unknown = {entry.model: entry.num_unknown for entry in entries if sum(entry.num_unknown)}
    texts = (f"{len(task.train):,} training texts", f"{len(task.test):,} test texts")
    return [
        *(
            f"{model} read {train:,} of {texts[0]} and {test:,} of {texts[1]} not to their end: they are longer than it"
            " can read."
            for model, (train, test) in cut.items()
        ),
        *(
            f"{model} knows no word of {train:,} of {texts[0]} and of {test:,} of {texts[1]}: their vectors are 0."
            for model, (train, test) in unknown.items()
        ),
    ]


def _on_repeats(task: Task) -> list[str]:
    known = set(task.train.texts)
    repeated = sum(text in known for text in task.test.texts)
    if not repeated:
        return []
    return [f"{repeated:,} of {len(task.test):,} test texts stand in the training texts as well; they were left in."]
