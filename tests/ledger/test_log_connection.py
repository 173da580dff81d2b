"""What a client does with whatever a service, or something in its place, answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from chopmark.errors import ChopmarkError, FormatError, LimitError
from chopmark.keys import Ed25519Signer
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
from chopmark_ledger.service.log_connection import LogConnection

PROBLEM = "application/problem+json"
Script = tuple[int, dict[str, str], bytes]


@dataclass
class Service:
    """Answers by a script, its last line again and again; remembers what it was asked."""

    script: list[Script] = field(default_factory=list)
    asked: list[tuple[str, str, str | None, bytes]] = field(default_factory=list)
    url: str = ""
    waited: list[float] = field(default_factory=list)

    def problem(self, status: int, code: str, headers: dict[str, str] | None = None, **members: Any) -> None:
        document = {"type": "about:blank", "title": "x", "status": status, "code": code, "detail": "why", **members}
        self.script.append((status, {"Content-Type": PROBLEM, **(headers or {})}, json.dumps(document).encode()))

    def fine(self, body: bytes = b"{}") -> None:
        self.script.append((200, {"Content-Type": "application/json"}, body))

    def connection(self, **options: Any) -> LogConnection:
        settings = {"origin": "cn-gd.example/log", "name": "registry", "key": Ed25519Signer(b"\1" * 32), "patience": 5}
        return LogConnection(self.url, sleep=self.waited.append, **{**settings, **options})


@pytest.fixture
def service() -> Iterator[Service]:
    script = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
            status, headers, content = script.script.pop(0) if len(script.script) > 1 else script.script[0]
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client may leave in the middle of an answer."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}/log/2026/"
    yield script
    server.shutdown()
    server.server_close()


def test_a_request_bears_a_token_of_its_own_each_time(service: Service) -> None:
    service.script.append((503, {}, b""))
    service.fine(b"done")
    with closing(service.connection()) as connection:
        assert connection.post("entries", b"body").body == b"done"
    assert [(method, path, body) for method, path, _, body in service.asked] == [
        ("POST", "/log/2026/entries", b"body")
    ] * 2
    first, second = (token for _, _, token, _ in service.asked)
    assert first is not None
    assert first.startswith("Bearer ")
    assert first != second


def test_it_waits_as_long_as_it_is_told_and_longer_each_time(service: Service) -> None:
    service.problem(429, "back_pressure", {"Retry-After": "2"})
    service.problem(503, "storage")
    service.script.append((0, {}, b""))  # the connection ends without an answer
    service.script.append((502, {"Content-Type": "text/html"}, b"<html>"))
    service.fine()
    with closing(service.connection()) as connection:
        connection.post("entries")
    assert service.waited[0] == 2
    assert len(service.waited) == 4
    assert service.waited[1:] == sorted(service.waited[1:])


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "malformed", FormatError),
        (403, "forbidden", ForbiddenError),
        (409, "conflict", ConflictError),
        (413, "too_large", LimitError),
        (415, "unsupported_media_type", FormatError),
        (503, "stopped", LogStoppedError),
        (503, "no_clients", ClientListError),
    ],
)
def test_what_time_does_not_mend_is_told_at_once(
    service: Service, status: int, code: str, error: type[ChopmarkError]
) -> None:
    service.problem(status, code)
    with closing(service.connection()) as connection, pytest.raises(error, match="why"):
        connection.post("entries")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "back_pressure", BackpressureError),
        (503, "not_published", NotPublishedError),
        (503, "storage", LogUnreachableError),
        (408, "too_slow", LogUnreachableError),
    ],
)
def test_what_may_pass_is_told_when_patience_is_over(
    service: Service, status: int, code: str, error: type[ChopmarkError]
) -> None:
    service.problem(status, code, {"Retry-After": "1"})
    with closing(service.connection(patience=1.2)) as connection, pytest.raises(error):
        connection.post("entries")
    assert len(service.asked) > 1


def test_a_token_that_is_refused_is_replaced_once(service: Service) -> None:
    service.problem(401, "unauthenticated")
    with closing(service.connection()) as connection, pytest.raises(UnauthenticatedError):
        connection.post("entries")
    assert len(service.asked) == 2


def test_refused_entries_are_named(service: Service) -> None:
    service.problem(422, "all_refused", refused=[{"position": 3, "reason": "no entry"}])
    with closing(service.connection()) as connection, pytest.raises(BatchRefusedError) as caught:
        connection.post("entries")
    assert [(each.position, each.reason) for each in caught.value.refused] == [(3, "no entry")]


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"Content-Type": "text/plain"}, b"Internal Server Error"),
        (418, {"Content-Type": PROBLEM}, b"{"),
        (409, {"Content-Type": PROBLEM}, b"[]"),
        (409, {"Content-Type": "text/html"}, b'{"code": "conflict"}'),
        (302, {"Location": "http://127.0.0.1:9/"}, b""),
        (422, {"Content-Type": PROBLEM}, b'{"code": "all_refused", "refused": []}'),
    ],
)
def test_what_is_no_answer_of_a_log_is_told_as_that(service: Service, answer: Script) -> None:
    service.script.append(answer)
    with closing(service.connection(patience=0)) as connection, pytest.raises(LogUnreachableError):
        connection.post("entries")


def test_an_answer_that_is_too_large_is_not_read_to_its_end(service: Service) -> None:
    service.fine(b"x" * 1_000_000)
    with closing(service.connection()) as connection, pytest.raises(LimitError):
        connection.get("status", max_size=1000)


def test_what_everybody_may_fetch_needs_no_client(service: Service) -> None:
    service.script.append((404, {}, b""))
    with closing(service.connection(name=None, key=None)) as connection:
        assert connection.get("landmarks").status == 404
        with pytest.raises(UnauthenticatedError):
            connection.post("entries")
    assert service.asked[0][2] is None


@pytest.mark.parametrize(
    "url", ["", "cn-gd.example", "ftp://x/", "http://", "http://u:p@x/", "http://x/?a", "http://x/#a"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(FormatError):
        LogConnection(url, origin="x")
