"""Numbers among a probe's options."""

from argparse import ArgumentTypeError


def whole_from_0(text: str) -> int:
    """Type of an option that takes 0, 1, 2 ..."""
    return _whole(text, least=0)


def whole_from_1(text: str) -> int:
    """Type of an option that takes 1, 2, 3 ..."""
    return _whole(text, least=1)


def _whole(text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ArgumentTypeError(f"got {text!r}, expected a whole number from {least}")
    return int(text)
