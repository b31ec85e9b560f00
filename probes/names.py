"""How results call things: baselines that a model brings with it, and files and tables that are named after something.

Results of several probes stand side by side, so one thing has one name in all of them.
"""

import re
from collections.abc import Sequence

RANDOM = "random weights"
"""The same architecture and tokenizer, never trained."""
STATIC = "static vector"
"""Of the word, from the input embeddings or a table: the same in every sentence."""
CONTEXT, TFIDF = "context, static vectors", "context, TF-IDF"
"""What stands around the word, the word itself left out."""

TAKEN = frozenset(
    {
        *(RANDOM, STATIC, CONTEXT, TFIDF, "TF-IDF", "bag of words", "majority", "majority sense", "majority label"),
        *("majority class", "chance", "fewer words", "fewer tokens", "commonest label of the word"),
    }
)
"""Names of baselines, which no model of a call may have."""


def baseline_of(kind: str, model: str, models: Sequence[object]) -> str:
    """What a model's own baseline is called: by its kind, and with the model where the call has several."""
    return kind if len(models) == 1 else f"{kind} of {model}"


def file_stem(*parts: str) -> str:
    """Parts joined to a name that is safe for a file on every system, and for a table: letters, digits, '_', '-'."""
    return "_".join(re.sub(r"[^\w-]+", "-", part).strip("-")[:60] or "x" for part in parts)
