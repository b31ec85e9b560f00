"""Figures of an audit on the examples of an epoch as they are cut: number, fill, labels, and what is left out."""

import numpy as np

from objectives.rows import Plan
from pretrain.audits.figure import (
    SIGMAS,
    Figure,
    Section,
    Verdict,
    at_least,
    at_most,
    judged,
    share,
    spread,
    told,
    up_to,
)
from pretrain.audits.rows import Emitted, LabelTally, RowTally
from pretrain.recipe import Train

PASSES = 40
"""Look above. BERT made about 40 passes over its corpus (Devlin et al. 2019, appendix A.2)."""
FILL = (0.80, 0.50)
"""Look, wrong, below. BERT's own pairs fill 89 % of rows of 128; below a half most of the work is padding. Where rows
tell their lengths, batches of like ones are cut short, and it is never wrong."""
SPECIAL = 0.10
"""Look; share of [CLS] and [SEP]. 3 in 128 are 2 %; at a tenth rows are made of scraps."""
BALANCE = (0.01, 0.10)
"""Look, wrong; by how much the labels may miss a half, beyond chance. BERT's code misses it by 5 % on documents of
many sentences, by 38 % on paragraphs as lines and by 50 % on single sentences (measured)."""
FALSE_LABELS = (0.0, 0.01)
"""Look, wrong; labels that the documents of A and B contradict. BERT's code has 0.1 % on 400 documents (measured)."""
GUESSED = (0.02, 0.10)
"""Look, wrong; by how much the area under the ROC curve of a length may miss 0.5, beyond chance."""
LEFT_OUT = (0.005, 0.05)
"""Look, wrong. Good cuttings leave out half a percent at most, BERT's code up to 18 % (measured)."""
AGAIN = 0.05
"""Look; the share of the text that an epoch has in several examples."""

_NUM_BINS = 8


def examples_section(
    train: Train, plan: Plan, rows: RowTally, emitted: Emitted, *, num_tokens: int, note: str
) -> Section:
    """What cutting makes of the training text.

    Args:
        rows: counts over a sample of the rows.
        num_tokens: of the training text.
        note: of how many rows the figures are.
    """
    return Section(
        "examples",
        (
            told("examples", len(plan), n=len(plan), unit="examples", reason="in epoch 0"),
            *_passes(train, len(plan)),
            *_text(emitted, num_tokens),
            *_shape(plan, rows),
            *_pairs("next_sentence", rows.next_sentence, alike=0),
            *_pairs("sentence_order", rows.sentence_order, alike=None),
        ),
        note=note,
    )


def sample_note(rows: RowTally, num_rows: int) -> str:
    """Of how many rows of how many figures are."""
    drawn = "all" if rows.num_rows == num_rows else f"a random {rows.num_rows:,} of"
    return f"{drawn} {num_rows:,} rows of epoch 0"


def no_examples_section(error: Exception, *, num_documents: int) -> Section:
    """Instead, where the cutting can make no examples of the text."""
    failure = Figure(
        name="examples", value=0, n=num_documents, unit="examples", verdict=Verdict.WRONG, reason=str(error)
    )
    return Section("examples", (failure,))


def _passes(train: Train, num_examples: int) -> list[Figure]:
    """How often the run goes over the text; nothing where only the clock or the count of tokens ends it."""
    if train.epochs is not None:
        passes = train.epochs
    elif train.steps is not None:
        passes = train.steps * train.batch_size / num_examples
    else:
        return []
    return [
        judged(
            "passes",
            passes,
            at_most(passes, look=PASSES),
            n=num_examples,
            unit="epochs",
            fine=f"over the text in the run; ok to {PASSES}",
            problem=f"over the text in the run; BERT made {PASSES}, and what is seen too often is learnt by heart",
            remedy="Give more text, or train for less",
        )
    ]


