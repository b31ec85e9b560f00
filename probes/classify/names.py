"""What the representations of the classify probe are called in its results."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probes.classify.mixing import Way

TRAINABLE = "mixed by trainable weights"
MIXES: "dict[str, Way]" = {
    TRAINABLE: "trainable",
    "mixed by equal weights": "frozen",
    "mixed by a learned function": "function",
}
"""ELMo's three."""
LAST = "last layer, mean"
CLS = "last layer, [CLS]"
ONE = "one layer, mean"
WORD_MEAN = "mean of word vectors"
