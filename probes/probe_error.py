"""The error of this floor."""


class ProbeError(ValueError):
    """A mistake of the user's: the message says what was got, what was expected and what to do."""
