"""Requests over HTTP that are over in time and in size, whatever the other side does.

Limits of single reads do not bound their sum: an answer of a byte every few seconds, in its headers too, would never
end. Here each wait of a request gets what is left of the time of the whole. Only looking up the host's name is left to
the system, which bounds it. Redirections are not followed, so that one knows whom one asks.

What fails is one of urllib3's `HTTPError`, for the clients above to tell in errors of their own; `reason` says it in
words.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    DecodeError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

from chopmark.errors import FormatError

_CHUNK = 64 * 1024
_PIECE = 16 * 1024
"""Bytes sent at once: one TLS record, so that each gets the time that is left then."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds, all positive.

    Attributes:
        whole: for a request, from connecting to the last byte of its answer.
        connect: for connecting to one address of the host; within `whole`.
        idle: without a byte sent or received; within `whole`.
    """

    whole: float
    connect: float
    idle: float


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back.

    Attributes:
        body: all of it, or where it is larger than was allowed, a beginning that is larger too.
        is_whole: whether it is all of it.
    """

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes
    is_whole: bool


class TimeOverError(HTTPError):
    """The time of the whole request is over."""


class BoundedHttp:
    """Requests below one URL. Several threads may send them at a time.

    Args:
        url: the prefix, `http://…` or `https://…`.
        whose: whose prefix it is, for the message: `a log`.
        bounds: the time a request may take.
        connections: how many are kept open between requests.

    Attributes:
        url: the prefix, without a slash at its end.

    Raises:
        FormatError: the URL is no prefix.
    """

    def __init__(self, url: str, *, whose: str, bounds: Bounds, connections: int) -> None:
        parsed = _parse(url, whose)
        self.url = parsed.url.rstrip("/")
        self._path = (parsed.path or "").rstrip("/")
        self._bounds = bounds
        secure = parsed.scheme == "https"
        self._pool = (urllib3.HTTPSConnectionPool if secure else urllib3.HTTPConnectionPool)(
            parsed.host or "",
            parsed.port,
            timeout=urllib3.Timeout(connect=bounds.connect, read=bounds.idle),
            maxsize=connections,
            block=False,
            retries=False,
        )
        self._pool.ConnectionCls = _BoundedTlsConnection if secure else _BoundedConnection

    def request(
        self,
        method: str,
        path: str,
        *,
        max_size: int,
        max_other: int | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        inflate: bool = False,
        again: bool = False,
        within: float | None = None,
    ) -> HttpAnswer:
        """Send a request for `path`, relative to the prefix.

        Args:
            method: such as `GET`.
            path: without a slash at its beginning.
            max_size: bytes of the answer, counted after it was inflated.
            max_other: as many of an answer other than 200; `max_size` where not given.
            body: what is sent.
            headers: besides those that each request has.
            inflate: take a compressed answer, and inflate it; otherwise it is left as it comes.
            again: ask once more, within the same time, where the connection broke: the other side may have been
                closing one that was kept open.
            within: seconds, where this request has fewer than the bounds allow.

        Raises:
            TimeOverError: no whole answer came in time.
            urllib3.exceptions.DecodeError: the answer is not compressed as it says.
            urllib3.exceptions.HTTPError: no whole answer came.
        """
        sent = {"User-Agent": "chopmark", "Accept-Encoding": "gzip, identity" if inflate else "identity"}
        sent.update(headers or {})

        def attempt() -> HttpAnswer:
            response = self._pool.urlopen(
                method,
                f"{self._path}/{path}",
                body=body,
                headers=sent,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=inflate,
            )
            return _read(response, max_size if max_other is None or response.status == HTTPStatus.OK else max_other)

        bounds = self._bounds
        if within is not None and within < bounds.whole:
            bounds = replace(bounds, whole=within)
        with _BOUND.within(bounds):
            try:
                try:
                    return attempt()
                except ProtocolError:
                    if not again or _BOUND.is_over():
                        raise
                    return attempt()
            except HTTPError as error:
                if _BOUND.is_over():
                    raise TimeOverError(f"nothing whole within {bounds.whole:.3g} seconds") from error
                raise

    def close(self) -> None:
        """Close the connections that are kept open. No request may follow."""
        self._pool.close()


