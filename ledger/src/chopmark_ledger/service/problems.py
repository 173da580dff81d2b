"""The problems that only the service of a log answers (RFC 9457).

What they look like, and those that every service has, stand in `chopmark_service.problems`.
"""

from __future__ import annotations

from http import HTTPStatus

from chopmark.errors import ChopmarkError, QuorumError
from chopmark_service.problems import Problem, problem_response
from fastapi import Response

from chopmark_ledger.errors import (
    BatchRefusedError,
    ClientListError,
    ConflictError,
    LogStoppedError,
    NotHeardError,
    NotPublishedError,
)

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
ALL_REFUSED = Problem(
    "all_refused",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "No entry of the batch may enter the log; `refused` names each with its reason, and the number stays free.",
    {"refused": REFUSED_SCHEMA},
)
STOPPED = Problem(
    "stopped",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The log stopped, and an operator must look; what was acknowledged is kept.",
)
NO_CLIENTS = Problem(
    "no_clients", HTTPStatus.SERVICE_UNAVAILABLE, "The list of clients cannot be read: an operator must correct it."
)

_SECONDS_UNTIL_PUBLISHED = 5


def answer_error(error: ChopmarkError) -> Response | None:
    """The answer to a request that ended in an error which only a log has; None for any other."""
    match error:
        case ClientListError():
            return problem_response(NO_CLIENTS)
        case ConflictError():
            return problem_response(CONFLICT, str(error))
        case BatchRefusedError():
            refused = [{"position": each.position, "reason": each.reason} for each in error.refused]
            return problem_response(ALL_REFUSED, refused=refused)
        case NotPublishedError() | QuorumError():
            return problem_response(NOT_PUBLISHED, headers={"Retry-After": str(_SECONDS_UNTIL_PUBLISHED)})
        case NotHeardError():
            return problem_response(NOT_HEARD, headers={"Retry-After": str(_SECONDS_UNTIL_PUBLISHED)})
        case LogStoppedError():
            return problem_response(STOPPED)
    return None
