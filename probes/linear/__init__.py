"""What a linear classifier reads off the vectors of words, layer by layer: word classes or any other label of words.

Accuracy and its selectivity against a control task (Hewitt & Liang 2019, https://arxiv.org/abs/1909.03368), online code
length (Voita & Titov 2020, https://arxiv.org/abs/2003.12298) and the centre of gravity over layers (Tenney et al. 2019,
https://arxiv.org/abs/1905.05950).
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from probes.probe import Inquiry, Probe
from probes.results import Results

MOST_WORDS = 10_000
TEST_SHARE = 0.25


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the probe's own options."""
    parser.add_argument(
        "--train", type=Path, required=True, metavar="FILE",
        help="a word and its label a line, a blank line between sentences (also CoNLL-U); or a table with a header:"
        " sentence, label, and start and end or word. May end in .gz",
    )  # fmt: skip
    parser.add_argument(
        "--test", type=Path, metavar="FILE", help=f"the same [{TEST_SHARE:.0%}% of the sentences of --train]"
    )
    parser.add_argument(
        "--column", metavar="N|NAME", help="the label's, counted from 1 or as in the header [2; CoNLL-U: 4; label]"
    )
    parser.add_argument(
        "--most", type=int, default=MOST_WORDS, metavar="N",
        help=f"labelled words to train on, and again to test on, in sentences drawn at random [{MOST_WORDS}]",
    )  # fmt: skip


def examine(inquiry: Inquiry, **options: Any) -> Results:
    """See probes.linear.examining."""
    from probes.linear.examining import examine

    return examine(inquiry, test_share=TEST_SHARE, **options)


PROBE = Probe(
    "labels of words that a linear classifier reads off: accuracy, selectivity, code length", add_arguments, examine
)

__all__ = ["PROBE"]
