"""How a token store is cut into examples: what the table of objectives.examples is made of."""
