"""Whatever a server does, a request to it is over in time, through each of the clients."""

from __future__ import annotations

import gzip
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chopmark.client.bounded_http import BoundedHttp, Bounds, HttpAnswer, TimeOverError, reason
from chopmark.errors import ChopmarkError
from chopmark.keys import Ed25519Signer
from chopmark_ledger.audit.http_source import HttpSource
from chopmark_ledger.errors import LogUnreachableError, WitnessUnreachableError
from chopmark_ledger.publication.witness_client import HttpWitness
from chopmark_ledger.service.log_connection import LogConnection
from chopmark_ledger.witness.witness import Witness
from urllib3.exceptions import DecodeError, HTTPError

from tests.ledger.raw_server import Behaviour, Server, answering, server_context
from tests.ledger.sample_witness import NAME, MemoryStore

KEY = Ed25519Signer(bytes(32))
VKEYS = Witness(NAME, (KEY,), MemoryStore(), {}).vkeys
SHORT = 0.3
"""Seconds that a request may take where a test waits for its end."""
LONG = 20.0
PACE = 0.05
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
TRICKLES = {
    "the status line": (b"", b"H"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n", b"x"),
    "a body without an end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "a body in chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "the body of an error": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 8192\r\n\r\n", b"x"),
}


def fetch_file(url: str) -> None:
    with closing(HttpSource(url, attempts=1, timeout=SHORT)) as source:
        source.read("tile/0/000")


def fetch_status(url: str) -> None:
    with closing(LogConnection(url, origin="cn-gd.example/log", timeout=SHORT, patience=0)) as connection:
        connection.get("status")


def send_entries(url: str) -> None:
    with closing(
        LogConnection(url, origin="cn-gd.example/log", name="registry", key=KEY, timeout=SHORT, patience=0)
    ) as connection:
        connection.post("entries", b"x" * 100_000)


def send_checkpoint(url: str) -> None:
    with closing(HttpWitness(url, VKEYS, timeout=SHORT)) as witness:
        witness.add_checkpoint(b"x")


CLIENTS = [
    (fetch_file, LogUnreachableError),
    (fetch_status, LogUnreachableError),
    (send_entries, LogUnreachableError),
    (send_checkpoint, WitnessUnreachableError),
]


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(behave: Behaviour, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(behave, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    return server_context(tmp_path / "server.pem")


def trickling(head: bytes, drop: bytes) -> Behaviour:
    """Sends `head`, and then `drop` again and again, until the client leaves."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while not select.select([connection], [], [], PACE)[0]:
            connection.sendall(drop)

    return behave


def client(url: str, *, whole: float = LONG, idle: float = LONG) -> BoundedHttp:
    return BoundedHttp(url, whose="a log", bounds=Bounds(whole, connect=min(whole, LONG), idle=idle), connections=2)


def ask(url: str, method: str = "GET", *, whole: float = LONG, idle: float = LONG, **options: object) -> HttpAnswer:
    settings: dict[str, object] = {"max_size": 1000, **options}
    with closing(client(url, whole=whole, idle=idle)) as http:
        return http.request(method, "x", **settings)  # type: ignore[arg-type]  # each test names its own


@pytest.mark.parametrize(("call", "error"), CLIENTS)
@pytest.mark.parametrize("trickle", TRICKLES)
def test_a_server_that_trickles_is_given_up_in_time(
    serve: Callable[..., Server], call: Callable[[str], None], error: type[ChopmarkError], trickle: str
) -> None:
    server = serve(trickling(*TRICKLES[trickle]))
    began = time.monotonic()
    with pytest.raises(error, match=r"nothing whole within 0\.3 seconds"):
        call(server.url)
    assert SHORT <= time.monotonic() - began < 5


@pytest.mark.parametrize("trickle", ["a header", "a body without an end"])
def test_a_server_that_trickles_over_tls_is_given_up_in_time(
    serve: Callable[..., Server], trusted: ssl.SSLContext, trickle: str
) -> None:
    assert ask(serve(answering(OK), trusted).url).body == b"yes"
    with pytest.raises(TimeOverError):
        ask(serve(trickling(*TRICKLES[trickle]), trusted).url, whole=SHORT)


def test_a_handshake_that_trickles_is_given_up_in_time(serve: Callable[..., Server]) -> None:
    class Plain(Server):
        @property
        def url(self) -> str:
            return super().url.replace("http:", "https:")

        def read_request(self, connection: socket.socket) -> bytes:
            return connection.recv(65536)

    server = Plain(trickling(b"\x16\x03\x03\x40\x00", b"\0"))
    with closing(server), pytest.raises(TimeOverError):
        ask(server.url, whole=SHORT)


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_takes_a_request_slowly_is_given_up_in_time(trusted: ssl.SSLContext, secure: bool) -> None:
    class Sipping(Server):
        def read_request(self, connection: socket.socket) -> bytes | None:
            while connection.recv(20_000) and not self.over.wait(PACE):
                pass
            return None

    with closing(Sipping(answering(OK), trusted if secure else None)) as server, pytest.raises(TimeOverError):
        ask(server.url, "POST", whole=SHORT, body=bytes(64 << 20))


def test_a_server_that_falls_silent_is_given_up_before_the_whole_time(serve: Callable[..., Server]) -> None:
    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        connection.recv(1)

    with pytest.raises(HTTPError) as caught:
        ask(serve(behave).url, idle=SHORT)
    assert not isinstance(caught.value, TimeOverError)
    assert reason(caught.value) == "nothing came in time"


def test_a_slow_answer_is_waited_for_within_its_time(serve: Callable[..., Server]) -> None:
    def behave(connection: socket.socket, _: bytes) -> bool:
        for each in OK:
            connection.sendall(bytes([each]))
        return True

    server = serve(behave)
    with closing(client(server.url)) as http:
        for _ in range(3):
            assert http.request("GET", "x", max_size=3) == HttpAnswer(200, {"Content-Length": "3"}, b"yes", True)  # type: ignore[arg-type]  # equal to one
    assert server.connections == 1


def test_a_request_that_was_given_up_takes_nothing_from_the_next(serve: Callable[..., Server]) -> None:
    behaviours = iter([trickling(*TRICKLES["a header"]), answering(OK)])

    def behave(connection: socket.socket, request: bytes) -> bool | None:
        return next(behaviours)(connection, request)

    with closing(client(serve(behave).url, whole=1.0)) as http:
        with pytest.raises(TimeOverError):
            http.request("GET", "x", max_size=3)
        assert http.request("GET", "x", max_size=3).body == b"yes"


def test_what_is_larger_than_allowed_is_not_read_to_its_end(serve: Callable[..., Server]) -> None:
    url = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000), again=False)).url
    answer = ask(url)
    assert not answer.is_whole
    assert 1000 < len(answer.body) < 500_000
    assert ask(url, max_size=1_000_000).is_whole


def test_an_answer_other_than_200_may_have_a_size_of_its_own(serve: Callable[..., Server]) -> None:
    url = serve(answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnever")).url
    assert not ask(url, max_size=3).is_whole
    assert ask(url, max_size=3, max_other=5).is_whole


def test_an_answer_is_inflated_where_the_caller_wants_it_and_counted_after(serve: Callable[..., Server]) -> None:
    body = gzip.compress(bytes(100_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    server = serve(answering(head + body))
    assert ask(server.url).body == body
    assert ask(server.url, inflate=True, max_size=100_000).body == bytes(100_000)
    assert not ask(server.url, inflate=True, max_size=99_999).is_whole
    assert [b"Accept-Encoding: gzip, identity\r\n" in request for request in server.requests] == [False, True, True]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it ended the connection without an answer"),
        (b"\x1b[31mrubbish\r\n\r\n", "what it answers is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour", "its answer broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nfour", "its answer broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "what it answers is not HTTP"),
    ],
)
def test_what_went_wrong_is_told_in_words(serve: Callable[..., Server], data: bytes, words: str) -> None:
    server = serve(answering(data, again=False))
    with pytest.raises(HTTPError) as caught:
        ask(server.url)
    assert reason(caught.value) == words


def test_what_is_not_compressed_as_it_says_is_told_apart(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK.replace(b"Content-Length", b"Content-Encoding: gzip\r\nContent-Length")))
    with pytest.raises(DecodeError) as caught:
        ask(server.url, inflate=True)
    assert reason(caught.value) == "its answer is not compressed as it says"


def test_a_certificate_that_nobody_vouches_for_is_named(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(answering(OK), server_context(tmp_path / "server.pem"))
    with pytest.raises(HTTPError) as caught:
        ask(server.url)
    assert reason(caught.value).startswith("its certificate is not valid: self")
    assert server.requests == []


def test_a_host_or_a_port_that_is_not_there_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(HTTPError) as caught:
        ask(f"http://127.0.0.1:{port}")
    assert reason(caught.value) == "Connection refused"
    with pytest.raises(HTTPError) as caught:
        ask(f"http://{'x' * 70}.example")
    assert reason(caught.value) == "no such host"


def test_a_connection_that_broke_is_opened_once_more_only_where_asked_for(serve: Callable[..., Server]) -> None:
    server = serve(answering(b"", again=False))
    with pytest.raises(HTTPError):
        ask(server.url)
    assert server.connections == 1
    with pytest.raises(HTTPError):
        ask(server.url, again=True)
    assert server.connections == 3
