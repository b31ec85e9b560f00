"""The families of vocabularies: what tokenization.training trains and how the tokens of each are read."""
