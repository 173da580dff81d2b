"""The loop that publishes: when it does, how it tells, what it does without a quorum, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.checkpoint import SignedCheckpoint
from chopmark.errors import ChopmarkError, QuorumError, StorageError
from chopmark.landmark import LandmarkFile
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.batch import Client, Submission
from chopmark_ledger.client import LocalWitness
from chopmark_ledger.errors import ForkError, LogStoppedError, NotPublishedError, TileConflictError
from chopmark_ledger.publication import publication_loop
from chopmark_ledger.publication.publication_loop import PublicationLoop
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.sequencing.sequencer import Sequencer
from chopmark_ledger.witness.witness import WitnessAnswer

if TYPE_CHECKING:
    from tests.ledger.conftest import World

LONG = 30.0
REGION = Client("region", region="CN-GD")


class Switched:
    """A witness that can be switched off, or made to wait."""

    def __init__(self, inner: LocalWitness) -> None:
        self._inner = inner
        self.name, self.vkeys = inner.name, inner.vkeys
        self.is_off = False
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_asked = threading.Event()
        self.requests = 0
        self.answer: WitnessAnswer | None = None

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        self.requests += 1
        self.is_asked.set()
        assert self.goes_on.wait(LONG)
        if self.is_off:
            raise ChopmarkError("cannot be reached", where="witness")
        return self.answer or self._inner.add_checkpoint(body)


class Running:
    """A log with its loop, as a service runs it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.witnesses = [Switched(witness) for witness in world.witnesses()]
        self.log = Log.open(world.log_folder, key=world.key, clock=world.clock)
        self.landmarks = Landmarks(self.log)
        self.batches = 0
        self._loops: list[PublicationLoop] = []

    def start(self, interval: float = 0.0, **options: Any) -> PublicationLoop:
        publisher = Publisher(self.log, self.witnesses, TlogPolicy.parse(self.world.policy), **options)
        self._loops.append(PublicationLoop(self.log, publisher, self.landmarks, interval=interval))
        return self._loops[-1]

    def commit(self, count: int) -> int:
        """Append; answers the size of the log."""
        self.batches += 1
        entries = self.world.entries(count)
        answer = self.log.append(REGION, self.batches, entries)
        for index, entry in zip(answer.indexes, entries, strict=True):
            assert index is not None
            self.world.acknowledged[index] = entry
        return self.log.size

    def close(self) -> None:
        for witness in self.witnesses:
            witness.goes_on.set()
        for loop in self._loops:
            loop.close()
        self.log.close()


