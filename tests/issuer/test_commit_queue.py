"""What several requests ask is done in one transaction, and none of them spoils another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

import pytest
from chopmark.errors import FormatError
from chopmark.keys import Ed25519Signer
from chopmark_issuer.errors import (
    AuthorityError,
    ConflictError,
    DatabaseError,
    FieldError,
    LifecycleError,
    RefusedError,
    SigningProcessError,
)
from chopmark_issuer.licences import bulk_issue
from chopmark_issuer.lifecycle import Act
from chopmark_issuer.service import commit_queue, idempotency
from chopmark_issuer.service.clients import DepartmentClient, Right, add_client, make_client, remove_client
from chopmark_issuer.service.commit_queue import ActTask, CommitQueue, Issued, IssueTask, QueueLimits, Writing
from chopmark_issuer.service.idempotency import KEPT_SECONDS, Answer, KeptFullError, KeyReusedError, RequestKey
from chopmark_issuer.storage.models import KEPT_ANSWER, LICENCE, OUTBOX
from chopmark_service.errors import BackpressureError, ForbiddenError
from sqlalchemy import func, select
from sqlalchemy.exc import DataError, IntegrityError

from tests.issuer.conftest import DRIVER, MARKETS, NOW, TRANSPORT
from tests.ledger.served_log import until

pytestmark = pytest.mark.both_databases

SIGNERS = {name: Ed25519Signer.generate() for name in ("office", "one", "two")}


def client(name: str = "office", department: str = MARKETS, **changes: Any) -> DepartmentClient:
    return make_client(name, department, **{"rights": Right, "keys": [SIGNERS[name].public_key], **changes})


def let_in(office: Any, changed: DepartmentClient) -> None:
    with office.database.writing() as connection:
        add_client(connection, changed, at=NOW, replace=True)


def key(text: str, body: bytes = b"", *, name: str = "office", part: int = 0) -> RequestKey:
    return RequestKey(name, text, part, idempotency.request_digest(body))


def issue(office: Any, text: str, body: bytes = b"", **changes: Any) -> IssueTask:
    return IssueTask(client(), key(text, body), (office.food(**changes),), encode_one)


def encode_one(issued: Issued) -> Answer:
    if isinstance(issued[0], RefusedError):
        raise issued[0]
    return Answer(201, issued[0].number.encode(), "/there")


def record(office: Any, text: str, number: str, act: Act) -> ActTask:
    def do(writing: Writing) -> Answer:
        return Answer(200, writing.registry.record(writing.actor, number, act, at=writing.at).value.encode())

    return ActTask(client(), Right.STATUS, key(text), do)


def licences(office: Any) -> int:
    with office.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(LICENCE)).scalar_one())


@pytest.fixture
def make_queue(office: Any) -> Iterator[Callable[..., CommitQueue]]:
    made: list[CommitQueue] = []
    for name in SIGNERS:
        let_in(office, client(name))

    def make(**options: Any) -> CommitQueue:
        clock = options.pop("clock", lambda: NOW)
        made.append(CommitQueue(office.database, office.keys, clock=clock, **options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@contextmanager
def held(office: Any) -> Iterator[None]:
    """Let the queue wait for the database, so that what is submitted meanwhile shares the next transaction."""
    with office.database.writing():
        yield


def outcome(future: Future[Answer]) -> Answer | BaseException:
    wait([future], timeout=30)
    error = future.exception()
    return future.result() if error is None else error


def test_requests_share_a_transaction_and_a_refused_one_spoils_no_neighbour(office: Any, make_queue: Any) -> None:
    commits: list[bool] = []
    queue = make_queue(on_commit=commits.append)
    first = outcome(queue.submit(issue(office, "first")))
    assert isinstance(first, Answer)
    number = first.body.decode()
    with held(office):
        blocked = queue.submit(issue(office, "blocked"))
        futures = [
            queue.submit(issue(office, "a")),
            queue.submit(issue(office, "b", fields={})),
            queue.submit(record(office, "c", number, Act.SUSPEND)),
            queue.submit(record(office, "d", number, Act.SUSPEND)),
            queue.submit(issue(office, "e")),
        ]
    outcomes = [outcome(future) for future in (blocked, *futures)]
    assert [type(each) for each in outcomes] == [Answer, Answer, FieldError, Answer, LifecycleError, Answer]
    assert licences(office) == 4
    assert commits[0] is False
    until(lambda: any(commits[1:]))  # it is called once the futures are answered
    assert len(commits) <= 3


def test_a_fault_in_one_act_spoils_no_neighbour_and_leaves_nothing_of_its_own(office: Any, make_queue: Any) -> None:
    def fault(writing: Writing) -> Answer:
        writing.registry.issue(writing.actor, office.food(), at=writing.at)
        raise KeyError("a bug")

    queue = make_queue()
    with held(office):
        blocked = queue.submit(issue(office, "blocked"))
        futures = [queue.submit(issue(office, "a")), queue.submit(ActTask(client(), Right.STATUS, key("b"), fault))]
    assert [type(outcome(each)) for each in (blocked, *futures)] == [Answer, Answer, KeyError]
    assert licences(office) == 2


def test_the_same_request_gets_the_same_answer_and_issues_nothing_twice(office: Any, make_queue: Any) -> None:
    queue = make_queue()
    first = outcome(queue.submit(issue(office, "a", b"body")))
    assert outcome(queue.submit(issue(office, "a", b"body"))) == first
    assert isinstance(outcome(queue.submit(issue(office, "a", b"another body"))), KeyReusedError)
    assert licences(office) == 1


def test_the_same_request_twice_in_one_transaction_is_done_once(office: Any, make_queue: Any) -> None:
    queue = make_queue()
    with held(office):
        blocked = queue.submit(issue(office, "blocked"))
        same = [queue.submit(issue(office, "a", b"body")) for _ in range(3)]
        other = queue.submit(issue(office, "a", b"another body"))
    answers = [outcome(each) for each in (blocked, *same)]
    assert len({each.body for each in answers if isinstance(each, Answer)}) == 2
    assert isinstance(outcome(other), KeyReusedError)
    assert licences(office) == 2


def test_keys_of_different_clients_have_nothing_to_do_with_each_other(office: Any, make_queue: Any) -> None:
    queue = make_queue()
    one = IssueTask(client("one"), key("a", name="one"), (office.food(),), encode_one)
    two = IssueTask(client("two"), key("a", name="two"), (office.food(),), encode_one)
    assert {type(outcome(queue.submit(task))) for task in (one, two)} == {Answer}
    assert licences(office) == 2


def test_a_crash_between_commit_and_answer_loses_nothing_and_repeats_nothing(office: Any, make_queue: Any) -> None:
    crashed = make_queue()
    task = issue(office, "a", b"body")
    crashed._commit([task])  # and the process is gone before anybody is answered
    again = outcome(make_queue().submit(issue(office, "a", b"body")))
    assert isinstance(again, Answer)
    assert licences(office) == 1


def test_a_crash_before_the_commit_leaves_nothing(
    office: Any, make_queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(idempotency, "keep_answers", crash)
    queue = make_queue()
    assert isinstance(outcome(queue.submit(issue(office, "a"))), KeyboardInterrupt)
    with office.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one() == 0
    assert licences(office) == 0
    monkeypatch.undo()
    assert isinstance(outcome(queue.submit(issue(office, "a"))), Answer)


def test_a_request_that_was_refused_is_judged_anew(office: Any, make_queue: Any) -> None:
    queue = make_queue()
    number = outcome(queue.submit(issue(office, "a"))).body.decode()  # type: ignore[union-attr]
    assert isinstance(outcome(queue.submit(record(office, "b", number, Act.RETURN))), LifecycleError)
    outcome(queue.submit(record(office, "c", number, Act.SUSPEND)))
    assert isinstance(outcome(queue.submit(record(office, "b", number, Act.RETURN))), Answer)


def test_answers_are_forgotten_after_two_days(office: Any, make_queue: Any) -> None:
    now = [NOW]
    queue = make_queue(clock=lambda: now[0])
    outcome(queue.submit(issue(office, "a")))
    now[0] += KEPT_SECONDS
    outcome(queue.submit(issue(office, "b")))
    now[0] += 100
    outcome(queue.submit(issue(office, "c")))
    with office.database.reading() as connection:
        kept = set(connection.execute(select(KEPT_ANSWER.c.key)).scalars())
    assert kept == {"b", "c"}


def test_one_client_s_answers_take_only_so_much_room_until_they_are_forgotten(office: Any, make_queue: Any) -> None:
    now = [NOW]
    limits = QueueLimits(kept=3_000)

    def part(text: str) -> IssueTask:
        return IssueTask(client(), key(text), (), lambda _: Answer(200, b"x" * 1_000))

    for again in (make_queue(clock=lambda: now[0], limits=limits), make_queue(clock=lambda: now[0], limits=limits)):
        outcomes = [outcome(again.submit(part(f"key {number}"))) for number in range(4)]
        assert [type(each) for each in outcomes] == [Answer] * 3 + [KeptFullError]
        other = IssueTask(client("two"), key("a", name="two"), (office.food(),), encode_one)
        assert isinstance(outcome(again.submit(other)), Answer)
    now[0] += KEPT_SECONDS + 1
    assert isinstance(outcome(again.submit(part("one more"))), KeptFullError)
    now[0] += 60
    outcome(again.submit(part("one more")))
    assert isinstance(outcome(again.submit(part("one more"))), Answer)


def test_when_too_much_waits_the_next_is_told_to_come_back(office: Any, make_queue: Any) -> None:
    queue = make_queue(limits=QueueLimits(waiting=3, group=2))
    with held(office):
        futures = [queue.submit(issue(office, "blocked"))]
        until(lambda: queue.waiting == 0)
        futures += [queue.submit(issue(office, f"key {number}")) for number in range(3)]
        with pytest.raises(BackpressureError, match="wait to be written") as caught:
            queue.submit(issue(office, "one more"))
    assert caught.value.retry_after >= 1
    assert {type(outcome(future)) for future in futures} == {Answer}
    assert licences(office) == len(futures)


def test_streams_leave_room_for_single_requests(office: Any, make_queue: Any) -> None:
    queue = make_queue(limits=QueueLimits(waiting=8, group=2))
    with held(office):
        futures = [queue.submit(issue(office, "blocked"))]
        until(lambda: queue.waiting == 0)
        part = IssueTask(client(), key("part"), (office.food(),) * 5, lambda _: Answer(200, b""))
        futures.append(queue.submit(part))
        with pytest.raises(BackpressureError):
            queue.submit(IssueTask(client(), key("next part"), (office.food(),) * 2, lambda _: Answer(200, b"")))
        futures += [queue.submit(issue(office, f"key {number}")) for number in range(3)]
    assert {type(outcome(future)) for future in futures} == {Answer}


def test_a_queue_that_closes_answers_what_waits_and_takes_nothing_more(office: Any, make_queue: Any) -> None:
    queue = make_queue()
    with held(office):
        futures = [queue.submit(issue(office, f"key {number}")) for number in range(5)]
        closing = threading.Thread(target=queue.close)
        closing.start()
    closing.join()
    assert {type(outcome(future)) for future in futures} == {Answer}
    with pytest.raises(BackpressureError, match="closing"):
        queue.submit(issue(office, "later"))


def test_a_database_that_fails_is_told_to_all_and_the_queue_goes_on(
    office: Any, make_queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(commit_queue, "issue_all", fail)
    queue = make_queue()
    assert isinstance(outcome(queue.submit(issue(office, "a"))), DatabaseError)
    monkeypatch.undo()
    assert isinstance(outcome(queue.submit(issue(office, "a"))), Answer)


def test_a_client_that_was_removed_or_changed_while_its_request_waited_does_nothing_more(
    office: Any, make_queue: Any
) -> None:
    queue = make_queue()
    number = outcome(queue.submit(issue(office, "first"))).body.decode()  # type: ignore[union-attr]
    changes = (
        client(rights=[Right.READ]),
        client(department=TRANSPORT),
        client(keys=[Ed25519Signer.generate().public_key]),
    )
    for place, changed in enumerate(changes):
        let_in(office, changed)
        tasks = [issue(office, f"a{place}"), record(office, f"b{place}", number, Act.SUSPEND)]
        assert [type(outcome(queue.submit(task))) for task in tasks] == [ForbiddenError] * 2
    let_in(office, client(types=[DRIVER]))
    assert isinstance(outcome(queue.submit(issue(office, "c"))), AuthorityError)
    with office.database.writing() as connection:
        remove_client(connection, "office")
    assert isinstance(outcome(queue.submit(issue(office, "first"))), ForbiddenError)
    assert isinstance(outcome(queue.submit(issue(office, "d"))), ForbiddenError)
    assert licences(office) == 1
    let_in(office, client())
    assert isinstance(outcome(queue.submit(issue(office, "d"))), Answer)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed")), ConflictError),
        (DataError("INSERT", {}, Exception("out of range")), FieldError),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), FieldError),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), FieldError),
    ],
)
def test_a_row_that_the_database_refuses_spoils_no_neighbour(
    office: Any, make_queue: Any, monkeypatch: pytest.MonkeyPatch, trouble: Exception, told: type[Exception]
) -> None:
    issue_all = bulk_issue.issue_all

    def contradict(connection: Any, keys: Any, actor: Any, requests: Any, **options: Any) -> Any:
        issued = issue_all(connection, keys, actor, requests, **options)
        if any(request.fields["business_name"] == "bad" for request in requests):
            raise trouble
        return issued

    monkeypatch.setattr(commit_queue, "issue_all", contradict)
    queue = make_queue()
    with held(office):
        futures = [queue.submit(issue(office, "blocked"))]
        futures += [queue.submit(issue(office, "a")), queue.submit(issue(office, "b"))]
        futures.append(queue.submit(issue(office, "c", fields={"business_name": "bad"})))
    assert [type(outcome(each)) for each in futures] == [Answer, Answer, Answer, told]
    assert licences(office) == 3


def test_a_signing_process_that_is_away_is_waited_for_once_in_a_transaction(office: Any, make_queue: Any) -> None:
    class Away:
        waited = 0

        def signing(self, *_: Any) -> Any:
            self.waited += 1
            raise SigningProcessError("the signing process does not answer")

    queue = make_queue()
    number = outcome(queue.submit(issue(office, "first"))).body.decode()  # type: ignore[union-attr]
    queue._keys = away = Away()
    names = ("office", "one", "two")
    tasks: list[Any] = [IssueTask(client(name), key("a", name=name), (office.food(),), encode_one) for name in names]
    outcomes = queue._commit([*tasks, record(office, "suspend", number, Act.SUSPEND)])
    assert [type(each) for each in outcomes] == [SigningProcessError] * 3 + [Answer]
    assert away.waited == 1


@pytest.mark.parametrize("header", ["", "x" * 129, "a\nb", "ä", '"', 'a"b', '"a'])
def test_an_idempotency_key_of_another_form_is_refused(header: str) -> None:
    with pytest.raises(FormatError):
        idempotency.read_key(header)


def test_an_idempotency_key_is_the_same_with_its_quotes_or_without() -> None:
    assert idempotency.read_key('"8e03978e"') == idempotency.read_key("8e03978e") == "8e03978e"
    assert idempotency.read_key('"with a space"') == "with a space"
    with pytest.raises(FormatError, match="needs a key"):
        idempotency.read_key(None)
