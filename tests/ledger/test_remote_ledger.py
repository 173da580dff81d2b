"""A log that a process serves, and the client that believes it nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chopmark.checkpoint import Checkpoint
from chopmark.entries import TrustBundleEntry
from chopmark.errors import ChopmarkError
from chopmark.landmark import LandmarkFile
from chopmark.merkle import leaf_hash
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.client import Client, recompute_fetched_landmarks
from chopmark_ledger.errors import (
    BatchRefusedError,
    ConflictError,
    ForbiddenError,
    LogUnreachableError,
    NotPublishedError,
    UnauthenticatedError,
)
from chopmark_ledger.service.remote_ledger import RemoteLedger

from tests.ledger.served_log import DEPARTMENT, ORIGIN, REGISTRY, STRANGER, ServedLog, until

ANYBODY = Client("registry", region="CN-GD")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedLog]:
    """One served log for the tests of this module, which only ever add to it."""
    log = ServedLog(tmp_path_factory.mktemp("served") / "log")
    log.set_up()
    log.start()
    yield log
    log.close()


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """A batch number of each test's own."""
    return abs(hash(request.node.nodeid)) % 2**40 * 16


def test_what_is_submitted_is_published_and_proven(served: ServedLog, number: int) -> None:
    entries = served.entries(300)
    with served.remote() as ledger:
        indexes = ledger.submit(ANYBODY, number, entries)
        assert len(set(indexes)) == 300
        witnessed = ledger.publish()
        assert witnessed.checkpoint.size > max(indexes)
        for place in (0, 299):
            proof = TlogProof.parse(ledger.tlog_proof(indexes[place]))
            assert proof.verify(leaf_hash(entries[place]), TlogPolicy.parse(served.policy)).checkpoint.origin == ORIGIN
            assert len(proof.checkpoint_note) < 1000, "a credential has no room for post-quantum lines"
        note = ledger.checkpoint()
        assert note is not None
        assert Checkpoint.parse(note).size >= witnessed.checkpoint.size
        assert (ledger.origin, ledger.number, ledger.vkey) == (ORIGIN, 1, served.keys.vkey)


def test_the_same_batch_gets_the_same_answer_and_another_body_none(served: ServedLog, number: int) -> None:
    entries = served.entries(5)
    with served.remote() as ledger:
        first = ledger.submit(ANYBODY, number, entries)
        assert ledger.submit(ANYBODY, number, entries) == first
        with pytest.raises(ConflictError):
            ledger.submit(ANYBODY, number, served.entries(5))


def test_a_refused_entry_is_told_and_its_neighbours_are_taken(served: ServedLog, number: int) -> None:
    good = served.entries(2)
    foreign = served.entries(1, issuer="CN-SH/11310000MB2D0P8Q3X")
    with served.remote("department", DEPARTMENT) as ledger:
        with pytest.raises(BatchRefusedError) as caught:
            ledger.submit(ANYBODY, number, [good[0], *foreign, good[1]])
        assert [each.position for each in caught.value.refused] == [1]
        assert caught.value.answer is not None
        assert caught.value.answer.indexes[1] is None
        with pytest.raises(BatchRefusedError) as caught:
            ledger.submit(ANYBODY, number + 1, [*foreign, TrustBundleEntry("CN-GD", 1, b"\1" * 32).encode(), b"x"])
        assert [each.position for each in caught.value.refused] == [0, 1, 2]
        assert caught.value.answer is None


def test_a_stranger_is_told_so(served: ServedLog, number: int) -> None:
    with served.remote(key=STRANGER, patience=2) as ledger, pytest.raises(UnauthenticatedError):
        ledger.submit(ANYBODY, number, served.entries(1))
    with served.remote("department", DEPARTMENT) as ledger, pytest.raises(ForbiddenError):
        ledger.landmark_now()


