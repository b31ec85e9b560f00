"""Laws of the notices between processes: the others hear who leaves, and who is missing is known by its rank."""

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from torch.distributed import HashStore, distributed_c10d

from pretrain.distributed import notices
from pretrain.distributed.notices import Notices

Make = Callable[[int], Notices]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """The notices of a rank of two, which share a store."""
    store, made = HashStore(), []
    monkeypatch.setattr(distributed_c10d, "_get_default_store", lambda: store)
    monkeypatch.setattr(notices, "_LISTENING_SECONDS", 0.05)

    def notices_of(rank: int) -> Notices:
        made.append(Notices(rank, 2))
        return made[-1]

    yield notices_of
    for one in made:
        if one._thread.is_alive():
            one.end()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that were sent to this process."""
    numbers: list[int] = []
    monkeypatch.setattr(notices.os, "kill", lambda _, number: numbers.append(number))
    return numbers


@pytest.mark.parametrize(("status", "number"), [(143, signal.SIGTERM), (130, signal.SIGINT)])
def test_who_leaves_waits_until_the_other_has_heard_it_and_does_not_count_itself(
    make: Make, sent: list[int], status: int, number: signal.Signals
) -> None:
    one, other = make(0), make(1)
    one.listen()
    threading.Timer(0.4, other.listen).start()  # busy until then
    began = time.monotonic()
    one.leave(status)
    assert 0.4 <= time.monotonic() - began < notices._LEAVING_SECONDS
    assert (one.heard, other.heard, sent) == (0, status, [number])


def test_who_leaves_does_not_wait_for_ever(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_LEAVING_SECONDS", 0.2)
    one = make(0)
    one.listen()
    one.leave(143)
    assert one.heard == 0


def test_the_ranks_that_are_missing_are_those_that_have_not_come(make: Make) -> None:
    one, other = make(0), make(1)
    one.listen()
    one.come(7)
    until = time.monotonic() + 5
    while one.missing(7) != [1] and time.monotonic() < until:
        time.sleep(0.01)
    assert one.missing(7) == other.missing(7) == [1]
    assert one.missing(8) == [0, 1]


def test_a_store_that_does_not_answer_is_that_of_rank_0_and_keeps_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_LEAVING_SECONDS", 0.1)
    hung, one = threading.Event(), make(1)
    monkeypatch.setattr(one, "_ask", lambda place, found: hung.wait(30))
    one.come(3)  # returns at once, whatever the store does
    assert one.missing(3) == [0]
    hung.set()
