"""The networks: transformers' own classes, sized and wired for pretraining."""
