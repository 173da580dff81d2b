"""Reading the entries of a log of ours, while it is checked.

Spec: `specs/log-entries.md`. A log is ours if its first entry is a genesis entry with the origin of its checkpoint.
Then every entry must be one, no other may be a genesis entry, and what the region says of the log's own landmark file
(entries of kind 5) is kept to hold that file to it. Entries of other logs are opaque.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import sha256

from chopmark.entries import (
    CredentialEntry,
    GenesisEntry,
    LandmarkFileEntry,
    StatusListEntry,
    TrustBundleEntry,
    TrustStatementEntry,
    parse_entry,
)
from chopmark.errors import FormatError, StorageError
from chopmark.tiles import TILE_WIDTH, Tile

from chopmark_ledger.audit.fsck_findings import Findings
from chopmark_ledger.audit.tile_source import LANDMARKS, TileSource

_DIGEST_SIZE = 32
_KNOWN_BEGINNINGS = 4096
"""Beginnings of credential entries that are remembered: one for each issuer, far more than a log has."""
_VOUCHINGS = 65_536
"""Vouchings that are remembered, the newest ones: two years of one each quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Vouching:
    """An entry of the log says that its landmark file begins with so many records, and what these hash to."""

    records: int
    digest: bytes
    entry: int


class EntryCheck:
    """Reads entries as they come by; what is none is named.

    Nearly all entries are credentials: `[1, iss, digest]`, of which the digest, the last 32 bytes, may be any. So once
    one was read, another with the same beginning and as many bytes behind it needs no reading.
    """

    def __init__(self, origin: str, findings: Findings) -> None:
        self._origin = origin
        self._findings = findings
        self._known: set[bytes] = set()
        self.vouchings: deque[Vouching] = deque(maxlen=_VOUCHINGS)

    def __call__(self, entries: list[bytes], first: int, path: str) -> None:
        """Read the entries of a bundle that lies at `path`, of which the first has the index `first`."""
        if {entry[:-_DIGEST_SIZE] for entry in entries} <= self._known:
            return
        for index, data in enumerate(entries, first):
            if data[:-_DIGEST_SIZE] in self._known:
                continue
            try:
                entry = parse_entry(data)
            except FormatError as error:
                self._findings.damage(path, f"entry {index} is not a log entry: {error.what}")
                continue
            if isinstance(entry, CredentialEntry):
                if len(self._known) < _KNOWN_BEGINNINGS:
                    self._known.add(data[:-_DIGEST_SIZE])
            elif isinstance(entry, GenesisEntry) and index:
                self._findings.damage(path, f"entry {index} is a second genesis entry")
            elif isinstance(entry, LandmarkFileEntry) and entry.origin == self._origin:
                if len(self.vouchings) == _VOUCHINGS:
                    self._findings.remark(LANDMARKS, "not held to the oldest entry that vouches for it")
                self.vouchings.append(Vouching(entry.records, entry.digest, index))


def begins_with_genesis(source: TileSource, origin: str, size: int) -> bool:
    """Tell whether this is a log of ours: its first entry is a genesis entry with this origin."""
    if size == 0:
        return False
    for width in dict.fromkeys((min(size, TILE_WIDTH), TILE_WIDTH)):
        try:
            data = source.read(Tile(None, 0, width).path)
            if data is not None:
                genesis = parse_entry(data[2 : 2 + int.from_bytes(data[:2], "big")])
                return isinstance(genesis, GenesisEntry) and genesis.origin == origin
        except (FormatError, StorageError):
            continue
    return False


def describe_entry(data: bytes) -> str:
    """Say in one line which entry this is."""
    try:
        entry = parse_entry(data)
    except FormatError:
        return f"{len(data)} bytes that are no entry of ours, SHA-256 {sha256(data).hexdigest()}"
    match entry:
        case GenesisEntry():
            return f"genesis of {entry.origin}, made at {entry.created} (POSIX seconds)"
        case CredentialEntry():
            return f"credential of {entry.issuer}, digest {entry.digest.hex()}"
        case StatusListEntry():
            return f"status list of {entry.issuer}, {entry.uri}, token {entry.token_hash.hex()}"
        case TrustStatementEntry():
            return f"trust statement of {len(entry.note)} bytes, SHA-256 {sha256(entry.note).hexdigest()}"
        case TrustBundleEntry():
            return f"trust bundle {entry.seq} of {entry.region}, digest {entry.digest.hex()}"
        case LandmarkFileEntry():
            return f"landmark file of {entry.origin}, {entry.records} records, digest {entry.digest.hex()}"
