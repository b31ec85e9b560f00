"""Word vectors by counting: co-occurrences in a window, positive pointwise mutual information, truncated SVD.

Levy, Goldberg & Dagan 2015, "Improving distributional similarity with lessons learned from word embeddings", sections
2 and 3: PPMI with context distribution smoothing (alpha 0.75), vectors U Sigma^p with p 0.5. Two words d apart count
(window - d + 1) / window, which is what word2vec's drawn window sizes come to on average; frequent words are not
thinned out and PMI is not shifted.
"""

# T words of the corpus, V words of the vocabulary, D dimensions

from typing import TYPE_CHECKING

import numpy as np

from probes.probe_error import ProbeError
from probes.source import Vectors
from probes.static.corpus_text import CorpusText

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SMOOTHING = 0.75
"""Power of the context's frequency (paper: 0.75)."""
EIGENVALUE_WEIGHT = 0.5
"""Power of the singular values (paper: 0.5, much better than 1)."""
PART = 1 << 22
"""Words whose pairs are added up at once."""


def learn_svd(corpus: CorpusText, *, window: int, dimension: int, seed: int) -> Vectors:
    """(V, D) float32 vectors of the words of a corpus; the same seed gives the same ones.

    Raises:
        ProbeError: a vocabulary that is no larger than the dimension.
    """
    from sklearn.decomposition import TruncatedSVD

    if len(corpus.words) <= dimension:
        raise ProbeError(
            f"--dimension {dimension}: got {len(corpus.words)} words in the vocabulary, expected more words than"
            " dimensions for an SVD. Name more text, or lower --dimension or --min-count."
        )
    weights_VV = ppmi(count_cooccurrences(corpus, window=window))
    svd = TruncatedSVD(dimension, algorithm="arpack", random_state=seed)
    scaled_VD = svd.fit_transform(weights_VV)
    # Directions beyond the rank of the matrix have no size to be divided by.
    sizes_D = np.where(svd.singular_values_ > 1e-6 * svd.singular_values_[0], svd.singular_values_, np.inf)
    vectors_VD: Vectors = (scaled_VD * sizes_D ** (EIGENVALUE_WEIGHT - 1)).astype(np.float32)
    return vectors_VD


def count_cooccurrences(corpus: CorpusText, *, window: int) -> "csr_array":
    """(V, V) float64 symmetric: how often two words stand within a window of each other, weighted by distance."""
    from scipy.sparse import coo_array, csr_array

    shape = (len(corpus.words), len(corpus.words))
    lines_T = np.repeat(np.arange(len(corpus.starts) - 1), np.diff(corpus.starts))
    counts_VV = csr_array(shape)
    for first in range(0, len(corpus.ids), PART):
        for distance in range(1, window + 1):
            left, right = slice(first, first + PART), slice(first + distance, first + PART + distance)
            n = len(corpus.ids[right])
            together = lines_T[left][:n] == lines_T[right]
            pairs = corpus.ids[left][:n][together], corpus.ids[right][together]
            weight = np.full(len(pairs[0]), (window - distance + 1) / window)
            counts_VV = counts_VV + coo_array((weight, pairs), shape=shape).tocsr()
    return (counts_VV + counts_VV.T).tocsr()


def ppmi(counts_VV: "csr_array") -> "csr_array":
    """max(0, log P(w, c) / (P(w) P_alpha(c))) in nats, where P_alpha(c) goes with the count of c to the power 0.75."""
    found = counts_VV.tocoo()
    totals_V = np.asarray(counts_VV.sum(axis=1)).ravel()
    smoothed_V = totals_V**SMOOTHING
    expected = totals_V[found.row] * smoothed_V[found.col] / smoothed_V.sum()
    with np.errstate(divide="ignore"):
        found.data = np.maximum(np.log(found.data / expected), 0)
    weights_VV = found.tocsr()
    weights_VV.eliminate_zeros()
    return weights_VV
