"""`chopmark log serve` as a process: how it starts, what it takes from the wire, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from chopmark.errors import ChopmarkError
from chopmark_ledger.audit.fsck import fsck
from chopmark_ledger.audit.tile_source import FolderSource
from chopmark_ledger.client import Client
from chopmark_ledger.commands import log_commands
from chopmark_ledger.service.entry_requests import encode_request
from chopmark_service.authentication import make_token
from typer.testing import CliRunner

from tests.ledger.served_log import ORIGIN, REGISTRY, ServedLog, until
from tests.service.test_server import alive

ANYBODY = Client("registry", region="CN-GD")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ServedLog]:
    """A log that is not served yet."""
    made = ServedLog(tmp_path / "log")
    made.set_up()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedLog]:
    """One served log for the tests that only send it requests."""
    made = ServedLog(tmp_path_factory.mktemp("served") / "log")
    made.set_up()
    made.start()
    assert made.url, "a token made before the service began would be refused"
    yield made
    made.close()


def token() -> str:
    return make_token(REGISTRY, name="registry", audience=ORIGIN, now=time.time())


def raw(served: ServedLog, data: bytes, *, keep_open: bool = False) -> bytes:
    """Send bytes as they are; answers what comes back until the service closes, or says where its answer ends."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        if not keep_open:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65_536):
            received += part
            head, separator, body = received.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if separator and lengths and len(body) >= int(lengths[0].split(b":")[1]):
                break
        return received


def post(served: ServedLog, *headers: str, body: bytes = b"") -> bytes:
    lines = ["POST /entries HTTP/1.1", "Host: x", f"Authorization: Bearer {token()}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def test_it_ends_cleanly_and_goes_on_where_it_was(log: ServedLog) -> None:
    log.start()
    with log.remote() as ledger:
        first = ledger.submit(ANYBODY, 1, log.entries(20))
    assert log.stop() == 0
    assert log.events("closed")
    assert not alive(log.worker)
    log.start()
    with log.remote() as ledger:
        second = ledger.submit(ANYBODY, 2, log.entries(20))
        assert not set(first) & set(second)
        assert ledger.publish().checkpoint.size == 41
    assert log.stop() == 0
    assert fsck(FolderSource(log.public), vkeys=[log.keys.vkey, log.keys.pq_vkey]).is_sound


def test_a_killed_main_process_takes_its_worker_with_it_and_the_folder_is_free(log: ServedLog) -> None:
    process = log.start()
    worker = log.worker
    with log.remote() as ledger:
        indexes = ledger.submit(ANYBODY, 1, log.entries(5))
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not alive(worker), 2)
    process.wait()
    log.start()
    with log.remote() as ledger:
        assert ledger.publish().checkpoint.size > max(indexes)


def test_a_second_service_of_the_same_log_does_not_start(log: ServedLog) -> None:
    log.start()
    assert log.url
    other = ServedLog(log.folder, witnesses=log.witnesses, starts=1)
    other.keys, other.policy = log.keys, log.policy
    process = other.start()
    try:
        assert process.wait(30) == 1
        (line,) = other.events("cannot_run")
        assert line["kind"] == "FolderLockedError"
        assert "in use by process" in line["error"]
        with log.remote() as ledger:
            assert ledger.submit(ANYBODY, 1, log.entries(1))
    finally:
        other.kill()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda log: (log.folder / "passphrase").write_text("another"), "does not open this key"),
        (lambda log: (log.data / "log-ml-dsa-44.key").unlink(), "ML-DSA-44 key is missing"),
        (lambda log: (log.folder / "policy").write_text(without_logs(log.policy)), "no line for the key of this log"),
    ],
)
def test_what_keeps_the_worker_from_starting_stands_in_the_log_of_events(
    log: ServedLog, spoil: Callable[[ServedLog], object], told: str
) -> None:
    spoil(log)
    assert log.start().wait(30) == 1
    (line,) = log.events("cannot_run")
    assert told in line["error"]
    assert "Traceback" not in log.stderr.read_text()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda log: (log.folder / "passphrase").unlink(), "passphrase cannot be read"),
        (lambda log: (log.data / "ledger.db").unlink(), "there is no log"),
        (lambda log: (log.folder / "policy").write_text("quorum"), "policy"),
        (lambda log: (log.folder / "policy").unlink(), "there is no such file"),
        (lambda log: (log.folder / "policy").write_text(without_urls(log.policy)), "has no URL"),
        (lambda log: (log.data / "log.toml").write_text("prot = 1\n"), "there is no such setting"),
    ],
)
def test_what_can_be_seen_to_be_missing_is_told_before_anything_starts(
    log: ServedLog, spoil: Callable[[ServedLog], object], told: str
) -> None:
    spoil(log)
    result = CliRunner().invoke(log_commands.log, ["serve", *log.options])
    assert isinstance(result.exception, ChopmarkError)
    assert told in str(result.exception)


