"""The files of a log fetched from its server.

Spec: https://c2sp.org/tlog-tiles. Connections are kept open, several files are on their way at once, and what does not
arrive is asked for again, at growing intervals. No size is believed: reading stops at the most that a file may have,
counted after it was inflated, for entry bundles may come compressed whether one asks for it or not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

from chopmark.client.bounded_http import BoundedHttp, Bounds, HttpAnswer, reason
from chopmark.errors import ChopmarkError, LimitError, StorageError
from urllib3.exceptions import DecodeError, HTTPError

from chopmark_ledger.audit.tile_source import FoundFile, size_limit
from chopmark_ledger.errors import LogUnreachableError

_IN_FLIGHT = 8
"""Files on their way at once: enough to hide a network, and 134 MB if each were a bundle of the largest entries."""
_ATTEMPTS = 6
_PAUSE = 0.25
"""Seconds before the second attempt; twice as long before each further one."""
_PAUSE_MAX = 30.0
"""Seconds: no server makes one wait longer."""
_TIMEOUT = 120.0
_CONNECT = 10.0
_IDLE = 30.0
_MAX_OTHER = 64 * 1024
"""Bytes of an answer that is no file: as many are read so that its connection can be used again."""
_ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_BUSY = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers of a server that cannot serve now; they say nothing of the file."""


class HttpSource:
    """The files of a log below a URL, a `TileSource`. It is for one thread, or for several of which none reads ahead.

    Args:
        url: the prefix of the log, `http://…` or `https://…`.
        in_flight: how many files are fetched at once.
        attempts: how often a file is asked for; twice at most where connections are refused from the first one on.
        timeout: seconds for one attempt, from connecting to the last byte; no longer than 10 of them to connect, or 30
            without a byte.
        sleep: waits so many seconds; where not given, until the source is closed at the latest.

    Raises:
        FormatError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        in_flight: int = _IN_FLIGHT,
        attempts: int = _ATTEMPTS,
        timeout: float = _TIMEOUT,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        bounds = Bounds(timeout, connect=min(timeout, _CONNECT), idle=min(timeout, _IDLE))
        self._http = BoundedHttp(url, whose="a log", bounds=bounds, connections=in_flight + 1)
        self.name = self._http.url
        self._in_flight = in_flight
        self._attempts = attempts
        self._was_answered = False
        self._closing = threading.Event()
        self._sleep = self._closing.wait if sleep is None else sleep
        self._threads = ThreadPoolExecutor(in_flight, thread_name_prefix="fetch")
        self._coming: Iterator[str] = iter(())
        self._ahead: dict[str, Future[bytes | None]] = {}

    def read(self, path: str) -> bytes | None:
        """Fetch a file; see `TileSource.read`."""
        fetched = self._ahead.pop(path, None)
        self._fill()
        return self._fetch(path) if fetched is None else fetched.result()

    def read_ahead(self, paths: Iterator[str]) -> None:
        """Fetch these files while others are looked at; see `TileSource.read_ahead`."""
        self._drop()
        self._coming = paths
        self._fill()

    def found(self) -> Iterator[FoundFile] | None:
        """A server lists nothing."""
        return None

    def close(self) -> None:
        """Give the connections back."""
        self._closing.set()
        self._coming = iter(())
        self._drop()
        self._threads.shutdown()
        self._http.close()

    def _fill(self) -> None:
        while len(self._ahead) < self._in_flight:
            path = next(self._coming, None)
            if path is None:
                return
            if path not in self._ahead:
                self._ahead[path] = self._threads.submit(self._fetch, path)

    def _drop(self) -> None:
        for fetched in self._ahead.values():
            fetched.cancel()
        self._ahead.clear()

    def _fetch(self, path: str) -> bytes | None:
        limit = size_limit(path)
        pause = _PAUSE
        for done in range(self._attempts - 1):
            found = self._attempt(path, limit)
            if not isinstance(found, _Failure):
                return found
            if found.is_refused and done > 0 and not self._was_answered:
                # Nobody has ever listened there: a wrong address is told at once, not waited for as a restart is.
                raise found.error
            self._sleep(min(max(pause, found.after), _PAUSE_MAX))
            if self._closing.is_set():
                raise found.error
            pause *= 2
        found = self._attempt(path, limit)
        if isinstance(found, _Failure):
            raise found.error
        return found

    def _attempt(self, path: str, limit: int) -> bytes | _Failure | None:
        """Ask once; a failure is what may pass."""
        try:
            answer = self._http.request("GET", path, max_size=limit, max_other=_MAX_OTHER, inflate=True)
        except DecodeError as error:
            raise StorageError("it is not compressed as the server says", where=path) from error
        except HTTPError as error:
            refused = isinstance(error.__cause__, ConnectionRefusedError)
            return _Failure(self._unreachable(f"{path}: {reason(error)}"), is_refused=refused)
        self._was_answered = True
        status = answer.status
        if status == HTTPStatus.OK:
            if not answer.is_whole:
                raise LimitError(f"more than {limit} bytes", where=path)
            return answer.body
        if status in _ABSENT:
            return None
        if status in _BUSY:
            return _Failure(self._unreachable(f"the server answers {status}"), _seconds(answer))
        failed = StorageError(f"the server answers {status}", where=path)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _Failure(failed)
        location = answer.headers.get("Location")
        if location is not None:
            failed.remedy = f"It points to {location[:200]}: if that is the log, name it"
        raise failed

    def _unreachable(self, reason: str) -> LogUnreachableError:
        return LogUnreachableError(
            f"the log cannot be fetched: {reason}",
            where=self.name,
            remedy="Check the URL and the network, or try again later",
        )


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt failed, after how many seconds the server wants to be asked again, and whether none listens."""

    error: ChopmarkError
    after: float = 0.0
    is_refused: bool = False


def _seconds(answer: HttpAnswer) -> float:
    """What `Retry-After` says, where it is a number of seconds."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
