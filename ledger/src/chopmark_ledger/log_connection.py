"""Requests to the service of a log, as its client sends them: with a token each, bounded, and again when that may help.

A request may be sent again because the same batch under the same number gets the same answer. It is, with a new token
and at growing intervals, when nothing came back, when the service says when to come back (`Retry-After`), and once when
it does not take the token: it may have begun a moment ago. When patience is over, the last answer is what counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import urllib3
from chopmark import strict
from chopmark.errors import ChopmarkError, FormatError, LimitError
from chopmark.keys import Signer
from urllib3.exceptions import HTTPError, LocationParseError

from chopmark_ledger import problems
from chopmark_ledger.authentication import make_token
from chopmark_ledger.entry_requests import read_refused
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

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer: ten thousand entries, each refused at length."""
_CHUNK = 64 * 1024
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 15.0
_LONGEST_ANSWER = 120.0
"""Seconds that an answer may take to arrive, once it began."""
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes


class LogConnection:
    """Sends requests to one log. Several threads may.

    Args:
        url: the prefix of the log, `http://…` or `https://…`.
        origin: its origin, which tokens are for.
        name: the client's name in the list of the log; None to read only.
        key: the client's key; None to read only.
        timeout: seconds for one answer.
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
        timeout: float = 60.0,
        patience: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.url = _prefix(url)
        self.origin = origin
        self._name = name
        self._key = key
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._random = random
        limits = urllib3.Timeout(connect=min(timeout, 10.0), read=timeout)
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=limits)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._pool.clear()

    def post(self, path: str, body: bytes = b"") -> Answer:
        """Send an authenticated request, until it is answered well or patience is over.

        Raises:
            LogUnreachableError: no service answered, or not as one of ours does.
            ConflictError, BatchRefusedError, BackpressureError, LogStoppedError, UnauthenticatedError, ForbiddenError,
                ClientListError, NotPublishedError, FormatError: what the service said.
        """
        return self._ask("POST", path, body, {}, MAX_ANSWER)

    def get(self, path: str, *, headers: dict[str, str] | None = None, max_size: int = MAX_ANSWER) -> Answer:
        """Fetch what everybody may; answers of 2xx, 404 and 416 are answers.

        Raises:
            LogUnreachableError: no service answered.
            LimitError: the answer is larger than `max_size`.
        """
        return self._ask("GET", path, None, headers or {}, max_size)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str], max_size: int) -> Answer:
        end = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        tokens_left = 2
        while True:
            found: Answer | ChopmarkError
            try:
                found = self._attempt(method, path, body, headers, max_size)
            except HTTPError as error:
                found = self._unreachable(_reason(error))
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
                if isinstance(found, Answer):
                    return self._judged(found, _code(found))
                raise found
            self._sleep(min(wait, _LONGEST_PAUSE))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, method: str, path: str, body: bytes | None, headers: dict[str, str], max_size: int) -> Answer:
        headers = {"User-Agent": "chopmark", "Accept-Encoding": "identity", **headers}
        if method == "POST":
            headers |= {"Content-Type": _JSON, "Authorization": f"Bearer {self._token()}"}
        response = self._pool.request(
            method,
            f"{self.url}/{path}",
            body=body,
            headers=headers,
            preload_content=False,
            decode_content=False,
            redirect=False,
        )
        end = time.monotonic() + _LONGEST_ANSWER
        try:
            data = bytearray()
            while chunk := response.read1(_CHUNK):
                data += chunk
                if time.monotonic() > end:
                    raise HTTPError("the answer trickles")
                if len(data) > max_size:
                    raise LimitError(f"an answer of more than {max_size:,} bytes", where=f"{self.url}/{path}")
            return Answer(response.status, response.headers, bytes(data))
        finally:
            # Once an answer is read to its end its connection is back in the pool; any other is of no more use.
            response.close()

    def _token(self) -> str:
        if self._name is None or self._key is None:
            raise UnauthenticatedError(
                "this needs a client's name and key", where=self.url, remedy="Make them: chopmark log client-key"
            )
        return make_token(self._key, name=self._name, audience=self.origin, now=self._clock(), random=self._random)

    def _judged(self, answer: Answer, code: str | None) -> Answer:
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
        if code == problems.BACK_PRESSURE.code:
            raise BackpressureError(detail, retry_after=max(1, round(_retry_after(answer))), where=self.url)
        if code in _ERRORS:
            raise _ERRORS[code](detail, where=self.url)
        if code == problems.NOT_FOUND.code:
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
    problems.UNAUTHENTICATED.code: UnauthenticatedError,
    problems.FORBIDDEN.code: ForbiddenError,
    problems.NO_CLIENTS.code: ClientListError,
    problems.NOT_PUBLISHED.code: NotPublishedError,
    problems.MALFORMED.code: FormatError,
    problems.UNSUPPORTED.code: FormatError,
    problems.TOO_LARGE.code: LimitError,
}


def _prefix(url: str) -> str:
    try:
        parsed = urllib3.util.parse_url(url)
    except LocationParseError as error:
        raise FormatError("not a URL", where=url[:200]) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        raise FormatError("not of the form http://host/… or https://host/…", where=url[:200])
    if parsed.query is not None or parsed.fragment is not None:
        raise FormatError("the prefix of a log has no `?` and no `#`", where=url[:200])
    return parsed.url.rstrip("/")


def _document(answer: Answer) -> dict[str, Any] | None:
    if answer.headers.get("Content-Type", "").partition(";")[0] != problems.PROBLEM_TYPE:
        return None
    try:
        document = strict.json_decode(answer.body, where="problem", max_size=MAX_ANSWER)
    except FormatError:
        return None
    return document if isinstance(document, dict) else None


def _code(answer: Answer) -> str | None:
    document = _document(answer) if answer.status >= HTTPStatus.BAD_REQUEST else None
    code = None if document is None else document.get("code")
    return code if isinstance(code, str) else None


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _reason(error: HTTPError) -> str:
    """What went wrong, without the objects that urllib3 puts before it."""
    return str(getattr(error, "reason", None) or error).rpartition(">: ")[2] or type(error).__name__
