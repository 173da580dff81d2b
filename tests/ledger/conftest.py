"""A small world for the ledger's tests: a log, three witnesses, a clock to set, and a checker that trusts nothing.

The checker re-reads the whole public folder with naive code of its own after every step: signature, entries, every
tile, every partial tile, the landmark file, and that nothing acknowledged or published before has changed.
"""

from __future__ import annotations

import base64
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import nacl.signing
import psycopg
import pytest
from chopmark.entries import CredentialEntry, LandmarkFileEntry, TrustBundleEntry
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark.note import NoteVerifier
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.client import (
    Client,
    LocalLedger,
    LocalWitness,
    LogSettings,
    add_log_to_witness,
    init_witness,
    log_vkey,
    open_witness,
    witness_vkeys,
)
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.models import LedgerModel
from sqlalchemy import create_engine, insert, select, text

from tests.postgresql import PostgresqlServer, plain

DEFAULT_SETTINGS = LogSettings()
ORIGIN = "cn-gd.example/log/2026"
ISSUER = "CN-GD/11440000MB2D0P8Q3X"
PASSPHRASE = b"a passphrase of this test"
BEGIN = 1_795_339_800
WITNESSES = ("cn-sh.example/witness", "us-il.example/witness", "us-ny.example/witness")
REGION = Client("region", region="CN-GD")


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: int = BEGIN

    def __call__(self) -> int:
        return self.now


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word by word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


