from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer


class SentenceEncoder:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.t = tokenizer
        self.t.no_truncation()
        self.t.no_padding()
        self.t.encode_special_tokens = True
        self.cache = {}

    def encode(self, sentences: Sequence[str]):
        from array import array

        ids = array("I")
        lengths = []
        cache = self.cache
        for s in sentences:
            before = len(ids)
            for w in s.split(" "):
                g = cache.get(w)
                if g is None:
                    g = array("I", self.t.encode(w, add_special_tokens=False).ids)
                    if len(cache) < 2**18:
                        cache[w] = g
                ids.extend(g)
            lengths.append(len(ids) - before)
        return np.array(ids, dtype=np.int64), np.array(lengths, dtype=np.int64)
