"""The problems that only the service of a registry answers (RFC 9457).

What they look like, and those that every service has, stand in `chopmark_service.problems`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, LimitError, StorageError, TrustError
from chopmark_ledger.errors import LedgerError
from chopmark_service.errors import BackpressureError, ForbiddenError, SlowBodyError
from chopmark_service.problems import (
    BACK_PRESSURE,
    FAULT,
    FORBIDDEN,
    MALFORMED,
    NOT_FOUND,
    STORAGE,
    TOO_LARGE,
    TOO_SLOW,
    Problem,
    problem_document,
    problem_response,
)
from fastapi import Response

from chopmark_issuer.errors import (
    AuthorityError,
    ConflictError,
    DatabaseError,
    FieldError,
    LifecycleError,
    NotFoundError,
    RefusedError,
    SigningProcessError,
)
from chopmark_issuer.service.idempotency import KeyReusedError

NO_AUTHORITY = Problem(
    "no_authority",
    HTTPStatus.FORBIDDEN,
    "The department is not active, holds no grant for the type, or this client is narrowed from it.",
)
STATE = Problem(
    "state", HTTPStatus.CONFLICT, "The state of the licence does not allow it, or its number is superseded."
)
CONFLICT = Problem("conflict", HTTPStatus.CONFLICT, "It is there already, or several licences have that number.")
FIELD = Problem("field", HTTPStatus.UNPROCESSABLE_ENTITY, "A value that the licence type does not allow.")
REFUSED = Problem("refused", HTTPStatus.UNPROCESSABLE_ENTITY, "It is understood, and not allowed.")
KEY_REUSED = Problem(
    "key_reused", HTTPStatus.UNPROCESSABLE_ENTITY, "Another request was sent under this Idempotency-Key."
)
STOPPING = Problem(
    "stopping", HTTPStatus.SERVICE_UNAVAILABLE, "The service is about to stop: send the same again once it runs."
)
SIGNING = Problem(
    "signing",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The signing process does not answer: nothing was written, ask again.",
)
LOG_UNAVAILABLE = Problem(
    "log_unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "The region's log does not answer now: ask again later."
)

_SECONDS_UNTIL_LOG_ANSWERS = 10
_BY_ERROR: tuple[tuple[type[ChopmarkError], Problem], ...] = (
    (KeyReusedError, KEY_REUSED),
    (AuthorityError, NO_AUTHORITY),
    (NotFoundError, NOT_FOUND),
    (LifecycleError, STATE),
    (ConflictError, CONFLICT),
    (FieldError, FIELD),
    (RefusedError, REFUSED),
)
_OF_LINES: tuple[tuple[type[ChopmarkError], Problem], ...] = (
    (ForbiddenError, FORBIDDEN),
    (BackpressureError, BACK_PRESSURE),
    (SlowBodyError, TOO_SLOW),
    (LimitError, TOO_LARGE),
    (FormatError, MALFORMED),
)


def problem_of(error: ChopmarkError) -> Problem | None:
    """The problem of a registry that an error is, None for any other."""
    return next((problem for kind, problem in _BY_ERROR if isinstance(error, kind)), None)


def line_problem(error: BaseException) -> dict[str, Any]:
    """The problem document for a line of a stream that ended in an error; a fault of ours tells nothing of itself."""
    if isinstance(error, ChopmarkError):
        problem = problem_of(error) or next((each for kind, each in _OF_LINES if isinstance(error, kind)), None)
        if problem is not None:
            return problem_document(problem, str(error))
        if isinstance(error, SigningProcessError | KeyMaterialError):
            return problem_document(SIGNING)
        return problem_document(STORAGE)
    return problem_document(FAULT)


def answer_error(error: ChopmarkError) -> Response | None:
    """The answer to a request that ended in an error which only a registry has; None for any other."""
    problem = problem_of(error)
    if problem is not None:
        return problem_response(problem, str(error))
    if isinstance(error, SigningProcessError | KeyMaterialError):
        return problem_response(SIGNING, headers={"Retry-After": "5"})
    if isinstance(error, LedgerError | TrustError):
        return problem_response(LOG_UNAVAILABLE, headers={"Retry-After": str(_SECONDS_UNTIL_LOG_ANSWERS)})
    if isinstance(error, DatabaseError | StorageError):
        return problem_response(STORAGE, headers={"Retry-After": "5"})
    return None
