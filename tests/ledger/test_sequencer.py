"""Group commit: who waits together is committed together, and each gets its own answer once it is durable."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.entries import CredentialEntry
from chopmark.errors import StorageError
from chopmark_ledger.batch import BatchAnswer, Client, Submission
from chopmark_ledger.errors import (
    BackpressureError,
    BatchError,
    BatchRefusedError,
    CommitUnknownError,
    ConflictError,
    LogStoppedError,
)
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.sequencing.sequencer import Sequencer, SequencerLimits

if TYPE_CHECKING:
    from tests.ledger.conftest import World

ISSUER = "CN-GD/11440000MB2D0P8Q3X"
REGISTRY = Client("registry", frozenset({ISSUER}))
PATIENCE = 20
"""Seconds that a test waits for what should come at once."""

pytestmark = pytest.mark.both_databases


def submission(number: int, count: int = 1) -> Submission:
    digests = [sha256(b"%d/%d" % (number, position)).digest() for position in range(count)]
    return Submission(REGISTRY, number, [CredentialEntry(ISSUER, digest).encode() for digest in digests])


@pytest.fixture
def log(world: World) -> Iterator[Log]:
    with world.open_log() as opened:
        yield opened


@dataclass
class Gate:
    """Holds a log's commits up until it is opened, and remembers how large each group was."""

    groups: list[int] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    """What happens in the place of a commit."""


