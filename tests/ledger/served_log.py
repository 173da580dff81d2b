"""A log and its witnesses as processes of their own or threads, reached over HTTP, for the tests of the service."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chopmark.entries import CredentialEntry
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark_ledger.client import add_log_to_witness, open_witness
from chopmark_ledger.service.log_clients import add_client, make_client
from chopmark_ledger.service.log_setup import NewLog, init_log
from chopmark_ledger.service.remote_ledger import RemoteLedger
from chopmark_ledger.witness.witness_folder import init_witness
from chopmark_service.json_web_key import to_jwk

ORIGIN = "cn-gd.example/log/2026"
REGION = "CN-GD"
ISSUER = "CN-GD/11440000MB2D0P8Q3X"
PASSPHRASE = b"a passphrase of this test"
CHEAP = ScryptCost(n=2**10)
REGISTRY = Ed25519Signer(b"\x01" * 32)
DEPARTMENT = Ed25519Signer(b"\x02" * 32)
STRANGER = Ed25519Signer(b"\x03" * 32)
WITNESSES = ("cn-sh.example/witness", "us-il.example/witness")


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)


class WitnessServer:
    """A witness in a thread of the test, over HTTP; it can be made to fail."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / name.split(".", maxsplit=1)[0]
        self.vkeys = init_witness(self.folder, name, PASSPHRASE, cost=CHEAP)
        self.is_down = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.is_down:
                    self.send_error(503)
                    return
                answer = outer.witness.add_checkpoint(body)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def watch(self, vkey: str) -> None:
        add_log_to_witness(self.folder, vkey)
        self.witness = open_witness(self.folder, PASSPHRASE)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class ServedLog:
    """A log in `folder`, with two witnesses of which both must cosign, and the process that serves it."""

    folder: Path
    witnesses: list[WitnessServer] = field(default_factory=list)
    made: int = 0
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None

    def set_up(self) -> None:
        """Make witnesses, the log, its policy and its clients."""
        self.folder.mkdir()
        self.witnesses = [WitnessServer(self.folder, name) for name in WITNESSES]
        self.keys: NewLog = init_log(self.data, origin=ORIGIN, number=1, passphrase=PASSPHRASE, cost=CHEAP)
        lines = [f"log {self.keys.vkey}", f"log {self.keys.pq_vkey}"]
        for number, witness in enumerate(self.witnesses):
            witness.watch(self.keys.vkey)
            names = [f"w{number}-{position}" for position in range(len(witness.vkeys))]
            lines += [f"witness {name} {vkey} {witness.url}" for name, vkey in zip(names, witness.vkeys, strict=True)]
            lines.append(f"group R{number} any {' '.join(names)}")
        self.policy = "\n".join([*lines, "group peers 2 R0 R1", "quorum peers", ""])
        (self.folder / "policy").write_text(self.policy)
        (self.folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
        add_client(self.data, make_client("registry", [REGISTRY.public_key], [], REGION))
        add_client(self.data, make_client("department", [DEPARTMENT.public_key], [ISSUER], None))

    @property
    def data(self) -> Path:
        return self.folder / "log"

    @property
    def public(self) -> Path:
        return self.data / "public"

    @property
    def stderr(self) -> Path:
        return self.folder / f"stderr-{self.starts}"

    @property
    def options(self) -> list[str]:
        """What `chopmark log serve` is told."""
        return [
            *("--data", str(self.data)),
            *("--policy", str(self.folder / "policy")),
            *("--passphrase-file", str(self.folder / "passphrase")),
            *("--port", "0"),
        ]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the service; `url` waits until it answers."""
        self.starts += 1
        command = [sys.executable, "-c", "from chopmark.cli import main; main()", "log", "serve"]
        with self.stderr.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *self.options, *arguments],
                env={**os.environ, **environment},
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
        return self.process

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log of events of the last process; a line that is no JSON fails the test."""
        return [json.loads(line) for line in self.stderr.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    @property
    def url(self) -> str:
        until(lambda: bool(self.events("listening")) or self.process is None or self.process.poll() is not None)
        assert self.events("listening"), self.stderr.read_text()
        return str(self.events("listening")[0]["url"])

    @property
    def worker(self) -> int:
        assert self.url
        return int(self.events("listening")[0]["pid"])

    def stop(self) -> int:
        """End the service as an operator does; answers its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill the whole group of processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        self.kill()
        for witness in self.witnesses:
            witness.close()

    def entries(self, count: int, issuer: str = ISSUER) -> list[bytes]:
        """New credential entries, each another."""
        self.made += count
        return [
            CredentialEntry(issuer, sha256(b"%d" % number).digest()).encode()
            for number in range(self.made - count, self.made)
        ]

    @contextlib.contextmanager
    def remote(self, name: str = "registry", key: Ed25519Signer = REGISTRY, **options: Any) -> Iterator[RemoteLedger]:
        """A client of the service."""
        with RemoteLedger(
            self.url, name=name, key=key, policy_text=self.policy, vkey=self.keys.vkey, number=1, **options
        ) as ledger:
            yield ledger


def jwk_file(path: Path, key: Ed25519Signer) -> Path:
    path.write_text(json.dumps(to_jwk(key.public_key)))
    return path
