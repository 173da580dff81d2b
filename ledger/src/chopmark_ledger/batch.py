"""What a client submits: who may add which entries, the identity of a batch, the order its entries get, the answer.

    kind 0       the log itself, at its beginning
    kind 1, 2    a client of the issuer that the entry names, or its region
    kind 3, 5    a region
    kind 4       the region that the entry names

Each entry is judged by itself: one that may not enter is refused with its reason, its neighbours enter. A batch is
known by (client, number, SHA-256 of its body), the body being all entries as sent, the refused ones too, the way an
entry bundle writes them:

    uint16be length ‖ entry                       one after the other, in the order sent
    0000 ‖ uint64be length ‖ entry                for what no entry can be: nothing, or more than 65,535 bytes
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from chopmark import entries as entry_formats
from chopmark.errors import FormatError, LimitError
from chopmark.limits import LIMITS

from chopmark_ledger.errors import BatchRefusedError, RefusedEntry

MAX_ENTRIES = 10_000
MAX_NUMBER = 2**63 - 1
MAX_BYTES = 16 * 1024 * 1024
"""Of all entries of one batch: ten thousand take some 600 KB, a few large trust statements some megabytes."""
_MAX_CLIENT_NAME = 200
_MAX_SHOWN = 100
"""Characters that a reason shows of what a client sent."""
_MAX_REASON = 400
_CREDENTIAL = bytes([0x83, entry_formats.CredentialEntry.kind])
"""How a credential entry begins: an array of three, its kind."""
_DIGEST_SIZE = 32
_KEY_SIZE = 8
_length = struct.Struct(">H").pack
_impossible_length = struct.Struct(">HQ").pack


@dataclass(frozen=True, slots=True)
class Client:
    """Who submits.

    Args:
        name: the identity under which batch numbers are counted.
        issuers: the issuer ids, `<region>/<organisation code>`, whose credentials and status lists it may log.
        region: the region it speaks for, if it does: it may log trust statements, bundles of it, landmark files, and
            the credentials and status lists of every issuer `<region>/…`.

    Raises:
        FormatError: the name is not 1 to 200 printable characters, or the region empty.
    """

    name: str
    issuers: frozenset[str] = frozenset()
    region: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= _MAX_CLIENT_NAME or not self.name.isprintable():
            raise FormatError(f"a client name has 1 to {_MAX_CLIENT_NAME} printable characters", where="client")
        if self.region == "":
            raise FormatError("a client speaks for a region with a name, or for none", where=f"client {self.name}")

    @property
    def is_region(self) -> bool:
        """Whether it speaks for a region."""
        return self.region is not None

    def is_client_of(self, issuer: str) -> bool:
        """Whether it may log the credentials and status lists of this issuer."""
        return issuer in self.issuers or (self.region is not None and issuer.startswith(f"{self.region}/"))


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch as a client sends it: the client's own number for it, and 1 to 10,000 entries, none of them read yet.

    Raises:
        FormatError: the number is none, or an entry is not bytes.
        LimitError: too few or too many entries, or bytes.
    """

    client: Client
    number: int
    entries: Sequence[bytes]

    def __post_init__(self) -> None:
        if type(self.number) is not int or not 0 <= self.number <= MAX_NUMBER:
            raise FormatError(f"a batch number is between 0 and {MAX_NUMBER}", where="batch number")
        if not 1 <= len(self.entries) <= MAX_ENTRIES:
            raise LimitError(
                f"{len(self.entries)} entries in one batch",
                where="batch",
                remedy=f"Send 1 to {MAX_ENTRIES:,} at a time",
            )
        object.__setattr__(self, "entries", tuple(self.entries))  # so that what was checked is what is committed
        if not all(type(entry) is bytes for entry in self.entries):
            raise FormatError("an entry that is not bytes", where="batch")
        if self.byte_count > MAX_BYTES:
            raise LimitError(
                f"a batch of more than {MAX_BYTES // 2**20} MiB", where="batch", remedy="Send it as several batches"
            )

    @property
    def byte_count(self) -> int:
        """The bytes of all entries."""
        return sum(map(len, self.entries))


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of a batch: per entry, in the order sent, its index in the log, None for those in `refused`."""

    indexes: tuple[int | None, ...]
    refused: tuple[RefusedEntry, ...]

    def all_indexes(self) -> list[int]:
        """The index of every entry, for a client that knows what it sends.

        Raises:
            BatchRefusedError: some were refused; it carries this answer, as the others are in the log.
        """
        if self.refused:
            raise BatchRefusedError(self.refused, answer=self)
        return [index for index in self.indexes if index is not None]


def batch_digest(entries: Sequence[bytes]) -> bytes:
    """The SHA-256 of a batch's body."""
    sizes = set(map(len, entries))
    if len(sizes) == 1 and 1 <= min(sizes) <= LIMITS.entry_size:  # as in a bulk issue: all of one size
        length = _length(min(sizes))
        return sha256(length + length.join(entries)).digest()
    parts: list[bytes] = []
    for entry in entries:
        size = len(entry)
        parts.append(_length(size) if 1 <= size <= LIMITS.entry_size else _impossible_length(0, size))
        parts.append(entry)
    return sha256(b"".join(parts)).digest()


