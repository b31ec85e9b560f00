"""Which positions, how many, and what takes their place: what objectives.masking is made of."""
