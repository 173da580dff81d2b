"""Group commit: one thread that does what several requests ask in one transaction, and answers each once it is durable.

    queue = CommitQueue(database, keys, clock=clock)
    answer = queue.submit(IssueTask(client, key, (request,), encode)).result()

A commit costs an fsync whatever its size, so requests that arrive while one is under way share the next. They do not
spoil each other: new licences are validated each by itself and written together, acts are each a part of the
transaction that is taken back alone. The answer that is kept for a request sent again is written in the same
transaction, so that a crash between commit and answer loses nothing. What a client may is read there too: one that was
removed or narrowed while its request waited, or within a stream, does nothing more.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from chopmark.errors import ChopmarkError
from chopmark_service.errors import BackpressureError, ForbiddenError
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from chopmark_issuer.catalogue.departments import Actor
from chopmark_issuer.errors import ConflictError, DatabaseError, FieldError, RefusedError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.licences.bulk_issue import issue_all
from chopmark_issuer.licences.registry import Registry
from chopmark_issuer.licences.requests import IssuedVersion, IssueRequest
from chopmark_issuer.service import idempotency
from chopmark_issuer.service.clients import DepartmentClient, Right, client_actor, clients_named
from chopmark_issuer.service.idempotency import Answer, RequestKey
from chopmark_issuer.service.transaction_keys import TransactionKeys
from chopmark_issuer.storage.database import Database

_FORGET_EVERY: Final = 60
"""Seconds between two times that old answers are forgotten."""
_QUIET: Final = 5
"""Looks that find nobody new, after which a busy queue waits no longer for who was there the last time."""
_REMEMBERED: Final = 8
"""Commits after which it is forgotten how many were there."""
_RETRY_AFTER: Final = 1
_RETRY_AFTER_CLOSING: Final = 5
_RETRY_AFTER_FULL: Final = 3600

_NOT_TAKEN: Final = (IntegrityError, DataError, UnicodeError, OverflowError)
"""What the database refuses of a row, and what its driver cannot even send."""

Issued: TypeAlias = Sequence["IssuedVersion | RefusedError"]


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait, and how much one transaction takes; a task weighs as many licences as it concerns."""

    waiting: int = 4_000
    """Licences that may wait: a second of work. A quarter is kept for requests of one licence, so that streams do not
    keep them out."""
    group: int = 1_000
    """Licences of one transaction: who waits for the next waits a fifth of a second."""
    kept: int = 1024 * 1024 * 1024
    """Bytes that the answers of one client may take, which are kept for two days: those to millions of licences."""
    gathering: float = 0.002
    """Seconds between two looks of a busy queue at whether those come along who were there the last time."""
    gatherings: int = 50
    """How often it looks before a commit; it goes on as soon as all are there, or few come any more."""


DEFAULT_LIMITS: Final = QueueLimits()


@dataclass(frozen=True, slots=True)
class Writing:
    """The transaction that a task is a part of."""

    connection: Connection
    registry: Registry
    actor: Actor
    at: int


@dataclass(frozen=True, slots=True)
class IssueTask:
    """New licences, each judged by itself; `encode` makes the answer, or raises what the request is refused for."""

    client: DepartmentClient
    key: RequestKey
    requests: tuple[IssueRequest, ...]
    encode: Callable[[Issued], Answer]

    @property
    def right(self) -> Right:
        """What its client must be allowed."""
        return Right.ISSUE

    @property
    def weight(self) -> int:
        """Licences that it concerns."""
        return len(self.requests) or 1


@dataclass(frozen=True, slots=True)
class ActTask:
    """Anything else: `act` does it and makes the answer, or raises what it is refused for, and left nothing behind."""

    client: DepartmentClient
    right: Right
    key: RequestKey
    act: Callable[[Writing], Answer]
    weight: int = 1


Task: TypeAlias = IssueTask | ActTask
_Outcome: TypeAlias = Answer | BaseException


@dataclass(frozen=True, slots=True)
class _Waiting:
    task: Task
    future: Future[Answer]


