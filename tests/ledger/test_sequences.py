"""Sequences of appends, publications, crashes and faults, the whole log checked after every step.

Whatever happens, an entry that was acknowledged keeps its index, a published checkpoint is never contradicted or
replaced by a smaller one, and the log goes on after it was opened again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.errors import QuorumError, StorageError
from chopmark_ledger.audit.fsck import fsck
from chopmark_ledger.client import LocalLedger, LogSettings
from chopmark_ledger.errors import BackpressureError, LogStoppedError
from chopmark_ledger.storage.database import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.ledger.conftest import World

pytestmark = pytest.mark.both_databases

CALLS = ("fsync", "replace", "write", "open", "before commit", "after commit")


class Crash(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class Fault:
    """At the nth time that `call` is made, `error` comes instead."""

    call: str
    nth: int
    error: str


@dataclass(frozen=True)
class Step:
    """What is done, with a number, and what goes wrong meanwhile."""

    action: str
    number: int
    fault: Fault | None


FAULTS = st.builds(
    Fault, st.sampled_from(CALLS), st.integers(1, 12), st.sampled_from(["crash", "error", "full", "away"])
)
STEPS = st.builds(
    Step,
    st.sampled_from(["append", "append", "publish", "landmark", "reopen", "wait", "again"]),
    st.integers(1, 400),
    st.none() | FAULTS,
)


@contextmanager
def injected(fault: Fault | None) -> Iterator[None]:
    """Let a fault happen within the block."""
    with pytest.MonkeyPatch.context() as patch:
        if fault is not None:
            error: BaseException = {
                "crash": Crash(),
                "error": OSError(5, "Input/output error"),
                "full": OSError(28, "No space left on device"),
                "away": OSError(30, "Read-only file system"),
            }[fault.error]
            calls = iter(range(1, 1_000_000))
            if fault.call.endswith("commit"):
                patch.setattr(Database, "write", faulty_write(fault, calls, Crash()))
            else:
                real = getattr(os, fault.call)

                def counted(*arguments: Any, **options: Any) -> Any:
                    if next(calls) == fault.nth:
                        raise error
                    return real(*arguments, **options)

                patch.setattr(os, fault.call, counted)
        yield


def faulty_write(fault: Fault, calls: Iterator[int], error: BaseException) -> Any:
    real = Database.write
    nth = min(fault.nth, 3)

    @contextmanager
    def write(database: Database) -> Iterator[Any]:
        fails = next(calls) == nth
        with real(database) as connection:
            yield connection
            if fails and fault.call == "before commit":
                raise error
        if fails:
            raise error

    return write


def test_nothing_acknowledged_is_lost_and_nothing_published_is_contradicted(
    make_world: Callable[..., World], backend: str
) -> None:
    @settings(
        max_examples=60 if backend == "sqlite" else 12,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(steps=st.lists(STEPS, min_size=3, max_size=14))
    def run(steps: list[Step]) -> None:
        world = make_world(LogSettings(max_unpublished=2500, landmark_interval=600))
        ledger = world.open()
        sent: dict[int, list[bytes]] = {}
        for step in steps:
            ledger = perform(world, ledger, step, sent)
            world.check()
        finish(world, sent)
        world.close()

    run()


def perform(world: World, ledger: LocalLedger, step: Step, sent: dict[int, list[bytes]]) -> LocalLedger:
    """Do one step; answers the log as it is open afterwards."""
    number = len(sent)
    if step.action == "append":
        sent[number] = world.entries(step.number)
    try:
        with injected(step.fault):
            if step.action == "append":
                world.submit(ledger, number, sent[number])
            elif step.action == "again" and sent:
                world.submit(ledger, step.number % number, sent[step.number % number])
            elif step.action == "publish":
                ledger.publish()
            elif step.action == "landmark":
                ledger.landmark_now()
            elif step.action == "wait":
                world.clock.now += step.number
            elif step.action == "reopen":
                ledger = world.open()
    except (StorageError, QuorumError, BackpressureError):
        return ledger if world.ledger is not None else world.open()
    except (Crash, LogStoppedError):
        return world.open()
    return ledger


def finish(world: World, sent: dict[int, list[bytes]]) -> None:
    """Without faults everything goes through: what was sent and not answered is sent again, and published."""
    ledger = world.open()
    for number, entries in sent.items():
        try:
            world.submit(ledger, number, entries)
        except BackpressureError:
            ledger.publish()
            world.submit(ledger, number, entries)
    ledger.landmark_now()
    size = world.check()
    assert size == ledger.size == 1 + sum(map(len, sent.values()))
    assert len(world.acknowledged) == size - 1
    assert fsck(world.public, vkeys=[world.vkey]).damage == ()
    for index in list(world.acknowledged)[:: max(1, size // 20)]:
        ledger.tlog_proof(index)
        assert ledger.landmark_proof(index) is not None


def test_appends_and_publications_in_several_threads_do_not_disturb_each_other(world: World) -> None:
    ledger = world.open()
    batches = {number: world.entries(number % 7 * 20 + 1) for number in range(60)}
    published = []

    def append(numbers: range) -> None:
        for number in numbers:
            world.submit(ledger, number, batches[number])

    def publish() -> None:
        for _ in range(15):
            published.append(ledger.publish().checkpoint.size)
            world.check()

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(append, range(start, 60, 3)) for start in range(3)]
        work.append(pool.submit(publish))
        for each in work:
            each.result()
    assert published == sorted(published)
    ledger.publish()
    assert world.check() == 1 + sum(map(len, batches.values()))
    assert len(world.acknowledged) == ledger.size - 1