def _read(response: urllib3.BaseHTTPResponse, limit: int) -> HttpAnswer:
    data = bytearray()
    try:
        while len(data) <= limit and (part := response.read1(_CHUNK)):
            data += part
    finally:
        # Once an answer is read to its end its connection is back in the pool; any other is of no more use.
        response.close()
    return HttpAnswer(response.status, response.headers, bytes(data), len(data) <= limit)


def reason(error: HTTPError) -> str:
    """What went wrong, in words of our own or the system's: nothing that the other side sent is repeated."""
    if isinstance(error, TimeOverError):
        return str(error)
    cause = error.__cause__ or next((each for each in error.args if isinstance(each, Exception)), error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, TimeoutError):
        return "nothing came in time"
    if isinstance(cause, RemoteDisconnected):
        return "it ended the connection without an answer"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if isinstance(error, NameResolutionError):
        return "no such host"
    if isinstance(cause, IncompleteRead):
        return "its answer broke off"
    if isinstance(cause, HTTPException):
        return "what it answers is not HTTP"
    if isinstance(error, DecodeError):
        return "its answer is not compressed as it says"
    return type(cause).__name__


def _parse(url: str, whose: str) -> urllib3.util.Url:
    try:
        parsed = urllib3.util.parse_url(url)
    except LocationParseError as error:
        raise FormatError("not a URL", where=url[:200]) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        raise FormatError("not of the form http://host/… or https://host/…", where=url[:200])
    if parsed.query is not None or parsed.fragment is not None:
        raise FormatError(f"the prefix of {whose} has no `?` and no `#`", where=url[:200])
    return parsed


class _Bound(threading.local):
    """What bounds the request of this thread. Its connection comes out of a pool, and knows of no request."""

    end = float("inf")
    connect = float("inf")
    idle = float("inf")

    @contextlib.contextmanager
    def within(self, bounds: Bounds) -> Iterator[None]:
        self.end = time.monotonic() + bounds.whole
        self.connect = bounds.connect
        self.idle = bounds.idle
        try:
            yield
        finally:
            self.end = self.connect = self.idle = float("inf")

    def is_over(self) -> bool:
        return time.monotonic() >= self.end

    def set_on(self, used: socket.socket, most: float) -> None:
        """Let the next call on a socket wait no longer than the request may, and no longer than `most` seconds."""
        left = min(most, self.end - time.monotonic())
        if left <= 0:  # zero would mean not to wait, and what lies ready would be taken on and on
            raise TimeoutError
        used.settimeout(left)


_BOUND = _Bound()


class _BoundedReader(io.RawIOBase):
    """The bytes of an answer, each wait for some bounded by what is left of the time."""

    def __init__(self, raw: io.RawIOBase, used: socket.socket) -> None:
        self._raw = raw
        self._socket = used

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _BOUND.set_on(self._socket, _BOUND.idle)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock))


class _BoundedConnection(HTTPConnection):
    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        """Open a socket to one of the host's addresses, with the time that a TLS handshake after it has."""
        failure: Exception = TimeoutError()
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(self.host, self, socket.gaierror("no such host")) from error
        for family, kind, protocol, _, address in found:
            opened: socket.socket | None = None
            try:
                opened = socket.socket(family, kind, protocol)
                _BOUND.set_on(opened, _BOUND.connect)
                opened.connect(address)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _BOUND.set_on(opened, _BOUND.connect)
            except OSError as error:
                if opened is not None:
                    opened.close()
                failure = error
                continue
            return opened
        raise NewConnectionError(self, "no connection") from failure

    def send(self, data: Any) -> None:
        """Send bytes, each piece within the time that is left."""
        for start in range(0, len(data), _PIECE):
            if self.sock is not None:
                _BOUND.set_on(self.sock, _BOUND.idle)
            super().send(data[start : start + _PIECE])


class _BoundedTlsConnection(_BoundedConnection, HTTPSConnection):
    pass
