"""`chopmark verifier serve` as a process: how it starts, what it takes from the wire, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from chopmark import qr_text
from chopmark.key_file import ScryptCost, write_key_file
from chopmark.qr_drawing import draw

from tests.ledger.served_log import until
from tests.service.test_server import alive

START_WITHIN = 40


class Served:
    """The command over the trust store of a field."""

    def __init__(self, out: Any, *options: str) -> None:
        self.log = out.folder / "stderr"
        write_key_file(out.folder / "inspector.key", out.world.inspector_signer, b"words", cost=ScryptCost(n=2**10))
        (out.folder / "words").write_bytes(b"words\n")
        command = [sys.executable, "-c", "from chopmark.cli import main; main()", "verifier", "serve"]
        command += ["--trust", str(out.trust), "--no-refresh", "--port", "0", "--image-processes", "1", *options]
        command += ["--key", str(out.folder / "inspector.key"), "--passphrase-file", str(out.folder / "words")]
        command += ["--records", str(out.records)]
        self.output = out.folder / "stdout"
        with self.log.open("wb") as stderr, self.output.open("wb") as stdout:
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        until(lambda: self.said("listening") is not None or self.process.poll() is not None, START_WITHIN)
        listening = self.said("listening")
        assert listening is not None, self.log.read_text()
        self.url, self.worker = listening["url"], listening["pid"]
        self.http = urllib3.PoolManager(retries=False)

    def said(self, event: str) -> Any:
        for line in self.log.read_text().splitlines():
            if f'"event": "{event}"' in line:
                return json.loads(line)
        return None

    def readers(self) -> list[int]:
        """The processes that read pictures."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and b"chopmark_verifier.image_worker" in (entry / "cmdline").read_bytes():
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if int(parent) == self.worker:
                        found.append(int(entry.name))
            except OSError:
                continue
        return found

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; what comes back until the service closes, or the answer is there."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def served(out: Any) -> Iterator[Served]:
    served = Served(out, "--body-timeout", "1")
    yield served
    served.close()


def test_it_answers_texts_and_pictures_and_ends_cleanly(served: Served, out: Any) -> None:
    text = qr_text.encode(out.credentials["food"].encode())
    answer = served.http.request("POST", f"{served.url}/verify", json={"text": text})
    assert answer.status == 200
    checks = answer.json()["verdict"]["checks"]
    assert [check["result"] for check in checks[:2]] == ["PASS", "PASS"]
    headers = {"Content-Type": "image/png"}
    answer = served.http.request("POST", f"{served.url}/verify", body=draw(text).png(), headers=headers)
    assert answer.json()["verdict"]["checks"][0]["result"] == "PASS"
    page = served.http.request("GET", f"{served.url}/").data.decode()
    assert "<!doctype html>" in page
    passcode = (out.records / "passcode").read_text().strip()
    assert served.output.read_text() == f"passcode of the page: in {out.records / 'passcode'}\n"
    assert passcode not in served.log.read_text()
    assert served.readers()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    assert not served.readers()
    assert not alive(served.worker)


def test_lengths_that_lie_are_answered_or_closed(served: Served) -> None:
    head = b"POST /verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    for lie, statuses in (
        (b"Content-Length: 5\r\n\r\n{}", {b"400", b"408"}),
        (b"Content-Length: 99999999999999999999\r\n\r\n{}", {b"400", b"413"}),
        (b"Content-Length: -1\r\n\r\n{}", {b"400"}),
        (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {b"400"}),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", {b"400", b"408"}),
    ):
        answer = served.raw(head + lie)
        assert not answer or answer[9:12] in statuses, (lie, answer[:200])
    assert served.http.request("GET", f"{served.url}/healthz").status == 200
    assert served.process.poll() is None


def test_nothing_is_left_when_its_parent_is_killed(served: Served) -> None:
    readers = served.readers()
    assert readers
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    until(lambda: not alive(served.worker) and not any(map(alive, readers)))


def refused(out: Any, *options: str) -> str:
    """What the command says that does not start; it ends as any that could not try."""
    write_key_file(out.folder / "inspector.key", out.world.inspector_signer, b"words", cost=ScryptCost(n=2**10))
    (out.folder / "words").write_bytes(b"words\n")
    command = [sys.executable, "-c", "from chopmark.cli import main; main()", "verifier", "serve"]
    command += ["--trust", str(out.trust), "--key", str(out.folder / "inspector.key"), "--port", "0"]
    command += ["--passphrase-file", str(out.folder / "words"), "--records", str(out.records), *options]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    return line


def test_a_trust_store_that_is_not_there_is_told_in_one_sentence(out: Any) -> None:
    assert str(out.folder / "none") in refused(out, "--trust", str(out.folder / "none"))


def test_a_list_of_clients_that_is_none_is_told_in_one_sentence(out: Any) -> None:
    (out.folder / "clients").write_text("[]")
    assert "`clients`" in refused(out, "--clients", str(out.folder / "clients"))


def test_a_wrong_passphrase_is_told_in_one_sentence(out: Any) -> None:
    (out.folder / "other").write_bytes(b"others\n")
    assert "passphrase" in refused(out, "--passphrase-file", str(out.folder / "other"))


def test_a_port_that_is_taken_is_told_in_one_sentence(out: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "somebody listens there already" in refused(out, "--port", str(taken.getsockname()[1]))
