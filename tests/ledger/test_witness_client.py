"""The HTTP client of a witness, against servers that answer, stall, trickle, lie, or are not there."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chopmark.errors import ChopmarkError, FormatError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark_ledger.errors import WitnessUnreachableError
from chopmark_ledger.publication.witness_client import MAX_ANSWER_SIZE, HttpWitness
from chopmark_ledger.witness.witness import Witness, WitnessAnswer

from tests.ledger.raw_server import Behaviour, Server, answering, server_context
from tests.ledger.sample_witness import NAME, MemoryStore

VKEYS = Witness(NAME, (Ed25519Signer(bytes(32)), MlDsa44Signer(bytes(32))), MemoryStore(), {}).vkeys
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nyes"
PATIENT = 10.0


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(behave: Behaviour, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(behave, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_request_goes_below_the_prefix_and_its_answer_comes_back_whole(serve: Callable[..., Server]) -> None:
    server = serve(
        answering(b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n7\n")
    )
    witness = HttpWitness(server.url, VKEYS)
    assert witness.add_checkpoint(b"old 0\n\nrest\n") == WitnessAnswer(409, b"7\n", "text/x.tlog.size")
    (request,) = server.requests
    assert request.startswith(b"POST /prefix/add-checkpoint HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\nold 0\n\nrest\n")
    assert (witness.name, witness.vkeys) == (NAME, VKEYS)
    witness.close()


def test_a_subtree_is_asked_for_below_the_same_prefix(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    witness = HttpWitness(server.url.rstrip("/"), VKEYS)
    assert witness.sign_subtree(b"subtree") == WitnessAnswer(200, b"yes", "text/plain")
    assert server.requests[0].startswith(b"POST /prefix/sign-subtree HTTP/1.1\r\n")
    witness.close()


def test_one_connection_serves_many_requests(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    witness = HttpWitness(server.url, VKEYS)
    for _ in range(5):
        assert witness.add_checkpoint(b"x").body == b"yes"
    assert server.connections == 1
    witness.close()


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_again(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK, again=False))
    witness = HttpWitness(server.url, VKEYS)
    for _ in range(3):
        assert witness.add_checkpoint(b"x").body == b"yes"
    assert server.connections == 3
    witness.close()


def test_a_redirection_is_not_followed(serve: Callable[..., Server]) -> None:
    server = serve(answering(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /prefix/x\r\nContent-Length: 0\r\n\r\n"))
    witness = HttpWitness(server.url, VKEYS)
    assert witness.add_checkpoint(b"x").status == 307
    assert len(server.requests) == 1
    witness.close()


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_rubbish_is_an_error_that_names_the_witness(serve: Callable[..., Server], data: bytes) -> None:
    server = serve(answering(data, again=False))
    witness = HttpWitness(server.url, VKEYS, timeout=PATIENT)
    with pytest.raises(WitnessUnreachableError, match=f"^{NAME} at {server.url[:-1]}: the witness does not answer"):
        witness.add_checkpoint(b"x")
    witness.close()


@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n" % 2**40, b"", b"Transfer-Encoding: chunked\r\n"])
def test_an_endless_answer_is_not_read_to_its_end(serve: Callable[..., Server], head: bytes) -> None:
    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        while True:
            connection.sendall((b"1000\r\n" if b"chunked" in head else b"") + b"x" * 0x1000 + b"\r\n")

    witness = HttpWitness(serve(behave).url, VKEYS, timeout=PATIENT)
    with pytest.raises(WitnessUnreachableError, match=f"more than {MAX_ANSWER_SIZE // 1024} KiB"):
        witness.add_checkpoint(b"x")
    witness.close()


def test_a_compressed_answer_is_not_inflated(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK.replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type")))
    witness = HttpWitness(server.url, VKEYS)
    assert witness.add_checkpoint(b"x").body == b"yes"
    witness.close()


def within(seconds: float, call: Callable[[], object]) -> None:
    began = time.monotonic()
    with pytest.raises(WitnessUnreachableError, match=r"within 0\.3 seconds"):
        call()
    assert 0.2 < time.monotonic() - began < seconds


def test_a_witness_that_stalls_is_given_up_in_time(serve: Callable[..., Server]) -> None:
    def behave(connection: socket.socket, _: bytes) -> None:
        connection.recv(1)

    witness = HttpWitness(serve(behave).url, VKEYS, timeout=0.3)
    within(5, lambda: witness.add_checkpoint(b"x"))
    witness.close()


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
def test_a_witness_that_trickles_is_given_up_in_time(serve: Callable[..., Server], head: bytes, drop: bytes) -> None:
    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while not server.over.wait(0.05):
            connection.sendall(drop)

    server = serve(behave)
    witness = HttpWitness(server.url, VKEYS, timeout=0.3)
    within(5, lambda: witness.add_checkpoint(b"x"))
    witness.close()


def test_a_witness_that_takes_no_request_is_given_up_in_time(serve: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # those fill the queue, so that the next connection is never made
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(("127.0.0.1", port))
            witness = HttpWitness(f"http://127.0.0.1:{port}", VKEYS, timeout=0.3)
            within(5, lambda: witness.add_checkpoint(b"x" * 200_000))
            witness.close()


def test_a_witness_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    witness = HttpWitness(f"http://127.0.0.1:{port}", VKEYS, timeout=PATIENT)
    with pytest.raises(WitnessUnreachableError, match=f"{NAME} at http://127.0.0.1:{port}: .*refused"):
        witness.add_checkpoint(b"x")
    witness = HttpWitness(f"http://{'x' * 70}.example", VKEYS, timeout=PATIENT)
    with pytest.raises(ChopmarkError, match=NAME):
        witness.add_checkpoint(b"x")


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that nobody vouches for."""
    return server_context(tmp_path / "server.pem")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    serve: Callable[..., Server], certificate: ssl.SSLContext
) -> None:
    server = serve(answering(OK), certificate)
    witness = HttpWitness(server.url, VKEYS, timeout=PATIENT)
    with pytest.raises(WitnessUnreachableError):
        witness.add_checkpoint(b"x")
    assert server.requests == []
    witness.close()


def test_a_handshake_that_stalls_is_given_up_in_time(serve: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        witness = HttpWitness(f"https://127.0.0.1:{silent.getsockname()[1]}", VKEYS, timeout=0.3)
        within(5, lambda: witness.add_checkpoint(b"x"))
        witness.close()


@pytest.mark.parametrize(
    "url",
    ["", "cn-gd.example", "ftp://cn-gd.example", "http://", "http://a:b@cn-gd.example", "http://a/?q", "http://a/#f"],
)
def test_what_is_no_prefix_of_a_witness_is_refused(url: str) -> None:
    with pytest.raises(FormatError):
        HttpWitness(url, VKEYS)


def test_a_witness_without_a_key_is_refused() -> None:
    with pytest.raises(FormatError):
        HttpWitness("http://cn-gd.example", [])
    with pytest.raises(FormatError):
        HttpWitness("http://cn-gd.example", ["rubbish"])
