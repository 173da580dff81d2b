"""Requests to the service of a log, as its client sends them: with a token each, bounded, and again when that may help.

A request may be sent again because the same batch under the same number gets the same answer. It is, with a new token
and at growing intervals, when nothing came back, when the service says when to come back (`Retry-After`), and once when
it does not take the token: it may have begun a moment ago. When patience is over, the last answer is what counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from chopmark import strict
from chopmark.client.bounded_http import BoundedHttp, Bounds, HttpAnswer, reason
from chopmark.errors import ChopmarkError, FormatError, LimitError
from chopmark.keys import Signer
from chopmark_service import problems as common
from chopmark_service.authentication import make_token
from urllib3.exceptions import HTTPError

from chopmark_ledger.errors import (
    BackpressureError,
    BatchRefusedError,
    ClientListError,
    ConflictError,
    ForbiddenError,
    LogStoppedError,
    LogUnreachableError,
    NotPublishedError,
    UnauthenticatedError,
)
from chopmark_ledger.service import problems
from chopmark_ledger.service.entry_requests import read_refused

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer: ten thousand entries, each refused at length."""
_TIMEOUT = 120.0
_CONNECT = 10.0
_IDLE = 60.0
_CONNECTIONS = 8
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 15.0
_MAX_SHOWN = 300
_JSON = "application/json"
_AGAIN = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_FINAL = frozenset({problems.STOPPED.code, problems.NO_CLIENTS.code})
"""Problems that time does not mend."""


class LogConnection:
    """Sends requests to one log. Several threads may.

    Args:
        url: the prefix of the log, `http://…` or `https://…`.
        origin: its origin, which tokens are for.
        name: the client's name in the list of the log; None to read only.
        key: the client's key; None to read only.
        timeout: seconds for one answer, from connecting to its last byte; no longer than 10 of them to connect, or 60
            without a byte.
        patience: seconds after which a request is given up.
        clock: answers POSIX seconds with fractions, for tokens.
        sleep: waits so many seconds.

    Raises:
        FormatError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        origin: str,
        name: str | None = None,
        key: Signer | None = None,
        timeout: float = _TIMEOUT,
        patience: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        bounds = Bounds(timeout, connect=min(timeout, _CONNECT), idle=min(timeout, _IDLE))
        self._http = BoundedHttp(url, whose="a log", bounds=bounds, connections=_CONNECTIONS)
        self.url = self._http.url
        self.origin = origin
        self._name = name
        self._key = key
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._random = random

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._http.close()

    def post(self, path: str, body: bytes = b"") -> HttpAnswer:
        """Send an authenticated request, until it is answered well or patience is over.

        Raises:
            LogUnreachableError: no service answered, or not as one of ours does.
            ConflictError, BatchRefusedError, BackpressureError, LogStoppedError, UnauthenticatedError, ForbiddenError,
                ClientListError, NotPublishedError, FormatError: what the service said.
        """
        return self._ask("POST", path, body, {}, MAX_ANSWER)

    def get(self, path: str, *, headers: dict[str, str] | None = None, max_size: int = MAX_ANSWER) -> HttpAnswer:
        """Fetch what everybody may; answers of 2xx, 404 and 416 are answers.

        Raises:
            LogUnreachableError: no service answered.
            LimitError: the answer is larger than `max_size`.
        """
        return self._ask("GET", path, None, headers or {}, max_size)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str], max_size: int) -> HttpAnswer:
        end = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        tokens_left = 2
        while True:
            found: HttpAnswer | ChopmarkError
            try:
                found = self._attempt(method, path, body, headers, max_size)
            except HTTPError as error:
                found = self._unreachable(reason(error))
                wait = pause
            else:
                code = _code(found)
                if found.status == HTTPStatus.UNAUTHORIZED:
                    tokens_left -= 1
                    final = not tokens_left
                else:
                    final = found.status not in _AGAIN or code in _FINAL
                if final:
                    return self._judged(found, code)
                wait = max(pause, _retry_after(found))
            if time.monotonic() + wait > end:
                if isinstance(found, HttpAnswer):
                    return self._judged(found, _code(found))
                raise found
            self._sleep(min(wait, _LONGEST_PAUSE))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], max_size: int
    ) -> HttpAnswer:
        if method == "POST":
            headers = headers | {"Content-Type": _JSON, "Authorization": f"Bearer {self._token()}"}
        answer = self._http.request(method, path, body=body, headers=headers, max_size=max_size)
        if not answer.is_whole:
            raise LimitError(f"an answer of more than {max_size:,} bytes", where=f"{self.url}/{path}")
        return answer

    def _token(self) -> str:
        if self._name is None or self._key is None:
            raise UnauthenticatedError(
                "this needs a client's name and key", where=self.url, remedy="Make them: chopmark log client-key"
            )
        return make_token(self._key, name=self._name, audience=self.origin, now=self._clock(), random=self._random)

    def _judged(self, answer: HttpAnswer, code: str | None) -> HttpAnswer:
        """An answer that is one, or the error that it tells."""
        status = answer.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        if code is None and status in (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            return answer
        document = _document(answer) or {}
        detail = str(document.get("detail", ""))[:_MAX_SHOWN] or f"the service answers {status}"
        if code == problems.ALL_REFUSED.code:
            refused = read_refused(document.get("refused"), where=self.url)
            if refused:
                raise BatchRefusedError(refused)
        if code == common.BACK_PRESSURE.code:
            raise BackpressureError(detail, retry_after=max(1, round(_retry_after(answer))), where=self.url)
        if code in _ERRORS:
            raise _ERRORS[code](detail, where=self.url)
        if code == common.NOT_FOUND.code:
            return answer
        raise self._unreachable(f"it answers {status}" + (f", {detail}" if code is not None else ""))

    def _unreachable(self, reason: str) -> LogUnreachableError:
        return LogUnreachableError(
            f"the log's service cannot be used: {reason}",
            where=self.url,
            remedy="Try again later: what was sent twice counts once",
        )


_ERRORS: dict[str | None, type[ChopmarkError]] = {
    problems.CONFLICT.code: ConflictError,
    problems.STOPPED.code: LogStoppedError,
    common.UNAUTHENTICATED.code: UnauthenticatedError,
    common.FORBIDDEN.code: ForbiddenError,
    problems.NO_CLIENTS.code: ClientListError,
    problems.NOT_PUBLISHED.code: NotPublishedError,
    common.MALFORMED.code: FormatError,
    common.UNSUPPORTED.code: FormatError,
    common.TOO_LARGE.code: LimitError,
}


def _document(answer: HttpAnswer) -> dict[str, Any] | None:
    if answer.headers.get("Content-Type", "").partition(";")[0] != common.PROBLEM_TYPE:
        return None
    try:
        document = strict.json_decode(answer.body, where="problem", max_size=MAX_ANSWER)
    except FormatError:
        return None
    return document if isinstance(document, dict) else None


def _code(answer: HttpAnswer) -> str | None:
    document = _document(answer) if answer.status >= HTTPStatus.BAD_REQUEST else None
    code = None if document is None else document.get("code")
    return code if isinstance(code, str) else None


def _retry_after(answer: HttpAnswer) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
