"""Damage planted into copies of a real log: each kind is named where it lies, in words, and nothing else is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest
from chopmark import tiles
from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.entries import CredentialEntry, GenesisEntry, LandmarkFileEntry, TrustBundleEntry
from chopmark.key_file import read_key_file
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile, LandmarkRecord
from chopmark.note import Note, NoteSigner
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.audit.fsck import FsckReport, fsck
from chopmark_ledger.audit.http_source import HttpSource

from tests.ledger.conftest import ISSUER, ORIGIN, PASSPHRASE, WITNESSES, World
from tests.ledger.sample_log import put, serving, write_tiles

LOG_KEY = b"\x07" * 32
SIZE = 1000
EDGE = "003.p/232"
"""The partial tile of level 0, and the partial bundle."""
OTHER_ENTRY = CredentialEntry(ISSUER, bytes(32)).encode()
VOUCHING = 775
"""The index of the entry that vouches for the landmarks up to entry 775."""


@dataclass(frozen=True)
class RealLog:
    """A log as its publisher left it, and the keys that it takes to plant what the keys' owners alone could."""

    folder: Path
    world: World
    vkey: str
    policy: TlogPolicy
    cosigners: tuple[Cosigner, ...]

    def check(self, folder: Path) -> FsckReport:
        return fsck(folder, vkeys=[self.vkey], policy=self.policy)


@pytest.fixture(scope="module")
def real(template: Path, tmp_path_factory: pytest.TempPathFactory) -> RealLog:
    folder = tmp_path_factory.mktemp("real") / "world"
    shutil.copytree(template, folder)
    world = World(folder)
    ledger = world.open()
    world.append(ledger, 1, 774)
    ledger.landmark_now()
    file = LandmarkFile.parse(ledger.landmark_file())
    vouching = LandmarkFileEntry(ORIGIN, len(file), file.prefix_digest(len(file))).encode()
    assert world.submit(ledger, 2, [vouching]) == [VOUCHING]
    ledger.publish()
    world.append(ledger, 3, 124)
    ledger.landmark_now()
    world.append(ledger, 4, 100)
    ledger.publish()
    assert world.check() == SIZE
    world.close()
    keys = (folder / name.split(".")[0] / "witness.key" for name in WITNESSES)
    cosigners = [Cosigner(name, read_key_file(key).load(PASSPHRASE)) for name, key in zip(WITNESSES, keys, strict=True)]
    return RealLog(world.public, world, world.vkey, TlogPolicy.parse(world.policy), tuple(cosigners))


