"""A region that `chopmark serve` runs, with the witness of another region in a thread of the test, and its users."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import urllib3
from chopmark.key_file import read_key_file
from chopmark_issuer.publishing.policies import log_policy
from chopmark_issuer.publishing.region_log import LogService
from chopmark_service.authentication import make_token

from examples.demo.licences import BUSINESS, FOOD_FIELDS, ORGANISATION
from examples.demo.regions import FOOD, GUANGDONG
from examples.serve.first_requests import path
from examples.serve.places import HOST, Place, make_registry, make_services
from tests.ledger.served_log import CHEAP, PASSPHRASE, WitnessServer

CODE = GUANGDONG.code
ISSUER = GUANGDONG.food
PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections, so that a service that comes again finds its port free."""
READY_WITHIN = 120.0
"""Seconds, for a machine that does much else; alone it takes five."""


def until(condition: Callable[[], bool], seconds: float = 60, *, every: float = 0.02) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        threading.Event().wait(every)


def food(**changes: Any) -> dict[str, Any]:
    """The body of a request for a food business licence, from yesterday on."""
    day = str((datetime.now(UTC) - timedelta(days=1)).date())
    return {
        "type": f"{CODE}/{FOOD}",
        "fields": {**FOOD_FIELDS, "issue_date": day},
        "holders": [{"name": BUSINESS, "code": ORGANISATION, "code_kind": "001"}],
        "first_day": day,
        **changes,
    }


@dataclass
class ServedRegion:
    """A region in a folder, the process that runs it, and what it says."""

    folder: Path
    port: int = 0
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None

    def set_up(self, log_url: Callable[[str], str] = lambda url: url) -> None:
        """Make it.

        Args:
            log_url: answers where the registry is to reach its log, for where that is.
        """
        self.folder.mkdir()
        self.port = free_ports(4)
        self.http = urllib3.PoolManager(timeout=30.0, retries=False, maxsize=16)
        (self.folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
        log, _ = make_services(self.place, PASSPHRASE, CHEAP)
        self.witness = WitnessServer(self.folder, "cn-sh.example/witness")
        self.witness.watch(log.vkey)
        vkeys = (log.vkey, log.pq_vkey)
        urls = dict.fromkeys(self.witness.vkeys, self.witness.url)
        policy = log_policy(vkeys, self.witness.vkeys, None, log_url=self.log, witness_urls=urls)
        (self.data / "policy").write_text(policy, encoding="utf-8")
        service = LogService(log_url(self.log), vkeys, policy)
        make_registry(self.place, service, PASSPHRASE, lambda: int(time.time()), CHEAP)
        self.key = read_key_file(self.place.clerk_key).load(PASSPHRASE)
        (self.data / "issuer.toml").write_text("publish_every = 1\nlandmark_every = 2\n")
        (self.data / "verifier.toml").write_text("refresh_interval = 1.0\n")
        (self.data / "region.toml").write_text(f'passphrase_file = "../passphrase"\nport = {self.port}\n')

    @property
    def place(self) -> Place:
        return Place(self.folder, GUANGDONG, self.port)

    @property
    def data(self) -> Path:
        return self.place.data

    @property
    def issuer(self) -> str:
        return self.place.issuer

    @property
    def log(self) -> str:
        return self.place.log

    @property
    def verifier(self) -> str:
        return self.place.verifier

    @property
    def stderr(self) -> Path:
        return self.folder / f"stderr-{self.starts}"

    def start(self, *arguments: str, wait: bool = True, **environment: str) -> None:
        """Start the region; with `wait` until all of it can do its work."""
        self.starts += 1
        program = Path(sys.executable).with_name("chopmark")
        with self.stderr.open("wb") as errors, (self.folder / f"stdout-{self.starts}").open("wb") as output:
            self.process = subprocess.Popen(
                [program, "serve", "--data", str(self.data), *arguments],
                env={**os.environ, **environment},
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        if wait:
            until(self.is_running, READY_WITHIN)

    def is_running(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.stderr.read_text()
        return self.answers_ready(self.issuer) and self.answers_ready(self.log) and self.answers_ready(self.verifier)

    def answers_ready(self, url: str) -> bool:
        try:
            return self.http.request("GET", f"{url}/readyz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What the tree wrote; a line that is no JSON fails the test."""
        with self.stderr.open("rb") as written:
            return [json.loads(line) for line in written if line.endswith(b"\n")]

    def leader(self, name: str) -> int:
        """The leading process of a service, of its newest start."""
        (*_, newest) = [line for line in self.lines if line["event"] == "started" and line.get("child") == name]
        return int(newest["pid"])

    def processes(self, name: str) -> list[int]:
        """Every process of a service: the leading one first."""
        return group(self.leader(name))

    def stop(self) -> int:
        """End the region as an operator does; answers its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """Leave nothing behind, whatever became of the test."""
        if self.process is not None:
            started = [int(line["pid"]) for line in self.lines if line["event"] == "started"]
            self.process.kill()
            self.process.wait()
            for pid in started:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        self.witness.close()
        self.http.clear()

    def ask(self, method: str, target: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Ask the issuer, as a client of it."""
        token = make_token(self.key, name=self.place.clerk, audience=CODE, now=time.time())
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return self.http.request(method, f"{self.issuer}{target}", headers=headers, **options)

    def issue(self, key: str, body: dict[str, Any] | None = None) -> urllib3.BaseHTTPResponse:
        """Ask for a licence; the same key again is the same licence."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        data = json.dumps(body or food(), ensure_ascii=False).encode()
        return self.ask("POST", "/licences", body=data, headers=headers)

    def licence(self, number: str) -> dict[str, Any]:
        """A licence as the registry shows it."""
        answer = self.ask("GET", path(number))
        assert answer.status == 200, answer.data
        return dict(answer.json())

    def verdict(self, credential: bytes) -> dict[str, Any]:
        """What the verifier says of a credential."""
        from chopmark import strict

        body = json.dumps({"cbor": strict.base64_encode(credential)}).encode()
        answer = self.http.request(
            "POST", f"{self.verifier}/verify", body=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status == 200, answer.data
        return dict(answer.json()["verdict"])


def free_ports(count: int) -> int:
    """The first of so many ports one after the other where nobody listens now."""
    # of the system: tests that run at the same moment must not draw the same ports from the same seed
    for first in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind((HOST, port))
            return first
    raise AssertionError("no ports are free")


def group(leader: int) -> list[int]:
    """The processes that live in the group of a leading process, itself first."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, _, in_group = (each / "stat").read_text().rsplit(") ", 1)[1].split()[:3]
                if int(in_group) == leader and state != "Z":
                    found.append(int(each.name))
    return sorted(found, key=lambda pid: (pid != leader, pid))


@contextlib.contextmanager
def served_region(folder: Path, **options: Any) -> Iterator[ServedRegion]:
    """A region that is set up, and closed in the end."""
    region = ServedRegion(folder)
    region.set_up(**options)
    try:
        yield region
    finally:
        region.close()
