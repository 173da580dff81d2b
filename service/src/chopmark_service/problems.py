"""What a service answers when it does not do what was asked: problem documents, RFC 9457.

    HTTP/1.1 409 Conflict
    Content-Type: application/problem+json

    {"type": "about:blank", "title": "Conflict", "status": 409, "code": "conflict",
     "detail": "batch 7: client registry sent another body as batch 7. Give the new entries a number of their own"}

`code` is stable: programs decide by it, people read `detail`. A detail tells what the caller sent and can do; of the
machine that the service runs on it tells nothing, no path and no address.

Here are the problems that every service has; each adds its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from chopmark.errors import ChopmarkError, FormatError, LimitError, StorageError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chopmark_service import telemetry
from chopmark_service.errors import (
    BackpressureError,
    ForbiddenError,
    SlowBodyError,
    UnauthenticatedError,
    UnsupportedBodyError,
)

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: its stable code, its HTTP status, when it arises, and the JSON Schemas of the members that its
    documents have beside the usual ones."""

    code: str
    status: HTTPStatus
    meaning: str
    members: Mapping[str, Any] = field(default_factory=dict, hash=False)


MALFORMED = Problem("malformed", HTTPStatus.BAD_REQUEST, "The request is not of the form that this service takes.")
UNAUTHENTICATED = Problem(
    "unauthenticated", HTTPStatus.UNAUTHORIZED, "There is no token, or none of a client for this service and moment."
)
FORBIDDEN = Problem("forbidden", HTTPStatus.FORBIDDEN, "This client may not ask for that.")
NOT_FOUND = Problem("not_found", HTTPStatus.NOT_FOUND, "There is nothing here.")
METHOD_NOT_ALLOWED = Problem("method_not_allowed", HTTPStatus.METHOD_NOT_ALLOWED, "Not by this method.")
TOO_SLOW = Problem("too_slow", HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time.")
TOO_LARGE = Problem(
    "too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "More than one request may hold: send it as several."
)
UNSUPPORTED = Problem(
    "unsupported_media_type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not of a type that is taken here."
)
BACK_PRESSURE = Problem(
    "back_pressure", HTTPStatus.TOO_MANY_REQUESTS, "Too much waits; Retry-After says how many seconds to wait."
)
STORAGE = Problem(
    "storage", HTTPStatus.SERVICE_UNAVAILABLE, "The storage failed and took nothing: sending it again is safe."
)
FAULT = Problem("fault", HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of the service; its operator finds it in the log.")

_SECONDS_AFTER_STORAGE_FAILED = 5


def problem_response(
    problem: Problem, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """A problem document; `members` are added to it."""
    content = json.dumps(problem_document(problem, detail, **members), ensure_ascii=False, separators=(",", ":"))
    return Response(content.encode("utf-8"), int(problem.status), headers, PROBLEM_TYPE)


def problem_document(problem: Problem, detail: str = "", **members: Any) -> dict[str, Any]:
    """The members of a problem document."""
    return {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "code": problem.code,
        "detail": detail or problem.meaning,
        **members,
    }


def answer_common(error: ChopmarkError) -> Response | None:
    """The answer to a request that ended in an error which any service may have; None for any other."""
    match error:
        case UnauthenticatedError():
            return problem_response(UNAUTHENTICATED, str(error), headers={"WWW-Authenticate": "Bearer"})
        case ForbiddenError():
            return problem_response(FORBIDDEN, str(error))
        case BackpressureError():
            return problem_response(BACK_PRESSURE, str(error), headers={"Retry-After": str(error.retry_after)})
        case SlowBodyError():
            return problem_response(TOO_SLOW, str(error))
        case UnsupportedBodyError():
            return problem_response(UNSUPPORTED, str(error))
        case StorageError():
            return problem_response(STORAGE, headers={"Retry-After": str(_SECONDS_AFTER_STORAGE_FAILED)})
        case LimitError():
            return problem_response(TOO_LARGE, str(error))
        case FormatError():
            return problem_response(MALFORMED, str(error))
    return None


def add_problem_handlers(
    application: FastAPI,
    *,
    part: str,
    answer: Callable[[ChopmarkError], Response | None] = lambda _: None,
    of_the_machine: Sequence[type[ChopmarkError]] = (),
) -> None:
    """Let an application answer every error with a problem document.

    Args:
        application: its routes raise errors of ours.
        part: what its lines in the log say of themselves.
        answer: the answer to an error that only this service has, None for any other.
        of_the_machine: errors that the caller is told nothing of beside `StorageError`: its operator is.
    """
    hidden: tuple[type[ChopmarkError], ...] = (StorageError, *of_the_machine)

    async def of_ours(_: Request, error: Exception) -> Response:
        if not isinstance(error, ChopmarkError):
            raise error
        if isinstance(error, hidden):
            telemetry.get_logger(part).error("request_failed", problem=str(error), kind=type(error).__name__)
        found = answer(error) or answer_common(error)
        if found is None:
            raise error
        return found

    async def of_parameters(_: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {_in_words(each)}" for each in error.errors())
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


_WORDS: Final = {
    "string_pattern_mismatch": "not of the form {pattern}",
    "string_too_short": "fewer than {min_length} characters",
    "string_too_long": "more than {max_length} characters",
    "enum": "not {expected}",
    "missing": "missing",
}


def _in_words(error: Mapping[str, Any]) -> str:
    """What is wrong with a parameter, as the other messages of a service say it."""
    known = _WORDS.get(error["type"])
    words: str = error["msg"] if known is None else known.format(**error.get("ctx", {}))
    return words


def documented(*problems: Problem) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's problems: per status the codes and when they arise."""
    by_status: dict[int | str, list[Problem]] = {}
    for each in problems:
        by_status.setdefault(int(each.status), []).append(each)
    return {
        status: {
            "description": "\n\n".join(f"`{each.code}`: {each.meaning}" for each in alike),
            "content": {PROBLEM_TYPE: {"schema": _schema(alike)}},
        }
        for status, alike in by_status.items()
    }


def _schema(alike: Sequence[Problem]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": [each.code for each in alike]},
        "detail": {"type": "string"},
    }
    for each in alike:
        properties.update(each.members)
    return {"type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": properties}