def without_urls(policy: str) -> str:
    return "\n".join(line.partition(" http")[0] for line in policy.split("\n"))


def without_logs(policy: str) -> str:
    return "\n".join(line for line in policy.split("\n") if not line.startswith("log "))


def test_nothing_of_a_request_but_its_route_stands_in_the_log_of_events(served: ServedLog) -> None:
    bearer = token()
    body = encode_request(77, served.entries(1))
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    assert urllib3.request("POST", f"{served.url}/entries?wait=false", headers=headers, body=body).status == 200
    assert urllib3.request("GET", f"{served.url}/tile/0/999?secret=1").status == 404
    until(lambda: any(line.get("route") == "/tile/{path:path}" for line in served.events("request")))
    text = served.stderr.read_text()
    assert {line["route"] for line in served.events("request")} <= {"/entries", "/tile/{path:path}", "none"}
    for secret in (bearer, "secret", "999", json.loads(body)["entries"][0], "127.0.0.1"):
        assert secret not in text.replace(served.url, ""), secret


@pytest.mark.parametrize(
    ("length", "body", "status"),
    [
        ("Content-Length: 99", b'{"batch":1', b"400"),  # it broke off
        ("Content-Length: 99999999", b"", b"413"),
        ("Content-Length: -1", b"", b"400"),
        ("Content-Length: 5, 6", b"{}", b"400"),
        ("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", b"400"),
        ("Transfer-Encoding: chunked", b"zz\r\n{}\r\n", b"400"),
    ],
)
def test_a_request_that_is_cut_or_crooked_is_refused(
    served: ServedLog, length: str, body: bytes, status: bytes
) -> None:
    answer = raw(served, post(served, length, body=body))
    assert answer.startswith(b"HTTP/1.1 " + status) or not answer, answer[:300]
    assert urllib3.request("GET", f"{served.url}/healthz").status == 200


def test_an_endless_body_is_cut_off(served: ServedLog) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(post(served, "Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        sent = 0
        try:
            while sent < 100_000_000:
                connection.sendall(chunk)
                sent += 65_536
        except OSError:
            pass
    assert sent < 60_000_000, "it took more than a body may have"
    assert urllib3.request("GET", f"{served.url}/healthz").status == 200


def test_huge_headers_are_refused(served: ServedLog) -> None:
    answer = raw(served, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n", keep_open=True)
    assert not answer.startswith(b"HTTP/1.1 200")
    assert urllib3.request("GET", f"{served.url}/healthz").status == 200


def test_a_path_that_is_encoded_leads_nowhere_else(served: ServedLog) -> None:
    paths = ("/tile/%2e%2e/%2e%2e/clients.json", "/%2e%2e/clients.json", "/tile/0/..%2fclients.json", "/tile/0/%00")
    for path in paths:
        answer = raw(served, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), keep_open=True)
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), (path, answer[:200])
        assert b"chopmark/log-clients" not in answer


def test_a_missing_quorum_is_told_once_and_when_it_is_over(log: ServedLog) -> None:
    log.witnesses[0].is_down = True
    log.start()
    with log.remote() as ledger:
        ledger.submit(ANYBODY, 1, log.entries(1))
    until(lambda: bool(log.events("not_published")))
    status = urllib3.request("GET", f"{log.url}/status").json()
    assert status["problem"] == "no_quorum"
    assert [bool(each["problem"]) for each in status["witnesses"]] == [True, False]
    command = subprocess.run(
        [sys.executable, "-c", "from chopmark.cli import main; main()", "log", "status", log.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert command.returncode == 1
    assert "problem no_quorum since" in command.stdout
    log.witnesses[0].is_down = False
    until(lambda: bool(log.events("not_published_over")))
    assert len(log.events("not_published")) == 1
    assert urllib3.request("GET", f"{log.url}/status").json()["problem"] is None


def test_sigterm_answers_who_waits_for_a_publication_that_does_not_come(log: ServedLog) -> None:
    log.witnesses[0].is_down = True
    log.start()
    body = encode_request(1, log.entries(3))
    assert log.url
    answers: list[urllib3.BaseHTTPResponse] = []

    def wait() -> None:
        headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
        answers.append(urllib3.request("POST", f"{log.url}/entries?wait=true", headers=headers, body=body))

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: urllib3.request("GET", f"{log.url}/status").json()["committed"] == 4)
    began = time.monotonic()
    assert log.stop() == 0
    assert time.monotonic() - began < 20, "it waited for the publication"
    waiting.join()
    assert answers[0].status == 202
    log.witnesses[0].is_down = False
    log.start()
    with log.remote() as ledger:
        assert ledger.submit(ANYBODY, 1, served_entries(body)) == answers[0].json()["indexes"]


def served_entries(body: bytes) -> list[bytes]:
    return [base64.b64decode(entry) for entry in json.loads(body)["entries"]]
