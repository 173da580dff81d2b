"""Our log, our witness and our fsck, as commands: what stands here knows of them what anybody outside does."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import nacl.signing

from tests.interop.http_requests import send
from tests.interop.other_witnesses import WitnessServer, free_port
from tests.interop.programs import Ended, Running, run

ORIGIN = "cn-gd.example/log/2026"
_ISSUER = b"CN-GD/11440000MB2D0P8Q3X"
_CLIENT = "registry"
_BATCH = 10_000
_PUBLISHED_SECONDS = 30


def chopmark(*arguments: str | Path, code: int | None = 0) -> Ended:
    """Run our command."""
    return run(_program(), *arguments, code=code)


def _program() -> Path:
    return Path(sys.executable).with_name("chopmark")


def our_fsck(location: str, *vkeys: str) -> Ended:
    """Let `chopmark log fsck` read a log."""
    return chopmark("log", "fsck", location, *_options("--vkey", vkeys), code=None)


@contextmanager
def our_witness(folder: Path, name: str, vkeys: Sequence[str]) -> Iterator[WitnessServer]:
    """`chopmark witness serve`, for the logs that have these keys."""
    folder.mkdir()
    secret = _passphrase(folder)
    chopmark("witness", "init", folder / "data", "--name", name, *_options("--log", vkeys), "--passphrase-file", secret)
    with serve_witness(folder) as witness:
        yield witness


@contextmanager
def serve_witness(folder: Path) -> Iterator[WitnessServer]:
    """Serve a witness that was made before."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings: list[str | Path] = ["--data", folder / "data", "--port", str(port)]
    settings += ["--passphrase-file", folder / "passphrase"]
    vkeys = chopmark("witness", "vkeys", folder / "data").out.split()
    with Running(
        _program(), "witness", "serve", *settings, ready=f"{url}/readyz", output_file=folder / "witness.output"
    ) as running:
        yield WitnessServer(url, tuple(vkeys), running)


@dataclass(slots=True)
class OurLog:
    """A log that is made, and a client that may write to it.

    Attributes:
        data: its data folder.
        vkey: its Ed25519 key.
        pq_vkey: its ML-DSA-44 key.
        key: the client's.
        url: its prefix, once it is served.
        entries: what is in it.
    """

    data: Path
    vkey: str
    pq_vkey: str
    key: nacl.signing.SigningKey
    origin: str = ORIGIN
    url: str = ""
    entries: list[bytes] = field(default_factory=list)
    batches: int = 0

    @property
    def folder(self) -> Path:
        """Its public folder, which any file server may serve."""
        return self.data / "public"

    def grow_to(self, size: int) -> bytes:
        """Add entries and wait until so many are published; answers the checkpoint."""
        if not self.entries:
            self._published(1)
            self.entries.append(send(f"{self.url}/tile/entries/000.p/1").body[2:])
        assert size >= len(self.entries), "it has grown beyond that already"
        while len(self.entries) < size:
            count = min(size - len(self.entries), _BATCH)
            self._add([_entry(len(self.entries) + number) for number in range(count)])
        return self._published(size)

    def _add(self, entries: Sequence[bytes]) -> None:
        self.batches += 1
        body = {"batch": self.batches, "entries": [base64.b64encode(entry).decode() for entry in entries]}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token()}"}
        reply = send(f"{self.url}/entries", json.dumps(body).encode(), headers)
        assert reply.status == 200, reply
        placed = dict(zip(json.loads(reply.body)["indexes"], entries, strict=True))
        self.entries += [placed[index] for index in range(len(self.entries), len(self.entries) + len(entries))]

    def _token(self) -> str:
        now = time.time()
        claims = {"iss": _CLIENT, "sub": _CLIENT, "aud": self.origin, "iat": now, "exp": now + 60, "jti": str(now)}
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "typ": "JWT"}, claims))
        return (signed + b"." + _base64url(self.key.sign(signed).signature)).decode()

    def _published(self, size: int) -> bytes:
        end = time.monotonic() + _PUBLISHED_SECONDS
        while time.monotonic() < end:
            reply = send(f"{self.url}/checkpoint")
            if reply.status == 200 and int(reply.body.split(b"\n")[1]) >= size:
                return reply.body
            time.sleep(0.02)
        raise AssertionError(f"size {size} was not published: {send(f'{self.url}/status')}")

    def proof(self, index: int) -> bytes:
        """The tlog-proof of an entry, which `chopmark log prove` makes from the files that the log serves."""
        return chopmark("log", "prove", self.url, str(index), "--vkey", self.vkey).raw_out


def make_log(folder: Path) -> OurLog:
    """Make a log, and let a client in that speaks for its region."""
    folder.mkdir(exist_ok=True)
    data, secret = folder / "data", _passphrase(folder)
    made = chopmark("log", "init", data, "--origin", ORIGIN, "--number", "1", "--passphrase-file", secret)
    key = nacl.signing.SigningKey(sha256(b"the client's key").digest())
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(bytes(key.verify_key)).decode()}
    (folder / "client.json").write_text(json.dumps(jwk))
    chopmark("log", "add-client", data, _CLIENT, "--jwk", folder / "client.json", "--region", "CN-GD")
    vkey, pq_vkey = made.out.split()
    return OurLog(data, vkey, pq_vkey, key)


@contextmanager
def serve_log(log: OurLog, witnesses: Sequence[WitnessServer]) -> Iterator[OurLog]:
    """`chopmark log serve`, under a policy that asks for all of these operators."""
    folder = log.data.parent
    lines = [f"log {log.vkey}", f"log {log.pq_vkey}"]
    for number, witness in enumerate(witnesses):
        names = [f"w{number}k{each}" for each in range(len(witness.vkeys))]
        lines += [f"witness {name} {vkey} {witness.url}" for name, vkey in zip(names, witness.vkeys, strict=True)]
        lines.append(f"group g{number} any {' '.join(names)}")
    groups = " ".join(f"g{number}" for number in range(len(witnesses)))
    policy = folder / "policy"
    policy.write_text("\n".join([*lines, f"group operators all {groups}", "quorum operators", ""]))
    port = free_port()
    log.url = f"http://127.0.0.1:{port}"
    settings: list[str | Path] = ["--data", log.data, "--policy", policy, "--port", str(port)]
    settings += ["--passphrase-file", folder / "passphrase"]
    with Running(_program(), "log", "serve", *settings, ready=f"{log.url}/healthz", output_file=folder / "log.output"):
        yield log


def _entry(number: int) -> bytes:
    """A credential entry: deterministic CBOR of [1, issuer, digest]."""
    return b"\x83\x01\x78" + bytes([len(_ISSUER)]) + _ISSUER + b"\x58\x20" + sha256(b"%d" % number).digest()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _options(name: str, values: Sequence[str]) -> list[str]:
    return [option for value in values for option in (name, value)]


def _passphrase(folder: Path) -> Path:
    path = folder / "passphrase"
    path.write_text("a passphrase of this test\n")
    path.chmod(0o600)
    return path