@pytest.fixture
def gate(log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    real = log.append_all

    def held_up(submissions: Sequence[Submission]) -> list[BatchAnswer | BatchError]:
        gate.groups.append(len(submissions))
        gate.reached.set()
        assert gate.opened.wait(PATIENCE)
        if gate.error is not None:
            raise gate.error
        return real(submissions)

    monkeypatch.setattr(log, "append_all", held_up)
    yield gate
    gate.opened.set()


@contextmanager
def running(log: Log, **options: Any) -> Iterator[Sequencer]:
    sequencer = Sequencer(log, **options)
    try:
        yield sequencer
    finally:
        sequencer.close()


def held_up_sequencer(log: Log, gate: Gate, **options: Any) -> Sequencer:
    """A sequencer whose first group, of one batch, is being committed; whatever comes now waits."""
    sequencer = Sequencer(log, **options)
    sequencer.submit(submission(0))
    assert gate.reached.wait(PATIENCE)
    return sequencer


def test_a_batch_is_answered_when_it_is_in_the_log(log: Log) -> None:
    with running(log) as sequencer:
        answer = sequencer.submit(submission(1, 5)).result(PATIENCE)
        assert sorted(answer.all_indexes()) == [1, 2, 3, 4, 5]
        assert log.size == 6
        assert sequencer.submit(submission(1, 5)).result(PATIENCE) == answer


def test_batches_that_wait_while_another_is_committed_share_the_next_commit(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    futures = [sequencer.submit(submission(number)) for number in range(1, 40)]
    assert sequencer.waiting_entries == 39
    gate.opened.set()
    indexes = [future.result(PATIENCE).indexes[0] for future in futures]
    assert indexes == list(range(2, 41)), "in the order in which they came"
    assert gate.groups == [1, 39]
    assert sequencer.waiting_entries == 0
    sequencer.close()


def test_nobody_is_answered_before_the_commit(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    future = sequencer.submit(submission(1))
    assert not future.done()
    gate.opened.set()
    future.result(PATIENCE)
    sequencer.close()


def test_each_batch_of_a_group_gets_its_own_answer_or_error(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    good = sequencer.submit(submission(1))
    again = sequencer.submit(submission(1))
    conflict = sequencer.submit(submission(1, 2))
    refused = sequencer.submit(Submission(REGISTRY, 2, [b"\xff"]))
    gate.opened.set()
    assert good.result(PATIENCE) == again.result(PATIENCE) == BatchAnswer((2,), ())
    assert isinstance(conflict.exception(PATIENCE), ConflictError)
    assert isinstance(refused.exception(PATIENCE), BatchRefusedError)
    assert gate.groups == [1, 4]
    sequencer.close()


def test_a_group_has_its_bounds(log: Log, gate: Gate) -> None:
    size = submission(1, 10).byte_count
    for limits in (SequencerLimits(group_entries=25), SequencerLimits(group_bytes=size * 2)):
        gate.opened.clear()
        gate.reached.clear()
        gate.groups.clear()
        sequencer = held_up_sequencer(log, gate, limits=limits)
        futures = [sequencer.submit(submission(number, 10)) for number in range(1, 6)]
        futures.append(sequencer.submit(submission(6, 30)))
        gate.opened.set()
        for future in futures:
            future.result(PATIENCE)
        assert gate.groups == [1, 2, 2, 1, 1]
        sequencer.close()


def test_what_waits_has_its_bounds_and_who_is_refused_is_told_when_to_come_again(log: Log, gate: Gate) -> None:
    size = submission(1, 10).byte_count
    for limits in (SequencerLimits(waiting_entries=25), SequencerLimits(waiting_bytes=size * 2)):
        gate.opened.clear()
        gate.reached.clear()
        sequencer = held_up_sequencer(log, gate, limits=limits)
        taken = [sequencer.submit(submission(number, 10)) for number in (1, 2)]
        with pytest.raises(BackpressureError, match="20 entries wait to be committed") as caught:
            sequencer.submit(submission(3, 10))
        assert caught.value.retry_after == 1
        gate.opened.set()
        for future in taken:
            future.result(PATIENCE)
        sequencer.submit(submission(3, 10)).result(PATIENCE)
        sequencer.close()


def test_a_batch_larger_than_every_bound_is_taken_alone(log: Log) -> None:
    limits = SequencerLimits(waiting_entries=1, waiting_bytes=1, group_entries=1, group_bytes=1)
    with running(log, limits=limits) as sequencer:
        assert len(sequencer.submit(submission(1, 50)).result(PATIENCE).indexes) == 50


def test_a_batch_that_was_given_up_while_it_waited_is_left_out(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    given_up, other = sequencer.submit(submission(1)), sequencer.submit(submission(2))
    assert given_up.cancel()
    gate.opened.set()
    other.result(PATIENCE)
    sequencer.close()
    assert log.size == 3


def test_when_all_that_waits_was_given_up_the_sequencer_goes_on(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    for number in (1, 2):
        assert sequencer.submit(submission(number)).cancel()
    gate.opened.set()
    sequencer.submit(submission(3)).result(PATIENCE)
    sequencer.close()
    assert log.size == 3


def test_whoever_publishes_is_woken_by_a_commit_and_by_nothing_else(log: Log) -> None:
    sizes: list[int] = []
    with running(log, on_commit=lambda: sizes.append(log.size)) as sequencer:
        for each in (submission(1, 3), submission(1, 3), Submission(REGISTRY, 2, [b"\xff"]), submission(3)):
            sequencer.submit(each).exception(PATIENCE)
    assert sizes == [4, 5]


def test_closing_answers_what_was_taken_and_takes_no_more(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    futures = [sequencer.submit(submission(number)) for number in range(1, 5)]
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(sequencer.close)
        gate.opened.set()
        closing.result(PATIENCE)
    assert [future.result(0).indexes for future in futures] == [(2,), (3,), (4,), (5,)]
    with pytest.raises(BackpressureError, match="closing") as caught:
        sequencer.submit(submission(9))
    assert caught.value.retry_after == 5
    sequencer.close()


def test_after_the_log_stopped_everybody_is_told_so(log: Log, gate: Gate) -> None:
    sequencer = held_up_sequencer(log, gate)
    waiting = [sequencer.submit(submission(number)) for number in range(1, 4)]
    log.stop(LogStoppedError("two witnesses hold more"))
    gate.opened.set()
    for future in [*waiting, sequencer.submit(submission(4))]:
        assert isinstance(future.exception(PATIENCE), LogStoppedError)
    sequencer.close()
    with pytest.raises(LogStoppedError, match="two witnesses"):
        sequencer.submit(submission(5))


@pytest.mark.parametrize("error", [StorageError("the disk is full"), CommitUnknownError("the disk failed")])
def test_a_commit_that_failed_is_told_to_all_who_shared_it(log: Log, gate: Gate, error: Exception) -> None:
    gate.error = error
    sequencer = held_up_sequencer(log, gate)
    futures = [sequencer.submit(submission(number)) for number in range(1, 4)]
    gate.opened.set()
    assert [future.exception(PATIENCE) for future in futures] == [error] * 3
    gate.error = None
    sequencer.submit(submission(9)).result(PATIENCE)
    sequencer.close()


@pytest.mark.parametrize("at", ["commit", "wake"])
def test_an_error_that_nobody_foresaw_stops_the_log_and_leaves_nobody_waiting(log: Log, gate: Gate, at: str) -> None:
    def wake() -> None:
        raise KeyboardInterrupt("unforeseen")

    if at == "commit":
        gate.error = KeyboardInterrupt("unforeseen")
    sequencer = held_up_sequencer(log, gate, on_commit=wake, limits=SequencerLimits(group_entries=1))
    futures = [sequencer.submit(submission(number)) for number in range(1, 4)]
    gate.opened.set()
    for future in futures:
        assert isinstance(future.exception(PATIENCE), LogStoppedError)
    sequencer.close()
    assert log.stopped_by == "unforeseen"
    with pytest.raises(LogStoppedError, match="unforeseen"):
        sequencer.submit(submission(9))


def test_many_clients_at_once_lose_nothing(log: Log) -> None:
    clients = [Client(f"client {n}", frozenset({ISSUER})) for n in range(8)]
    with running(log) as sequencer:

        def send(client: Client) -> dict[int, bytes]:
            taken = {}
            for number in range(25):
                entries = [CredentialEntry(ISSUER, sha256(f"{client.name} {number}".encode()).digest()).encode()]
                answer = sequencer.submit(Submission(client, number, entries)).result(PATIENCE)
                taken[answer.all_indexes()[0]] = entries[0]
            return taken

        with ThreadPoolExecutor(8) as pool:
            taken = {index: entry for each in pool.map(send, clients) for index, entry in each.items()}
    assert sorted(taken) == list(range(1, 201))
    assert [taken[index] for index in range(1, 201)] == log.entries(1, 201)
