"""`deploy/nginx-witness.conf`: a real nginx passes on what a witness answers, and ends connections that do nothing."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from chopmark_ledger.witness.witness_requests import MAX_REQUEST_SIZE

from tests.ledger.test_static_files_nginx import Upstream, running_nginx

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx-witness.conf"
HASH = "4f53cda18c2baa0c" * 4


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a witness behind a running nginx, whose patience is a second here."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    upstream.daemon_threads = True
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    text = CONFIGURATION.read_text().replace("127.0.0.1:8481", f"127.0.0.1:{upstream.server_address[1]}")
    text = text.replace("_timeout 10s", "_timeout 1s")
    try:
        with running_nginx(text, tmp_path_factory.mktemp("nginx")) as url:
            yield url
    finally:
        upstream.shutdown()
        upstream.server_close()


def test_each_call_of_a_witness_is_passed_on(url: str) -> None:
    body = b"x" * (MAX_REQUEST_SIZE + 1)
    for call in ("/add-checkpoint", "/sign-subtree"):
        assert urllib3.request("POST", url + call, body=body).data == f"POST {call} None {len(body)}".encode()
    assert urllib3.request("GET", f"{url}/{HASH}/checkpoint").data == f"GET /{HASH}/checkpoint None 0".encode()


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/healthz", "/readyz", "/openapi.json", f"/{HASH}/x", "/x/checkpoint"]
)
def test_nothing_else_is_let_out(url: str, path: str) -> None:
    assert urllib3.request("GET", url + path).status == 404


def test_a_body_that_the_witness_would_not_take_is_not_read(url: str) -> None:
    assert urllib3.request("POST", f"{url}/add-checkpoint", body=b"x" * 400_000).status == 413


@pytest.mark.parametrize(
    "sent", [b"", b"POST /add-", b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nold"]
)
def test_a_connection_that_says_nothing_more_is_closed(url: str, sent: bytes) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


def test_one_address_has_a_bound_of_requests_at_a_time() -> None:
    for name in ("nginx.conf", "nginx-witness.conf"):
        text = CONFIGURATION.with_name(name).read_text()
        for limit in ("limit_conn ", "client_header_timeout ", "client_body_timeout ", "client_max_body_size "):
            assert f" {limit}" in text
