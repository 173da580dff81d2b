"""Log entries: deterministic CBOR arrays whose first element is the kind.

Spec: `specs/log-entries.md`; CBOR as in `chopmark.cbor`. At most 65,535 bytes each.

    kind  entry                                           who may add it
    0     [0, origin, suite, created]                     the log: its first entry, made with it
    1     [1, iss, credential digest]                     a client of that issuer
    2     [2, iss, list uri, SHA-256 of the token, iat]   a client of that issuer
    3     [3, a signed note, as bytes]                    the region: a trust statement
    4     [4, region, seq, SHA-256]                       the region: a trust bundle
    5     [5, origin, records, SHA-256]                   the region: the first records of a landmark file

Times are POSIX seconds, digests 32 bytes. Kinds are append-only: none is ever given another meaning. A trust bundle,
as CBOR in hex:

    84 04 65 434e2d4744 18 2a 58 20 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from chopmark import cbor
from chopmark.errors import FormatError, LimitError, UnsupportedError
from chopmark.limits import LIMITS

_DIGEST_SIZE = 32
_INTEGER_MAX = 2**63 - 1
_SUITE = 1


class _Kind(Protocol):
    kind: ClassVar[int]


_KINDS: dict[int, type[Any]] = {}
_K = TypeVar("_K", bound=type[_Kind])


def register_kind(entry_class: _K) -> _K:
    """Enter a class of entries under its kind.

    Raises:
        FormatError: another class has that kind, which would give old entries a new meaning.
    """
    taken = _KINDS.setdefault(entry_class.kind, entry_class)
    if taken is not entry_class:
        raise FormatError(f"entry kind {entry_class.kind} is {taken.__name__}'s for ever", where=entry_class.__name__)
    return entry_class


@register_kind
@dataclass(frozen=True, slots=True)
class GenesisEntry:
    """The first entry of a log: its own origin, the suite of its hashes, and when it was made (POSIX seconds)."""

    kind: ClassVar[int] = 0
    origin: str
    suite: int
    created: int

    def __post_init__(self) -> None:
        _check_text(self.origin, "origin")
        _check_number(self.suite, "suite")
        _check_number(self.created, "created")
        if self.suite != _SUITE:
            raise UnsupportedError(f"suite {self.suite}; this reader knows suite {_SUITE}", where="log entry")

    def encode(self) -> bytes:
        """Write the entry."""
        return _encode([self.kind, self.origin, self.suite, self.created])


@register_kind
@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A credential: the id of its issuer and its digest (32 bytes)."""

    kind: ClassVar[int] = 1
    issuer: str
    digest: bytes

    def __post_init__(self) -> None:
        _check_text(self.issuer, "issuer")
        _check_digest(self.digest)

    def encode(self) -> bytes:
        """Write the entry."""
        return _bounded(credential_entry(self.issuer, self.digest))


@register_kind
@dataclass(frozen=True, slots=True)
class StatusListEntry:
    """A status list: its issuer, its uri, SHA-256 of its token, and when that was signed (POSIX seconds)."""

    kind: ClassVar[int] = 2
    issuer: str
    uri: str
    token_hash: bytes
    issued_at: int

    def __post_init__(self) -> None:
        _check_text(self.issuer, "issuer")
        _check_text(self.uri, "uri")
        _check_digest(self.token_hash)
        _check_number(self.issued_at, "issued at")

    def encode(self) -> bytes:
        """Write the entry."""
        return _encode([self.kind, self.issuer, self.uri, self.token_hash, self.issued_at])


@register_kind
@dataclass(frozen=True, slots=True)
class TrustStatementEntry:
    """A trust statement: the bytes of its signed note. They are not verified here."""

    kind: ClassVar[int] = 3
    note: bytes

    def __post_init__(self) -> None:
        if type(self.note) is not bytes or not self.note:
            raise FormatError("the note is not a byte string with something in it", where="log entry")

    def encode(self) -> bytes:
        """Write the entry.

        Raises:
            LimitError: the note is too large for an entry.
        """
        return _encode([self.kind, self.note])


@register_kind
@dataclass(frozen=True, slots=True)
class TrustBundleEntry:
    """A trust bundle: its region, its sequence number, and SHA-256 of its note text."""

    kind: ClassVar[int] = 4
    region: str
    seq: int
    digest: bytes

    def __post_init__(self) -> None:
        _check_text(self.region, "region")
        _check_number(self.seq, "seq")
        _check_digest(self.digest)

    def encode(self) -> bytes:
        """Write the entry."""
        return _encode([self.kind, self.region, self.seq, self.digest])


@register_kind
@dataclass(frozen=True, slots=True)
class LandmarkFileEntry:
    """A landmark file: the origin of its log, how many of its records are vouched for, and the digest up to there."""

    kind: ClassVar[int] = 5
    origin: str
    records: int
    digest: bytes

    def __post_init__(self) -> None:
        _check_text(self.origin, "origin")
        _check_number(self.records, "records")
        _check_digest(self.digest)

    def encode(self) -> bytes:
        """Write the entry."""
        return _encode([self.kind, self.origin, self.records, self.digest])


LogEntry: TypeAlias = (
    GenesisEntry | CredentialEntry | StatusListEntry | TrustStatementEntry | TrustBundleEntry | LandmarkFileEntry
)


def parse_entry(data: bytes) -> LogEntry:
    """Read a log entry.

    Raises:
        FormatError: it is not one entry in its one encoding; `LimitError` above 65,535 bytes, `UnsupportedError` for
            a kind or suite that this reader does not know.
    """
    elements = cbor.decode(data, max_size=LIMITS.entry_size, where="log entry")
    if type(elements) is not list or not elements or type(elements[0]) is not int:
        raise FormatError("not an array that begins with its kind", where="log entry")
    entry_class = _KINDS.get(elements[0])
    if entry_class is None:
        raise UnsupportedError(f"kind {elements[0]} is not known to this reader", where="log entry")
    if len(elements) != 1 + len(fields(entry_class)):
        raise FormatError(f"kind {elements[0]} with {len(elements)} elements", where="log entry")
    entry: LogEntry = entry_class(*elements[1:])
    return entry


def credential_entry(issuer: str, digest: bytes) -> bytes:
    """Write the entry of a credential, whose parts were checked when it was read.

    Every verification does it once, so it is written out: an array of three, kind 1, text, 32 bytes.
    """
    return b"\x83\x01" + cbor.encode(issuer) + b"\x58\x20" + digest


def _encode(elements: list[cbor.Encodable]) -> bytes:
    return _bounded(cbor.encode(elements))


def _bounded(data: bytes) -> bytes:
    if len(data) > LIMITS.entry_size:
        raise LimitError(f"an entry of {len(data)} bytes, above the limit of {LIMITS.entry_size}", where="log entry")
    return data


def _check_text(value: object, name: str) -> None:
    if type(value) is not str or not value:
        raise FormatError(f"the {name} is not text with something in it", where="log entry")


def _check_number(value: object, name: str) -> None:
    if type(value) is not int or not 0 <= value <= _INTEGER_MAX:
        raise FormatError(f"{name} is not a number from 0 to 2^63 − 1", where="log entry")


def _check_digest(value: object) -> None:
    if type(value) is not bytes or len(value) != _DIGEST_SIZE:
        raise FormatError(f"the digest is not {_DIGEST_SIZE} bytes", where="log entry")
