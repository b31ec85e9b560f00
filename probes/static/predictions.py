"""Word vectors by prediction, trained with gensim: CBOW and skip-gram (Mikolov et al. 2013) and FastText (Bojanowski et
al. 2017), all with negative sampling.

Settings are the papers': 5 negative samples drawn by frequency to the power 0.75, frequent words thinned out at 1e-3,
a learning rate that falls from 0.025 (0.05 for CBOW) to 0.0001; FastText is a skip-gram over character n-grams of 3 to
6. Differs: n-grams share 200,000 buckets (paper: 2 million), which serves vocabularies of some ten thousand words and
keeps a file at a tenth of the size.
"""

# V words of the vocabulary, D dimensions, B buckets of n-grams

from pathlib import Path
from typing import Any

import numpy as np

from probes.static.corpus_text import CorpusText, word_frequencies
from probes.vectors.subwords import CharacterNgrams
from probes.vectors.word_vectors import WordVectors

NEGATIVE = 5
NUM_BUCKETS = 200_000
SHORTEST, LONGEST = 3, 6
RATES = {"cbow": 0.05, "skipgram": 0.025, "fasttext": 0.025}


def learn_by_prediction(
    corpus: CorpusText, method: str, target: Path, *, window: int, dimension: int, epochs: int, seed: int
) -> WordVectors:
    """Vectors of the words of a corpus, also written to a file; the same seed gives the same ones.

    Args:
        method: cbow, skipgram or fasttext.
        target: a .bin file in word2vec's binary form, or in FastText's with the vectors of its n-grams.
    """
    model = _model(method, window=window, dimension=dimension, seed=seed)
    # gensim goes through the words in the order of their frequency, which is that of the corpus.
    model.build_vocab_from_freq(word_frequencies(corpus), corpus_count=len(corpus.starts) - 1)
    model.train(corpus, total_examples=len(corpus.starts) - 1, total_words=len(corpus.ids), epochs=epochs)
    wv = model.wv
    subwords = None
    if method == "fasttext":
        from gensim.models.fasttext import save_facebook_model

        save_facebook_model(model, str(target))
        subwords = CharacterNgrams(wv.vectors_ngrams, wv.min_n, wv.max_n)
    found = WordVectors(wv.index_to_key, np.asarray(wv.vectors, dtype=np.float32), name=method, subwords=subwords)
    if subwords is None:
        found.write(target)
    return found


def _model(method: str, *, window: int, dimension: int, seed: int) -> Any:
    from gensim.models import FastText, Word2Vec

    settings = {
        "vector_size": dimension, "window": window, "min_count": 1, "negative": NEGATIVE, "hs": 0,
        "alpha": RATES[method], "sg": int(method != "cbow"), "seed": seed,
        "workers": 1,  # with several, the order of their updates is left to chance
    }  # fmt: skip
    if method == "fasttext":
        return FastText(**settings, min_n=SHORTEST, max_n=LONGEST, bucket=NUM_BUCKETS)
    return Word2Vec(**settings)
