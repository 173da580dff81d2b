"""The files that a region publishes for verifiers, fetched over HTTP as far as one does not hold them.

A file that was fetched before is asked for with its entity tag (`If-None-Match`); one that only grows with a range
too, which begins with the last record that one holds, so that the answer shows whether it goes on where one stands.
`If-Range` would not do: its tag is of the file before it grew, and each answer would be the whole. Whether the parts
make the published file its proof shows, when the store verifies it.

Everything is over in time and size (`bounded_http`), one file and the visit as a whole. Redirections are not followed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from chopmark.client.bounded_http import BoundedHttp, Bounds, HttpAnswer, reason
from chopmark.client.entity_tags import EntityTags
from chopmark.errors import LimitError, StorageError, UnreachableError
from chopmark.landmark import RECORD_SIZE
from chopmark.refresh import Unchanged

BOUNDS: Final = Bounds(whole=120.0, connect=10.0, idle=20.0)
"""For one file: the largest, 64 MB, needs 4.5 Mbit/s."""
VISIT_SECONDS: Final = 300.0
"""Seconds that the requests of one visit may take together."""

_MAX_OTHER: Final = 64 * 1024
"""Bytes of an answer that is no file: as many are read so that its connection can be used again."""
_ABSENT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_BUSY: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers of a server that cannot serve now; they say nothing of the file."""
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII)


class PublishedFiles:
    """The published files below a URL: a `chopmark.refresh.Source` for one visit. For one thread.

    Args:
        url: the prefix, `http://…` or `https://…`.
        tags: what was fetched before.
        bounds: the time for one file.
        seconds: for all requests together; what comes after them is not asked for.
        monotonic: seconds of a clock that nobody sets.

    Attributes:
        url: the prefix, without a slash at its end.

    Raises:
        FormatError: the URL is no prefix.
    """

    def __init__(
        self,
        url: str,
        *,
        tags: EntityTags | None = None,
        bounds: Bounds = BOUNDS,
        seconds: float = VISIT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = BoundedHttp(url, whose="a region's published files", bounds=bounds, connections=1)
        self.url = self._http.url
        self._tags = EntityTags() if tags is None else tags
        self._seconds = self._left = seconds
        self._monotonic = monotonic
        self._is_given_up = False

    def fetch(
        self, path: str, *, max_size: int, held: bytes | None = None, grows: bool = False
    ) -> bytes | Unchanged | None:
        """Fetch a file; see `chopmark.refresh.Source`."""
        if held is None:
            return self._fetch_whole(path, max_size, None)
        tag = self._tags.of(self._url(path), held)
        if not grows or len(held) < RECORD_SIZE or len(held) > max_size:
            return self._fetch_whole(path, max_size, held, tag)
        headers = {"Range": f"bytes={len(held) - RECORD_SIZE}-"}
        if tag is not None:
            headers["If-None-Match"] = tag
        answer = self._ask(path, headers, max_size, max_other=max_size - len(held) + RECORD_SIZE + _MAX_OTHER)
        if answer.status not in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            return self._found(path, answer, max_size, held, is_conditional=tag is not None)
        added = _continuation(answer, held)
        if added is None:
            return self._fetch_whole(path, max_size, held)
        if len(held) + len(added) > max_size:
            raise LimitError(f"more than {max_size} bytes", where=self._url(path))
        whole = held + added
        self._tags.remember(self._url(path), answer.headers.get("ETag"), whole)
        return whole if added else Unchanged.UNCHANGED

    def give_up(self) -> None:
        """Ask for nothing more; another thread may say so."""
        self._is_given_up = True

    def close(self) -> None:
        """Close the connection. No request may follow."""
        self._http.close()

    def _fetch_whole(
        self, path: str, max_size: int, held: bytes | None, tag: str | None = None
    ) -> bytes | Unchanged | None:
        headers = {} if tag is None else {"If-None-Match": tag}
        answer = self._ask(path, headers, max_size, max_other=_MAX_OTHER)
        return self._found(path, answer, max_size, held, is_conditional=tag is not None)

    def _found(
        self, path: str, answer: HttpAnswer, max_size: int, held: bytes | None, *, is_conditional: bool
    ) -> bytes | Unchanged | None:
        """The file that an answer holds, or what else it says of it."""
        url = self._url(path)
        if answer.status == HTTPStatus.NOT_MODIFIED and is_conditional:
            return Unchanged.UNCHANGED
        if answer.status in _ABSENT:
            return None
        if answer.status in _BUSY:
            raise UnreachableError(f"the server answers {answer.status}", where=url, remedy="Try again later")
        if answer.status != HTTPStatus.OK:
            failed = StorageError(f"the server answers {answer.status}", where=url)
            if (location := answer.headers.get("Location")) is not None:
                failed.remedy = f"It points to {location[:200]!r}, which is not followed: if that is it, name it"
            raise failed
        if not answer.is_whole:
            raise LimitError(f"more than {max_size} bytes", where=url)
        self._tags.remember(url, answer.headers.get("ETag"), answer.body)
        return Unchanged.UNCHANGED if answer.body == held else answer.body

    def _ask(self, path: str, headers: dict[str, str], max_size: int, *, max_other: int) -> HttpAnswer:
        if self._is_given_up:
            raise UnreachableError("the visit was given up", where=self.url)
        if self._left <= 0:
            raise UnreachableError(f"the {self._seconds:g} seconds of a visit are over", where=self.url)
        began = self._monotonic()
        try:
            return self._http.request(
                "GET",
                path,
                max_size=max_size,
                max_other=max_other,
                headers=headers,
                inflate="Range" not in headers,
                again=True,
                within=self._left,
            )
        except HTTPError as error:
            is_away = isinstance(error, (NewConnectionError, ConnectTimeoutError, SSLError))
            if is_away:
                raise UnreachableError(
                    f"no connection: {reason(error)}", where=self.url, remedy="Check the URL and the network"
                ) from error
            raise StorageError(f"it cannot be fetched: {reason(error)}", where=self._url(path)) from error
        finally:
            self._left -= self._monotonic() - began

    def _url(self, path: str) -> str:
        return f"{self.url}/{path}"


def _continuation(answer: HttpAnswer, held: bytes) -> bytes | None:
    """What of a file follows the part that is held; None where the answer does not begin with its last record, or is
    not what was asked for."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status != HTTPStatus.PARTIAL_CONTENT or match is None or not answer.is_whole:
        return None
    first, last, size = (int(group) for group in match.groups())
    start = len(held) - RECORD_SIZE
    if (first, last + 1, last + 1 - first) != (start, size, len(answer.body)):
        return None
    return answer.body[RECORD_SIZE:] if answer.body[:RECORD_SIZE] == held[start:] else None
