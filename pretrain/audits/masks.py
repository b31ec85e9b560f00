"""Figures of an audit on what masking does to the examples: how much, which tokens, and what takes their place."""

# V vocabulary

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from objectives.masking import Masking
from objectives.masks.rates import Uniform
from objectives.rows import Ints
from pretrain.audits.figure import Figure, Section, Verdict, at_most, judged, share, spread, told
from pretrain.audits.rows import RowTally
from tokenization.vocabulary import Vocabulary

OFF_RATE = (0.05, 0.50)
"""Look, wrong; part by which the mask rate may miss the setting, where a token that is drawn twice counts twice."""
RATES = (0.05, 0.60)
"""Look outside. Wettig et al. 2023 (https://arxiv.org/abs/2202.08005), MNLI by rate: 15 % 84.2, 40 % 84.5, 60 % 83.2,
80 % 80.8. Below 5 % most of the work has no target."""
OFF_KIND = (0.10, 0.50)
"""Look, wrong; part by which the rate of a kind of token may miss that of all, where chance does not explain it."""
OFF_SPLIT = (0.01, 0.10)
"""Look, wrong; by how much the shares of hidden, replaced and kept targets may miss the setting, beyond chance."""
WITHOUT_TARGET = (0.0, 0.01)
"""Look, wrong; rows without a target teach nothing. Only text of unknown tokens alone should give any."""
SPECIAL_REPLACEMENTS = (0.0, 0.01)
"""Look, wrong; share of the replacements. BERT's code draws some of its hundred special and unused tokens."""
FREQUENT, RARE = 0.5, 0.05
"""The commonest tokens that make up half of the text are frequent, the rarest that make up a twentieth are rare."""

Bools = npt.NDArray[np.bool_]


@runtime_checkable
class Corrupting(Protocol):
    """A masking that says what takes the place of its targets."""

    @property
    def mask_replace_prob(self) -> float: ...

    @property
    def random_replace_prob(self) -> float: ...


def masks_section(masking: Masking, rows: RowTally, token_counts: Ints, *, note: str) -> Section:
    """What masking makes of the sample of rows.

    Args:
        token_counts: (V,) how often each id occurs in the training text.
        note: of how many rows the figures are.
    """
    if not rows.num_targets:
        reason = "No row has a target. The vocabulary cannot spell the text: see unknown."
        num_maskable = int(rows.maskable.sum())
        nothing = Figure("mask_rate", 0.0, n=num_maskable, unit="share", verdict=Verdict.WRONG, reason=reason)
        return Section("masks", (nothing,), note)
    return Section(
        "masks",
        (
            _rate(masking, rows),
            *(_rate_of(kind, members, rows) for kind, members in token_kinds(rows.vocabulary, token_counts).items()),
            *_split(masking, rows),
            *_faults(rows),
        ),
        note,
    )


def token_kinds(vocabulary: Vocabulary, counts: Ints) -> dict[str, Bools]:
    """(V,) bool by kind: which tokens are frequent and rare in the text, which are numbers and punctuation."""
    ordinary = np.where(vocabulary.is_special, 0, counts)
    order = np.argsort(-ordinary, kind="stable")
    before = np.cumsum(ordinary[order]) - ordinary[order]  # tokens of the text that are commoner
    rank = np.empty_like(before)
    rank[order] = before
    return {
        "frequent": (rank < FREQUENT * ordinary.sum()) & (ordinary > 0),
        "rare": (rank >= (1.0 - RARE) * ordinary.sum()) & (ordinary > 0),
        "number": ~vocabulary.is_special & _which(vocabulary, _is_number),
        "punctuation": ~vocabulary.is_special & _which(vocabulary, _is_punctuation),
    }


def _which(vocabulary: Vocabulary, rule: Callable[[str], bool]) -> Bools:
    return np.fromiter(map(rule, vocabulary.tokens), dtype=np.bool_, count=vocabulary.size)


def _is_number(token: str) -> bool:
    return any(map(str.isdigit, token)) and not any(map(str.isalpha, token))


def _is_punctuation(token: str) -> bool:
    return bool(token) and not any(map(str.isalnum, token))


def _rate(masking: Masking, rows: RowTally) -> Figure:
    num_maskable = int(rows.maskable.sum())
    rate = share(rows.num_targets, num_maskable)
    setting = masking.mlm_probability
    drawn = share(rows.num_draws, num_maskable)
    # A rate that is drawn for each row is held against nothing, one that follows the run against its start.
    said = drawn if isinstance(setting, Uniform) else setting if isinstance(setting, float) else setting.rate(0.0)
    again = f"; each counted as often as drawn, {100 * drawn:.3g} %" if drawn > rate else ""
    off = max(0.0, abs(drawn - said) - spread(said, num_maskable)) / said
    verdict = at_most(off, look=OFF_RATE[0], wrong=OFF_RATE[1])
    if verdict is Verdict.OK and not RATES[0] <= rate <= RATES[1]:
        return judged(
            "mask_rate",
            rate,
            Verdict.LOOK,
            n=num_maskable,
            unit="share",
            fine="",
            problem=f"of the text is masked; {100 * RATES[0]:.0f} to {100 * RATES[1]:.0f} % are known to teach well",
            remedy="Change masking.mlm_probability",
        )
    return judged(
        "mask_rate",
        rate,
        verdict,
        n=num_maskable,
        unit="share",
        fine=f"of the text{again} (recipe, as the run begins: {100 * said:.3g} %)",
        problem=f"of the text is masked{again}, but masking.mlm_probability is {said:g}",
        remedy="Look at max_predictions and how the masking counts; short rows have one target at least",
    )