@pytest.fixture
def running(world: World) -> Iterator[Running]:
    """The log of a world, opened; whatever loops it starts are closed."""
    opened = Running(world)
    yield opened
    opened.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """New attempts and looks at landmarks follow at once."""
    monkeypatch.setattr(publication_loop, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(publication_loop, "LAST_RETRY", 0.01)
    monkeypatch.setattr(publication_loop, "LANDMARK_CHECK", 0.01)


def until(condition: Callable[[], object]) -> None:
    """Wait until something is the case."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.002)


def published(world: World) -> int:
    path = world.public / "checkpoint"
    return SignedCheckpoint.parse(path.read_bytes()).checkpoint.size if path.exists() else 0


# ---- publishing


def test_what_an_earlier_process_committed_is_published_at_once(running: Running) -> None:
    size = running.commit(300)
    loop = running.start()
    assert loop.wait_for(size, LONG)
    assert running.world.check() == 301


def test_what_is_committed_is_published_and_told(running: Running) -> None:
    loop = running.start()
    for _ in range(3):
        future = loop.subscribe(running.commit(100))
        loop.wake()
        assert future.result(LONG).size == running.log.size
        assert loop.wait_for(running.log.size, 0)
        assert running.world.check() == running.log.size


@pytest.mark.usefixtures("_impatient")
def test_a_loop_has_heard_the_witnesses_once_they_answered_and_not_by_what_was_published_before(
    running: Running,
) -> None:
    first = running.start()
    assert first.wait_for(1, LONG)
    first.close()
    for witness in running.witnesses:
        witness.is_off = True
    loop = running.start()
    until(lambda: loop.status().failures)
    heard = loop.subscribe(1, once_heard=True)
    assert loop.subscribe(1).result(LONG).size == 1
    failures = loop.status().failures
    until(lambda: loop.status().failures > failures)
    assert not heard.done()
    assert not loop.has_heard
    for witness in running.witnesses:
        witness.is_off = False
    assert heard.result(LONG).size == 1
    assert loop.has_heard


def test_a_sequencer_wakes_the_loop(running: Running) -> None:
    loop = running.start()
    sequencer = Sequencer(running.log, on_commit=loop.wake)
    answer = sequencer.submit(Submission(REGION, 1, running.world.entries(10))).result(LONG)
    assert loop.wait_for(max(index or 0 for index in answer.indexes) + 1, LONG)
    sequencer.close()


def test_commits_during_a_publication_share_the_next_one(running: Running) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    for witness in running.witnesses:
        witness.goes_on.clear()
        witness.is_asked.clear()
    running.commit(1)
    loop.wake()
    assert running.witnesses[0].is_asked.wait(LONG)
    for _ in range(10):
        running.commit(5)
        loop.wake()
    for witness in running.witnesses:
        witness.goes_on.set()
    assert loop.wait_for(running.log.size, LONG)
    assert loop.status().publications == 3


def test_publications_begin_no_closer_than_the_interval(running: Running) -> None:
    loop = running.start(interval=3600)
    assert loop.wait_for(1, LONG)
    future = loop.subscribe(running.commit(10))
    loop.wake()
    assert not loop.wait_for(11, 0.05)
    assert not future.done()
    loop.close()
    assert future.result(LONG).size == 11, "closing gives what was committed one last turn"


def test_a_clock_that_jumps_does_not_hold_up_publication(running: Running) -> None:
    loop = running.start()
    for jump in (10**8, -200, -100, 10**6):
        running.world.clock.now += jump
        size = running.commit(2000)
        loop.wake()
        assert loop.wait_for(size, LONG)
    assert running.world.check() == running.log.size


# ---- waiting


def test_what_is_published_already_is_not_waited_for(running: Running) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    assert loop.subscribe(1).result(0).size == 1
    assert loop.wait_for(0, 0)


def test_waiting_ends_when_its_time_is_over(running: Running) -> None:
    loop = running.start()
    assert not loop.wait_for(2, 0.01)


def test_each_waits_for_its_own_size(running: Running) -> None:
    loop = running.start()
    near, far = loop.subscribe(11), loop.subscribe(1000)
    running.commit(10)
    loop.wake()
    assert near.result(LONG).size == 11
    assert not far.done()
    assert not loop.wait_for(1000, 0)


def test_a_future_that_is_cancelled_is_forgotten(running: Running) -> None:
    loop = running.start()
    futures = [loop.subscribe(size) for size in (2, 3)]
    assert futures[0].cancel()
    assert list(loop._waiting) == futures[1:]
    running.commit(10)
    loop.wake()
    futures[1].result(LONG)
    with pytest.raises(CancelledError):
        futures[0].result(0)
    until(lambda: not loop._waiting)


# ---- without a quorum


@pytest.mark.usefixtures("_impatient")
def test_a_missing_quorum_is_shown_and_recovered_from_without_help(running: Running) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    healthy = loop.status()
    assert (healthy.problem, healthy.since, healthy.failures, healthy.retry_in) == (None, None, 0, None)
    for witness in running.witnesses[:2]:
        witness.is_off = True
    running.commit(10)
    running.world.clock.now += 60
    loop.wake()
    until(lambda: loop.status().failures >= 3)
    running.world.clock.now += 60
    status = loop.status()
    assert "cn-sh.example/witness: " in str(status.problem)
    assert status.since == running.world.clock.now - 60
    assert (status.committed, status.published, status.unpublished) == (11, 1, 10)
    assert status.retry_in is not None
    assert [bool(report.problem) for report in status.witnesses] == [True, True, False]
    assert status.is_running
    assert status.stopped_by is None
    assert published(running.world) == 1
    for witness in running.witnesses:
        witness.is_off = False
    assert loop.wait_for(11, LONG)
    until(lambda: loop.status().problem is None)
    assert loop.status().failures == 0
    assert running.world.check() == 11


def test_commits_do_not_cut_the_pause_between_attempts_short(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication_loop, "FIRST_RETRY", 3600)
    monkeypatch.setattr(publication_loop, "LAST_RETRY", 3600)
    for witness in running.witnesses:
        witness.is_off = True
    loop = running.start()
    until(lambda: loop.status().failures)
    for _ in range(20):
        running.commit(1)
        loop.wake()
    loop.close()
    assert [witness.requests for witness in running.witnesses] == [1, 1, 1]
    assert loop.status().failures == 1


def test_pauses_grow_to_a_bound(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = publication_loop._Attempts()
    pauses = []
    for _ in range(100):
        attempts.failed("no quorum", 0)
        pauses.append(attempts.remaining())
    assert pauses == pytest.approx([0.25, 0.5, 1, 2, 4] + [8] * 95, abs=0.2)


@pytest.mark.usefixtures("_impatient")
def test_a_disk_that_is_full_for_a_while_is_no_reason_to_stop(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)

    def full(*_: object) -> None:
        raise StorageError("cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(running.log.public_folder, "put_all", full)
        size = running.commit(10)
        loop.wake()
        until(lambda: "No space left" in str(loop.status().problem))
    assert loop.wait_for(size, LONG)
    assert running.world.check() == size


@pytest.mark.usefixtures("_impatient")
def test_an_error_that_nobody_foresaw_is_shown_and_tried_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    with monkeypatch.context() as patch:
        patch.setattr(running.log.public_folder, "put_all", lambda *_: 1 / 0)
        size = running.commit(10)
        loop.wake()
        until(lambda: "ZeroDivisionError" in str(loop.status().problem))
    assert loop.wait_for(size, LONG)


# ---- landmarks


def landmark_end(world: World) -> int:
    return LandmarkFile.parse((world.public / "landmarks").read_bytes()).end


@pytest.mark.usefixtures("_impatient")
def test_landmarks_are_ended_when_due_though_nothing_is_committed(running: Running) -> None:
    loop = running.start()
    size = running.commit(10)
    loop.wake()
    assert loop.wait_for(size, LONG)
    assert loop.status().landmark_end == 0
    running.world.clock.now += 15 * 60
    until(lambda: loop.status().landmark_end == 11)
    until(lambda: landmark_end(running.world) == 11)
    running.world.check()


@pytest.mark.usefixtures("_impatient")
def test_a_process_ends_no_landmark_before_the_witnesses_were_heard(running: Running) -> None:
    """A database from a backup would end an interval that was ended before, in another way."""
    running.commit(10)
    running.start().wait_for(11, LONG)
    running.close()
    opened = Running(running.world)
    for witness in opened.witnesses:
        witness.is_off = True
    opened.world.clock.now += 3600
    loop = opened.start()
    try:
        until(lambda: loop.status().failures > 3)
        assert loop.status().published == 11
        assert loop.status().landmark_end == 0
        for witness in opened.witnesses:
            witness.is_off = False
        until(lambda: loop.status().landmark_end == 11)
    finally:
        opened.close()


@pytest.mark.usefixtures("_impatient")
def test_no_landmark_is_ended_before_the_witnesses_have_been_heard(running: Running) -> None:
    """A database from a backup would end the interval anew, otherwise than it was published."""
    loop = running.start()
    assert loop.wait_for(running.commit(10), LONG)
    running._loops.pop().close()
    running.world.clock.now += 15 * 60
    for witness in running.witnesses:
        witness.is_off = True
    loop = running.start()
    until(lambda: loop.status().failures >= 3)
    assert loop.status().landmark_end == 0
    for witness in running.witnesses:
        witness.is_off = False
    until(lambda: loop.status().landmark_end == 11)


def test_landmarks_at_a_multiple_of_1024_are_there_when_the_publication_is_told(running: Running) -> None:
    loop = running.start()
    size = running.commit(2100)
    loop.wake()
    assert loop.subscribe(size).result(LONG).size == size
    assert landmark_end(running.world) == loop.status().landmark_end == 2048


@pytest.mark.usefixtures("_impatient")
def test_landmarks_that_cannot_be_written_hold_up_no_publication(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)

    def failing(**_: object) -> None:
        raise StorageError("cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(running.landmarks, "end_due", failing)
        for _ in range(3):
            size = running.commit(1000)
            loop.wake()
            assert loop.wait_for(size, LONG)
        until(lambda: "No space left" in str(loop.status().landmark_problem))
        assert loop.status().problem is None
    until(lambda: loop.status().landmark_problem is None)
    assert loop.status().landmark_end == 2048


# ---- ending


def test_what_stops_the_log_ends_the_loop_and_is_told(running: Running) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    path = running.world.public / "tile" / "0" / "000.p" / "11"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"other bytes")
    future = loop.subscribe(running.commit(10))
    loop.wake()
    with pytest.raises(TileConflictError):
        future.result(LONG)
    assert not loop.wait_for(11, LONG)
    status = loop.status()
    assert not status.is_running
    assert "other bytes" in str(status.stopped_by)
    assert "other bytes" in str(status.problem)
    with pytest.raises(LogStoppedError, match="other bytes"):
        running.commit(1)
    with pytest.raises(TileConflictError):
        loop.subscribe(11).result(0)
    assert loop.subscribe(1).result(0).size == 1


def test_witnesses_that_hold_more_than_a_restored_database_stop_it_before_anything_is_committed(
    running: Running,
) -> None:
    running.start().wait_for(1, LONG)
    for witness in running.witnesses:
        witness.answer = WitnessAnswer(409, b"100\n", "text/x.tlog.size")
    running._loops.pop().close()
    loop = running.start()
    with pytest.raises(LogStoppedError, match="hold size 100, the database 1"):
        loop.subscribe(2).result(LONG)
    assert "hold size 100" in str(running.log.stopped_by)


def test_the_loop_ends_when_something_else_stopped_the_log(running: Running) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    running.log.stop(ForkError("two histories"))
    loop.wake()
    with pytest.raises(LogStoppedError, match="two histories"):
        loop.subscribe(2).result(LONG)


def test_closing_tells_those_who_wait_and_the_next_process_goes_on(running: Running) -> None:
    for witness in running.witnesses[:2]:
        witness.goes_on.clear()
    loop = running.start(patience=3600)
    size = running.commit(10)
    future = loop.subscribe(size)
    assert running.witnesses[0].is_asked.wait(LONG)
    loop.close(timeout=0.01)
    loop.close()
    with pytest.raises(NotPublishedError, match="when it is opened again"):
        future.result(LONG)
    with pytest.raises(NotPublishedError):
        loop.subscribe(size).result(0)
    assert not loop.wait_for(size, LONG)
    assert not loop.status().is_running
    assert published(running.world) == 0
    assert not list((running.world.log_folder / "staging").iterdir())
    for witness in running.witnesses:
        witness.goes_on.set()
    assert running.start().wait_for(size, LONG)
    assert running.world.check() == size


def test_closing_lets_a_publication_finish(running: Running) -> None:
    for witness in running.witnesses:
        witness.goes_on.clear()
    loop = running.start()
    size = running.commit(10)
    assert running.witnesses[0].is_asked.wait(LONG)
    closing = threading.Thread(target=loop.close, args=(LONG,))
    closing.start()
    for witness in running.witnesses:
        witness.goes_on.set()
    closing.join(LONG)
    assert not closing.is_alive()
    assert running.log.publication is not None
    assert running.world.check() in (1, size)


def test_after_closing_the_quorum_is_not_asked_for_again(running: Running) -> None:
    loop = running.start()
    assert loop.wait_for(1, LONG)
    loop.close()
    asked = [witness.requests for witness in running.witnesses]
    running.commit(1)
    loop.wake()
    with pytest.raises(QuorumError):
        loop._publisher.publish()
    assert [witness.requests for witness in running.witnesses] == asked
