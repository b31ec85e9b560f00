"""Kill the own process after its k-th file operation below a folder: SIGKILL, so nothing is cleaned up.

    arm(after=17, within=run_dir)      # in the process that is to die, before its work
    operations = watch(run_dir)        # in one that lives: the list grows; its length is the total

An operation is what the kernel was asked for: a file made or opened for writing, its content written, a sync, a
renaming, a folder made, something deleted. A file that is written counts twice, as made (empty, or half where a library
writes it in one go) and as written, so that both states are met. The process dies when the next operation is about to
begin; `after` of the total or more lets it live.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Operation(NamedTuple):
    """One that was done or begun."""

    kind: str
    """make, write, sync, rename, mkdir, remove or rmdir."""
    path: Path
    """Of a renaming, the new one."""


@dataclass
class _Watch:
    within: Path
    after: int | None
    operations: list[Operation]
    is_paused: bool = False


_watch: _Watch | None = None
_is_installed = False


def arm(after: int, within: Path) -> None:
    """Let this process be killed once it has done so many operations below a folder, counted from here on."""
    _begin(within, after)


def watch(within: Path) -> list[Operation]:
    """The operations of this process below a folder, from here on; the list grows until the next call."""
    return _begin(within, None)


def stop() -> None:
    """Neither watch nor kill any more."""
    global _watch
    _watch = None


def _begin(within: Path, after: int | None) -> list[Operation]:
    global _watch
    _install()
    _watch = _Watch(within.resolve(), after, [])
    return _watch.operations


def _install() -> None:
    """Listen where Python tells of its operations, and stand before those that it does not tell of."""
    global _is_installed
    if _is_installed:
        return
    _is_installed = True
    import safetensors.torch
    from tokenizers import Tokenizer

    os.fsync = _synced(os.fsync)
    safetensors.torch.serialize_file = _written(safetensors.torch.serialize_file, lambda args: args[1])
    Tokenizer.save = _written(Tokenizer.save, lambda args: args[1])
    sys.addaudithook(_heard)


def _heard(event: str, args: tuple[Any, ...]) -> None:
    if _watch is None or _watch.is_paused:
        return
    if event == "open":
        path, _, flags = args
        if isinstance(path, str | bytes | os.PathLike) and flags & WRITES and (place := _below(path)) is not None:
            _next(Operation("make", place), half=lambda: os.close(os.open(place, flags & ~os.O_EXCL, 0o666)))
            _next(Operation("write", place))
    elif event == "os.rename":
        source, target, source_fd, target_fd = args
        places = [_below(source, source_fd), _below(target, target_fd)]
        if any(place is not None for place in places):
            _next(Operation("rename", places[1] or Path(os.fsdecode(target))))
    elif event in ("os.mkdir", "os.rmdir", "os.remove") and (place := _below(args[0], args[-1])) is not None:
        _next(Operation(event.removeprefix("os."), place))


def _synced(fsync: Callable[[int], None]) -> Callable[[int], None]:
    def wrapped(descriptor: int) -> None:
        if _watch is not None and (place := _below("", descriptor)) is not None:
            _next(Operation("sync", place))
        fsync(descriptor)

    return wrapped


def _written(write: Callable[..., Any], place_of: Callable[[tuple[Any, ...]], Any]) -> Callable[..., Any]:
    """A library's writing of a whole file, of which Python hears nothing."""

    def wrapped(*args: Any, **options: Any) -> Any:
        place = _below(place_of(args)) if _watch is not None else None
        if _watch is None or place is None:
            return write(*args, **options)

        def half() -> None:
            write(*args, **options)
            os.truncate(place, place.stat().st_size // 2)

        _next(Operation("make", place), half=half)
        _next(Operation("write", place))
        return write(*args, **options)

    return wrapped


def _next(operation: Operation, *, half: Callable[[], None] | None = None) -> None:
    """Die if enough was done, else count one more. `half` begins the operation, for a death in its midst."""
    assert _watch is not None
    if len(_watch.operations) == _watch.after:
        _die()
    _watch.operations.append(operation)
    if half is not None and len(_watch.operations) == _watch.after:
        _watch.is_paused = True
        half()
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # nothing may happen between the signal and its coming
        time.sleep(1)


def _below(path: Any, descriptor: int = -1) -> Path | None:
    """The place that an operation is about, if it is below the folder that is watched."""
    assert _watch is not None
    folder = os.readlink(f"/proc/self/fd/{descriptor}") if descriptor >= 0 else ""
    parent, name = os.path.split(os.path.abspath(os.path.join(folder, os.fsdecode(path))))
    place = Path(os.path.realpath(parent), name)
    return place if place.is_relative_to(_watch.within) else None