@dataclass
class Planter:
    """Plants damage into a copy of the real log; each step answers the planter, for the next one."""

    log: Path
    real: RealLog

    def read(self, name: str) -> bytes:
        return (self.log / name).read_bytes()

    def write(self, name: str, data: bytes) -> Planter:
        put(self.log / name, data)
        return self

    def change(self, name: str, change: Callable[[bytes], bytes]) -> Planter:
        return self.write(name, change(self.read(name)))

    def copy(self, name: str, to: str) -> Planter:
        return self.write(to, self.read(name))

    def remove(self, name: str) -> Planter:
        (self.log / name).unlink()
        return self

    def flip(self, name: str, position: int = 5) -> Planter:
        return self.change(name, lambda data: flipped(data, position))

    def cut(self, name: str, count: int) -> Planter:
        return self.change(name, lambda data: data[:-count])

    def swap(self, first: str, second: str) -> Planter:
        one, two = self.read(first), self.read(second)
        return self.write(first, two).write(second, one)

    def entries(self, name: str, change: Callable[[list[bytes]], list[bytes]]) -> Planter:
        """Change the entries of a bundle, which stays well formed."""
        width = tiles.parse_tile_path(name).width
        return self.change(name, lambda data: bundle(change(tiles.decode_entry_bundle(data, width))))

    def older(self, name: str) -> Planter:
        """Put a partial tile or bundle of an earlier size beside the full one, as logs do that remove none."""
        tile = tiles.parse_tile_path(name)
        whole = self.read(tiles.Tile(tile.level, tile.index).path)
        if tile.level is None:
            return self.write(name, bundle(tiles.decode_entry_bundle(whole)[: tile.width]))
        return self.write(name, whole[: 32 * tile.width])

    def logged(self, index: int, entry: bytes) -> Planter:
        """Let the log itself hold another entry: in tiles and root, signed by the log and its witnesses."""
        found: list[bytes] = []
        for number in range(-(-SIZE // 256)):
            width = min(256, SIZE - 256 * number)
            found += tiles.decode_entry_bundle(self.read(tiles.entries_path(number, width)), width)
        found[index] = entry
        return self.sign(write_tiles(self.log, found, ORIGIN))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint.parse(self.read("checkpoint"))

    def sign(self, checkpoint: Checkpoint, *, cosigners: int = 3, key: bytes = LOG_KEY, more: str = "") -> Planter:
        """Publish a checkpoint, signed by the log and its witnesses."""
        text = checkpoint.body() + more
        at = self.real.world.clock.now
        lines = [NoteSigner(ORIGIN, Ed25519Signer(key)).sign(text)]
        lines += [cosigner.cosign_text(text, at) for cosigner in self.real.cosigners[:cosigners]]
        return self.write("checkpoint", Note(text, tuple(lines)).encode())

    def lines(self, change: Callable[[list[str]], list[str]]) -> Planter:
        """Change the lines of the checkpoint."""
        return self.change("checkpoint", lambda data: "".join(change(data.decode().splitlines(keepends=True))).encode())

    def landmarks(self, change: Callable[[list[LandmarkRecord]], Sequence[LandmarkRecord]]) -> Planter:
        """Change the records of the landmark file."""
        records = LandmarkFile.parse(self.read("landmarks")).records
        return self.change(
            "landmarks", lambda data: data[:16] + b"".join(record.encode() for record in change(list(records)))
        )

    def folder(self, name: str) -> Planter:
        """Put an empty folder into the place of a file."""
        (self.remove(name).log / name).mkdir()
        return self

    def pipe(self, name: str) -> Planter:
        """Put a pipe into the place of a file."""
        os.mkfifo(self.remove(name).log / name)
        return self

    def file(self, name: str) -> Planter:
        """Put a file into the place of a folder."""
        shutil.rmtree(self.log / name)
        return self.write(name, b"")

    def link(self, name: str) -> Planter:
        """Put a symbolic link to the very same file or folder into its place."""
        aside = self.log.parent / "aside"
        (self.log / name).rename(aside)
        (self.log / name).symlink_to(aside)
        return self


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def bundle(entries: list[bytes]) -> bytes:
    """A bundle of any number of entries."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def changed(signature_line: str) -> str:
    """A signature line with another signature, of the same key."""
    return signature_line[:-6] + ("A" if signature_line[-6] != "A" else "B") + signature_line[-5:]


def one(path: str, words: str) -> dict[str, str]:
    return {path: words}


Damages = dict[str, tuple[Callable[[Planter], object], dict[str, str]]]

FILES: Damages = {
    "a full tile missing": (lambda p: p.remove("tile/0/001"), one("tile/0/001", "missing")),
    "a full tile cut": (
        lambda p: p.cut("tile/0/001", 32),
        one("tile/0/001", "8160 bytes where 8192 are expected"),
    ),
    "a full tile with more": (
        lambda p: p.change("tile/0/001", lambda data: data + b"\0"),
        one("tile/0/001", "more than 8192 bytes"),
    ),
    "a full tile with a bit flipped": (
        lambda p: p.flip("tile/0/001"),
        one("tile/0/001", "does not hash to what the tile above it says"),
    ),
    "a full tile empty": (
        lambda p: p.write("tile/0/001", b""),
        one("tile/0/001", "0 bytes where 8192 are expected"),
    ),
    "two full tiles swapped": (
        lambda p: p.swap("tile/0/000", "tile/0/002"),
        {
            "tile/0/000": "does not hash to what the tile above it says",
            "tile/0/002": "does not hash to what the tile above it says",
        },
    ),
    "the partial tile missing": (lambda p: p.remove(f"tile/0/{EDGE}"), one(f"tile/0/{EDGE}", "missing")),
    "the partial tile with a bit flipped": (
        lambda p: p.flip(f"tile/0/{EDGE}"),
        one(f"tile/0/{EDGE}", "does not lead to the root of the checkpoint"),
    ),
    "the partial tile cut": (
        lambda p: p.cut(f"tile/0/{EDGE}", 32),
        one(f"tile/0/{EDGE}", "7392 bytes where 7424 are expected"),
    ),
    "the partial tile of level 1 missing": (lambda p: p.remove("tile/1/000.p/3"), one("tile/1/000.p/3", "missing")),
    "the partial tile of level 1 with a bit flipped": (
        lambda p: p.flip("tile/1/000.p/3"),
        one("tile/1/000.p/3", "does not lead to the root of the checkpoint"),
    ),
    "a bundle missing": (lambda p: p.remove("tile/entries/001"), one("tile/entries/001", "missing")),
    "a bundle with a bit of an entry flipped": (
        lambda p: p.flip("tile/entries/001", 70),
        one("tile/entries/001", "entry 257 does not hash to its leaf"),
    ),
    "a bundle with a length changed": (
        lambda p: p.flip("tile/entries/001", 1),
        one("tile/entries/001", "entry"),
    ),
    "a bundle cut within an entry": (
        lambda p: p.cut("tile/entries/001", 1),
        one("tile/entries/001", "ends within entry 255 of 256"),
    ),
    "a bundle one entry short": (
        lambda p: p.entries("tile/entries/001", lambda entries: entries[:-1]),
        one("tile/entries/001", "ends within entry 255 of 256"),
    ),
    "a bundle with one entry more": (
        lambda p: p.entries("tile/entries/001", lambda entries: [*entries, entries[0]]),
        one("tile/entries/001", "bytes behind the last of 256 entries"),
    ),
    "an entry replaced by another valid one": (
        lambda p: p.entries(
            "tile/entries/001",
            lambda entries: [*entries[:9], CredentialEntry(ISSUER, bytes(32)).encode(), *entries[10:]],
        ),
        one("tile/entries/001", "entry 265 does not hash to its leaf"),
    ),
    "two entries swapped": (
        lambda p: p.entries("tile/entries/001", lambda entries: [entries[1], entries[0], *entries[2:]]),
        one("tile/entries/001", "entry 256 does not hash to its leaf, and 1 more"),
    ),
    "two bundles swapped": (
        lambda p: p.swap("tile/entries/001", "tile/entries/002"),
        {
            "tile/entries/001": "entry 256 does not hash to its leaf, and 255 more",
            "tile/entries/002": "entry 512 does not hash to its leaf, and 255 more",
        },
    ),
    "the first bundle without its genesis entry": (
        lambda p: p.flip("tile/entries/000", 2),
        one("tile/entries/000", "entry 0 does not hash to its leaf"),
    ),
    "the partial bundle missing": (lambda p: p.remove(f"tile/entries/{EDGE}"), one(f"tile/entries/{EDGE}", "missing")),
    "an entry changed in its bundle and its leaf with it": (
        lambda p: p.entries("tile/entries/001", lambda entries: [b"other", *entries[1:]]).change(
            "tile/0/001", lambda data: sha256(b"\0other").digest() + data[32:]
        ),
        {
            "tile/0/001": "does not hash to what the tile above it says",
            "tile/entries/001": "nor does it hash to what the tile above its own says",
        },
    ),
}

CHECKPOINTS: Damages = {
    "no checkpoint": (lambda p: p.remove("checkpoint"), one("checkpoint", "missing")),
    "an empty checkpoint": (lambda p: p.write("checkpoint", b""), one("checkpoint", "no empty line")),
    "a checkpoint cut": (lambda p: p.cut("checkpoint", 1), one("checkpoint", "newline")),
    "a checkpoint of 5 MiB": (
        lambda p: p.write("checkpoint", bytes(5 << 20)),
        one("checkpoint", "more than 4194304 bytes"),
    ),
    "the signature of the log forged": (
        lambda p: p.lines(lambda lines: [*lines[:4], changed(lines[4]), *lines[5:]]),
        one("checkpoint", "the signature of a known key does not verify"),
    ),
    "the signature of another key of that name": (
        lambda p: p.sign(p.checkpoint(), key=b"\x09" * 32),
        one("checkpoint", "not signed by any known key"),
    ),
    "the log's signature taken away": (
        lambda p: p.lines(lambda lines: [*lines[:4], *lines[5:]]),
        one("checkpoint", "not signed by any known key"),
    ),
    "the size changed": (
        lambda p: p.lines(lambda lines: [lines[0], "999\n", *lines[2:]]),
        one("checkpoint", "does not verify"),
    ),
    "another root signed": (
        lambda p: p.sign(replace(p.checkpoint(), root=bytes(32))),
        one("checkpoint", "the tiles at the edge of the tree do not lead to its root"),
    ),
    "another origin signed": (
        lambda p: p.sign(replace(p.checkpoint(), origin="cn-bj.example/log")),
        one("checkpoint", "the origin is 'cn-bj.example/log', not 'cn-gd.example/log/2026'"),
    ),
    "a size signed that is larger than the tiles": (
        lambda p: p.sign(replace(p.checkpoint(), size=1010)),
        {
            "checkpoint": "the tiles at the edge of the tree do not lead to its root",
            "tile/0/003.p/242": "missing",
            "tile/entries/003.p/242": "missing",
        },
    ),
    "extension lines, under a policy": (
        lambda p: p.sign(p.checkpoint(), more="an extension line\n"),
        one("checkpoint", "extension lines"),
    ),
    "the quorum missing": (
        lambda p: p.sign(p.checkpoint(), cosigners=1),
        one("checkpoint", "known witnesses cosigned, which do not make the quorum"),
    ),
    "no witness at all": (
        lambda p: p.sign(p.checkpoint(), cosigners=0),
        one("checkpoint", "known witnesses cosigned, which do not make the quorum"),
    ),
    "a cosignature of a known witness bad": (
        lambda p: p.sign(p.checkpoint()).lines(lambda lines: [*lines[:-1], changed(lines[-1])]),
        one("checkpoint", "key us-ny.example/witness: the signature of a known key does not verify"),
    ),
}


LANDMARKS: Damages = {
    "the landmark file missing": (
        lambda p: p.remove("landmarks"),
        one("landmarks", f"missing, though entry {VOUCHING} vouches for 2 records of it"),
    ),
    "the landmark file cut within a record": (
        lambda p: p.cut("landmarks", 10),
        one("landmarks", "not a header of 16 bytes and records of 64"),
    ),
    "the landmark file of another magic": (lambda p: p.flip("landmarks", 0), one("landmarks", "does not begin with")),
    "the landmark file of another version": (lambda p: p.flip("landmarks", 9), one("landmarks", "version 0")),
    "the landmark file too large": (
        lambda p: p.write("landmarks", bytes((64 << 20) + 1)),
        one("landmarks", "more than 67108864 bytes"),
    ),
    "the hash of a landmark changed": (
        lambda p: p.landmarks(lambda records: [records[0], replace(records[1], hash=bytes(32)), *records[2:]]),
        one("landmarks", "record 1 is not the hash of [512, 775)"),
    ),
    "landmarks out of order": (
        lambda p: p.landmarks(lambda records: records[::-1]),
        one("landmarks", "record 0"),
    ),
    "a landmark in the middle missing": (
        lambda p: p.landmarks(lambda records: [records[0], *records[2:]]),
        one("landmarks", "record 1: the entries from 512 to"),
    ),
    "landmarks at the end missing that the log vouches for": (
        lambda p: p.landmarks(lambda records: records[:1]),
        one("landmarks", f"1 records, though entry {VOUCHING} vouches for 2"),
    ),
    "a landmark beyond the checkpoint": (
        lambda p: p.landmarks(lambda records: [*records[:-1], replace(records[-1], checkpoint_size=1001)]),
        one("landmarks", "is under a checkpoint of size 1001, larger than the published one"),
    ),
    "a landmark dated after the checkpoint": (
        lambda p: p.landmarks(
            lambda records: [*records[:-1], replace(records[-1], witnessed_time=records[-1].witnessed_time + 3600)]
        ),
        one("landmarks", "is dated after the published checkpoint"),
    ),
    "a landmark dated back that the log vouches for": (
        lambda p: p.landmarks(lambda records: [replace(records[0], witnessed_time=7), *records[1:]]),
        one("landmarks", f"its first 2 records are not those that entry {VOUCHING} vouches for"),
    ),
}

ENTRIES: Damages = {
    "a second genesis entry": (
        lambda p: p.logged(950, GenesisEntry(ORIGIN, 1, 1).encode()),
        one(f"tile/entries/{EDGE}", "entry 950 is a second genesis entry"),
    ),
    "bytes that are no entry": (
        lambda p: p.logged(950, b"no entry"),
        one(f"tile/entries/{EDGE}", "entry 950 is not a log entry"),
    ),
    "an empty entry": (
        lambda p: p.logged(950, b""),
        one(f"tile/entries/{EDGE}", "entry 950 is not a log entry"),
    ),
    "an entry of a kind that nobody knows": (
        lambda p: p.logged(950, b"\x82\x18\x63\x01"),
        one(f"tile/entries/{EDGE}", "entry 950 is not a log entry: kind 99"),
    ),
    "an entry with a byte behind it": (
        lambda p: p.logged(950, TrustBundleEntry("CN-GD", 1, bytes(32)).encode() + b"\0"),
        one(f"tile/entries/{EDGE}", "entry 950 is not a log entry"),
    ),
}

IN_THE_FOLDER: Damages = {
    "an older partial tile with a bit flipped": (
        lambda p: p.flip("tile/0/003.p/7"),
        one("tile/0/003.p/7", f"is not the beginning of tile/0/{EDGE}"),
    ),
    "an older partial tile cut": (
        lambda p: p.cut("tile/0/003.p/7", 1),
        one("tile/0/003.p/7", "223 bytes where 224 are expected"),
    ),
    "an older partial tile with the content of the newer one": (
        lambda p: p.copy(f"tile/0/{EDGE}", "tile/0/003.p/7"),
        one("tile/0/003.p/7", "more than 224 bytes"),
    ),
    "an older partial bundle with a bit flipped": (
        lambda p: p.flip("tile/entries/003.p/7", 40),
        one("tile/entries/003.p/7", f"is not the beginning of tile/entries/{EDGE}"),
    ),
    "an older partial bundle one entry short": (
        lambda p: p.entries("tile/entries/003.p/7", lambda entries: entries[:-1]),
        one("tile/entries/003.p/7", "ends within entry 6 of 7"),
    ),
    "a partial tile that differs from the full one": (
        lambda p: p.older("tile/0/001.p/9").flip("tile/0/001.p/9"),
        one("tile/0/001.p/9", "is not the beginning of tile/0/001"),
    ),
    "a partial bundle that differs from the full one": (
        lambda p: p.older("tile/entries/001.p/9").flip("tile/entries/001.p/9", 40),
        one("tile/entries/001.p/9", "is not the beginning of tile/entries/001"),
    ),
    "a tile twice, its second path without zeros": (
        lambda p: p.copy("tile/0/001", "tile/0/1"),
        one("tile/0/1", "misnamed"),
    ),
    "a tile twice, its second path with a group of zeros": (
        lambda p: p.copy("tile/0/001", "tile/0/x000/001"),
        one("tile/0/x000/001", "misnamed"),
    ),
    "a tile twice, its second path of another level": (
        lambda p: p.copy("tile/0/001", "tile/00/001"),
        one("tile/00/001", "misnamed"),
    ),
    "a full bundle named as a partial one": (
        lambda p: p.copy("tile/entries/001", "tile/entries/001.p/256"),
        one("tile/entries/001.p/256", "misnamed"),
    ),
    "a folder in the place of a tile": (
        lambda p: p.folder("tile/0/001"),
        one("tile/0/001", "a folder lies where a file belongs"),
    ),
    "a folder in the place of a bundle": (
        lambda p: p.folder("tile/entries/001"),
        one("tile/entries/001", "a folder lies where a file belongs"),
    ),
    "a folder in the place of an older partial tile": (
        lambda p: p.folder("tile/0/003.p/7"),
        one("tile/0/003.p/7", "a folder lies where a file belongs"),
    ),
    "a folder in the place of the checkpoint": (
        lambda p: p.folder("checkpoint"),
        one("checkpoint", "a folder lies where a file belongs"),
    ),
    "a folder in the place of the landmark file": (
        lambda p: p.folder("landmarks"),
        one("landmarks", "a folder lies where a file belongs"),
    ),
    "a file in the place of a folder": (
        lambda p: p.file("tile/1"),
        {"tile/1/000.p/3": "missing", "tile/1": "a file lies where a folder belongs"},
    ),
    "a pipe in the place of a bundle": (
        lambda p: p.pipe("tile/entries/001"),
        one("tile/entries/001", "a device, pipe or socket lies where a file belongs"),
    ),
    "a symbolic link to a tile": (lambda p: p.link("tile/0/001"), one("tile/0/001", "a symbolic link")),
    "a symbolic link to a bundle": (lambda p: p.link("tile/entries/001"), one("tile/entries/001", "a symbolic link")),
    "a symbolic link to the checkpoint": (lambda p: p.link("checkpoint"), one("checkpoint", "a symbolic link")),
    "a folder reached over a symbolic link": (
        lambda p: p.link("tile/1"),
        one("tile/1", "a symbolic link"),
    ),
}

SEEN_FROM_AFAR: Damages = {**FILES, **CHECKPOINTS, **LANDMARKS, **ENTRIES}
ALL: Damages = {**SEEN_FROM_AFAR, **IN_THE_FOLDER}


@pytest.fixture
def planter(real: RealLog, tmp_path: Path) -> Planter:
    return Planter(shutil.copytree(real.folder, tmp_path / "log"), real)


def assert_named(report: FsckReport, expected: dict[str, str]) -> None:
    assert sorted(damage.path for damage in report.damage) == sorted(expected)
    for damage in report.damage:
        assert expected[damage.path] in damage.what


def test_the_log_into_which_damage_is_planted_is_sound(real: RealLog) -> None:
    report = real.check(real.folder)
    assert report.damage == ()
    assert report.remarks == ()
    assert report.is_ours
    assert (report.size, report.landmarks) == (SIZE, 4)


@pytest.mark.parametrize("kind", ALL)
def test_planted_damage_is_named_where_it_lies_and_nothing_else_is(planter: Planter, kind: str) -> None:
    plant, expected = ALL[kind]
    plant(planter)
    assert_named(planter.real.check(planter.log), expected)


@pytest.mark.parametrize("kind", SEEN_FROM_AFAR)
def test_planted_damage_is_named_over_http_too(planter: Planter, kind: str) -> None:
    plant, expected = SEEN_FROM_AFAR[kind]
    plant(planter)
    with serving(planter.log) as server, closing(HttpSource(server.url)) as source:
        report = fsck(source, vkeys=[planter.real.vkey], policy=planter.real.policy)
    assert_named(report, expected)
