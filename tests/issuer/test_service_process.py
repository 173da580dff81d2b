"""`chopmark issuer serve` as a process: started, asked over HTTP, ended; and what it logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from chopmark.keys import Ed25519Signer
from chopmark_issuer.errors import ConflictError
from chopmark_issuer.service.clients import Right, add_client, make_client, remove_client
from chopmark_issuer.service.service_lock import ServiceLock
from chopmark_service.authentication import make_token

from tests.issuer.conftest import MARKETS, PASSPHRASE, PERMIT, World, type_definition
from tests.issuer.issuer_service import food
from tests.ledger.served_log import until

NAME, CODE = "示例持证人甲", "440524188001010014"
HOLDER = {"name": NAME, "code": CODE, "code_kind": "111"}


@dataclass
class Process:
    """The service of the region of a world in a process of its own, and its one client."""

    process: subprocess.Popen[bytes]
    stderr: Path
    signer: Ed25519Signer
    keys: int = 0

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    @property
    def address(self) -> str:
        until(lambda: any(line["event"] == "listening" for line in self.lines) or self.process.poll() is not None, 60)
        return str(next(line["url"] for line in self.lines if line["event"] == "listening"))

    def ask(
        self, method: str, target: str, body: bytes | None = None, media_type: str = "application/json"
    ) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(str(urlsplit(self.address).netloc), timeout=60)
        self.keys += 1
        token = make_token(self.signer, name="office", audience="CN-GD", now=time.time())
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": media_type,
            "Idempotency-Key": f"key-{self.keys}",
        }
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture
def started(world: World, tmp_path: Path) -> Iterator[Process]:
    region = world.guangdong
    signer = Ed25519Signer.generate()
    region.add_type(json.dumps(type_definition(PERMIT, numbering="none")).encode())
    region.grant(MARKETS, PERMIT)
    with region.database.writing() as connection:
        client = make_client("office", MARKETS, rights=Right, keys=[signer.public_key])
        add_client(connection, client, at=world.clock())
    passphrase, stderr = tmp_path / "passphrase", tmp_path / "stderr"
    passphrase.write_bytes(PASSPHRASE + b"\n")
    command = [sys.executable, "-c", "from chopmark.cli import main; main()", "issuer", "serve"]
    options = ["--data", str(region.settings.data), "--passphrase-file", str(passphrase), "--port", "0"]
    with stderr.open("wb") as log:
        process = subprocess.Popen([*command, *options], stderr=log, stdout=log, start_new_session=True)
    found = Process(process, stderr, signer)
    yield found
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.both_databases
def test_a_served_registry_issues_logs_publishes_and_names_no_holder_in_its_log(world: World, started: Process) -> None:
    wanted = json.dumps(food(type=PERMIT, number="A/17 号", holders=[HOLDER], fields={"business_name": NAME})).encode()
    answer, content = started.ask("POST", "/licences", wanted)
    assert answer.status == 201, content
    place = answer.headers["Location"]
    assert place == f"/licences/{quote('A/17 号', safe='')}"
    answer, content = started.ask("GET", place)
    assert json.loads(content)["holders"] == [HOLDER]
    bad = json.dumps(food(type=PERMIT, number="B", holders=[{**HOLDER, "code": CODE[:-1] + "0"}])).encode()
    assert started.ask("POST", "/licences", bad)[0].status == 422
    assert started.ask("POST", "/licences", bad[:-5])[0].status == 400
    for asked in ({"holder_name": NAME}, {"holder_code": CODE}):
        answer, content = started.ask("POST", "/licences/search", json.dumps(asked).encode())
        assert len(json.loads(content)["licences"]) == 1
    lines = [json.dumps(food(type=PERMIT, number=f"N{each}", holders=[HOLDER])).encode() for each in range(1200)]
    body = b"\n".join(lines)
    answer, content = started.ask("POST", "/licences/bulk", body, "application/x-ndjson")
    assert [json.loads(line)["status"] for line in content.splitlines()] == [201] * 1200
    numbers = {"numbers": [f"N{each}" for each in range(1200)], "reason": f"{NAME} 已故"}
    answer, content = started.ask("POST", "/licences/revoke", json.dumps(numbers).encode())
    assert content.count(b'"state":"revoked"') == 1200
    until(lambda: started.ask("GET", "/status/1.tlog-proof")[0].status == 200)
    until(lambda: started.ask("GET", f"{place}/credential")[0].status == 200)
    assert started.stop() == 0
    logged = started.stderr.read_text()
    assert started.lines[-1]["event"] == "closed"
    for secret in (NAME, CODE, "A/17", "已故", started.signer.public_key.raw.hex()):
        assert secret not in logged
        assert quote(secret) not in logged


def test_a_client_is_let_in_and_kept_out_within_a_second(world: World, started: Process) -> None:
    assert started.ask("POST", "/authentication")[0].status == 204
    with world.guangdong.database.writing() as connection:
        remove_client(connection, "office")
    until(lambda: started.ask("POST", "/authentication")[0].status == 401)


def test_a_killed_service_keeps_what_it_acknowledged_and_the_next_one_goes_on(
    world: World, started: Process, tmp_path: Path
) -> None:
    acknowledged = []
    for each in range(5):
        answer, _ = started.ask("POST", "/licences", json.dumps(food(type=PERMIT, number=f"K{each}")).encode())
        assert answer.status == 201
        acknowledged.append(f"K{each}")
    os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()
    until(lambda: is_free(world))
    world.clock.time = int(time.time())
    world.guangdong.publish()
    for number in acknowledged:
        (stored,) = world.guangdong.registry.credentials(number)
        assert stored.log_index is not None
    assert started.process.returncode == -signal.SIGKILL


def is_free(world: World) -> bool:
    """Whether the worker, a child of the process that was killed, has ended too."""
    try:
        ServiceLock(world.guangdong.settings.data).release()
    except ConflictError:
        return False
    return True