def _shape(plan: Plan, rows: RowTally) -> list[Figure]:
    places = rows.num_rows * rows.max_seq_length
    edges = np.unique(np.linspace(1, rows.max_seq_length + 1, _NUM_BINS + 1).astype(np.int64))[:-1].tolist()
    fill, special = share(rows.num_tokens, places), share(rows.num_special, rows.num_tokens)
    is_cut_short = plan.lengths is not None
    shorter = ", though batches of like rows are cut short" if is_cut_short else ""
    return [
        told(
            "row_lengths",
            rows.lengths.value(edges),
            n=rows.num_rows,
            unit="tokens",
            reason="with [CLS] and [SEP]",
        ),
        judged(
            "fill",
            fill,
            at_least(fill, look=FILL[0], wrong=0.0 if is_cut_short else FILL[1]),
            n=places,
            unit="share",
            fine="of the places; the rest is padding",
            problem=f"of the places hold a token, the rest is padding{shorter}",
            remedy="Lower examples.max_seq_length, or use examples.name: packed",
        ),
        judged(
            "special_tokens",
            special,
            at_most(special, look=SPECIAL),
            n=rows.num_tokens,
            unit="share",
            fine=f"[CLS] and [SEP]; {up_to(SPECIAL)}",
            problem="of the tokens are [CLS] or [SEP], as rows are made of scraps of text",
            remedy="Give longer documents",
        ),
    ]


def _text(emitted: Emitted, num_tokens: int) -> list[Figure]:
    how = "estimated" if emitted.is_estimate else "all rows"
    return [
        judged(
            "text_left_out",
            emitted.left_out,
            at_most(emitted.left_out, look=LEFT_OUT[0], wrong=LEFT_OUT[1]),
            n=num_tokens,
            unit="share",
            fine=f"in no example ({how}); {up_to(LEFT_OUT[0])}",
            problem=f"of the text is in no example of epoch 0 ({how})",
            remedy="Use another cutting, or raise examples.max_seq_length: long sentences are cut off",
        ),
        judged(
            "text_again",
            emitted.again,
            at_most(emitted.again, look=AGAIN),
            n=num_tokens,
            unit="share",
            fine=f"in several ({how}); {up_to(AGAIN)}",
            problem=f"of the text is in several examples of epoch 0 ({how})",
            remedy="Use a pairing that exchanges segments instead of copying them",
        ),
    ]


def _pairs(name: str, labels: LabelTally, *, alike: int | None) -> list[Figure]:
    """Figures on a label of pairs, none where rows have no such label.

    Args:
        alike: the label that says that A and B are of one document; None where both labels do.
    """
    if not labels.total:
        return []
    by_label = labels.counts.sum(axis=1)
    ones, smaller = share(by_label[1], labels.total), max(1, int(by_label.min()))
    off = abs(ones - 0.5)
    chance = spread(0.5, labels.total)
    area = labels.area()
    # The spread of the area under the curve of a length that says nothing (Mann and Whitney 1947).
    area_chance = SIGMAS * float(np.sqrt(1.0 / (6 * smaller)))
    what = "random" if alike is not None else "exchanged"
    return [
        judged(
            f"{name}_{what}",
            ones,
            at_most(off, look=BALANCE[0] + chance, wrong=BALANCE[1] + chance),
            n=labels.total,
            unit="share",
            fine="of the pairs; expected half",
            problem=f"of the pairs have a B that is {what}, expected half, so that a guess is right too often",
            remedy="Give documents of several sentences, or use examples.pairing: balanced",
        ),
        *_contradicted(name, labels, alike=alike),
        judged(
            f"{name}_from_lengths",
            area,
            at_most(area - 0.5, look=GUESSED[0] + area_chance, wrong=GUESSED[1] + area_chance),
            n=labels.total,
            unit="AUC",
            fine="tell nothing; expected 0.5",
            problem="the length of A, B or row tells the label, which is then learnt instead of the text",
            remedy="Use examples.pairing: balanced, or give more documents",
        ),
    ]


def _contradicted(name: str, labels: LabelTally, *, alike: int | None) -> list[Figure]:
    """Labels that the documents of A and B speak against."""
    counts = labels.counts
    if alike is None:
        cases = [(f"{name}_across_documents", "pairs", "B of another document", int(counts[:, 0].sum()), labels.total)]
    else:
        random, following = counts[1 - alike], counts[alike]
        cases = [
            ("same_document_negatives", "random pairs", "B of A's own document", int(random[1]), int(random.sum())),
            (
                "next_across_documents",
                "pairs that follow",
                "B of another document",
                int(following[0]),
                int(following.sum()),
            ),
        ]
    return [
        judged(
            figure,
            false := share(count, of),
            at_most(false, look=FALSE_LABELS[0], wrong=FALSE_LABELS[1]),
            n=of,
            unit="share",
            fine=f"of the {pairs}; none expected",
            problem=f"of the {pairs} have a {what}, so their label is false",
            remedy="Give more documents, or use examples.pairing: balanced",
        )
        for figure, pairs, what, count, of in cases
    ]
