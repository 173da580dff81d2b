"""What a service answers when it does not do what was asked: problem documents, RFC 9457.

    HTTP/1.1 409 Conflict
    Content-Type: application/problem+json

    {"type": "about:blank", "title": "Conflict", "status": 409, "code": "conflict",
     "detail": "batch 7: client registry sent another body as batch 7. Give the new entries a number of their own"}

`code` is stable: programs decide by it, people read `detail`. A detail tells what the caller sent and can do; of the
machine that the service runs on it tells nothing, no path and no address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chopmark.errors import ChopmarkError, FormatError, LimitError, QuorumError, StorageError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chopmark_ledger import telemetry
from chopmark_ledger.errors import (
    BackpressureError,
    BatchRefusedError,
    ClientListError,
    ConflictError,
    ForbiddenError,
    LogStoppedError,
    NotHeardError,
    NotPublishedError,
    SlowBodyError,
    UnauthenticatedError,
    UnsupportedBodyError,
)

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: its stable code, its HTTP status, and when it arises."""

    code: str
    status: HTTPStatus
    meaning: str


MALFORMED = Problem("malformed", HTTPStatus.BAD_REQUEST, "The request is not of the form that this service takes.")
UNAUTHENTICATED = Problem(
    "unauthenticated", HTTPStatus.UNAUTHORIZED, "There is no token, or none of a client for this log and moment."
)
FORBIDDEN = Problem("forbidden", HTTPStatus.FORBIDDEN, "This client may not ask for that.")
NOT_FOUND = Problem("not_found", HTTPStatus.NOT_FOUND, "There is nothing here.")
METHOD_NOT_ALLOWED = Problem("method_not_allowed", HTTPStatus.METHOD_NOT_ALLOWED, "Not by this method.")
TOO_SLOW = Problem("too_slow", HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time.")
CONFLICT = Problem("conflict", HTTPStatus.CONFLICT, "This client sent another body under this batch number.")
NOT_PUBLISHED = Problem(
    "not_published",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "What this needs is not published yet; a quorum of witnesses may be missing.",
)
NOT_HEARD = Problem(
    "not_heard",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The log has not heard yet what its witnesses hold of it, and is set to take nothing before.",
)
TOO_LARGE = Problem("too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "More entries or bytes than a batch may have.")
UNSUPPORTED = Problem("unsupported_media_type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not plain JSON.")
ALL_REFUSED = Problem(
    "all_refused",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "No entry of the batch may enter the log; `refused` names each with its reason, and the number stays free.",
)
BACK_PRESSURE = Problem(
    "back_pressure", HTTPStatus.TOO_MANY_REQUESTS, "Too much waits; Retry-After says how many seconds to wait."
)
STOPPED = Problem(
    "stopped",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The log stopped, and an operator must look; what was acknowledged is kept.",
)
NO_CLIENTS = Problem(
    "no_clients", HTTPStatus.SERVICE_UNAVAILABLE, "The list of clients cannot be read: an operator must correct it."
)
STORAGE = Problem(
    "storage", HTTPStatus.SERVICE_UNAVAILABLE, "The storage failed and took nothing: sending it again is safe."
)
FAULT = Problem("fault", HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of the service; its operator finds it in the log.")

_SECONDS_AFTER_STORAGE_FAILED = 5
_SECONDS_UNTIL_PUBLISHED = 5


def problem_response(
    problem: Problem, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """A problem document; `members` are added to it."""
    document = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "code": problem.code,
        "detail": detail or problem.meaning,
        **members,
    }
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return Response(content, int(problem.status), headers, PROBLEM_TYPE)


def answer_error(error: ChopmarkError) -> Response:
    """The answer to a request that ended in this error."""
    match error:
        case UnauthenticatedError():
            return problem_response(UNAUTHENTICATED, str(error), headers={"WWW-Authenticate": "Bearer"})
        case ForbiddenError():
            return problem_response(FORBIDDEN, str(error))
        case ClientListError():
            return problem_response(NO_CLIENTS)
        case ConflictError():
            return problem_response(CONFLICT, str(error))
        case BatchRefusedError():
            refused = [{"position": each.position, "reason": each.reason} for each in error.refused]
            return problem_response(ALL_REFUSED, refused=refused)
        case BackpressureError():
            return problem_response(BACK_PRESSURE, str(error), headers={"Retry-After": str(error.retry_after)})
        case SlowBodyError():
            return problem_response(TOO_SLOW, str(error))
        case UnsupportedBodyError():
            return problem_response(UNSUPPORTED, str(error))
        case NotPublishedError() | QuorumError():
            return problem_response(NOT_PUBLISHED, headers={"Retry-After": str(_SECONDS_UNTIL_PUBLISHED)})
        case NotHeardError():
            return problem_response(NOT_HEARD, headers={"Retry-After": str(_SECONDS_UNTIL_PUBLISHED)})
        case LogStoppedError():
            return problem_response(STOPPED)
        case StorageError():
            return problem_response(STORAGE, headers={"Retry-After": str(_SECONDS_AFTER_STORAGE_FAILED)})
        case LimitError():
            return problem_response(TOO_LARGE, str(error))
        case FormatError():
            return problem_response(MALFORMED, str(error))
    raise error


def add_problem_handlers(application: FastAPI) -> None:
    """Let an application answer every error with a problem document."""

    async def of_ours(_: Request, error: Exception) -> Response:
        if not isinstance(error, ChopmarkError):
            raise error
        if isinstance(error, StorageError | ClientListError):  # what the caller is not told, its operator must know
            telemetry.get_logger("log").error("request_failed", problem=str(error), kind=type(error).__name__)
        return answer_error(error)

    async def of_parameters(_: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return problem_response(MALFORMED, where)

    async def of_routing(_: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        known = {each.status: each for each in (NOT_FOUND, METHOD_NOT_ALLOWED)}.get(HTTPStatus(error.status_code))
        if known is None:
            raise error
        return problem_response(known, headers=error.headers)

    application.add_exception_handler(ChopmarkError, of_ours)
    application.add_exception_handler(RequestValidationError, of_parameters)
    application.add_exception_handler(HTTPException, of_routing)


def documented(*problems: Problem) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's problems: per status the codes and when they arise."""
    by_status: dict[int | str, list[Problem]] = {}
    for each in problems:
        by_status.setdefault(int(each.status), []).append(each)
    return {
        status: {
            "description": "\n\n".join(f"`{each.code}`: {each.meaning}" for each in alike),
            "content": {PROBLEM_TYPE: {"schema": _schema([each.code for each in alike])}},
        }
        for status, alike in by_status.items()
    }


def _schema(codes: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": codes},
        "detail": {"type": "string"},
    }
    if ALL_REFUSED.code in codes:
        properties["refused"] = REFUSED_SCHEMA
    return {"type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": properties}


REFUSED_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["position", "reason"],
        "properties": {
            "position": {"type": "integer", "minimum": 0, "description": "In the batch as sent, from 0."},
            "reason": {"type": "string"},
        },
    },
}