class CommitQueue:
    """Writes to one registry, in a thread of its own, until it is closed.

    Args:
        database: the registry's.
        keys: what signs.
        clock: answers POSIX seconds.
        random: answers that many random bytes.
        on_commit: called in that thread after each commit, when its futures are answered, with whether statuses may
            have changed; it must return at once.
        limits: how much may wait.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyProvider,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes] = os.urandom,
        on_commit: Callable[[bool], None] = lambda _: None,
        limits: QueueLimits = DEFAULT_LIMITS,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._random = random
        self._on_commit = on_commit
        self._limits = limits
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._closing = False
        self._there: deque[int] = deque([1], maxlen=_REMEMBERED)
        self._ended = threading.Event()
        self._forget_at = 0
        self._kept: dict[str, int] | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="commit-queue", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Licences of the tasks that wait."""
        return self._waiting

    def submit(self, task: Task) -> Future[Answer]:
        """Queue a task.

        Returns:
            A future with its answer once that is durable, or with the error that it ended in. One that is cancelled
            while it waits is left out.

        Raises:
            BackpressureError: too much waits already, or the queue is closing; nothing was queued.
        """
        new = _Waiting(task, Future())
        with self._changed:
            if self._closing:
                raise BackpressureError(
                    "the service is closing", retry_after=_RETRY_AFTER_CLOSING, remedy="Send it again once it runs"
                )
            room = self._limits.waiting if task.weight == 1 else self._limits.waiting * 3 // 4
            if self._queue and self._waiting + task.weight > room:
                raise BackpressureError(
                    f"{self._waiting:,} licences wait to be written",
                    retry_after=_RETRY_AFTER,
                    remedy="Send it again a little later",
                )
            self._queue.append(new)
            self._waiting += task.weight
            self._changed.notify()
        return new.future

    def close(self) -> None:
        """Refuse what comes from now on, answer what waits, and end the thread; doing so twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while self._work_is_left():
            group = self._next_group()
            if not group:
                continue
            self._there.append(len(group) + len(self._queue))
            try:
                outcomes = self._commit([each.task for each in group])
            except BaseException as error:  # whatever it is: requests that wait for ever would be worse
                outcomes = [error] * len(group)
            for each, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Answer):
                    each.future.set_result(outcome)
                else:
                    each.future.set_exception(outcome)
            done = [each.task for each, outcome in zip(group, outcomes, strict=True) if isinstance(outcome, Answer)]
            if done:
                self._on_commit(any(isinstance(task, ActTask) for task in done))

    def _work_is_left(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            is_left = bool(self._queue)
        if is_left:
            self._gather(max(self._there))
        return is_left

    def _gather(self, expected: int) -> None:
        """Let requests that are on their way come along: those who were answered by the last commit ask again just
        now, and what a commit costs is nearly the same for one of them and for all."""
        quiet = 0
        for _ in range(self._limits.gatherings):
            before = len(self._queue)
            if before >= expected or self._waiting >= self._limits.group or quiet == _QUIET or self._closing:
                return
            self._ended.wait(self._limits.gathering)  # not for what is queued: that would wake it for each request
            quiet = quiet + 1 if len(self._queue) == before else 0

    def _next_group(self) -> list[_Waiting]:
        """Take as much as one transaction may hold, without what was cancelled."""
        group: list[_Waiting] = []
        weight = 0
        with self._changed:
            while self._queue:
                new = self._queue[0]
                weight += new.task.weight
                if group and weight > self._limits.group:
                    break
                self._queue.popleft()
                self._waiting -= new.task.weight
                if new.future.set_running_or_notify_cancel():
                    group.append(new)
        return group

    def _commit(self, tasks: Sequence[Task]) -> list[_Outcome]:
        """Do all tasks in one transaction; answers what each comes to, in order, once that is durable."""
        with self._database.writing() as connection:
            at = self._clock()
            clients = clients_named(connection, {task.client.name for task in tasks})
            kept = idempotency.kept_answers(connection, [task.key for task in tasks])
            outcomes: dict[RequestKey, _Outcome] = {}
            fresh: dict[tuple[str, str, int], Task] = {}
            sizes = idempotency.kept_sizes(connection) if self._kept is None else self._kept
            for task in tasks:
                known = kept.get(task.key.place)
                if not _is_allowed(task, clients.get(task.client.name)):
                    outcomes[task.key] = ForbiddenError(f"client {task.client.name} may not do this any more")
                    continue
                if known is not None:
                    outcomes[task.key] = _outcome(partial(known.to, task.key))
                elif sizes.get(task.key.client, 0) >= self._limits.kept:
                    outcomes[task.key] = _too_much_kept()
                else:
                    fresh.setdefault(task.key.place, task)
            done = self._do(connection, list(fresh.values()), clients, at)
            answers = {key: outcome for key, outcome in done.items() if isinstance(outcome, Answer)}
            idempotency.keep_answers(connection, answers, at=at)
            forgotten: dict[str, int] = {}
            if at >= self._forget_at:
                forgotten = idempotency.forget_answers(connection, at=at)
                self._forget_at = at + (0 if forgotten else _FORGET_EVERY)
        for key, answer in answers.items():
            sizes[key.client] = sizes.get(key.client, 0) + idempotency.size_of(answer)
        for owner, size in forgotten.items():
            sizes[owner] = sizes.get(owner, 0) - size
        self._kept = sizes
        outcomes.update(done)
        return [outcomes[task.key] if task.key in outcomes else _twice() for task in tasks]

    def _do(
        self, connection: Connection, tasks: Sequence[Task], clients: Mapping[str, DepartmentClient], at: int
    ) -> dict[RequestKey, _Outcome]:
        """Do tasks that were not answered before: new licences first, as an act may be on one of them."""
        outcomes: dict[RequestKey, _Outcome] = {}
        keys = TransactionKeys(self._keys)
        issues: dict[str, list[IssueTask]] = {}
        for task in tasks:
            if isinstance(task, IssueTask):
                issues.setdefault(task.client.name, []).append(task)
        for name, alike in issues.items():
            outcomes.update(self._issue(connection, keys, alike, clients[name], at))
        registry = Registry(self._database.joined(connection), keys, random=self._random)
        for task in tasks:
            if isinstance(task, ActTask):
                outcomes[task.key] = self._act(connection, registry, task, clients[task.client.name], at)
        return outcomes

    def _issue(
        self,
        connection: Connection,
        keys: KeyProvider,
        tasks: Sequence[IssueTask],
        client: DepartmentClient,
        at: int,
    ) -> dict[RequestKey, _Outcome]:
        """Write the new licences of several tasks of one client together."""
        requests = [request for task in tasks for request in task.requests]
        outcomes: dict[RequestKey, _Outcome] = {}
        try:
            with connection.begin_nested():
                actor = _issuing_actor(client, requests)
                issued = issue_all(connection, keys, actor, requests, at=at, random=self._random)
        except _NOT_TAKEN as error:
            if len(tasks) == 1:
                return {tasks[0].key: _not_taken(error)}
            for task in tasks:  # one of them does: each by itself
                outcomes.update(self._issue(connection, keys, [task], client, at))
            return outcomes
        except (DatabaseError, DBAPIError):
            raise
        except Exception as error:  # a fault too is theirs alone
            return {task.key: error for task in tasks}
        first = 0
        for task in tasks:
            mine = issued[first : first + len(task.requests)]
            first += len(task.requests)
            outcomes[task.key] = _outcome(partial(task.encode, mine))
        return outcomes

    def _act(
        self, connection: Connection, registry: Registry, task: ActTask, client: DepartmentClient, at: int
    ) -> _Outcome:
        try:
            with connection.begin_nested():
                return task.act(Writing(connection, registry, client_actor(connection, client, at), at))
        except _NOT_TAKEN as error:
            return _not_taken(error)
        except (DatabaseError, DBAPIError):
            raise
        except Exception as error:  # a fault too is its own alone
            return error


def _is_allowed(task: Task, now: DepartmentClient | None) -> bool:
    """Whether the client that asked for a task may still do it: a key that was taken from it may have signed that."""
    then = task.client
    return (
        now is not None
        and now.department == then.department
        and task.right in now.rights
        and then.keys.keys() <= now.keys.keys()
    )


def _issuing_actor(client: DepartmentClient, requests: Sequence[IssueRequest]) -> Actor:
    """The actor for new licences: what the department is granted is judged with each of their types anyway."""
    types = frozenset(request.type_id for request in requests)
    return Actor(client.department, types if client.types is None else types & client.types)


def _outcome(make: Callable[[], Answer]) -> _Outcome:
    try:
        return make()
    except ChopmarkError as error:
        return error


def _not_taken(error: Exception) -> RefusedError:
    """What a request comes to that the database does not take, which is its own fault alone."""
    if isinstance(error, IntegrityError):
        return ConflictError("it contradicts what the registry holds")
    return FieldError("a value that the registry cannot keep")


def _too_much_kept() -> _Outcome:
    return idempotency.KeptFullError(
        "too many answers are kept for this client",
        retry_after=_RETRY_AFTER_FULL,
        remedy="Send it again when those of the day before yesterday are forgotten",
    )


def _twice() -> _Outcome:
    """What a request comes to whose key another one of the same transaction bears."""
    return idempotency.KeyReusedError(
        "another request was sent under this key",
        where=idempotency.HEADER,
        remedy="Give each request a key of its own",
    )
