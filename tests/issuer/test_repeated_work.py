"""Work that is done again and again, however often it fails."""

from __future__ import annotations

import queue
import threading
from typing import Any

from chopmark.errors import StorageError
from chopmark_issuer.service.repeated_work import RepeatedWork

from tests.ledger.served_log import until


class Work:
    """Work that a test lets fail; `rounds` gets the number of each."""

    def __init__(self) -> None:
        self.rounds: queue.Queue[int] = queue.Queue()
        self.count = 0
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.count += 1
        self.rounds.put(self.count)
        if self.error is not None:
            raise self.error


def start(work: Work, **options: Any) -> RepeatedWork:
    repeated = RepeatedWork("sample", work, **{"every": 3600.0, **options})
    repeated.start()
    assert work.rounds.get(timeout=20) == 1
    return repeated


def test_it_is_done_at_once_when_it_begins_and_whenever_it_is_woken() -> None:
    work = Work()
    repeated = start(work)
    for expected in (2, 3):
        repeated.wake()
        assert work.rounds.get(timeout=20) == expected
    repeated.close()
    assert repeated.status().problem is None
    repeated.close()


def test_it_is_done_from_time_to_time_though_nobody_wakes_it() -> None:
    work = Work()
    repeated = start(work, every=0.01)
    assert [work.rounds.get(timeout=20) for _ in range(3)] == [2, 3, 4]
    repeated.close()


def test_what_fails_is_tried_again_and_told_until_it_works() -> None:
    work = Work()
    work.error = StorageError("the log is away")
    repeated = start(work, first_pause=0.01, clock=lambda: 17.0)
    for expected in (2, 3):
        assert work.rounds.get(timeout=20) == expected
    status = repeated.status()
    assert (status.problem, status.since, status.done_at) == ("StorageError", 17.0, None)
    work.error = None
    until(lambda: repeated.status().problem is None)
    assert repeated.status().done_at == 17.0
    repeated.close()


def test_pauses_grow_up_to_a_bound_and_waking_does_not_shorten_them(monkeypatch: Any) -> None:
    pauses: list[float] = []
    enough = threading.Event()
    work = Work()
    work.error = StorageError("the log is away")

    def wait(self: RepeatedWork, seconds: float, *, woken: bool) -> None:
        assert not woken
        pauses.append(seconds)
        self.wake()
        if len(pauses) == 6:
            enough.set()
            self._closing = True

    monkeypatch.setattr(RepeatedWork, "_wait", wait)
    repeated = start(work, first_pause=1.0, longest_pause=10.0)
    assert enough.wait(20)
    repeated.close()
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_a_fault_ends_nothing() -> None:
    work = Work()
    work.error = KeyError("a bug")
    repeated = start(work, longest_pause=0.01)
    assert work.rounds.get(timeout=20) == 2
    repeated.close()
    assert repeated.status().problem == "fault"
