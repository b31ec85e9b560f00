"""Documents -> token ids on disk: the stages that tokenization.cache has a store made by."""