def refusals(client: Client, entries: Sequence[bytes]) -> tuple[RefusedEntry, ...]:
    """Name every entry that is none or that this client may not add, by position and reason."""
    refused = []
    # A credential entry ends in its digest, 32 bytes of any value. What stands before them says all the rest, so an
    # entry that begins like one which may enter, and goes on for 32 bytes, may enter too.
    known: set[bytes] = set()
    for position, data in enumerate(entries):
        if data[:-_DIGEST_SIZE] in known:
            continue
        reason = _refusal(client, data)
        if reason is not None:
            refused.append(RefusedEntry(position, reason[:_MAX_REASON]))
        elif data.startswith(_CREDENTIAL):
            known.add(data[:-_DIGEST_SIZE])
    return tuple(refused)


def _refusal(client: Client, data: bytes) -> str | None:
    if not 1 <= len(data) <= LIMITS.entry_size:
        return f"an entry is 1 to {LIMITS.entry_size:,} bytes"
    try:
        entry = entry_formats.parse_entry(data)
    except FormatError as error:
        return f"not a log entry: {error}"
    match entry:
        case entry_formats.CredentialEntry() | entry_formats.StatusListEntry():
            if not client.is_client_of(entry.issuer):
                return f"client {client.name} may not add entries of {_shown(entry.issuer)}"
        case entry_formats.GenesisEntry():
            return "a genesis entry is added by the log itself, at its beginning"
        case _ if not client.is_region:
            return f"client {client.name} does not speak for the region"
        case entry_formats.TrustBundleEntry() if entry.region != client.region:
            return f"client {client.name} speaks for {client.region}, not for {_shown(entry.region)}"
    return None


def _shown(text: str) -> str:
    short = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)


def encode_refusals(refused: Sequence[RefusedEntry]) -> str:
    """Write refusals as they are stored with their batch: JSON, per reason the positions; nothing for none."""
    positions: dict[str, list[int]] = {}
    for each in refused:
        positions.setdefault(each.reason, []).append(each.position)
    return json.dumps(positions, separators=(",", ":")) if positions else ""


def decode_refusals(text: str) -> tuple[RefusedEntry, ...]:
    """Read what `encode_refusals` wrote, in the order of the positions."""
    if not text:
        return ()
    named = [(position, reason) for reason, positions in json.loads(text).items() for position in positions]
    return tuple(RefusedEntry(position, reason) for position, reason in sorted(named))


def shuffled(count: int, random: Callable[[int], bytes]) -> list[int]:
    """An order of `count` entries that nobody can foretell: positions in the batch, in the order of the log."""
    keys = struct.unpack(f">{count}Q", random(_KEY_SIZE * count))
    return sorted(range(count), key=keys.__getitem__)
