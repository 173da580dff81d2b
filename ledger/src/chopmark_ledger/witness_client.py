"""A witness that is reached over HTTP, as a publisher asks it (a `WitnessClient`).

Spec: https://c2sp.org/tlog-witness

    HttpWitness("https://cn-sh.example/witness", vkeys, timeout=5.0).add_checkpoint(body)

Nothing that comes back is believed here: the publisher looks at status, body and signatures. This module sees to it
that an answer comes, or an error does, within the time: also from one that trickles its bytes, never ends, or points
elsewhere.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import urllib3
from chopmark.errors import FormatError, LimitError
from chopmark.note import NoteVerifier
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError, NameResolutionError, NewConnectionError, ProtocolError

from chopmark_ledger.errors import WitnessUnreachableError
from chopmark_ledger.witness import WitnessAnswer

TIMEOUT = 5.0
"""Seconds for an answer."""
MAX_ANSWER_SIZE = 64 * 1024
"""Bytes of an answer: a dozen post-quantum signature lines."""
_CHUNK = 16 * 1024
_IDLE = 4
"""Connections that are kept open between requests."""
_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "chopmark", "Accept-Encoding": "identity"}


class HttpWitness:
    """The witness of one operator, at a URL. Several threads may ask it at a time.

    The time counts from the first byte sent to the last one read; looking up the name comes before it, and is left to
    the system.

    Args:
        url: its submission prefix, `http://…` or `https://…`.
        vkeys: the keys it cosigns with, all of one name.
        timeout: seconds for an answer.

    Raises:
        FormatError: the URL or a vkey is none, or there is no vkey.
    """

    def __init__(self, url: str, vkeys: Sequence[str], *, timeout: float = TIMEOUT) -> None:
        if not vkeys:
            raise FormatError("a witness without a key", where=url[:200])
        self._name = NoteVerifier.from_vkey(vkeys[0]).name
        self._vkeys = tuple(vkeys)
        self._timeout = timeout
        parsed = _parse(url)
        self._url = parsed.url.rstrip("/")
        self._path = (parsed.path or "").rstrip("/")
        limits = urllib3.Timeout(connect=timeout, read=timeout)
        secure = parsed.scheme == "https"
        pool = (urllib3.HTTPSConnectionPool if secure else urllib3.HTTPConnectionPool)(
            parsed.host or "", parsed.port, timeout=limits, maxsize=_IDLE, block=False, retries=False
        )
        pool.ConnectionCls = _BoundedTlsConnection if secure else _BoundedConnection
        self._pool = pool

    @property
    def name(self) -> str:
        """The name of its keys, for messages."""
        return self._name

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys it cosigns with."""
        return self._vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Send an `add-checkpoint` request.

        Raises:
            WitnessUnreachableError: no whole answer came in time.
        """
        return self._post("add-checkpoint", body)

    def sign_subtree(self, body: bytes) -> WitnessAnswer:
        """Send a `sign-subtree` request.

        Raises:
            WitnessUnreachableError: no whole answer came in time.
        """
        return self._post("sign-subtree", body)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._pool.close()

    def _post(self, call: str, body: bytes) -> WitnessAnswer:
        end = time.monotonic() + self._timeout
        try:
            with _DEADLINE.at(end):
                try:
                    answer = self._attempt(call, body, end)
                except ProtocolError:
                    # The other side may be closing a connection that was kept open. Asking again is harmless.
                    answer = self._attempt(call, body, end)
        except (LimitError, HTTPError) as error:
            reason = f"nothing whole within {self._timeout:g} seconds" if time.monotonic() >= end else _reason(error)
            raise self._unreachable(reason) from error
        if time.monotonic() >= end:  # its end may be where the connection was ended
            raise self._unreachable(f"nothing whole within {self._timeout:g} seconds")
        return answer

    def _attempt(self, call: str, body: bytes, end: float) -> WitnessAnswer:
        left = max(end - time.monotonic(), 0.001)
        response = self._pool.urlopen(
            "POST",
            f"{self._path}/{call}",
            body=body,
            headers=_HEADERS,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=left, read=left),
        )
        try:
            answer = bytearray()
            while chunk := response.read1(_CHUNK):
                answer += chunk
                if len(answer) > MAX_ANSWER_SIZE:
                    raise LimitError(f"an answer of more than {MAX_ANSWER_SIZE // 1024} KiB")
            return WitnessAnswer(response.status, bytes(answer), response.headers.get("Content-Type", ""))
        finally:
            # Once an answer is read to its end its connection is back in the pool; any other is of no more use.
            response.close()

    def _unreachable(self, reason: str) -> WitnessUnreachableError:
        return WitnessUnreachableError(
            f"the witness does not answer: {reason}",
            where=f"{self._name} at {self._url}",
            remedy="It is asked again with the next publication",
        )

    def __repr__(self) -> str:
        return f"HttpWitness({self._url!r}, {self._name!r})"


class _Deadline(threading.local):
    """When the request of this thread has to be over, by the monotonic clock."""

    end = float("inf")

    @contextlib.contextmanager
    def at(self, end: float) -> Iterator[_Watchdog]:
        """Set it, and end the connection that is used when it passes: limits of single reads do not bound their
        sum."""
        watchdog = _Watchdog(end - time.monotonic())
        self.end = end
        self.watchdog = watchdog
        try:
            yield watchdog
        finally:
            self.end = float("inf")
            watchdog.cancel()


class _Watchdog:
    def __init__(self, seconds: float) -> None:
        self._mutex = threading.Lock()
        self._watched: socket.socket | None = None
        self._over = False
        self._timer = threading.Timer(max(seconds, 0.0), self._end)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, used: socket.socket | None) -> None:
        with self._mutex:
            self._watched = used
            if self._over:
                self._shut_down()

    def cancel(self) -> None:
        self._timer.cancel()
        with self._mutex:
            self._watched = None

    def _end(self) -> None:
        with self._mutex:
            self._over = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._watched is not None:
            with contextlib.suppress(OSError):  # it is closed already
                # That of a TLS socket would break a read that is under way.
                socket.socket.shutdown(self._watched, socket.SHUT_RDWR)


_DEADLINE = _Deadline()


class _BoundedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Open a socket; every address of the host, and a TLS handshake after that, share the time that is left."""
        failure: Exception = TimeoutError()
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(self.host, self, socket.gaierror("no such host")) from error
        for family, kind, protocol, _, address in found:
            left = _DEADLINE.end - time.monotonic()
            if left <= 0:
                break
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(left)
                opened.connect(address)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                opened.close()
                failure = error
                continue
            return opened
        raise NewConnectionError(self, "no connection") from failure

    def connect(self) -> None:
        super().connect()
        _DEADLINE.watchdog.watch(self.sock)

    def putrequest(self, *arguments: Any, **named: Any) -> None:
        _DEADLINE.watchdog.watch(self.sock)  # of a connection that was kept open
        super().putrequest(*arguments, **named)


class _BoundedTlsConnection(_BoundedConnection, HTTPSConnection):
    pass


def _parse(url: str) -> urllib3.util.Url:
    try:
        parsed = urllib3.util.parse_url(url)
    except LocationParseError as error:
        raise FormatError("not a URL", where=url[:200]) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        raise FormatError("not of the form http://host/… or https://host/…", where=url[:200])
    if parsed.query is not None or parsed.fragment is not None:
        raise FormatError("the prefix of a witness has no `?` and no `#`", where=url[:200])
    return parsed


def _reason(error: LimitError | HTTPError) -> str:
    """One sentence of an error, without the objects that urllib3 shows in it."""
    if isinstance(error, LimitError):
        return error.what
    reason = getattr(error, "reason", None) or error
    cause = reason.__cause__ or reason
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__