def naive_path(kind: str, number: int, width: int) -> str:
    """The path of a tile, as tlog-tiles spells it."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    return f"tile/{kind}/{'/'.join(groups)}" + (f".p/{width}" if width < 256 else "")


@dataclass
class World:
    """A log and its surroundings in one folder."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    key: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x07" * 32))
    settings: LogSettings = DEFAULT_SETTINGS
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    published: list[bytes] = field(default_factory=list)
    """The entries of the largest checkpoint that was ever seen published."""
    landmarks: bytes = b""
    made: int = 0
    ledger: LocalLedger | None = None
    server: PostgresqlServer | None = None
    database: str | None = None
    """The URL of the log's PostgreSQL database, None for the file in its folder."""

    @property
    def log_folder(self) -> Path:
        return self.folder / "log"

    @property
    def public(self) -> Path:
        return self.log_folder / "public"

    @property
    def vkey(self) -> str:
        return log_vkey(ORIGIN, self.key)

    @property
    def policy(self) -> str:
        """Two of the three witnesses, each an operator of its own."""
        lines = [f"log {self.vkey}"]
        for number, name in enumerate(WITNESSES):
            lines.append(f"witness w{number} {witness_vkeys(self.folder / name.split('.')[0])[0]}")
            lines.append(f"group R{number} any w{number}")
        return "\n".join([*lines, "group peers 2 R0 R1 R2", "quorum peers", ""])

    def set_up(self) -> None:
        """Create the witnesses and the log."""
        for name in WITNESSES:
            folder = self.folder / name.split(".")[0]
            init_witness(folder, name=name, passphrase=PASSPHRASE, cost=ScryptCost(n=2**10))
            add_log_to_witness(folder, self.vkey)
        self.create()

    def create(self) -> None:
        """Create the log."""
        Log.create(
            self.log_folder, origin=ORIGIN, number=1, key=self.key, clock=self.clock, database=self.database
        ).close()

    def witnesses(self) -> list[LocalWitness]:
        return [open_witness(self.folder / name.split(".")[0], PASSPHRASE, clock=self.clock) for name in WITNESSES]

    def open(self, witnesses: Sequence[LocalWitness] | None = None) -> LocalLedger:
        """Open the log; one that is open is closed before."""
        self.ledger = LocalLedger(
            self.open_log(), self.witnesses() if witnesses is None else witnesses, TlogPolicy.parse(self.policy)
        )
        return self.ledger

    def open_log(self) -> Log:
        """Open the log alone, which the caller closes; a ledger that is open is closed before."""
        self.close()
        return Log.open(self.log_folder, key=self.key, clock=self.clock, settings=self.settings, database=self.database)

    def close(self) -> None:
        if self.ledger is not None:
            self.ledger.close()
            self.ledger = None

    def execute(self, statement: str, *arguments: object) -> None:
        """Run a statement in the log's database, as somebody who is no log."""
        if self.database is None:
            with closing(sqlite3.connect(self.log_folder / "ledger.db")) as connection, connection:
                connection.execute(statement.replace("%s", "?"), arguments)
        else:
            with psycopg.connect(plain(self.database)) as connected:
                connected.execute(statement.encode(), arguments)

    def back_up(self) -> str:
        """Copy the database as it is now; answers where to."""
        self.close()
        if self.server is not None and self.database is not None:
            return copied(self.server, self.database)
        copy = self.folder / "backup.db"
        shutil.copy(self.log_folder / "ledger.db", copy)
        return str(copy)

    def restore(self, copy: str) -> None:
        """Put a copy in the place of the database."""
        self.close()
        if self.server is not None and self.database is not None:
            self.server.give_back(self.database)
            self.database = copy
            return
        for left_over in self.log_folder.glob("ledger.db*"):
            left_over.unlink()
        shutil.copy(copy, self.log_folder / "ledger.db")

    def entries(self, count: int) -> list[bytes]:
        """New credential entries, each another."""
        self.made += count
        return [
            CredentialEntry(ISSUER, sha256(b"%d" % number).digest()).encode()
            for number in range(self.made - count, self.made)
        ]

    def quiet_entries(self, count: int) -> list[bytes]:
        """New entries of the kinds 4 and 5, which make no landmark due."""
        self.made += count
        digests = [sha256(b"%d" % number).digest() for number in range(self.made - count, self.made)]
        return [
            TrustBundleEntry("CN-GD", n, digest).encode()
            if n % 2
            else LandmarkFileEntry("cn-sh.example/log/2026", n, digest).encode()
            for n, digest in enumerate(digests)
        ]

    def append(self, ledger: LocalLedger, batch_number: int, count: int) -> list[int]:
        """Append new entries, and remember what was acknowledged."""
        return self.submit(ledger, batch_number, self.entries(count))

    def submit(self, ledger: LocalLedger, batch_number: int, entries: list[bytes]) -> list[int]:
        indexes = ledger.submit(REGION, batch_number, entries)
        assert len(indexes) == len(entries) == len(set(indexes))
        for index, entry in zip(indexes, entries, strict=True):
            assert self.acknowledged.setdefault(index, entry) == entry
        return indexes

    def check(self) -> int:
        """Check the whole public folder with naive code; answers the published size, 0 before the first."""
        path = self.public / "checkpoint"
        if not path.exists():
            assert not self.published, "the checkpoint is gone"
            return 0
        text, _, signatures = path.read_bytes().decode().partition("\n\n")
        origin, size_text, root_text = text.split("\n")
        own = next(line.split(" ") for line in signatures.split("\n") if line.startswith(f"— {ORIGIN} "))
        verifier = NoteVerifier.from_vkey(self.vkey)
        nacl.signing.VerifyKey(verifier.public_key.raw).verify((text + "\n").encode(), base64.b64decode(own[2])[4:])
        assert origin == ORIGIN
        size = int(size_text)
        entries = self._bundles(size)
        leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
        assert naive_root(leaves) == base64.b64decode(root_text)
        for index, entry in self.acknowledged.copy().items():  # other threads may be appending; a copy is one step
            assert index >= size or entries[index] == entry, f"entry {index} is not the one acknowledged"
        assert entries[: len(self.published)] == self.published, "a published entry has changed, or the log shrank"
        self.published = entries
        self._tiles(leaves)
        self._partials(leaves, entries)
        self._landmarks(leaves)
        return size

    def _bundles(self, size: int) -> list[bytes]:
        entries: list[bytes] = []
        for number in range(-(-size // 256)):
            width = min(256, size - 256 * number)
            data = (self.public / naive_path("entries", number, width)).read_bytes()
            bundle = split_bundle(data)
            assert len(bundle) == width
            entries.extend(bundle)
        return entries

    def _tiles(self, leaves: list[bytes]) -> None:
        level, row = 0, leaves
        while row:
            for number in range(-(-len(row) // 256)):
                hashes = row[number * 256 : number * 256 + 256]
                assert (self.public / naive_path(str(level), number, len(hashes))).read_bytes() == b"".join(hashes)
            row = [naive_root(row[n : n + 256]) for n in range(0, len(row) // 256 * 256, 256)]
            level += 1

    def _partials(self, leaves: list[bytes], entries: list[bytes]) -> None:
        """Every partial tile that lies there and is covered is a beginning of what is in the log."""
        rows = [leaves, [naive_root(leaves[n : n + 256]) for n in range(0, len(leaves) // 256 * 256, 256)]]
        for path in self.public.glob("tile/*/**/*.p/*"):
            parts = path.relative_to(self.public / "tile").as_posix().split("/")
            width = int(parts[-1])
            number = int("".join(parts[1:-1]).replace("x", "").removesuffix(".p"))
            if parts[0] == "entries":
                wanted: list[bytes] = entries[number * 256 : number * 256 + width]
                found = split_bundle(path.read_bytes())
            else:
                if int(parts[0]) >= len(rows):
                    continue
                wanted = rows[int(parts[0])][number * 256 : number * 256 + width]
                data = path.read_bytes()
                found = [data[n : n + 32] for n in range(0, len(data), 32)]
            assert len(found) == width
            assert found[: len(wanted)] == wanted

    def _landmarks(self, leaves: list[bytes]) -> None:
        path = self.public / "landmarks"
        if not path.exists():
            assert not self.landmarks, "the landmark file is gone"
            return
        data = path.read_bytes()
        assert data.startswith(self.landmarks), "a landmark has changed"
        self.landmarks = data
        assert data[:16] == b"chopmark" + struct.pack(">HHI", 1, 1, 1)
        covered, last = 0, (0, 0)
        for offset in range(16, len(data), 64):
            start, end, root, size, time = struct.unpack(">QQ32sQQ", data[offset : offset + 64])
            assert start <= covered < end <= size <= len(leaves)
            assert start // 1024 == (end - 1) // 1024, "an interval crosses a multiple of 1,024"
            assert root == naive_root(leaves[start:end])
            assert last <= (size, time)
            covered, last = end, (size, time)


def split_bundle(data: bytes) -> list[bytes]:
    """Read uint16be-prefixed entries."""
    entries = []
    while data:
        length = int.from_bytes(data[:2], "big")
        assert len(data) >= 2 + length
        entries.append(data[2 : 2 + length])
        data = data[2 + length :]
    return entries


def copied(server: PostgresqlServer, original: str) -> str:
    """The URL of a database with the tables of another one."""
    url = server.lend()
    source, target = create_engine(original), create_engine(url)
    with source.connect() as old, target.begin() as new:
        LedgerModel.metadata.create_all(new)
        new.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        version = old.scalar(text("SELECT version_num FROM alembic_version"))
        new.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
        for table in LedgerModel.metadata.sorted_tables:
            rows = [dict(row) for row in old.execute(select(table)).mappings()]
            if rows:
                new.execute(insert(table), rows)
    source.dispose()
    target.dispose()
    return url


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world as it is at the beginning, made once."""
    folder = tmp_path_factory.mktemp("template")
    World(folder).set_up()
    return folder


@pytest.fixture(scope="session")
def postgresql_template(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresqlServer) -> World:
    """The same with its log in PostgreSQL."""
    world = World(tmp_path_factory.mktemp("template"), database=postgresql.lend())
    world.set_up()
    return world


@pytest.fixture
def make_world(
    request: pytest.FixtureRequest, backend: str, template: Path, tmp_path: Path
) -> Iterator[Callable[..., World]]:
    """Makes worlds, each in a folder and database of its own, and closes them in the end."""
    worlds: list[World] = []

    def make(settings: LogSettings = DEFAULT_SETTINGS) -> World:
        folder = tmp_path / f"world-{len(worlds)}"
        world = World(folder, settings=settings)
        if backend == "postgresql":
            world.server = request.getfixturevalue("postgresql")
            original: World = request.getfixturevalue("postgresql_template")
            assert original.database is not None
            shutil.copytree(original.folder, folder)
            world.database = copied(world.server, original.database)
        else:
            shutil.copytree(template, folder)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()
        if world.server is not None and world.database is not None:
            world.server.give_back(world.database)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One world."""
    return make_world()
