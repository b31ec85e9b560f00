"""Static word vectors: the table as a source of vectors, the files it is read from and written to, subwords."""
