"""Several batches in one transaction: each is answered as if it had come alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.entries import CredentialEntry, TrustBundleEntry
from chopmark.errors import StorageError
from chopmark_ledger.batch import BatchAnswer, Client, Submission
from chopmark_ledger.client import LogSettings
from chopmark_ledger.errors import (
    BackpressureError,
    BatchError,
    BatchRefusedError,
    CommitUnknownError,
    ConflictError,
    LogStoppedError,
    RefusedEntry,
)
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.database import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.ledger.conftest import World

ISSUER = "CN-GD/11440000MB2D0P8Q3X"
REGISTRY = Client("registry", frozenset({ISSUER}))
OTHER = Client("other", frozenset({"CN-GD/2"}))

pytestmark = pytest.mark.both_databases


def credentials(*numbers: int, issuer: str = ISSUER) -> list[bytes]:
    return [CredentialEntry(issuer, sha256(b"%d" % number).digest()).encode() for number in numbers]


@pytest.fixture
def log(world: World) -> Iterator[Log]:
    with world.open_log() as opened:
        yield opened


def test_several_batches_are_committed_by_one_transaction(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = count_commits(monkeypatch)
    submissions = [Submission(REGISTRY, number, credentials(number, number + 100)) for number in range(10)]
    answers = log.append_all(submissions)
    assert len(commits) == 1
    for submission, answer in zip(submissions, answers, strict=True):
        assert isinstance(answer, BatchAnswer)
        assert [log.entries(index, index + 1)[0] for index in answer.all_indexes()] == list(submission.entries)
    assert log.size == 21


def test_the_error_of_one_batch_spoils_no_other(world: World, log: Log) -> None:
    log.append(REGISTRY, 1, credentials(1))
    answers = log.append_all(
        [
            Submission(REGISTRY, 2, credentials(2)),
            Submission(REGISTRY, 1, credentials(3)),
            Submission(OTHER, 2, credentials(4)),
            Submission(REGISTRY, 3, [b"\xff", *credentials(5)]),
        ]
    )
    good, conflict, refused, partly = answers
    assert good == BatchAnswer((2,), ())
    assert isinstance(conflict, ConflictError)
    assert isinstance(refused, BatchRefusedError)
    assert isinstance(partly, BatchAnswer)
    assert partly.indexes == (None, 3)
    assert [each.position for each in partly.refused] == [0]
    assert log.size == 4


def test_one_batch_sent_twice_in_a_group_enters_once(log: Log) -> None:
    submission = Submission(REGISTRY, 1, credentials(*range(20)))
    first, second = log.append_all([submission, submission])
    assert first == second
    assert log.size == 21
    assert log.append(REGISTRY, 1, submission.entries) == first


def test_two_bodies_under_one_number_in_a_group_conflict(log: Log) -> None:
    first, second, third = log.append_all(
        [Submission(REGISTRY, 1, credentials(n)) for n in (1, 2)] + [Submission(OTHER, 1, [b"\xff"])]
    )
    assert first == BatchAnswer((1,), ())
    assert isinstance(second, ConflictError)
    assert isinstance(third, BatchRefusedError)


def test_a_number_stays_free_within_a_group_when_its_first_body_is_refused(log: Log) -> None:
    refused, taken = log.append_all([Submission(REGISTRY, 1, [b"\xff"]), Submission(REGISTRY, 1, credentials(1))])
    assert isinstance(refused, BatchRefusedError)
    assert taken == BatchAnswer((1,), ())


def test_a_batch_of_a_group_that_would_be_too_much_is_put_off_and_a_smaller_one_is_not(
    make_world: Callable[..., World],
) -> None:
    with make_world(LogSettings(max_unpublished=10)).open_log() as log:
        first, much, little = log.append_all(
            [
                Submission(REGISTRY, 1, credentials(*range(6))),
                Submission(REGISTRY, 2, credentials(*range(4))),
                Submission(REGISTRY, 3, credentials(*range(3))),
            ]
        )
        assert isinstance(first, BatchAnswer)
        assert isinstance(much, BackpressureError)
        assert much.retry_after == 5
        assert isinstance(little, BatchAnswer)
        assert log.size == 10


def test_a_group_of_nothing_new_commits_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(REGISTRY, 1, credentials(1))
    commits = count_commits(monkeypatch)
    log.append_all([Submission(REGISTRY, 1, credentials(1)), Submission(OTHER, 1, credentials(2))])
    assert log.append_all([]) == []
    assert commits == []


def test_refusals_are_answered_again_even_if_rights_have_changed_since(world: World) -> None:
    entries = [*credentials(1), *credentials(2, issuer="CN-GD/2"), TrustBundleEntry("CN-GD", 1, bytes(32)).encode()]
    with world.open_log() as log:
        answer = log.append(REGISTRY, 1, entries)
        assert answer.refused == (
            RefusedEntry(1, "client registry may not add entries of CN-GD/2"),
            RefusedEntry(2, "client registry does not speak for the region"),
        )
        assert answer.indexes == (1, None, None)
    promoted = Client("registry", region="CN-GD")
    demoted = Client("registry")
    with world.open_log() as log:
        assert log.append(promoted, 1, entries) == answer
        assert log.append(demoted, 1, entries) == answer
        with pytest.raises(ConflictError):
            log.append(promoted, 1, entries[:1])
        assert log.append(promoted, 2, entries[1:]).refused == ()


def test_a_refusal_of_every_kind_is_stored_and_read_back(world: World) -> None:
    entries = [
        *credentials(1),
        b"",
        b"x" * 65_536,
        b"\xff",
        CredentialEntry("账/\x00\x1b", bytes(32)).encode(),
        b"\x82\x09\x00",
    ]
    with world.open_log() as log:
        answer = log.append(REGISTRY, 1, entries)
    assert [each.position for each in answer.refused] == [1, 2, 3, 4, 5]
    with world.open_log() as log:
        assert log.append(REGISTRY, 1, entries) == answer


def test_a_database_that_took_nothing_leaves_the_log_running(
    world: World, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", failing(StorageError("the disk is full")))
        with pytest.raises(StorageError, match="full"):
            log.append(REGISTRY, 1, credentials(1))
    assert log.stopped_by is None
    assert log.append(REGISTRY, 1, credentials(1)) == BatchAnswer((1,), ())


def test_a_commit_of_which_nobody_knows_stops_the_log_for_all_that_waited(
    world: World, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = [Submission(REGISTRY, number, credentials(number)) for number in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", failing(CommitUnknownError("the disk failed"), after_commit=True))
        with pytest.raises(CommitUnknownError):
            log.append_all(submissions)
    assert log.stopped_by == "the disk failed"
    for attempt in (lambda: log.append_all(submissions), log.sign_committed, log.check_running):
        with pytest.raises(LogStoppedError, match="the log stopped: the disk failed"):
            attempt()
    log.close()
    with world.open_log() as again:
        assert again.size == 4
        assert again.append_all(submissions) == [BatchAnswer((number + 1,), ()) for number in range(3)]


def test_the_first_reason_to_stop_stays(log: Log) -> None:
    assert log.stopped_by is None
    log.stop(LogStoppedError("two witnesses hold more"))
    log.stop(LogStoppedError("something else"))
    assert log.stopped_by == "two witnesses hold more"
    with pytest.raises(LogStoppedError, match="two witnesses"):
        log.append(REGISTRY, 1, credentials(1))
    assert log.entries(0, 1), "reading goes on"


def test_together_or_one_by_one_batches_get_the_same_answers(make_world: Callable[..., World], backend: str) -> None:
    """A group is a sequence of single appends; without chance, its entries get the same order too."""

    @settings(
        max_examples=25 if backend == "sqlite" else 4,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(SUBMISSIONS)
    def run(drawn: list[tuple[int, int, list[bytes]]]) -> None:
        submissions = [Submission((REGISTRY, OTHER)[client], number, entries) for client, number, entries in drawn]
        outcomes = []
        for groups in ([submissions], [[each] for each in submissions]):
            world = make_world()
            limits = LogSettings(max_unpublished=12)
            with Log.open(
                world.log_folder, clock=world.clock, random=bytes, settings=limits, database=world.database
            ) as log:
                answers = [comparable(answer) for group in groups for answer in log.append_all(group)]
                outcomes.append((answers, log.entries(0, log.size)))
        assert outcomes[0] == outcomes[1]

    run()


SUBMISSIONS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 2),
        st.lists(
            st.sampled_from([*credentials(1, 2, 3), *credentials(4, 5, issuer="CN-GD/2"), b"\xff"]),
            min_size=1,
            max_size=4,
        ),
    ),
    max_size=8,
)


def comparable(answer: BatchAnswer | BatchError) -> object:
    return (type(answer), str(answer)) if isinstance(answer, BatchError) else answer


def count_commits(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """A list that grows by one at each transaction that writes."""
    commits: list[None] = []
    real = Database.write

    @contextmanager
    def counted(database: Database) -> Iterator[Any]:
        with real(database) as connection:
            yield connection
        commits.append(None)

    monkeypatch.setattr(Database, "write", counted)
    return commits


def failing(error: Exception, *, after_commit: bool = False) -> Any:
    """A `Database.write` that raises in the place of the commit, or after it."""
    real = Database.write

    @contextmanager
    def write(database: Database) -> Iterator[Any]:
        with real(database) as connection:
            yield connection
            if not after_commit:
                raise error
        raise error

    return write
