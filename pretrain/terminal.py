"""Pages for people: with colours where a terminal takes them, plain where a pipe or NO_COLOR asks for it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Page(Console):
    """Standard output. It never marks up what it prints by itself, and leaves a closed pipe to `until_closed`."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    @property
    def is_ascii(self) -> bool:
        """Whether the output cannot take the signs beyond ASCII that a page would like to use."""
        return self.options.ascii_only


@contextmanager
def until_closed() -> Iterator[None]:
    """Print until done, or until the reader has seen enough and closes the pipe (| head), which is no error.

    A character that the output cannot take is written as an escape.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output once more at its end, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
