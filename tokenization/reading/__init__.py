"""Files and data sets -> documents -> sentences: what tokenization.corpus is made of."""
