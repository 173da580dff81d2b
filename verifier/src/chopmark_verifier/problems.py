"""The problems that a verifier's service answers (RFC 9457); `chopmark_service.problems` tells what they look like.

That a licence is not valid is no problem but an answer: see the verdict. A problem is what keeps from answering.
"""

from __future__ import annotations

from http import HTTPStatus

from chopmark.errors import ChopmarkError, TrustError
from chopmark_service.problems import Problem, problem_response
from fastapi import Response

from chopmark_verifier.errors import (
    ClientListError,
    ExhaustingPictureError,
    NoCodeError,
    NoDeskError,
    PictureError,
    SeveralCodesError,
    UnreadablePictureError,
)

NO_CODE = Problem("no_code", HTTPStatus.UNPROCESSABLE_ENTITY, "There is no QR code in the picture.")
SEVERAL_CODES = Problem(
    "several_codes",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "There are several licence codes in the picture: send one of the code that is meant.",
)
UNREADABLE_PICTURE = Problem(
    "unreadable_picture", HTTPStatus.UNPROCESSABLE_ENTITY, "It is no PNG or JPEG picture, or a damaged one."
)
EXHAUSTING_PICTURE = Problem(
    "exhausting_picture", HTTPStatus.UNPROCESSABLE_ENTITY, "Reading the picture took too much time or memory."
)
NOT_KNOWN = Problem(
    "not_known",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The trust store does not know this licence type, or not yet.",
)
NO_DESK = Problem(
    "no_desk",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "This service asks no challenges and files no records: it has no key, or the home region does not enrol it.",
)
NO_CLIENTS = Problem(
    "no_clients", HTTPStatus.SERVICE_UNAVAILABLE, "The list of clients is missing or broken: its operator must look."
)
_OF_PICTURES: dict[type[PictureError], Problem] = {
    NoCodeError: NO_CODE,
    SeveralCodesError: SEVERAL_CODES,
    UnreadablePictureError: UNREADABLE_PICTURE,
    ExhaustingPictureError: EXHAUSTING_PICTURE,
}


def answer_error(error: ChopmarkError) -> Response | None:
    """The answer to an error that only this service has."""
    match error:
        case PictureError():
            return problem_response(_OF_PICTURES[type(error)], str(error))
        case NoDeskError():
            return problem_response(NO_DESK, str(error))
        case ClientListError():
            return problem_response(NO_CLIENTS)
        case TrustError():
            return problem_response(NOT_KNOWN, str(error))
    return None