def test_landmarks_are_ended_fetched_by_what_is_new_and_proven(served: ServedLog, number: int) -> None:
    with served.remote() as ledger:
        before = LandmarkFile.parse(ledger.landmark_file())
        entries = served.entries(3)
        (index, *_) = ledger.submit(ANYBODY, number, entries)
        records = ledger.landmark_now()
        assert records[-1].end > index
        file = LandmarkFile.parse(ledger.landmark_file())
        assert file.records[len(before) :] == records
        assert ledger.landmark_file() == file.encode(), "asked again with nothing new"
        record = file.covering(index)
        proof = ledger.landmark_proof(index)
        assert proof is not None
        assert record is not None
        proof.verify(leaf_hash(entries[0]), record)
        later = ledger.submit(ANYBODY, number + 1, served.entries(1))
        assert ledger.landmark_proof(later[0]) is None


def test_landmarks_are_recomputed_from_what_is_fetched(served: ServedLog, number: int) -> None:
    with served.remote() as ledger:
        ledger.submit(ANYBODY, number, served.entries(3))
        ledger.landmark_now()
        policies = [TlogPolicy.parse(served.policy)]
        vouched = recompute_fetched_landmarks(ledger.fetch, where=ledger.url, origin=ORIGIN, policies=policies)
        assert vouched.data == ledger.landmark_file()


def test_an_entry_that_is_not_published_has_no_proof(served: ServedLog) -> None:
    with served.remote() as ledger, pytest.raises(NotPublishedError):
        ledger.tlog_proof(10**9)


def test_without_a_service_the_error_says_so(served: ServedLog) -> None:
    waited: list[float] = []
    with RemoteLedger(
        "http://127.0.0.1:9",  # nobody listens there
        name="registry",
        key=REGISTRY,
        policy_text=served.policy,
        vkey=served.keys.vkey,
        number=1,
        patience=0.5,
        sleep=waited.append,
    ) as ledger:
        with pytest.raises(LogUnreachableError):
            ledger.submit(ANYBODY, 1, served.entries(1))
        assert waited, "it did not try again"
        assert waited == sorted(waited)


def test_a_service_that_restarts_is_waited_for(tmp_path: Path) -> None:
    log = ServedLog(tmp_path / "log")
    log.set_up()
    try:
        log.start()
        port = log.url.rpartition(":")[2]
        restarts: list[float] = []

        def restart(seconds: float) -> None:
            """What happens while the client waits for the first time."""
            if not restarts:
                log.start("--port", port)
                assert log.url
            restarts.append(seconds)

        with log.remote(sleep=restart) as ledger:
            first = ledger.submit(ANYBODY, 1, log.entries(2))
            assert not restarts
            log.kill()
            entries = log.entries(2)
            second = ledger.submit(ANYBODY, 2, entries)
            assert restarts
            assert ledger.submit(ANYBODY, 2, entries) == second
            assert not set(first) & set(second)
            assert ledger.publish().checkpoint.size >= 5
    finally:
        log.close()


def test_a_log_that_shows_another_history_is_not_believed(tmp_path: Path) -> None:
    log = ServedLog(tmp_path / "log")
    log.set_up()
    try:
        log.start()
        with log.remote(patience=3) as ledger:
            ledger.submit(ANYBODY, 1, log.entries(2))
            ledger.publish()
            old = (log.public / "checkpoint").read_bytes()
            ledger.submit(ANYBODY, 2, log.entries(2))
            ledger.publish()
            (log.public / "checkpoint").write_bytes(old)
            with pytest.raises(ChopmarkError, match="was published, and now"):
                ledger.checkpoint()
            (log.public / "checkpoint").unlink()
            with pytest.raises(ChopmarkError, match="is gone"):
                ledger.checkpoint()
            (log.public / "checkpoint").write_bytes(old.replace(b"\n3\n", b"\n9\n"))
            with pytest.raises(ChopmarkError):
                ledger.checkpoint()
    finally:
        log.close()


def test_without_a_quorum_entries_are_taken_and_publication_is_waited_for(tmp_path: Path) -> None:
    log = ServedLog(tmp_path / "log")
    log.set_up()
    try:
        log.witnesses[1].is_down = True
        log.start()
        with log.remote(patience=0.5) as ledger:
            ledger.submit(ANYBODY, 1, log.entries(2))
            with pytest.raises(NotPublishedError):
                ledger.publish()
            log.witnesses[1].is_down = False
        with log.remote() as ledger:  # knows nothing of what was committed
            until(lambda: ledger.publish().checkpoint.size == 3)
    finally:
        log.close()
