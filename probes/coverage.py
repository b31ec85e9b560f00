"""Which words of a sentence a source of vectors reads."""

from collections.abc import Sequence

import numpy as np

from probes.source import Source, Span


def read_by(source: Source, sentences: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[list[Span]]:
    """Those of the spans that the source has a vector for and reads."""
    kept = []
    for tokens, words in zip(source.token_spans(sentences), spans, strict=True):
        end = max((token[1] for token in tokens), default=0)
        starts = np.array([token[0] for token in tokens])
        ends = np.array([token[1] for token in tokens])
        kept.append([(a, b) for a, b in words if b <= end and bool(((starts < b) & (ends > a)).any())])
    return kept
