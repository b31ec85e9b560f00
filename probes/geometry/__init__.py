"""The geometry of a model's space of words, layer by layer (Ethayarajh 2019, https://arxiv.org/abs/1909.00512).

How alike are a word's vectors over its sentences, the words of one sentence, any two words; how much of a word's
vectors one direction explains; and whether a few dimensions make the cosine (Timkey & van Schijndel 2021,
https://arxiv.org/abs/2109.04404).
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from probes.geometry.sentences import MOST_SENTENCES
from probes.probe import Inquiry, Probe
from probes.results import Results

MIN_USES = 5
"""Different sentences of a word that self-similarity is taken over, as in the paper."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the probe's own options."""
    parser.add_argument(
        "--sentences", type=Path, metavar="FILE",
        help="text, one sentence a line (.txt), rows with a text (.jsonl, .csv), each plain or .gz, or a .tsv with a"
        " column sentence [the sentences of the built-in table of senses]",
    )  # fmt: skip
    parser.add_argument(
        "--min-uses", type=int, default=MIN_USES, metavar="N",
        help=f"words that stand in at least so many sentences are compared with themselves [{MIN_USES}]",
    )  # fmt: skip
    parser.add_argument(
        "--most", type=int, default=MOST_SENTENCES, metavar="N",
        help=f"sentences that are read at most, drawn at random from all [{MOST_SENTENCES}]",
    )  # fmt: skip


def examine(inquiry: Inquiry, **options: Any) -> Results:
    """See probes.geometry.examining."""
    from probes.geometry.examining import examine

    return examine(inquiry, **options)


PROBE = Probe(
    "how the vectors of words lie: self-similarity, anisotropy, dominating dimensions", add_arguments, examine
)

__all__ = ["PROBE"]
