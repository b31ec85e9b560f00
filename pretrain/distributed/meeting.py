"""Where the processes of a run meet: as torch has them do by environment variables, but anew at each restart."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import register_rendezvous_handler, rendezvous

_SCHEME = "clozekit"


def meeting_address() -> str:
    """The address for `torch.distributed.init_process_group(init_method=...)`."""
    with suppress(RuntimeError):  # known already
        register_rendezvous_handler(_SCHEME, _meet)  # type: ignore[no-untyped-call]
    return f"{_SCHEME}://"


def _meet(url: str, timeout: timedelta, **options: Any) -> Iterator[tuple[Store, int, int]]:
    """A store, the rank and the number of processes.

    torchrun keeps one store over its restarts (torch 2.13), in which a process finds the addresses of those that were
    killed and connects to nobody; a prefix for each attempt parts them. Several nodes may count their attempts
    differently; for them TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 has torchrun make a new store.
    """
    is_one_node = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_one_node else "any"
    for store, rank, world_size in rendezvous("env://", timeout=timeout):
        yield PrefixStore(f"attempt-{attempt}", store), rank, world_size
