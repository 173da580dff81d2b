"""The routes of a registry's service that write; see `chopmark_issuer.service.service`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from chopmark.errors import ChopmarkError
from chopmark_service.errors import BackpressureError, UnsupportedBodyError
from chopmark_service.json_answer import encode_json, encoded_answer
from chopmark_service.problems import TOO_LARGE, problem_document
from chopmark_service.request_body import media_type
from fastapi import FastAPI, Request, Response

from chopmark_issuer.catalogue.catalogue import type_in_use
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.licences.records import find_licence
from chopmark_issuer.licences.requests import IssuedVersion, IssueRequest
from chopmark_issuer.lifecycle import Act
from chopmark_issuer.service import api_answers, api_documents, api_requests
from chopmark_issuer.service.api_requests import ActRequest, moment
from chopmark_issuer.service.bulk_acts import record_all
from chopmark_issuer.service.bulk_stream import (
    MEDIA_TYPE,
    BulkStream,
    LinesResponse,
    body_parts,
    encode_lines,
    listed_parts,
)
from chopmark_issuer.service.clients import DepartmentClient, Right
from chopmark_issuer.service.commit_queue import ActTask, Issued, IssueTask, Task, Writing
from chopmark_issuer.service.idempotency import HEADER, Answer, RequestKey, read_key, request_digest
from chopmark_issuer.service.line_reader import TOO_LONG
from chopmark_issuer.service.problems import line_problem
from chopmark_issuer.service.service_access import Amender, Issuer, Number, StatusKeeper, TypeQuery

_CREATED = 201
_ACTS = (Act.SUSPEND, Act.RETURN, Act.REVOKE, Act.WITHDRAW, Act.ANNUL, Act.CLOSE)
_RETRY_AFTER = 5


def add_routes(application: FastAPI) -> None:
    """Add the routes that write."""
    _add_issuing(application)
    _add_bulk(application)
    _add_amending(application)
    for act in _ACTS:
        _add_act(application, act)


def _add_issuing(application: FastAPI) -> None:
    @application.post("/licences", **api_documents.ISSUE)
    async def issue_licence(request: Request, client: Issuer) -> Response:
        """Issue a licence; answered once it is durable, on its way to the log."""
        service = request.app.state.service
        key = read_key(request.headers.get(HEADER))
        data = await service.bodies.read_json(request, client.name)
        wanted = api_requests.read_issue(data)

        def encode(issued: Issued) -> Answer:
            return _created(_issued(issued[0]))

        return _answer(await service.write(IssueTask(client, _key(client, key, "issue", data), (wanted,), encode)))


def _add_bulk(application: FastAPI) -> None:
    @application.post("/licences/bulk", **api_documents.ISSUE_MANY)
    async def issue_licences(request: Request, client: Issuer) -> Response:
        """Issue licences, one a line; each is answered by a line, once it is durable."""
        service = request.app.state.service
        key = read_key(request.headers.get(HEADER))
        if media_type(request) != MEDIA_TYPE or request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedBodyError(f"a body is plain {MEDIA_TYPE}, not compressed", where="body")

        async def make(place: RequestKey, first: int, lines: list[bytes]) -> Task:
            task: Task = await service.in_thread(lambda: _issue_task(client, place, first, lines))
            return task

        stream = BulkStream(
            client, key, request_digest(b"issue-many"), service.write, service.kept, service.stopping.is_set
        )
        parts = body_parts(request, seconds=service.body_timeout)
        return _streamed(service, client, stream, stream.work(parts, make, _digest_of_lines))

    @application.post("/licences/revoke", **api_documents.REVOKE_MANY)
    async def revoke_licences(request: Request, client: StatusKeeper) -> Response:
        """Revoke licences for one reason; each is answered by a line, once it is durable."""
        service = request.app.state.service
        key = read_key(request.headers.get(HEADER))
        data = await service.lists.read_json(request, client.name)
        wanted = await service.in_thread(lambda: api_requests.read_revocation(data))
        begin = request_digest(b"revoke-many", data)

        async def make(place: RequestKey, first: int, numbers: list[str]) -> Task:
            return ActTask(
                client, Right.STATUS, place, lambda writing: _revoke(writing, wanted, first, numbers), len(numbers)
            )

        stream = BulkStream(client, key, begin, service.write, service.kept, service.stopping.is_set)
        parts = listed_parts(wanted.numbers)
        return _streamed(service, client, stream, stream.work(parts, make, lambda _: b""))


def _add_amending(application: FastAPI) -> None:
    def add(name: str, read: Callable[[bytes], Any], document: dict[str, Any], description: str) -> None:
        async def amend(request: Request, client: Amender, number: Number, type_id: TypeQuery = None) -> Response:
            service = request.app.state.service
            key = read_key(request.headers.get(HEADER))
            data = await service.bodies.read_json(request, client.name)
            amendment = read(data)

            def act(writing: Writing) -> Answer:
                do = writing.registry.renew if name == "renew" else writing.registry.change
                return _created(do(writing.actor, number, amendment, at=writing.at, type_id=type_id))

            place = _key(client, key, name, data, number=number, type_id=type_id)
            return _answer(await service.write(ActTask(client, Right.AMEND, place, act)))

        amend.__doc__ = description
        amend.__name__ = f"{name}_licence"
        application.post(f"/licences/{{number}}/{name}", **document)(amend)

    add("renew", api_requests.read_renewal, api_documents.RENEW, "Renew a licence for a new term.")
    add("change", api_requests.read_change, api_documents.CHANGE, "Change what a licence says, from now on.")


def _add_act(application: FastAPI, kind: Act) -> None:
    async def record(request: Request, client: StatusKeeper, number: Number, type_id: TypeQuery = None) -> Response:
        service = request.app.state.service
        key = read_key(request.headers.get(HEADER))
        data = await service.bodies.read_json(request, client.name)
        wanted = api_requests.read_act(data)

        def act(writing: Writing) -> Answer:
            state = writing.registry.record(
                writing.actor,
                number,
                kind,
                at=writing.at,
                effective_from=_effective_from(writing, number, type_id, wanted),
                reason=wanted.reason,
                type_id=type_id,
            )
            return Answer(200, encode_json(api_answers.acted(number, state)))

        place = _key(client, key, kind, data, number=number, type_id=type_id)
        return _answer(await service.write(ActTask(client, Right.STATUS, place, act)))

    record.__doc__ = api_documents.ACT_SUMMARIES[kind]
    record.__name__ = f"{kind.value}_licence"
    application.post(f"/licences/{{number}}/{kind.value}", **api_documents.act(kind))(record)


def _issue_task(client: DepartmentClient, place: RequestKey, first: int, lines: Sequence[bytes]) -> IssueTask:
    """The task of a part of a stream; a line that is none is answered with its problem, and issues nothing."""
    requests: list[IssueRequest] = []
    problems: dict[int, dict[str, Any]] = {}
    for position, line in enumerate(lines):
        if line == TOO_LONG:
            limit = f"a line of more than {api_requests.MAX_LINE:,} bytes"
            problems[position] = problem_document(TOO_LARGE, limit)
            continue
        try:
            requests.append(api_requests.read_issue(line, where=f"line {first + position}"))
        except ChopmarkError as error:
            problems[position] = line_problem(error)

    def encode(issued: Issued) -> Answer:
        outcomes = iter(issued)
        answered = []
        for position in range(len(lines)):
            problem = problems.get(position)
            if problem is None:
                outcome = next(outcomes)
                if not isinstance(outcome, RefusedError):
                    answered.append({"line": first + position, "status": _CREATED, **api_answers.issued(outcome)})
                    continue
                problem = line_problem(outcome)
            answered.append({"line": first + position, "status": problem["status"], "problem": problem})
        return Answer(200, encode_lines(answered))

    return IssueTask(client, place, tuple(requests), encode)


def _revoke(writing: Writing, wanted: api_requests.RevokeRequest, first: int, numbers: list[str]) -> Answer:
    outcomes = record_all(
        writing.connection,
        writing.actor,
        numbers,
        Act.REVOKE,
        at=writing.at,
        request=wanted.act,
        type_id=wanted.type_id,
    )
    answered: list[dict[str, Any]] = []
    for line, (number, outcome) in enumerate(zip(numbers, outcomes, strict=True), first):
        if isinstance(outcome, RefusedError):
            problem = line_problem(outcome)
            answered.append({"line": line, "status": problem["status"], "number": number, "problem": problem})
        else:
            answered.append({"line": line, "status": 200, **api_answers.acted(number, outcome)})
    return Answer(200, encode_lines(answered))


def _streamed(service: Any, client: DepartmentClient, stream: BulkStream, work: Any) -> Response:
    """Work a stream off in a task of its own, and send what it answers."""
    if not service.streams.take(client.name, 1):
        work.close()
        raise BackpressureError(
            "too many bulk requests are at work", retry_after=_RETRY_AFTER, remedy="Send it again when one has ended"
        )
    working = asyncio.ensure_future(work)

    def ended(_: Any) -> None:
        service.streams.give_back(client.name, 1)

    working.add_done_callback(ended)

    return LinesResponse(stream.answers(), working, seconds=service.body_timeout)


def _effective_from(writing: Writing, number: str, type_id: str | None, wanted: ActRequest) -> int | None:
    if wanted.effective_from is None:
        return None
    licence = find_licence(writing.connection, number, department=writing.actor.department, type_id=type_id)
    zone = type_in_use(writing.connection, licence.type_id).zone
    return moment(wanted.effective_from, zone, where="effective_from")


def _issued(outcome: IssuedVersion | RefusedError) -> IssuedVersion:
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


def _created(version: IssuedVersion) -> Answer:
    return Answer(_CREATED, encode_json(api_answers.issued(version)), api_answers.path_of(version.number))


def _key(
    client: DepartmentClient, key: str, what: str, data: bytes, *, number: str = "", type_id: str | None = None
) -> RequestKey:
    about = (what, number, "" if type_id is None else type_id)
    return RequestKey(client.owner, key, 0, request_digest(*(each.encode("utf-8") for each in about), data))


def _digest_of_lines(lines: list[bytes]) -> bytes:
    return request_digest(*lines)


def _answer(answer: Answer) -> Response:
    headers = None if answer.location is None else {"Location": answer.location}
    return encoded_answer(answer.body, answer.status, headers)