def _rate_of(kind: str, members: Bools, rows: RowTally) -> Figure:
    num_maskable = int(rows.maskable[members].sum())
    name = f"mask_rate_{kind}"
    if not num_maskable:
        return told(name, None, n=0, unit="share", reason="there are none in the sample of rows")
    rate, overall = share(rows.targets[members].sum(), num_maskable), share(rows.num_targets, rows.maskable.sum())
    off = max(0.0, abs(rate - overall) - spread(overall, num_maskable)) / overall
    return judged(
        name,
        rate,
        at_most(off, look=OFF_KIND[0], wrong=OFF_KIND[1]),
        n=num_maskable,
        unit="share",
        fine=f"of the {kind} tokens (all: {100 * overall:.3g} %)",
        problem=f"of the {kind} tokens, against {100 * overall:.1f} % of all, which chance does not explain",
        remedy="See with pretrain.inspect which words the masking takes and leaves",
    )


def _split(masking: Masking, rows: RowTally) -> list[Figure]:
    """Hidden, replaced and kept targets against the setting."""
    kinds = rows.kinds
    counts = {"hidden": kinds.hidden, "replaced": kinds.replaced, "kept": kinds.kept}
    if not isinstance(masking, Corrupting):
        return [
            told(name, share(count, kinds.total), n=kinds.total, unit="share", reason=f"of the targets are {name}")
            for name, count in counts.items()
        ]
    said = _expected_split(masking, rows)
    recipe = "recipe" if rows.num_draws == rows.num_targets else "recipe, of tokens drawn once or more"
    return [
        judged(
            name,
            got := share(count, kinds.total),
            at_most(
                max(0.0, abs(got - said[name]) - spread(said[name], kinds.total)),
                look=OFF_SPLIT[0],
                wrong=OFF_SPLIT[1],
            ),
            n=kinds.total,
            unit="share",
            fine=f"of the targets ({recipe}: {100 * said[name]:.1f} %)",
            problem=f"of the targets ({recipe}: {100 * said[name]:.1f} %)",
            remedy="The masking does not do what its settings say: compare with pretrain.inspect, and mend it",
        )
        for name, count in counts.items()
    ]


def _expected_split(masking: Corrupting, rows: RowTally) -> dict[str, float]:
    """The share of the targets of each kind, where every draw of a target decides anew and [MASK] outdoes the rest."""
    times = np.arange(len(rows.times_drawn))
    spared = 1.0 - masking.mask_replace_prob
    left = max(0.0, spared - masking.random_replace_prob)
    unhidden, untouched = (float(rows.times_drawn @ chance**times) / rows.num_targets for chance in (spared, left))
    replaced = (unhidden - untouched) * (1.0 - 1.0 / len(rows.vocabulary.ordinary_ids))  # or, by chance, by itself
    return {"hidden": 1.0 - unhidden, "replaced": replaced, "kept": unhidden - replaced}


def _faults(rows: RowTally) -> list[Figure]:
    """What must not happen."""
    bare = share(rows.num_without_target, rows.num_rows)
    leaks = int(rows.targets[rows.vocabulary.is_special].sum())
    special = share(rows.num_special_replacements, rows.kinds.replaced)
    mend = "The masking is at fault: compare with pretrain.inspect, and mend it"
    return [
        judged(
            "rows_without_target",
            bare,
            at_most(bare, look=WITHOUT_TARGET[0], wrong=WITHOUT_TARGET[1]),
            n=rows.num_rows,
            unit="share",
            fine="every row has a target",
            problem=f"of the rows ({rows.num_without_target:,}) have no target and teach nothing",
            remedy="See unknown: rows of [UNK] alone cannot have any",
        ),
        judged(
            "special_targets",
            leaks,
            at_most(leaks, look=0, wrong=0),
            n=rows.num_targets,
            unit="targets",
            fine="no special token is a target",
            problem="special tokens are targets",
            remedy=mend,
        ),
        judged(
            "special_replacements",
            special,
            at_most(special, look=SPECIAL_REPLACEMENTS[0], wrong=SPECIAL_REPLACEMENTS[1]),
            n=rows.kinds.replaced,
            unit="share",
            fine="of the replacements; none expected",
            problem=f"of the random replacements ({rows.num_special_replacements:,}) are special tokens, as in BERT",
            remedy="Use a masking that draws from ordinary tokens, unless the original is what you want",
        ),
        judged(
            "changed_elsewhere",
            rows.num_corrupted_elsewhere,
            at_most(rows.num_corrupted_elsewhere, look=0, wrong=0),
            n=rows.num_tokens,
            unit="tokens",
            fine="only targets are changed",
            problem="tokens are changed that are no targets",
            remedy=mend,
        ),
        judged(
            "false_targets",
            rows.num_false_labels,
            at_most(rows.num_false_labels, look=0, wrong=0),
            n=rows.num_targets,
            unit="targets",
            fine="labels are what stood there",
            problem="labels are other tokens than those that stood there",
            remedy=mend,
        ),
    ]
